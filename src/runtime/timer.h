/* Timers: a 4-ary heap, as in Go's runtime/time.go.
 *
 * Go keeps a heap for each P. Here is one for the process: with a GIL one P runs nearly all timers
 * anyway, its lock is uncontended, and one atomic says for everybody (an idle M, sysmon, the deadlock
 * check) when the next timer is due; shrinking gomaxprocs and hand-off have no timers to move.
 *
 * Lock order: timer lock -> channel lock -> scheduler lock. A timer fires under the timer lock, so
 * once timer_stop() has returned, its callback neither runs nor will run. Callbacks are therefore
 * short, never enter the interpreter and never touch a timer. */
#ifndef GOROUTINES_TIMER_H
#define GOROUTINES_TIMER_H

#include <stdbool.h>
#include <stdint.h>

#define TIMER_NEVER INT64_MAX

struct timer {
    int64_t when;   /* rt_now() time */
    int64_t period; /* re-armed by this after firing; 0: once */
    void (*fire)(struct timer *t, int64_t now);
    /* Whether firing can wake a goroutine. NULL: it can. Called under the timer lock. */
    bool (*useful)(struct timer *t);
    void *arg;
    int32_t slot; /* index in the heap + 1; 0: not armed. Guarded by the timer lock. */
};

/* Arms t, which must not be armed. False when memory ran out. */
bool timer_start(struct timer *t, int64_t when);
/* Whether t was armed. */
bool timer_stop(struct timer *t);
/* stop, then start, as one step. -1 when memory ran out, else whether t was armed. */
int timer_reset(struct timer *t, int64_t when, int64_t period);

/* When the earliest timer is due (TIMER_NEVER: there is none). A hint without a lock. */
int64_t timers_next(void);
/* Fires what is due at `now`; returns how many. */
int timers_run(int64_t now);
/* While held, no timer fires, is armed or stopped. */
void timers_hold(void);
void timers_release(void);
/* Whether a timer that can wake a goroutine is armed. While held. */
bool timers_useful(void);

/* now + d without overflow. */
int64_t timer_after(int64_t now, int64_t d);

void timers_fork_child(void); /* forgets all timers */

#endif
