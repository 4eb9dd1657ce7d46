/* Waiting to be told: the list of those who do, and a counter whose zero is worth telling.
 *
 * notify_list is what a condition variable is made of, after Go's (runtime/sema.go). A waiter stands in
 * it before the lock that guards the condition is released, and sleeps afterwards: what comes in
 * between is not lost. Nobody is told who has given up: that falls to the next.
 *
 * A list's lock, which stands where a channel's does in the order, guards all fields and those of the
 * waiters in it. */
#ifndef GOROUTINES_NOTIFY_H
#define GOROUTINES_NOTIFY_H

#include "chan.h"

struct notify_list {
    struct rt_lock lock;
    uint32_t forks;       /* see waitq_after_fork() */
    struct waitq waiters; /* of struct notify_waiter */
};

/* On the stack of who waits. */
struct notify_waiter {
    struct sudog sudog; /* first */
    bool asleep;        /* to be woken by g_wake() */
    bool told;          /* and not in the list any more */
};

void notify_init(struct notify_list *l);
/* From here on w can be told. Then notify_wait() or notify_cancel(), on the same goroutine. */
void notify_join(struct notify_list *l, struct notify_waiter *w);
/* CHAN_OK: told. CHAN_TIMEOUT, CHAN_INTERRUPTED, CHAN_NO_MEMORY: not told, nor will be. */
enum chan_result notify_wait(struct notify_list *l, struct notify_waiter *w, const char *reason,
                             int64_t deadline);
/* What w has been told, if so, is told to the next. */
void notify_cancel(struct notify_list *l, struct notify_waiter *w);
/* Tells up to n waiters, those first who came first. */
void notify_wake(struct notify_list *l, int64_t n);
int64_t notify_len(struct notify_list *l);

/* Go's sync.WaitGroup. */
struct wait_group {
    struct notify_list list; /* its lock guards count, too */
    int64_t count;
};

void wait_group_init(struct wait_group *wg);
/* False, and nothing done: the count would be negative, or too large. At zero all who wait are told. */
bool wait_group_add(struct wait_group *wg, int64_t n);
/* Until the count is zero; it may have been for a moment only. Results as of notify_wait(), and
 * CHAN_WOULD_BLOCK for CHAN_POLL. */
enum chan_result wait_group_wait(struct wait_group *wg, int64_t deadline);
int64_t wait_group_count(struct wait_group *wg);

#endif
