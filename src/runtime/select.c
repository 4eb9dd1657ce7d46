/* select, after Go's runtime/select.go: all channels are locked, in the order of their addresses; the
 * cases are looked at in random order; if none is ready, the goroutine is put in all their queues and
 * parks. Whoever comes first for any of them ends the wait: the compare and swap on the park word
 * (park.c) sees to it that it is one only. */
#include <stdlib.h>

#include "chan.h"
#include "note.h"
#include "proc.h"

static __thread uint32_t rng;

static __attribute__((noinline)) uint32_t random_below(uint32_t n) {
    if (!rng)
        rng = (uint32_t)rt_now() | 1;
    rng ^= rng << 13;
    rng ^= rng >> 17;
    rng ^= rng << 5;
    return (uint32_t)((uint64_t)rng * n >> 32);
}

/* The cases that have a channel, shuffled (Fisher and Yates). */
static uint32_t poll_order(const struct select_case *cases, uint32_t n, uint32_t *order) {
    uint32_t k = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (!cases[i].c)
            continue;
        uint32_t j = random_below(k + 1);
        order[k++] = order[j];
        order[j] = i;
    }
    return k;
}

static void sift_down(const struct select_case *cases, uint32_t *order, uint32_t i, uint32_t n) {
    uint32_t moved = order[i];
    for (uint32_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && cases[order[child]].c < cases[order[child + 1]].c)
            child++;
        if (cases[moved].c >= cases[order[child]].c)
            break;
        order[i] = order[child];
    }
    order[i] = moved;
}

/* By address: insertion for a few, heap sort for many. */
static void lock_order(const struct select_case *cases, uint32_t *order, uint32_t n) {
    if (n <= 12) {
        for (uint32_t i = 1; i < n; i++) {
            uint32_t moved = order[i], j = i;
            for (; j > 0 && cases[order[j - 1]].c > cases[moved].c; j--)
                order[j] = order[j - 1];
            order[j] = moved;
        }
        return;
    }
    for (uint32_t i = n / 2; i-- > 0;)
        sift_down(cases, order, i, n);
    for (uint32_t end = n; end-- > 1;) {
        uint32_t first = order[0];
        order[0] = order[end];
        order[end] = first;
        sift_down(cases, order, 0, end);
    }
}

static void lock_all(struct select_case *cases, const uint32_t *order, uint32_t n) {
    for (uint32_t i = 0; i < n; i++)
        if (i == 0 || cases[order[i]].c != cases[order[i - 1]].c)
            rt_lock(&cases[order[i]].c->lock);
}

static void unlock_all(struct select_case *cases, const uint32_t *order, uint32_t n) {
    for (uint32_t i = n; i-- > 0;)
        if (i == 0 || cases[order[i]].c != cases[order[i - 1]].c)
            rt_unlock(&cases[order[i]].c->lock);
}

static enum chan_result try_case(struct select_case *k, bool *woke) {
    return k->dir == SELECT_SEND ? chan_send_locked(k->c, k->value, woke)
                                 : chan_recv_locked(k->c, &k->value, woke);
}

static struct select_outcome try_all(struct select_case *cases, const uint32_t *poll, uint32_t n,
                                     bool *woke) {
    for (uint32_t i = 0; i < n; i++) {
        enum chan_result r = try_case(&cases[poll[i]], woke);
        if (r != CHAN_WOULD_BLOCK)
            return (struct select_outcome){r, poll[i]};
    }
    return (struct select_outcome){CHAN_WOULD_BLOCK, 0};
}

static struct waitq *queue_of(struct select_case *k) {
    return k->dir == SELECT_SEND ? &k->c->sendq : &k->c->recvq;
}

static void enqueue_all(struct g *g, struct select_case *cases, const uint32_t *order, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        struct select_case *k = &cases[order[i]];
        k->sudog = (struct sudog){.g = g, .c = k->c, .elem = k->value, .index = order[i]};
        waitq_push(queue_of(k), &k->sudog);
    }
}

/* Whoever holds a channel's lock may still be writing to a sudog that lost: so each is visited. */
static void dequeue_all(struct select_case *cases, const uint32_t *order, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        struct select_case *k = &cases[order[i]];
        rt_lock(&k->c->lock);
        waitq_remove(queue_of(k), &k->sudog);
        rt_unlock(&k->c->lock);
    }
}

static struct select_outcome outcome_of(struct select_case *cases, uint32_t woken) {
    if (woken == WAKE_TIMEOUT)
        return (struct select_outcome){CHAN_TIMEOUT, 0};
    if (woken == WAKE_INTERRUPT)
        return (struct select_outcome){CHAN_INTERRUPTED, 0};
    uint32_t index = woken >> 1;
    if (cases[index].dir == SELECT_RECV && (woken & 1))
        cases[index].value = cases[index].sudog.elem;
    return (struct select_outcome){woken & 1 ? CHAN_OK : CHAN_CLOSED, index};
}

static struct select_outcome select_in(struct g *g, struct select_case *cases, uint32_t n,
                                       uint32_t *order, int64_t deadline) {
    uint32_t *poll = order, *lock = order + n;
    uint32_t k = poll_order(cases, n, poll);
    for (uint32_t i = 0; i < k; i++)
        lock[i] = poll[i];
    lock_order(cases, lock, k);
    for (;;) {
        bool woke = false;
        lock_all(cases, lock, k);
        struct select_outcome out = try_all(cases, poll, k, &woke);
        if (out.result == CHAN_WOULD_BLOCK && deadline != CHAN_POLL)
            break;
        unlock_all(cases, lock, k);
        if (woke)
            sched_kick();
        if (out.result != CHAN_NO_MEMORY || !chan_grow(cases[out.index].c))
            return out;
    }
    sched_park_begin(g, n ? "select" : "select (no cases)", 0);
    enqueue_all(g, cases, lock, k);
    unlock_all(cases, lock, k);
    uint32_t woken = sched_park(g, deadline);
    dequeue_all(cases, lock, k);
    return outcome_of(cases, woken);
}

struct select_outcome select_go(struct select_case *cases, uint32_t n, uint32_t *order,
                                int64_t deadline) {
    struct g *g = sched_enter();
    if (!g)
        return (struct select_outcome){CHAN_NO_MEMORY, 0};
    struct select_outcome out = select_in(g, cases, n, order, deadline);
    sched_leave();
    return out;
}
