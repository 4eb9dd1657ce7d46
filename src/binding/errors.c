#include "binding.h"

PyObject *ChannelClosed, *DeadlockError, *GoroutineExit;

/* The classes are made once: a second import of the package finds the same ones. */
static int add(PyObject *module, PyObject **type, const char *name, const char *qualified,
               const char *doc, PyObject *base) {
    if (!*type)
        *type = PyErr_NewExceptionWithDoc(qualified, doc, base, NULL);
    return *type ? PyModule_AddObjectRef(module, name, *type) : -1;
}

int errors_init(PyObject *module) {
    if (add(module, &ChannelClosed, "ChannelClosed", "goroutines.ChannelClosed",
            "A send on a closed channel, a receive from one that is closed and drained, or a "
            "second close.",
            PyExc_Exception) < 0)
        return -1;
    if (add(module, &DeadlockError, "DeadlockError", "goroutines.DeadlockError",
            "All goroutines are asleep: nothing can ever wake any of them.",
            PyExc_RuntimeError) < 0)
        return -1;
    return add(
        module, &GoroutineExit, "GoroutineExit", "goroutines.GoroutineExit",
        "Ends a goroutine: raised by goexit(), and in every goroutine that is still alive when "
        "run() ends.",
        PyExc_BaseException);
}

PyObject *raise_closed(const char *what) {
    PyErr_SetString(ChannelClosed, what);
    return NULL;
}

PyObject *raise_timeout(const char *what) {
    PyErr_SetString(PyExc_TimeoutError, what);
    return NULL;
}
