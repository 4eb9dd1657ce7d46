#include "compat.h"

#if PY_VERSION_HEX < 0x030c0000
#define Py_BUILD_CORE 1
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

PyObject *compat_fetch(void) {
    PyObject *type, *value, *tb;
    PyErr_Fetch(&type, &value, &tb);
    if (!type)
        return NULL;
    /* A delivery (errors.c) makes an instance of another class than its own. */
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

PyObject *compat_fetch(void) { return PyErr_GetRaisedException(); }

void compat_raise(PyObject *exc) { PyErr_SetRaisedException(exc); }

#endif
