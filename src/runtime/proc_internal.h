/* What proc.c, park.c, glist.c and sysmon.c share. */
#ifndef GOROUTINES_PROC_INTERNAL_H
#define GOROUTINES_PROC_INTERNAL_H

#include "netpoll.h"
#include "proc.h"
#include "timer.h"

#define MAX_PROCS 1024
#define TIMER_PATIENCE 500000 /* ns */

/* Why an M that switches must not jump straight to the next goroutine, but go by g0. */
enum detour {
    DETOUR_STOPPING = 1, /* for good */
    DETOUR_TIMERS = 2,   /* they are late: who looks for work next runs them */
    DETOUR_OFFER = 4,    /* others have waited for the interpreter */
};

struct glist {
    struct g *head, *tail;
    int64_t len;
};

static inline void glist_push(struct glist *l, struct g *g) {
    g->schedlink = NULL;
    if (l->tail)
        l->tail->schedlink = g;
    else
        l->head = g;
    l->tail = g;
    l->len++;
}

static inline struct g *glist_pop(struct glist *l) {
    struct g *g = l->head;
    if (g) {
        l->head = g->schedlink;
        if (!l->head)
            l->tail = NULL;
        l->len--;
    }
    return g;
}

struct sched {
    struct rt_lock lock; /* guards what is not atomic here */
    const struct host *host;
    _Atomic bool ready;
    _Atomic uint32_t detour; /* enum detour */
    _Atomic int64_t entered; /* when an M last came into the interpreter */

    struct p *allp[MAX_PROCS]; /* append-only; [0, nallp) */
    _Atomic int nallp;
    _Atomic int procs; /* Ps in use: those with a smaller id. The others drain. */
    struct p *idle_p;
    _Atomic int nidle_p; /* of those in use */

    struct m *idle_m;
    struct m *all_m;
    struct m *timer_m; /* the idle M that sleeps until the next timer */
    _Atomic int64_t timer_m_until;
    struct m
        *_Atomic poller_m; /* the idle M that sleeps in the poller; set with the lock, cleared by itself */
    _Atomic int64_t threads, idle_threads, max_threads;
    _Atomic bool threads_ran_out, shortage_told;
    _Atomic int nspinning;

    struct glist queue; /* the global run queue */
    _Atomic int64_t queue_len;

    /* Goroutines that run without a P: blocked outside the host when it was taken, or preempted. */
    int64_t without_p;
    struct thread_g *natives; /* those that wait */

    struct note *_Atomic watcher;
    _Atomic bool watcher_armed;

    _Atomic uint64_t last_id;
    _Atomic uint64_t started, finished; /* by threads that have no P */
    _Atomic uint64_t handoffs, preemptions;
    _Atomic bool sysmon_deep;
};

extern struct sched sched;

/* Asymmetric fences: where the kernel knows membarrier(2), the hot side (sched_light_fence) is free
 * and the rare side (sched_heavy_fence) interrupts the other processors. */
extern bool sched_membarrier;
void sched_heavy_fence(void);
static inline void sched_light_fence(void) {
    if (sched_membarrier)
        atomic_signal_fence(memory_order_seq_cst);
#ifndef __SANITIZE_THREAD__ /* which knows no fences; there all that matters is seq_cst itself */
    else
        atomic_thread_fence(memory_order_seq_cst);
#endif
}

static inline void sched_full_fence(void) {
#ifndef __SANITIZE_THREAD__
    atomic_thread_fence(memory_order_seq_cst);
#endif
}

/* Single-writer counters: no read-modify-write. */
static inline void counter_add(_Atomic uint64_t *c, uint64_t n) {
    atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

static inline bool detour_wanted(uint32_t which) {
    return atomic_load_explicit(&sched.detour, memory_order_relaxed) & which;
}

static inline void detour_want(enum detour which) { atomic_fetch_or(&sched.detour, which); }

/* Whether it was wanted: now it is not any more. */
static inline bool detour_take(enum detour which) {
    return detour_wanted(which) && (atomic_fetch_and(&sched.detour, ~(uint32_t)which) & which);
}

static inline struct p *m_p(struct m *m) {
    return atomic_load_explicit(&m->p, memory_order_acquire);
}

static inline struct g *m_curg(struct m *m) {
    return atomic_load_explicit(&m->curg, memory_order_relaxed);
}

static inline void g_set_status(struct g *g, enum g_status s) {
    atomic_store_explicit(&g->status, (uint8_t)s, memory_order_relaxed);
}

static inline enum g_status g_get_status(struct g *g) {
    return atomic_load_explicit(&g->status, memory_order_relaxed);
}

static inline bool g_wired(struct g *g) {
    return atomic_load_explicit(&g->wired, memory_order_relaxed) > 0;
}

/* Somebody waits for a descriptor, and no M sleeps in the poller. */
static inline bool poller_is_empty(void) {
    return netpoll_waiters() && !atomic_load(&sched.poller_m);
}

/* fence.c */
void fences_init(void);

/* p.c; "own": of the calling M, inside the runtime */
bool p_in_use(const struct p *p);
void set_procs(int n);                   /* scheduler lock held */
void m_take(struct m *m, struct p *p);   /* scheduler lock held */
struct p *m_drop(struct m *m);           /* scheduler lock held */
struct p *own_p(void);                   /* NULL: none */
void put_tail(struct p *p, struct g *g); /* own */
void global_push(struct g *g);           /* scheduler lock held */
struct g *global_get_one(void);
struct g *global_get(struct p *p);         /* own; takes a fair share along */
struct g *steal(struct m *m, struct p *p); /* own */

/* m.c */
void m_link(struct m *m); /* on its thread, first thing; takes m->next_p */
void m_unlink(struct m *m);
void stop_spinning(struct m *m, bool found);
void go_idle(struct m *m); /* returns with a P */
/* The caller leaves no M behind that looks for work: gets one for the poller, if it is empty. */
void fill_poller(void);

/* proc.c */
void *m_main(void *m); /* an M's thread */
void rt_no_m(void);
void sched_queue(struct g *g); /* runnable: on the caller's P, next; else global */
void sched_queue_global(struct g *g);
void sched_leave_m(struct m *m, struct g *g, enum leave_how how);
void sched_start_m(struct p *p, bool spinning); /* p is nobody's; gets an M, or goes idle */
void sched_no_m(struct p *p, bool spinning);    /* no M can be had for p, which goes idle */
void sched_hand_off(struct m *m);               /* the calling M gives its P away; no lock held */
struct p *sched_idle_p_get(void);               /* scheduler lock held */
void sched_idle_p_put(struct p *p);             /* scheduler lock held */
void sched_poke_watcher(void);
bool sched_take_p(struct m *m, struct p *p); /* sysmon; the scheduler lock is taken inside */
void sched_prepare_g(struct g *g);           /* a fresh G's first context */

/* park.c */
/* The M has left g: true if it was woken meanwhile and must be queued. */
bool park_left(struct g *g);
bool park_claimed(struct g *g);
void park_fork_child(struct g *current);

/* glist.c */
struct g *glist_thread_g(void);
void glist_nest(void);
void glist_unnest(struct g *outer);
void g_recycle(struct p *p, struct g *g);
void g_trim(struct p *p);
void glist_fork_prepare(void);
void glist_fork_parent(void);
void glist_fork_child(void);

/* sysmon.c */
void sysmon_init(void); /* also in a forked child */
void sysmon_wake(void);
bool sysmon_is_caller(void);
void sysmon_unblock_signals(void);   /* in this thread: as where sysmon was started */
extern _Atomic int64_t sysmon_until; /* its deep sleep ends then */

#endif
