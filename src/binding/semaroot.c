/* Goroutines that wait for an object from outside this library: a lock, a queue, a thread's end.
 *
 * As in Go (semaRoot in runtime/sema.go) the waiters are found by the object's address, in a hash table,
 * so that the object needs no field for them and costs nothing while nobody waits. Whoever sets the
 * object free looks here afterwards and wakes the first one, which tries again; somebody else may have
 * been faster, then it waits on at the front. So that this cannot go on for ever, the object is reserved
 * for one that has waited for long, from its wake-up until it has come: other goroutines that want to wait
 * queue behind it. Threads that wait natively know nothing of that.
 *
 * No wake-up is lost: a goroutine is in the table before it looks whether it has to wait at all, and the
 * table and all such objects are guarded by the GIL. */
#include "patch.h"

#define BUCKETS 4096
#define LONG_WAIT INT64_C(1000000)

static struct waiter *buckets[BUCKETS];
static int64_t waiting;
static struct waiter *reserved[BUCKETS]; /* woken after a long wait, and not back yet */

static struct waiter **bucket_of(void *key) { return &buckets[((uintptr_t)key >> 4) % BUCKETS]; }

static struct waiter *first_for(void *key) {
    struct waiter *w = *bucket_of(key);
    while (w && w->key != key)
        w = w->link_next;
    return w;
}

/* w takes the place of first among the first ones of the bucket; NULL for either: there is none. */
static void replace_first(struct waiter *first, struct waiter *w, void *key) {
    struct waiter *prev = first ? first->link_prev : NULL;
    struct waiter *next = first ? first->link_next : *bucket_of(key);
    struct waiter *between = w ? w : next;
    if (prev)
        prev->link_next = between;
    else
        *bucket_of(key) = between;
    if (next)
        next->link_prev = w ? w : prev;
    if (w) {
        w->link_prev = prev;
        w->link_next = next;
    }
}

static void push(struct waiter *w, bool in_front) {
    struct waiter *first = first_for(w->key);
    w->prev = w->next = NULL;
    if (!first || in_front) {
        w->next = first;
        w->last = first ? first->last : w;
        if (first)
            first->prev = w;
        replace_first(first, w, w->key);
    } else {
        w->prev = first->last;
        first->last->next = w;
        first->last = w;
    }
    w->queued = true;
    waiting++;
}

static void take_out(struct waiter *w) {
    if (!w->queued)
        return;
    if (!w->prev) {
        if (w->next) {
            w->next->prev = NULL;
            w->next->last = w->last;
        }
        replace_first(w, w->next, w->key);
    } else {
        w->prev->next = w->next;
        if (w->next)
            w->next->prev = w->prev;
        else
            first_for(w->key)->last = w->prev;
    }
    w->queued = false;
    waiting--;
}

static struct waiter **reservation_of(void *key) { return &reserved[bucket_of(key) - buckets]; }

bool semaroot_reserved(void *key) {
    struct waiter *w = *reservation_of(key);
    return w && w->key == key;
}

static void end_reservation(struct waiter *w) {
    if (*reservation_of(w->key) == w)
        *reservation_of(w->key) = NULL;
}

enum waited semaroot_wait(struct waiter *w, void *key, bool (*ready)(void *arg), void *arg,
                          const char *reason, int64_t deadline, uint32_t flags) {
    struct g *g = sched_enter();
    bool again = w->since != 0;
    if (!again)
        w->since = rt_now();
    w->key = key;
    w->g = g;
    sched_park_begin(g, reason, flags);
    push(w, again);
    bool at_once = ready(arg);
    if (at_once)
        g_wake(g, WAKE_CASE(0, true)); /* the wait is over before it begins */
    uint32_t woken = sched_park(g, deadline);
    take_out(w);
    end_reservation(w);
    sched_leave();
    if (at_once)
        return WAIT_READY;
    return woken == WAKE_TIMEOUT     ? WAIT_TIMEOUT
           : woken == WAKE_INTERRUPT ? WAIT_INTERRUPTED
                                     : WAIT_WOKEN;
}

static bool wake(struct waiter *w) {
    take_out(w);
    return g_wake(w->g, WAKE_CASE(0, true));
}

/* Woken, w cannot go on before the caller lets the GIL go. */
static void reserve(struct waiter *w) {
    if (rt_now() - w->since > LONG_WAIT)
        *reservation_of(w->key) = w;
}

void semaroot_wake(void *key) {
    struct waiter *w = waiting ? first_for(key) : NULL;
    if (!w)
        return;
    sched_enter_to_wake();
    while (w && !wake(w))
        w = first_for(key);
    if (w) {
        reserve(w);
        sched_kick();
    }
    sched_leave();
}

static bool wake_each(void *key) {
    struct waiter *w;
    bool woke = false;
    while ((w = first_for(key)))
        woke |= wake(w);
    return woke;
}

void semaroot_wake_all(void *key) {
    if (!waiting || !first_for(key))
        return;
    sched_enter_to_wake();
    if (wake_each(key))
        sched_kick();
    sched_leave();
}

void semaroot_wake_everybody(void) {
    sched_enter_to_wake();
    for (size_t i = 0; i < BUCKETS; i++)
        while (buckets[i])
            wake_each(buckets[i]->key);
    sched_kick();
    sched_leave();
}

/* Those who wait do not exist in the child. */
void semaroot_fork_child(void) {
    for (size_t i = 0; i < BUCKETS; i++)
        buckets[i] = reserved[i] = NULL;
    waiting = 0;
}
