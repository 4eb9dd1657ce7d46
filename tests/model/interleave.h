/* A model checker for a few threads of real code: runs them on stacks of their own, one step at a
 * time, in every order.
 *
 * A step is an access through model_atomics.h, or model_wait(). Depth first: each run repeats the
 * choices of the last one up to the deepest that has an alternative left, takes that, and goes on. A
 * run is cut short in a state that was seen before. A state is the shared memory and, for each thread,
 * a hash of all it has read so far: threads are deterministic, so that tells where it is and what its
 * variables hold, and nothing need be said about them. (Two states with the same 64-bit hash would be
 * taken for one.)
 *
 * What it covers: all interleavings of the threads given, under sequential consistency. Not the
 * reorderings that the processor or the compiler may add: those are argued in comments where the fences
 * are, and looked for by ThreadSanitizer and by the tests on real processors. */
#ifndef GOROUTINES_MODEL_INTERLEAVE_H
#define GOROUTINES_MODEL_INTERLEAVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "context.h"
#include "model_atomics.h"

#define MODEL_THREADS 5
#define MODEL_DEPTH 4096
#define MODEL_STACK (64 << 10)

struct model {
    const char *name;
    void (*begin)(void);                  /* sets up the shared memory */
    void (*threads[MODEL_THREADS])(void); /* as many as are not NULL */
    void (*end)(void);                    /* all threads have ended: checks what is left */
    void *shared;                         /* what the threads share, without padding */
    size_t shared_size;
};

struct model_thread {
    struct context ctx;
    uint64_t seen;         /* hash of what it has read */
    bool (*until)(void *); /* waits for this to be true; NULL: it does not wait */
    void *until_arg;
    bool ended;
};

static struct {
    const struct model *model;
    struct context scheduler;
    struct model_thread threads[MODEL_THREADS];
    int n;
    int current; /* -1: none, begin() or end() runs */
    char *stacks;
    /* The choices of this run: which of how many, and of which thread it was. */
    struct {
        uint8_t choice, of, thread;
    } path[MODEL_DEPTH];
    int depth, repeat;
    /* The states seen: an open hash table of their hashes. */
    uint64_t *states;
    size_t room, count;
    long runs;
} mc;

/* ---- hashing ---- */

static uint64_t mix(uint64_t h, uint64_t v) {
    h ^= v + 0x9e3779b97f4a7c15u + (h << 6) + (h >> 2);
    h ^= h >> 31;
    h *= 0xbf58476d1ce4e5b9u;
    return h ^ h >> 29;
}

static uint64_t state_hash(void) {
    uint64_t h = 1;
    const unsigned char *bytes = mc.model->shared;
    for (size_t i = 0; i < mc.model->shared_size; i += 4) {
        uint32_t word = 0;
        memcpy(&word, bytes + i, mc.model->shared_size - i < 4 ? mc.model->shared_size - i : 4);
        h = mix(h, word);
    }
    for (int i = 0; i < mc.n; i++)
        h = mix(mix(h, mc.threads[i].seen), mc.threads[i].ended);
    return h ? h : 1;
}

static bool insert(uint64_t *states, size_t room, uint64_t h) {
    size_t i = h & (room - 1);
    while (states[i] && states[i] != h)
        i = (i + 1) & (room - 1);
    bool is_new = !states[i];
    states[i] = h;
    return is_new;
}

static bool new_state(uint64_t h) {
    if (2 * mc.count >= mc.room) {
        size_t room = mc.room ? 2 * mc.room : 1 << 16;
        uint64_t *states = calloc(room, sizeof *states);
        if (!states)
            abort();
        for (size_t i = 0; i < mc.room; i++)
            if (mc.states[i])
                insert(states, room, mc.states[i]);
        free(mc.states);
        mc.states = states;
        mc.room = room;
    }
    bool is_new = insert(mc.states, mc.room, h);
    mc.count += is_new;
    return is_new;
}

/* ---- for threads ---- */

static void to_scheduler(void) { context_jump(&mc.threads[mc.current].ctx, &mc.scheduler); }

void model_saw(uint64_t value) {
    if (mc.current >= 0)
        mc.threads[mc.current].seen = mix(mc.threads[mc.current].seen, value);
}

void model_step(void) {
    if (mc.current < 0)
        return;
    model_saw(1); /* where it is */
    to_scheduler();
}

/* Goes on once until(arg) is true; what makes it true must be in the shared memory. */
__attribute__((unused)) static void model_wait(bool (*until)(void *), void *arg) {
    struct model_thread *t = &mc.threads[mc.current];
    t->until = until;
    t->until_arg = arg;
    model_step();
    t->until = NULL;
}

static void tell_path(void) {
    printf("%s: the threads' steps:", mc.model->name);
    for (int i = 0; i < mc.depth; i++)
        printf(" %d", mc.path[i].thread);
    printf("\n");
}

static void model_check(bool ok, const char *what) {
    if (ok)
        return;
    tell_path();
    printf("%s: violated: %s (after %ld interleavings)\n", mc.model->name, what, mc.runs);
    exit(1);
}

/* ---- running ---- */

static void thread_main(void) {
    context_entered();
    mc.model->threads[mc.current]();
    mc.threads[mc.current].ended = true;
    to_scheduler();
}

static void begin_run(void) {
    mc.model->begin();
    for (int i = 0; i < mc.n; i++) {
        char *lo = mc.stacks + (size_t)i * MODEL_STACK;
        mc.threads[i] = (struct model_thread){.seen = (uint64_t)i + 1};
        context_init(&mc.threads[i].ctx, lo, lo + MODEL_STACK, thread_main);
    }
    mc.depth = 0;
    mc.runs++;
}

static bool may_go_on(const struct model_thread *t) {
    return !t->ended && (!t->until || t->until(t->until_arg));
}

/* The threads that may go on; -1: all have ended. */
static int enabled(int *which) {
    int n = 0, ended = 0;
    for (int i = 0; i < mc.n; i++) {
        ended += mc.threads[i].ended;
        if (may_go_on(&mc.threads[i]))
            which[n++] = i;
    }
    model_check(n > 0 || ended == mc.n, "deadlock: every thread waits");
    return n > 0 ? n : -1;
}

/* One run; it ends where the threads do, or in a state that was seen before. */
static void run(void) {
    begin_run();
    for (int which[MODEL_THREADS], n; (n = enabled(which)) > 0; mc.depth++) {
        if (mc.depth == MODEL_DEPTH)
            abort();
        if (mc.depth >= mc.repeat) {
            if (!new_state(state_hash()))
                return;
            mc.path[mc.depth].choice = 0;
            mc.path[mc.depth].of = (uint8_t)n;
        }
        mc.current = which[mc.path[mc.depth].choice];
        mc.path[mc.depth].thread = (uint8_t)mc.current;
        context_jump(&mc.scheduler, &mc.threads[mc.current].ctx);
        mc.current = -1;
    }
    mc.model->end();
}

/* To the deepest choice that has an alternative. */
static bool next_path(void) {
    int i = mc.depth - 1;
    while (i >= 0 && mc.path[i].choice + 1 == mc.path[i].of)
        i--;
    if (i < 0)
        return false;
    mc.path[i].choice++;
    mc.repeat = i + 1;
    return true;
}

static void explore(const struct model *model) {
    mc.model = model;
    mc.current = -1;
    mc.n = 0;
    while (mc.n < MODEL_THREADS && model->threads[mc.n])
        mc.n++;
    mc.stacks = mc.stacks ? mc.stacks : aligned_alloc(64, MODEL_THREADS * MODEL_STACK);
    if (!mc.stacks)
        abort();
    if (mc.states)
        memset(mc.states, 0, mc.room * sizeof *mc.states);
    mc.repeat = 0;
    mc.runs = 0;
    mc.count = 0;
    context_init_thread(&mc.scheduler);
    do
        run();
    while (next_path());
    printf("%s: %ld interleavings, %zu states, ok\n", model->name, mc.runs, mc.count);
    fflush(stdout);
}

#endif
