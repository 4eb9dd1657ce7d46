/* The scheduler: G, M and P, after Go's (runtime/proc.go, runtime/HACKING.md).
 *
 *   G  a goroutine: a C stack, a saved stack pointer, and the host's state.
 *   M  an OS thread. Its native stack is g0, on which it looks for work.
 *   P  the right to run goroutines, gomaxprocs of them: run queue, free Gs, counters.
 *
 * The runtime knows no Python. It reaches the interpreter through `struct host`; a C program gives it
 * a trivial one and then runs goroutines in parallel.
 *
 * Leaving rule. A goroutine that gives up its M is running -> LEAVING -> PARKED. While it is LEAVING
 * its M still uses its thread state; who wakes it then only marks it, and the M queues it once another
 * thread state is attached (sched_left). Nothing may resume, or free, a goroutine before that point.
 *
 * Lock order: timer lock -> channel lock -> scheduler lock -> stack lock. None is held while the host
 * is called or a thread is created. */
#ifndef GOROUTINES_PROC_H
#define GOROUTINES_PROC_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "context.h"
#include "lock.h"
#include "note.h"
#include "runq.h"
#include "stack.h"

struct g;
struct m;
struct p;

/* ---- the host ---- */

enum holder {
    HOLDER_NONE,
    HOLDER_WITH_P,
    HOLDER_WITHOUT_P, /* a thread that is no M, or a goroutine whose P was taken */
};

enum activity {
    THREAD_SLEEPS,
    THREAD_RUNS,       /* or would, if it got a processor */
    THREAD_WANTS_HOST, /* waits for the interpreter */
};

struct host {
    /* Bytes at the high end of each goroutine's stack that belong to the host. */
    size_t goroutine_size;
    /* Whether goroutines run in parallel inside the host (false: a GIL; then a running goroutine never
     * wakes another M, sysmon does when the interpreter is free). */
    bool parallel;
    /* The goroutine's body; attached, on its own stack. */
    void (*run)(struct g *g);
    /* Make g's thread state the current one of this thread. m->attached: another one is current. */
    void (*attach)(struct m *m, struct g *g);
    /* Make the M's own thread state current, so that a goroutine can be let go. */
    void (*attach_m)(struct m *m);
    /* The M goes to sleep: nothing is current. */
    void (*detach)(struct m *m);
    /* g has ended and has been left: free its thread state. Some other state is attached. Also for a
     * dead g whose state was kept. */
    void (*free)(struct g *g);
    /* Instead of free(), if it can: whether g's state is kept for the next goroutine on g. NULL: never. */
    bool (*keep)(struct g *g);
    /* g must not change its thread now (it is inside a callback of foreign C code). */
    bool (*pinned)(struct g *g);
    /* sysmon: is the goroutine on this M outside the interpreter? Must not block. The M may move on
     * meanwhile; what is read is kept alive by sched_look_lock(). */
    bool (*outside)(struct m *m);
    /* What such an M's thread does there. NULL: it sleeps. */
    enum activity (*activity)(pid_t tid);
    /* sysmon, parallel == false: who holds the interpreter at this instant. */
    enum holder (*interpreter_holder)(void);
    /* sysmon: whether a thread may wait for the interpreter that attach() gives no chance, as it lets go
     * for too short a time. Then it is offered from time to time. NULL: there is no such thing. */
    bool (*others_may_wait)(void);
    /* A thread is about to wait natively, or is back. block() returns the rt_now() time at which
     * poked() is to be called the first time (NOTE_FOREVER: only when poked). */
    int64_t (*block)(struct g *g);
    void (*unblock)(struct g *g);
    /* During such a wait: a signal came / the note was poked or *recheck is over. True: give up the
     * wait with WAKE_INTERRUPT. *recheck: look again at that rt_now() time at the latest. */
    bool (*interrupted)(struct g *g);
    bool (*poked)(struct g *g, int64_t *recheck);
    /* On a new M, before anything else (false: it cannot be one, memory is out), and on an M that ends. */
    bool (*thread_start)(struct m *m);
    void (*thread_stop)(struct m *m);
};

/* ---- G ---- */

enum g_status { G_IDLE, G_RUNNABLE, G_RUNNING, G_WAITING, G_DEAD };

/* What a waiter is woken with. Others: see WAKE_CASE. */
enum {
    WAKE_TIMEOUT = UINT32_MAX,
    WAKE_INTERRUPT = UINT32_MAX - 1,
};

/* Case `index` of a select (0 where there is only one) came to pass; ok: a value was handed over. */
#define WAKE_CASE(index, ok) ((uint32_t)(index) << 1 | (uint32_t)(ok))

struct g {
    struct context ctx;
    struct g *schedlink; /* in a queue or free list */
    /* The park word: see park.c. */
    _Atomic uint64_t park;
    struct m *_Atomic m; /* valid while running */
    struct stack stack;
    _Atomic uint64_t id;
    _Atomic uint8_t status; /* enum g_status; for looking only */
    bool is_thread;         /* it is a struct thread_g's */
    /* Its next wait is to end with WAKE_INTERRUPT before it begins; set and cleared by the host. */
    _Atomic bool interrupt_wanted;
    _Atomic bool started;   /* has run, or is running */
    _Atomic uint32_t waits; /* how many are over */
    _Atomic uint32_t wired; /* > 0: must stay on its M; changed by itself only */
    bool wired_for_life;
    bool kept;          /* dead, with its thread state */
    uint32_t stack_kib; /* the size that was current when it got its stack */
    struct note note;   /* waits on an M that is kept, or without one */
    const char *_Atomic wait_reason;
    _Atomic int64_t wait_since; /* rt_now_coarse() */
};

/* Stands for a thread that is no M, which waits natively. */
struct thread_g {
    struct g g;
    struct thread_g *prev, *next; /* of those that wait; guarded by the scheduler lock */
    int64_t deadline;
    _Atomic bool asleep; /* else it may want the host: woken, or looking at signals */
    void *saved;         /* the host's: thread state, exception */
    void *stash;
};

/* g->is_thread */
static inline struct thread_g *thread_of(struct g *g) { return (struct thread_g *)g; }

/* ---- P ---- */

struct p {
    int32_t id;
    bool idle; /* guarded by the scheduler lock */
    /* Given up while gomaxprocs was smaller. A P that is neither this, idle, nor some M's is in the
     * hands of somebody about to start an M for it. Guarded by the scheduler lock. */
    bool retired;
    struct p *link;
    _Atomic(struct m *) m; /* who runs it; NULL: nobody */
    _Atomic uint32_t tick; /* one more each time a goroutine is taken up */
    struct runq runq;
    struct g *gfree; /* dead Gs with their stacks; only the M that has the P */
    int32_t ngfree;
    /* Counters: written by the M that has the P, read by anybody. */
    _Atomic uint64_t started, finished, switches, steals;
    /* sysmon's notes on it. */
    uint32_t seen_tick, outside_tick;
    int64_t seen_when;
    int64_t outside_since; /* seen outside since then, the interpreter being free; 0: no */
};

/* ---- M ---- */

enum leave_how { LEAVE_PARK, LEAVE_YIELD, LEAVE_YIELD_GLOBAL, LEAVE_DEAD };

struct m {
    /* The P this M has. sysmon takes it away when in_runtime is 0: see sched_enter(). */
    _Atomic(struct p *) p;
    _Atomic int in_runtime;
    /* The same P as its M sees it. Valid while in_runtime; only this M uses it. p itself may be NULL
     * for an instant while sysmon tries to take it. */
    struct p *own_p;
    struct g *_Atomic curg;
    struct g *leaving; /* given up by this M, its thread state not yet left */
    enum leave_how leave_how;
    bool attached;  /* a thread state is current; kept by the scheduler */
    bool same;      /* the next goroutine to resume is the one whose state is current */
    bool spinning;  /* woken to look for work, has not found any */
    bool dying;     /* ends with its wired goroutine */
    bool by_sysmon; /* started by it, with signals blocked */
    struct context g0;
    struct note note;
    struct p *next_p; /* for the M that is woken; written before its note */
    uint32_t rng;
    struct m *link;                /* list of idle Ms */
    struct m *all_prev, *all_next; /* guarded by the scheduler lock */
    bool idle;                     /* guarded by the scheduler lock */
    pthread_t thread;
    pid_t tid;
    void *host; /* the M's own thread state */
};

/* This thread's M, or NULL. Never inlined: a goroutine may come back on another thread. */
struct m *rt_m(void);

/* ---- life ---- */

/* Idempotent. procs: number of Ps. */
void sched_init(const struct host *host, int procs);
bool sched_started(void);

/* A dead G with a stack, for g_start() or g_discard(); NULL when memory is out. Any thread. */
struct g *g_new(void);
void g_start(struct g *g);
void g_discard(struct g *g);
/* g_start() in two steps, for timers: prepared early, put on a run queue when it is due. */
void g_queue_new(struct g *g);
/* The size of the stacks of new goroutines; 0 only asks. */
size_t sched_stack_size(size_t nbytes);

/* ---- from goroutines and threads ---- */

/* Begins a section in which the caller's P cannot be taken away; takes up a P first if it was
 * (then the goroutine may change its thread). Returns the current G: a goroutine, or what stands for
 * this thread. No code that may call back into the runtime may run before sched_leave(). NULL only
 * when memory for a thread's G ran out. */
struct g *sched_enter(void);
void sched_leave(void);
/* The same, but the goroutine stays where it is even if its P is gone: to wake others. */
void sched_enter_to_wake(void);
/* The running goroutine, or NULL on any other thread. */
struct g *sched_current(void);

/* Parking: sched_park_begin() before g is put where others can find it, then sched_park(), which
 * returns what it was woken with, at `deadline` at the latest (WAKE_TIMEOUT). Between the two g may
 * be woken already. Inside sched_enter()/sched_leave(). */
#define PARK_UNINTERRUPTIBLE 4u
void sched_park_begin(struct g *g, const char *reason, uint32_t flags);
uint32_t sched_park(struct g *g, int64_t deadline);

/* Ends g's wait with `wake`, if nobody else has. After true, g may be gone at once. */
bool g_wake(struct g *g, uint32_t wake);
/* Parked, and nobody has woken it. */
bool g_asleep(struct g *g);
/* The same with WAKE_INTERRUPT, except for uninterruptible waits. */
bool g_interrupt(struct g *g);
/* After g_wake()s, once no lock is held: gets a processor for them if one is of use. */
void sched_kick(void);
/* By who waits and looks from time to time: work may wait though neither an M nor sysmon could be started. */
void sched_kick_again(void);

void sched_yield_g(void);
/* Until `deadline`: WAKE_TIMEOUT or WAKE_INTERRUPT. */
uint32_t sched_sleep(int64_t deadline);

void sched_wire(struct g *g);
void sched_unwire(struct g *g);
/* For the rest of g's life; its M ends with it. */
void sched_wire_for_life(struct g *g);

/* ---- settings and looking ---- */

int sched_procs(int n);               /* 0 only asks; returns the previous number */
int64_t sched_max_threads(int64_t n); /* 0 only asks */
bool sched_threads_ran_out(void);     /* once per shortage */

struct sched_stats {
    uint64_t started, finished, switches, steals, handoffs, preemptions;
    int64_t threads, idle_threads;
};
void sched_stats(struct sched_stats *out);
/* Lengths: the global queue, then each P's. Returns the number of Ps; writes up to n + 1. */
int sched_runnable(int64_t *lengths, int n);
int64_t sched_num_goroutine(void);
/* Whether a goroutine is on any run queue. */
bool sched_work_waits(void);

/* Calls fn for each G that was ever made (dead ones too); stops when fn returns false. */
void sched_each_g(bool (*fn)(struct g *g, void *arg), void *arg);
/* Calls fn for each M, under the scheduler lock. */
void sched_each_m(void (*fn)(struct m *m, void *arg), void *arg);
/* Calls fn for each thread that waits natively, under the scheduler lock. */
void sched_each_native(void (*fn)(struct thread_g *t, void *arg), void *arg);

/* No goroutine runs or can run: all Ps idle, nothing queued, nobody without a P, no useful timer,
 * no native waiter with a deadline or already woken. A snapshot: whoever asks excludes other threads. */
bool sched_asleep(void);
/* n is poked when the last P goes idle. False: somebody watches already (and take_over is false). */
bool sched_watch(struct note *n, bool take_over);
void sched_unwatch(struct note *n);
/* While armed, the watcher looks by itself and is not poked. */
void sched_watcher_armed(bool armed);

/* ---- end and fork ---- */

/* No goroutine is taken up any more. */
void sched_stop(void);
bool sched_stopping(void);
/* Takes the lock that keeps alive what host.outside() reads; for host.free(). */
void sched_look_lock(void);
void sched_look_unlock(void);

void sched_fork_prepare(void);
void sched_fork_parent(void);
/* Forgets all goroutines, Ms and timers. The caller's goroutine, if it is one, is from now on an
 * ordinary thread on an odd stack: returned, else NULL. */
struct g *sched_fork_child(void);
/* How many forks this process is away from the one that started the runtime. */
uint32_t sched_forks(void);

/* ---- between the runtime's files ---- */

void sched_timer_armed(int64_t when);
_Noreturn void rt_fatal(const char *where, const char *what);

#endif
