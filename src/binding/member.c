/* Members of a Group: goroutines that report how they ended, and that can be told to end.
 *
 * A _Member is made first and started later, so that its group can tell it to end at any time: before
 * it is started or has begun (then it never runs), while it waits (GoroutineExit at once), while it
 * computes or is blocked in C (at its next blocking point).
 *
 * From start() to member_finished() the goroutine holds a reference to its _Member, and m->g is that
 * goroutine and no later one on the same G. Everything here is guarded by the GIL. */
#include "binding.h"

typedef struct {
    PyObject_HEAD
    PyObject *on_end; /* NULL once it is over */
    struct g *g;      /* NULL: not running, not yet or no more */
    bool told;        /* to end */
    unsigned long generation;
} MemberObject;

static unsigned long fork_generation;

void members_fork_child(void) { fork_generation++; }

/* It does not exist in this child. */
static bool forked_away(MemberObject *m) { return m->generation != fork_generation; }

/* ---- start ---- */

static PyObject *member_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    PyObject *on_end;
    static char *names[] = {"on_end", NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O:_Member", names, &on_end))
        return NULL;
    MemberObject *m = (MemberObject *)type->tp_alloc(type, 0);
    if (m)
        m->on_end = Py_NewRef(on_end);
    return (PyObject *)m;
}

static PyObject *member_start(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                              PyObject *kwnames) {
    MemberObject *m = (MemberObject *)self;
    if (nargs < 1 || m->g || !m->on_end) {
        PyErr_SetString(PyExc_TypeError, "start() takes a function, and comes once");
        return NULL;
    }
    struct g *g = goroutine_new("Group.go", args, nargs, kwnames);
    if (!g)
        return NULL;
    goroutine_of(g)->member = Py_NewRef(self);
    goroutine_of(g)->exit_before_start = m->told;
    m->generation = fork_generation;
    m->g = g;
    g_start(g);
    Py_RETURN_NONE;
}

static PyObject *member_started(PyObject *self, PyObject *unused) {
    (void)unused;
    MemberObject *m = (MemberObject *)self;
    return PyBool_FromLong(m->g || !m->on_end);
}

/* ---- end ---- */

/* Whatever may come from outside comes too late from here on: how it ended is to be told in full. */
static PyObject *tell(struct goroutine *gr, PyObject *on_end, PyObject *result, PyObject *exc) {
    gr->deaf = true;
    interrupt_drop(gr);
    PyObject *taken = PyObject_CallFunctionObjArgs(on_end, result ? result : Py_None,
                                                   exc ? exc : Py_None, NULL);
    gr->deaf = false;
    return taken;
}

bool member_finished(struct goroutine *gr, PyObject *result, PyObject *exc) {
    MemberObject *m = (MemberObject *)gr->member;
    PyObject *on_end = m->on_end;
    gr->member = NULL;
    m->on_end = NULL;
    m->g = NULL;
    PyObject *taken = tell(gr, on_end, result, exc);
    bool is_taken = taken == Py_True;
    if (!taken)
        PyErr_WriteUnraisable(on_end);
    Py_XDECREF(taken);
    Py_DECREF(on_end);
    Py_DECREF(m);
    return is_taken;
}

/* ---- told to end ---- */

/* By its group, or by the end of run(), which tells the waiting group as well. */
static bool was_told(MemberObject *m, bool by_group) {
    return by_group || goroutine_of(m->g)->exit_sent;
}

/* (again=False) */
static PyObject *member_interrupt(PyObject *self, PyObject *const *args, Py_ssize_t nargs) {
    MemberObject *m = (MemberObject *)self;
    bool again = nargs > 0 && args[0] == Py_True;
    PyObject *exc = interrupt_new_exit(); /* first: the collector may run code */
    bool told = m->told;
    m->told = true;
    if (!m->g || forked_away(m) || (was_told(m, told) && !again)) {
        Py_DECREF(exc);
    } else if (!atomic_load(&m->g->started)) {
        Py_DECREF(exc);
        goroutine_of(m->g)->exit_before_start = true;
    } else {
        interrupt_deliver_parked(m->g, exc);
    }
    Py_RETURN_NONE;
}

/* (ending) */
static PyObject *member_lost(PyObject *self, PyObject *ending) {
    MemberObject *m = (MemberObject *)self;
    if (!m->g || forked_away(m))
        return PyBool_FromLong(m->g != NULL);
    return PyBool_FromLong(ending == Py_True && goroutine_of(m->g)->left_behind);
}

/* ---- type ---- */

static int member_traverse(PyObject *self, visitproc visit, void *arg) {
    Py_VISIT(((MemberObject *)self)->on_end);
    return 0;
}

static int member_clear(PyObject *self) {
    Py_CLEAR(((MemberObject *)self)->on_end);
    return 0;
}

static void member_dealloc(PyObject *self) {
    PyObject_GC_UnTrack(self);
    member_clear(self);
    Py_TYPE(self)->tp_free(self);
}

static PyMethodDef member_methods[] = {
    {"start", FN(member_start), FAST,
     PyDoc_STR("start(fn, *args, **kwargs): once. When it has ended, on_end(value, None) or "
               "on_end(None, exception) is called in the goroutine; unless that returns True, the "
               "exception goes where those of other goroutines go.")},
    {"started", member_started, METH_NOARGS, PyDoc_STR("Whether start() has succeeded.")},
    {"interrupt", FN(member_interrupt), METH_FASTCALL,
     PyDoc_STR("interrupt(again=False): raise GoroutineExit in it; one that has not begun never "
               "runs. Only the first call does anything, unless `again`.")},
    {"lost", member_lost, METH_O,
     PyDoc_STR("lost(ending): whether it is not to be waited for: it does not exist in this forked "
               "child; or, if `ending`, run() has left it behind, blocked in C.")},
    {0},
};

static PyTypeObject Member_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "goroutines._core._Member",
    .tp_doc = PyDoc_STR("_Member(on_end): a goroutine of a Group."),
    .tp_basicsize = sizeof(MemberObject),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_new = member_new,
    .tp_dealloc = member_dealloc,
    .tp_traverse = member_traverse,
    .tp_clear = member_clear,
    .tp_methods = member_methods,
};

/* (who, fn): TypeError, in which `who` is called, if no goroutine can run fn. */
static PyObject *check_callable(PyObject *module, PyObject *args) {
    (void)module;
    const char *who;
    PyObject *fn;
    if (!PyArg_ParseTuple(args, "sO", &who, &fn) || goroutine_check_callable(who, fn) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"_check_callable", check_callable, METH_VARARGS, NULL},
    {0},
};

int member_types_init(PyObject *module) {
    return PyModule_AddType(module, &Member_Type) < 0 ? -1
                                                      : PyModule_AddFunctions(module, functions);
}
