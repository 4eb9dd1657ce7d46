/* patch.threading(), the threads: what starts one starts a goroutine, and idents are those of goroutines.
 *
 * join() waits for what the interpreter itself sets when the thread state of a thread is cleared:
 *
 *   up to 3.12  a lock, Thread._tstate_lock, that _set_sentinel() ties to the thread state. It does so for
 *               a goroutine's as well; only whoever waits for that lock has to be woken.
 *   from 3.13   a _ThreadHandle, whose C struct has the state of an OS thread. One that stands for a
 *               thread that somebody else has started comes from _make_thread_handle(). So the two exchange
 *               their C structs, and _set_done() is called when the goroutine has ended. */
#include "patch.h"

#include "stack.h"

/* ---- idents ---- */

/* What get_ident() says in the main goroutine and on the main thread: the main thread's, but in a forked
 * child that of the one who forked, as threading knows it by that. */
static unsigned long main_ident;

unsigned long patch_ident(void) {
    struct goroutine *gr = current_goroutine();
    if (gr && !gr->is_main)
        return gr->ts->thread_id;
    unsigned long thread = PyThread_get_thread_ident();
    return gr || thread == main_thread_ident() ? main_ident : thread;
}

static bool of_goroutine(unsigned long ident) { return stack_owns((void *)ident); }

PATCH_BODY(get_ident_body) {
    struct goroutine *gr = current_goroutine();
    if (!patch_installed("threading") && !(gr && gr->is_main))
        return patch_call(p, self, args, nargs, kwnames);
    return PyLong_FromUnsignedLong(patch_ident());
}

/* The OS's functions crash when they are given an ident that is none of an OS thread. The first argument
 * is an ident: with a goroutine's, the one of `thread` stands for it. */
static PyObject *call_for_thread(struct patch *p, PyObject *self, PyObject *const *args,
                                 Py_ssize_t nargs, unsigned long thread) {
    unsigned long ident = nargs ? PyLong_AsUnsignedLong(args[0]) : 0;
    if (PyErr_Occurred())
        PyErr_Clear();
    else if (nargs > 0 && nargs < 3 && of_goroutine(ident)) {
        PyObject *other = PyLong_FromUnsignedLong(thread);
        PyObject *with_other[2] = {other, nargs > 1 ? args[1] : NULL};
        PyObject *result = other ? patch_call(p, self, with_other, nargs, NULL) : NULL;
        Py_XDECREF(other);
        return result;
    }
    return patch_call(p, self, args, nargs, NULL);
}

/* Handlers run on the main thread, whichever thread has the signal. */
PATCH_BODY(pthread_kill_body) {
    PyObject *result = call_for_thread(p, self, args, nargs, main_thread_ident());
    return patch_in_goroutine() ? patch_signal_sent(result) : result;
}

PATCH_BODY(getcpuclockid_body) {
    return call_for_thread(p, self, args, nargs, PyThread_get_thread_ident());
}

/* The name of a Thread is not that of the OS thread it runs on at the moment. */
PATCH_BODY(set_name_body) { Py_RETURN_NONE; }

PATCH(thread_get_ident, "_thread", NULL, "get_ident", get_ident_body, EVERYWHERE)
PATCH(thread_set_name, "_thread", NULL, "set_name", set_name_body, IN_GOROUTINES)
PATCH(thread_pthread_kill, "_signal", NULL, "pthread_kill", pthread_kill_body, EVERYWHERE)
PATCH(thread_getcpuclockid, "time", NULL, "pthread_getcpuclockid", getcpuclockid_body, EVERYWHERE)

/* ---- the goroutine of a thread ---- */

static void say_that_it_failed(PyObject *fn) {
#if PY_VERSION_HEX >= 0x030d0000
    PyErr_FormatUnraisable("Exception ignored in thread started by %R", fn);
#else
    _PyErr_WriteUnraisableMsg("in thread started by", fn);
#endif
}

/* self: (fn, args, kwargs or None). What escapes is dealt with as the interpreter does for a thread. */
static PyObject *thread_main(PyObject *self, PyObject *unused) {
    (void)unused;
    PyObject *fn = PyTuple_GET_ITEM(self, 0), *kwargs = PyTuple_GET_ITEM(self, 2);
    PyObject *result = PyObject_Call(fn, PyTuple_GET_ITEM(self, 1),
                                     kwargs == Py_None ? NULL : kwargs);
    if (result)
        Py_DECREF(result);
    else if (PyErr_ExceptionMatches(PyExc_SystemExit) || PyErr_ExceptionMatches(GoroutineExit))
        PyErr_Clear();
    else
        say_that_it_failed(fn);
    Py_RETURN_NONE;
}

static PyMethodDef thread_main_def = {"_thread_main", thread_main, METH_NOARGS, NULL};

static PyObject *new_body(PyObject *fn, PyObject *args, PyObject *kwargs) {
    PyObject *self = PyTuple_Pack(3, fn, args, kwargs ? kwargs : Py_None);
    PyObject *body = self ? PyCFunction_New(&thread_main_def, self) : NULL;
    Py_XDECREF(self);
    return body;
}

/* What threading.stack_size() was given, or 0. Asking resets it, so it is given that again. */
static size_t stack_size_of_threads(void) {
    PyObject *ask = helper("_thread", "stack_size");
    PyObject *answer = ask ? PyObject_CallNoArgs(ask) : NULL;
    size_t asked = answer ? PyLong_AsSize_t(answer) : 0;
    PyObject *reset = answer && asked ? PyObject_CallOneArg(ask, answer) : NULL;
    Py_XDECREF(reset);
    Py_XDECREF(answer);
    return asked;
}

static struct g *new_goroutine(PyObject *body) {
    size_t asked = stack_size_of_threads(), before = sched_stack_size(0);
    if (PyErr_Occurred())
        return NULL;
    if (asked > before)
        sched_stack_size((asked + 4095) & ~(size_t)4095);
    struct g *g = goroutine_new("start_new_thread", &body, 1, NULL);
    sched_stack_size(before);
    return g;
}

/* A goroutine that runs fn and has not been queued yet; NULL with an exception. */
static struct g *new_thread(PyObject *fn, PyObject *args, PyObject *kwargs) {
    PyObject *prepare = helper("goroutines.patch._threads", "prepare");
    PyObject *prepared = prepare ? PyObject_CallOneArg(prepare, fn) : NULL;
    PyObject *body = prepared ? new_body(fn, args, kwargs) : NULL;
    struct g *g = body ? new_goroutine(body) : NULL;
    Py_XDECREF(prepared);
    Py_XDECREF(body);
    if (g)
        goroutine_empty_context(g);
    return g;
}

static bool ending(void) {
#if PY_VERSION_HEX >= 0x030d0000
    return Py_IsFinalizing();
#else
    return _Py_IsFinalizing();
#endif
}

/* ---- start_new_thread ---- */

static bool start_arguments_are_right(PyObject *const *args, Py_ssize_t nargs) {
    return (nargs == 2 || nargs == 3) && PyCallable_Check(args[0]) && PyTuple_Check(args[1]) &&
           (nargs < 3 || PyDict_Check(args[2]));
}

PATCH_BODY(start_new_thread_body) {
    if (!start_arguments_are_right(args, nargs) || ending())
        return patch_call(p, self, args, nargs, kwnames);
    PyObject *kwargs = nargs > 2 ? args[2] : NULL;
    if (PySys_Audit("_thread.start_new_thread", "OOO", args[0], args[1],
                    kwargs ? kwargs : Py_None) < 0)
        return NULL;
    struct g *g = new_thread(args[0], args[1], kwargs);
    if (!g)
        return NULL;
    unsigned long ident = goroutine_of(g)->ts->thread_id;
    g_start(g);
    return PyLong_FromUnsignedLong(ident);
}

PATCH(thread_start_new_thread, "_thread", NULL, "start_new_thread", start_new_thread_body,
      EVERYWHERE)
PATCH(thread_start_new, "_thread", NULL, "start_new", start_new_thread_body, EVERYWHERE)

#if PY_VERSION_HEX < 0x030d0000

/* ---- the end of a thread, up to 3.12 ---- */

static void (*release_sentinel)(void *);

/* In PyThreadState_Clear(). */
static void sentinel_released(void *weakref) {
    PyObject *lock = PyWeakref_GetObject(weakref);
    release_sentinel(weakref);
    semaroot_wake(lock);
}

/* The lock of a real thread is released by C code that wakes nobody. */
PATCH_BODY(set_sentinel_body) {
    PyObject *lock = patch_call(p, self, args, nargs, kwnames);
    PyThreadState *ts = PyThreadState_Get();
    if (lock && patch_in_goroutine()) {
        release_sentinel = ts->on_delete;
        ts->on_delete = sentinel_released;
    } else if (lock && patch_lock_released_by_c(lock) < 0) {
        Py_CLEAR(lock);
    }
    return lock;
}

PATCH(thread_set_sentinel, "_thread", NULL, "_set_sentinel", set_sentinel_body, EVERYWHERE)

static int note_sentinels(void) {
    PyThreadState *ts = compat_newest_state();
    for (; ts; ts = PyThreadState_Next(ts)) {
        PyObject *lock = ts->on_delete_data ? PyWeakref_GetObject(ts->on_delete_data) : Py_None;
        if (lock != Py_None && patch_lock_released_by_c(lock) < 0)
            return -1;
    }
    return 0;
}

void patch_thread_ended(PyObject *handle) { (void)handle; }

PyObject *patch_threads_after_fork(PyObject *module, PyObject *thread) {
    (void)module, (void)thread;
    Py_RETURN_NONE;
}

static int install_end(void) { return note_sentinels(); }

#else

/* ---- the end of a thread, from 3.13 ---- */

/* A _MainThread is made with this in a child whose fork no Thread has called. */
PATCH_BODY(main_ident_body) { return PyLong_FromUnsignedLong(main_ident); }

PATCH_BODY(join_body);
PATCH_BODY(set_done_body);
PATCH_BODY(shutdown_body);
PATCH_BODY(start_joinable_body);

PATCH(thread_main_ident, "_thread", NULL, "_get_main_thread_ident", main_ident_body, EVERYWHERE)
PATCH(handle_join, "_thread", "_ThreadHandle", "join", join_body, IN_GOROUTINES)
PATCH(handle_is_done, "_thread", "_ThreadHandle", "is_done", patch_call, IN_GOROUTINES)
PATCH(handle_set_done, "_thread", "_ThreadHandle", "_set_done", set_done_body, EVERYWHERE)
PATCH(thread_shutdown, "_thread", NULL, "_shutdown", shutdown_body, EVERYWHERE)
PATCH(thread_start_joinable, "_thread", NULL, "start_joinable_thread", start_joinable_body,
      EVERYWHERE)

/* A _ThreadHandle: all it has is a pointer (checked when patched). */
struct handle {
    PyObject_HEAD
    void *of_thread;
};

static PyObject *to_be_joined; /* set of the handles of goroutines that are no daemons */

static bool is_done(void *handle) {
    PyObject *done = patch_call(&handle_is_done, handle, NULL, 0, NULL);
    bool is = done == Py_True;
    Py_XDECREF(done);
    return is;
}

PATCH_BODY(set_done_body) {
    PyObject *result = patch_call(p, self, args, nargs, kwnames);
    if (result)
        semaroot_wake_all(self);
    return result;
}

/* handle becomes that of a running thread with that ident. -1 with an exception. */
static int make_running(PyObject *handle, unsigned long ident) {
    PyObject *make = helper("_thread", "_make_thread_handle");
    PyObject *number = make ? PyLong_FromUnsignedLong(ident) : NULL;
    PyObject *running = number ? PyObject_CallOneArg(make, number) : NULL;
    Py_XDECREF(number);
    if (!running)
        return -1;
    void *of_thread = ((struct handle *)handle)->of_thread;
    ((struct handle *)handle)->of_thread = ((struct handle *)running)->of_thread;
    ((struct handle *)running)->of_thread = of_thread;
    Py_DECREF(running);
    return 0;
}

void patch_thread_ended(PyObject *handle) {
    if (to_be_joined)
        PySet_Discard(to_be_joined, handle);
    PyObject *result = set_done_body(&handle_set_done, handle, NULL, 0, NULL);
    if (!result)
        PyErr_WriteUnraisable(handle);
    Py_XDECREF(result);
}

/* threading's own hook has run. thread_handle is that of the current thread, which is alive, contrary to
 * what the interpreter thinks: it knows threads by their OS threads. */
PyObject *patch_threads_after_fork(PyObject *module, PyObject *thread_handle) {
    (void)module;
    if (to_be_joined && PySet_Clear(to_be_joined) < 0)
        return NULL;
    if (is_done(thread_handle) && make_running(thread_handle, main_ident) < 0)
        return NULL;
    Py_RETURN_NONE;
}

/* ---- start_joinable_thread ---- */

static bool not_started(PyObject *handle) {
    PyObject *zero = PyLong_FromLong(0);
    PyObject *joined = zero ? patch_call(&handle_join, handle, &zero, 1, NULL) : NULL;
    bool fresh = !joined && PyErr_ExceptionMatches(PyExc_RuntimeError);
    PyErr_Clear();
    Py_XDECREF(zero);
    Py_XDECREF(joined);
    return fresh;
}

static int join_at_exit(PyObject *handle) {
    if (!to_be_joined && !(to_be_joined = PySet_New(NULL)))
        return -1;
    return PySet_Add(to_be_joined, handle);
}

static int start_joinable(PyObject *fn, PyObject *handle, int daemon) {
    PyObject *none = PyTuple_New(0);
    struct g *g = none ? new_thread(fn, none, NULL) : NULL;
    Py_XDECREF(none);
    if (!g)
        return -1;
    if (make_running(handle, goroutine_of(g)->ts->thread_id) < 0 ||
        (!daemon && join_at_exit(handle) < 0)) {
        goroutine_discard(g);
        return -1;
    }
    goroutine_of(g)->thread_handle = Py_NewRef(handle);
    g_start(g);
    return 0;
}

PATCH_BODY(start_joinable_body) {
    static const char *const names[] = {"function", "handle", "daemon"};
    PyObject *values[3] = {NULL, Py_None, Py_True}, *handle;
    PyTypeObject *type = handle_join.type_object;
    if (!patch_arguments(names, 3, values, args, nargs, kwnames) || !values[0] ||
        !PyCallable_Check(values[0]) || ending() ||
        !(values[1] == Py_None || (Py_TYPE(values[1]) == type && not_started(values[1]))))
        return patch_call(p, self, args, nargs, kwnames);
    int daemon = PyObject_IsTrue(values[2]);
    if (daemon < 0 ||
        PySys_Audit("_thread.start_joinable_thread", "OiO", values[0], daemon, values[1]) < 0)
        return NULL;
    handle = values[1] == Py_None ? PyObject_CallNoArgs((PyObject *)type) : Py_NewRef(values[1]);
    if (handle && start_joinable(values[0], handle, daemon) < 0)
        Py_CLEAR(handle);
    return handle;
}

/* ---- join ---- */

static unsigned long ident_of(PyObject *handle) {
    PyObject *ident = PyObject_GetAttrString(handle, "ident");
    unsigned long n = ident ? PyLong_AsUnsignedLong(ident) : 0;
    Py_XDECREF(ident);
    PyErr_Clear();
    return n;
}

/* The end of a real thread wakes nobody here: the built-in waits for it. */
static bool waits_here(PyObject *self, PyObject *const *args, Py_ssize_t nargs, int64_t *deadline) {
    unsigned long ident = ident_of(self);
    int64_t ns;
    *deadline = NOTE_FOREVER;
    if (nargs > 1 || is_done(self) || !(of_goroutine(ident) || ident == main_ident))
        return false;
    if (nargs == 0 || args[0] == Py_None)
        return true;
    if (!patch_seconds(args[0], &ns) || ns == 0)
        return false;
    *deadline = timer_after(rt_now(), ns);
    return true;
}

PATCH_BODY(join_body) {
    int64_t deadline;
    struct waiter me = {0};
    if (!waits_here(self, args, nargs, &deadline))
        return patch_call(p, self, args, nargs, kwnames);
    if (ident_of(self) == patch_ident()) {
        PyErr_SetString(PyExc_RuntimeError, "Cannot join current thread");
        return NULL;
    }
    while (!is_done(self) && p->installed)
        switch (semaroot_wait(&me, self, is_done, self, "thread join", deadline, 0)) {
        case WAIT_TIMEOUT:
            Py_RETURN_NONE;
        case WAIT_INTERRUPTED:
            interrupt_raise();
            return NULL;
        default:
            break;
        }
    return patch_call(p, self, args, nargs, kwnames);
}

/* ---- the end of the program ---- */

static int join_one(PyObject *handle) {
    PyObject *joined = PyObject_CallMethod(handle, "join", NULL);
    Py_XDECREF(joined);
    Py_DECREF(handle);
    return joined ? 0 : -1;
}

PATCH_BODY(shutdown_body) {
    while (to_be_joined && PySet_GET_SIZE(to_be_joined))
        if (join_one(PySet_Pop(to_be_joined)) < 0)
            return NULL;
    return patch_call(p, self, args, nargs, kwnames);
}

static int install_end(void) {
    if (handle_join.type_object->tp_basicsize == sizeof(struct handle))
        return 0;
    PyErr_SetString(PyExc_RuntimeError, "goroutines: threads cannot be patched on this Python");
    return -1;
}

#endif

struct patch *const patch_threads[] = {
    &thread_get_ident,
    &thread_set_name,
    &thread_pthread_kill,
    &thread_getcpuclockid,
    &thread_start_new_thread,
    &thread_start_new,
#if PY_VERSION_HEX < 0x030d0000
    &thread_set_sentinel,
#else
    &thread_main_ident,
    &handle_join,
    &handle_is_done,
    &handle_set_done,
    &thread_shutdown,
    &thread_start_joinable,
#endif
    NULL,
};

/* What makes the main goroutine the main thread, whatever else is patched. */
struct patch *const patch_main[] = {&thread_get_ident, NULL};

int patch_main_install(void) {
    if (!main_ident)
        main_ident = main_thread_ident();
    return 0;
}

int patch_threads_install(void) {
    patch_main_install();
    return install_end();
}

/* In the child, before anything of Python. me: patch_ident() before the fork. */
void patch_fork_child(unsigned long me) {
    bool known = patch_installed("threading") || patch_installed("main goroutine");
    main_ident = known ? me : PyThread_get_thread_ident();
    semaroot_fork_child();
    patch_selects_fork_child();
    patch_descriptors_fork_child();
    patch_buffered_fork_child();
}

/* Up to 3.12 a _DummyThread stays in threading._active for ever; the ident is used again. */
void patch_forget_goroutine(struct goroutine *gr) {
#if PY_VERSION_HEX < 0x030d0000
    if (!patch_installed("threading"))
        return;
    PyObject *active = helper("threading", "_active"), *dummy = helper("threading", "_DummyThread");
    PyObject *ident = PyLong_FromUnsignedLong(gr->ts->thread_id);
    PyObject *thread = active && dummy && ident ? PyDict_GetItemWithError(active, ident) : NULL;
    if (thread && PyObject_IsInstance(thread, dummy) == 1)
        PyDict_DelItem(active, ident);
    Py_XDECREF(ident);
    PyErr_Clear();
#else
    (void)gr;
#endif
}
