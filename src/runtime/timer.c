#include "timer.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "lock.h"
#include "note.h"
#include "proc.h"

static struct {
    struct rt_lock lock; /* guards all below, and slot, when and period of armed timers */
    struct timer **heap; /* 4-ary, earliest first */
    int32_t len, cap;
    _Atomic int64_t next; /* when of heap[0], readable without the lock */
} timers = {.next = TIMER_NEVER};

int64_t timer_after(int64_t now, int64_t d) { return d > INT64_MAX - now ? TIMER_NEVER : now + d; }

/* In the total order with the stores to sysmon_until and timer_m_until: see sched_timer_armed(). */
int64_t timers_next(void) { return atomic_load_explicit(&timers.next, memory_order_seq_cst); }

static void publish_next(void) {
    int64_t next = timers.len ? timers.heap[0]->when : TIMER_NEVER;
    atomic_store_explicit(&timers.next, next, memory_order_seq_cst);
}

static void put(struct timer *t, int32_t i) {
    timers.heap[i] = t;
    t->slot = i + 1;
}

static void sift_up(int32_t i) {
    struct timer *t = timers.heap[i];
    while (i > 0) {
        int32_t parent = (i - 1) / 4;
        if (timers.heap[parent]->when <= t->when)
            break;
        put(timers.heap[parent], i);
        i = parent;
    }
    put(t, i);
}

static int32_t earliest_child(int32_t i) {
    int32_t first = 4 * i + 1, best = first;
    for (int32_t c = first + 1; c < first + 4 && c < timers.len; c++)
        if (timers.heap[c]->when < timers.heap[best]->when)
            best = c;
    return best;
}

static void sift_down(int32_t i) {
    struct timer *t = timers.heap[i];
    while (4 * i + 1 < timers.len) {
        int32_t child = earliest_child(i);
        if (timers.heap[child]->when >= t->when)
            break;
        put(timers.heap[child], i);
        i = child;
    }
    put(t, i);
}

static bool insert(struct timer *t) {
    if (timers.len == timers.cap) {
        int32_t cap = timers.cap ? 2 * timers.cap : 64;
        struct timer **heap = realloc(timers.heap, (size_t)cap * sizeof *heap);
        if (!heap)
            return false;
        timers.heap = heap;
        timers.cap = cap;
    }
    timers.heap[timers.len] = t;
    sift_up(timers.len++);
    return true;
}

static bool take_out(struct timer *t) {
    if (!t->slot)
        return false;
    int32_t i = t->slot - 1;
    t->slot = 0;
    struct timer *last = timers.heap[--timers.len];
    if (last != t) {
        put(last, i);
        sift_down(i);
        sift_up(last->slot - 1);
    }
    return true;
}

bool timer_start(struct timer *t, int64_t when) {
    t->when = when;
    rt_lock(&timers.lock);
    bool ok = insert(t);
    publish_next();
    rt_unlock(&timers.lock);
    if (ok)
        sched_timer_armed(when);
    return ok;
}

bool timer_stop(struct timer *t) {
    rt_lock(&timers.lock);
    bool was = take_out(t);
    publish_next();
    rt_unlock(&timers.lock);
    return was;
}

int timer_reset(struct timer *t, int64_t when, int64_t period) {
    rt_lock(&timers.lock);
    int was = take_out(t);
    t->when = when;
    t->period = period;
    bool ok = insert(t);
    publish_next();
    rt_unlock(&timers.lock);
    if (!ok)
        return -1;
    sched_timer_armed(when);
    return was;
}

/* A tick that came late is not made up for: the next one keeps the rhythm. */
static int64_t next_tick(const struct timer *t, int64_t now) {
    return t->when + t->period * (1 + (now - t->when) / t->period);
}

static void fire_first(int64_t now) {
    struct timer *t = timers.heap[0];
    if (t->period > 0) {
        t->when = next_tick(t, now);
        sift_down(0);
    } else {
        take_out(t);
    }
    /* Last access to t: what it wakes may free it. */
    t->fire(t, now);
}

int timers_run(int64_t now) {
    int fired = 0;
    if (timers_next() > now)
        return 0;
    rt_lock(&timers.lock);
    for (; timers.len && timers.heap[0]->when <= now; fired++)
        fire_first(now);
    publish_next();
    rt_unlock(&timers.lock);
    return fired;
}

void timers_hold(void) { rt_lock(&timers.lock); }

void timers_release(void) { rt_unlock(&timers.lock); }

bool timers_useful(void) {
    bool found = false;
    for (int32_t i = 0; i < timers.len && !found; i++)
        found = !timers.heap[i]->useful || timers.heap[i]->useful(timers.heap[i]);
    return found;
}

void timers_fork_child(void) {
    /* What the timers belonged to is gone. Those whose owner still exists must look unarmed. */
    for (int32_t i = 0; i < timers.len; i++)
        timers.heap[i]->slot = 0;
    timers.len = 0;
    publish_next();
    rt_unlock(&timers.lock);
}
