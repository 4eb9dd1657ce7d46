/* struct host: what the runtime asks of CPython. The rules are in proc.h (leaving rule) and in
 * docs/architecture.md. */
#include "binding.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static _Atomic int64_t m_states;
static PyThreadState *main_state; /* of the main thread: lives as long as the interpreter */

int64_t host_m_states(void) { return atomic_load(&m_states); }

/* ---- attaching ---- */

/* Threads in the midst of something, without the GIL, of which the end of the interpreter would free what
 * they use. It waits for them (host_stop); who comes later goes no further. */
static _Atomic int midway;

static void stay_here(void) {
    for (;;)
        pause();
}

/* CPython 3.12's Swap releases the GIL, touches the new thread state, and only then wants the GIL again
 * and notices that the interpreter is ending. In between the main thread may have freed the state. Here
 * both looks, this one and host_stop's, are made with the GIL. */
static void swap(PyThreadState *ts) {
#if PY_VERSION_HEX >= 0x030c0000 && PY_VERSION_HEX < 0x030d0000
    if (sched_stopping()) {
        PyEval_SaveThread();
        stay_here();
    }
    atomic_fetch_add(&midway, 1);
    compat_swap(ts);
    atomic_fetch_sub(&midway, 1);
#else
    compat_swap(ts);
#endif
}

void host_stop(void) {
    sched_stop();
    atomic_thread_fence(memory_order_seq_cst); /* pairs with thread_start() */
    if (!atomic_load(&midway))
        return;
    Py_BEGIN_ALLOW_THREADS
    while (atomic_load(&midway))
        sched_yield();
    Py_END_ALLOW_THREADS
}

static void attach(struct m *m, struct g *g) {
    PyThreadState *ts = goroutine_of(g)->ts;
    if (m->attached)
        swap(ts);
    else
        compat_attach(ts);
}

static void attach_m(struct m *m) { swap(m->host); }

static void detach(struct m *m) {
    (void)m;
    PyEval_SaveThread();
}

static void free_state(struct g *g) {
    struct goroutine *gr = goroutine_of(g);
    PyThreadState *ts = gr->ts;
    sched_look_lock();
    gr->ts = NULL;
    sched_look_unlock();
    if (!gr->cleared)
        PyThreadState_Clear(ts); /* runs no code: it is clean (goroutine_run) */
    PyThreadState_Delete(ts);
}

/* A state that nothing is left in serves the next goroutine on the same stack: creating one costs more
 * than all the rest of a short goroutine. */
static bool keep_state(struct g *g) {
    struct goroutine *gr = goroutine_of(g);
    return !gr->cleared && compat_is_clean(gr->ts) && gr->ts->gilstate_counter == gr->gilstate_base;
}

/* Below native code that may hold locks, and have state, that belong to this thread. In a callback of a C
 * library (sqlite3, ctypes) PyGILState_Ensure() has counted one up. */
static bool pinned(struct g *g) {
    struct goroutine *gr = goroutine_of(g);
    return gr->ts->gilstate_counter > gr->gilstate_base || foreign_on_stack(g);
}

/* ---- looking, without the GIL, under sched_look_lock() ---- */

static bool outside(struct m *m) {
    struct g *g = atomic_load_explicit(&m->curg, memory_order_acquire);
    PyThreadState *ts = g ? goroutine_of(g)->ts : NULL;
    return ts && !compat_attached(ts);
}

struct g *host_inside(struct m *m) {
    struct g *g = atomic_load_explicit(&m->curg, memory_order_acquire);
    PyThreadState *ts = g ? goroutine_of(g)->ts : NULL;
    return ts && compat_attached(ts) ? g : NULL;
}

static void look_at_m(struct m *m, void *arg) {
    if (host_inside(m))
        *(enum holder *)arg = atomic_load(&m->p) ? HOLDER_WITH_P : HOLDER_WITHOUT_P;
}

static enum holder interpreter_holder(void) {
    enum holder holder = HOLDER_NONE;
#if PY_VERSION_HEX < 0x030c0000
    if (!_PyThreadState_UncheckedGet())
        return HOLDER_NONE;
    holder = HOLDER_WITHOUT_P; /* unless an M is found that has it */
#else
    if (main_state && compat_attached(main_state))
        return HOLDER_WITHOUT_P;
#endif
    sched_each_m(look_at_m, &holder);
    return holder;
}

/* ---- native waits ---- */

/* Once finalization has begun, a thread that wants the GIL is ended (or, from 3.14 on, hangs). If it were
 * ended, its G and its place in the queues of channels would be freed under those who still use them. */
void host_thread_back(PyThreadState *ts) {
#if PY_VERSION_HEX >= 0x030d0000
    bool ending = Py_IsFinalizing();
#else
    bool ending = _Py_IsFinalizing();
#endif
    while (ending && PyThread_get_thread_ident() != main_thread_ident())
        pause();
    PyEval_RestoreThread(ts);
}

/* A thread's note of its own: which state it waits with, and what a handler raised meanwhile. */
static int64_t block(struct g *g) {
    int64_t recheck = NOTE_FOREVER;
    if (g->is_thread) {
        deadlock_note_caller();
        recheck = deadlock_watch(g);
        thread_of(g)->saved = PyEval_SaveThread();
    } else {
        goroutine_of(g)->blocked = PyEval_SaveThread();
    }
    return recheck;
}

static void unblock(struct g *g) {
    if (g->is_thread) {
        host_thread_back(thread_of(g)->saved);
        deadlock_unwatch(g);
    } else {
        PyEval_RestoreThread(goroutine_of(g)->blocked);
    }
}

/* ---- Ms ---- */

/* An M that comes too late would make a thread state of an interpreter that has none any more. */
static bool thread_start(struct m *m) {
    atomic_fetch_add(&midway, 1);
    atomic_thread_fence(memory_order_seq_cst); /* pairs with host_stop() */
    if (sched_stopping()) {
        atomic_fetch_sub(&midway, 1);
        stay_here();
    }
    m->host = compat_new_state();
    atomic_fetch_sub(&midway, 1);
    if (m->host)
        atomic_fetch_add(&m_states, 1);
    return m->host;
}

static void thread_stop(struct m *m) {
    PyThreadState *ts = m->host;
    if (!m->attached)
        compat_attach(ts);
    PyThreadState_Clear(ts);
    atomic_fetch_sub(&m_states, 1);
    PyThreadState_DeleteCurrent();
}

const struct host python_host = {
    .goroutine_size = GOROUTINE_SIZE,
    .parallel = false,
    .run = goroutine_run,
    .attach = attach,
    .attach_m = attach_m,
    .detach = detach,
    .free = free_state,
    .keep = keep_state,
    .pinned = pinned,
    .outside = outside,
    .activity = runners_activity,
    .interpreter_holder = interpreter_holder,
#if PY_VERSION_HEX >= 0x030c0000 /* before, Swap does not touch the GIL */
    .others_may_wait = runners_may_wait,
#endif
    .block = block,
    .unblock = unblock,
    .interrupted = interrupt_signals,
    .poked = deadlock_poked,
    .thread_start = thread_start,
    .thread_stop = thread_stop,
};

static unsigned long main_ident;

unsigned long main_thread_ident(void) { return main_ident; }

/* Called by the main thread, or by another one that imports the package first. */
int host_init(void) {
    PyThreadState *ts = compat_newest_state();
    for (; ts; ts = PyThreadState_Next(ts))
        main_state = ts; /* the oldest is the last */
    PyObject *main_thread = helper("threading", "main_thread");
    PyObject *thread = main_thread ? PyObject_CallNoArgs(main_thread) : NULL;
    PyObject *ident = thread ? PyObject_GetAttrString(thread, "ident") : NULL;
    main_ident = ident ? PyLong_AsUnsignedLong(ident) : 0;
    Py_XDECREF(thread);
    Py_XDECREF(ident);
    return PyErr_Occurred() ? -1 : 0;
}

/* The only thread of the child is its main thread. */
void host_fork_child(void) {
    main_state = NULL;
    main_ident = PyThread_get_thread_ident();
    atomic_store(&m_states, 0);
    atomic_store(&midway, 0); /* those Ms do not exist here */
}
