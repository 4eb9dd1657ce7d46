/* Patching: which built-ins, on and off. See patch.h. All here is guarded by the GIL. */
#include "patch.h"

#include <math.h>
#include <string.h>

/* ---- calling: from any convention to a body, and to the built-in ---- */

static PyInterpreterState *main_interpreter;

bool patch_in_goroutine(void) {
    struct goroutine *gr = current_goroutine();
    return gr && gr->ts == PyThreadState_Get();
}

/* A module's definitions are the same ones in all interpreters. */
static bool as_before(struct patch *p) {
    return p->where == IN_GOROUTINES ? !patch_in_goroutine()
                                     : PyThreadState_Get()->interp != main_interpreter;
}

typedef PyObject *(*call_varkw)(PyObject *, PyObject *, PyObject *);
typedef PyObject *(*call_fast)(PyObject *, PyObject *const *, Py_ssize_t);
typedef PyObject *(*call_fastkw)(PyObject *, PyObject *const *, Py_ssize_t, PyObject *);
typedef PyObject *(*call_method)(PyObject *, PyTypeObject *, PyObject *const *, Py_ssize_t,
                                 PyObject *);

#define AS(type, f) ((type)(void (*)(void))(f))

static PyObject *new_tuple(PyObject *const *args, Py_ssize_t n) {
    static PyObject *only_false;
    if (n == 1 && args[0] == Py_False) {
        if (!only_false)
            only_false = PyTuple_Pack(1, Py_False);
        return Py_XNewRef(only_false);
    }
    PyObject *tuple = PyTuple_New(n);
    for (Py_ssize_t i = 0; tuple && i < n; i++)
        PyTuple_SET_ITEM(tuple, i, Py_NewRef(args[i]));
    return tuple;
}

static PyObject *new_kwargs(PyObject *const *values, PyObject *kwnames) {
    PyObject *kwargs = PyDict_New();
    for (Py_ssize_t i = 0; kwargs && i < PyTuple_GET_SIZE(kwnames); i++)
        if (PyDict_SetItem(kwargs, PyTuple_GET_ITEM(kwnames, i), values[i]) < 0)
            Py_CLEAR(kwargs);
    return kwargs;
}

static PyObject *call_with_tuple(struct patch *p, PyObject *self, PyObject *const *args,
                                 Py_ssize_t nargs, PyObject *kwnames) {
    PyObject *kwargs = NULL, *result = NULL, *tuple = new_tuple(args, nargs);
    bool keywords = kwnames && PyTuple_GET_SIZE(kwnames);
    if (tuple && keywords)
        kwargs = new_kwargs(args + nargs, kwnames);
    if (tuple && p->convention == PATCH_VARARGS)
        result = p->plain.ml_meth(self, tuple);
    else if (tuple && (kwargs || !keywords))
        result = AS(call_varkw, p->plain.ml_meth)(self, tuple, kwargs);
    Py_XDECREF(tuple);
    Py_XDECREF(kwargs);
    return result;
}

/* A module may have been loaded a second time: then there are two types with the same methods. */
static PyTypeObject *defining_class(struct patch *p, PyObject *self) {
    for (PyTypeObject *type = Py_TYPE(self); type; type = type->tp_base)
        if (type->tp_methods == p->type_object->tp_methods)
            return type;
    return p->type_object;
}

PyObject *patch_call(struct patch *p, PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                     PyObject *kwnames) {
    PyCFunction f = p->plain.ml_meth;
    switch (p->convention) {
    case PATCH_NOARGS:
        return f(self, NULL);
    case PATCH_O:
        return f(self, args[0]);
    case PATCH_FAST:
        return AS(call_fast, f)(self, args, nargs);
    case PATCH_FASTKW:
        return AS(call_fastkw, f)(self, args, nargs, kwnames);
    case PATCH_METHOD:
        return AS(call_method, f)(self, defining_class(p, self), args, nargs, kwnames);
    default:
        return call_with_tuple(p, self, args, nargs, kwnames);
    }
}

PyObject *patch_enter_noargs(struct patch *p, PyObject *self) {
    return as_before(p) ? p->plain.ml_meth(self, NULL) : p->body(p, self, NULL, 0, NULL);
}

PyObject *patch_enter_o(struct patch *p, PyObject *self, PyObject *arg) {
    return as_before(p) ? p->plain.ml_meth(self, arg) : p->body(p, self, &arg, 1, NULL);
}

PyObject *patch_enter_varargs(struct patch *p, PyObject *self, PyObject *args) {
    if (as_before(p))
        return p->plain.ml_meth(self, args);
    return p->body(p, self, &PyTuple_GET_ITEM(args, 0), PyTuple_GET_SIZE(args), NULL);
}

static PyObject *body_with_kwargs(struct patch *p, PyObject *self, PyObject *args,
                                  PyObject *kwargs) {
    Py_ssize_t n = PyTuple_GET_SIZE(args), nkw = PyDict_GET_SIZE(kwargs), i = 0, pos = 0;
    PyObject *name, *value, *result = NULL, *kwnames = PyTuple_New(nkw);
    PyObject **all = PyMem_Malloc((size_t)(n + nkw) * sizeof *all);
    if (!all)
        PyErr_NoMemory();
    for (; all && i < n; i++)
        all[i] = PyTuple_GET_ITEM(args, i);
    for (i = 0; all && kwnames && PyDict_Next(kwargs, &pos, &name, &value); i++) {
        PyTuple_SET_ITEM(kwnames, i, Py_NewRef(name));
        all[n + i] = value;
    }
    if (all && kwnames)
        result = p->body(p, self, all, n, kwnames);
    PyMem_Free(all);
    Py_XDECREF(kwnames);
    return result;
}

PyObject *patch_enter_varkw(struct patch *p, PyObject *self, PyObject *args, PyObject *kwargs) {
    if (as_before(p))
        return AS(call_varkw, p->plain.ml_meth)(self, args, kwargs);
    if (kwargs && PyDict_GET_SIZE(kwargs))
        return body_with_kwargs(p, self, args, kwargs);
    return p->body(p, self, &PyTuple_GET_ITEM(args, 0), PyTuple_GET_SIZE(args), NULL);
}

PyObject *patch_enter_fast(struct patch *p, PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                           PyObject *kwnames) {
    if (as_before(p))
        return patch_call(p, self, args, nargs, kwnames);
    return p->body(p, self, args, nargs, kwnames);
}

/* ---- what bodies do with their arguments ---- */

static int index_of(const char *const *names, int n, PyObject *name) {
    for (int i = 0; i < n; i++)
        if (PyUnicode_CompareWithASCIIString(name, names[i]) == 0)
            return i;
    return -1;
}

bool patch_arguments(const char *const *names, int n, PyObject **values, PyObject *const *args,
                     Py_ssize_t nargs, PyObject *kwnames) {
    if (nargs > n)
        return false;
    for (Py_ssize_t i = 0; i < nargs; i++)
        values[i] = args[i];
    for (Py_ssize_t i = 0; kwnames && i < PyTuple_GET_SIZE(kwnames); i++) {
        int at = index_of(names, n, PyTuple_GET_ITEM(kwnames, i));
        if (at < nargs)
            return false;
        values[at] = args[nargs + i];
    }
    return true;
}

#define NS_PER_S 1000000000
#define MOST_SECONDS 9000000000 /* what the clock's range has room for */

bool patch_seconds(PyObject *seconds, int64_t *ns) {
    if (PyFloat_Check(seconds)) {
        double d = PyFloat_AS_DOUBLE(seconds);
        if (!(d >= 0 && d < MOST_SECONDS))
            return false;
        *ns = (int64_t)ceil(d * NS_PER_S);
        return true;
    }
    if (!PyLong_Check(seconds))
        return false;
    int overflow;
    long long i = PyLong_AsLongLongAndOverflow(seconds, &overflow);
    if (overflow || i < 0 || i >= MOST_SECONDS)
        return false;
    *ns = i * NS_PER_S;
    return true;
}

/* ---- groups ---- */

#define LISTS 8

struct group {
    const char *name;
    struct patch *const *lists[LISTS];
    struct patch_slot *const *slots;
    int (*install)(void); /* after the built-ins were found, before they are exchanged */
    bool installed;
};

static int install_threading(void) {
    return patch_locks_install() < 0 || patch_threads_install() < 0 ? -1 : 0;
}

static int install_select(void) {
    return patch_selects_install() < 0 || patch_files_install() < 0 ? -1 : 0;
}

static struct group groups[] = {
    {"time", {patch_time}},
    {"socket",
     {patch_sockets, patch_socket_closes, patch_buffered},
     patch_buffered_slots,
     .install = patch_sockets_install},
    {"ssl",
     {patch_ssl, patch_socket_closes, patch_buffered},
     patch_buffered_slots,
     .install = patch_ssl_install},
    {"threading", {patch_locks, patch_queues, patch_threads}, .install = install_threading},
    {"select", {patch_selects, patch_closes, patch_file_closes}, .install = install_select},
    {"os",
     {patch_descriptors, patch_files, patch_buffered, patch_children, patch_closes,
      patch_file_closes},
     patch_buffered_slots,
     .install = patch_files_install},
    /* Its modules' own calls: Popen.communicate() selects, Popen.wait(timeout) sleeps, and its pipes are
     * buffered files. */
    {"subprocess",
     {patch_children, patch_descriptors, patch_files, patch_buffered, patch_selects, patch_closes,
      patch_file_closes, patch_time},
     patch_buffered_slots,
     .install = install_select},
    {"signal", {patch_signals}},
    /* Of `goroutines run`, whatever else it patches. */
    {"main goroutine", {patch_signals, patch_main}, .install = patch_main_install},
    {"sqlite3", .slots = patch_connections},
};

#define GROUPS (sizeof groups / sizeof *groups)

static struct group *group_named(PyObject *name) {
    for (size_t i = 0; PyUnicode_Check(name) && i < GROUPS; i++)
        if (PyUnicode_CompareWithASCIIString(name, groups[i].name) == 0)
            return &groups[i];
    return NULL;
}

/* Calls fn for each patch of a group until it returns something else than 0. */
static int each(struct group *group, int (*fn)(struct patch *p)) {
    for (size_t i = 0; i < LISTS && group->lists[i]; i++)
        for (struct patch *const *p = group->lists[i]; *p; p++) {
            int r = fn(*p);
            if (r != 0)
                return r;
        }
    return 0;
}

/* ---- finding built-ins ---- */

static const int flags_of[PATCH_CONVENTIONS] = {
    [PATCH_NOARGS] = METH_NOARGS,
    [PATCH_O] = METH_O,
    [PATCH_VARARGS] = METH_VARARGS,
    [PATCH_VARKW] = METH_VARARGS | METH_KEYWORDS,
    [PATCH_FAST] = METH_FASTCALL,
    [PATCH_FASTKW] = METH_FASTCALL | METH_KEYWORDS,
    [PATCH_METHOD] = METH_METHOD | METH_FASTCALL | METH_KEYWORDS,
};

static int convention_of(PyMethodDef *def) {
    for (int c = 0; c < PATCH_CONVENTIONS; c++)
        if ((def->ml_flags & ~METH_COEXIST) == flags_of[c])
            return c;
    return -1;
}

static PyMethodDef *definition_of(PyObject *o) {
    if (Py_TYPE(o) == &PyMethodDescr_Type)
        return ((PyMethodDescrObject *)o)->d_method;
    return PyCFunction_Check(o) ? ((PyCFunctionObject *)o)->m_ml : NULL;
}

/* module or module.type: where the built-in is an attribute. Some types have no name, but a function that
 * makes one of them (select.poll). NULL: there is none on this Python, or an exception. */
static PyObject *home_of(struct patch *p) {
    PyObject *home = PyImport_ImportModule(p->module);
    if (home && p->type)
        Py_SETREF(home, PyObject_GetAttrString(home, p->type));
    if (home && p->type && !PyType_Check(home))
        Py_SETREF(home, PyObject_CallNoArgs(home));
    if (home && p->type && !PyType_Check(home))
        Py_SETREF(home, Py_NewRef((PyObject *)Py_TYPE(home)));
    return home;
}

static void not_here(void) {
    if (PyErr_ExceptionMatches(PyExc_AttributeError) || PyErr_ExceptionMatches(PyExc_ImportError))
        PyErr_Clear();
}

/* -1 with an exception. Not every Python has every built-in. */
static int find(struct patch *p) {
    if (p->def)
        return 0;
    PyObject *home = home_of(p), *o = home ? PyObject_GetAttrString(home, p->name) : NULL;
    PyMethodDef *def = o ? definition_of(o) : NULL;
    int convention = def ? convention_of(def) : -1;
    if (o && convention < 0)
        PyErr_Format(PyExc_RuntimeError, "goroutines: %s.%s cannot be patched on this Python",
                     p->module, p->name);
    if (PyErr_Occurred())
        not_here();
    if (def && convention >= 0) {
        p->def = def;
        p->plain = *def;
        p->convention = (enum patch_convention)convention;
        p->type_object = p->type ? (PyTypeObject *)Py_NewRef(home) : NULL;
    }
    Py_XDECREF(home);
    Py_XDECREF(o);
    return PyErr_Occurred() ? -1 : 0;
}

/* ---- slots ---- */

static void **slot_of(const struct patch_slot *s, PyTypeObject *type) {
    return (void **)((char *)type + s->offset);
}

/* -1 with an exception. Not every Python has every module. */
static int find_slot(struct patch_slot *s) {
    PyObject *home = s->type_object ? NULL : PyImport_ImportModule(s->module);
    if (home)
        Py_SETREF(home, PyObject_GetAttrString(home, s->type));
    PyObject *method = home ? PyObject_GetAttrString(home, s->name) : NULL;
    if (method && Py_TYPE(method) == &PyWrapperDescr_Type) {
        s->type_object = (PyTypeObject *)Py_NewRef(home);
        s->descriptor = (PyWrapperDescrObject *)Py_NewRef(method);
        s->plain = *slot_of(s, s->type_object);
    } else if (method) {
        PyErr_Format(PyExc_RuntimeError, "goroutines: %s.%s cannot be patched on this Python",
                     s->type, s->name);
    } else if (PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_ImportError)) {
        PyErr_Clear();
    }
    Py_XDECREF(home);
    Py_XDECREF(method);
    return PyErr_Occurred() ? -1 : 0;
}

/* In type and what is derived from it. */
static int exchange(const struct patch_slot *s, PyTypeObject *type, void *from, void *to) {
    if (*slot_of(s, type) == from)
        *slot_of(s, type) = to;
    PyObject *derived = PyObject_CallMethod((PyObject *)type, "__subclasses__", NULL);
    int r = derived ? 0 : -1;
    for (Py_ssize_t i = 0; r == 0 && i < PyList_GET_SIZE(derived); i++)
        r = exchange(s, (PyTypeObject *)PyList_GET_ITEM(derived, i), from, to);
    Py_XDECREF(derived);
    return r;
}

static int install_slot(struct patch_slot *s) {
    if (!s->type_object || s->installed)
        return 0;
    s->installed = true;
    s->descriptor->d_wrapped = s->replacement;
    return exchange(s, s->type_object, s->plain, s->replacement);
}

static int undo_slot(struct patch_slot *s) {
    if (!s->installed)
        return 0;
    s->installed = false;
    s->descriptor->d_wrapped = s->plain;
    if (exchange(s, s->type_object, s->replacement, s->plain) < 0)
        PyErr_WriteUnraisable((PyObject *)s->type_object);
    return 0;
}

static int each_slot(struct group *group, int (*fn)(struct patch_slot *s)) {
    int r = 0;
    for (struct patch_slot *const *s = group->slots; s && *s && r == 0; s++)
        r = fn(*s);
    return r;
}

/* ---- on and off ---- */

static int install(struct patch *p) {
    if (p->def) {
        p->def->ml_meth = p->entries[p->convention];
        p->installed = true;
    }
    return 0;
}

static int undo(struct patch *p) {
    if (p->installed)
        p->def->ml_meth = p->plain.ml_meth;
    p->installed = false;
    return 0;
}

static PyObject *patch(PyObject *module, PyObject *name) {
    (void)module;
    struct group *group = group_named(name);
    if (!group || group->installed)
        Py_RETURN_NONE;
    main_interpreter = PyInterpreterState_Main();
    if (each(group, find) < 0 || each_slot(group, find_slot) < 0 ||
        (group->install && group->install() < 0) || each_slot(group, install_slot) < 0)
        return NULL;
    each(group, install);
    group->installed = true;
    Py_RETURN_NONE;
}

static PyObject *is_patched(PyObject *module, PyObject *name) {
    (void)module;
    struct group *group = group_named(name);
    return PyBool_FromLong(group && group->installed);
}

bool patch_installed(const char *name) {
    for (size_t i = 0; i < GROUPS; i++)
        if (strcmp(groups[i].name, name) == 0)
            return groups[i].installed;
    return false;
}

static PyObject *undo_all(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    for (size_t i = 0; i < GROUPS; i++) {
        if (!groups[i].installed)
            continue;
        each(&groups[i], undo);
        each_slot(&groups[i], undo_slot);
        groups[i].installed = false;
    }
    semaroot_wake_everybody(); /* nobody else would: they wait on as before */
    Py_RETURN_NONE;
}

/* ---- the built-in of a patched one ---- */

static PyMethodDef *sought;
static struct patch *found;

static int is_it(struct patch *p) {
    if (find(p) < 0)
        return -1;
    if (p->def != sought)
        return 0;
    found = p;
    return 1;
}

/* A built-in (function or method descriptor): one with the unpatched behaviour, whatever is patched
 * later. Anything else: itself. */
static PyObject *unpatched(PyObject *module, PyObject *o) {
    (void)module;
    sought = definition_of(o);
    found = NULL;
    for (size_t i = 0; sought && !found && i < GROUPS; i++)
        if (each(&groups[i], is_it) < 0)
            return NULL;
    if (!found)
        return Py_NewRef(o);
    if (Py_TYPE(o) == &PyMethodDescr_Type)
        return PyDescr_NewMethod(PyDescr_TYPE(o), &found->plain);
    PyCFunctionObject *f = (PyCFunctionObject *)o;
    return PyCMethod_New(&found->plain, f->m_self, f->m_module, PyCFunction_GET_CLASS(o));
}

PyMethodDef patch_methods[] = {
    {"_patch", patch, METH_O, NULL},
    {"_is_patched", is_patched, METH_O, NULL},
    {"_patch_undo", undo_all, METH_NOARGS, NULL},
    {"_unpatched", unpatched, METH_O, NULL},
    {"_thread_after_fork", patch_threads_after_fork, METH_O, NULL},
    {0},
};
