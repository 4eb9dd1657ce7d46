/* Exceptions that come from outside: GoroutineExit when run() ends, what a signal handler raised,
 * SystemExit on its way to main, a DeadlockError.
 *
 * gr->pending holds such an exception until it is raised, which happens once, in one of two places:
 *   - at a blocking point, on entry or because the wait was ended for it (interrupt_check);
 *   - at a bytecode, if it was announced: PyThreadState_SetAsyncExc() takes only a class, so it is
 *     given Delivery, whose "instance" is whatever is pending for the goroutine that makes it.
 * Whoever comes first takes it away from the other.
 *
 * The state of a wait decides first: g_interrupt() succeeds only if nothing was handed over, so an
 * exception never costs a value. All here is guarded by the GIL. */
#include "binding.h"

/* ---- Delivery ---- */

/* Of the calling goroutine. */
static PyObject *take_pending(struct goroutine *gr) {
    PyObject *exc = gr->pending;
    gr->pending = NULL;
    atomic_store(&sched_current()->interrupt_wanted, false);
    if (gr->async_sent) {
        gr->async_sent = false;
        Py_CLEAR(gr->ts->async_exc);
    }
    return exc;
}

static PyObject *delivery_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    (void)type, (void)args, (void)kwargs;
    struct goroutine *gr = current_goroutine();
    if (gr && gr->pending)
        return take_pending(gr);
    return PyObject_CallNoArgs(GoroutineExit); /* cannot be: nothing was announced */
}

static PyTypeObject Delivery_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "goroutines._core._Delivery",
    .tp_doc = "Becomes the exception that is pending for the goroutine it is raised in.",
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = delivery_new,
};

int interrupt_init(void) {
    Delivery_Type.tp_base = (PyTypeObject *)PyExc_BaseException;
    Delivery_Type.tp_basicsize = ((PyTypeObject *)PyExc_BaseException)->tp_basicsize;
    return PyType_Ready(&Delivery_Type);
}

void interrupt_announce(struct g *g) {
    struct goroutine *gr = goroutine_of(g);
    if (!gr->pending || gr->async_sent || !gr->ts)
        return;
    gr->async_sent = true;
    PyThreadState_SetAsyncExc(gr->ts->thread_id, (PyObject *)&Delivery_Type);
}

/* ---- giving ---- */

PyObject *interrupt_new_exit(void) {
    PyObject *exc = PyObject_CallNoArgs(GoroutineExit);
    return exc ? exc : compat_fetch();
}

void interrupt_drop(struct goroutine *gr) { Py_XDECREF(take_pending(gr)); }

/* One at a time, the first goes first: returns exc if it is too many. To be dropped last, since that may
 * run code, after which g need not be who it was. */
static PyObject *pend(struct g *g, PyObject *exc) {
    struct goroutine *gr = goroutine_of(g);
    if (gr->deaf)
        return exc;
    PyObject *surplus = gr->pending ? exc : NULL;
    if (!surplus)
        gr->pending = exc;
    atomic_store(&g->interrupt_wanted, true);
    return surplus;
}

static bool end_wait(struct g *g) {
    if (goroutine_of(g)->deaf)
        return false;
    sched_enter_to_wake(); /* nobody else runs, so g is still who it was */
    bool ended = g_interrupt(g);
    if (ended)
        sched_kick();
    sched_leave();
    return ended;
}

void interrupt_pend(struct g *g, PyObject *exc) { Py_XDECREF(pend(g, exc)); }

bool interrupt_deliver_parked(struct g *g, PyObject *exc) {
    PyObject *surplus = pend(g, exc);
    bool ended = end_wait(g);
    Py_XDECREF(surplus);
    return ended;
}

/* One whose wait has been ended takes it there. It is not announced: until Python 3.12 an announcement that
 * no bytecode has taken makes every thread look for one at each check, and those that are traced for ever. */
void interrupt_deliver(struct g *g, PyObject *exc) {
    PyObject *surplus = pend(g, exc);
    bool ended = end_wait(g);
    enum g_status status = atomic_load(&g->status);
    if (!surplus && !ended && (status == G_RUNNING || status == G_RUNNABLE))
        interrupt_announce(g);
    Py_XDECREF(surplus);
}

/* ---- taking ---- */

int interrupt_check(void) {
    struct goroutine *gr = current_goroutine();
    if (!gr || !gr->pending)
        return 0;
    compat_raise(take_pending(gr));
    return -1;
}

void interrupt_stash(struct g *g, PyObject *exc) {
    if (thread_of(g)->stash)
        Py_DECREF(exc);
    else
        thread_of(g)->stash = exc;
}

static PyObject *take_stash(struct g *g) {
    PyObject *exc = g ? thread_of(g)->stash : NULL;
    if (g)
        thread_of(g)->stash = NULL;
    return exc;
}

static struct g *this_g(void) {
    struct g *g = sched_enter();
    sched_leave();
    return g;
}

void interrupt_raise(void) {
    if (interrupt_check() < 0)
        return;
    PyObject *exc = current_goroutine() ? NULL : take_stash(this_g());
    if (exc)
        compat_raise(exc);
    else
        PyErr_SetString(PyExc_SystemError, "goroutines: a wait was interrupted for no reason");
}

int interrupt_after_failure(void) {
    PyObject *exc = current_goroutine() ? NULL : take_stash(this_g());
    if (exc)
        compat_raise(exc);
    return exc ? -1 : 0;
}

static int raise_late(void *exc) {
    compat_raise(exc);
    return -1;
}

/* Told to end while what it had waited for was already its own: were that raised at the next bytecode,
 * `m.acquire(); try: ...` would not come as far as the `try`. It comes at the next blocking point, or
 * when run() sees the goroutine compute. */
static void postpone_exit(struct goroutine *gr) {
    if (gr->exit_sent && gr->async_sent) {
        gr->async_sent = false;
        Py_CLEAR(gr->ts->async_exc);
    }
}

void interrupt_after_success(void) {
    struct goroutine *gr = current_goroutine();
    if (gr) {
        postpone_exit(gr);
        return;
    }
    PyObject *exc = take_stash(this_g());
    /* Pending calls run on the main thread, as signal handlers do. */
    if (exc && Py_AddPendingCall(raise_late, exc) < 0)
        PyErr_WriteUnraisable(exc);
}

bool interrupt_signals(struct g *g) {
    host_thread_back(thread_of(g)->saved);
    if (PyErr_CheckSignals() < 0)
        interrupt_stash(g, compat_fetch());
    bool stop = thread_of(g)->stash != NULL;
    thread_of(g)->saved = PyEval_SaveThread();
    return stop;
}

/* A signal that comes after the last look and before the thread is asleep does not end the sleep. So the
 * thread that runs handlers looks again: soon at first, then twice a second. */
#define LOOK_FIRST INT64_C(1000000)
#define LOOK_LONGEST INT64_C(500000000)

int64_t interrupt_next_look(int64_t *pause) {
    if (PyThread_get_thread_ident() != main_thread_ident())
        return NOTE_FOREVER;
    *pause = *pause ? 4 * *pause : LOOK_FIRST;
    if (*pause > LOOK_LONGEST)
        *pause = LOOK_LONGEST;
    return rt_now() + *pause;
}
