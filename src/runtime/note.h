/* A note: one thread sleeps on it, others wake it. Go's note (runtime/lock_futex.go) with one
 * addition, the poke, which makes the sleeper look around without ending what it waits for.
 *
 * One sleeper at a time. note_clear() comes before whatever publishes the sleeper, so that no wake-up
 * is lost. A waker's last access to the memory of the note is the store that sets it: the futex call
 * after it uses the address only, so a note may live in memory that goes away once it was woken. */
#ifndef GOROUTINES_NOTE_H
#define GOROUTINES_NOTE_H

#include <stdatomic.h>
#include <stdint.h>

#define NOTE_FOREVER INT64_MAX

enum note_result {
    NOTE_WOKEN,
    NOTE_POKED,
    NOTE_TIMEDOUT,
    NOTE_SIGNAL, /* a signal handler ran on this thread */
};

struct note {
    _Atomic uint32_t state; /* 0 clear, 1 woken, 2 poked */
};

void note_clear(struct note *n);
void note_wakeup(struct note *n);
/* Only if nothing else is pending on the note. */
void note_poke(struct note *n);
/* Until woken or poked, until `deadline` (rt_now() time; NOTE_FOREVER for none), or a signal. */
enum note_result note_sleep(struct note *n, int64_t deadline);
/* The same with a deadline that is over, and without a system call. */
enum note_result note_look(struct note *n);

/* CLOCK_MONOTONIC in nanoseconds. */
int64_t rt_now(void);
/* The same clock, a few milliseconds stale and several times cheaper. */
int64_t rt_now_coarse(void);

#endif
