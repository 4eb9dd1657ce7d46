/* WaitGroup, and the waiting of Cond: the runtime's notify.h. */
#include "binding.h"

#include "notify.h"

/* ---- results ---- */

/* 0, or -1 with an exception. */
static int check_told(enum chan_result r, const char *timed_out) {
    switch (r) {
    case CHAN_OK:
        interrupt_after_success();
        return 0;
    case CHAN_TIMEOUT:
    case CHAN_WOULD_BLOCK:
        if (interrupt_after_failure() == 0)
            raise_timeout(timed_out);
        return -1;
    case CHAN_NO_MEMORY:
        PyErr_NoMemory();
        return -1;
    default:
        interrupt_raise();
        return -1;
    }
}

/* ---- WaitGroup ---- */

typedef struct {
    PyObject_HEAD
    struct wait_group wg;
    PyObject *weakrefs;
} WaitGroupObject;

static struct wait_group *group_of(PyObject *self) { return &((WaitGroupObject *)self)->wg; }

static PyObject *group_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    if (PyTuple_GET_SIZE(args) || (kwargs && PyDict_GET_SIZE(kwargs))) {
        PyErr_SetString(PyExc_TypeError, "WaitGroup() takes no arguments");
        return NULL;
    }
    PyObject *self = type->tp_alloc(type, 0);
    if (self)
        wait_group_init(group_of(self));
    return self;
}

static void group_dealloc(PyObject *self) {
    if (((WaitGroupObject *)self)->weakrefs)
        PyObject_ClearWeakRefs(self);
    Py_TYPE(self)->tp_free(self);
}

static PyObject *group_add_n(PyObject *self, int64_t n) {
    if (wait_group_add(group_of(self), n))
        Py_RETURN_NONE;
    PyErr_SetString(PyExc_ValueError, n < 0 ? "a WaitGroup's counter must not be negative: "
                                              "done() was called more often than add() counted"
                                            : "a WaitGroup's counter is too large");
    return NULL;
}

static PyObject *group_add(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                           PyObject *kwnames) {
    static const char *const names[] = {"n"};
    PyObject *given = NULL;
    if (parse_optional("add", names, 1, args, nargs, kwnames, &given) < 0)
        return NULL;
    if (!given)
        return group_add_n(self, 1);
    PyObject *index = PyNumber_Index(given);
    if (!index)
        return NULL;
    int overflow;
    long long n = PyLong_AsLongLongAndOverflow(index, &overflow);
    Py_DECREF(index);
    return group_add_n(self, overflow > 0 ? INT64_MAX : overflow < 0 ? INT64_MIN : n);
}

static PyObject *group_done(PyObject *self, PyObject *unused) {
    (void)unused;
    return group_add_n(self, -1);
}

static PyObject *group_wait(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                            PyObject *kwnames) {
    static const char *const names[] = {"timeout"};
    PyObject *timeout = Py_None;
    int64_t deadline;
    if (parse_optional("wait", names, 1, args, nargs, kwnames, &timeout) < 0 ||
        parse_timeout(timeout, &deadline) < 0 || interrupt_check() < 0 ||
        check_told(wait_group_wait(group_of(self), deadline),
                   "wait timed out: the WaitGroup's counter is not zero") < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *group_repr(PyObject *self) {
    return PyUnicode_FromFormat("<%s: %lld to wait for, at %p>", Py_TYPE(self)->tp_name,
                                (long long)wait_group_count(group_of(self)), self);
}

/* ---- WaitGroup.go ---- */

/* What such a goroutine calls: fn, and then done(). If it never runs, done() comes when it is dropped. */
typedef struct {
    PyObject_HEAD
    PyObject *group;
    PyObject *fn;
} MemberObject;

static void member_done(MemberObject *member) {
    PyObject *group = member->group;
    member->group = NULL;
    if (group)
        wait_group_add(group_of(group), -1); /* false: somebody has called done() once too often */
    Py_XDECREF(group);
}

static PyObject *member_call(PyObject *self, PyObject *args, PyObject *kwargs) {
    MemberObject *member = (MemberObject *)self;
    PyObject *result = PyObject_Call(member->fn, args, kwargs);
    if (result)
        member_done(member);
    /* Else when the goroutine drops it: then the excepthook has been called. */
    return result;
}

static void member_dealloc(PyObject *self) {
    MemberObject *member = (MemberObject *)self;
    member_done(member);
    Py_DECREF(member->fn);
    PyObject_Free(self);
}

static PyObject *member_repr(PyObject *self) { return PyObject_Repr(((MemberObject *)self)->fn); }

static PyTypeObject Member_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "goroutines._core._Member",
    .tp_doc = PyDoc_STR("What a goroutine of WaitGroup.go() calls."),
    .tp_basicsize = sizeof(MemberObject),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = member_dealloc,
    .tp_call = member_call,
    .tp_repr = member_repr,
};

static PyObject *member_new(PyObject *group, PyObject *fn) {
    MemberObject *member = PyObject_New(MemberObject, &Member_Type);
    if (!member)
        return NULL;
    member->group = NULL;
    member->fn = Py_NewRef(fn);
    PyObject *added = group_add_n(group, 1);
    if (added)
        member->group = Py_NewRef(group);
    else
        Py_CLEAR(member);
    Py_XDECREF(added);
    return (PyObject *)member;
}

/* args with fn in place of the first. */
static struct g *goroutine_for(PyObject *fn, PyObject *const *args, Py_ssize_t nargs,
                               PyObject *kwnames) {
    size_t n = (size_t)(nargs + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0));
    PyObject **copy = PyMem_Malloc(n * sizeof *copy);
    if (!copy) {
        PyErr_NoMemory();
        return NULL;
    }
    copy[0] = fn;
    for (size_t i = 1; i < n; i++)
        copy[i] = args[i];
    struct g *g = goroutine_new("go", copy, nargs, kwnames);
    PyMem_Free(copy);
    return g;
}

static PyObject *group_go(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                          PyObject *kwnames) {
    if (nargs < 1) {
        PyErr_SetString(PyExc_TypeError,
                        "go() takes a function and its arguments, as in group.go(f, x)");
        return NULL;
    }
    if (interrupt_check() < 0 || goroutine_check_callable("go", args[0]) < 0)
        return NULL;
    PyObject *member = member_new(self, args[0]);
    struct g *g = member ? goroutine_for(member, args, nargs, kwnames) : NULL;
    Py_XDECREF(member);
    if (!g)
        return NULL;
    g_start(g);
    Py_RETURN_NONE;
}

static PyMethodDef group_methods[] = {
    {"add", FN(group_add), FAST,
     PyDoc_STR("add($self, /, n=1)\n--\n\n"
               "Add n, which may be negative, to the counter; at zero all who wait go on.\n\n"
               "ValueError, and nothing is added, if the counter would be negative.")},
    {"done", group_done, METH_NOARGS,
     PyDoc_STR("done($self, /)\n--\n\nTake one off the counter: add(-1).")},
    {"wait", FN(group_wait), FAST,
     PyDoc_STR("wait($self, /, timeout=None)\n--\n\n"
               "Wait until the counter is zero. TimeoutError after timeout seconds.")},
    {"go", FN(group_go), FAST,
     PyDoc_STR("go($self, fn, /, *args, **kwargs)\n--\n\n"
               "Start fn(*args, **kwargs) as a goroutine that the group waits for.\n\n"
               "Counts one up now, and one down when fn has returned or raised. TypeError as "
               "go() has it.")},
    {0},
};

static PyTypeObject WaitGroup_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "goroutines.sync.WaitGroup",
    .tp_doc = PyDoc_STR("WaitGroup()\n--\n\n"
                        "A counter of what is under way; wait() waits until it is zero.\n\n"
                        "https://pkg.go.dev/sync#WaitGroup"),
    .tp_basicsize = sizeof(WaitGroupObject),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = group_new,
    .tp_dealloc = group_dealloc,
    .tp_weaklistoffset = offsetof(WaitGroupObject, weakrefs),
    .tp_repr = group_repr,
    .tp_methods = group_methods,
};

/* ---- a condition's lock, released and taken again ---- */

/* Releases it; what take_back() needs, a new reference, or NULL with an exception. An RLock is released
 * however often it is held, as in threading.Condition. */
static PyObject *let_go(PyObject *lock) {
    if (Py_IS_TYPE(lock, &Mutex_Type)) {
        if (mutex_unlock(lock) == 0)
            Py_RETURN_NONE;
        PyErr_SetString(PyExc_RuntimeError,
                        "wait on a Cond whose lock is not held: wait in `with cond:`");
        return NULL;
    }
    bool saves = PyObject_HasAttrString(lock, "_release_save");
    return PyObject_CallMethod(lock, saves ? "_release_save" : "release", NULL);
}

/* 0, or -1 with an exception. */
static int take_back(PyObject *lock, PyObject *saved) {
    if (Py_IS_TYPE(lock, &Mutex_Type))
        return mutex_lock(lock, NOTE_FOREVER) == 1 ? 0 : -1;
    PyObject *taken = PyObject_HasAttrString(lock, "_acquire_restore")
                          ? PyObject_CallMethod(lock, "_acquire_restore", "(O)", saved)
                          : PyObject_CallMethod(lock, "acquire", NULL);
    Py_XDECREF(taken);
    return taken ? 0 : -1;
}

/* Ended by `run` for the third time, which happens when all sleep for good, or told that they do. */
static bool is_hopeless(PyObject *exc, int *exits) {
    if (PyErr_GivenExceptionMatches(exc, GoroutineExit))
        return ++*exits >= 3;
    return PyErr_GivenExceptionMatches(exc, DeadlockError) ||
           PyErr_GivenExceptionMatches(exc, PyExc_MemoryError);
}

/* Whether exc, which take_back() has raised, came from outside rather than from the lock itself. */
static bool is_interrupt(PyObject *lock, PyObject *exc) {
    return Py_IS_TYPE(lock, &Mutex_Type) || !PyErr_GivenExceptionMatches(exc, PyExc_Exception);
}

/* Takes the lock again whatever comes. What has been raised, and what comes meanwhile, is raised when
 * it is there; or at once if it will never be, or the lock is broken: then without it. */
static void take_back_firmly(PyObject *lock, PyObject *saved) {
    PyObject *raised = PyErr_Occurred() ? compat_fetch() : NULL;
    int exits = raised && PyErr_GivenExceptionMatches(raised, GoroutineExit);
    bool on = true;
    while (on && take_back(lock, saved) < 0) {
        PyObject *exc = compat_fetch();
        on = is_interrupt(lock, exc) && !is_hopeless(exc, &exits);
        if (raised && raised != exc)
            PyException_SetContext(exc, raised);
        else
            Py_XDECREF(raised);
        raised = exc;
    }
    if (raised)
        compat_raise(raised);
}

/* ---- what Cond waits in ---- */

typedef struct {
    PyObject_HEAD
    struct notify_list list;
} WaitersObject;

static struct notify_list *list_of(PyObject *self) { return &((WaitersObject *)self)->list; }

static PyObject *waiters_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    (void)args, (void)kwargs;
    PyObject *self = type->tp_alloc(type, 0);
    if (self)
        notify_init(list_of(self));
    return self;
}

/* (lock, timeout) */
static PyObject *waiters_wait(PyObject *self, PyObject *const *args, Py_ssize_t nargs) {
    int64_t deadline;
    if (nargs != 2) {
        PyErr_SetString(PyExc_TypeError, "wait() takes a lock and a timeout");
        return NULL;
    }
    if (parse_timeout(args[1], &deadline) < 0 || interrupt_check() < 0)
        return NULL;
    struct notify_waiter me;
    notify_join(list_of(self), &me);
    PyObject *saved = let_go(args[0]);
    if (!saved) {
        notify_cancel(list_of(self), &me);
        return NULL;
    }
    check_told(notify_wait(list_of(self), &me, "cond", deadline),
               "wait timed out: nobody has notified the Cond");
    take_back_firmly(args[0], saved);
    Py_DECREF(saved);
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

static PyObject *waiters_notify(PyObject *self, PyObject *arg) {
    int64_t n;
    if (parse_count("n", arg, &n) < 0)
        return NULL;
    notify_wake(list_of(self), n);
    Py_RETURN_NONE;
}

static PyObject *waiters_notify_all(PyObject *self, PyObject *unused) {
    (void)unused;
    notify_wake(list_of(self), INT64_MAX);
    Py_RETURN_NONE;
}

static Py_ssize_t waiters_length(PyObject *self) { return (Py_ssize_t)notify_len(list_of(self)); }

static PyMethodDef waiters_methods[] = {
    {"wait", FN(waiters_wait), METH_FASTCALL, NULL},
    {"notify", waiters_notify, METH_O, NULL},
    {"notify_all", waiters_notify_all, METH_NOARGS, NULL},
    {0},
};

static PySequenceMethods waiters_as_sequence = {.sq_length = waiters_length};

static PyTypeObject Waiters_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "goroutines._core._Waiters",
    .tp_doc = PyDoc_STR("Those who wait for a Cond."),
    .tp_basicsize = sizeof(WaitersObject),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = waiters_new,
    .tp_as_sequence = &waiters_as_sequence,
    .tp_methods = waiters_methods,
};

int waiter_types_init(PyObject *module) {
    if (PyType_Ready(&Member_Type) < 0 || PyModule_AddType(module, &WaitGroup_Type) < 0)
        return -1;
    return PyModule_AddType(module, &Waiters_Type);
}
