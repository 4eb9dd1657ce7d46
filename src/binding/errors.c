#include "binding.h"

PyObject *ChannelClosed, *DeadlockError, *GoroutineExit;

static PyObject *add(PyObject *module, const char *name, const char *qualified, const char *doc,
                     PyObject *base) {
    PyObject *type = PyErr_NewExceptionWithDoc(qualified, doc, base, NULL);
    if (type && PyModule_AddObjectRef(module, name, type) < 0)
        Py_CLEAR(type);
    return type;
}

int errors_init(PyObject *module) {
    ChannelClosed = add(
        module, "ChannelClosed", "goroutines.ChannelClosed",
        "A send on a closed channel, a receive from one that is closed and drained, "
        "or a second close.",
        PyExc_Exception);
    DeadlockError = add(module, "DeadlockError", "goroutines.DeadlockError",
                        "All goroutines are asleep: nothing can ever wake any of them.",
                        PyExc_RuntimeError);
    GoroutineExit = add(
        module, "GoroutineExit", "goroutines.GoroutineExit",
        "Ends a goroutine: raised by goexit(), and in every goroutine that is still "
        "alive when run() ends.",
        PyExc_BaseException);
    return ChannelClosed && DeadlockError && GoroutineExit ? 0 : -1;
}

PyObject *raise_closed(const char *what) {
    PyErr_SetString(ChannelClosed, what);
    return NULL;
}

PyObject *raise_timeout(const char *what) {
    PyErr_SetString(PyExc_TimeoutError, what);
    return NULL;
}
