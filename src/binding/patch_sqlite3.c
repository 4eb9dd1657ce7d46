/* patch.sqlite3(): a connection opened in a goroutine is not bound to the thread it was opened on.
 *
 * A connection is made by Connection.__init__, which is no built-in with a PyMethodDef but a slot. */
#include "patch.h"

static struct patch_slot connection_init;

#define CHECK_SAME_THREAD 4 /* which positional parameter it is */

static int connect(PyObject *self, PyObject *args, PyObject *kwargs) {
    static PyObject *name;
    initproc plain = (initproc)connection_init.plain;
    if (!name && !(name = PyUnicode_InternFromString("check_same_thread")))
        return -1;
    int given = PyTuple_GET_SIZE(args) > CHECK_SAME_THREAD;
    if (!given && kwargs)
        given = PyDict_Contains(kwargs, name);
    if (!patch_in_goroutine() || given)
        return given < 0 ? -1 : plain(self, args, kwargs);
    PyObject *more = kwargs ? PyDict_Copy(kwargs) : PyDict_New();
    int r = -1;
    if (more && PyDict_SetItem(more, name, Py_False) == 0)
        r = plain(self, args, more);
    Py_XDECREF(more);
    return r;
}

PATCH_SLOT(connection_init, "_sqlite3", "Connection", "__init__", tp_init, connect)

struct patch_slot *const patch_connections[] = {&connection_init, NULL};
