/* Native code beside us that keeps something per OS thread and must not be surprised by goroutines.
 *
 *   libstdc++   the exceptions being handled on a thread, __cxa_get_globals(). Each goroutine has its own:
 *               saved when it is left, put in place when it is resumed. Otherwise a catch block that
 *               parks would rethrow another goroutine's exception.
 *   greenlet    the current greenlet of a thread. A goroutine that switches greenlets is wired to its
 *               thread for life, and the thread ends with it.
 *   pybind11    (up to 2.13) the thread state that was current when its internals were made, in
 *               thread-local storage. The goroutine whose import makes them is wired likewise.
 *
 * Such code comes in by imports: _imp.create_dynamic and exec_dynamic, through which every extension
 * module is loaded, are followed by a look at what is new. A built-in function is reached through its
 * PyMethodDef, so it is enough to exchange one pointer there. */
#include "binding.h"

#include <dlfcn.h>
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

/* ---- libstdc++ ---- */

static struct cxx_globals *(*cxx_get_globals)(void);

static void look_for_libstdcxx(void) {
    void *lib = cxx_get_globals ? NULL : dlopen("libstdc++.so.6", RTLD_LAZY | RTLD_NOLOAD);
    if (!lib)
        return;
    /* POSIX has it that a function's address may come out of dlsym(). The library is never unloaded:
     * the handle is kept. */
    *(void **)&cxx_get_globals = dlsym(lib, "__cxa_get_globals");
}

void neighbours_switch(struct goroutine *left, struct goroutine *resumed) {
    if (!cxx_get_globals)
        return;
    struct cxx_globals *of_thread = cxx_get_globals();
    if (left)
        left->cxx = *of_thread;
    *of_thread = resumed ? resumed->cxx : (struct cxx_globals){0};
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
                               (PyCFunction)(void (*)(void))switch_wired);
    greenlet_throw = exchange(method_of(type, "throw"), METH_VARARGS, throw_wired);
    Py_DECREF(type);
}

/* ---- pybind11 ---- */

static Py_ssize_t pybind11_internals(void) {
    PyObject *builtins = PyEval_GetBuiltins(), *key, *value;
    Py_ssize_t pos = 0, n = 0;
    while (builtins && PyDict_Next(builtins, &pos, &key, &value)) {
        const char *name = PyUnicode_Check(key) ? PyUnicode_AsUTF8(key) : NULL;
        if (name)
            n += strncmp(name, "__pybind11_internals_", 21) == 0;
        else
            PyErr_Clear(); /* no text */
    }
    return n;
}

/* ---- imports ---- */

static fastcall create_dynamic;
static PyCFunction exec_dynamic;

static void look_around(PyObject *module, Py_ssize_t internals_before) {
    PyObject *exc = compat_fetch();
    look_for_libstdcxx();
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
                               (PyCFunction)(void (*)(void))create_and_look);
    create_dynamic = (fastcall)(void (*)(void))old;
    exec_dynamic = exchange(function_of(imp, "exec_dynamic"), METH_O, exec_and_look);
    Py_DECREF(imp);
    PyObject *greenlet = PyDict_GetItemString(PyImport_GetModuleDict(), "greenlet._greenlet");
    look_around(greenlet, pybind11_internals());
    return 0;
}
