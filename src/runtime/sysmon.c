/* sysmon: the thread without a P that watches the others, after Go's (runtime/proc.go).
 *
 * It hands off the P of a goroutine that blocks outside the host while others wait, preempts one
 * that has run for 10 ms while others wait, runs the timers that nobody else has time for, and sees to
 * it that somebody asks the poller.
 *
 * How often it looks: every 20 us while it finds something to do, then less and less often while goroutines
 * run: every 400 us, and after 40 ms every millisecond, as each look takes the processor from somebody. When
 * for a while nobody has waited behind a running goroutine, nor for a descriptor with nobody in the
 * poller, it sleeps until the next timer is due or until somebody queues a goroutine (sched_kick). */
#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "proc_internal.h"

#define US 1000
#define LOOK_SHORT (20 * US)
#define LOOK_LONG (400 * US)
#define LOOK_RARE (1000 * US)
#define ROUNDS_SHORT 50 /* looks without a find before they become rarer, */
#define ROUNDS_LONG 150 /* and before they become rare */
#define ROUNDS_QUIET 3  /* looks without anybody waiting before the deep sleep */
#define BLOCKED_AFTER (30 * US)
#define COMPUTES_AFTER (300 * US)
#define TIME_SLICE (10000 * US)
#define TIMER_SLACK (200 * US)
#define TIMER_OVERDUE (5000 * US)
#define OFFER_EVERY (5000 * US) /* CPython's switch interval */
#define POLL_AFTER (10000 * US)
#define SCAVENGE_AFTER (5000000000)
#define SYSMON_STACK (128 << 10)

_Atomic int64_t sysmon_until = TIMER_NEVER;

static struct {
    _Atomic bool running;
    struct note note; /* ends the deep sleep */
    int64_t delay;
    bool suspects;   /* somebody may be blocked, */
    bool confirming; /* and this look is to tell */
    int64_t offered; /* when the interpreter was, last */
    int rounds, quiet_rounds;
    sigset_t signals; /* as blocked where it was started: for the threads that it starts */
} sysmon;

static __thread bool is_sysmon;

bool sysmon_is_caller(void) { return is_sysmon; }

void sysmon_unblock_signals(void) { pthread_sigmask(SIG_SETMASK, &sysmon.signals, NULL); }

static void pause_for(int64_t ns) {
    struct timespec ts = {.tv_nsec = ns};
    nanosleep(&ts, NULL);
}

/* ---- hand-off and preemption ---- */

/* Gives p, which was taken from its M, to another one. */
static void pass_on(struct p *p, _Atomic uint64_t *counter) {
    counter_add(counter, 1);
    sched_start_m(p, false);
}

/* The thread of p's M if its goroutine is outside the interpreter, else 0. */
static pid_t outside(struct p *p) {
    sched_look_lock();
    struct m *m = atomic_load_explicit(&p->m, memory_order_acquire);
    bool is = m && !atomic_load_explicit(&m->in_runtime, memory_order_acquire) && m_curg(m) &&
              sched.host->outside(m);
    pid_t tid = is ? m->tid : 0;
    sched_look_unlock();
    return tid;
}

static bool take(struct p *p, _Atomic uint64_t *counter) {
    struct m *m = atomic_load_explicit(&p->m, memory_order_acquire);
    if (!m || !sched_take_p(m, p))
        return false;
    pass_on(p, counter);
    return true;
}

/* p's goroutine has been outside for some time. A thread that gets no processor would share it with
 * another M; one that computes gives its P up later. */
static bool sleeps(struct p *p, pid_t tid, int64_t now) {
    enum activity activity = sched.host->activity ? sched.host->activity(tid) : THREAD_SLEEPS;
    if (activity == THREAD_WANTS_HOST)
        p->outside_since = 0;
    return activity == THREAD_SLEEPS ||
           (activity == THREAD_RUNS && now - p->outside_since >= COMPUTES_AFTER);
}

/* Whether p's goroutine is blocked. Outside alone may mean that it waits for the interpreter, and then
 * another M would only wait beside it (with 100 computing goroutines, 100 Ms). But one that was outside
 * while the interpreter was free, and is so still some time later, may wait for something else: only
 * then is its thread looked at, which costs some microseconds. */
static bool blocked(struct p *p, bool interpreter_free, int64_t now) {
    uint32_t tick = atomic_load_explicit(&p->tick, memory_order_relaxed);
    pid_t tid = outside(p);
    if (!tid) {
        p->outside_since = 0;
        return false;
    }
    if (sched.host->parallel)
        return true;
    if (!p->outside_since || p->outside_tick != tick) {
        p->outside_tick = tick;
        p->outside_since = interpreter_free ? now : 0;
        sysmon.suspects |= interpreter_free;
        return false;
    }
    return now - p->outside_since >= BLOCKED_AFTER && sleeps(p, tid, now);
}

/* Hands off the Ps of blocked goroutines: all that have work of their own, or one for the global queue. */
static bool hand_off(bool interpreter_free, int64_t now) {
    bool did = false;
    int n = atomic_load(&sched.nallp);
    for (int i = 0; i < n; i++) {
        struct p *p = sched.allp[i];
        if (blocked(p, interpreter_free, now) &&
            (runq_len(&p->runq) || (!did && atomic_load(&sched.queue_len))))
            did |= take(p, &sched.handoffs);
    }
    return did;
}

static bool start_idle_p(void) {
    if (atomic_load(&sched.nspinning))
        return false;
    rt_lock(&sched.lock);
    struct p *p = sched_idle_p_get();
    if (p)
        atomic_fetch_add(&sched.nspinning, 1);
    rt_unlock(&sched.lock);
    if (p)
        sched_start_m(p, true);
    return p != NULL;
}

/* Work waits: whoever could run it must not be kept waiting by one who is blocked. */
static bool put_to_work(int64_t now) {
    enum holder holder = sched.host->parallel ? HOLDER_NONE : sched.host->interpreter_holder();
    bool did = hand_off(holder == HOLDER_NONE, now);
    /* A holder that has a P will come to the queues itself. */
    return did || (holder != HOLDER_WITH_P && start_idle_p());
}

static bool ran_too_long(struct p *p, int64_t now) {
    uint32_t tick = atomic_load_explicit(&p->tick, memory_order_relaxed);
    if (!atomic_load(&p->m) || tick != p->seen_tick) {
        p->seen_tick = tick;
        p->seen_when = now;
        return false;
    }
    return now - p->seen_when >= TIME_SLICE;
}

static void preempt(int64_t now) {
    int n = atomic_load(&sched.nallp);
    for (int i = 0; i < n; i++) {
        struct p *p = sched.allp[i];
        if (ran_too_long(p, now) && (runq_len(&p->runq) || atomic_load(&sched.queue_len)))
            take(p, &sched.preemptions);
    }
}

/* ---- the poller ---- */

/* Who runs asks the poller when there is nothing else to run, which may take long. */
static void poll_late(int64_t now) {
    if (now - netpoll_last() >= POLL_AFTER && netpoll_poll())
        sched_kick();
}

/* A goroutine runs, or will at once, on a P. *blocked_p: one that is blocked, else NULL. */
static bool anybody_runs(bool interpreter_free, int64_t now, struct p **blocked_p) {
    *blocked_p = NULL;
    int n = atomic_load(&sched.nallp);
    for (int i = 0; i < n; i++) {
        struct p *p = sched.allp[i];
        if (!atomic_load(&p->m))
            continue;
        if (!blocked(p, interpreter_free, now))
            return true;
        *blocked_p = p;
    }
    return false;
}

/* Nobody sleeps in the poller, and nobody will come by, as all who have a P are blocked: an M is given
 * one of these Ps, or an idle one. It finds nothing to do and goes to sleep in the poller. */
static bool fill_seat(int64_t now) {
    bool parallel = sched.host->parallel;
    bool interpreter_free = parallel || sched.host->interpreter_holder() == HOLDER_NONE;
    struct p *p;
    if (anybody_runs(interpreter_free, now, &p))
        return false;
    return start_idle_p() || (p && take(p, &sched.handoffs));
}

/* ---- those who wait for the interpreter ---- */

/* A switch that exchanges thread states may give the interpreter back and take it again. Nobody wakes up
 * as fast as that. And as it looks like a change of hands, who waits does not ask for it either, as
 * CPython's threads do after 5 ms: they would wait for as long as goroutines switch. */
static void ask_for_offer(int64_t now) {
    int64_t entered = atomic_load_explicit(&sched.entered, memory_order_relaxed);
    int64_t since = entered > sysmon.offered ? entered : sysmon.offered;
    if (!sched.host->others_may_wait || now - since < OFFER_EVERY)
        return;
    sysmon.offered = now;
    if (sched.host->others_may_wait())
        detour_want(DETOUR_OFFER);
}

/* ---- the loop ---- */

/* When a timer is late, so that it is sysmon's. An idle M that waits for timers comes first. */
static int64_t next_timer(void) {
    bool watched = atomic_load(&sched.timer_m_until) != TIMER_NEVER;
    return timer_after(timers_next(), watched ? 2 * TIMER_PATIENCE : TIMER_SLACK);
}

static bool others_first(void) {
    return sched_work_waits() ||
           (!sched.host->parallel && sched.host->interpreter_holder() == HOLDER_WITH_P);
}

/* While others run, or wait, a late timer is left for a while to the M that switches next, or that gets a P
 * for them: there, whom it wakes runs next. Woken from here, it would have to queue up behind all of them. */
static void run_late_timers(int64_t now) {
    int64_t next = next_timer();
    if (next > now)
        return;
    if (now - next < TIMER_OVERDUE && others_first())
        detour_want(DETOUR_TIMERS);
    else
        timers_run(now);
}

static int64_t longest_delay(void) { return sysmon.rounds > ROUNDS_LONG ? LOOK_RARE : LOOK_LONG; }

static void look(void) {
    int64_t now = rt_now();
    sysmon.suspects = false;
    run_late_timers(now);
    preempt(now); /* always: it also keeps the notes on who has run since when */
    ask_for_offer(now);
    bool empty = poller_is_empty();
    if (empty)
        poll_late(now);
    bool waits = sched_work_waits();
    bool did = waits ? put_to_work(now) : empty && fill_seat(now);
    sysmon.quiet_rounds = waits || empty ? 0 : sysmon.quiet_rounds + 1;
    sysmon.rounds = did ? 0 : sysmon.rounds > ROUNDS_LONG ? sysmon.rounds : sysmon.rounds + 1;
    if (did)
        sysmon.delay = LOOK_SHORT;
    else if (!waits || sysmon.rounds > ROUNDS_SHORT)
        sysmon.delay = 2 * sysmon.delay < longest_delay() ? 2 * sysmon.delay : longest_delay();
}

/* Most who are suspected are on their way back: one look more, and no reason to hurry from then on. Nor does
 * a timer wait for the next of the rare looks. */
static int64_t until_next_look(void) {
    sysmon.confirming = sysmon.suspects && !sysmon.confirming;
    if (sysmon.confirming)
        return sysmon.delay < BLOCKED_AFTER ? sysmon.delay : BLOCKED_AFTER;
    if (sysmon.delay <= LOOK_LONG)
        return sysmon.delay;
    int64_t due = next_timer() - rt_now();
    return due < LOOK_LONG ? LOOK_LONG : due < sysmon.delay ? due : sysmon.delay;
}

/* Nothing to watch: to be woken by sysmon_wake(), or by the time a timer is late. Stacks that nobody
 * has used for a while are given back first. */
static void deep_sleep(void) {
    note_clear(&sysmon.note);
    atomic_store(&sched.sysmon_deep, true);
    sched_heavy_fence(); /* pairs with sched_kick() */
    int64_t until = next_timer();
    atomic_store(&sysmon_until, until);
    until = next_timer(); /* armed before the store was seen */
    if (!sched_work_waits() && !poller_is_empty() && !sched_stopping()) {
        int64_t scavenge = stack_idle_dirty() ? rt_now() + SCAVENGE_AFTER : NOTE_FOREVER;
        enum note_result r = note_sleep(&sysmon.note, scavenge < until ? scavenge : until);
        if (r == NOTE_TIMEDOUT && scavenge < until)
            while (stack_scavenge(64) > 0 && atomic_load(&sched.sysmon_deep))
                ;
    }
    atomic_store(&sched.sysmon_deep, false);
    atomic_store(&sysmon_until, 0);
    sysmon.quiet_rounds = sysmon.rounds = 0;
    sysmon.delay = LOOK_SHORT;
}

static void *sysmon_main(void *arg) {
    (void)arg;
    prctl(PR_SET_TIMERSLACK, 1);
    prctl(PR_SET_NAME, "sysmon");
    is_sysmon = true;
    sysmon.delay = LOOK_SHORT;
    while (!sched_stopping()) {
        look();
        if (sysmon.quiet_rounds > ROUNDS_QUIET)
            deep_sleep();
        else
            pause_for(until_next_look());
    }
    return NULL;
}

/* All but those of a fault, while the thread is made: sysmon is no place for handlers. They would find a small
 * stack and no thread state, and whom the signal was to wake would sleep on. */
static void block_signals(void) {
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
    sigset_t all;
    sigfillset(&all);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        sigdelset(&all, faults[i]);
    pthread_sigmask(SIG_SETMASK, &all, &sysmon.signals);
}

static void start(void) {
    bool running = false;
    if (!atomic_compare_exchange_strong(&sysmon.running, &running, true))
        return;
    pthread_attr_t attr;
    pthread_t thread;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, SYSMON_STACK);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    block_signals();
    bool started = pthread_create(&thread, &attr, sysmon_main, NULL) == 0;
    sysmon_unblock_signals();
    if (!started)
        atomic_store(&sysmon.running, false); /* tried again at the next wake */
    pthread_attr_destroy(&attr);
}

/* Not running counts as a deep sleep without end: it is started when it is first needed. */
void sysmon_init(void) {
    atomic_store(&sysmon.running, false);
    atomic_store(&sched.sysmon_deep, true);
    atomic_store(&sysmon_until, TIMER_NEVER);
}

void sysmon_wake(void) {
    if (!atomic_load(&sysmon.running)) {
        start();
        return;
    }
    if (atomic_exchange(&sched.sysmon_deep, false))
        note_wakeup(&sysmon.note);
}
