/* recv(ch), send(ch, value) and select(). */
#include "binding.h"

#define FEW_CASES 4 /* these fit on the C stack */

/* ---- cases ---- */

typedef struct {
    PyObject_HEAD
    ChanObject *chan; /* NULL: of None, never ready */
    PyObject *value;  /* send */
    enum select_dir dir;
    bool used; /* has reached a select */
} CaseObject;

static PyTypeObject Case_Type;

/* A loop with a select makes its cases anew each time, so dead ones are kept: untracked, with nothing in
 * them. GIL. */
#define FREE_CASES 32
static CaseObject *free_cases[FREE_CASES];
static int nfree_cases;

static CaseObject *case_alloc(void) {
    if (nfree_cases == 0)
        return PyObject_GC_New(CaseObject, &Case_Type);
    PyObject *k = (PyObject *)free_cases[--nfree_cases];
    _Py_NewReference(k);
    return (CaseObject *)k;
}

/* One that has been finalized would not be so again. */
static void case_free(CaseObject *k) {
    if (nfree_cases < FREE_CASES && !PyObject_GC_IsFinalized((PyObject *)k))
        free_cases[nfree_cases++] = k;
    else
        PyObject_GC_Del(k);
}

static PyObject *case_new(ChanObject *chan, enum select_dir dir, PyObject *value) {
    CaseObject *k = case_alloc();
    if (!k)
        return NULL;
    k->chan = (ChanObject *)Py_XNewRef((PyObject *)chan);
    k->value = Py_XNewRef(value);
    k->dir = dir;
    k->used = false;
    PyObject_GC_Track(k);
    return (PyObject *)k;
}

PyObject *make_recv_case(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
                         PyObject *kwnames) {
    (void)module;
    static const char *const names[] = {"ch"};
    PyObject *ch = nargs ? args[0] : NULL;
    ChanObject *c = NULL;
    if ((nargs != 1 || kwnames) && parse_required("recv", names, 1, args, nargs, kwnames, &ch) < 0)
        return NULL;
    if (ch != Py_None && !(c = chan_for_recv(ch)))
        return NULL;
    return case_new(c, SELECT_RECV, NULL);
}

PyObject *make_send_case(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
                         PyObject *kwnames) {
    (void)module;
    static const char *const names[] = {"ch", "value"};
    PyObject *given[2] = {NULL, NULL};
    ChanObject *c = NULL;
    if (parse_required("send", names, 2, args, nargs, kwnames, given) < 0)
        return NULL;
    if (given[0] != Py_None && !(c = chan_for_send(given[0])))
        return NULL;
    return case_new(c, SELECT_SEND, given[1]);
}

static void warn_unused(CaseObject *k) {
    PyObject *type, *value, *tb;
    PyErr_Fetch(&type, &value, &tb);
    if (PyErr_WarnFormat(PyExc_RuntimeWarning, 1,
                         "select case was never used; did you mean ch.%s()?",
                         k->dir == SELECT_SEND ? "send" : "recv") < 0)
        PyErr_WriteUnraisable((PyObject *)k);
    PyErr_Restore(type, value, tb);
}

static void case_finalize(PyObject *self) {
    CaseObject *k = (CaseObject *)self;
    struct goroutine *gr = current_goroutine();
    if (k->chan && !k->used) {
        k->used = true;
        /* One that is being ended may have been on its way to a select. */
        if (!gr || !gr->exit_sent)
            warn_unused(k);
    }
}

static int case_traverse(PyObject *self, visitproc visit, void *arg) {
    Py_VISIT(((CaseObject *)self)->chan);
    Py_VISIT(((CaseObject *)self)->value);
    return 0;
}

static void case_dealloc(PyObject *self) {
    CaseObject *k = (CaseObject *)self;
    if (k->chan && !k->used && PyObject_CallFinalizerFromDealloc(self) < 0)
        return;
    PyObject_GC_UnTrack(self);
    Py_TRASHCAN_BEGIN(self, case_dealloc);
    Py_CLEAR(k->chan);
    Py_CLEAR(k->value);
    case_free(k);
    Py_TRASHCAN_END;
}

static PyObject *case_repr(PyObject *self) {
    CaseObject *k = (CaseObject *)self;
    PyObject *chan = k->chan ? (PyObject *)k->chan : Py_None;
    return k->dir == SELECT_SEND ? PyUnicode_FromFormat("send(%R, %R)", chan, k->value)
                                 : PyUnicode_FromFormat("recv(%R)", chan);
}

static PyTypeObject Case_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "goroutines.Case",
    .tp_doc = PyDoc_STR("A case of a select: made by recv(ch) and send(ch, value)."),
    .tp_basicsize = sizeof(CaseObject),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = case_dealloc,
    .tp_finalize = case_finalize,
    .tp_traverse = case_traverse,
    .tp_repr = case_repr,
};

/* ---- select ---- */

struct selecting {
    Py_ssize_t n;
    PyObject *const *args;
    bool has_default;
    int64_t deadline;
    struct select_case *cases;
    uint32_t *order;
};

static int mark_used(struct selecting *s) {
    PyObject *wrong = NULL;
    for (Py_ssize_t i = s->n - 1; i >= 0; i--)
        if (Py_TYPE(s->args[i]) == &Case_Type)
            ((CaseObject *)s->args[i])->used = true;
        else
            wrong = s->args[i];
    if (!wrong)
        return 0;
    PyErr_Format(PyExc_TypeError,
                 "select() takes cases, recv(ch) or send(ch, value), and not %s "
                 "(default and timeout are keywords)",
                 Py_TYPE(wrong)->tp_name);
    return -1;
}

static int parse_keywords(struct selecting *s, PyObject *kwnames) {
    PyObject *timeout = Py_None;
    Py_ssize_t nkw = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
    int is_default = 0;
    for (Py_ssize_t i = 0; i < nkw; i++) {
        PyObject *key = PyTuple_GET_ITEM(kwnames, i), *value = s->args[s->n + i];
        if (PyUnicode_CompareWithASCIIString(key, "timeout") == 0) {
            timeout = value;
        } else if (PyUnicode_CompareWithASCIIString(key, "default") == 0) {
            is_default = PyObject_IsTrue(value);
            if (is_default < 0)
                return -1;
        } else {
            PyErr_Format(PyExc_TypeError, "select() got an unexpected keyword argument '%U'", key);
            return -1;
        }
    }
    s->has_default = is_default;
    return parse_timeout(timeout, &s->deadline);
}

static int check_values(struct selecting *s) {
    for (Py_ssize_t i = 0; i < s->n; i++) {
        CaseObject *k = (CaseObject *)s->args[i];
        if (k->chan && k->dir == SELECT_SEND && chan_check_value(k->chan, k->value) < 0)
            return -1;
    }
    return 0;
}

/* Drops the values of send cases but the one that was sent. */
static void drop_unsent(struct selecting *s, Py_ssize_t n, Py_ssize_t sent) {
    for (Py_ssize_t i = 0; i < n; i++)
        if (s->cases[i].dir == SELECT_SEND && i != sent)
            Py_XDECREF((PyObject *)s->cases[i].value);
}

static int fill(struct selecting *s) {
    for (Py_ssize_t i = 0; i < s->n; i++) {
        CaseObject *k = (CaseObject *)s->args[i];
        s->cases[i].c = k->chan ? &k->chan->c : NULL;
        s->cases[i].dir = k->dir;
        s->cases[i].value = NULL;
        if (k->dir == SELECT_SEND && k->chan &&
            !(s->cases[i].value = chan_outgoing(k->chan, k->value))) {
            drop_unsent(s, i, -1);
            return -1;
        }
    }
    return 0;
}

static PyObject *selected_type; /* goroutines.Selected, a NamedTuple */

/* Steals value. */
static PyObject *selected(Py_ssize_t index, PyObject *value, bool ok) {
    if (!selected_type)
        selected_type = Py_XNewRef(helper("goroutines._types", "Selected"));
    PyObject *i = selected_type ? PyLong_FromSsize_t(index) : NULL;
    PyTypeObject *type = (PyTypeObject *)selected_type;
    PyObject *result = i ? type->tp_alloc(type, 3) : NULL;
    if (!result) {
        Py_XDECREF(i);
        Py_DECREF(value);
        return NULL;
    }
    PyTuple_SET_ITEM(result, 0, i);
    PyTuple_SET_ITEM(result, 1, value);
    PyTuple_SET_ITEM(result, 2, Py_NewRef(ok ? Py_True : Py_False));
    return result;
}

static PyObject *closed_case(struct selecting *s, uint32_t index) {
    if (interrupt_after_failure() < 0)
        return NULL;
    return s->cases[index].dir == SELECT_SEND ? raise_closed("send on a closed channel")
                                              : selected(index, Py_NewRef(Py_None), false);
}

static PyObject *came_to_pass(struct selecting *s, uint32_t index) {
    struct select_case *k = &s->cases[index];
    interrupt_after_success();
    PyObject *value = k->dir == SELECT_RECV ? chan_incoming(k->value) : Py_NewRef(Py_None);
    return value ? selected(index, value, true) : NULL;
}

static PyObject *outcome(struct selecting *s, struct select_outcome out) {
    switch (out.result) {
    case CHAN_OK:
        return came_to_pass(s, out.index);
    case CHAN_CLOSED:
        return closed_case(s, out.index);
    case CHAN_WOULD_BLOCK:
        if (s->has_default)
            return selected(-1, Py_NewRef(Py_None), false);
        /* fall through */
    case CHAN_TIMEOUT:
        return raise_timeout("select timed out: no case was ready");
    case CHAN_NO_MEMORY:
        return PyErr_NoMemory();
    default:
        interrupt_raise();
        return NULL;
    }
}

static PyObject *select_with(struct selecting *s) {
    if (fill(s) < 0)
        return NULL;
    int64_t deadline = s->has_default ? CHAN_POLL : s->deadline;
    struct select_outcome out = select_go(s->cases, (uint32_t)s->n, s->order, deadline);
    bool sent = out.result == CHAN_OK && s->cases[out.index].dir == SELECT_SEND;
    PyObject *result = outcome(s, out);
    /* Last: a finalizer may wait, and would meet what is meant for this wait. */
    drop_unsent(s, s->n, sent ? (Py_ssize_t)out.index : -1);
    return result;
}

static PyObject *select_many(struct selecting *s) {
    size_t n = (size_t)s->n;
    s->cases = PyMem_Malloc(n * (sizeof *s->cases + 2 * sizeof *s->order));
    if (!s->cases)
        return PyErr_NoMemory();
    s->order = (uint32_t *)(s->cases + n);
    PyObject *result = select_with(s);
    PyMem_Free(s->cases);
    return result;
}

static PyObject *select_few(struct selecting *s) {
    struct select_case cases[FEW_CASES];
    uint32_t order[2 * FEW_CASES];
    s->cases = cases;
    s->order = order;
    return select_with(s);
}

PyObject *py_select(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    (void)module;
    struct selecting s = {.n = nargs, .args = args, .deadline = NOTE_FOREVER};
    if (mark_used(&s) < 0 || check_values(&s) < 0 || (kwnames && parse_keywords(&s, kwnames) < 0) ||
        interrupt_check() < 0)
        return NULL;
    return nargs <= FEW_CASES ? select_few(&s) : select_many(&s);
}

int select_types_init(PyObject *module) { return PyModule_AddType(module, &Case_Type); }
