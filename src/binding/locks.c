/* Mutex, RWMutex and Semaphore: the runtime's semaphore (sema.h) with Python's manners.
 *
 * Who waits is served in the order of coming, and what is released is handed over: nobody overtakes,
 * so nobody starves. The price is a switch of goroutines at each hand-over. An exception ends a wait
 * only if nothing was handed over (interrupt.c). */
#include "binding.h"

#include <math.h>

#include "sema.h"

typedef struct {
    PyObject_HEAD
    struct sema s;
    PyObject *weakrefs;
    /* The number of the goroutine that took it last, 0 for a thread. GIL. */
    uint64_t holder;
} MutexObject;

typedef struct {
    PyObject_HEAD
    struct sema s;
    PyObject *weakrefs;
    uint64_t holder; /* the writer, as above */
} RWMutexObject;

typedef struct {
    PyObject_HEAD
    struct sema s;
    PyObject *weakrefs;
    int64_t size;
} SemaphoreObject;

extern PyTypeObject RWMutex_Type; /* below */

/* ---- acquiring ---- */

static int wait_result(enum chan_result r) {
    switch (r) {
    case CHAN_OK:
        interrupt_after_success();
        return 1;
    case CHAN_TIMEOUT:
    case CHAN_WOULD_BLOCK:
        return interrupt_after_failure();
    case CHAN_NO_MEMORY:
        PyErr_NoMemory();
        return -1;
    default:
        interrupt_raise();
        return -1;
    }
}

static Py_NO_INLINE int acquire_slowly(PyObject *self, struct goroutine *gr, struct sema *s,
                                       int64_t n, const char *reason, int64_t deadline) {
    if (gr)
        gr->waits_for = self;
    int taken = wait_result(sema_acquire(s, n, reason, deadline));
    if (gr)
        gr->waits_for = NULL;
    return taken;
}

/* 1: taken. 0: the time is over. -1: an exception. holder: who has it now is noted there; or NULL. */
static inline int acquire(PyObject *self, struct sema *s, int64_t n, const char *reason,
                          int64_t deadline, uint64_t *holder) {
    struct m *m = rt_m();
    struct g *g = m ? atomic_load_explicit(&m->curg, memory_order_relaxed) : NULL;
    struct goroutine *gr = g ? goroutine_of(g) : NULL;
    if (gr && gr->pending)
        return interrupt_check();
    int taken = 1;
    if (!sema_acquire_quickly(s, n))
        taken = acquire_slowly(self, gr, s, n, reason, deadline);
    if (taken == 1 && holder)
        *holder = g ? atomic_load_explicit(&g->id, memory_order_relaxed) : 0;
    return taken;
}

static inline bool release(struct sema *s, int64_t n, int64_t least, int64_t most) {
    return sema_release_quickly(s, n, least, most) || sema_release_if(s, n, least, most);
}

static inline PyObject *as_bool(int taken) {
    return taken < 0 ? NULL : Py_NewRef(taken ? Py_True : Py_False);
}

int64_t lock_holder(PyObject *lock) {
    if (Py_IS_TYPE(lock, &Mutex_Type)) {
        MutexObject *m = (MutexObject *)lock;
        return sema_count(&m->s) == 0 ? (int64_t)m->holder : -1;
    }
    if (Py_IS_TYPE(lock, &RWMutex_Type)) {
        RWMutexObject *m = (RWMutexObject *)lock;
        return sema_count(&m->s) == 0 ? (int64_t)m->holder : -1;
    }
    return -1;
}

/* ---- life: all three begin alike ---- */

static void lock_dealloc(PyObject *self) {
    if (((MutexObject *)self)->weakrefs)
        PyObject_ClearWeakRefs(self);
    Py_TYPE(self)->tp_free(self);
}

static PyObject *new_without_arguments(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    if (PyTuple_GET_SIZE(args) || (kwargs && PyDict_GET_SIZE(kwargs))) {
        PyErr_Format(PyExc_TypeError, "%s() takes no arguments", type->tp_name);
        return NULL;
    }
    return type->tp_alloc(type, 0);
}

/* ---- Mutex ---- */

#define WHY_NOT_NEGATIVE "timeout must not be negative (-1 waits for ever)"

/* threading.Lock's rules, but infinity waits for ever, too. *limits: it is not -1. */
static int parse_lock_timeout(PyObject *timeout, int64_t *deadline, bool *limits) {
    double seconds = PyFloat_AsDouble(timeout);
    *limits = seconds != -1.0;
    if (!*limits) {
        if (!PyErr_Occurred())
            return 0;
        explain_no_seconds("timeout", timeout);
        return -1;
    }
    if (isnan(seconds) || seconds < 0) {
        PyErr_SetString(PyExc_ValueError,
                        isnan(seconds) ? "timeout must not be NaN" : WHY_NOT_NEGATIVE);
        return -1;
    }
    if (isfinite(seconds) && seconds > (double)(PY_TIMEOUT_MAX / 1000000)) {
        PyErr_SetString(PyExc_OverflowError, "timeout value is too large");
        return -1;
    }
    return parse_timeout(timeout, deadline);
}

static int parse_blocking(PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
                          int64_t *deadline) {
    static const char *const names[] = {"blocking", "timeout"};
    PyObject *given[2] = {Py_True, NULL};
    if (parse_optional("acquire", names, 2, args, nargs, kwnames, given) < 0)
        return -1;
    bool limits = false;
    int blocking = PyObject_IsTrue(given[0]);
    if (blocking < 0 || (given[1] && parse_lock_timeout(given[1], deadline, &limits) < 0))
        return -1;
    if (blocking)
        return 0;
    if (limits) {
        PyErr_SetString(PyExc_ValueError, "can't specify a timeout for a non-blocking call");
        return -1;
    }
    *deadline = CHAN_POLL;
    return 0;
}

int mutex_lock(PyObject *self, int64_t deadline) {
    MutexObject *m = (MutexObject *)self;
    return acquire(self, &m->s, 1, "mutex", deadline, &m->holder);
}

int mutex_unlock(PyObject *self) {
    if (release(&((MutexObject *)self)->s, 1, 0, 0))
        return 0;
    PyErr_SetString(PyExc_RuntimeError, "release of an unlocked Mutex");
    return -1;
}

static PyObject *mutex_acquire(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                               PyObject *kwnames) {
    int64_t deadline = NOTE_FOREVER;
    if (nargs == 1 && !kwnames && args[0] == Py_False)
        deadline = CHAN_POLL;
    else if ((nargs || kwnames) && parse_blocking(args, nargs, kwnames, &deadline) < 0)
        return NULL;
    return as_bool(mutex_lock(self, deadline));
}

static PyObject *mutex_enter(PyObject *self, PyObject *unused) {
    (void)unused;
    return as_bool(mutex_lock(self, NOTE_FOREVER));
}

static PyObject *mutex_release(PyObject *self, PyObject *unused) {
    (void)unused;
    if (mutex_unlock(self) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *mutex_exit(PyObject *self, PyObject *const *args, Py_ssize_t nargs) {
    (void)args, (void)nargs;
    return mutex_release(self, NULL);
}

static bool is_locked(PyObject *self) { return sema_count(&((MutexObject *)self)->s) == 0; }

static PyObject *mutex_locked(PyObject *self, PyObject *unused) {
    (void)unused;
    return PyBool_FromLong(is_locked(self));
}

/* threading.Lock has it: what a forked child calls to be rid of a holder that does not exist there. Here
 * it is a release that is always allowed, so that nobody who does wait is forgotten. */
static PyObject *mutex_at_fork_reinit(PyObject *self, PyObject *unused) {
    (void)unused;
    sema_release_if(&((MutexObject *)self)->s, 1, 0, 0);
    Py_RETURN_NONE;
}

static PyObject *mutex_repr(PyObject *self) {
    return PyUnicode_FromFormat("<%s %s object at %p>", is_locked(self) ? "locked" : "unlocked",
                                Py_TYPE(self)->tp_name, self);
}

static PyObject *mutex_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    PyObject *self = new_without_arguments(type, args, kwargs);
    if (self)
        sema_init(&((MutexObject *)self)->s, 1);
    return self;
}

static PyMethodDef mutex_methods[] = {
    {"acquire", FN(mutex_acquire), FAST,
     PyDoc_STR(
         "acquire($self, /, blocking=True, timeout=-1)\n--\n\n"
         "Lock it, waiting for those who came earlier; whether it was locked.\n\nFalse: somebody "
         "holds it and blocking is false, or timeout (seconds; -1: for ever) is over.\nValueError "
         "for another negative timeout, NaN, or a timeout with blocking=False; OverflowError for "
         "one\nabove threading.TIMEOUT_MAX.")},
    {"release", mutex_release, METH_NOARGS,
     PyDoc_STR("release($self, /)\n--\n\n"
               "Unlock it: it goes to the first who waits. Any goroutine or thread may do it.\n\n"
               "RuntimeError if it is not locked.")},
    {"locked", mutex_locked, METH_NOARGS,
     PyDoc_STR("locked($self, /)\n--\n\nWhether somebody holds it.")},
    {"__enter__", mutex_enter, METH_NOARGS, PyDoc_STR("__enter__($self, /)\n--\n\nacquire()")},
    {"__exit__", FN(mutex_exit), METH_FASTCALL,
     PyDoc_STR("__exit__($self, kind, value, trace, /)\n--\n\nrelease()")},
    {"_at_fork_reinit", mutex_at_fork_reinit, METH_NOARGS, NULL},
    {0},
};

PyTypeObject Mutex_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "goroutines.sync.Mutex",
    .tp_doc = PyDoc_STR("Mutex()\n--\n\n"
                        "A lock like threading.Lock that parks the goroutine which waits, not its "
                        "thread.\n\nWho waits gets it in the order of coming, so nobody starves. "
                        "Not reentrant, and without an owner.\nhttps://pkg.go.dev/sync#Mutex"),
    .tp_basicsize = sizeof(MutexObject),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = mutex_new,
    .tp_dealloc = lock_dealloc,
    .tp_weaklistoffset = offsetof(MutexObject, weakrefs),
    .tp_repr = mutex_repr,
    .tp_methods = mutex_methods,
};

/* ---- RWMutex: a reader takes one unit, the writer all ---- */

#define RW_UNITS (INT64_C(1) << 40)

static int rw_acquire(PyObject *self, bool write, int64_t deadline) {
    RWMutexObject *m = (RWMutexObject *)self;
    int taken = acquire(self, &m->s, write ? RW_UNITS : 1, "rwmutex", deadline,
                        write ? &m->holder : NULL);
    if (taken == 0)
        raise_timeout(write ? "acquire_write timed out" : "acquire_read timed out");
    return taken == 1 ? 0 : -1;
}

static int rw_release(PyObject *self, bool write) {
    struct sema *s = &((RWMutexObject *)self)->s;
    if (write ? release(s, RW_UNITS, 0, 0) : release(s, 1, 1, RW_UNITS - 1))
        return 0;
    PyErr_SetString(PyExc_RuntimeError, write ? "release_write of an RWMutex without a writer"
                                              : "release_read of an RWMutex without readers");
    return -1;
}

static PyObject *none_or_null(int r) { return r < 0 ? NULL : Py_NewRef(Py_None); }

static PyObject *rw_acquire_py(PyObject *self, bool write, PyObject *const *args, Py_ssize_t nargs,
                               PyObject *kwnames) {
    static const char *const names[] = {"timeout"};
    PyObject *timeout = Py_None;
    int64_t deadline;
    if (parse_optional(write ? "acquire_write" : "acquire_read", names, 1, args, nargs, kwnames,
                       &timeout) < 0 ||
        parse_timeout(timeout, &deadline) < 0)
        return NULL;
    return none_or_null(rw_acquire(self, write, deadline));
}

static PyObject *rw_acquire_read(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                                 PyObject *kwnames) {
    return rw_acquire_py(self, false, args, nargs, kwnames);
}

static PyObject *rw_acquire_write(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                                  PyObject *kwnames) {
    return rw_acquire_py(self, true, args, nargs, kwnames);
}

static PyObject *rw_release_read(PyObject *self, PyObject *unused) {
    (void)unused;
    return none_or_null(rw_release(self, false));
}

static PyObject *rw_release_write(PyObject *self, PyObject *unused) {
    (void)unused;
    return none_or_null(rw_release(self, true));
}

/* ---- one side of an RWMutex, as a lock: Go's RLocker ---- */

typedef struct {
    PyObject_HEAD
    PyObject *mutex;
    bool write;
} SideObject;

extern PyTypeObject Side_Type; /* below */

static PyObject *side_new(PyObject *mutex, bool write) {
    SideObject *side = PyObject_New(SideObject, &Side_Type);
    if (side) {
        side->mutex = Py_NewRef(mutex);
        side->write = write;
    }
    return (PyObject *)side;
}

static void side_dealloc(PyObject *self) {
    Py_DECREF(((SideObject *)self)->mutex);
    PyObject_Free(self);
}

static PyObject *side_acquire(PyObject *self, PyObject *unused) {
    (void)unused;
    SideObject *side = (SideObject *)self;
    return none_or_null(rw_acquire(side->mutex, side->write, NOTE_FOREVER));
}

static PyObject *side_release(PyObject *self, PyObject *unused) {
    (void)unused;
    SideObject *side = (SideObject *)self;
    return none_or_null(rw_release(side->mutex, side->write));
}

static PyObject *side_exit(PyObject *self, PyObject *const *args, Py_ssize_t nargs) {
    (void)args, (void)nargs;
    return side_release(self, NULL);
}

static PyObject *side_repr(PyObject *self) {
    SideObject *side = (SideObject *)self;
    return PyUnicode_FromFormat("<%s of %R>", side->write ? "write()" : "read()", side->mutex);
}

static PyMethodDef side_methods[] = {
    {"acquire", side_acquire, METH_NOARGS,
     PyDoc_STR("acquire($self, /)\n--\n\nacquire_read() or acquire_write()")},
    {"release", side_release, METH_NOARGS,
     PyDoc_STR("release($self, /)\n--\n\nrelease_read() or release_write()")},
    {"__enter__", side_acquire, METH_NOARGS, PyDoc_STR("__enter__($self, /)\n--\n\nacquire()")},
    {"__exit__", FN(side_exit), METH_FASTCALL,
     PyDoc_STR("__exit__($self, kind, value, trace, /)\n--\n\nrelease()")},
    {0},
};

PyTypeObject Side_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "goroutines._core._Side",
    .tp_doc = PyDoc_STR("An RWMutex for reading only, or for writing only, as a lock."),
    .tp_basicsize = sizeof(SideObject),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = side_dealloc,
    .tp_repr = side_repr,
    .tp_methods = side_methods,
};

static PyObject *rw_read(PyObject *self, PyObject *unused) {
    (void)unused;
    return side_new(self, false);
}

static PyObject *rw_write(PyObject *self, PyObject *unused) {
    (void)unused;
    return side_new(self, true);
}

static PyObject *rw_repr(PyObject *self) {
    int64_t count = sema_count(&((RWMutexObject *)self)->s);
    if (count == 0 || count == RW_UNITS)
        return PyUnicode_FromFormat("<%s: %s, at %p>", Py_TYPE(self)->tp_name,
                                    count ? "unlocked" : "write-locked", self);
    return PyUnicode_FromFormat("<%s: read-locked by %lld, at %p>", Py_TYPE(self)->tp_name,
                                (long long)(RW_UNITS - count), self);
}

static PyObject *rw_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    PyObject *self = new_without_arguments(type, args, kwargs);
    if (self)
        sema_init(&((RWMutexObject *)self)->s, RW_UNITS);
    return self;
}

static PyMethodDef rw_methods[] = {
    {"read", rw_read, METH_NOARGS,
     PyDoc_STR("read($self, /)\n--\n\n"
               "A lock, and so a context manager, for reading: `with m.read(): ...`.")},
    {"write", rw_write, METH_NOARGS,
     PyDoc_STR("write($self, /)\n--\n\n"
               "A lock, and so a context manager, for writing: `with m.write(): ...`.")},
    {"acquire_read", FN(rw_acquire_read), FAST,
     PyDoc_STR("acquire_read($self, /, timeout=None)\n--\n\n"
               "Lock it for reading, beside other readers. Waits while a writer has it or waits "
               "for it.\n\nTimeoutError after timeout seconds; not reentrant: a reader that locks "
               "again may wait for a writer\nwho waits for it.")},
    {"release_read", rw_release_read, METH_NOARGS,
     PyDoc_STR("release_read($self, /)\n--\n\n"
               "Undo one acquire_read(). RuntimeError if nobody reads.")},
    {"acquire_write", FN(rw_acquire_write), FAST,
     PyDoc_STR("acquire_write($self, /, timeout=None)\n--\n\n"
               "Lock it for writing: no other writer and no reader has it then.\n\n"
               "TimeoutError after timeout seconds.")},
    {"release_write", rw_release_write, METH_NOARGS,
     PyDoc_STR("release_write($self, /)\n--\n\n"
               "Undo acquire_write(). RuntimeError if nobody writes.")},
    {0},
};

PyTypeObject RWMutex_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "goroutines.sync.RWMutex",
    .tp_doc = PyDoc_STR("RWMutex()\n--\n\n"
                        "A lock for any number of readers or one writer.\n\nServed in the order of "
                        "coming: a writer that waits keeps new readers out, and the readers\n"
                        "behind it go before the next writer. So neither side starves.\n"
                        "https://pkg.go.dev/sync#RWMutex"),
    .tp_basicsize = sizeof(RWMutexObject),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = rw_new,
    .tp_dealloc = lock_dealloc,
    .tp_weaklistoffset = offsetof(RWMutexObject, weakrefs),
    .tp_repr = rw_repr,
    .tp_methods = rw_methods,
};

/* ---- Semaphore ---- */

/* What nobody can ever have is waited for aside, where it is in nobody's way. */
static int wait_for_too_many(PyObject *self, int64_t deadline) {
    struct sema never;
    sema_init(&never, 0);
    return acquire(self, &never, 1, "semaphore", deadline, NULL);
}

static int semaphore_take(PyObject *self, int64_t n, int64_t deadline) {
    SemaphoreObject *s = (SemaphoreObject *)self;
    if (n > s->size)
        return wait_for_too_many(self, deadline);
    return acquire(self, &s->s, n, "semaphore", deadline, NULL);
}

static int semaphore_give(PyObject *self, int64_t n) {
    SemaphoreObject *s = (SemaphoreObject *)self;
    if (n <= s->size && release(&s->s, n, 0, s->size - n))
        return 0;
    PyErr_SetString(PyExc_RuntimeError, "release of more than is held of a Semaphore");
    return -1;
}

static PyObject *semaphore_acquire(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                                   PyObject *kwnames) {
    static const char *const names[] = {"n", "timeout"};
    PyObject *given[2] = {NULL, Py_None};
    int64_t n = 1, deadline;
    if (parse_optional("acquire", names, 2, args, nargs, kwnames, given) < 0 ||
        (given[0] && parse_count("n", given[0], &n) < 0) || parse_timeout(given[1], &deadline) < 0)
        return NULL;
    return as_bool(semaphore_take(self, n, deadline));
}

/* f(n=1) */
static int count_argument(const char *f, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
                          int64_t *n) {
    static const char *const names[] = {"n"};
    PyObject *given = NULL;
    *n = 1;
    if (parse_optional(f, names, 1, args, nargs, kwnames, &given) < 0)
        return -1;
    return given ? parse_count("n", given, n) : 0;
}

static PyObject *semaphore_try_acquire(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                                       PyObject *kwnames) {
    int64_t n;
    if (count_argument("try_acquire", args, nargs, kwnames, &n) < 0)
        return NULL;
    return as_bool(semaphore_take(self, n, CHAN_POLL));
}

static PyObject *semaphore_release(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                                   PyObject *kwnames) {
    int64_t n;
    if (count_argument("release", args, nargs, kwnames, &n) < 0)
        return NULL;
    return none_or_null(semaphore_give(self, n));
}

static PyObject *semaphore_enter(PyObject *self, PyObject *unused) {
    (void)unused;
    return as_bool(semaphore_take(self, 1, NOTE_FOREVER));
}

static PyObject *semaphore_exit(PyObject *self, PyObject *const *args, Py_ssize_t nargs) {
    (void)args, (void)nargs;
    return none_or_null(semaphore_give(self, 1));
}

static PyObject *semaphore_repr(PyObject *self) {
    SemaphoreObject *s = (SemaphoreObject *)self;
    return PyUnicode_FromFormat("<%s: %lld of %lld free, at %p>", Py_TYPE(self)->tp_name,
                                (long long)sema_count(&s->s), (long long)s->size, self);
}

static PyObject *semaphore_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"n", NULL};
    PyObject *size;
    int64_t n;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O:Semaphore", names, &size) ||
        parse_count("a semaphore's size", size, &n) < 0)
        return NULL;
    SemaphoreObject *s = (SemaphoreObject *)type->tp_alloc(type, 0);
    if (s) {
        sema_init(&s->s, n);
        s->size = n;
    }
    return (PyObject *)s;
}

static PyMethodDef semaphore_methods[] = {
    {"acquire", FN(semaphore_acquire), FAST,
     PyDoc_STR("acquire($self, /, n=1, timeout=None)\n--\n\n"
               "Take n of its units at once, waiting for those who came earlier: True.\n\nFalse "
               "when timeout seconds are over. More than there are in all is waited for in vain, "
               "but in nobody's way.\nValueError for a negative n.")},
    {"try_acquire", FN(semaphore_try_acquire), FAST,
     PyDoc_STR("try_acquire($self, /, n=1)\n--\n\n"
               "Take n units if they are free and nobody waits; whether they were taken.")},
    {"release", FN(semaphore_release), FAST,
     PyDoc_STR("release($self, /, n=1)\n--\n\n"
               "Give n units back. RuntimeError, and nothing is given back, if fewer are taken.")},
    {"__enter__", semaphore_enter, METH_NOARGS, PyDoc_STR("__enter__($self, /)\n--\n\nacquire()")},
    {"__exit__", FN(semaphore_exit), METH_FASTCALL,
     PyDoc_STR("__exit__($self, kind, value, trace, /)\n--\n\nrelease()")},
    {0},
};

static PyTypeObject Semaphore_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "goroutines.sync.Semaphore",
    .tp_doc = PyDoc_STR("Semaphore(n)\n--\n\n"
                        "A weighted semaphore of n units.\n\nServed in the order of coming: a "
                        "large request is not overtaken by small ones that would fit.\n"
                        "https://pkg.go.dev/golang.org/x/sync/semaphore"),
    .tp_basicsize = sizeof(SemaphoreObject),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = semaphore_new,
    .tp_dealloc = lock_dealloc,
    .tp_weaklistoffset = offsetof(SemaphoreObject, weakrefs),
    .tp_repr = semaphore_repr,
    .tp_methods = semaphore_methods,
};

int lock_types_init(PyObject *module) {
    if (PyType_Ready(&Side_Type) < 0)
        return -1;
    PyTypeObject *types[] = {&Mutex_Type, &RWMutex_Type, &Semaphore_Type};
    for (size_t i = 0; i < 3; i++)
        if (PyModule_AddType(module, types[i]) < 0)
            return -1;
    return 0;
}
