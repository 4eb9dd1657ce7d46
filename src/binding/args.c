/* Arguments of methods that are called often: no tuple or dict is made of them. */
#include "binding.h"

static int place_of(const char *f, const char *const *names, int n, PyObject *key) {
    for (int i = 0; i < n; i++)
        if (PyUnicode_CompareWithASCIIString(key, names[i]) == 0)
            return i;
    PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'", f, key);
    return -1;
}

int parse_optional(const char *f, const char *const *names, int n, PyObject *const *args,
                   Py_ssize_t nargs, PyObject *kwnames, PyObject **out) {
    if (nargs > n) {
        PyErr_Format(PyExc_TypeError, "%s() takes at most %d argument%s (%zd given)", f, n,
                     n == 1 ? "" : "s", nargs);
        return -1;
    }
    for (Py_ssize_t i = 0; i < nargs; i++)
        out[i] = args[i];
    Py_ssize_t nkw = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
    for (Py_ssize_t i = 0; i < nkw; i++) {
        int at = place_of(f, names, n, PyTuple_GET_ITEM(kwnames, i));
        if (at < 0)
            return -1;
        if (at < nargs) {
            PyErr_Format(PyExc_TypeError, "%s() got multiple values for argument '%s'", f,
                         names[at]);
            return -1;
        }
        out[at] = args[nargs + i];
    }
    return 0;
}

int parse_required(const char *f, const char *const *names, int n, PyObject *const *args,
                   Py_ssize_t nargs, PyObject *kwnames, PyObject **out) {
    if (parse_optional(f, names, n, args, nargs, kwnames, out) < 0)
        return -1;
    for (int i = 0; i < n; i++)
        if (!out[i]) {
            PyErr_Format(PyExc_TypeError, "%s() missing required argument: '%s'", f, names[i]);
            return -1;
        }
    return 0;
}

void explain_no_seconds(const char *what, PyObject *o) {
    if (PyErr_ExceptionMatches(PyExc_TypeError))
        PyErr_Format(PyExc_TypeError, "%s must be a number of seconds, not %s", what,
                     Py_TYPE(o)->tp_name);
}

int is_negative(PyObject *o) {
    PyObject *zero = PyLong_FromLong(0);
    int negative = zero ? PyObject_RichCompareBool(o, zero, Py_LT) : -1;
    Py_XDECREF(zero);
    return negative;
}

int parse_count(const char *what, PyObject *o, int64_t *n) {
    if (!PyIndex_Check(o) || PyBool_Check(o)) {
        PyErr_Format(PyExc_TypeError, "%s must be an int, not %s", what, Py_TYPE(o)->tp_name);
        return -1;
    }
    PyObject *index = PyNumber_Index(o);
    if (!index)
        return -1;
    int overflow;
    long long value = PyLong_AsLongLongAndOverflow(index, &overflow);
    Py_DECREF(index);
    if (overflow < 0 || (!overflow && value < 0)) {
        PyErr_Format(PyExc_ValueError, "%s must not be negative", what);
        return -1;
    }
    *n = overflow ? INT64_MAX : value;
    return 0;
}
