/* A goroutine for Python: its thread state, how it begins and how it ends. */
#include "binding.h"

#include <string.h>
#include <unistd.h>

int64_t goroutines_left_behind;

/* ---- what `go` accepts ---- */

/* Methods are looked through; functools.partial is left alone: what it calls is its business. */
static int code_flags(PyObject *fn) {
    while (PyMethod_Check(fn))
        fn = PyMethod_GET_FUNCTION(fn);
    return PyFunction_Check(fn) ? ((PyCodeObject *)PyFunction_GET_CODE(fn))->co_flags : 0;
}

/* Where nobody gets what fn returns, nothing of a generator function ever runs. */
static int check_generator(const char *who, PyObject *fn) {
    bool is_go = strcmp(who, "go") == 0;
    if (!is_go && strcmp(who, "after_func") != 0)
        return 0;
    return PyErr_WarnFormat(PyExc_RuntimeWarning, is_go ? 1 : 2,
                            "%s() only makes a generator of the generator function %R, and runs "
                            "nothing of it: pass a function with the loop that uses it",
                            who, fn);
}

int goroutine_check_callable(const char *who, PyObject *fn) {
    int flags = code_flags(fn);
    if (!PyCallable_Check(fn) && !PyCoro_CheckExact(fn)) {
        PyErr_Format(PyExc_TypeError,
                     "%s() takes a function and its arguments: %R is not callable (write %s(f, x) "
                     "rather than %s(f(x)))",
                     who, fn, who, who);
        return -1;
    }
    if (flags & CO_GENERATOR)
        return check_generator(who, fn);
    if (PyCoro_CheckExact(fn) || flags & (CO_COROUTINE | CO_ASYNC_GENERATOR)) {
        PyErr_Format(PyExc_TypeError,
                     "%s() takes an ordinary function and %R is async: write it with def "
                     "(blocking calls are fine in a goroutine), or pass asyncio.run and f(...)",
                     who, fn);
        return -1;
    }
    return 0;
}

/* ---- what a goroutine inherits ---- */

static PyObject *decimal_var; /* decimal's ContextVar, once known */

/* _decimal does not export its context variable: it is found by setting it in an empty context. */
static int find_decimal_var(void) {
    PyObject *found = NULL, *finder = helper("goroutines._inherit", "decimal_var");
    if (finder)
        found = PyObject_CallNoArgs(finder);
    if (!found)
        return -1;
    decimal_var = found;
    return 0;
}

/* 1, 0, or -1 with an exception. */
static int decimal_loaded(void) {
    static PyObject *name;
    if (!name && !(name = PyUnicode_InternFromString("decimal")))
        return -1;
    PyObject *modules = PyImport_GetModuleDict();
    return modules ? PyDict_Contains(modules, name) : 0;
}

static bool any_context_variable(PyThreadState *ts) {
    return ts->context && PyObject_Length(ts->context) != 0;
}

/* A copy of the caller's decimal context, if it has one: a copied contextvars.Context would share the
 * object itself. 0, or -1 with an exception. */
static int copy_decimal_context(PyObject **copy) {
    PyThreadState *ts = PyThreadState_Get();
    *copy = NULL;
    int loaded = any_context_variable(ts) ? decimal_loaded() : 0;
    if (loaded <= 0)
        return loaded;
    if (!decimal_var && find_decimal_var() < 0)
        return -1;
    PyObject *mine = NULL;
    if (decimal_var == Py_None || PyContextVar_Get(decimal_var, NULL, &mine) < 0)
        return decimal_var == Py_None ? 0 : -1;
    if (mine) {
        *copy = PyObject_CallMethod(mine, "copy", NULL);
        Py_DECREF(mine);
        return *copy ? 0 : -1;
    }
    return 0;
}

/* The code that is running, or, above a frame of ours, the code that called it, and where in it: line
 * numbers are worked out when somebody asks. */
static void note_place(bool above, PyObject **code, int *lasti) {
    PyFrameObject *frame = PyThreadState_GetFrame(PyThreadState_Get());
    if (frame && above)
        Py_XSETREF(frame, PyFrame_GetBack(frame));
    *code = NULL;
    if (!frame) {
        PyErr_Clear(); /* there was no memory for a frame object */
        return;
    }
    *code = (PyObject *)PyFrame_GetCode(frame);
    *lasti = PyFrame_GetLasti(frame);
    Py_DECREF(frame);
}

/* after_func() and Group.go() are Python functions of ours. */
static void note_creator(const char *who, PyObject **code, int *lasti) {
    note_place(strcmp(who, "after_func") == 0 || strcmp(who, "Group.go") == 0, code, lasti);
}

bool goroutine_alive(struct g *g) {
    enum g_status s = atomic_load(&g->status);
    return s != G_IDLE && s != G_DEAD && g->stack.hi && goroutine_of(g)->ts;
}

PyObject *goroutine_created_at(struct goroutine *gr) {
    if (!gr->created_code)
        return PyUnicode_FromString("?:0 in ?");
    PyCodeObject *code = (PyCodeObject *)gr->created_code;
    return PyUnicode_FromFormat("%U:%d in %U", code->co_filename,
                                PyCode_Addr2Line(code, gr->created_lasti), code->co_qualname);
}

/* ---- begin ---- */

static void drop_refs(struct goroutine *gr) {
    Py_CLEAR(gr->fn);
    Py_CLEAR(gr->args);
    Py_CLEAR(gr->kwnames);
    Py_CLEAR(gr->decimal_context);
    Py_CLEAR(gr->thread_handle);
    Py_CLEAR(gr->created_code);
    Py_CLEAR(gr->pending);
    Py_CLEAR(gr->member);
}

/* Fills gr's references; nothing of the runtime is touched. */
static int gather(struct goroutine *gr, PyObject **context, const char *who, PyObject *const *args,
                  Py_ssize_t nargs, PyObject *kwnames) {
    Py_ssize_t n = nargs - 1 + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0);
    if (goroutine_check_callable(who, args[0]) < 0)
        return -1;
    if (n > 0) {
        gr->args = PyTuple_New(n);
        if (!gr->args)
            return -1;
        for (Py_ssize_t i = 0; i < n; i++)
            PyTuple_SET_ITEM(gr->args, i, Py_NewRef(args[i + 1]));
    }
    if (copy_decimal_context(&gr->decimal_context) < 0)
        return -1;
    *context = PyContext_CopyCurrent();
    if (!*context)
        return -1;
    gr->of_cleanup = run_in_cleanup();
    gr->fn = Py_NewRef(args[0]);
    gr->kwnames = Py_XNewRef(kwnames);
    note_creator(who, &gr->created_code, &gr->created_lasti);
    return 0;
}

static void new_state_failed(struct goroutine *gr) {
    if (gr->ts) {
        compat_drop_chunk(gr->ts, &gr->chunk);
        PyThreadState_Clear(gr->ts);
        PyThreadState_Delete(gr->ts);
        gr->ts = NULL;
    }
    if (!PyErr_Occurred())
        PyErr_NoMemory();
}

/* The state of the goroutine before on the same G and stack, kept by host.keep(). Its version of the
 * context goes up, so that what a ContextVar has cached for it is not used again. */
static void renew_state(struct goroutine *gr, PyObject *context) {
    Py_XSETREF(gr->ts->context, Py_NewRef(context));
    gr->ts->context_ver++;
    compat_use_chunk(gr->ts, &gr->chunk);
}

/* The thread id is an address inside the goroutine's own mapping: unique while it lives, and readable
 * for whoever takes it for a pthread_t (faulthandler does). */
static int new_state(struct g *g, struct goroutine *gr, PyObject *context) {
    if (gr->ts) {
        renew_state(gr, context);
        return 0;
    }
    gr->ts = compat_new_state();
    if (!gr->ts || !compat_set_stack(gr->ts, g->stack.lo, g->stack.hi)) {
        new_state_failed(gr);
        return -1;
    }
    compat_use_chunk(gr->ts, &gr->chunk);
    gr->ts->thread_id = (unsigned long)g->stack.lo;
    gr->ts->context = Py_NewRef(context);
    gr->gilstate_base = gr->ts->gilstate_counter;
    return 0;
}

void goroutine_warn_of_shortage(void) {
    if (sched_threads_ran_out() &&
        PyErr_WarnEx(PyExc_RuntimeWarning,
                     "goroutines: no more OS threads can be started (see set_max_threads and the "
                     "system's limits); goroutines wait until one is free",
                     1) < 0)
        PyErr_WriteUnraisable(NULL);
}

struct g *goroutine_new(const char *who, PyObject *const *args, Py_ssize_t nargs,
                        PyObject *kwnames) {
    struct goroutine fresh;
    memset(&fresh, 0, offsetof(struct goroutine, chunk));
    PyObject *context = NULL;
    struct g *g = NULL;
    if (sched_stopping()) {
        PyErr_SetString(PyExc_RuntimeError,
                        "cannot start a goroutine: the interpreter is shutting down");
        return NULL;
    }
    goroutine_warn_of_shortage();
    if (gather(&fresh, &context, who, args, nargs, kwnames) == 0) {
        g = g_new();
        if (!g)
            PyErr_NoMemory();
    }
    if (g) {
        struct goroutine *gr = goroutine_of(g);
        fresh.ts = g->kept ? gr->ts : NULL;
        fresh.gilstate_base = g->kept ? gr->gilstate_base : 0;
        g->kept = false;
        memcpy(gr, &fresh, offsetof(struct goroutine, chunk));
        if (new_state(g, gr, context) == 0) {
            Py_DECREF(context);
            return g;
        }
        g_discard(g);
    }
    Py_XDECREF(context);
    drop_refs(&fresh);
    return NULL;
}

void goroutine_empty_context(struct g *g) {
    struct goroutine *gr = goroutine_of(g);
    Py_CLEAR(gr->decimal_context);
    Py_CLEAR(gr->ts->context);
    gr->ts->context_ver++;
}

void goroutine_discard(struct g *g) {
    struct goroutine *gr = goroutine_of(g), dead;
    PyThreadState *ts = gr->ts;
    memcpy(&dead, gr, offsetof(struct goroutine, chunk));
    compat_drop_chunk(ts, &gr->chunk);
    gr->ts = NULL;
    g_discard(g);
    PyThreadState_Clear(ts);
    PyThreadState_Delete(ts);
    drop_refs(&dead);
}

PyObject *go(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    (void)module;
    if (nargs < 1) {
        PyErr_SetString(PyExc_TypeError, "go() takes a function and its arguments, as in go(f, x)");
        return NULL;
    }
    if (interrupt_check() < 0)
        return NULL;
    struct g *g = goroutine_new("go", args, nargs, kwnames);
    if (!g)
        return NULL;
    g_start(g);
    Py_RETURN_NONE;
}

PyObject *call_place(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    PyObject *code;
    int lasti;
    note_place(true, &code, &lasti);
    return code ? Py_BuildValue("(Ni)", code, lasti) : Py_NewRef(Py_None);
}

PyObject *go_from(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *place, *fn, *code = NULL;
    int lasti = 0;
    if (!PyArg_ParseTuple(args, "OO", &place, &fn) ||
        (place != Py_None && !PyArg_ParseTuple(place, "O!i", &PyCode_Type, &code, &lasti)) ||
        interrupt_check() < 0)
        return NULL;
    struct g *g = goroutine_new("go", &fn, 1, NULL);
    if (!g)
        return NULL;
    Py_XSETREF(goroutine_of(g)->created_code, Py_XNewRef(code));
    goroutine_of(g)->created_lasti = lasti;
    g_start(g);
    Py_RETURN_NONE;
}

/* ---- run and end ---- */

static PyObject *call(struct goroutine *gr) {
    Py_ssize_t n = gr->args ? PyTuple_GET_SIZE(gr->args) : 0;
    Py_ssize_t nkw = gr->kwnames ? PyTuple_GET_SIZE(gr->kwnames) : 0;
    PyObject *const *args = n ? &PyTuple_GET_ITEM(gr->args, 0) : NULL;
    return PyObject_Vectorcall(gr->fn, args, (size_t)(n - nkw), gr->kwnames);
}

/* Whether threading's dictionary has a hook: the only question that every goroutine asks. */
static bool any_hook(PyObject *names) {
    static PyObject *trace, *profile;
    if (!trace)
        trace = PyUnicode_InternFromString("_trace_hook");
    if (!profile)
        profile = PyUnicode_InternFromString("_profile_hook");
    PyObject *t = PyDict_GetItemWithError(names, trace),
             *p = PyDict_GetItemWithError(names, profile);
    return (t && t != Py_None) || (p && p != Py_None);
}

/* threading.settrace() and setprofile() hold for goroutines as for threads. */
static int install_hooks(void) {
    static PyObject *names;
    static struct compat_watch watch;
    static bool any;
    if (!names) {
        PyObject *threading = helper("goroutines._inherit", "threading");
        if (!threading)
            return -1;
        names = PyModule_GetDict(threading);
    }
    if (!compat_unchanged(&watch, names))
        any = any_hook(names);
    if (!any)
        return 0;
    PyObject *install = helper("goroutines._inherit", "install_hooks");
    PyObject *done = install ? PyObject_CallNoArgs(install) : NULL;
    Py_XDECREF(done);
    return done ? 0 : -1;
}

static PyObject *body(struct goroutine *gr) {
    if (gr->exit_before_start) {
        PyErr_SetNone(GoroutineExit);
        return NULL;
    }
    if (interrupt_check() < 0) /* taken up, but not begun, when it was sent */
        return NULL;
    if (gr->decimal_context) {
        PyObject *token = PyContextVar_Set(decimal_var, gr->decimal_context);
        Py_CLEAR(gr->decimal_context);
        if (!token)
            return NULL;
        Py_DECREF(token);
    }
    if (install_hooks() < 0)
        return NULL;
    return call(gr);
}

/* Its hook and its finalizers are interrupted by the end of run() only if they wait for good. */
static void ends_by_itself(struct goroutine *gr) {
    gr->ended = gr->exit_sent = true;
    interrupt_drop(gr);
    Py_CLEAR(gr->ts->async_exc); /* of others */
}

static void finish(struct goroutine *gr, PyObject *result) {
    PyObject *exc = result ? NULL : compat_fetch();
    Py_CLEAR(gr->args);
    Py_CLEAR(gr->kwnames);
    if (gr->is_main) {
        Py_CLEAR(gr->fn);
        run_main_ended(gr, result, exc);
        return;
    }
    if (gr->member && member_finished(gr, result, exc))
        Py_CLEAR(exc);
    Py_XDECREF(result);
    if (exc) {
        ends_by_itself(gr);
        run_goroutine_failed(gr, exc);
    }
    Py_CLEAR(gr->fn); /* a WaitGroup counts it off: after the hook */
}

/* The forking goroutine is all there is in the child: with it the process ends, as after main. */
static _Noreturn void exit_forked(PyObject *result) {
    PyObject *exc = result ? Py_NewRef(Py_None) : compat_fetch();
    PyObject *end = helper("goroutines._forked", "end");
    if (end)
        Py_XDECREF(PyObject_CallOneArg(end, exc));
    PyErr_Print();
    _exit(1); /* end() does not return */
}

#if PY_VERSION_HEX >= 0x030d0000
/* asyncio keeps the running loop by thread state, out of our sight. */
static bool in_event_loop(void) {
    static PyObject *name, *get_running_loop;
    static struct compat_watch watch;
    PyObject *modules = PyImport_GetModuleDict();
    if (!get_running_loop) {
        if (compat_unchanged(&watch, modules))
            return false;
        if (!name && !(name = PyUnicode_InternFromString("_asyncio")))
            return true;
        PyObject *asyncio = PyDict_GetItemWithError(modules, name);
        if (!asyncio)
            return false;
        get_running_loop = PyObject_GetAttrString(asyncio, "_get_running_loop");
    }
    PyObject *loop = get_running_loop ? PyObject_CallNoArgs(get_running_loop) : NULL;
    Py_XDECREF(loop);
    PyErr_Clear();
    return loop != Py_None;
}
#else
/* asyncio keeps the running loop among the thread locals, which compat_is_clean() has looked at. */
static bool in_event_loop(void) { return false; }
#endif

#define CONTEXTS_CLEARED 10

void goroutine_run(struct g *g) {
    struct goroutine *gr = goroutine_of(g);
    PyObject *result = body(gr);
    if (gr->forked)
        exit_forked(result);
    finish(gr, result);
    ends_by_itself(gr);
    PyThreadState *ts = gr->ts;
    PyObject *thread_handle = gr->thread_handle;
    gr->thread_handle = NULL;
    drop_refs(gr);
    patch_forget_goroutine(gr);
    /* Values of context variables and thread locals go here: code of theirs may park. */
    for (int i = 0; i < CONTEXTS_CLEARED && ts->context; i++)
        Py_CLEAR(ts->context); /* a finalizer may have made a new one */
    if (!compat_is_clean(ts) || in_event_loop()) {
        gr->cleared = true;
        PyThreadState_Clear(ts);
        compat_cleared(ts);
    }
    if (thread_handle) {
        patch_thread_ended(thread_handle);
        Py_DECREF(thread_handle);
    }
    if (PyErr_Occurred())
        PyErr_WriteUnraisable(NULL);
    Py_CLEAR(gr->pending); /* what was sent meanwhile */
    if (gr->left_behind)   /* perhaps in a finalizer */
        goroutines_left_behind--;
    compat_drop_chunk(ts, &gr->chunk);
}
