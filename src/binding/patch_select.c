/* patch.select(): select.select, poll and epoll, and with them selectors and asyncio.
 *
 * Each call is the built-in's own with a timeout of 0, again and again: it checks the arguments and makes
 * the results. In between the goroutine waits. An epoll object's own descriptor is one to wait for. What
 * select and poll are given is put, unless it is a single descriptor, into an epoll instance that lives as
 * long as the call, and that one's descriptor is waited for.
 *
 * All here is guarded by the GIL. */
#include "patch.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S INT64_C(1000000000)
#define MOST (INT64_C(9000000000) * NS_PER_S) /* that the clock has room for */
#define MOST_POLL (INT_MAX * NS_PER_MS)       /* that poll(2) has room for */

static PyObject *zero; /* the timeout of the built-in */

/* errno is read in these alone: after a park the thread, and with it errno's address, may be another. */
#define NOINLINE __attribute__((noinline))

/* ---- several descriptors at once ---- */

struct watch {
    int ep;     /* -1: none yet */
    int closed; /* -1, or an eventfd: one of fds was closed meanwhile */
    struct pollfd *fds;
    nfds_t n;
    struct watch *prev, *next; /* while its goroutine is parked in ep */
};

static struct watch *watches;

static NOINLINE int control(int ep, int op, int fd, uint32_t events) {
    /* Edge-triggered: a state which the built-in does not report (a hang-up, to select() for writing) wakes
     * once, not for ever. See drain(). */
    struct epoll_event ev = {.events = events | EPOLLET, .data.fd = fd};
    return epoll_ctl(ep, op, fd, &ev) == 0 ? 0 : errno;
}

static NOINLINE int open_epoll(int *ep) {
    *ep = epoll_create1(EPOLL_CLOEXEC);
    return *ep < 0 ? errno : 0;
}

/* The same one is among them before i: asked for reading and for writing. */
static int merge(struct watch *w, nfds_t i) {
    for (nfds_t k = 0; k < i; k++)
        if (w->fds[k].fd == w->fds[i].fd)
            w->fds[i].events |= w->fds[k].events;
    return control(w->ep, EPOLL_CTL_MOD, w->fds[i].fd, (uint16_t)w->fds[i].events);
}

static int fill(struct watch *w) {
    int err = open_epoll(&w->ep);
    for (nfds_t i = 0; !err && i < w->n; i++) {
        err = control(w->ep, EPOLL_CTL_ADD, w->fds[i].fd, (uint16_t)w->fds[i].events);
        if (err == EEXIST)
            err = merge(w, i);
        if (err == EPERM) /* always ready for what files can be ready for */
            err = 0;
    }
    return err;
}

/* Forgets what has been told: what comes from now on is told anew. */
static NOINLINE void drain(struct watch *w) {
    struct epoll_event events[64];
    while (epoll_wait(w->ep, events, 64, 0) == 64)
        ;
}

static int wait_in(struct watch *w, int64_t deadline) {
    w->prev = NULL;
    w->next = watches;
    if (watches)
        watches->prev = w;
    watches = w;
    int err = netpoll_wait(w->ep, NETPOLL_READ, deadline);
    *(w->prev ? &w->prev->next : &watches) = w->next;
    if (w->next)
        w->next->prev = w->prev;
    if (w->closed >= 0)
        return EBADF;
    drain(w);
    return err;
}

/* Whether the number is still that of the file which w watches. One that was closed may have been given to
 * another file, which somebody watches by now. */
static bool still_watches(struct watch *w, int fd) {
    int err = control(w->ep, EPOLL_CTL_ADD, fd, 0);
    if (!err)
        control(w->ep, EPOLL_CTL_DEL, fd, 0);
    return err == EEXIST;
}

static void wake_if_watching(struct watch *w, int fd) {
    for (nfds_t i = 0; w->closed < 0 && i < w->n; i++)
        if (w->fds[i].fd == fd && !still_watches(w, fd) &&
            (w->closed = eventfd(1, EFD_CLOEXEC)) >= 0)
            control(w->ep, EPOLL_CTL_ADD, w->closed, EPOLLIN);
}

void patch_closed(int fd) {
    netpoll_close(fd);
    for (struct watch *w = watches; w; w = w->next)
        wake_if_watching(w, fd);
}

PyObject *patch_close(struct patch *p, int fd, PyObject *self, PyObject *const *args,
                      Py_ssize_t nargs, PyObject *kwnames) {
    PyObject *result = patch_call(p, self, args, nargs, kwnames);
    patch_closed(fd);
    return result;
}

void patch_selects_fork_child(void) { watches = NULL; }

static void unwatch(struct watch *w) {
    if (w->ep >= 0)
        close(w->ep);
    if (w->closed >= 0)
        close(w->closed);
    free(w->fds);
}

/* Whether one descriptor, and for one thing: that is waited for by itself. */
static bool is_single(const struct watch *w) {
    return w->n == 1 && (w->fds[0].events == POLLIN || w->fds[0].events == POLLOUT);
}

/* 0: look again; else as netpoll_wait(), or another errno: it cannot be waited for here. */
static int wait_watching(struct watch *w, bool first, int64_t deadline) {
    if (first && is_single(w))
        return netpoll_wait(w->fds[0].fd, w->fds[0].events == POLLIN ? NETPOLL_READ : NETPOLL_WRITE,
                            deadline);
    if (w->ep >= 0)
        return wait_in(w, deadline);
    int err = fill(w);
    if (err == EBADF)
        return 0; /* closed this instant: the built-in says so */
    return err ? err : wait_in(w, deadline);
}

/* ---- a call ---- */

struct call {
    struct patch *p;
    PyObject *self;
    PyObject *const *args; /* with a timeout of 0 */
    Py_ssize_t nargs;
    bool (*any)(PyObject *result);
    /* Before the first wait; -1 with an exception. */
    int (*collect)(struct call *c);
    struct watch watch;
    int64_t deadline;
};

/* NULL: look again, an exception, or (*native) to be left to the built-in. */
static void wait_once(struct call *c, bool first, bool *over, bool *native) {
    if (first && c->collect(c) < 0)
        return;
    int err = wait_watching(&c->watch, first, c->deadline);
    if (err == ETIMEDOUT)
        *over = true;
    else if (err == EINTR || err == EBADF)
        patch_raise_wait(err, "");
    else
        *native = err != 0;
}

/* *native: it could not be waited for here. */
static PyObject *look_and_wait(struct call *c, bool *native) {
    bool over = c->deadline == CHAN_POLL;
    for (bool first = true;; first = false) {
        PyObject *result = patch_call(c->p, c->self, c->args, c->nargs, NULL);
        if (!result || over || c->any(result))
            return result;
        Py_DECREF(result);
        wait_once(c, first, &over, native);
        if (*native || PyErr_Occurred())
            return NULL;
    }
}

/* ---- timeouts ---- */

enum negative { IS_WRONG, IS_FOREVER };

/* timeout: in units of that many ns. False: the built-in is to deal with it, being wrong or above `most`
 * ns. */
static bool deadline_after(PyObject *timeout, int64_t unit, int64_t most, enum negative negative,
                           int64_t *deadline) {
    *deadline = NOTE_FOREVER;
    if (!timeout || timeout == Py_None)
        return true;
    if (!PyFloat_Check(timeout) && !PyLong_Check(timeout))
        return false;
    double t = PyFloat_AsDouble(timeout);
    if (t == -1 && PyErr_Occurred()) {
        PyErr_Clear();
        return false;
    }
    if (t < 0)
        return negative == IS_FOREVER && t * (double)unit > (double)-MOST;
    if (!(t * (double)unit <= (double)most))
        return false;
    int64_t ns = (int64_t)ceil(t * (double)unit);
    *deadline = ns ? timer_after(rt_now(), ns) : CHAN_POLL;
    return true;
}

static bool list_any(PyObject *result) {
    return !PyList_Check(result) || PyList_GET_SIZE(result) > 0;
}

/* ---- select.select ---- */

static bool lists_any(PyObject *result) {
    bool any = !PyTuple_Check(result);
    for (Py_ssize_t i = 0; !any && i < PyTuple_GET_SIZE(result); i++)
        any = list_any(PyTuple_GET_ITEM(result, i));
    return any;
}

static int allocate(struct watch *w, Py_ssize_t n) {
    w->fds = malloc((size_t)(n ? n : 1) * sizeof *w->fds);
    if (!w->fds)
        PyErr_NoMemory();
    return w->fds ? 0 : -1;
}

static int collect_lists(struct call *c) {
    static const short events[] = {POLLIN, POLLOUT, POLLPRI};
    Py_ssize_t n = 0;
    for (int k = 0; k < 3; k++)
        n += PyList_GET_SIZE(c->args[k]);
    if (allocate(&c->watch, n) < 0)
        return -1;
    for (int k = 0; k < 3; k++)
        for (Py_ssize_t i = 0; i < PyList_GET_SIZE(c->args[k]); i++) {
            int fd = PyObject_AsFileDescriptor(PyList_GET_ITEM(c->args[k], i));
            if (fd < 0)
                return -1;
            c->watch.fds[c->watch.n++] = (struct pollfd){.fd = fd, .events = events[k]};
        }
    return 0;
}

static PyObject *select_lists(struct patch *p, PyObject *self, PyObject *const *lists,
                              PyObject *timeout, int64_t deadline) {
    PyObject *now[] = {lists[0], lists[1], lists[2], zero};
    struct call c = {.p = p,
                     .self = self,
                     .args = now,
                     .nargs = 4,
                     .any = lists_any,
                     .collect = collect_lists,
                     .watch = {.ep = -1, .closed = -1},
                     .deadline = deadline};
    bool native = false;
    PyObject *result = look_and_wait(&c, &native);
    unwatch(&c.watch);
    if (!native)
        return result;
    PyObject *all[] = {lists[0], lists[1], lists[2], timeout};
    return patch_call(p, self, all, timeout ? 4 : 3, NULL);
}

PATCH_BODY(select_body) {
    PyObject *lists[3] = {NULL}, *result = NULL;
    PyObject *timeout = nargs == 4 ? args[3] : NULL;
    int64_t deadline;
    if (interrupt_check() < 0)
        return NULL;
    if (nargs < 3 || nargs > 4 || (kwnames && PyTuple_GET_SIZE(kwnames)) ||
        !deadline_after(timeout, NS_PER_S, MOST, IS_WRONG, &deadline))
        return patch_call(p, self, args, nargs, kwnames);
    int k = 0;
    while (k < 3 && (lists[k] = PySequence_List(args[k])))
        k++; /* read once: they may be iterators */
    if (k == 3)
        result = select_lists(p, self, lists, timeout, deadline);
    else if (PyErr_ExceptionMatches(PyExc_TypeError))
        PyErr_SetString(PyExc_TypeError, "arguments 1-3 must be sequences");
    for (k = 0; k < 3; k++)
        Py_XDECREF(lists[k]);
    return result;
}

PATCH(select_select, "select", NULL, "select", select_body, IN_GOROUTINES)

/* ---- poll ---- */

#define POLL_DICT_OFFSET ((Py_ssize_t)sizeof(PyObject)) /* {fd: events} */

static PyObject *registered(PyObject *poll) {
    return *(PyObject **)((char *)poll + POLL_DICT_OFFSET);
}

static int collect_registered(struct call *c) {
    PyObject *key, *value, *dict = registered(c->self);
    Py_ssize_t pos = 0;
    if (allocate(&c->watch, PyDict_GET_SIZE(dict)) < 0)
        return -1;
    while (PyDict_Next(dict, &pos, &key, &value)) {
        long fd = PyLong_AsLong(key), events = PyLong_AsLong(value);
        c->watch.fds[c->watch.n++] = (struct pollfd){.fd = (int)fd, .events = (short)events};
    }
    return PyErr_Occurred() ? -1 : 0;
}

PATCH_BODY(poll_body) {
    int64_t deadline;
    if (interrupt_check() < 0)
        return NULL;
    if (nargs > 1 || (kwnames && PyTuple_GET_SIZE(kwnames)) ||
        !deadline_after(nargs ? args[0] : NULL, NS_PER_MS, MOST_POLL, IS_FOREVER, &deadline))
        return patch_call(p, self, args, nargs, kwnames);
    struct call c = {.p = p,
                     .self = self,
                     .args = &zero,
                     .nargs = 1,
                     .any = list_any,
                     .collect = collect_registered,
                     .watch = {.ep = -1, .closed = -1},
                     .deadline = deadline};
    bool native = false;
    PyObject *result = look_and_wait(&c, &native);
    unwatch(&c.watch);
    return native ? patch_call(p, self, args, nargs, kwnames) : result;
}

PATCH(poll_poll, "select", "poll", "poll", poll_body, IN_GOROUTINES)

/* ---- epoll ---- */

#define EPOLL_FD_OFFSET ((Py_ssize_t)sizeof(PyObject)) /* int; -1: closed */

static int fd_of(PyObject *epoll) { return *(int *)((char *)epoll + EPOLL_FD_OFFSET); }

static int collect_itself(struct call *c) {
    if (allocate(&c->watch, 1) < 0)
        return -1;
    c->watch.fds[c->watch.n++] = (struct pollfd){.fd = fd_of(c->self), .events = POLLIN};
    return 0;
}

PATCH_BODY(epoll_body) {
    static const char *const names[] = {"timeout", "maxevents"};
    PyObject *values[2] = {NULL, NULL};
    int64_t deadline;
    if (interrupt_check() < 0)
        return NULL;
    if (!patch_arguments(names, 2, values, args, nargs, kwnames) ||
        !deadline_after(values[0], NS_PER_S, MOST_POLL, IS_FOREVER, &deadline))
        return patch_call(p, self, args, nargs, kwnames);
    PyObject *now[] = {zero, values[1]};
    struct call c = {.p = p,
                     .self = self,
                     .args = now,
                     .nargs = values[1] ? 2 : 1,
                     .any = list_any,
                     .collect = collect_itself,
                     .watch = {.ep = -1, .closed = -1},
                     .deadline = deadline};
    bool native = false;
    PyObject *result = look_and_wait(&c, &native);
    unwatch(&c.watch);
    return native ? patch_call(p, self, args, nargs, kwnames) : result;
}

PATCH_BODY(epoll_close_body) { return patch_close(p, fd_of(self), self, args, nargs, kwnames); }

PATCH(epoll_poll, "select", "epoll", "poll", epoll_body, IN_GOROUTINES)
PATCH(epoll_close, "select", "epoll", "close", epoll_close_body, EVERYWHERE)

struct patch *const patch_selects[] = {
    &select_select, &poll_poll, &epoll_poll, &epoll_close, NULL,
};

/* ---- installing ---- */

static int check_poll(void) {
    PyObject *poll = PyObject_CallMethod(PyImport_AddModule("select"), "poll", NULL);
    PyObject *done = poll ? PyObject_CallMethod(poll, "register", "ii", 0, POLLPRI) : NULL;
    bool ok = done && registered(poll) && PyDict_CheckExact(registered(poll)) &&
              PyDict_GET_SIZE(registered(poll)) == 1;
    Py_XDECREF(done);
    Py_XDECREF(poll);
    return ok ? 0 : -1;
}

static int check_epoll(void) {
    PyObject *epoll = PyObject_CallNoArgs((PyObject *)epoll_poll.type_object);
    PyObject *fd = epoll ? PyObject_CallMethod(epoll, "fileno", NULL) : NULL;
    bool ok = fd && PyLong_AsLong(fd) == fd_of(epoll);
    Py_XDECREF(fd);
    Py_XDECREF(epoll);
    return ok ? 0 : -1;
}

int patch_selects_install(void) {
    if (!zero && !(zero = PyLong_FromLong(0)))
        return -1;
    if (check_poll() == 0 && check_epoll() == 0)
        return 0;
    if (!PyErr_Occurred())
        PyErr_SetString(PyExc_RuntimeError, "goroutines: select cannot be patched on this Python");
    return -1;
}
