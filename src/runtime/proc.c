/* The scheduler's heart: how an M finds a goroutine, takes it up, leaves it, and goes idle.
 *
 * What a goroutine does when it gives up its M (sched_leave_m): if its P's queue has another one, the
 * M jumps straight to it, one change of thread state for one switch. Else the M jumps to g0, which
 * looks further (find_runnable) and, when there is nothing, goes idle.
 *
 * A P changes hands in four ways: its M drops it to go idle, a wired goroutine hands it off before it
 * waits, sysmon takes it (sched_take_p), and whoever starts an M gives it one. All four hold the
 * scheduler lock. */
#include "proc_internal.h"

#include <linux/membarrier.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fault.h"

#define FAIRNESS_TICKS 61 /* a prime, as Go's: every so often the global queue goes first */
#define M_STACK_BYTES (256 << 10)
#define DEFAULT_MAX_THREADS 10000

struct sched sched = {.max_threads = DEFAULT_MAX_THREADS, .timer_m_until = TIMER_NEVER};
bool sched_membarrier;

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

void rt_fatal(const char *where, const char *what) {
    fprintf(stderr, "goroutines: fatal error in %s: %s\n", where, what);
    abort();
}

/* ---- fences ---- */

static long membarrier(int command) { return syscall(SYS_membarrier, command, 0, 0); }

static void fences_init(void) {
#ifndef __SANITIZE_THREAD__
    sched_membarrier = membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0;
#endif
}

void sched_heavy_fence(void) {
    if (sched_membarrier)
        membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
#ifndef __SANITIZE_THREAD__
    else
        atomic_thread_fence(memory_order_seq_cst);
#endif
}

/* ---- P ---- */

static bool p_in_use(const struct p *p) { return p->id < atomic_load(&sched.procs); }

static struct p *p_new(int id) {
    struct p *p = aligned_alloc(64, sizeof *p);
    if (!p)
        return NULL;
    memset(p, 0, sizeof *p);
    p->id = id;
    p->retired = true;
    runq_init(&p->runq);
    return p;
}

/* Scheduler lock held. */
static void global_push(struct g *g) {
    glist_push(&sched.queue, g);
    atomic_store_explicit(&sched.queue_len, sched.queue.len, memory_order_release);
}

/* Scheduler lock held. Nobody will run p any more: what it has queued goes to the global queue. */
static void drain(struct p *p) {
    struct g *batch[RUNQ_SIZE / 2];
    for (uint32_t n; (n = runq_grab(&p->runq, batch, true)) > 0;)
        for (uint32_t i = 0; i < n; i++)
            global_push(batch[i]);
}

void sched_idle_p_put(struct p *p) {
    atomic_store_explicit(&p->m, NULL, memory_order_relaxed);
    p->retired = !p_in_use(p);
    if (p->retired) {
        drain(p);
        return;
    }
    p->idle = true;
    p->link = sched.idle_p;
    sched.idle_p = p;
    atomic_fetch_add(&sched.nidle_p, 1);
}

struct p *sched_idle_p_get(void) {
    struct p *p = sched.idle_p;
    if (p) {
        sched.idle_p = p->link;
        p->idle = false;
        atomic_fetch_sub(&sched.nidle_p, 1);
    }
    return p;
}

static void idle_p_unlink(struct p *p) {
    struct p **at = &sched.idle_p;
    while (*at != p)
        at = &(*at)->link;
    *at = p->link;
    p->idle = false;
    atomic_fetch_sub(&sched.nidle_p, 1);
}

/* Scheduler lock held, or m not yet visible. */
static void m_take(struct m *m, struct p *p) {
    m->own_p = p;
    atomic_store_explicit(&p->m, m, memory_order_relaxed);
    atomic_store_explicit(&m->p, p, memory_order_release);
}

/* Scheduler lock held. */
static struct p *m_drop(struct m *m) {
    struct p *p = m->own_p;
    m->own_p = NULL;
    atomic_store_explicit(&m->p, NULL, memory_order_relaxed);
    atomic_store_explicit(&p->m, NULL, memory_order_relaxed);
    return p;
}

/* ---- queues ---- */

static struct p *own_p(void) {
    struct m *m = rt_m();
    return m && atomic_load_explicit(&m->in_runtime, memory_order_relaxed) ? m->own_p : NULL;
}

static struct g *global_pop(void) {
    struct g *g = glist_pop(&sched.queue);
    atomic_store_explicit(&sched.queue_len, sched.queue.len, memory_order_release);
    return g;
}

void sched_queue_global(struct g *g) {
    g_set_status(g, G_RUNNABLE);
    rt_lock(&sched.lock);
    global_push(g);
    rt_unlock(&sched.lock);
}

/* The ring is full: half of it, and g, to the global queue. */
static void put_overflow(struct p *p, struct g *g) {
    struct g *batch[RUNQ_SIZE / 2 + 1];
    uint32_t n = runq_take_half(&p->runq, batch);
    if (n == 0 && runq_put(&p->runq, g))
        return; /* thieves made room */
    rt_lock(&sched.lock);
    for (uint32_t i = 0; i < n; i++)
        global_push(batch[i]);
    global_push(g);
    rt_unlock(&sched.lock);
}

static void put_tail(struct p *p, struct g *g) {
    if (!runq_put(&p->runq, g))
        put_overflow(p, g);
}

void sched_queue(struct g *g) {
    struct p *p = own_p();
    if (!p) {
        sched_queue_global(g);
        return;
    }
    g_set_status(g, G_RUNNABLE);
    struct g *pushed_out = runq_put_next(&p->runq, g);
    if (pushed_out)
        put_tail(p, pushed_out);
}

static struct g *global_get_one(void) {
    if (!atomic_load_explicit(&sched.queue_len, memory_order_acquire))
        return NULL;
    rt_lock(&sched.lock);
    struct g *g = global_pop();
    rt_unlock(&sched.lock);
    return g;
}

/* A fair share of the global queue: the first is returned, the others go on p's ring. */
static struct g *global_get(struct p *p) {
    if (!atomic_load_explicit(&sched.queue_len, memory_order_acquire))
        return NULL;
    struct glist batch = {0};
    rt_lock(&sched.lock);
    int64_t n = sched.queue.len / atomic_load(&sched.procs) + 1;
    for (; n > 0 && sched.queue.len && batch.len < RUNQ_SIZE / 2; n--)
        glist_push(&batch, global_pop());
    rt_unlock(&sched.lock);
    struct g *first = glist_pop(&batch);
    for (struct g *g; (g = glist_pop(&batch));)
        put_tail(p, g);
    return first;
}

static uint32_t next_random(struct m *m) {
    m->rng ^= m->rng << 13;
    m->rng ^= m->rng >> 17;
    m->rng ^= m->rng << 5;
    return m->rng;
}

/* With one interpreter lock, what a running goroutine has queued is left to its own M: two Ms inside
 * the interpreter only fight. */
static bool may_steal_from(struct p *victim) {
    if (sched.host->parallel)
        return true;
    rt_lock(&sched.lock);
    /* acquire: a new M is announced there without the lock */
    struct m *owner = atomic_load_explicit(&victim->m, memory_order_acquire);
    bool may = !owner || (!atomic_load_explicit(&owner->in_runtime, memory_order_acquire) &&
                          sched.host->outside(owner));
    rt_unlock(&sched.lock);
    return may;
}

static struct g *steal_from(struct p *p, struct p *victim, bool take_next) {
    struct g *batch[RUNQ_SIZE / 2];
    if (victim == p || !runq_len(&victim->runq) || !may_steal_from(victim))
        return NULL;
    uint32_t n = runq_grab(&victim->runq, batch, take_next);
    if (n == 0)
        return NULL;
    counter_add(&p->steals, n);
    for (uint32_t i = 1; i < n; i++)
        put_tail(p, batch[i]);
    return batch[0];
}

static struct g *steal(struct m *m, struct p *p) {
    int n = atomic_load(&sched.nallp);
    if (n == 1)
        return NULL;
    uint32_t start = next_random(m);
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < n; i++) {
            struct g *g = steal_from(p, sched.allp[(start + (uint32_t)i) % (uint32_t)n],
                                     round == 1);
            if (g)
                return g;
        }
    return NULL;
}

bool sched_work_waits(void) {
    if (atomic_load(&sched.queue_len))
        return true;
    int n = atomic_load(&sched.nallp);
    for (int i = 0; i < n; i++)
        if (runq_len(&sched.allp[i]->runq))
            return true;
    return false;
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

/* First thing after a jump to a goroutine. */
static void resumed(void) {
    struct m *m = rt_m();
    if (m->same) {
        m->same = false;
        return;
    }
    sched.host->attach(m, m_curg(m));
    m->attached = true;
    finish_leaving(m);
}

static bool fair_turn(struct p *p) {
    return atomic_load_explicit(&p->tick, memory_order_relaxed) % FAIRNESS_TICKS == 0;
}

static struct g *next_without_g0(struct m *m) {
    struct p *p = m->own_p;
    if (!p || m->dying || fair_turn(p) || !p_in_use(p) || sched_stopping())
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
    context_init(&g->ctx, g->stack.lo, g->host, goroutine_entry);
}

/* ---- Ms ---- */

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

static void *m_main(void *arg);

static bool m_create(struct p *p, bool spinning) {
    struct m *m = NULL;
    if (atomic_fetch_add(&sched.threads, 1) >= atomic_load(&sched.max_threads))
        goto fail;
    m = calloc(1, sizeof *m);
    if (!m)
        goto fail;
    atomic_store_explicit(&m->in_runtime, 1, memory_order_relaxed);
    m->spinning = spinning;
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

void sched_start_m(struct p *p, bool spinning) {
    rt_lock(&sched.lock);
    p = usable(p);
    if (!p) {
        rt_unlock(&sched.lock);
        if (spinning)
            atomic_fetch_sub(&sched.nspinning, 1);
        return;
    }
    struct m *m = sched.idle_m;
    if (m) {
        idle_m_unlink(m);
        m->next_p = p;
        m->spinning = spinning;
        atomic_store_explicit(&p->m, m, memory_order_relaxed);
    }
    rt_unlock(&sched.lock);
    if (m) {
        note_wakeup(&m->note);
        return;
    }
    if (m_create(p, spinning))
        return;
    /* The work waits until a P's M has time for it; sysmon tries again. */
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

void sched_hand_off(struct m *m) {
    rt_lock(&sched.lock);
    struct p *p = m_drop(m);
    bool work = sched.queue.len || runq_len(&p->runq) || timers_next() <= rt_now();
    if (!work)
        sched_idle_p_put(p);
    rt_unlock(&sched.lock);
    if (work)
        sched_start_m(p, false);
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

static void stop_spinning(struct m *m, bool found) {
    if (!m->spinning)
        return;
    m->spinning = false;
    atomic_fetch_sub(&sched.nspinning, 1);
    if (found)
        sched_kick(); /* there may be more where that came from */
}

/* ---- going idle ---- */

void sched_poke_watcher(void) {
    if (!sched.watcher || atomic_load(&sched.watcher_armed))
        return;
    if (!sched_asleep())
        return;
    rt_lock(&sched.lock);
    if (sched.watcher)
        note_poke(sched.watcher);
    rt_unlock(&sched.lock);
}

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

/* Work may have been queued after the last look at the queues and before the P was put idle. */
static bool resume_for_missed_work(struct m *m) {
    if (!sched.host->parallel)
        return false;
    sched_full_fence(); /* pairs with sched_kick() */
    if (!sched_work_waits())
        return false;
    rt_lock(&sched.lock);
    bool resumed = idle_m_resume(m);
    rt_unlock(&sched.lock);
    return resumed;
}

/* One idle M sleeps until the next timer only. */
static int64_t sleep_until(struct m *m) {
    int64_t until = NOTE_FOREVER;
    rt_lock(&sched.lock);
    if (m->idle && (!sched.timer_m || sched.timer_m == m)) {
        if (sched.idle_p) {
            sched.timer_m = m;
            atomic_store(&sched.timer_m_until, timers_next());
            until = timers_next(); /* after the store: who arms an earlier one now sees it */
        } else {
            timer_m_clear(m); /* those who have the Ps run the timers, and sysmon */
        }
    }
    rt_unlock(&sched.lock);
    return until;
}

static bool resume_for_timer(struct m *m) {
    rt_lock(&sched.lock);
    bool resumed = idle_m_resume(m);
    rt_unlock(&sched.lock);
    return resumed;
}

void sched_timer_armed(int64_t when) {
    if (when < atomic_load(&sched.timer_m_until)) {
        rt_lock(&sched.lock);
        if (sched.timer_m)
            note_poke(&sched.timer_m->note);
        rt_unlock(&sched.lock);
    }
    if (when < atomic_load(&sysmon_until))
        sysmon_wake();
}

static void sleep_idle(struct m *m) {
    for (;;) {
        switch (note_sleep(&m->note, sleep_until(m))) {
        case NOTE_WOKEN: {
            struct p *p = m->next_p;
            rt_lock(&sched.lock);
            m_take(m, p);
            rt_unlock(&sched.lock);
            return;
        }
        case NOTE_TIMEDOUT:
            if (resume_for_timer(m))
                return;
            break;
        default:
            break; /* a poke: an earlier timer; a signal */
        }
    }
}

static _Noreturn void sleep_for_good(void) {
    for (;;)
        pause();
}

/* Returns with a P. */
static void go_idle(struct m *m) {
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

static struct g *find_on(struct m *m, struct p *p) {
    struct g *g = NULL;
    if (timers_next() != TIMER_NEVER)
        timers_run(rt_now());
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
    if (!g)
        g = steal(m, p);
    return g;
}

/* A goroutine for this M, which has a P then. NULL: the M is to end. */
static struct g *find_runnable(struct m *m) {
    for (;;) {
        struct p *p = m->own_p;
        if (p && !m->dying && p_in_use(p) && !sched_stopping()) {
            struct g *g = find_on(m, p);
            if (g)
                return g;
            if (m->leaving) {
                let_go(m); /* which may have queued something */
                continue;
            }
        }
        let_go(m);
        if (m->dying)
            return NULL;
        go_idle(m);
    }
}

static void m_link(struct m *m) {
    rt_lock(&sched.lock);
    m->all_next = sched.all_m;
    if (sched.all_m)
        sched.all_m->all_prev = m;
    sched.all_m = m;
    m_take(m, m->next_p);
    rt_unlock(&sched.lock);
}

static void m_unlink(struct m *m) {
    rt_lock(&sched.lock);
    if (m->all_prev)
        m->all_prev->all_next = m->all_next;
    else
        sched.all_m = m->all_next;
    if (m->all_next)
        m->all_next->all_prev = m->all_prev;
    rt_unlock(&sched.lock);
}

static void *m_main(void *arg) {
    struct m *m = arg;
    this_m = m;
    m->tid = (pid_t)syscall(SYS_gettid);
    context_init_thread(&m->g0);
    m_link(m);
    fault_thread_start();
    sched.host->thread_start(m);
    for (struct g *g; (g = find_runnable(m));) {
        stop_spinning(m, true);
        take_up(m, m->own_p, g);
        context_jump(&m->g0, &g->ctx);
    }
    if (m->own_p)
        sched_hand_off(m);
    sched.host->thread_stop(m);
    fault_thread_stop();
    m_unlink(m);
    this_m = NULL;
    free(m);
    atomic_fetch_sub(&sched.threads, 1);
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

/* ---- settings and looking ---- */

/* Scheduler lock held. */
static void set_procs(int n) {
    int had = atomic_load(&sched.nallp);
    for (; had < n; had++) {
        sched.allp[had] = p_new(had);
        if (!sched.allp[had])
            break;
    }
    if (n > had)
        n = had;
    int before = atomic_load(&sched.procs);
    atomic_store(&sched.nallp, had);
    for (int i = n; i < before; i++)
        if (sched.allp[i]->idle) {
            idle_p_unlink(sched.allp[i]);
            sched.allp[i]->retired = true;
        }
    atomic_store(&sched.procs, n);
    for (int i = before; i < n; i++)
        if (sched.allp[i]->retired)
            sched_idle_p_put(sched.allp[i]);
}

int sched_procs(int n) {
    rt_lock(&sched.lock);
    int before = atomic_load(&sched.procs);
    if (n > 0)
        set_procs(n < MAX_PROCS ? n : MAX_PROCS);
    rt_unlock(&sched.lock);
    if (n > 0 && sched_started()) {
        sched_enter();
        sched_kick();
        sched_leave();
    }
    return before;
}

int64_t sched_max_threads(int64_t n) {
    return n > 0 ? atomic_exchange(&sched.max_threads, n) : atomic_load(&sched.max_threads);
}

bool sched_threads_ran_out(void) {
    return atomic_load(&sched.threads_ran_out) && !atomic_exchange(&sched.shortage_told, true);
}

void sched_stats(struct sched_stats *out) {
    *out = (struct sched_stats){
        .finished = atomic_load(&sched.finished),
        .handoffs = atomic_load(&sched.handoffs),
        .preemptions = atomic_load(&sched.preemptions),
        .idle_threads = atomic_load(&sched.idle_threads),
    };
    int n = atomic_load(&sched.nallp);
    /* finished before started: a goroutine that begins and ends in between is not counted as -1 */
    for (int i = 0; i < n; i++)
        out->finished += atomic_load_explicit(&sched.allp[i]->finished, memory_order_acquire);
    out->started = atomic_load(&sched.started);
    for (int i = 0; i < n; i++) {
        struct p *p = sched.allp[i];
        out->started += atomic_load_explicit(&p->started, memory_order_relaxed);
        out->switches += atomic_load_explicit(&p->switches, memory_order_relaxed);
        out->steals += atomic_load_explicit(&p->steals, memory_order_relaxed);
    }
    out->threads = atomic_load(&sched.threads);
    if (out->idle_threads > out->threads)
        out->idle_threads = out->threads;
}

int64_t sched_num_goroutine(void) {
    struct sched_stats s;
    sched_stats(&s);
    return (int64_t)(s.started - s.finished);
}

int sched_runnable(int64_t *lengths, int n) {
    int procs = atomic_load(&sched.procs);
    if (n >= 0)
        lengths[0] = atomic_load(&sched.queue_len);
    for (int i = 0; i < procs && i < n; i++)
        lengths[i + 1] = runq_len(&sched.allp[i]->runq);
    return procs;
}

void sched_each_m(void (*fn)(struct m *m, void *arg), void *arg) {
    rt_lock(&sched.lock);
    for (struct m *m = sched.all_m; m; m = m->all_next)
        fn(m, arg);
    rt_unlock(&sched.lock);
}

void sched_each_native(void (*fn)(struct g *g, void *arg), void *arg) {
    rt_lock(&sched.lock);
    for (struct g *g = sched.natives; g; g = g->natives_next)
        fn(g, arg);
    rt_unlock(&sched.lock);
}

/* Scheduler lock held. */
static bool natives_asleep(void) {
    for (struct g *g = sched.natives; g; g = g->natives_next)
        if (g->native_deadline != NOTE_FOREVER || park_claimed(g))
            return false;
    return true;
}

/* Scheduler lock held. */
static bool ps_asleep(void) {
    int n = atomic_load(&sched.nallp);
    for (int i = 0; i < n; i++)
        if (atomic_load(&sched.allp[i]->m) || runq_len(&sched.allp[i]->runq))
            return false;
    return true;
}

bool sched_asleep(void) {
    timers_hold(); /* or one might be armed, or fire, between the two looks */
    rt_lock(&sched.lock);
    bool asleep = !sched.queue.len && !sched.without_p && ps_asleep() && natives_asleep();
    rt_unlock(&sched.lock);
    asleep = asleep && !timers_useful();
    timers_release();
    return asleep;
}

bool sched_watch(struct note *n, bool take_over) {
    rt_lock(&sched.lock);
    bool mine = take_over || !atomic_load(&sched.watcher);
    if (mine) {
        atomic_store(&sched.watcher, n);
        atomic_store(&sched.watcher_armed, false);
    }
    rt_unlock(&sched.lock);
    return mine;
}

void sched_unwatch(struct note *n) {
    rt_lock(&sched.lock);
    if (atomic_load(&sched.watcher) == n)
        atomic_store(&sched.watcher, NULL);
    rt_unlock(&sched.lock);
}

void sched_watcher_armed(bool armed) { atomic_store(&sched.watcher_armed, armed); }

/* ---- begin, end, fork ---- */

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

void sched_stop(void) { atomic_store(&sched.stopping, true); }

bool sched_stopping(void) { return atomic_load_explicit(&sched.stopping, memory_order_relaxed); }

void sched_look_lock(void) { rt_lock(&sched.lock); }

void sched_look_unlock(void) { rt_unlock(&sched.lock); }

void sched_fork_prepare(void) {
    timers_hold();
    rt_lock(&sched.lock);
    glist_fork_prepare();
    stack_fork_prepare();
}

void sched_fork_parent(void) {
    stack_fork_parent();
    glist_fork_parent();
    rt_unlock(&sched.lock);
    timers_release();
}

static void ps_fork_child(void) {
    int n = atomic_load(&sched.nallp), procs = atomic_load(&sched.procs);
    sched.idle_p = NULL;
    atomic_store(&sched.nidle_p, 0);
    for (int i = 0; i < n; i++) {
        struct p *p = sched.allp[i];
        runq_init(&p->runq);
        p->gfree = NULL;
        p->ngfree = 0;
        p->idle = false;
        p->retired = i >= procs;
        atomic_store(&p->finished, atomic_load(&p->started));
        atomic_store(&p->m, NULL);
    }
    for (int i = procs - 1; i >= 0; i--)
        sched_idle_p_put(sched.allp[i]);
    atomic_store(&sched.finished, atomic_load(&sched.started));
}

struct g *sched_fork_child(void) {
    struct g *g = sched_current();
    this_m = NULL;
    park_fork_child(g);
    stack_fork_child();
    glist_fork_child();
    sched.idle_m = sched.all_m = sched.timer_m = NULL;
    atomic_store(&sched.timer_m_until, TIMER_NEVER);
    atomic_store(&sched.threads, 0);
    atomic_store(&sched.idle_threads, 0);
    atomic_store(&sched.nspinning, 0);
    sched.queue = (struct glist){0};
    atomic_store(&sched.queue_len, 0);
    sched.without_p = 0;
    sched.watcher = NULL;
    atomic_store(&sched.watcher_armed, false);
    ps_fork_child();
    rt_unlock(&sched.lock);
    timers_fork_child();
    fences_init();
    sysmon_init();
    return g;
}
