/* patch.sqlite3(): a connection opened in a goroutine is not bound to the thread it was opened on.
 *
 * A connection is made by Connection.__init__, which is no built-in with a PyMethodDef but a slot: of the
 * type, of each class derived from it without an __init__, and, for super().__init__, of its descriptor. All
 * of these are exchanged. */
#include "patch.h"

static PyTypeObject *connection; /* kept for ever; NULL: no sqlite3 here */
static PyWrapperDescrObject *descriptor;
static initproc plain_init;

#define CHECK_SAME_THREAD 4 /* which positional parameter it is */

static int connect(PyObject *self, PyObject *args, PyObject *kwargs) {
    static PyObject *name;
    if (!name && !(name = PyUnicode_InternFromString("check_same_thread")))
        return -1;
    int given = PyTuple_GET_SIZE(args) > CHECK_SAME_THREAD;
    if (!given && kwargs)
        given = PyDict_Contains(kwargs, name);
    if (!patch_in_goroutine() || given)
        return given < 0 ? -1 : plain_init(self, args, kwargs);
    PyObject *more = kwargs ? PyDict_Copy(kwargs) : PyDict_New();
    int r = -1;
    if (more && PyDict_SetItem(more, name, Py_False) == 0)
        r = plain_init(self, args, more);
    Py_XDECREF(more);
    return r;
}

/* In type and what is derived from it. */
static int exchange_init(PyTypeObject *type, initproc from, initproc to) {
    if (type->tp_init == from)
        type->tp_init = to;
    PyObject *derived = PyObject_CallMethod((PyObject *)type, "__subclasses__", NULL);
    int r = derived ? 0 : -1;
    for (Py_ssize_t i = 0; r == 0 && i < PyList_GET_SIZE(derived); i++)
        r = exchange_init((PyTypeObject *)PyList_GET_ITEM(derived, i), from, to);
    Py_XDECREF(derived);
    return r;
}

static int find_connection(void) {
    PyObject *sqlite3 = PyImport_ImportModule("_sqlite3");
    if (!sqlite3 && PyErr_ExceptionMatches(PyExc_ImportError)) {
        PyErr_Clear();
        return 0;
    }
    PyObject *type = sqlite3 ? PyObject_GetAttrString(sqlite3, "Connection") : NULL;
    PyObject *init = type ? PyObject_GetAttrString(type, "__init__") : NULL;
    Py_XDECREF(sqlite3);
    if (init && Py_TYPE(init) == &PyWrapperDescr_Type) {
        connection = (PyTypeObject *)type;
        descriptor = (PyWrapperDescrObject *)init;
        plain_init = connection->tp_init;
        return 0;
    }
    if (init)
        PyErr_SetString(PyExc_RuntimeError, "goroutines: sqlite3 cannot be patched on this Python");
    Py_XDECREF(type);
    Py_XDECREF(init);
    return -1;
}

int patch_sqlite3_install(void) {
    if (!connection && find_connection() < 0)
        return -1;
    if (!connection)
        return 0;
    descriptor->d_wrapped = (void *)connect;
    return exchange_init(connection, plain_init, connect);
}

void patch_sqlite3_undo(void) {
    if (!connection)
        return;
    descriptor->d_wrapped = (void *)plain_init;
    if (exchange_init(connection, connect, plain_init) < 0)
        PyErr_WriteUnraisable((PyObject *)connection);
}
