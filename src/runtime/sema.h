/* A counting semaphore with direct hand-over: a release gives its units to the waiters in the order
 * they came, so nobody who comes later can overtake them. */
#ifndef GOROUTINES_SEMA_H
#define GOROUTINES_SEMA_H

#include "chan.h"

struct sema {
    struct rt_lock lock;
    int64_t count;
    struct waitq waiters; /* elem: how many units each wants */
};

void sema_init(struct sema *s, int64_t count);
/* Takes n units. CHAN_OK, CHAN_TIMEOUT (CHAN_WOULD_BLOCK for CHAN_POLL) or CHAN_INTERRUPTED.
 * reason: what the deadlock report calls the wait. */
enum chan_result sema_acquire(struct sema *s, int64_t n, const char *reason, int64_t deadline);
void sema_release(struct sema *s, int64_t n);
int64_t sema_count(struct sema *s);

#endif
