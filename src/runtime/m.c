/* Ms: how they are made and woken, and how they go idle. */
#include "proc_internal.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#define M_STACK_BYTES (256 << 10)

/* ---- made and woken ---- */

/* Scheduler lock held. */
static void timer_m_clear(struct m *m) {
    if (sched.timer_m != m)
        return;
    sched.timer_m = NULL;
    atomic_store(&sched.timer_m_until, TIMER_NEVER);
}

static void idle_m_unlink(struct m *m) {
    struct m **at = &sched.idle_m;
    while (*at != m)
        at = &(*at)->link;
    *at = m->link;
    m->idle = false;
    atomic_fetch_sub(&sched.idle_threads, 1);
    timer_m_clear(m);
}

/* Scheduler lock held. Not the one in the poller, if there is another. */
static struct m *idle_m_choose(void) {
    struct m *m = sched.idle_m;
    return m && m->link && m == atomic_load(&sched.poller_m) ? m->link : m;
}

static bool m_create(struct p *p, bool spinning) {
    struct m *m = NULL;
    if (atomic_fetch_add(&sched.threads, 1) >= atomic_load(&sched.max_threads))
        goto fail;
    m = calloc(1, sizeof *m);
    if (!m)
        goto fail;
    atomic_store_explicit(&m->in_runtime, 1, memory_order_relaxed);
    m->spinning = spinning;
    m->by_sysmon = sysmon_is_caller();
    m->rng = (uint32_t)rt_now() | 1;
    m->next_p = p;
    atomic_store(&p->m, m); /* the P is spoken for while the thread starts */
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, M_STACK_BYTES);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    int err = pthread_create(&m->thread, &attr, m_main, m);
    pthread_attr_destroy(&attr);
    if (err == 0)
        return true;
    rt_lock(&sched.lock); /* sysmon may be looking at m */
    atomic_store(&p->m, NULL);
    rt_unlock(&sched.lock);
fail:
    free(m);
    atomic_fetch_sub(&sched.threads, 1);
    return false;
}

static void end_deep_sleep(void) {
    if (atomic_load_explicit(&sched.sysmon_deep, memory_order_relaxed))
        sysmon_wake();
}

/* Scheduler lock held. p, which is nobody's, or another one if it is not in use any more; NULL: none. */
static struct p *usable(struct p *p) {
    if (p_in_use(p))
        return p;
    sched_idle_p_put(p);
    return sched.queue.len ? sched_idle_p_get() : NULL;
}

/* The work waits until a P's M has time for it; sysmon tries again. */
void sched_no_m(struct p *p, bool spinning) {
    bool known = atomic_exchange(&sched.threads_ran_out, true);
    rt_lock(&sched.lock);
    sched_idle_p_put(p);
    if (!known && atomic_load(&sched.watcher))
        note_poke(atomic_load(&sched.watcher)); /* which tells the user */
    rt_unlock(&sched.lock);
    if (spinning)
        atomic_fetch_sub(&sched.nspinning, 1);
    end_deep_sleep();
}

void sched_start_m(struct p *p, bool spinning) {
    rt_lock(&sched.lock);
    p = usable(p);
    if (!p) {
        rt_unlock(&sched.lock);
        if (spinning)
            atomic_fetch_sub(&sched.nspinning, 1);
        return;
    }
    struct m *m = idle_m_choose();
    bool polls = m && m == atomic_load(&sched.poller_m);
    if (m) {
        idle_m_unlink(m);
        m->next_p = p;
        m->spinning = spinning;
        atomic_store_explicit(&p->m, m, memory_order_relaxed);
    }
    rt_unlock(&sched.lock);
    if (m) {
        note_wakeup(&m->note);
        if (polls)
            netpoll_interrupt();
        return;
    }
    if (!m_create(p, spinning))
        sched_no_m(p, spinning);
}

void sched_hand_off(struct m *m) {
    rt_lock(&sched.lock);
    struct p *p = m_drop(m);
    bool work = sched.queue.len || runq_len(&p->runq) || timers_next() <= rt_now();
    if (!work)
        sched_idle_p_put(p);
    rt_unlock(&sched.lock);
    if (work)
        sched_start_m(p, false);
    else
        fill_poller();
}

static void start_spinning_m(void) {
    rt_lock(&sched.lock);
    struct p *p = sched_idle_p_get();
    if (p)
        atomic_fetch_add(&sched.nspinning, 1);
    rt_unlock(&sched.lock);
    if (p)
        sched_start_m(p, true);
    else
        end_deep_sleep(); /* who has taken the last idle P may never look at a queue */
}

void fill_poller(void) {
    if (poller_is_empty())
        start_spinning_m();
}

void sched_kick(void) {
    struct p *p = own_p();
    /* What was queued before is seen by who looks after these loads: sysmon, which has a heavy fence,
     * or an M about to go idle, which has none. */
    if (sched.host->parallel)
        sched_full_fence();
    else
        sched_light_fence();
    int idle = atomic_load(&sched.nidle_p);
    if (idle && !atomic_load(&sched.nspinning) &&
        (sched.host->parallel || (!p && idle == atomic_load(&sched.procs))))
        start_spinning_m();
    else
        end_deep_sleep();
}

void sched_kick_again(void) {
    if (!sched_work_waits())
        return;
    sched_enter();
    sched_kick();
    sched_leave();
}

void stop_spinning(struct m *m, bool found) {
    if (!m->spinning)
        return;
    m->spinning = false;
    atomic_fetch_sub(&sched.nspinning, 1);
    if (found)
        sched_kick(); /* there may be more where that came from */
}

void m_link(struct m *m) {
    rt_lock(&sched.lock);
    m->all_next = sched.all_m;
    if (sched.all_m)
        sched.all_m->all_prev = m;
    sched.all_m = m;
    m_take(m, m->next_p);
    rt_unlock(&sched.lock);
}

void m_unlink(struct m *m) {
    rt_lock(&sched.lock);
    if (m->all_prev)
        m->all_prev->all_next = m->all_next;
    else
        sched.all_m = m->all_next;
    if (m->all_next)
        m->all_next->all_prev = m->all_prev;
    rt_unlock(&sched.lock);
}

void sched_each_m(void (*fn)(struct m *m, void *arg), void *arg) {
    rt_lock(&sched.lock);
    for (struct m *m = sched.all_m; m; m = m->all_next)
        fn(m, arg);
    rt_unlock(&sched.lock);
}

int64_t sched_max_threads(int64_t n) {
    return n > 0 ? atomic_exchange(&sched.max_threads, n) : atomic_load(&sched.max_threads);
}

bool sched_threads_ran_out(void) {
    return atomic_load(&sched.threads_ran_out) && !atomic_exchange(&sched.shortage_told, true);
}

/* ---- going idle ---- */

/* Scheduler lock held. */
static void idle_m_put(struct m *m) {
    note_clear(&m->note);
    m->idle = true;
    m->link = sched.idle_m;
    sched.idle_m = m;
    atomic_fetch_add(&sched.idle_threads, 1);
}

/* Scheduler lock held, m idle. Takes it out again, with a P, if there is one. */
static bool idle_m_resume(struct m *m) {
    struct p *p = m->idle ? sched_idle_p_get() : NULL;
    if (!p)
        return false;
    idle_m_unlink(m);
    m_take(m, p);
    return true;
}

static bool resume_with_p(struct m *m) {
    rt_lock(&sched.lock);
    bool resumed = idle_m_resume(m);
    rt_unlock(&sched.lock);
    return resumed;
}

/* Work may have been queued after the last look at the queues and before the P was put idle. */
static bool resume_for_missed_work(struct m *m) {
    if (!sched.host->parallel)
        return false;
    sched_full_fence(); /* pairs with sched_kick() */
    return sched_work_waits() && resume_with_p(m);
}

/* One idle M sleeps until the next timer only. */
static int64_t sleep_until(struct m *m) {
    int64_t until = NOTE_FOREVER;
    rt_lock(&sched.lock);
    if (m->idle && (!sched.timer_m || sched.timer_m == m)) {
        if (sched.idle_p) {
            int64_t patience = detour_wanted(DETOUR_TIMERS) ? TIMER_PATIENCE : 0;
            sched.timer_m = m;
            atomic_store(&sched.timer_m_until, timer_after(timers_next(), patience));
            /* after the store: who arms an earlier one now sees it */
            until = timer_after(timers_next(), patience);
        } else {
            timer_m_clear(m); /* those who have the Ps run the timers, and sysmon */
        }
    }
    rt_unlock(&sched.lock);
    return until;
}

void sched_timer_armed(int64_t when) {
    if (when < atomic_load(&sched.timer_m_until)) {
        rt_lock(&sched.lock);
        if (sched.timer_m)
            note_poke(&sched.timer_m->note);
        if (sched.timer_m && sched.timer_m == atomic_load(&sched.poller_m))
            netpoll_interrupt();
        rt_unlock(&sched.lock);
    }
    if (when < atomic_load(&sysmon_until))
        sysmon_wake();
}

/* ---- sleeping in the poller ---- */

/* The lock of the poller comes before the seat: so a nonblocking poll that is under way cannot take the
 * interrupt away from who has the seat. */
static bool take_seat(struct m *m) {
    while (poller_is_empty()) {
        if (!netpoll_acquire()) {
            sched_yield(); /* somebody polls without waiting, or has just come to wait */
            continue;
        }
        rt_lock(&sched.lock);
        bool seated = m->idle && !atomic_load(&sched.poller_m);
        if (seated)
            atomic_store(&sched.poller_m, m);
        rt_unlock(&sched.lock);
        if (seated)
            return true;
        netpoll_release();
        return false;
    }
    return false;
}

/* As note_sleep(), for who has the seat, which is given back. *woken: how many goroutines have been
 * queued. */
static enum note_result sleep_in_poller(struct m *m, int64_t until, int *woken) {
    enum note_result result = note_look(&m->note);
    if (result == NOTE_TIMEDOUT) {
        *woken = netpoll_block(until);
        result = note_look(&m->note);
        if (result == NOTE_TIMEDOUT && rt_now() < until)
            result = NOTE_POKED;
    }
    atomic_store(&sched.poller_m, NULL);
    netpoll_release();
    return result;
}

/* With a GIL, a goroutine that is inside with a P comes to the queues itself. At the end the host, which
 * is about to go, is not asked. */
static bool of_use_now(void) {
    if (sched.host->parallel)
        return true;
    return !sched_stopping() && sched.host->interpreter_holder() != HOLDER_WITH_P;
}

/* There is no timer to be run here: somebody else has done it. Or a goroutine is inside with a P and will, at
 * its next switch: there, whom they wake goes on at once, and here it would wait for the interpreter. That
 * may take long, so not for ever. */
static bool leave_timers(void) {
    int64_t late = rt_now() - timers_next();
    if (late < 0) {
        detour_take(DETOUR_TIMERS);
        return true;
    }
    if (late >= TIMER_PATIENCE || of_use_now())
        return false;
    detour_want(DETOUR_TIMERS);
    return true;
}

/* Sleeps until there is a P for m and something to do.
 *
 * Who has queued goroutines from the poller and is of no use now, stays out of it: as long as others
 * run, they poll by themselves, and each event would wake m for nothing. When they are out of work one
 * of them takes the seat; when they are blocked sysmon fills it. */
static void sleep_idle(struct m *m) {
    for (bool stay_out = false;;) {
        int woken = 0;
        int64_t until = sleep_until(m);
        bool seated = !stay_out && take_seat(m);
        enum note_result result = seated ? sleep_in_poller(m, until, &woken)
                                         : note_sleep(&m->note, until);
        bool resumed = result == NOTE_WOKEN;
        if (resumed) {
            rt_lock(&sched.lock);
            m_take(m, m->next_p);
            rt_unlock(&sched.lock);
        } else if (result == NOTE_TIMEDOUT ? !leave_timers() : woken && of_use_now()) {
            resumed = resume_with_p(m);
        }
        /* For those who were woken; and if the seat is empty now, for sysmon to watch it. */
        if (woken > 1 || (woken && !resumed) || (seated && resumed && netpoll_waiters()))
            sched_kick();
        if (resumed)
            return;
        stay_out = stay_out || woken;
    }
}

static _Noreturn void sleep_for_good(void) {
    for (;;)
        pause();
}

/* Returns with a P. */
void go_idle(struct m *m) {
    if (m->attached) {
        if (m->own_p)
            g_trim(m->own_p);
        m->attached = false;
        sched.host->detach(m);
    }
    if (sched_stopping())
        sleep_for_good();
    stop_spinning(m, false);
    rt_lock(&sched.lock);
    if (m->own_p && !p_in_use(m->own_p))
        sched_idle_p_put(m_drop(m));
    bool work = sched.queue.len > 0;
    struct p *p = work && !m->own_p ? sched_idle_p_get() : NULL;
    if (p)
        m_take(m, p);
    if (m->own_p && !work)
        sched_idle_p_put(m_drop(m));
    if (m->own_p) {
        rt_unlock(&sched.lock);
        return;
    }
    idle_m_put(m);
    rt_unlock(&sched.lock);
    if (resume_for_missed_work(m))
        return;
    sched_poke_watcher();
    sleep_idle(m);
}
