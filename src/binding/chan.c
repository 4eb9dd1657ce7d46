/* Chan, SendChan and RecvChan. */
#include "binding.h"

#include <string.h>

/* ---- element types ---- */

/* object, or a class: no helper needed. Everything else is worked out by goroutines._elem. */
static int set_elem(ChanObject *c, PyObject *elem) {
    c->elem = Py_NewRef(elem);
    if (elem == (PyObject *)&PyBaseObject_Type)
        return 0;
    PyObject *checker = helper("goroutines._elem", "checker");
    c->check = checker ? PyObject_CallOneArg(checker, elem) : NULL;
    if (!c->check)
        return -1;
    if (c->check == (PyObject *)&PyBaseObject_Type)
        Py_CLEAR(c->check);
    return 0;
}

static PyObject *elem_name(PyObject *elem) {
    return PyType_Check(elem) ? PyUnicode_FromString(((PyTypeObject *)elem)->tp_name)
                              : PyObject_Repr(elem);
}

static void wrong_type(ChanObject *c, PyObject *value) {
    PyObject *name = elem_name(c->elem);
    if (name)
        PyErr_Format(PyExc_TypeError, "this channel carries %U, not %s: %.200R", name,
                     Py_TYPE(value)->tp_name, value);
    Py_XDECREF(name);
}

int chan_check_value(ChanObject *c, PyObject *value) {
    if (!c->check || (PyObject *)Py_TYPE(value) == c->check)
        return 0;
    int is = PyObject_IsInstance(value, c->check);
    if (is == 0)
        wrong_type(c, value);
    return is > 0 ? 0 : -1;
}

PyObject *chan_outgoing(ChanObject *c, PyObject *value) {
    if (!c->by_value)
        return Py_NewRef(value);
    PyObject *copy = helper("goroutines._copy", "by_value");
    return copy ? PyObject_CallOneArg(copy, value) : NULL;
}

PyObject *chan_incoming(void *word) { return is_tick(word) ? tick_to_float(word) : word; }

/* ---- views ---- */

typedef struct {
    PyObject_HEAD
    ChanObject *chan;
    PyObject *weakrefs;
} ViewObject;

static PyObject *view_new(PyTypeObject *type, ChanObject *c) {
    ViewObject *v = (ViewObject *)type->tp_alloc(type, 0);
    if (v)
        v->chan = (ChanObject *)Py_NewRef((PyObject *)c);
    return (PyObject *)v;
}

PyObject *chan_receiver(ChanObject *c) { return view_new(&RecvChan_Type, c); }

/* self of a method that Chan shares with its views. */
static ChanObject *chan_of(PyObject *self) {
    return Py_TYPE(self) == &SendChan_Type || Py_TYPE(self) == &RecvChan_Type
               ? ((ViewObject *)self)->chan
               : (ChanObject *)self;
}

static ChanObject *chan_for(PyObject *o, PyTypeObject *view, PyTypeObject *other, const char *to) {
    if (Py_TYPE(o) == &Chan_Type || Py_TYPE(o) == view)
        return chan_of(o);
    if (Py_TYPE(o) == other)
        PyErr_Format(PyExc_TypeError, "a %s cannot be used to %s: pass the channel or its %s",
                     other->tp_name, to, view == &SendChan_Type ? ".sender" : ".receiver");
    else
        PyErr_Format(PyExc_TypeError, "a channel is needed to %s, not %s", to, Py_TYPE(o)->tp_name);
    return NULL;
}

ChanObject *chan_for_send(PyObject *o) {
    return chan_for(o, &SendChan_Type, &RecvChan_Type, "send");
}

ChanObject *chan_for_recv(PyObject *o) {
    return chan_for(o, &RecvChan_Type, &SendChan_Type, "receive");
}

/* ---- arguments ---- */

static int too_many(const char *name, Py_ssize_t npos, Py_ssize_t nargs) {
    PyErr_Format(PyExc_TypeError, "%s() takes %zd positional argument%s (%zd given)%s", name, npos,
                 npos == 1 ? "" : "s", nargs,
                 nargs == npos + 1 ? "; a timeout is given as timeout=" : "");
    return -1;
}

static bool named(PyObject *key, const char *name) {
    return PyUnicode_CompareWithASCIIString(key, name) == 0;
}

/* f(value, *, timeout=None), or f(*, timeout=None) if value is NULL: borrowed. */
static int value_and_timeout(const char *name, PyObject *const *args, Py_ssize_t nargs,
                             PyObject *kwnames, PyObject **value, PyObject **timeout) {
    Py_ssize_t nkw = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
    if (nargs > (value ? 1 : 0))
        return too_many(name, value ? 1 : 0, nargs);
    if (nargs)
        *value = args[0];
    for (Py_ssize_t i = 0; i < nkw; i++) {
        PyObject *key = PyTuple_GET_ITEM(kwnames, i);
        if (named(key, "timeout")) {
            *timeout = args[nargs + i];
        } else if (value && named(key, "value") && !nargs) {
            *value = args[nargs + i];
        } else {
            bool twice = value && named(key, "value");
            PyErr_Format(PyExc_TypeError, "%s() got %s argument '%U'", name,
                         twice ? "multiple values for" : "an unexpected keyword", key);
            return -1;
        }
    }
    if (value && !*value) {
        PyErr_Format(PyExc_TypeError, "%s() missing 1 required argument: 'value'", name);
        return -1;
    }
    return 0;
}

/* ---- send ---- */

static PyObject *raise_unsent(ChanObject *c, enum chan_result r) {
    switch (r) {
    case CHAN_CLOSED:
        return interrupt_after_failure() < 0 ? NULL : raise_closed("send on a closed channel");
    case CHAN_TIMEOUT:
    case CHAN_WOULD_BLOCK:
        return raise_timeout(c->c.cap ? "send timed out: the buffer is full and nobody received"
                                      : "send timed out: nobody was there to receive");
    case CHAN_NO_MEMORY:
        return PyErr_NoMemory();
    default:
        interrupt_raise();
        return NULL;
    }
}

/* The value is dropped when it has been raised what ended the wait: its finalizer may wait as well, and
 * would meet what is meant for this wait. */
static PyObject *sent(ChanObject *c, PyObject *outgoing, enum chan_result r) {
    if (r == CHAN_OK) {
        interrupt_after_success();
        Py_RETURN_NONE;
    }
    raise_unsent(c, r);
    Py_DECREF(outgoing);
    return NULL;
}

static PyObject *do_send(ChanObject *c, PyObject *value, PyObject *timeout) {
    int64_t deadline;
    if (chan_check_value(c, value) < 0 || parse_timeout(timeout, &deadline) < 0 ||
        interrupt_check() < 0)
        return NULL;
    PyObject *outgoing = chan_outgoing(c, value);
    if (!outgoing)
        return NULL;
    if (chan_send_quickly(&c->c, outgoing))
        Py_RETURN_NONE;
    return sent(c, outgoing, chan_send(&c->c, outgoing, deadline));
}

static PyObject *method_send(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                             PyObject *kwnames) {
    PyObject *value = nargs ? args[0] : NULL, *timeout = Py_None;
    if ((nargs != 1 || kwnames) &&
        value_and_timeout("send", args, nargs, kwnames, &value, &timeout) < 0)
        return NULL;
    return do_send(chan_of(self), value, timeout);
}

/* ---- receive ---- */

/* A new reference, or NULL: closed and drained (*closed, no exception) or an exception. */
static PyObject *do_recv(ChanObject *c, PyObject *timeout, bool *closed) {
    int64_t deadline;
    void *word = NULL;
    *closed = false;
    if (parse_timeout(timeout, &deadline) < 0 || interrupt_check() < 0)
        return NULL;
    if (chan_recv_quickly(&c->c, &word))
        return chan_incoming(word);
    switch (chan_recv(&c->c, &word, deadline)) {
    case CHAN_OK:
        interrupt_after_success();
        return chan_incoming(word);
    case CHAN_CLOSED:
        *closed = interrupt_after_failure() == 0;
        return NULL;
    case CHAN_TIMEOUT:
    case CHAN_WOULD_BLOCK:
        return raise_timeout("receive timed out: nothing was sent");
    case CHAN_NO_MEMORY:
        return PyErr_NoMemory();
    default:
        interrupt_raise();
        return NULL;
    }
}

static PyObject *method_recv(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                             PyObject *kwnames) {
    PyObject *timeout = Py_None;
    bool closed;
    if ((nargs || kwnames) && value_and_timeout("recv", args, nargs, kwnames, NULL, &timeout) < 0)
        return NULL;
    PyObject *value = do_recv(chan_of(self), timeout, &closed);
    return closed ? raise_closed("receive from a closed channel (recv_ok() and iteration tell "
                                 "the end without an exception)")
                  : value;
}

static PyObject *method_recv_ok(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                                PyObject *kwnames) {
    PyObject *timeout = Py_None;
    bool closed;
    if ((nargs || kwnames) &&
        value_and_timeout("recv_ok", args, nargs, kwnames, NULL, &timeout) < 0)
        return NULL;
    PyObject *value = do_recv(chan_of(self), timeout, &closed);
    if (!value && !closed)
        return NULL;
    PyObject *pair = PyTuple_New(2);
    if (!pair) {
        Py_XDECREF(value);
        return NULL;
    }
    PyTuple_SET_ITEM(pair, 0, closed ? Py_NewRef(Py_None) : value);
    PyTuple_SET_ITEM(pair, 1, Py_NewRef(closed ? Py_False : Py_True));
    return pair;
}

static PyObject *chan_next(PyObject *self) {
    bool closed;
    return do_recv(chan_of(self), Py_None, &closed);
}

/* ---- the rest ---- */

static PyObject *method_close(PyObject *self, PyObject *unused) {
    (void)unused;
    if (!chan_close(&chan_of(self)->c))
        return raise_closed("close of a closed channel");
    Py_RETURN_NONE;
}

static Py_ssize_t chan_length(PyObject *self) { return (Py_ssize_t)chan_len(&chan_of(self)->c); }

static int chan_true(PyObject *self) {
    (void)self;
    return 1;
}

static PyObject *get_capacity(PyObject *self, void *unused) {
    (void)unused;
    return PyLong_FromSize_t(chan_of(self)->c.cap);
}

static PyObject *get_elem(PyObject *self, void *unused) {
    (void)unused;
    return Py_NewRef(chan_of(self)->elem);
}

static PyObject *get_closed(PyObject *self, void *unused) {
    (void)unused;
    return PyBool_FromLong(chan_is_closed(&chan_of(self)->c));
}

static PyObject *get_sender(PyObject *self, void *unused) {
    (void)unused;
    return view_new(&SendChan_Type, (ChanObject *)self);
}

static PyObject *get_receiver(PyObject *self, void *unused) {
    (void)unused;
    return chan_receiver((ChanObject *)self);
}

static const char *short_name(PyObject *self) {
    const char *dot = strrchr(Py_TYPE(self)->tp_name, '.');
    return dot ? dot + 1 : Py_TYPE(self)->tp_name;
}

static PyObject *chan_repr(PyObject *self) {
    ChanObject *c = chan_of(self);
    PyObject *name = elem_name(c->elem);
    if (!name)
        return NULL;
    PyObject *repr = PyUnicode_FromFormat("<%s[%U] %zd/%zu%s at %p>", short_name(self), name,
                                          chan_length(self), c->c.cap,
                                          chan_is_closed(&c->c) ? " closed" : "", c);
    Py_DECREF(name);
    return repr;
}

static PyObject *refuse_reduce(PyObject *self, PyObject *unused) {
    (void)unused;
    PyErr_Format(PyExc_TypeError,
                 "a %s cannot be pickled or copied: both ends must share the one channel",
                 short_name(self));
    return NULL;
}

/* ---- Chan: life ---- */

static int parse_capacity(PyObject *capacity, size_t *cap) {
    if (!PyIndex_Check(capacity)) {
        PyErr_Format(PyExc_TypeError, "capacity must be an int, not %s",
                     Py_TYPE(capacity)->tp_name);
        return -1;
    }
    PyObject *index = PyNumber_Index(capacity);
    if (!index)
        return -1;
    int overflow;
    long long n = PyLong_AsLongLongAndOverflow(index, &overflow);
    Py_DECREF(index);
    if (overflow < 0 || (n < 0 && !overflow)) {
        PyErr_SetString(PyExc_ValueError, "capacity must not be negative");
        return -1;
    }
    *cap = overflow ? PY_SSIZE_T_MAX : (size_t)n; /* more than there can ever be values */
    return 0;
}

static ChanObject *chan_alloc(PyTypeObject *type, PyObject *elem, size_t cap) {
    ChanObject *c = (ChanObject *)type->tp_alloc(type, 0);
    if (!c)
        return NULL;
    chan_init(&c->c, cap);
    if (set_elem(c, elem) < 0)
        Py_CLEAR(c);
    return c;
}

ChanObject *chan_new(PyObject *elem, size_t cap) { return chan_alloc(&Chan_Type, elem, cap); }

static PyObject *chan_tp_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"elem", "capacity", "by_value", NULL};
    PyObject *elem = (PyObject *)&PyBaseObject_Type, *capacity = NULL;
    int by_value = 0;
    size_t cap = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|OO$p:Chan", names, &elem, &capacity,
                                     &by_value))
        return NULL;
    if (PyLong_Check(elem)) {
        PyErr_Format(PyExc_TypeError,
                     "Chan()'s first argument is the type of the values: for a buffer write "
                     "Chan(capacity=%S)",
                     elem);
        return NULL;
    }
    if (capacity && parse_capacity(capacity, &cap) < 0)
        return NULL;
    ChanObject *c = chan_alloc(type, elem, cap);
    if (c)
        c->by_value = by_value;
    return (PyObject *)c;
}

struct visiting {
    visitproc visit;
    void *arg;
};

static int visit_word(void *word, void *arg) {
    struct visiting *v = arg;
    return is_tick(word) ? 0 : v->visit(word, v->arg);
}

/* The values in the buffer, and those of waiting senders, are references that the channel holds. */
static int chan_traverse(PyObject *self, visitproc visit, void *arg) {
    ChanObject *c = (ChanObject *)self;
    Py_VISIT(c->elem);
    Py_VISIT(c->check);
    Py_VISIT(c->owner);
    struct visiting v = {visit, arg};
    return chan_visit(&c->c, visit_word, &v);
}

/* Only what was put in after the channel was made: that is enough to break a cycle. What the collector
 * has cleared can still be found and used, through gc.get_objects(). For the same reason views, cases and
 * timers, which never change, have no tp_clear. */
static int chan_clear(PyObject *self) {
    ChanObject *c = (ChanObject *)self;
    void *word;
    while (chan_take(&c->c, &word))
        if (!is_tick(word))
            Py_DECREF((PyObject *)word);
    Py_CLEAR(c->owner);
    return 0;
}

static void chan_dealloc(PyObject *self) {
    ChanObject *c = (ChanObject *)self;
    PyObject_GC_UnTrack(self);
    Py_TRASHCAN_BEGIN(self, chan_dealloc);
    if (c->weakrefs)
        PyObject_ClearWeakRefs(self);
    chan_timer_free(c);
    chan_clear(self);
    Py_CLEAR(c->elem);
    Py_CLEAR(c->check);
    chan_destroy(&c->c);
    Py_TYPE(self)->tp_free(self);
    Py_TRASHCAN_END;
}

/* ---- views: life ---- */

static int view_traverse(PyObject *self, visitproc visit, void *arg) {
    Py_VISIT(((ViewObject *)self)->chan);
    return 0;
}

static void view_dealloc(PyObject *self) {
    PyObject_GC_UnTrack(self);
    Py_TRASHCAN_BEGIN(self, view_dealloc);
    if (((ViewObject *)self)->weakrefs)
        PyObject_ClearWeakRefs(self);
    Py_CLEAR(((ViewObject *)self)->chan);
    Py_TYPE(self)->tp_free(self);
    Py_TRASHCAN_END;
}

static PyObject *view_compare(PyObject *a, PyObject *b, int op) {
    if (Py_TYPE(a) != Py_TYPE(b) || (op != Py_EQ && op != Py_NE))
        Py_RETURN_NOTIMPLEMENTED;
    return PyBool_FromLong((chan_of(a) == chan_of(b)) == (op == Py_EQ));
}

static Py_hash_t view_hash(PyObject *self) {
    Py_hash_t h = (Py_hash_t)((uintptr_t)chan_of(self) >> 4);
    return h == -1 ? -2 : h;
}

/* ---- types ---- */

/* Lists of initializers, which clang-format takes for blocks of statements. */
/* clang-format off */
#define SEND_METHOD                                                                                \
    {"send", FN(method_send), FAST,                                                                \
     PyDoc_STR("send($self, /, value, *, timeout=None)\n--\n\n"                                    \
               "Send value. Unbuffered: returns once a receiver has it; buffered: once it is in "  \
               "the buffer.\n\nRaises TypeError if value is not of the channel's elem, "           \
               "ChannelClosed if the channel is closed, before\nor while waiting, TimeoutError "   \
               "after timeout seconds (nothing was sent then).")},                                 \
    {"close", method_close, METH_NOARGS,                                                           \
     PyDoc_STR("close($self, /)\n--\n\nNo more values will be sent: wakes everybody who "          \
               "waits. Closing twice raises ChannelClosed.")}
#define RECV_METHODS                                                                               \
    {"recv", FN(method_recv), FAST,                                                                \
     PyDoc_STR("recv($self, /, *, timeout=None)\n--\n\nThe next value, in the order they were "    \
               "sent.\n\nRaises ChannelClosed once the channel is closed and drained, "            \
               "TimeoutError after timeout seconds.")},                                            \
    {"recv_ok", FN(method_recv_ok), FAST,                                                          \
     PyDoc_STR("recv_ok($self, /, *, timeout=None)\n--\n\n(value, True), or (None, False) "        \
               "once the channel is closed and drained.\n\nRaises TimeoutError after "             \
               "timeout seconds.")}
#define COMMON_METHODS                                                                             \
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS,                                    \
     PyDoc_STR("__class_getitem__($type, item, /)\n--\n\nChan[int]")},                             \
    {"__reduce_ex__", refuse_reduce, METH_O, NULL},                                                \
    {"__reduce__", refuse_reduce, METH_NOARGS, NULL},                                              \
    {"__copy__", refuse_reduce, METH_NOARGS, NULL},                                                \
    {"__deepcopy__", refuse_reduce, METH_O, NULL}
#define COMMON_GETTERS                                                                             \
    {"capacity", get_capacity, NULL, PyDoc_STR("How many values the buffer holds."), NULL},        \
    {"elem", get_elem, NULL, PyDoc_STR("The type of the values, as given."), NULL},                \
    {"closed", get_closed, NULL, PyDoc_STR("Whether close() was called."), NULL}
/* clang-format on */

static PyMethodDef chan_methods[] = {SEND_METHOD, RECV_METHODS, COMMON_METHODS, {0}};
static PyMethodDef sender_methods[] = {SEND_METHOD, COMMON_METHODS, {0}};
static PyMethodDef receiver_methods[] = {RECV_METHODS, COMMON_METHODS, {0}};

static PyGetSetDef chan_getters[] = {
    COMMON_GETTERS,
    {"sender", get_sender, NULL, PyDoc_STR("A SendChan: this channel for sending only."), NULL},
    {"receiver", get_receiver, NULL, PyDoc_STR("A RecvChan: this channel for receiving only."),
     NULL},
    {0},
};
static PyGetSetDef view_getters[] = {COMMON_GETTERS, {0}};

static PyNumberMethods as_number = {.nb_bool = chan_true};
static PySequenceMethods as_sequence = {.sq_length = chan_length};

PyTypeObject Chan_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "goroutines.Chan",
    /* Its signature: goroutines._signature. */
    .tp_doc = PyDoc_STR(
        "A channel of values of type elem, as in Go: communication that synchronises.\n\n"
        "capacity: how many values it buffers; 0: each send waits for its receiver. by_value: the "
        "receiver gets a deep copy.\nhttps://go.dev/ref/spec#Channel_types"),
    .tp_basicsize = sizeof(ChanObject),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_new = chan_tp_new,
    .tp_dealloc = chan_dealloc,
    .tp_traverse = chan_traverse,
    .tp_clear = chan_clear,
    .tp_weaklistoffset = offsetof(ChanObject, weakrefs),
    .tp_repr = chan_repr,
    .tp_as_number = &as_number,
    .tp_as_sequence = &as_sequence,
    .tp_iter = PyObject_SelfIter,
    .tp_iternext = chan_next,
    .tp_methods = chan_methods,
    .tp_getset = chan_getters,
};

#define VIEW(NAME, DOC, METHODS, ITER, NEXT)                                                       \
    {                                                                                              \
        PyVarObject_HEAD_INIT(NULL, 0).tp_name = "goroutines." NAME,                               \
        .tp_doc = PyDoc_STR(DOC),                                                                  \
        .tp_basicsize = sizeof(ViewObject),                                                        \
        .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,   \
        .tp_dealloc = view_dealloc,                                                                \
        .tp_traverse = view_traverse,                                                              \
        .tp_weaklistoffset = offsetof(ViewObject, weakrefs),                                       \
        .tp_repr = chan_repr,                                                                      \
        .tp_as_number = &as_number,                                                                \
        .tp_as_sequence = &as_sequence,                                                            \
        .tp_richcompare = view_compare,                                                            \
        .tp_hash = view_hash,                                                                      \
        .tp_iter = ITER,                                                                           \
        .tp_iternext = NEXT,                                                                       \
        .tp_methods = METHODS,                                                                     \
        .tp_getset = view_getters,                                                                 \
    }

PyTypeObject SendChan_Type = VIEW("SendChan", "A channel for sending only: Chan.sender.",
                                  sender_methods, NULL, NULL);
PyTypeObject RecvChan_Type = VIEW("RecvChan", "A channel for receiving only: Chan.receiver.",
                                  receiver_methods, PyObject_SelfIter, chan_next);

/* (chan, owner): the owner lives as long as the channel; None: no longer. */
static PyObject *chan_keep(PyObject *module, PyObject *args) {
    (void)module;
    ChanObject *c;
    PyObject *owner;
    if (!PyArg_ParseTuple(args, "O!O", &Chan_Type, &c, &owner))
        return NULL;
    Py_XSETREF(c->owner, owner == Py_None ? NULL : Py_NewRef(owner));
    Py_RETURN_NONE;
}

/* What inspect.signature(Chan) is to find: a text of ours cannot have a class as a default. */
static PyObject *chan_signature(PyObject *module, PyObject *descriptor) {
    (void)module;
    if (PyDict_SetItemString(Chan_Type.tp_dict, "__signature__", descriptor) < 0)
        return NULL;
    PyType_Modified(&Chan_Type);
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"_chan_keep", chan_keep, METH_VARARGS, NULL},
    {"_chan_signature", chan_signature, METH_O, NULL},
    {0},
};

int chan_types_init(PyObject *module) {
    PyTypeObject *types[] = {&Chan_Type, &SendChan_Type, &RecvChan_Type};
    for (size_t i = 0; i < 3; i++)
        if (PyModule_AddType(module, types[i]) < 0)
            return -1;
    return PyModule_AddFunctions(module, functions);
}
