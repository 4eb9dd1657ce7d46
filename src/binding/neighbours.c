/* Native code beside us that keeps something per OS thread for longer than one call into it; what
 * is kept during a call is foreign.c's matter.
 *
 *   greenlet    the current greenlet of a thread. A goroutine that switches greenlets is wired to its
 *               thread for life, and the thread ends with it.
 *   pybind11    (up to 2.13) the thread state that was current when its internals were made, in
 *               thread-local storage. The goroutine whose import makes them is wired likewise.
 *
 * Such code comes in by imports: _imp.create_dynamic and exec_dynamic, through which every extension
 * module is loaded, are followed by a look at what is new. A built-in function is reached through its
 * PyMethodDef, so it is enough to exchange one pointer there. */
#include "binding.h"

#include <string.h>

/* ---- exchanging built-in functions ---- */

typedef PyObject *(*fastcall)(PyObject *self, PyObject *const *args, Py_ssize_t nargs);
typedef PyObject *(*varkw)(PyObject *self, PyObject *args, PyObject *kwargs);

/* Puts `to` in place of def's function if that has the expected calling convention; returns the old
 * one, or NULL. */
static PyCFunction exchange(PyMethodDef *def, int flags, PyCFunction to) {
    if (!def || (def->ml_flags & ~METH_COEXIST) != flags || def->ml_meth == to)
        return NULL;
    PyCFunction old = def->ml_meth;
    def->ml_meth = to;
    return old;
}

/* ---- greenlet ---- */

static PyCFunction greenlet_switch, greenlet_throw;

static void wire_caller(void) {
    struct g *g = sched_current();
    if (g)
        sched_wire_for_life(g);
}

static PyObject *switch_wired(PyObject *self, PyObject *args, PyObject *kwargs) {
    wire_caller();
    return ((varkw)(void (*)(void))greenlet_switch)(self, args, kwargs);
}

static PyObject *throw_wired(PyObject *self, PyObject *args) {
    wire_caller();
    return greenlet_throw(self, args);
}

static PyMethodDef *method_of(PyObject *type, const char *name) {
    PyObject *descr = PyObject_GetAttrString(type, name);
    PyMethodDef *def = NULL;
    if (descr && Py_TYPE(descr) == &PyMethodDescr_Type)
        def = ((PyMethodDescrObject *)descr)->d_method;
    Py_XDECREF(descr);
    return def;
}

static void look_for_greenlet(PyObject *module) {
    const char *name = PyModule_Check(module) ? PyModule_GetName(module) : NULL;
    if (greenlet_switch || !name || strcmp(name, "greenlet._greenlet") != 0)
        return;
    PyObject *type = PyObject_GetAttrString(module, "greenlet");
    if (!type)
        return;
    greenlet_switch = exchange(method_of(type, "switch"), METH_VARARGS | METH_KEYWORDS,
                               FN(switch_wired));
    greenlet_throw = exchange(method_of(type, "throw"), METH_VARARGS, throw_wired);
    Py_DECREF(type);
}

/* ---- pybind11 ---- */

static Py_ssize_t internals_in(PyObject *dict) {
    PyObject *key, *value;
    Py_ssize_t pos = 0, n = 0;
    while (dict && PyDict_Next(dict, &pos, &key, &value)) {
        const char *name = PyUnicode_Check(key) ? PyUnicode_AsUTF8(key) : NULL;
        n += name && strncmp(name, "__pybind11_internals_", 21) == 0;
    }
    PyErr_Clear(); /* a name may have no UTF-8 */
    return n;
}

/* It keeps them in builtins where it was compiled for 3.11, in the interpreter's own dict since. */
static Py_ssize_t pybind11_internals(void) {
    return internals_in(PyEval_GetBuiltins()) +
           internals_in(PyInterpreterState_GetDict(PyInterpreterState_Get()));
}

/* ---- imports ---- */

static fastcall create_dynamic;
static PyCFunction exec_dynamic;

static void look_around(PyObject *module, Py_ssize_t internals_before) {
    PyObject *exc = compat_fetch();
    foreign_look();
    if (module)
        look_for_greenlet(module);
    if (pybind11_internals() > internals_before)
        wire_caller();
    PyErr_Clear();
    if (exc)
        compat_raise(exc);
}

static PyObject *create_and_look(PyObject *self, PyObject *const *args, Py_ssize_t nargs) {
    Py_ssize_t internals = pybind11_internals();
    PyObject *module = create_dynamic(self, args, nargs);
    look_around(module, internals);
    return module;
}

static PyObject *exec_and_look(PyObject *self, PyObject *module) {
    Py_ssize_t internals = pybind11_internals();
    PyObject *result = exec_dynamic(self, module);
    look_around(module, internals);
    return result;
}

static PyMethodDef *function_of(PyObject *module, const char *name) {
    PyObject *f = PyObject_GetAttrString(module, name);
    PyMethodDef *def = f && PyCFunction_Check(f) ? ((PyCFunctionObject *)f)->m_ml : NULL;
    Py_XDECREF(f);
    return def;
}

/* What was imported before us is looked at once. */
int neighbours_init(void) {
    PyObject *imp = PyImport_ImportModule("_imp");
    if (!imp)
        return -1;
    PyCFunction old = exchange(function_of(imp, "create_dynamic"), METH_FASTCALL,
                               FN(create_and_look));
    create_dynamic = (fastcall)(void (*)(void))old;
    exec_dynamic = exchange(function_of(imp, "exec_dynamic"), METH_O, exec_and_look);
    Py_DECREF(imp);
    PyObject *greenlet = PyDict_GetItemString(PyImport_GetModuleDict(), "greenlet._greenlet");
    look_around(greenlet, pybind11_internals());
    return 0;
}
