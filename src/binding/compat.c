#include "compat.h"

#include <sched.h>

static bool no_trash(PyThreadState *ts) {
#if PY_VERSION_HEX >= 0x030d0000
    return !ts->delete_later;
#elif PY_VERSION_HEX >= 0x030c0000
    return !ts->trash.delete_later;
#else
    return !ts->trash_delete_later;
#endif
}

static bool no_thread_locals(PyThreadState *ts) {
#if PY_VERSION_HEX >= 0x030d0000
    return !ts->dict && !ts->threading_local_key && !ts->threading_local_sentinel;
#else
    return !ts->dict && !ts->on_delete;
#endif
}

static bool no_exception(PyThreadState *ts) {
#if PY_VERSION_HEX >= 0x030c0000
    bool raised = ts->current_exception != NULL;
#else
    bool raised = ts->curexc_type != NULL;
#endif
    PyObject *handled = ts->exc_state.exc_value;
    return !raised && !ts->async_exc && ts->exc_info == &ts->exc_state &&
           (!handled || handled == Py_None);
}

static bool no_hooks(PyThreadState *ts) {
    return !ts->c_tracefunc && !ts->c_profilefunc && !ts->tracing && !ts->async_gen_firstiter &&
           !ts->async_gen_finalizer && !ts->coroutine_origin_tracking_depth;
}

bool compat_is_clean(PyThreadState *ts) {
    return !ts->context && no_thread_locals(ts) && no_exception(ts) && no_hooks(ts) && no_trash(ts);
}

/* ---- dictionaries that are watched ---- */

#if PY_VERSION_HEX < 0x030c0000

bool compat_unchanged(struct compat_watch *w, PyObject *dict) {
    uint64_t version = ((PyDictObject *)dict)->ma_version_tag; /* of all dictionaries: never 0 */
    bool unchanged = w->version == version;
    w->version = version;
    return unchanged;
}

#else

#define WATCHES 4
static struct compat_watch *watches[WATCHES];
static int nwatches;

static int note_change(PyDict_WatchEvent event, PyObject *dict, PyObject *key, PyObject *value) {
    (void)event, (void)key, (void)value;
    for (int i = 0; i < nwatches; i++)
        if (watches[i]->dict == dict)
            watches[i]->unchanged = false;
    return 0;
}

/* An interpreter has 8 watchers for all extensions: without one, dict counts as ever changing. */
static void watch(struct compat_watch *w, PyObject *dict) {
    static int watcher = -1;
    w->dict = dict;
    if (watcher < 0)
        watcher = PyDict_AddWatcher(note_change);
    if (watcher < 0 || nwatches == WATCHES || PyDict_Watch(watcher, dict) < 0)
        PyErr_Clear();
    else
        watches[nwatches++] = w;
}

static bool is_watched(struct compat_watch *w) {
    for (int i = 0; i < nwatches; i++)
        if (watches[i] == w)
            return true;
    return false;
}

bool compat_unchanged(struct compat_watch *w, PyObject *dict) {
    if (w->unchanged)
        return true;
    if (!w->dict)
        watch(w, dict);
    w->unchanged = is_watched(w);
    return false;
}

#endif

/* ---- switching, exceptions ---- */

#if PY_VERSION_HEX < 0x030c0000
#define Py_BUILD_CORE 1
#include "internal/pycore_pystate.h"
#include "internal/pycore_runtime.h"
#undef Py_BUILD_CORE

static void bind_gilstate(PyThreadState *ts) {
    PyThread_tss_set(&_PyRuntime.gilstate.autoTSSkey, ts);
}

void compat_swap(PyThreadState *ts) {
    PyThreadState_Swap(ts);
    bind_gilstate(ts);
}

void compat_attach(PyThreadState *ts) {
    PyEval_RestoreThread(ts);
    bind_gilstate(ts);
}

/* PyThreadState_New() in its two halves: the second one follows a null pointer when memory is out. */
PyThreadState *compat_new_state(void) {
    PyThreadState *ts = _PyThreadState_Prealloc(PyInterpreterState_Main());
    if (ts)
        _PyThreadState_SetCurrent(ts);
    return ts;
}

/* A thread makes its state without the GIL, and puts it in front of the list before it is complete: that
 * takes a moment. */
PyThreadState *compat_newest_state(void) {
    PyThreadState *ts = PyInterpreterState_ThreadHead(PyInterpreterState_Main());
    while (!__atomic_load_n(&ts->_initialized, __ATOMIC_ACQUIRE))
        sched_yield();
    return ts;
}

PyObject *compat_fetch(void) {
    PyObject *type, *value, *tb;
    PyErr_Fetch(&type, &value, &tb);
    if (!type)
        return NULL;
    /* A delivery (interrupt.c) makes an instance of another class than its own. */
    if (!value || !PyExceptionInstance_Check(value))
        PyErr_NormalizeException(&type, &value, &tb);
    if (tb)
        PyException_SetTraceback(value, tb);
    Py_XDECREF(type);
    Py_XDECREF(tb);
    return value;
}

void compat_raise(PyObject *exc) {
    PyErr_Restore(Py_NewRef((PyObject *)Py_TYPE(exc)), exc, PyException_GetTraceback(exc));
}

#else

void compat_swap(PyThreadState *ts) { PyThreadState_Swap(ts); }

void compat_attach(PyThreadState *ts) { PyEval_RestoreThread(ts); }

PyThreadState *compat_new_state(void) { return PyThreadState_New(PyInterpreterState_Main()); }

PyThreadState *compat_newest_state(void) {
    return PyInterpreterState_ThreadHead(PyInterpreterState_Main());
}

PyObject *compat_fetch(void) { return PyErr_GetRaisedException(); }

void compat_raise(PyObject *exc) { PyErr_SetRaisedException(exc); }

#endif

/* ---- fork ---- */

#if PY_VERSION_HEX < 0x030d0000

void compat_become_main(PyThreadState *ts) { (void)ts; }

#else
#define Py_BUILD_CORE 1
#include "internal/pycore_runtime.h"
#undef Py_BUILD_CORE

static bool is_listed_with(PyThreadState *ts, PyThreadState *wanted) {
    while (ts->prev)
        ts = ts->prev;
    while (ts && ts != wanted)
        ts = ts->next;
    return ts;
}

/* If the field is where these headers say, it has one of the interpreter's states. */
void compat_become_main(PyThreadState *ts) {
    if (ts && is_listed_with(ts, _PyRuntime.main_tstate))
        _PyRuntime.main_tstate = ts;
}

#endif
