/* A counting semaphore with direct hand-over: a release gives its units to the waiters in the order
 * they came, so nobody who comes later can overtake them. A mutex is one with a single unit; a lock
 * for many readers or one writer has many units, of which a reader takes one and a writer all.
 *
 * Its lock, which stands where a channel's does in the order, guards all fields. Invariant, while it is
 * not held: the first waiter that has not been woken elsewhere wants more than `count`. */
#ifndef GOROUTINES_SEMA_H
#define GOROUTINES_SEMA_H

#include "chan.h"

struct sema {
    struct rt_lock lock;
    uint32_t forks; /* see waitq_after_fork() */
    int64_t count;
    struct waitq waiters; /* elem: how many units each wants */
};

void sema_init(struct sema *s, int64_t count);
/* Takes n units. CHAN_OK, CHAN_TIMEOUT (CHAN_WOULD_BLOCK for CHAN_POLL) or CHAN_INTERRUPTED.
 * reason: what the deadlock report calls the wait. */
enum chan_result sema_acquire(struct sema *s, int64_t n, const char *reason, int64_t deadline);
void sema_release(struct sema *s, int64_t n);
/* Only if least <= count <= most before; false: nothing was done. */
bool sema_release_if(struct sema *s, int64_t n, int64_t least, int64_t most);
int64_t sema_count(struct sema *s);

/* The common cases, in which nobody waits or is woken: no P is needed, no queue of the scheduler is
 * touched. True if it was that. */

static inline bool sema_acquire_quickly(struct sema *s, int64_t n) {
    rt_lock(&s->lock);
    bool quick = s->count >= n && !s->waiters.first;
    if (quick)
        s->count -= n;
    rt_unlock(&s->lock);
    return quick;
}

static inline bool sema_release_quickly(struct sema *s, int64_t n, int64_t least, int64_t most) {
    rt_lock(&s->lock);
    bool quick = !s->waiters.first && s->count >= least && s->count <= most;
    if (quick)
        s->count += n;
    rt_unlock(&s->lock);
    return quick;
}

#endif
