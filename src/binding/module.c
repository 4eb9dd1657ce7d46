/* goroutines._core: the module, its settings, and what it shares with the Python side. */
#include "binding.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "fault.h"

PyObject *helper(const char *module, const char *name) {
    /* Kept for ever; so few that a list will do. */
    static struct {
        const char *module, *name;
        PyObject *object;
    } known[32];
    size_t i = 0;
    for (; i < 32 && known[i].object; i++)
        if (known[i].module == module && known[i].name == name)
            return known[i].object;
    PyObject *m = PyImport_ImportModule(module);
    PyObject *o = m ? PyObject_GetAttrString(m, name) : NULL;
    Py_XDECREF(m);
    if (o && i < 32) {
        known[i].module = module;
        known[i].name = name;
        known[i].object = o;
    }
    return o;
}

/* ---- settings ---- */

static int default_procs(void) {
    const char *env = getenv("GOMAXPROCS");
    int n = env ? atoi(env) : 0;
    cpu_set_t cpus;
    if (n <= 0)
        n = sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? CPU_COUNT(&cpus) : 1;
    return n > 0 ? n : 1;
}

static PyObject *gomaxprocs(PyObject *module, PyObject *args, PyObject *kwargs) {
    (void)module;
    static char *names[] = {"n", NULL};
    PyObject *n = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:gomaxprocs", names, &n))
        return NULL;
    if (n == Py_None)
        return PyLong_FromLong(sched_procs(0));
    int overflow;
    long procs = PyLong_AsLongAndOverflow(n, &overflow);
    if (procs == -1 && PyErr_Occurred())
        return NULL;
    if (procs < 1 && overflow <= 0) {
        PyErr_SetString(PyExc_ValueError, "gomaxprocs must be at least 1");
        return NULL;
    }
    return PyLong_FromLong(sched_procs(overflow || procs > 1024 ? 1024 : (int)procs));
}

static PyObject *num_goroutine(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    return PyLong_FromLongLong(sched_num_goroutine() - goroutines_left_behind);
}

#define MIN_STACK ((size_t)64 << 10)

static size_t stack_asked; /* 0: the default */

static PyObject *stack_size(PyObject *module, PyObject *args, PyObject *kwargs) {
    (void)module;
    static char *names[] = {"nbytes", NULL};
    PyObject *arg = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:stack_size", names, &arg))
        return NULL;
    size_t before = stack_asked;
    if (arg != Py_None) {
        Py_ssize_t n = PyNumber_AsSsize_t(arg, PyExc_ValueError);
        if (n == -1 && PyErr_Occurred())
            return NULL;
        if (n < 0 || (n > 0 && (size_t)n < MIN_STACK) || n > PY_SSIZE_T_MAX / 2) {
            PyErr_Format(PyExc_ValueError,
                         "stack_size must be 0 (the default) or at least %zu bytes", MIN_STACK);
            return NULL;
        }
        stack_asked = (size_t)n;
        sched_stack_size(n ? ((size_t)n + 4095) & ~(size_t)4095 : DEFAULT_STACK_BYTES);
    }
    return PyLong_FromSize_t(before);
}

static PyObject *set_max_threads(PyObject *module, PyObject *args, PyObject *kwargs) {
    (void)module;
    static char *names[] = {"n", NULL};
    PyObject *arg;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O:set_max_threads", names, &arg))
        return NULL;
    Py_ssize_t n = PyNumber_AsSsize_t(arg, NULL);
    if (n == -1 && PyErr_Occurred())
        return NULL;
    if (n < 1) {
        PyErr_SetString(PyExc_ValueError, "set_max_threads needs at least 1 thread");
        return NULL;
    }
    return PyLong_FromLongLong(sched_max_threads(n));
}

static PyObject *lock_os_thread(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    if (sched_current())
        sched_wire(sched_current());
    Py_RETURN_NONE;
}

static PyObject *unlock_os_thread(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    if (sched_current())
        sched_unwire(sched_current());
    Py_RETURN_NONE;
}

static PyObject *goexit(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    PyErr_SetNone(GoroutineExit);
    return NULL;
}

/* Unique among goroutines and threads that are alive: for locks that are owned by either. */
static PyObject *ident(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    struct goroutine *gr = current_goroutine();
    return PyLong_FromUnsignedLong(gr ? gr->ts->thread_id : PyThread_get_thread_ident());
}

/* ---- module ---- */

static PyMethodDef methods[] = {
    {"go", FN(go), FAST,
     PyDoc_STR("go($module, fn, /, *args, **kwargs)\n--\n\n"
               "Start fn(*args, **kwargs) as an independently executing goroutine.\n\nfn is an "
               "ordinary callable; TypeError if it is none, or an async function. MemoryError if "
               "there is no memory\nfor its stack. Usable as a decorator on a function without "
               "arguments.\nhttps://go.dev/ref/spec#Go_statements")},
    {"run", FN(run), FAST,
     PyDoc_STR(
         "run($module, main, /, *args, **kwargs)\n--\n\n"
         "Run main(*args, **kwargs) as the main goroutine; return its result or raise its "
         "exception.\n\nWhen main returns the program is over: goroutines that are still alive "
         "get GoroutineExit, and run\nreturns when they are gone. RuntimeError when called "
         "inside a goroutine; DeadlockError when all sleep.")},
    {"goexit", goexit, METH_NOARGS,
     PyDoc_STR("goexit()\n--\n\nEnd the calling goroutine: raises GoroutineExit.")},
    {"num_goroutine", num_goroutine, METH_NOARGS,
     PyDoc_STR("num_goroutine()\n--\n\nThe number of goroutines that are alive.")},
    {"gomaxprocs", FN(gomaxprocs), METH_VARARGS | METH_KEYWORDS,
     PyDoc_STR("gomaxprocs(n=None)\n--\n\nGet, or set, the number of Ps; returns the previous "
               "number. ValueError below 1; there are 1024 at most.")},
    {"stack_size", FN(stack_size), METH_VARARGS | METH_KEYWORDS,
     PyDoc_STR("stack_size(nbytes=None)\n--\n\nLike threading.stack_size(), for new goroutines: "
               "0 is the default size.")},
    {"set_max_threads", FN(set_max_threads), METH_VARARGS | METH_KEYWORDS,
     PyDoc_STR("set_max_threads(n)\n--\n\nThe most OS threads the runtime may have; returns the "
               "previous limit.")},
    {"lock_os_thread", lock_os_thread, METH_NOARGS,
     PyDoc_STR("lock_os_thread()\n--\n\nWire the calling goroutine to its OS thread, until as many "
               "unlock_os_thread().")},
    {"unlock_os_thread", unlock_os_thread, METH_NOARGS,
     PyDoc_STR("unlock_os_thread()\n--\n\nUndo one lock_os_thread().")},
    {"recv", FN(make_recv_case), FAST,
     PyDoc_STR("recv($module, /, ch)\n--\n\nA case for select(): receive from ch.")},
    {"send", FN(make_send_case), FAST,
     PyDoc_STR("send($module, /, ch, value)\n--\n\nA case for select(): send value to ch.")},
    {"select", FN(py_select), FAST,
     PyDoc_STR(
         "select($module, /, *cases, default=False, timeout=None)\n--\n\n"
         "Wait until one of the cases can proceed, and let it: Selected(index, value, ok).\n\n"
         "Among several ready ones the choice is random. default=True: do not wait, index is -1. "
         "TimeoutError after\ntimeout seconds; ChannelClosed for a send to a closed channel.\n"
         "https://go.dev/ref/spec#Select_statements")},
    {"_call_place", call_place, METH_NOARGS, NULL},
    {"_go_from", go_from, METH_VARARGS, NULL},
    {"_shutdown", shutdown_runtime, METH_NOARGS, NULL},
    {"_die_of_interrupt", die_of_interrupt, METH_NOARGS, NULL},
    {"_ident", ident, METH_NOARGS, NULL},
    {0},
};

static int refuse_subinterpreter(void) {
    if (PyInterpreterState_Get() == PyInterpreterState_Main())
        return 0;
    PyErr_SetString(PyExc_ImportError, "goroutines works in the main interpreter only");
    return -1;
}

static int refuse_other_version(void) {
    unsigned long running = Py_Version >> 16;
    if (running == PY_VERSION_HEX >> 16 && !(Py_Version >= 0x030e0000 && Py_Version < 0x030e0200))
        return 0;
    PyErr_Format(PyExc_ImportError, "goroutines was built for CPython %d.%d%s and this is %s",
                 PY_MAJOR_VERSION, PY_MINOR_VERSION,
                 PY_VERSION_HEX >= 0x030e0000 && PY_VERSION_HEX < 0x030f0000 ? ".2 or later" : "",
                 Py_GetVersion());
    return -1;
}

/* Async-signal-safe: the number of the goroutine on this thread, for a fatal message. */
static int name_goroutine(const void *addr, char *buf, size_t n) {
    (void)addr;
    struct g *g = sched_current();
    uint64_t id = g ? atomic_load(&g->id) : 0;
    char digits[20];
    size_t len = 0;
    for (; id; id /= 10)
        digits[len++] = (char)('0' + id % 10);
    for (size_t i = 0; i < len && i < n; i++)
        buf[i] = digits[len - 1 - i];
    return (int)(len < n ? len : n);
}

static void start_runtime(void) {
    sched_stack_size(DEFAULT_STACK_BYTES);
    chunks_init();
    sched_init(&python_host, default_procs());
    fault_set_namer(name_goroutine);
    fault_install();
}

static int exec_module(PyObject *module) {
    static bool done;
    if (refuse_subinterpreter() < 0 || refuse_other_version() < 0)
        return -1;
    if (errors_init(module) < 0 || chan_types_init(module) < 0 || select_types_init(module) < 0 ||
        time_types_init(module) < 0 || lock_types_init(module) < 0 ||
        waiter_types_init(module) < 0 || atomic_int_init(module) < 0 ||
        member_types_init(module) < 0 || PyModule_AddFunctions(module, time_methods) < 0 ||
        PyModule_AddFunctions(module, debug_methods) < 0 ||
        PyModule_AddFunctions(module, netpoll_methods) < 0 ||
        PyModule_AddFunctions(module, patch_methods) < 0)
        return -1;
    if (done)
        return 0;
    if (interrupt_init() < 0 || deadlock_init() < 0 || host_init() < 0 || fork_init() < 0 ||
        neighbours_init() < 0)
        return -1;
    start_runtime();
    done = true;
    return 0;
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, exec_module},
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "goroutines._core",
    .m_doc = PyDoc_STR("The core of goroutines, in C: import goroutines instead."),
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__core(void) { return PyModuleDef_Init(&definition); }
