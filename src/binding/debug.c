/* What goroutines.debug is made of: numbers, and who is where. */
#include "binding.h"

#include <time.h>

static PyObject *runnable_lengths(int *procs) {
    int n = sched_runnable(NULL, -1);
    int64_t *lengths = PyMem_Calloc((size_t)n + 1, sizeof *lengths);
    if (!lengths)
        return PyErr_NoMemory();
    int now = sched_runnable(lengths, n);
    *procs = now < n ? now : n; /* changed meanwhile */
    PyObject *tuple = PyTuple_New(*procs + 1);
    for (int i = 0; tuple && i <= *procs; i++) {
        PyObject *length = PyLong_FromLongLong(lengths[i]);
        if (!length)
            Py_CLEAR(tuple);
        else
            PyTuple_SET_ITEM(tuple, i, length);
    }
    PyMem_Free(lengths);
    return tuple;
}

/* The fields of goroutines.debug.Stats, in order. */
static PyObject *stats(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    int procs = 0;
    PyObject *runnable = runnable_lengths(&procs);
    if (!runnable)
        return NULL;
    struct sched_stats s;
    sched_stats(&s);
    return Py_BuildValue("(iLLLNKKKKKK)", procs, (long long)s.threads, (long long)s.idle_threads,
                         (long long)(s.started - s.finished) - goroutines_left_behind, runnable,
                         (unsigned long long)s.started, (unsigned long long)s.finished,
                         (unsigned long long)s.switches, (unsigned long long)s.steals,
                         (unsigned long long)s.handoffs, (unsigned long long)s.preemptions);
}

/* ---- who runs inside the interpreter ---- */

#define SAMPLES 4
#define BETWEEN 50000 /* ns */

struct inside {
    struct g *g[SAMPLES];
    int n;
};

static void note_inside(struct m *m, void *arg) {
    struct inside *in = arg;
    struct g *g = host_inside(m);
    if (g && in->n < SAMPLES)
        in->g[in->n++] = g;
}

static bool any_runs(struct g *g, void *arg) {
    bool other = atomic_load(&g->status) == G_RUNNING && g != sched_current();
    *(bool *)arg |= other;
    return !other;
}

/* While this thread holds the GIL, all others are outside: so it is released for a moment. */
static struct inside sample(void) {
    struct inside in = {0};
    bool others = false;
    sched_each_g(any_runs, &others);
    if (!others)
        return in;
    Py_BEGIN_ALLOW_THREADS
    for (int i = 0; i < SAMPLES; i++) {
        struct timespec ts = {.tv_nsec = BETWEEN};
        nanosleep(&ts, NULL);
        sched_each_m(note_inside, &in);
    }
    Py_END_ALLOW_THREADS
    return in;
}

static const char *running_reason(struct g *g, const struct inside *in) {
    if (g == sched_current())
        return "running";
    for (int i = 0; i < in->n; i++)
        if (in->g[i] == g)
            return "running";
    return "blocked";
}

/* ---- the list ---- */

struct listing {
    PyObject *list;
    struct inside inside;
    int64_t now;
    Py_ssize_t limit;
};

static PyObject *frame_of(struct g *g) {
    PyThreadState *ts = goroutine_of(g)->ts;
    PyObject *frame = atomic_load(&g->started) ? (PyObject *)PyThreadState_GetFrame(ts) : NULL;
    return frame ? frame : Py_NewRef(Py_None);
}

static PyObject *describe(struct g *g, struct listing *l) {
    enum g_status s = atomic_load(&g->status);
    const char *reason = s == G_WAITING    ? atomic_load(&g->wait_reason)
                         : s == G_RUNNABLE ? "runnable"
                                           : running_reason(g, &l->inside);
    double waited = s == G_WAITING ? (double)(l->now - atomic_load(&g->wait_since)) / 1e9 : -1;
    PyObject *created = goroutine_created_at(goroutine_of(g));
    if (!created)
        return NULL;
    PyObject *lock = s == G_WAITING ? goroutine_of(g)->waits_for : NULL;
    return Py_BuildValue("(KsdNNL)", (unsigned long long)atomic_load(&g->id), reason,
                         waited < 0 && s == G_WAITING ? 0.0 : waited, frame_of(g), created,
                         (long long)(lock ? lock_holder(lock) : -1));
}

static bool add(struct g *g, void *arg) {
    struct listing *l = arg;
    if (!goroutine_alive(g) || goroutine_of(g)->left_behind)
        return true;
    if (l->limit >= 0 && PyList_GET_SIZE(l->list) >= l->limit)
        return false;
    PyObject *item = describe(g, l);
    if (!item || PyList_Append(l->list, item) < 0)
        Py_CLEAR(l->list);
    Py_XDECREF(item);
    return l->list != NULL;
}

/* (limit, -1: all) -> [(number, reason, seconds waited or -1, frame or None, created at, number of the
 * holder of the lock it waits for, as lock_holder() says)] */
static PyObject *list_goroutines(PyObject *module, PyObject *arg) {
    (void)module;
    struct listing l = {.limit = PyLong_AsSsize_t(arg)};
    if (l.limit == -1 && PyErr_Occurred())
        return NULL;
    l.list = PyList_New(0);
    if (!l.list)
        return NULL;
    l.inside = sample();
    l.now = rt_now_coarse();
    int held = compat_hold_collector();
    sched_each_g(add, &l);
    compat_release_collector(held);
    return l.list;
}

PyMethodDef debug_methods[] = {
    {"_stats", stats, METH_NOARGS, NULL},
    {"_goroutines", list_goroutines, METH_O, NULL},
    {0},
};
