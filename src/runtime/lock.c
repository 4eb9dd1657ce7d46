#include "lock.h"

#include <sched.h>
#include <time.h>

enum {
    SPINS = 100,          /* pauses before the first yield: a few critical sections' worth */
    YIELDS = 10,          /* enough when the holder waits for this very processor */
    SLEEP_MIN_NS = 10000, /* sleeping also lets a holder of lower real-time priority run */
    SLEEP_MAX_NS = 1000000,
};

static inline void cpu_pause(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Reads until the lock is free, so that waiters share its cache line instead of fighting for it. */
static bool spin(struct rt_lock *l) {
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load_explicit(&l->held, memory_order_relaxed) == 0 && rt_trylock(l))
            return true;
        cpu_pause();
    }
    return false;
}

void rt_lock_slow(struct rt_lock *l) {
    for (int i = 0; i < YIELDS; i++) {
        if (spin(l))
            return;
        sched_yield();
    }
    for (long ns = SLEEP_MIN_NS; !spin(l); ns = ns < SLEEP_MAX_NS / 2 ? ns * 2 : SLEEP_MAX_NS)
        nanosleep(&(struct timespec){.tv_nsec = ns}, NULL);
}
