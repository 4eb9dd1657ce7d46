/* The scheduler's heart: how an M finds a goroutine, takes it up and leaves it. (Ps and their queues: p.c;
 * how Ms are made and go idle: m.c.)
 *
 * What a goroutine does when it gives up its M (sched_leave_m): if its P's queue has another one, the
 * M jumps straight to it, one change of thread state for one switch. Else the M jumps to g0, which
 * looks further (find_runnable) and, when there is nothing, goes idle.
 *
 * A P changes hands in four ways: its M drops it to go idle, a wired goroutine hands it off before it
 * waits, sysmon takes it (sched_take_p), and whoever starts an M gives it one. All four hold the
 * scheduler lock. */
#include "proc_internal.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "fault.h"

#define FAIRNESS_TICKS 61 /* a prime, as Go's: every so often the global queue goes first */
#define DEFAULT_MAX_THREADS 10000

struct sched sched = {.max_threads = DEFAULT_MAX_THREADS, .timer_m_until = TIMER_NEVER};

static __thread struct m *this_m;

#if defined(__GNUC__) && !defined(__clang__)
#define RT_NOIPA __attribute__((noinline, noipa))
#else
#define RT_NOIPA __attribute__((noinline))
#endif

RT_NOIPA struct m *rt_m(void) {
    __asm__ volatile(""); /* not to be cached across a switch by inter-procedural analysis */
    return this_m;
}

/* The calling thread is no M any more. */
void rt_no_m(void) { this_m = NULL; }

void rt_fatal(const char *where, const char *what) {
    fprintf(stderr, "goroutines: fatal error in %s: %s\n", where, what);
    abort();
}

/* ---- leaving ---- */

static void yielded_global(struct g *g) {
    g_set_status(g, G_RUNNABLE);
    rt_lock(&sched.lock);
    sched.without_p--;
    global_push(g);
    rt_unlock(&sched.lock);
}

/* The thread state of m->leaving is not in use any more: from here on others may have it. */
static void finish_leaving(struct m *m) {
    struct g *g = m->leaving;
    if (!g)
        return;
    m->leaving = NULL;
    switch (m->leave_how) {
    case LEAVE_PARK:
        if (!park_left(g))
            return;
        sched_queue(g);
        break;
    case LEAVE_YIELD:
        g_set_status(g, G_RUNNABLE);
        put_tail(m->own_p, g);
        break;
    case LEAVE_YIELD_GLOBAL:
        yielded_global(g);
        break;
    case LEAVE_DEAD:
        g_recycle(m->own_p, g);
        return;
    }
    /* Who woke g has kicked before it was queued: sysmon may be in its deep sleep again. */
    sched_kick();
}

/* So that m->leaving can be had by others though no goroutine follows it. */
static void let_go(struct m *m) {
    if (!m->leaving)
        return;
    sched.host->attach_m(m);
    m->attached = true;
    finish_leaving(m);
}

static void take_up(struct m *m, struct p *p, struct g *g) {
    atomic_store_explicit(&m->curg, g, memory_order_relaxed);
    atomic_store_explicit(&g->m, m, memory_order_relaxed);
    atomic_store_explicit(&g->started, true, memory_order_relaxed);
    g_set_status(g, G_RUNNING);
    atomic_store_explicit(&p->tick, atomic_load_explicit(&p->tick, memory_order_relaxed) + 1,
                          memory_order_relaxed);
    counter_add(&p->switches, 1);
}

/* The M was outside. What it has now it need not offer soon: others would get all of it. */
static void entered(struct m *m) {
    m->attached = true;
    if (sched.host->others_may_wait) {
        atomic_store_explicit(&sched.entered, rt_now(), memory_order_relaxed);
        detour_take(DETOUR_OFFER);
    }
}

/* First thing after a jump to a goroutine. */
static void resumed(void) {
    struct m *m = rt_m();
    if (m->same) {
        m->same = false;
        return;
    }
    sched.host->attach(m, m_curg(m));
    if (!m->attached)
        entered(m);
    finish_leaving(m);
}

static bool fair_turn(struct p *p) {
    return atomic_load_explicit(&p->tick, memory_order_relaxed) % FAIRNESS_TICKS == 0;
}

static struct g *next_without_g0(struct m *m) {
    struct p *p = m->own_p;
    if (!p || m->dying || fair_turn(p) || !p_in_use(p) || detour_wanted(UINT32_MAX))
        return NULL;
    return runq_get(&p->runq);
}

void sched_leave_m(struct m *m, struct g *g, enum leave_how how) {
    m->leaving = g;
    m->leave_how = how;
    struct context *to = &m->g0;
    struct g *next = next_without_g0(m);
    if (next) {
        take_up(m, m->own_p, next);
        to = &next->ctx;
    } else {
        atomic_store_explicit(&m->curg, NULL, memory_order_relaxed);
    }
    if (how == LEAVE_DEAD) {
        context_exit_jump(&g->ctx, to);
        rt_fatal("sched_leave_m", "a dead goroutine was resumed");
    }
    context_jump(&g->ctx, to);
    resumed();
}

/* ---- entering ---- */

static void mark_in_runtime(struct m *m) {
    atomic_store_explicit(&m->in_runtime, 1,
                          sched_membarrier ? memory_order_relaxed : memory_order_seq_cst);
    if (sched_membarrier)
        atomic_signal_fence(memory_order_seq_cst);
    m->own_p = atomic_load_explicit(&m->p, memory_order_seq_cst);
}

/* The P seems to be gone: look again under the lock, where sysmon is not halfway. */
static bool p_is_gone(struct m *m) {
    rt_lock(&sched.lock);
    m->own_p = m_p(m);
    rt_unlock(&sched.lock);
    return !m->own_p;
}

static bool take_idle_p(struct m *m) {
    rt_lock(&sched.lock);
    struct p *p = sched_idle_p_get();
    if (p) {
        sched.without_p--;
        m_take(m, p);
    }
    rt_unlock(&sched.lock);
    return p != NULL;
}

static void enter_without_p(struct m *m, struct g *g) {
    if (!p_is_gone(m) || g_wired(g) || take_idle_p(m) || sched.host->pinned(g))
        return;
    sched_leave_m(m, g, LEAVE_YIELD_GLOBAL);
}

struct g *sched_current(void) {
    struct m *m = rt_m();
    return m ? m_curg(m) : NULL;
}

struct g *sched_enter(void) {
    struct m *m = rt_m();
    struct g *g = m ? m_curg(m) : NULL;
    if (!g)
        return glist_thread_g();
    mark_in_runtime(m);
    if (!m->own_p)
        enter_without_p(m, g);
    return g;
}

void sched_enter_to_wake(void) {
    struct m *m = rt_m();
    if (!m || !m_curg(m))
        return;
    mark_in_runtime(m);
    if (!m->own_p)
        p_is_gone(m);
}

void sched_leave(void) {
    struct m *m = rt_m();
    if (m && m_curg(m))
        atomic_store_explicit(&m->in_runtime, 0, memory_order_release);
}

bool sched_take_p(struct m *m, struct p *p) {
    rt_lock(&sched.lock);
    bool taken = false;
    if (atomic_load(&p->m) == m && m_p(m) == p) {
        atomic_store_explicit(&m->p, NULL, memory_order_seq_cst);
        sched_heavy_fence();
        /* Either the M sees that its P is gone, or it is seen here inside the runtime. */
        taken = !atomic_load_explicit(&m->in_runtime, memory_order_seq_cst);
        if (taken) {
            sched.without_p++;
            atomic_store_explicit(&p->m, NULL, memory_order_relaxed);
        } else {
            atomic_store_explicit(&m->p, p, memory_order_release);
        }
    }
    rt_unlock(&sched.lock);
    return taken;
}

/* ---- goroutines begin and end ---- */

static void count_finished(struct p *p) {
    if (p) {
        counter_add(&p->finished, 1);
        return;
    }
    atomic_fetch_add(&sched.finished, 1);
    rt_lock(&sched.lock);
    sched.without_p--;
    rt_unlock(&sched.lock);
}

static void goroutine_entry(void) {
    context_entered();
    resumed();
    struct g *g = m_curg(rt_m());
    sched_leave();
    sched.host->run(g);
    struct m *m = rt_m();
    mark_in_runtime(m);
    if (!m->own_p)
        p_is_gone(m);
    m->dying = g->wired_for_life || g_wired(g);
    g_set_status(g, G_DEAD);
    count_finished(m->own_p);
    sched_leave_m(m, g, LEAVE_DEAD);
}

void g_queue_new(struct g *g) {
    struct p *p = own_p();
    if (p)
        counter_add(&p->started, 1);
    else
        atomic_fetch_add(&sched.started, 1);
    sched_queue(g);
}

void g_start(struct g *g) {
    sched_enter();
    g_queue_new(g);
    sched_kick();
    sched_leave();
}

void sched_prepare_g(struct g *g) {
    atomic_store_explicit(&g->started, false, memory_order_relaxed);
    g->wired_for_life = false;
    atomic_store_explicit(&g->interrupt_wanted, false, memory_order_relaxed);
    atomic_store_explicit(&g->wired, 0, memory_order_relaxed);
    atomic_store_explicit(&g->park, 0, memory_order_relaxed);
    atomic_store_explicit(&g->id, atomic_fetch_add(&sched.last_id, 1) + 1, memory_order_relaxed);
    context_init(&g->ctx, g->stack.lo, g->stack.hi - sched.host->goroutine_size, goroutine_entry);
}

/* ---- looking for work ---- */

/* The goroutine this M has given up but not yet left can go on, and nothing else is queued here. */
static struct g *same_again(struct m *m, enum leave_how how) {
    struct g *g = m->leaving;
    if (!g || m->leave_how != how || (how == LEAVE_PARK && !park_claimed(g)))
        return NULL;
    m->leaving = NULL;
    m->same = true;
    return g;
}

/* Those who wait behind a pair that wakes each other. The two queues take turns, as neither need ever
 * be empty. */
static struct g *fair_pick(struct p *p) {
    uint32_t turn = atomic_load_explicit(&p->tick, memory_order_relaxed) / FAIRNESS_TICKS;
    struct g *g = turn % 2 ? runq_get_ring(&p->runq) : global_get_one();
    if (g)
        return g;
    return turn % 2 ? global_get_one() : runq_get_ring(&p->runq);
}

/* What it finds is queued here; or it is the goroutine that is being left. */
static struct g *poll_descriptors(struct m *m, struct p *p) {
    if (!poller_is_empty())
        return NULL;
    int woken = netpoll_poll();
    if (woken > 1)
        sched_kick();
    struct g *g = woken ? runq_get(&p->runq) : NULL;
    return g ? g : same_again(m, LEAVE_PARK);
}

static void run_timers(void) {
    detour_take(DETOUR_TIMERS);
    if (timers_next() != TIMER_NEVER)
        timers_run(rt_now());
}

static struct g *find_on(struct m *m, struct p *p, bool polled) {
    struct g *g = NULL;
    run_timers();
    if (fair_turn(p))
        g = fair_pick(p);
    if (!g)
        g = runq_get(&p->runq);
    if (!g)
        g = same_again(m, LEAVE_PARK);
    if (!g)
        g = global_get(p);
    if (!g)
        g = same_again(m, LEAVE_YIELD);
    if (!g && !polled)
        g = poll_descriptors(m, p);
    if (!g)
        g = steal(m, p);
    return g;
}

/* For as long as it takes a thread that waits for it to wake up. */
static void offer_interpreter(struct m *m) {
    const struct timespec ts = {.tv_nsec = 50000};
    let_go(m);
    m->attached = false;
    sched.host->detach(m);
    nanosleep(&ts, NULL);
}

/* A goroutine for this M, which has a P then. NULL: the M is to end. */
static struct g *find_runnable(struct m *m) {
    for (bool polled = false;;) {
        if (m->attached && detour_take(DETOUR_OFFER))
            offer_interpreter(m);
        struct p *p = m->own_p;
        if (p && !m->dying && p_in_use(p) && !sched_stopping()) {
            struct g *g = find_on(m, p, polled);
            if (g)
                return g;
            if (m->leaving) {
                let_go(m); /* which may have queued something */
                polled =
                    true; /* a moment ago; and if nothing was queued, it will wait in the poller */
                continue;
            }
        }
        let_go(m);
        if (m->dying)
            return NULL;
        go_idle(m);
        polled = false;
    }
}

static void m_free(struct m *m) {
    fault_thread_stop();
    m_unlink(m);
    this_m = NULL;
    free(m);
    atomic_fetch_sub(&sched.threads, 1);
}

static struct p *drop_p(struct m *m) {
    rt_lock(&sched.lock);
    struct p *p = m_drop(m);
    rt_unlock(&sched.lock);
    return p;
}

void *m_main(void *arg) {
    struct m *m = arg;
    this_m = m;
    m->tid = (pid_t)syscall(SYS_gettid);
    prctl(PR_SET_NAME, "goroutines"); /* else it is called as who started it, sysmon for example */
    context_init_thread(&m->g0);
    m_link(m);
    fault_thread_start();
    if (!sched.host->thread_start(m)) {
        sched_no_m(drop_p(m), m->spinning);
        m_free(m);
        return NULL;
    }
    if (m->by_sysmon)
        sysmon_unblock_signals();
    for (struct g *g; (g = find_runnable(m));) {
        stop_spinning(m, true);
        take_up(m, m->own_p, g);
        context_jump(&m->g0, &g->ctx);
    }
    if (m->own_p)
        sched_hand_off(m);
    sched.host->thread_stop(m);
    m_free(m);
    sched_poke_watcher();
    return NULL;
}

/* ---- yield, wiring ---- */

void sched_yield_g(void) {
    struct g *g = sched_enter();
    if (!g)
        return;
    if (g->is_thread || g_wired(g) || sched.host->pinned(g)) {
        sched_leave();
        sched.host->block(g);
        sched_yield();
        sched.host->unblock(g);
        return;
    }
    sched_leave_m(rt_m(), g, LEAVE_YIELD);
    sched_leave();
}

void sched_wire(struct g *g) {
    atomic_store_explicit(&g->wired, atomic_load_explicit(&g->wired, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

void sched_unwire(struct g *g) {
    uint32_t n = atomic_load_explicit(&g->wired, memory_order_relaxed);
    if (n > 0)
        atomic_store_explicit(&g->wired, n - 1, memory_order_relaxed);
}

void sched_wire_for_life(struct g *g) {
    if (g->wired_for_life)
        return;
    g->wired_for_life = true;
    sched_wire(g);
}

/* ---- begin and end ---- */

void sched_init(const struct host *host, int procs) {
    if (atomic_load(&sched.ready))
        return;
    sched.host = host;
    fences_init();
    rt_lock(&sched.lock);
    set_procs(procs < MAX_PROCS ? procs : MAX_PROCS);
    rt_unlock(&sched.lock);
    sysmon_init();
    atomic_store(&sched.ready, true);
}

bool sched_started(void) { return atomic_load(&sched.ready); }

void sched_stop(void) { detour_want(DETOUR_STOPPING); }

bool sched_stopping(void) { return detour_wanted(DETOUR_STOPPING); }

void sched_look_lock(void) { rt_lock(&sched.lock); }

void sched_look_unlock(void) { rt_unlock(&sched.lock); }
