#include "note.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S 1000000000

enum { CLEAR, WOKEN, POKED };

static int64_t clock_ns(clockid_t id) {
    struct timespec ts;
    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

int64_t rt_now(void) { return clock_ns(CLOCK_MONOTONIC); }

int64_t rt_now_coarse(void) { return clock_ns(CLOCK_MONOTONIC_COARSE); }

static void futex_wake(_Atomic uint32_t *word) {
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/* FUTEX_WAIT_BITSET takes an absolute CLOCK_MONOTONIC time: no drift when a wait is resumed. */
static int futex_wait_until(_Atomic uint32_t *word, uint32_t expected, int64_t deadline) {
    if (deadline < 0)
        deadline = 0; /* long past: the kernel refuses negative times */
    struct timespec ts = {.tv_sec = deadline / NS_PER_S, .tv_nsec = deadline % NS_PER_S};
    long r = syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, expected,
                     deadline == NOTE_FOREVER ? NULL : &ts, NULL, FUTEX_BITSET_MATCH_ANY);
    return r == 0 ? 0 : errno;
}

void note_clear(struct note *n) { atomic_store_explicit(&n->state, CLEAR, memory_order_relaxed); }

void note_wakeup(struct note *n) {
    atomic_exchange_explicit(&n->state, WOKEN, memory_order_release);
    futex_wake(&n->state);
}

void note_poke(struct note *n) {
    uint32_t expected = CLEAR;
    if (atomic_compare_exchange_strong_explicit(&n->state, &expected, POKED, memory_order_release,
                                                memory_order_relaxed))
        futex_wake(&n->state);
}

enum note_result note_look(struct note *n) {
    uint32_t state = POKED;
    /* A wake-up may overtake: only a poke that is still there is taken away. */
    if (atomic_compare_exchange_strong_explicit(&n->state, &state, CLEAR, memory_order_acquire,
                                                memory_order_acquire))
        return NOTE_POKED;
    return state == WOKEN ? NOTE_WOKEN : NOTE_TIMEDOUT;
}

enum note_result note_sleep(struct note *n, int64_t deadline) {
    for (;;) {
        enum note_result pending = note_look(n);
        if (pending != NOTE_TIMEDOUT)
            return pending;
        int err = futex_wait_until(&n->state, CLEAR, deadline);
        if (err == ETIMEDOUT)
            return NOTE_TIMEDOUT;
        if (err == EINTR)
            return NOTE_SIGNAL;
    }
}
