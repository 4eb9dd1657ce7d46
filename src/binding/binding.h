/* The binding: CPython on one side, the runtime on the other.
 *
 * It owns every PyObject*. What is guarded "by the GIL" here is touched only by attached threads; the
 * runtime never relies on that. Between sched_enter() and sched_leave() no Python code may run. */
#ifndef GOROUTINES_BINDING_H
#define GOROUTINES_BINDING_H

#include "compat.h"

#include "chan.h"
#include "netpoll.h"
#include "note.h"
#include "proc.h"
#include "timer.h"

/* ---- a goroutine, as Python sees it: at the high end of its stack ---- */

struct goroutine {
    /* Set to NULL under sched_look_lock() before the state is deleted: sysmon reads it. */
    PyThreadState *ts;
    int gilstate_base; /* gilstate_counter when nothing foreign is on the stack */
    /* What to call: args holds the positional and then the keyword arguments. */
    PyObject *fn, *args, *kwnames;
    /* Where `go` was called. */
    PyObject *created_code;
    int created_lasti;
    PyObject *decimal_context; /* to be set when it starts, or NULL */
    PyObject *thread_handle;   /* of a patched thread, from Python 3.13: told when it has ended */
    /* An exception (instance) for its next blocking point, or earlier: see interrupt.c. */
    PyObject *pending;
    bool async_sent; /* pending has also been announced to the eval loop */
    bool exit_sent;  /* got its GoroutineExit from the end of run() */
    bool exit_before_start;
    bool of_cleanup;  /* started by cleanup after the end of main, on whose behalf it runs */
    bool left_behind; /* blocked in C when run() ended */
    bool ended;       /* what is left to run is its excepthook and finalizers */
    bool is_main;
    bool service;     /* the library's own, and short: run() leaves it alone as it ends */
    PyObject *member; /* of a Group (member.c), or NULL */
    bool deaf;        /* what comes from outside comes too late */
    bool cleared;     /* PyThreadState_Clear() was called on ts */
    bool forked;      /* went on as the only thread of a forked child */
    int looks;        /* how often it was seen outside in a row, with the interpreter free ... */
    int64_t looks_since;
    uint32_t looks_waits;   /* ... during the run after that many waits (run.c) */
    PyThreadState *blocked; /* native waits */
    PyObject *waits_for;    /* the lock it waits for, which is kept alive by who waits; or NULL */
    struct inline_chunk chunk;
};

#define GOROUTINE_SIZE ((sizeof(struct goroutine) + 63) & ~(size_t)63)

/* g has a stack. */
static inline struct goroutine *goroutine_of(struct g *g) {
    return (struct goroutine *)(g->stack.hi - GOROUTINE_SIZE);
}

/* The calling goroutine, or NULL on another thread. */
static inline struct goroutine *current_goroutine(void) {
    struct g *g = sched_current();
    return g ? goroutine_of(g) : NULL;
}

/* goroutine.c */
PyObject *go(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
/* () -> where the Python function that asks was called, for go_from; None if by nobody. */
PyObject *call_place(PyObject *module, PyObject *unused);
/* (place, fn): go(fn), as if it had been called at that place. */
PyObject *go_from(PyObject *module, PyObject *args);
/* A prepared goroutine that has not been queued; NULL with an exception. */
struct g *goroutine_new(const char *who, PyObject *const *args, Py_ssize_t nargs,
                        PyObject *kwnames);
/* -1 with a TypeError in which `who` is called. */
int goroutine_check_callable(const char *who, PyObject *fn);
/* One that was not queued yet starts with an empty context, as a thread does. */
void goroutine_empty_context(struct g *g);
/* Takes back one that was never queued. */
void goroutine_discard(struct g *g);
/* Begun or not, but not ended. */
bool goroutine_alive(struct g *g);
/* "file:line in function", a new reference. */
PyObject *goroutine_created_at(struct goroutine *gr);
void goroutine_run(struct g *g);       /* host.run */
void goroutine_warn_of_shortage(void); /* once, when OS threads have run out */
/* Blocked in C when run() ended, and still there: not counted as alive, nor shown. GIL. */
extern int64_t goroutines_left_behind;

/* host.c */
extern const struct host python_host;
int host_init(void);
/* Ms whose thread state exists. */
int64_t host_m_states(void);
/* A thread that waited natively takes the GIL again. */
void host_thread_back(PyThreadState *ts);
/* The goroutine of that M, if it is inside the interpreter at this instant; any thread, under
 * sched_look_lock(). */
struct g *host_inside(struct m *m);
unsigned long main_thread_ident(void);
void host_fork_child(void);
/* At exit: no goroutine is taken up any more, and no M is between two thread states, or makes
 * one. */
void host_stop(void);

/* interrupt.c: exceptions for other goroutines */
int interrupt_init(void);
/* Gives g (alive) an exception: at its blocking point, or at its next bytecode. Steals exc. */
void interrupt_deliver(struct g *g, PyObject *exc);
/* The same, but what computes or is blocked in C gets it at its next blocking point only. Whether that
 * has ended a wait. */
bool interrupt_deliver_parked(struct g *g, PyObject *exc);
/* A GoroutineExit; MemoryError if there is no memory for one. Never NULL. */
PyObject *interrupt_new_exit(void);
/* What is pending for the calling goroutine comes too late. */
void interrupt_drop(struct goroutine *gr);
/* For its next blocking point, and not for the one where it is parked now. */
void interrupt_pend(struct g *g, PyObject *exc);
/* Announces what is pending for g to the eval loop. */
void interrupt_announce(struct g *g);
/* -1 with the exception that is pending for the calling goroutine, else 0. */
int interrupt_check(void);
/* After CHAN_INTERRUPTED: raises what ended the wait. */
void interrupt_raise(void);
/* After one that neither succeeded nor was interrupted: -1 with what a signal handler raised meanwhile. */
int interrupt_after_failure(void);
/* After a wait that succeeded: what a signal handler raised meanwhile comes at the next bytecode. */
void interrupt_after_success(void);
/* host.interrupted: runs signal handlers. host.poked is in deadlock.c. */
bool interrupt_signals(struct g *g);
/* When a waiting thread is to look for signals again (rt_now() time); *pause: 0 at first. */
int64_t interrupt_next_look(int64_t *pause);
void interrupt_stash(struct g *g, PyObject *exc); /* for a thread's wait; steals exc */

/* run.c */
PyObject *run(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
/* exc escaped goroutine gr: to main, to the hook, or nowhere. Steals exc. */
void run_goroutine_failed(struct goroutine *gr, PyObject *exc);
void run_main_ended(struct goroutine *gr, PyObject *result, PyObject *exc); /* steals both */
bool run_under_way(void);
/* The caller is a goroutine that has got its GoroutineExit from the end of run(), or runs for one. */
bool run_in_cleanup(void);
void run_fork_child(void);

/* Calls fn(arg) on the main thread, if the caller is the main goroutine and run() was called there. False:
 * it was not called. *result: as returned; its exception is raised here. */
bool run_on_main_thread(PyObject *(*fn)(void *arg), void *arg, PyObject **result);
/* The main thread, where run() was called, is to look for signals; false: it was not called there. */
bool run_poke(void);

/* member.c */
int member_types_init(PyObject *module);
/* In the goroutine, before it ends. Whether exc was taken care of. Steals nothing. */
bool member_finished(struct goroutine *gr, PyObject *result, PyObject *exc);
void members_fork_child(void);

/* runners.c; with the GIL, which is released for `pause` ns */
/* A goroutine that was inside the interpreter at an instant in between; NULL: none. */
struct g *runners_look(int64_t pause);
/* Whether nobody was, or wanted to be. */
bool runners_quiet(int64_t pause);
/* Whether several looks have shown that g is blocked in C. */
bool runners_blocked(struct g *g);
/* What a thread that is outside the interpreter does, from /proc. */
enum activity runners_activity(pid_t tid);
/* Whether a thread may wait for the GIL, as there is one that is not known to sleep. */
bool runners_may_wait(void);

/* deadlock.c */
int deadlock_init(void);
/* Whether all sleep for good. *recheck: when to look again (rt_now() time). */
bool deadlock_found(int64_t *recheck);
/* Whether there are Python threads but the caller, those that wait in this library, and ours. */
bool deadlock_other_threads(void);
/* The exception for main; NULL: code that ran meanwhile (a finalizer) has woken somebody. */
PyObject *deadlock_error(void);
bool deadlock_poked(struct g *g, int64_t *recheck); /* host.poked */
int64_t deadlock_watch(struct g *g);                /* part of host.block */
void deadlock_unwatch(struct g *g);
void deadlock_note_caller(void); /* a thread calls in for the first time */

/* chan.c */
typedef struct {
    PyObject_HEAD
    struct chan c;
    PyObject *elem;  /* as given */
    PyObject *check; /* what isinstance() takes; NULL: anything goes */
    PyObject *weakrefs;
    struct timer *timer; /* of after(), Timer, Ticker: sends ticks into c */
    PyObject *owner;     /* lives as long as c: a context that is to close it; or NULL */
    bool by_value;
} ChanObject;

extern PyTypeObject Chan_Type, SendChan_Type, RecvChan_Type;
ChanObject *chan_new(PyObject *elem, size_t cap);
/* The channel behind a channel or view of that direction; NULL with TypeError. Borrowed. */
ChanObject *chan_for_send(PyObject *o);
ChanObject *chan_for_recv(PyObject *o);
int chan_check_value(ChanObject *c, PyObject *value); /* -1 with TypeError */
/* What is to be sent for value: itself or its copy; a new reference. */
PyObject *chan_outgoing(ChanObject *c, PyObject *value);
PyObject *chan_incoming(void *word); /* takes over the reference */
PyObject *chan_receiver(ChanObject *c);
int chan_types_init(PyObject *module);

/* select.c */
PyObject *make_recv_case(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
                         PyObject *kwnames);
PyObject *make_send_case(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
                         PyObject *kwnames);
PyObject *py_select(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
int select_types_init(PyObject *module);

/* time.c */
extern PyMethodDef time_methods[];
int time_types_init(PyObject *module);
void chan_timer_free(ChanObject *c);
/* timeout=: -1 with an exception; None: for ever. Result: a deadline as chan.h takes it. */
int parse_timeout(PyObject *timeout, int64_t *deadline);
PyObject *tick_to_float(void *word);
/* The program is over: what has not fired does not fire. helpers: nor what cleanup has armed. */
void func_timers_stop_all(bool helpers);
void func_timers_fork_child(void);
static inline bool is_tick(void *word) { return (uintptr_t)word & 1; }

/* A function of another signature, as a PyMethodDef holds it, and the flags of most of these. */
#define FN(f) (PyCFunction)(void (*)(void)) f
#define FAST (METH_FASTCALL | METH_KEYWORDS)

/* args.c */
/* f(name=..., ...), by position or by name: out[i] is set, borrowed, for those given. -1 with TypeError. */
int parse_optional(const char *f, const char *const *names, int n, PyObject *const *args,
                   Py_ssize_t nargs, PyObject *kwnames, PyObject **out);
/* The same for f(name, ...): TypeError if one is not given. */
int parse_required(const char *f, const char *const *names, int n, PyObject *const *args,
                   Py_ssize_t nargs, PyObject *kwnames, PyObject **out);
/* Says instead of the TypeError that is set, if it is one, that `what` must be a number of seconds. */
void explain_no_seconds(const char *what, PyObject *o);
/* Whether an int is; -1 with an exception. */
int is_negative(PyObject *o);
/* A count >= 0; what is too large for it is INT64_MAX. -1 with TypeError or ValueError. */
int parse_count(const char *what, PyObject *o, int64_t *n);

/* locks.c: Mutex, RWMutex, Semaphore */
extern PyTypeObject Mutex_Type;
int mutex_lock(PyObject *mutex, int64_t deadline); /* 1; 0: timed out; -1: an exception */
int mutex_unlock(PyObject *mutex);                 /* -1 with RuntimeError */
/* The number of the goroutine that holds the lock which somebody waits for; 0: a thread does; -1: not
 * known. */
int64_t lock_holder(PyObject *lock);
int lock_types_init(PyObject *module);

/* waiters.c: WaitGroup, and what Cond is made of */
int waiter_types_init(PyObject *module);

/* atomic_int.c */
int atomic_int_init(PyObject *module);

/* debug.c */
extern PyMethodDef debug_methods[];

/* errors.c */
extern PyObject *ChannelClosed, *DeadlockError, *GoroutineExit;
int errors_init(PyObject *module);
/* Raises what a wait of that kind ended with; NULL. */
PyObject *raise_closed(const char *what);
PyObject *raise_timeout(const char *what);

/* foreign.c: extension modules that are not the interpreter's own. */
void foreign_look(void); /* after anything has been loaded */
/* Has the calling goroutine native code on its stack that may keep something of its thread? */
bool foreign_on_stack(struct g *g);

/* chunks.c */
void chunks_init(void);

/* neighbours.c */
int neighbours_init(void);

/* netpoll.c */
extern PyMethodDef netpoll_methods[];

/* patch.c, patch_thread.c */
extern PyMethodDef patch_methods[];
bool patch_installed(const char *group);
/* What get_ident() says when patched. */
unsigned long patch_ident(void);
/* The main thread has looked for signals. */
void patch_signals_looked(void);
/* A goroutine with a thread_handle has ended. */
void patch_thread_ended(PyObject *handle);
/* A goroutine has ended: threading may know it. */
void patch_forget_goroutine(struct goroutine *gr);
/* me: patch_ident() before the fork. */
void patch_fork_child(unsigned long me);
void patch_sockets_fork_child(void);
void patch_ssl_fork_child(void); /* while the stacks of the parent's goroutines are still there */

/* process.c */
int fork_init(void);
PyObject *shutdown_runtime(PyObject *module, PyObject *unused);
PyObject *die_of_interrupt(PyObject *module, PyObject *unused);

/* module.c: Python-side helpers, looked up when first used. Borrowed; NULL with an exception. */
PyObject *helper(const char *module, const char *name);

#endif
