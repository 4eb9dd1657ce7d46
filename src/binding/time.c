/* Time: timeouts, sleep, and the timers behind after(), Timer, Ticker and after_func().
 *
 * A timer fires without the GIL, on whatever M or thread comes by. So what it sends is not a float but
 * a tick: the rt_now() time with the lowest bit set, which no object's address has; the receiver makes
 * a float of it. And what after_func() will run is a goroutine that is ready from the start, which
 * firing only has to put on a run queue. */
#include "binding.h"

#include <math.h>

#define NS_PER_S 1e9

/* ---- durations ---- */

/* now + seconds; beyond the clock's range: for ever. */
static int64_t deadline_in(double seconds) {
    double ns = seconds * NS_PER_S;
    return ns >= 9.2e18 ? NOTE_FOREVER : timer_after(rt_now(), (int64_t)ceil(ns));
}

/* An int that is too large for a double. */
static int infinite(PyObject *o, double *d) {
    PyErr_Clear();
    int negative = is_negative(o);
    *d = negative > 0 ? -INFINITY : INFINITY;
    return negative < 0 ? -1 : 0;
}

static int to_double(PyObject *o, const char *what, double *d) {
    *d = PyFloat_Check(o) ? PyFloat_AS_DOUBLE(o) : PyFloat_AsDouble(o);
    if (*d == -1.0 && PyErr_Occurred()) {
        if (PyErr_ExceptionMatches(PyExc_OverflowError))
            return infinite(o, d);
        explain_no_seconds(what, o);
        return -1;
    }
    if (isnan(*d)) {
        PyErr_Format(PyExc_ValueError, "%s must not be NaN", what);
        return -1;
    }
    return 0;
}

int parse_timeout(PyObject *timeout, int64_t *deadline) {
    double seconds;
    *deadline = NOTE_FOREVER;
    if (timeout == Py_None)
        return 0;
    if (to_double(timeout, "timeout", &seconds) < 0)
        return -1;
    if (seconds < 0) {
        PyErr_SetString(PyExc_ValueError, "timeout must not be negative (None waits for ever)");
        return -1;
    }
    *deadline = seconds == 0 ? CHAN_POLL : deadline_in(seconds);
    return 0;
}

PyObject *tick_to_float(void *word) {
    return PyFloat_FromDouble((double)((int64_t)(uintptr_t)word >> 1) / NS_PER_S);
}

static void *tick_of(int64_t now) { return (void *)(uintptr_t)((uint64_t)now << 1 | 1); }

/* ---- sleep, gosched ---- */

/* For what is written in Python: ValueError or TypeError as parse_timeout() has it. */
static PyObject *check_timeout(PyObject *module, PyObject *timeout) {
    (void)module;
    int64_t deadline;
    if (parse_timeout(timeout, &deadline) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *py_gosched(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    if (interrupt_check() < 0)
        return NULL;
    sched_yield_g();
    if (interrupt_check() < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *py_sleep(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
                          PyObject *kwnames) {
    static const char *const names[] = {"seconds"};
    PyObject *arg = NULL;
    if (parse_optional("sleep", names, 1, args, nargs, kwnames, &arg) < 0)
        return NULL;
    if (!arg) {
        PyErr_SetString(PyExc_TypeError, "sleep() takes one argument, seconds");
        return NULL;
    }
    double seconds;
    if (to_double(arg, "sleep()'s argument", &seconds) < 0)
        return NULL;
    if (seconds <= 0)
        return py_gosched(module, NULL);
    if (interrupt_check() < 0)
        return NULL;
    if (sched_sleep(deadline_in(seconds)) == WAKE_INTERRUPT) {
        interrupt_raise();
        return NULL;
    }
    interrupt_after_success();
    Py_RETURN_NONE;
}

/* ---- channels with a timer ---- */

static void fire_tick(struct timer *t, int64_t now) {
    ChanObject *c = t->arg;
    chan_try_send_word(&c->c, tick_of(now)); /* full: the receiver is slow, the tick is dropped */
}

static bool tick_is_awaited(struct timer *t) {
    return chan_has_receiver(&((ChanObject *)t->arg)->c);
}

void chan_timer_free(ChanObject *c) {
    if (!c->timer)
        return;
    timer_stop(c->timer);
    PyMem_RawFree(c->timer);
    c->timer = NULL;
}

static ChanObject *timer_chan(PyObject *o) {
    ChanObject *c = chan_for_recv(o);
    if (c && !c->timer) {
        PyErr_SetString(PyExc_TypeError, "not the channel of a timer");
        return NULL;
    }
    return c;
}

static int64_t period_of(double seconds) {
    double ns = seconds * NS_PER_S;
    return ns < 1 ? 1 : ns >= 9.2e18 ? INT64_MAX / 2 : (int64_t)ns;
}

/* (seconds, periodic) -> the RecvChan of a channel that a timer sends into. */
static PyObject *timer_new(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *seconds_arg;
    int periodic;
    double seconds;
    if (!PyArg_ParseTuple(args, "Op", &seconds_arg, &periodic) ||
        to_double(seconds_arg, "a timer's time", &seconds) < 0)
        return NULL;
    ChanObject *c = chan_new((PyObject *)&PyFloat_Type, 1);
    if (!c)
        return NULL;
    struct timer *t = c->timer = PyMem_RawCalloc(1, sizeof *t);
    PyObject *view = t && chan_grow(&c->c) ? chan_receiver(c) : NULL;
    Py_DECREF(c); /* the view has it */
    if (!view)
        return PyErr_Occurred() ? NULL : PyErr_NoMemory();
    *t = (struct timer){.fire = fire_tick, .useful = tick_is_awaited, .arg = c};
    t->period = periodic ? period_of(seconds) : 0;
    if (!timer_start(t, deadline_in(seconds > 0 ? seconds : 0))) {
        Py_DECREF(view);
        return PyErr_NoMemory();
    }
    return view;
}

/* A tick that was sent and not received is taken back: it belongs to the old time (as since Go 1.23). */
static bool take_back(ChanObject *c) {
    void *word;
    bool any = false;
    while (chan_take(&c->c, &word))
        any = true;
    return any;
}

static PyObject *timer_stop_py(PyObject *module, PyObject *chan) {
    (void)module;
    ChanObject *c = timer_chan(chan);
    if (!c)
        return NULL;
    bool was = timer_stop(c->timer);
    return PyBool_FromLong(take_back(c) || was);
}

/* (chan, seconds, periodic) */
static PyObject *timer_reset_py(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *chan, *seconds_arg;
    int periodic;
    double seconds;
    if (!PyArg_ParseTuple(args, "OOp", &chan, &seconds_arg, &periodic) ||
        to_double(seconds_arg, "a timer's time", &seconds) < 0)
        return NULL;
    ChanObject *c = timer_chan(chan);
    if (!c)
        return NULL;
    bool was = timer_stop(c->timer);
    was |= take_back(c);
    int r = timer_reset(c->timer, deadline_in(seconds > 0 ? seconds : 0),
                        periodic ? period_of(seconds) : 0);
    return r < 0 ? PyErr_NoMemory() : PyBool_FromLong(was);
}

/* ---- after_func ---- */

/* Armed, f->g is a prepared goroutine that will run func_run(f): it refers to f, so f fires though nobody
 * else keeps it. Firing, which has no GIL, takes g and queues it; stopping takes it and discards it. */
typedef struct func_timer {
    PyObject_HEAD
    struct timer timer;
    PyObject *args;                 /* (fn, *args) */
    struct g *_Atomic g;            /* whoever swaps it out has it */
    struct func_timer *prev, *next; /* of those that are armed, or have fired and not begun; GIL */
    bool listed;
    bool of_cleanup; /* as of its goroutine */
    bool service;    /* of a context: fires whether or not a run() ends meanwhile */
} FuncTimerObject;

static FuncTimerObject *armed, *armed_services;

static FuncTimerObject **list_of(FuncTimerObject *f) {
    return f->service ? &armed_services : &armed;
}

static void list_add(FuncTimerObject *f) {
    if (f->listed)
        return;
    f->listed = true;
    FuncTimerObject **list = list_of(f);
    f->prev = NULL;
    f->next = *list;
    if (*list)
        (*list)->prev = f;
    *list = f;
}

static void list_remove(FuncTimerObject *f) {
    if (!f->listed)
        return;
    f->listed = false;
    if (f->prev)
        f->prev->next = f->next;
    else
        *list_of(f) = f->next;
    if (f->next)
        f->next->prev = f->prev;
}

static void fire_func(struct timer *t, int64_t now) {
    (void)now;
    struct g *g = atomic_exchange(&((FuncTimerObject *)t->arg)->g, NULL);
    if (g)
        g_queue_new(g);
}

/* The body of the goroutine. */
static PyObject *func_run(PyObject *self, PyObject *unused) {
    (void)unused;
    FuncTimerObject *f = (FuncTimerObject *)self;
    if (!atomic_load(&f->g))
        list_remove(f); /* not armed again meanwhile */
    return PyObject_Vectorcall(PyTuple_GET_ITEM(f->args, 0), &PyTuple_GET_ITEM(f->args, 1),
                               (size_t)PyTuple_GET_SIZE(f->args) - 1, NULL);
}

static PyMethodDef func_run_def = {"_run", func_run, METH_NOARGS, NULL};

static bool func_stop(FuncTimerObject *f) {
    bool was = timer_stop(&f->timer);
    struct g *g = atomic_exchange(&f->g, NULL);
    list_remove(f);
    if (g && !sched_stopping()) /* else the interpreter may have freed its thread state */
        goroutine_discard(g);   /* which may drop the last reference to f */
    return was;
}

/* 1: it was armed before; 0: not; -1: an exception. No Python code runs between taking the old
 * goroutine out and putting the new one in. */
static int func_arm(FuncTimerObject *f, double seconds) {
    PyObject *body = PyCFunction_New(&func_run_def, (PyObject *)f);
    struct g *g = body ? goroutine_new("after_func", &body, 1, NULL) : NULL;
    Py_XDECREF(body);
    if (!g)
        return -1;
    goroutine_of(g)->service = f->service;
    f->of_cleanup = goroutine_of(g)->of_cleanup;
    bool was = timer_stop(&f->timer);
    struct g *old = atomic_exchange(&f->g, g);
    list_add(f);
    bool ok = timer_start(&f->timer, deadline_in(seconds > 0 ? seconds : 0));
    if (old)
        goroutine_discard(old);
    if (ok)
        return was;
    func_stop(f);
    PyErr_NoMemory();
    return -1;
}

static void func_dealloc(PyObject *self) {
    FuncTimerObject *f = (FuncTimerObject *)self;
    PyObject_GC_UnTrack(self);
    list_remove(f); /* fired, and its goroutine ended before it began */
    Py_CLEAR(f->args);
    PyObject_GC_Del(self);
}

static int func_traverse(PyObject *self, visitproc visit, void *arg) {
    Py_VISIT(((FuncTimerObject *)self)->args);
    return 0;
}

static PyObject *func_stop_py(PyObject *self, PyObject *unused) {
    (void)unused;
    Py_INCREF(self);
    bool was = func_stop((FuncTimerObject *)self);
    Py_DECREF(self);
    return PyBool_FromLong(was);
}

/* The callback of a weak reference. */
static PyObject *func_drop_py(PyObject *self, PyObject *ref) {
    (void)ref;
    Py_DECREF(func_stop_py(self, NULL));
    Py_RETURN_NONE;
}

static PyObject *func_reset_py(PyObject *self, PyObject *arg) {
    double seconds;
    if (to_double(arg, "a timer's time", &seconds) < 0)
        return NULL;
    Py_INCREF(self);
    int was = func_arm((FuncTimerObject *)self, seconds);
    Py_DECREF(self);
    return was < 0 ? NULL : PyBool_FromLong(was);
}

static PyMethodDef func_methods[] = {
    {"stop", func_stop_py, METH_NOARGS, PyDoc_STR("Whether it had not fired yet.")},
    {"drop", func_drop_py, METH_O, PyDoc_STR("stop(), as a callback of a weak reference.")},
    {"reset", func_reset_py, METH_O, PyDoc_STR("Start again; whether it had not fired yet.")},
    {0},
};

static PyTypeObject FuncTimer_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "goroutines._core._FuncTimer",
    .tp_doc = PyDoc_STR("The timer of after_func()."),
    .tp_basicsize = sizeof(FuncTimerObject),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = func_dealloc,
    .tp_traverse = func_traverse,
    .tp_methods = func_methods,
};

static int check_func_args(PyObject *args, double *seconds) {
    if (PyTuple_GET_SIZE(args) < 2) {
        PyErr_SetString(PyExc_TypeError,
                        "after_func() takes seconds, a function and its arguments");
        return -1;
    }
    if (to_double(PyTuple_GET_ITEM(args, 0), "after_func()'s time", seconds) < 0)
        return -1;
    return goroutine_check_callable("after_func", PyTuple_GET_ITEM(args, 1));
}

static PyObject *func_timer(PyObject *args, bool service) {
    double seconds;
    if (check_func_args(args, &seconds) < 0)
        return NULL;
    FuncTimerObject *f = PyObject_GC_New(FuncTimerObject, &FuncTimer_Type);
    if (!f)
        return NULL;
    f->timer = (struct timer){.fire = fire_func, .arg = f};
    f->args = PyTuple_GetSlice(args, 1, PyTuple_GET_SIZE(args));
    atomic_init(&f->g, NULL);
    f->listed = false;
    f->service = service;
    PyObject_GC_Track(f);
    if (!f->args || func_arm(f, seconds) < 0)
        Py_CLEAR(f);
    return (PyObject *)f;
}

/* (seconds, fn, *args) */
static PyObject *func_timer_new(PyObject *module, PyObject *args) {
    (void)module;
    return func_timer(args, false);
}

/* The same for a context's deadline: fn is short and waits for nothing. */
static PyObject *deadline_timer_new(PyObject *module, PyObject *args) {
    (void)module;
    return func_timer(args, true);
}

static FuncTimerObject *first_to_stop(bool helpers) {
    FuncTimerObject *f = armed;
    while (f && f->of_cleanup && !helpers)
        f = f->next;
    return f;
}

void func_timers_stop_all(bool helpers) {
    for (FuncTimerObject *f; (f = first_to_stop(helpers));) {
        Py_INCREF(f);
        func_stop(f);
        Py_DECREF(f);
    }
}

/* The prepared goroutines, and the timers, do not exist in the child. */
void func_timers_fork_child(void) {
    for (FuncTimerObject *f; (f = armed ? armed : armed_services);) {
        atomic_store(&f->g, NULL);
        list_remove(f);
    }
}

/* ---- module ---- */

PyMethodDef time_methods[] = {
    {"gosched", py_gosched, METH_NOARGS,
     PyDoc_STR("gosched()\n--\n\nYield the processor to other goroutines.")},
    {"sleep", FN(py_sleep), FAST,
     PyDoc_STR("sleep(seconds)\n--\n\nPark for at least that many seconds; <= 0 is a yield.")},
    {"_check_timeout", check_timeout, METH_O, NULL},
    {"_timer_new", timer_new, METH_VARARGS, NULL},
    {"_timer_stop", timer_stop_py, METH_O, NULL},
    {"_timer_reset", timer_reset_py, METH_VARARGS, NULL},
    {"_func_timer", func_timer_new, METH_VARARGS, NULL},
    {"_deadline_timer", deadline_timer_new, METH_VARARGS, NULL},
    {0},
};

int time_types_init(PyObject *module) { return PyModule_AddType(module, &FuncTimer_Type); }
