/* patch.ssl(): TLS over a socket waits on the poller. (TLS over MemoryBIOs never blocks.)
 *
 * OpenSSL reads and writes the descriptor by itself. Reading, it may have to wait though something can be
 * read: for the rest of a record, or because what came was not data (session tickets). So the built-in
 * is called as on a socket that does not block: its socket's timeout is zero for that moment, and the
 * kernel's receive or send timeout too, and it raises SSLWantReadError or SSLWantWriteError. The
 * descriptor's mode is not touched. No other goroutine is in OpenSSL for this connection meanwhile (up to
 * 3.12 nothing else sees to that, and it would corrupt the connection): it takes microseconds.
 *
 * Writing, it is given a record at a time, when the descriptor can be written to. A record for which there
 * is not enough room is given again, later. Others may read in between, but not write: OpenSSL wants the
 * same record again. */
#include "patch.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define RECORD 16384 /* the most bytes of data in one */
#define PAUSE_US 50
#define WRITE_TIMED_OUT "The write operation timed out"

static PyObject *want_read, *want_write; /* the exceptions */

/* Below an SSLSocket; a new reference. NULL: there is none, as on an SSLObject. */
static PyObject *socket_of(PyObject *self) {
    PyObject *owner = PyObject_GetAttrString(self, "owner");
    if (!owner)
        PyErr_Clear();
    else if (!patch_is_socket(owner))
        Py_CLEAR(owner);
    return owner;
}

/* ---- one at a time; all is guarded by the GIL ---- */

struct visit {
    struct inside in; /* first; key: the socket */
    int64_t timeout;  /* its own */
};
static struct inside *visits;  /* in OpenSSL */
static struct inside *writers; /* goroutines whose record is not yet written */

void patch_ssl_fork_child(void) {
    for (struct inside *i = visits; i; i = i->next)
        *patch_socket_timeout(i->key) = ((struct visit *)i)->timeout;
    visits = writers = NULL;
}

/* What the user has set: a visitor's is for that moment only. */
static int64_t own_timeout(PyObject *sock) {
    for (struct inside *i = visits; i; i = i->next)
        if (i->key == sock)
            return ((struct visit *)i)->timeout;
    return *patch_socket_timeout(sock);
}

static int64_t deadline_of(PyObject *sock) { return patch_deadline(own_timeout(sock)); }

static void pause_thread(void) {
    Py_BEGIN_ALLOW_THREADS
    usleep(PAUSE_US);
    Py_END_ALLOW_THREADS
}

/* -1 with an exception. */
static int wait_until_alone(PyObject *sock) {
    while (inside_any(visits, sock)) {
        if (!patch_in_goroutine()) {
            pause_thread();
        } else if (sched_sleep(timer_after(rt_now(), PAUSE_US * 1000)) == WAKE_INTERRUPT) {
            interrupt_raise();
            return -1;
        }
    }
    return 0;
}

/* -1 with an exception. */
static int enter(struct visit *me, PyObject *sock) {
    if (wait_until_alone(sock) < 0)
        return -1;
    me->timeout = *patch_socket_timeout(sock);
    inside_enter(&visits, &me->in, sock);
    return 0;
}

static void leave(struct visit *me) { inside_leave(&visits, &me->in); }

/* ---- calls ---- */

struct call {
    struct patch *p;
    PyObject *self, *const *args;
    Py_ssize_t nargs;
    PyObject *kwnames, *sock;
    int kernel_timeout; /* SO_RCVTIMEO or SO_SNDTIMEO */
};

static PyObject *call_now(struct call *c) {
    return patch_call(c->p, c->self, c->args, c->nargs, c->kwnames);
}

/* By somebody who is no goroutine, on a socket that blocks, too: he is not to keep others out. */
static PyObject *as_built_in(struct call *c) {
    struct visit me;
    if (!c->sock)
        return call_now(c);
    if (enter(&me, c->sock) < 0)
        return NULL;
    if (me.timeout != 0)
        leave(&me);
    PyObject *result = call_now(c);
    if (me.timeout == 0)
        leave(&me);
    return result;
}

/* As on a socket with that timeout in ns. */
static PyObject *call_with_timeout(struct call *c, int64_t for_now) {
    struct visit me;
    if (enter(&me, c->sock) < 0)
        return NULL;
    int fd = *patch_socket_fd(c->sock);
    int64_t *timeout = patch_socket_timeout(c->sock);
    struct timeval before;
    bool set = me.timeout < 0 &&
               patch_set_kernel_timeout(fd, c->kernel_timeout, &patch_no_kernel_timeout, &before);
    *timeout = for_now;
    PyObject *result = call_now(c);
    if (*timeout == for_now)
        *timeout = me.timeout;
    if (set && *patch_socket_fd(c->sock) == fd)
        patch_set_kernel_timeout(fd, c->kernel_timeout, &before, NULL);
    leave(&me);
    return result;
}

/* What the built-in waits for; false: it has failed otherwise. */
static bool wanted(enum netpoll_mode *mode) {
    bool reads = PyErr_ExceptionMatches(want_read);
    *mode = reads ? NETPOLL_READ : NETPOLL_WRITE;
    if (!reads && !PyErr_ExceptionMatches(want_write))
        return false;
    PyErr_Clear();
    return true;
}

static PyObject *until_done(struct call *c, int64_t deadline) {
    for (;;) {
        enum netpoll_mode mode;
        PyObject *result = call_with_timeout(c, 0);
        if (result || !wanted(&mode))
            return result;
        int err = patch_wait(*patch_socket_fd(c->sock), mode, deadline);
        if (err == ETIMEDOUT) /* so that it says so in its own words */
            return call_with_timeout(c, 1);
        if (err)
            return patch_raise_wait(err, "");
    }
}

/* Whether a goroutine has to wait for it. */
static bool waits(struct call *c) {
    return c->sock && patch_in_goroutine() && own_timeout(c->sock) != 0 &&
           *patch_socket_fd(c->sock) >= 0;
}

#define CALL_OF_ARGS                                                                               \
    {.p = p,                                                                                       \
     .self = self,                                                                                 \
     .args = args,                                                                                 \
     .nargs = nargs,                                                                               \
     .kwnames = kwnames,                                                                           \
     .kernel_timeout = SO_RCVTIMEO,                                                                \
     .sock = socket_of(self)}

static PyObject *any_body(struct patch *p, PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                          PyObject *kwnames) {
    struct call c = CALL_OF_ARGS;
    PyObject *result = NULL;
    if (!waits(&c))
        result = as_built_in(&c);
    else if (interrupt_check() == 0)
        result = until_done(&c, deadline_of(c.sock));
    Py_XDECREF(c.sock);
    return result;
}

/* ---- read: mostly there is nothing yet ---- */

/* -1 with an exception. */
static int anything_pending(struct call *c) {
    struct visit me;
    if (enter(&me, c->sock) < 0)
        return -1;
    PyObject *n = PyObject_CallMethod(c->self, "pending", NULL);
    leave(&me);
    int yes = !n || PyLong_AsLong(n) != 0;
    PyErr_Clear();
    Py_XDECREF(n);
    return yes;
}

/* 0 or why not. */
static int look_and_wait(struct call *c, enum netpoll_mode mode, int64_t deadline) {
    int fd = *patch_socket_fd(c->sock);
    int err = fd < 0 ? EBADF : netpoll_look(fd, mode);
    return err == EAGAIN ? patch_wait(fd, mode, deadline) : err;
}

/* read(size), read(size, buffer): into an empty buffer, too. */
static bool reads_nothing(struct call *c) {
    bool nothing = c->nargs == 2 ? PyObject_Size(c->args[1]) == 0
                                 : c->nargs == 1 && PyLong_Check(c->args[0]) &&
                                       PyLong_AsLong(c->args[0]) <= 0;
    PyErr_Clear();
    return nothing;
}

static PyObject *wait_and_read(struct call *c) {
    int64_t deadline = deadline_of(c->sock);
    int pending = anything_pending(c);
    if (pending < 0)
        return NULL;
    if (!pending) {
        int err = look_and_wait(c, NETPOLL_READ, deadline);
        if (err && err != ETIMEDOUT)
            return patch_raise_wait(err, "");
    }
    return until_done(c, deadline);
}

static PyObject *read_body(struct patch *p, PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                           PyObject *kwnames) {
    struct call c = CALL_OF_ARGS;
    PyObject *result = NULL;
    if (!waits(&c) || reads_nothing(&c))
        result = as_built_in(&c);
    else if (interrupt_check() == 0)
        result = wait_and_read(&c);
    Py_XDECREF(c.sock);
    return result;
}

/* ---- write ---- */

static bool may_write(void *sock) { return !inside_any(writers, sock); }

/* Odd, so that it is no object's address. */
static void *writers_key(PyObject *sock) { return (char *)sock + 1; }

/* -1 with an exception. */
static int wait_until_sole_writer(PyObject *sock, int64_t deadline) {
    struct waiter me = {0};
    while (!may_write(sock)) {
        int err = waited_errno(
            semaroot_wait(&me, writers_key(sock), may_write, sock, "IO wait", deadline, 0));
        if (err) {
            patch_raise_wait(err, WRITE_TIMED_OUT);
            return -1;
        }
    }
    return 0;
}

static PyObject *write_record(struct call *c, char *data, Py_ssize_t len, int64_t deadline) {
    int err = look_and_wait(c, NETPOLL_WRITE, deadline);
    if (err)
        return patch_raise_wait(err, WRITE_TIMED_OUT);
    PyObject *record = PyMemoryView_FromMemory(data, len, PyBUF_READ);
    struct call one = {.p = c->p,
                       .self = c->self,
                       .args = &record,
                       .nargs = 1,
                       .sock = c->sock,
                       .kernel_timeout = SO_SNDTIMEO};
    PyObject *result = record ? until_done(&one, deadline) : NULL;
    Py_XDECREF(record);
    return result;
}

static PyObject *write_alone(struct call *c, char *data, Py_ssize_t len, int64_t deadline) {
    struct inside me;
    if (wait_until_sole_writer(c->sock, deadline) < 0)
        return NULL;
    inside_enter(&writers, &me, c->sock);
    PyObject *result = write_record(c, data, len, deadline);
    inside_leave(&writers, &me);
    semaroot_wake(writers_key(c->sock));
    return result;
}

static PyObject *write_records(struct call *c, Py_buffer *buffer) {
    int64_t deadline = deadline_of(c->sock);
    Py_ssize_t done = 0;
    do {
        Py_ssize_t len = buffer->len - done < RECORD ? buffer->len - done : RECORD;
        PyObject *result = write_alone(c, (char *)buffer->buf + done, len, deadline);
        Py_ssize_t n = result ? PyLong_AsSsize_t(result) : -1;
        Py_XDECREF(result);
        if (n < 0)
            return NULL;
        done += n;
    } while (done < buffer->len);
    return PyLong_FromSsize_t(done);
}

static PyObject *write_body(struct patch *p, PyObject *self, PyObject *const *args,
                            Py_ssize_t nargs, PyObject *kwnames) {
    struct call c = CALL_OF_ARGS;
    Py_buffer buffer;
    PyObject *result = NULL;
    if (nargs != 1 || !waits(&c) || PyObject_GetBuffer(args[0], &buffer, PyBUF_SIMPLE) < 0) {
        PyErr_Clear();
        result = as_built_in(&c);
    } else {
        if (interrupt_check() == 0)
            result = write_records(&c, &buffer);
        PyBuffer_Release(&buffer);
    }
    Py_XDECREF(c.sock);
    return result;
}

PATCH(ssl_do_handshake, "_ssl", "_SSLSocket", "do_handshake", any_body, EVERYWHERE)
PATCH(ssl_read, "_ssl", "_SSLSocket", "read", read_body, EVERYWHERE)
PATCH(ssl_write, "_ssl", "_SSLSocket", "write", write_body, EVERYWHERE)
PATCH(ssl_shutdown, "_ssl", "_SSLSocket", "shutdown", any_body, EVERYWHERE)

struct patch *const patch_ssl[] = {&ssl_do_handshake, &ssl_read, &ssl_write, &ssl_shutdown, NULL};

int patch_ssl_install(void) {
    if (patch_sockets_install() < 0)
        return -1;
    if (!ssl_read.def || want_write)
        return 0; /* a Python without TLS, or not the first time */
    PyObject *module = PyImport_ImportModule("_ssl");
    want_read = module ? PyObject_GetAttrString(module, "SSLWantReadError") : NULL;
    want_write = want_read ? PyObject_GetAttrString(module, "SSLWantWriteError") : NULL;
    Py_XDECREF(module);
    return want_write ? 0 : -1;
}
