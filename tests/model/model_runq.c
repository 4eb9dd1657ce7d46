/* The run queue (src/runtime/runq.c itself, with room for 4): its owner against two thieves. */
#include "interleave.h"
#include "runq.h"

#define GS 8

static struct {
    struct runq q;
} s;

/* Functions of what the threads have read: no part of the state. */
static int put[GS], taken[GS];

static struct g *g_number(int i) { return (struct g *)(uintptr_t)(i + 1); }

static void took(struct g *g) {
    uintptr_t i = (uintptr_t)g - 1;
    model_check(i < GS, "what was taken is no goroutine that was put");
    model_check(put[i] == 1 && ++taken[i] == 1, "a goroutine was taken twice");
}

/* As proc.c does: what does not fit goes to the global queue, with half of the ring. */
static void put_tail(struct g *g) {
    struct g *batch[RUNQ_SIZE / 2];
    if (runq_put(&s.q, g))
        return;
    uint32_t n = runq_take_half(&s.q, batch);
    if (n == 0) {
        model_check(runq_put(&s.q, g), "no half could be taken, and yet there is no room");
        return;
    }
    for (uint32_t i = 0; i < n; i++)
        took(batch[i]);
    took(g);
}

static void owner_put(int i) {
    put[i]++;
    put_tail(g_number(i));
}

static void owner_put_next(int i) {
    put[i]++;
    struct g *out = runq_put_next(&s.q, g_number(i));
    if (out)
        put_tail(out);
}

static void owner_get(void) {
    struct g *g = runq_get(&s.q);
    if (g)
        took(g);
}

static void owner_gets_often(void) {
    owner_put(0);
    owner_put_next(1);
    owner_get();
    owner_put_next(2);
    owner_put_next(3);
    owner_get();
    owner_get();
    owner_get();
}

static void owner_overflows(void) {
    for (int i = 0; i < 6; i++)
        owner_put(i);
    owner_put_next(6);
    owner_get();
}

static void thief(void) {
    struct g *batch[RUNQ_SIZE / 2];
    uint32_t n = runq_grab(&s.q, batch, true);
    model_check(n <= RUNQ_SIZE / 2, "more than half was taken");
    for (uint32_t i = 0; i < n; i++)
        took(batch[i]);
}

static void thief_of_two(void) {
    thief();
    thief();
}

static void begin(void) {
    memset(&s, 0, sizeof s);
    memset(put, 0, sizeof put);
    memset(taken, 0, sizeof taken);
    runq_init(&s.q);
    s.q.head = s.q.tail = UINT32_MAX - 1; /* the counters wrap around on the way */
}

static void end(void) {
    struct g *g;
    for (uint32_t n = runq_len(&s.q); n > 0; n--) {
        model_check((g = runq_get(&s.q)) != NULL, "the length is wrong");
        took(g);
    }
    model_check(runq_get(&s.q) == NULL, "the length is wrong");
    for (int i = 0; i < GS; i++)
        model_check(put[i] == taken[i], "a goroutine was lost");
}

int main(void) {
    static const struct model models[] = {
        {"runq, gets", begin, {owner_gets_often, thief, thief}, end, &s, sizeof s},
        {"runq, overflow", begin, {owner_overflows, thief, thief}, end, &s, sizeof s},
        {"runq, one thief twice", begin, {owner_gets_often, thief_of_two}, end, &s, sizeof s},
    };
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        explore(&models[i]);
    return 0;
}
