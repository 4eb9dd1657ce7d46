/* AtomicInt: an int that is read, changed and written as one step. The GIL makes it one: nothing that
 * is called in between runs Python code, since the value is always an exact int. */
#include "binding.h"

typedef struct {
    PyObject_HEAD
    PyObject *value;
    PyObject *weakrefs;
} AtomicIntObject;

/* An exact int, a new reference; NULL with TypeError. */
static PyObject *exact(PyObject *o) {
    PyObject *index = PyNumber_Index(o);
    if (!index || PyLong_CheckExact(index))
        return index;
    PyObject *copy = PyLong_Type.tp_as_number->nb_int(index);
    Py_DECREF(index);
    return copy;
}

/* Puts value, whose reference it takes, in; the old one. */
static PyObject *exchange(PyObject *self, PyObject *value) {
    AtomicIntObject *a = (AtomicIntObject *)self;
    PyObject *old = a->value;
    a->value = value;
    return old;
}

static PyObject *atomic_load_py(PyObject *self, PyObject *unused) {
    (void)unused;
    return Py_NewRef(((AtomicIntObject *)self)->value);
}

static PyObject *atomic_swap(PyObject *self, PyObject *arg) {
    PyObject *value = exact(arg);
    return value ? exchange(self, value) : NULL;
}

static PyObject *atomic_store_py(PyObject *self, PyObject *arg) {
    PyObject *old = atomic_swap(self, arg);
    if (!old)
        return NULL;
    Py_DECREF(old);
    Py_RETURN_NONE;
}

static PyObject *atomic_add(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                            PyObject *kwnames) {
    static const char *const names[] = {"n"};
    PyObject *given = NULL;
    if (parse_optional("add", names, 1, args, nargs, kwnames, &given) < 0)
        return NULL;
    PyObject *n = given ? exact(given) : PyLong_FromLong(1);
    if (!n)
        return NULL;
    PyObject *sum = PyNumber_Add(((AtomicIntObject *)self)->value, n);
    Py_DECREF(n);
    if (sum)
        Py_DECREF(exchange(self, Py_NewRef(sum)));
    return sum;
}

/* (old, new) */
static PyObject *atomic_compare_and_swap(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                                         PyObject *kwnames) {
    static const char *const names[] = {"old", "new"};
    PyObject *given[2] = {NULL, NULL};
    if (parse_required("compare_and_swap", names, 2, args, nargs, kwnames, given) < 0)
        return NULL;
    PyObject *old = exact(given[0]);
    PyObject *new = old ? exact(given[1]) : NULL;
    int same = -1;
    if (new)
        same = PyObject_RichCompareBool(((AtomicIntObject *)self)->value, old, Py_EQ);
    if (same == 1)
        Py_DECREF(exchange(self, Py_NewRef(new)));
    Py_XDECREF(old);
    Py_XDECREF(new);
    return same < 0 ? NULL : PyBool_FromLong(same);
}

static PyObject *atomic_repr(PyObject *self) {
    return PyUnicode_FromFormat("AtomicInt(%R)", ((AtomicIntObject *)self)->value);
}

static PyObject *atomic_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"value", NULL};
    PyObject *given = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:AtomicInt", names, &given))
        return NULL;
    PyObject *value = given ? exact(given) : PyLong_FromLong(0);
    AtomicIntObject *a = value ? (AtomicIntObject *)type->tp_alloc(type, 0) : NULL;
    if (a)
        a->value = value;
    else
        Py_XDECREF(value);
    return (PyObject *)a;
}

static void atomic_dealloc(PyObject *self) {
    AtomicIntObject *a = (AtomicIntObject *)self;
    if (a->weakrefs)
        PyObject_ClearWeakRefs(self);
    Py_DECREF(a->value);
    Py_TYPE(self)->tp_free(self);
}

static PyMethodDef atomic_methods[] = {
    {"load", atomic_load_py, METH_NOARGS, PyDoc_STR("load($self, /)\n--\n\nThe value.")},
    {"store", atomic_store_py, METH_O,
     PyDoc_STR("store($self, value, /)\n--\n\nSet the value. TypeError if it is no int.")},
    {"add", FN(atomic_add), FAST,
     PyDoc_STR("add($self, /, n=1)\n--\n\nAdd n to the value; the new value.")},
    {"swap", atomic_swap, METH_O,
     PyDoc_STR("swap($self, value, /)\n--\n\nSet the value; the old one.")},
    {"compare_and_swap", FN(atomic_compare_and_swap), FAST,
     PyDoc_STR("compare_and_swap($self, /, old, new)\n--\n\n"
               "Set the value to new if it equals old; whether it did.")},
    {0},
};

static PyTypeObject AtomicInt_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "goroutines.sync.AtomicInt",
    .tp_doc = PyDoc_STR("AtomicInt(value=0)\n--\n\n"
                        "An int that several goroutines and threads may change: each method is one "
                        "step.\n\nUnlike Go's it does not overflow. "
                        "https://pkg.go.dev/sync/atomic#Int64"),
    .tp_basicsize = sizeof(AtomicIntObject),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = atomic_new,
    .tp_dealloc = atomic_dealloc,
    .tp_weaklistoffset = offsetof(AtomicIntObject, weakrefs),
    .tp_repr = atomic_repr,
    .tp_methods = atomic_methods,
};

int atomic_int_init(PyObject *module) { return PyModule_AddType(module, &AtomicInt_Type); }
