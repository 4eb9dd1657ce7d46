/* The runtime's lock: a spin lock of one word.
 *
 * It guards critical sections of a few instructions, and no holder blocks, allocates, makes a
 * system call or enters the interpreter.  So the wait is short unless the kernel has taken the
 * holder off its processor; only then does a waiter sleep, with growing pauses instead of a futex,
 * which keeps the unlock one release store and the lock free of state that fork would leave behind.
 *
 * Not recursive, not fair, and not for signal handlers.
 */
#ifndef GOROUTINES_RUNTIME_LOCK_H
#define GOROUTINES_RUNTIME_LOCK_H

#include <stdatomic.h>
#include <stdbool.h>

struct rt_lock {
    _Atomic int held; /* 0 or 1; all zeroes is an unlocked lock */
};

/* Waits until the lock looks free and takes it. */
void rt_lock_slow(struct rt_lock *l);

/* Also makes a lock usable again in a forked child, where its holder may not exist. */
static inline void rt_lock_init(struct rt_lock *l) { atomic_init(&l->held, 0); }

static inline bool rt_trylock(struct rt_lock *l) {
    return atomic_exchange_explicit(&l->held, 1, memory_order_acquire) == 0;
}

static inline void rt_lock(struct rt_lock *l) {
    if (__builtin_expect(!rt_trylock(l), 0))
        rt_lock_slow(l);
}

static inline void rt_unlock(struct rt_lock *l) {
    atomic_store_explicit(&l->held, 0, memory_order_release);
}

#endif
