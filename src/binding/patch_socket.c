/* patch.socket(): what blocks in a socket waits on the poller.
 *
 * A goroutine waits until the descriptor is ready and then calls the built-in, which no longer blocks.
 * Somebody else may have been faster. So:
 *   - On a blocking socket the built-in is told not to block, by MSG_DONTWAIT; what plain Python does in
 *     one blocking call (send everything) is then a loop here.
 *   - Where there are no flags (accept), and on a socket with a timeout, whose built-in waits by itself
 *     whatever the flags are, no two goroutines are in the built-in at once for one descriptor and
 *     direction. Against other processes and threads this does not help: then it blocks, as unpatched.
 *
 * The mode of a descriptor is never changed: others may share it. A connection is begun with a send timeout
 * of zero instead, an option that matters to nobody else before there is a connection.
 *
 * All here is guarded by the GIL, but not across calls. */
#include "patch.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

/* ---- a socket object ---- */

#define FD_OFFSET ((Py_ssize_t)sizeof(PyObject))
static Py_ssize_t timeout_offset; /* of an int64_t in ns; 0: not known yet */
static PyTypeObject *socket_type;

int *patch_socket_fd(PyObject *sock) { return (int *)((char *)sock + FD_OFFSET); }

int64_t *patch_socket_timeout(PyObject *sock) { return (int64_t *)((char *)sock + timeout_offset); }

bool patch_is_socket(PyObject *o) { return socket_type && PyObject_TypeCheck(o, socket_type); }

int64_t patch_deadline(int64_t timeout) {
    return timeout < 0 ? NOTE_FOREVER : timer_after(rt_now(), timeout);
}

/* ---- the options that wait in our place ---- */

bool patch_set_kernel_timeout(int fd, int option, const struct timeval *tv,
                              struct timeval *before) {
    socklen_t len = sizeof *before;
    if (before && getsockopt(fd, SOL_SOCKET, option, before, &len) < 0)
        return false;
    return setsockopt(fd, SOL_SOCKET, option, tv, sizeof *tv) == 0;
}

/* Only what listens accepts, and it does nothing else. Where that is not so the built-in says so at once, but
 * the descriptor may never be ready. */
static bool listens(int fd) {
    int yes = 0;
    socklen_t len = sizeof yes;
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &yes, &len) == 0 && yes;
}

/* Somebody has set O_NONBLOCK or a timeout of the kernel behind the object's back: the built-in's call
 * ends as they say. */
static bool kernel_decides(int fd, enum netpoll_mode mode) {
    struct timeval tv = {0};
    socklen_t len = sizeof tv;
    int flags = fcntl(fd, F_GETFL);
    if (flags >= 0 && flags & O_NONBLOCK)
        return true;
    int option = mode == NETPOLL_READ ? SO_RCVTIMEO : SO_SNDTIMEO;
    return getsockopt(fd, SOL_SOCKET, option, &tv, &len) == 0 && (tv.tv_sec || tv.tv_usec);
}

/* ---- waiting ---- */

/* After a park the thread, and with it errno, may be another: its address must not be kept. */
static __attribute__((noinline)) PyObject *raise_errno(int err) {
    errno = err;
    return PyErr_SetFromErrno(PyExc_OSError);
}

PyObject *patch_raise_wait(int err, const char *timed_out) {
    if (err == EINTR)
        interrupt_raise();
    else if (err == ETIMEDOUT)
        PyErr_SetString(PyExc_TimeoutError, timed_out);
    else
        raise_errno(err);
    return NULL;
}

/* The goroutines that are in a built-in which may wait by itself. The next one waits in the semaroot, and not
 * for the descriptor, which is ready as long as the one inside has not got the GIL back. */
static struct inside *insiders;

/* Odd, so that it is no object's address. */
static void *key_of(int fd, enum netpoll_mode mode) {
    return (void *)((uintptr_t)fd << 5 | (uintptr_t)mode << 4 | 1);
}

static bool nobody_inside(void *key) { return !inside_any(insiders, key); }

/* 0, ETIMEDOUT or EINTR. */
static int wait_until_alone(void *key, int64_t deadline) {
    struct waiter me = {0};
    return waited_errno(semaroot_wait(&me, key, nobody_inside, key, "IO wait", deadline, 0));
}

void patch_sockets_fork_child(void) { insiders = NULL; }

/* ---- a call ---- */

struct call {
    struct patch *p;
    PyObject *self, *const *args;
    Py_ssize_t nargs;
    PyObject *kwnames;
    enum netpoll_mode mode;
    bool rest; /* of what had no room: it waits */
    int64_t deadline;
    /* As args, with MSG_DONTWAIT. nwithout 0: it cannot be told not to block. */
    PyObject *without[4], *flags;
    Py_ssize_t nwithout;
    long given_flags;
};

static PyObject *as_built_in(struct call *c) {
    return patch_call(c->p, c->self, c->args, c->nargs, c->kwnames);
}

static PyObject *call_alone(struct call *c) {
    struct inside me;
    inside_enter(&insiders, &me, key_of(*patch_socket_fd(c->self), c->mode));
    PyObject *result = as_built_in(c);
    inside_leave(&insiders, &me);
    semaroot_wake_all(me.key);
    return result;
}

static PyObject *accept_body(struct patch *p, PyObject *self, PyObject *const *args,
                             Py_ssize_t nargs, PyObject *kwnames);

/* Of a blocking call. */
static bool ends_by_itself(const struct call *c, int fd) {
    return kernel_decides(fd, c->mode) || listens(fd) != (c->p->body == accept_body);
}

/* *err: what has ended the wait. */
enum turn { CALL, DECIDED_ELSEWHERE, ENDED };

static enum turn wait_turn(struct call *c, bool *parked, int *err) {
    for (;; *parked = true) {
        int fd = *patch_socket_fd(c->self);
        *err = fd < 0 ? EBADF : netpoll_look(fd, c->mode);
        void *key = key_of(fd, c->mode);
        bool taken = *err == 0 && !c->nwithout && !nobody_inside(key);
        if (*err != EAGAIN && !taken)
            return CALL; /* what is wrong with it, the built-in says */
        if (!taken && c->deadline == NOTE_FOREVER && ends_by_itself(c, fd))
            return DECIDED_ELSEWHERE;
        *err = taken ? wait_until_alone(key, c->deadline) : patch_wait(fd, c->mode, c->deadline);
        if (*err == ETIMEDOUT || *err == EINTR || *err == EBADF)
            return ENDED;
        if (*err)
            return DECIDED_ELSEWHERE; /* there is no poller: no descriptors are left for it */
        if (c->nwithout) {            /* the built-in looks itself */
            *parked = true;
            return CALL;
        }
    }
}

/* Most of what is sent finds room at once: the first try is the look. */
static bool try_first(const struct call *c, int tries) {
    return tries == 0 && c->nwithout && c->mode == NETPOLL_WRITE && !c->rest;
}

/* Some sockets are said to be ready and block nevertheless: a datagram to a Unix socket that is full. */
#define TRIES 2

static PyObject *wait_and_call(struct call *c) {
    for (int tries = 0;;) {
        int err;
        bool parked = false;
        switch (try_first(c, tries) ? CALL : wait_turn(c, &parked, &err)) {
        case ENDED:
            return patch_raise_wait(err, "timed out");
        case DECIDED_ELSEWHERE:
            return as_built_in(c);
        case CALL:
            break;
        }
        tries = parked ? 0 : tries + 1;
        if (!c->nwithout)
            return call_alone(c);
        if (tries > TRIES)
            return as_built_in(c);
        PyObject *result = patch_call(c->p, c->self, c->without, c->nwithout, NULL);
        if (result || !PyErr_ExceptionMatches(PyExc_BlockingIOError))
            return result;
        PyErr_Clear();
    }
}

/* ---- the flags ---- */

static PyObject *zero, *nothing; /* 0 and (): what precedes flags that are absent */

/* at: the position of flags. False: not told; the built-in may find the arguments wrong. */
static bool add_dontwait(struct call *c, Py_ssize_t at, PyObject *absent) {
    static const char *const names[] = {"buffer", "nbytes", "flags"};
    bool keywords = c->kwnames && PyTuple_GET_SIZE(c->kwnames);
    if (c->nargs > 4 || (keywords && at != 2))
        return false;
    if (!patch_arguments(names, keywords ? 3 : 4, c->without, c->args, c->nargs,
                         keywords ? c->kwnames : NULL))
        return false;
    PyObject *flags = c->without[at] ? c->without[at] : zero;
    if (!c->without[0] || !PyLong_Check(flags))
        return false;
    for (Py_ssize_t i = 1; i < at; i++)
        if (!c->without[i])
            c->without[i] = absent;
    c->given_flags = PyLong_AsLong(flags);
    c->flags = c->given_flags == -1 ? NULL : PyLong_FromLong(c->given_flags | MSG_DONTWAIT);
    if (!c->flags) {
        PyErr_Clear();
        return false;
    }
    c->without[at] = c->flags;
    c->nwithout = keywords || c->nargs <= at ? at + 1 : c->nargs;
    return true;
}

/* Of a blocking socket: these do not block, or only in part. */
static bool flags_say_otherwise(const struct call *c) {
    return c->given_flags & (MSG_DONTWAIT | (c->mode == NETPOLL_READ ? MSG_ERRQUEUE | MSG_OOB : 0));
}

static PyObject *recvmsg_into(struct patch *p, PyObject *self, PyObject *const *args,
                              Py_ssize_t nargs, PyObject *kwnames);

/* Whether there is anything to wait for: the built-in rejects wrong sizes, and returns for a size of 0, at
 * once. */
static bool sizes_are_right(struct call *c) {
    PyObject *second = c->without[1];
    Py_ssize_t least = 0, n = second && PyLong_Check(second) ? PyLong_AsSsize_t(second) : 0;
    Py_buffer buffer;
    if (c->p->body == recvmsg_into) {
        least = n;
    } else if (PyLong_Check(c->without[0])) {
        least = PyLong_AsSsize_t(c->without[0]) > 0 ? n : -1;
    } else if (PyObject_GetBuffer(c->without[0], &buffer, PyBUF_WRITABLE) < 0) {
        least = -1;
    } else {
        least = buffer.len > 0 && n <= buffer.len ? n : -1;
        PyBuffer_Release(&buffer);
    }
    PyErr_Clear();
    return least >= 0 && (!second || PyLong_Check(second));
}

/* Whether to wait for it here. */
static bool begin(struct call *c, Py_ssize_t flags_at, PyObject *absent) {
    int64_t timeout = *patch_socket_timeout(c->self);
    if (timeout == 0 || *patch_socket_fd(c->self) < 0)
        return false;
    c->deadline = patch_deadline(timeout);
    if (flags_at < 0)
        return true;
    if (!add_dontwait(c, flags_at, absent) || (c->mode == NETPOLL_READ && !sizes_are_right(c)) ||
        (timeout < 0 && flags_say_otherwise(c)))
        return false;
    if (timeout > 0 || (c->mode == NETPOLL_READ && c->given_flags & MSG_WAITALL))
        c->nwithout = 0;
    return true;
}

static PyObject *transfer(struct call *c, Py_ssize_t flags_at, PyObject *absent) {
    if (interrupt_check() < 0)
        return NULL;
    PyObject *result = begin(c, flags_at, absent) ? wait_and_call(c) : as_built_in(c);
    Py_CLEAR(c->flags);
    return result;
}

/* ---- receiving ---- */

#define CALL_OF(direction)                                                                         \
    {.p = p, .self = self, .args = args, .nargs = nargs, .kwnames = kwnames, .mode = direction}

static PyObject *flags_second(struct patch *p, PyObject *self, PyObject *const *args,
                              Py_ssize_t nargs, PyObject *kwnames) {
    struct call c = CALL_OF(NETPOLL_READ);
    return transfer(&c, 1, NULL);
}

static PyObject *flags_third(struct patch *p, PyObject *self, PyObject *const *args,
                             Py_ssize_t nargs, PyObject *kwnames) {
    struct call c = CALL_OF(NETPOLL_READ);
    return transfer(&c, 2, zero);
}

static PyObject *recvmsg_into(struct patch *p, PyObject *self, PyObject *const *args,
                              Py_ssize_t nargs, PyObject *kwnames) {
    return flags_third(p, self, args, nargs, kwnames);
}

static PyObject *accept_body(struct patch *p, PyObject *self, PyObject *const *args,
                             Py_ssize_t nargs, PyObject *kwnames) {
    struct call c = CALL_OF(NETPOLL_READ);
    return transfer(&c, -1, NULL);
}

PATCH(sock_accept, "_socket", "socket", "_accept", accept_body, IN_GOROUTINES)
PATCH(sock_recv, "_socket", "socket", "recv", flags_second, IN_GOROUTINES)
PATCH(sock_recv_into, "_socket", "socket", "recv_into", flags_third, IN_GOROUTINES)
PATCH(sock_recvfrom, "_socket", "socket", "recvfrom", flags_second, IN_GOROUTINES)
PATCH(sock_recvfrom_into, "_socket", "socket", "recvfrom_into", flags_third, IN_GOROUTINES)
PATCH(sock_recvmsg, "_socket", "socket", "recvmsg", flags_third, IN_GOROUTINES)
PATCH(sock_recvmsg_into, "_socket", "socket", "recvmsg_into", recvmsg_into, IN_GOROUTINES)

/* ---- sending ---- */

static PyObject *send_body(struct patch *p, PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                           PyObject *kwnames);
static PyObject *sendall_body(struct patch *p, PyObject *self, PyObject *const *args,
                              Py_ssize_t nargs, PyObject *kwnames);
static PyObject *sendto_body(struct patch *p, PyObject *self, PyObject *const *args,
                             Py_ssize_t nargs, PyObject *kwnames);
static PyObject *sendmsg_body(struct patch *p, PyObject *self, PyObject *const *args,
                              Py_ssize_t nargs, PyObject *kwnames);

PATCH(sock_send, "_socket", "socket", "send", send_body, IN_GOROUTINES)
PATCH(sock_sendall, "_socket", "socket", "sendall", sendall_body, IN_GOROUTINES)
PATCH(sock_sendto, "_socket", "socket", "sendto", sendto_body, IN_GOROUTINES)
PATCH(sock_sendmsg, "_socket", "socket", "sendmsg", sendmsg_body, IN_GOROUTINES)

/* Takes the reference to a number of bytes; -1 with an exception. */
static Py_ssize_t count_of(PyObject *result) {
    Py_ssize_t n = result ? PyLong_AsSsize_t(result) : -1;
    Py_XDECREF(result);
    return n;
}

/* All of the buffer from `from` on, until the deadline. Returns where it has ended: at less than its
 * length with an exception. */
static Py_ssize_t send_rest(PyObject *self, Py_buffer *buffer, Py_ssize_t from, PyObject *flags,
                            int64_t deadline) {
    while (from < buffer->len) {
        PyObject *args[2] = {
            PyMemoryView_FromMemory((char *)buffer->buf + from, buffer->len - from, PyBUF_READ),
            flags,
        };
        struct call c = {.p = &sock_send,
                         .self = self,
                         .args = args,
                         .nargs = flags ? 2 : 1,
                         .mode = NETPOLL_WRITE,
                         .rest = from > 0};
        if (!args[0])
            break;
        bool waits = begin(&c, 1, NULL);
        c.deadline = deadline;
        Py_ssize_t n = count_of(waits ? wait_and_call(&c) : as_built_in(&c));
        Py_XDECREF(c.flags);
        Py_DECREF(args[0]);
        if (n < 0)
            break;
        from += n;
    }
    return from;
}

/* A blocking call that has sent something returns how much, if it then fails. */
static PyObject *sent(Py_ssize_t n) {
    if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_OSError))
        return NULL;
    PyErr_Clear();
    return PyLong_FromSsize_t(n);
}

static bool will_block(PyObject *self) { return *patch_socket_timeout(self) < 0; }

/* Of one buffer, as a blocking call does: all of it. */
static PyObject *send_whole(struct call *c, Py_ssize_t flags_at, PyObject *flags) {
    Py_buffer buffer;
    if (!will_block(c->self) || c->nargs == 0 ||
        PyObject_GetBuffer(c->args[0], &buffer, PyBUF_SIMPLE) < 0) {
        PyErr_Clear();
        return transfer(c, flags_at, NULL);
    }
    PyObject *result = transfer(c, flags_at, NULL);
    Py_ssize_t n = result ? PyLong_AsSsize_t(result) : buffer.len;
    if (n > 0 && n < buffer.len && !flags_say_otherwise(c)) {
        Py_DECREF(result);
        result = sent(send_rest(c->self, &buffer, n, flags, NOTE_FOREVER));
    }
    PyBuffer_Release(&buffer);
    return result;
}

static PyObject *send_body(struct patch *p, PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                           PyObject *kwnames) {
    struct call c = CALL_OF(NETPOLL_WRITE);
    return send_whole(&c, 1, nargs > 1 ? args[1] : NULL);
}

/* sendto(data, address) or sendto(data, flags, address). */
static PyObject *sendto_body(struct patch *p, PyObject *self, PyObject *const *args,
                             Py_ssize_t nargs, PyObject *kwnames) {
    if (nargs != 2) {
        struct call c = CALL_OF(NETPOLL_WRITE);
        return send_whole(&c, nargs == 3 ? 1 : -1, nargs == 3 ? args[1] : NULL);
    }
    PyObject *with_flags[] = {args[0], zero, args[1]};
    struct call c = {.p = p, .self = self, .args = with_flags, .nargs = 3, .mode = NETPOLL_WRITE};
    return send_whole(&c, 1, zero);
}

static PyObject *sendall_body(struct patch *p, PyObject *self, PyObject *const *args,
                              Py_ssize_t nargs, PyObject *kwnames) {
    struct call c = CALL_OF(NETPOLL_WRITE);
    Py_buffer buffer;
    bool plain = nargs == 0 || nargs > 2 || *patch_socket_timeout(self) == 0 ||
                 *patch_socket_fd(self) < 0;
    if (plain || PyObject_GetBuffer(args[0], &buffer, PyBUF_SIMPLE) < 0) {
        PyErr_Clear();
        return as_built_in(&c);
    }
    PyObject *result = NULL;
    Py_ssize_t n = -1;
    if (buffer.len == 0)
        result = transfer(&c, 1, NULL);
    else if (interrupt_check() == 0)
        n = send_rest(self, &buffer, 0, nargs > 1 ? args[1] : NULL,
                      patch_deadline(*patch_socket_timeout(self)));
    if (n == buffer.len)
        result = Py_NewRef(Py_None);
    PyBuffer_Release(&buffer);
    return result;
}

/* What is left of the buffers after the first n bytes. */
static PyObject *send_rests(PyObject *self, PyObject *buffers, Py_ssize_t n, PyObject *flags) {
    Py_ssize_t before = 0;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(buffers); i++) {
        Py_buffer buffer;
        if (PyObject_GetBuffer(PyTuple_GET_ITEM(buffers, i), &buffer, PyBUF_SIMPLE) < 0)
            break;
        Py_ssize_t len = buffer.len;
        if (n < before + len)
            n = before + send_rest(self, &buffer, n - before, flags, NOTE_FOREVER);
        PyBuffer_Release(&buffer);
        before += len;
        if (n < before)
            break;
    }
    return sent(n);
}

/* sendmsg(buffers[, ancdata[, flags[, address]]]) */
static PyObject *sendmsg_body(struct patch *p, PyObject *self, PyObject *const *args,
                              Py_ssize_t nargs, PyObject *kwnames) {
    struct call c = CALL_OF(NETPOLL_WRITE);
    if (!will_block(self) || nargs == 0 || nargs > 4)
        return transfer(&c, 2, nothing);
    PyObject *iterator = PyObject_GetIter(args[0]);
    if (!iterator && PyErr_ExceptionMatches(PyExc_TypeError)) {
        PyErr_Clear();
        return as_built_in(&c);
    }
    /* An iterator can be read only once. */
    PyObject *with_tuple[4] = {iterator ? PySequence_Tuple(iterator) : NULL};
    Py_XDECREF(iterator);
    if (!with_tuple[0])
        return NULL;
    for (Py_ssize_t i = 1; i < nargs; i++)
        with_tuple[i] = args[i];
    c.args = with_tuple;
    PyObject *result = transfer(&c, 2, nothing);
    Py_ssize_t n = result ? PyLong_AsSsize_t(result) : 0;
    if (n > 0 && !flags_say_otherwise(&c)) {
        Py_DECREF(result);
        result = send_rests(self, with_tuple[0], n, nargs > 2 ? args[2] : NULL);
    }
    Py_DECREF(with_tuple[0]);
    return result;
}

/* ---- connecting ---- */

static PyObject *connect_body(struct patch *p, PyObject *self, PyObject *const *args,
                              Py_ssize_t nargs, PyObject *kwnames);

PATCH(sock_connect, "_socket", "socket", "connect", connect_body, IN_GOROUTINES)
PATCH(sock_connect_ex, "_socket", "socket", "connect_ex", connect_body, IN_GOROUTINES)

static bool is_tcp(int fd) {
    int domain = 0, type = 0;
    socklen_t len = sizeof domain;
    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 &&
           (domain == AF_INET || domain == AF_INET6) &&
           getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_STREAM;
}

/* A timeout of zero, which the kernel takes only as less than zero: "as if it did not block". */
const struct timeval patch_no_kernel_timeout = {-1, 0};

/* The built-in begins the connection and does not wait. Nobody else uses a socket that connects. */
static PyObject *begin_connect(struct patch *p, PyObject *self, PyObject *address) {
    int fd = *patch_socket_fd(self);
    int64_t *timeout = patch_socket_timeout(self), timeout_before = *timeout;
    struct timeval before;
    bool set = timeout_before < 0 &&
               patch_set_kernel_timeout(fd, SO_SNDTIMEO, &patch_no_kernel_timeout, &before);
    if (timeout_before > 0)
        *timeout = 0;
    PyObject *result = patch_call(p, self, &address, 1, NULL);
    if (timeout_before > 0 && *timeout == 0)
        *timeout = timeout_before;
    if (set && *patch_socket_fd(self) == fd)
        patch_set_kernel_timeout(fd, SO_SNDTIMEO, &before, NULL);
    return result;
}

/* Takes note of what connect has raised, or connect_ex returned. */
static bool in_progress(PyObject *result) {
    if (result)
        return PyLong_Check(result) && PyLong_AsLong(result) == EINPROGRESS;
    if (!PyErr_ExceptionMatches(PyExc_BlockingIOError))
        return false;
    PyObject *raised = compat_fetch(), *number = PyObject_GetAttrString(raised, "errno");
    bool yes = number && PyLong_Check(number) && PyLong_AsLong(number) == EINPROGRESS;
    Py_XDECREF(number);
    compat_raise(raised);
    return yes;
}

/* The kernel has not yet told connect() how the connection has ended, and would tell the next one: that it
 * was aborted, or that it succeeds (and not EISCONN). The address does not matter. */
static void tell_ended(int fd) {
    struct sockaddr_in any = {.sin_family = AF_INET};
    struct timeval before;
    if (!patch_set_kernel_timeout(fd, SO_SNDTIMEO, &patch_no_kernel_timeout, &before))
        return;
    connect(fd, (struct sockaddr *)&any, sizeof any);
    patch_set_kernel_timeout(fd, SO_SNDTIMEO, &before, NULL);
}

/* How the wait has ended; if well, *error is the connection's. */
static int finish_connect(PyObject *self, int64_t deadline, int *error) {
    int fd = *patch_socket_fd(self);
    socklen_t len = sizeof *error;
    int err = fd < 0 ? EBADF : patch_wait(fd, NETPOLL_WRITE, deadline);
    *error = 0;
    if (!err &&
        (*patch_socket_fd(self) != fd || getsockopt(fd, SOL_SOCKET, SO_ERROR, error, &len) < 0))
        err = EBADF;
    if (*error == EISCONN)
        *error = 0;
    if (!err && deadline == NOTE_FOREVER)
        tell_ended(fd);
    return err;
}

static PyObject *connect_body(struct patch *p, PyObject *self, PyObject *const *args,
                              Py_ssize_t nargs, PyObject *kwnames) {
    int64_t timeout = *patch_socket_timeout(self);
    int fd = *patch_socket_fd(self);
    if (interrupt_check() < 0)
        return NULL;
    if (timeout == 0 || fd < 0 || nargs != 1 ||
        (timeout < 0 && (!is_tcp(fd) || kernel_decides(fd, NETPOLL_WRITE))))
        return patch_call(p, self, args, nargs, kwnames);
    PyObject *result = begin_connect(p, self, args[0]);
    if (!in_progress(result))
        return result;
    Py_CLEAR(result);
    PyErr_Clear();
    /* As the built-in: looking up the name does not count. */
    int error, err = finish_connect(self, patch_deadline(*patch_socket_timeout(self)), &error);
    if (p == &sock_connect_ex && err != EINTR)
        return PyLong_FromLong(err == 0 ? error : err == ETIMEDOUT ? EWOULDBLOCK : err);
    if (err)
        return patch_raise_wait(err, "timed out");
    return error ? raise_errno(error) : Py_NewRef(Py_None);
}

/* ---- closing, by anybody: wakes the goroutines that wait ---- */

static PyObject *close_body(struct patch *p, PyObject *self, PyObject *const *args,
                            Py_ssize_t nargs, PyObject *kwnames) {
    return patch_close(p, *patch_socket_fd(self), self, args, nargs, kwnames);
}

static PyObject *close_number_body(struct patch *p, PyObject *self, PyObject *const *args,
                                   Py_ssize_t nargs, PyObject *kwnames) {
    PyObject *result = patch_call(p, self, args, nargs, kwnames);
    long fd = result && PyLong_Check(args[0]) ? PyLong_AsLong(args[0]) : -1;
    if (fd >= 0)
        patch_closed((int)fd);
    return result;
}

PATCH(sock_close, "_socket", "socket", "close", close_body, EVERYWHERE)
PATCH(sock_close_number, "_socket", NULL, "close", close_number_body, EVERYWHERE)

struct patch *const patch_sockets[] = {
    &sock_accept,  &sock_recv,         &sock_recv_into,  &sock_recvfrom, &sock_recvfrom_into,
    &sock_recvmsg, &sock_recvmsg_into, &sock_send,       &sock_sendall,  &sock_sendto,
    &sock_sendmsg, &sock_connect,      &sock_connect_ex, NULL,
};
struct patch *const patch_socket_closes[] = {&sock_close, &sock_close_number, NULL};

/* ---- installing ---- */

#define PECULIAR_S 123456789
#define PECULIAR_NS (PECULIAR_S * INT64_C(1000000000))

/* Where a socket has its timeout: the only word that is this number of nanoseconds. */
static Py_ssize_t look_for_timeout(PyObject *sock) {
    Py_ssize_t found = 0, n = 0;
    for (Py_ssize_t at = FD_OFFSET; at + (Py_ssize_t)sizeof(int64_t) <= socket_type->tp_basicsize;
         at += sizeof(int64_t))
        if (*(int64_t *)((char *)sock + at) == PECULIAR_NS) {
            found = at;
            n++;
        }
    return n == 1 ? found : 0;
}

static int find_fields(void) {
    PyObject *sock = PyObject_CallNoArgs((PyObject *)socket_type);
    PyObject *set = sock ? PyObject_CallMethod(sock, "settimeout", "i", PECULIAR_S) : NULL;
    PyObject *number = set ? PyObject_CallMethod(sock, "fileno", NULL) : NULL;
    if (number && PyLong_AsLong(number) == *patch_socket_fd(sock))
        timeout_offset = look_for_timeout(sock);
    if (sock && number)
        Py_XDECREF(patch_call(&sock_close, sock, NULL, 0, NULL));
    Py_XDECREF(number);
    Py_XDECREF(set);
    Py_XDECREF(sock);
    if (!timeout_offset && !PyErr_Occurred())
        PyErr_SetString(PyExc_RuntimeError, "goroutines: sockets cannot be patched on this Python");
    return PyErr_Occurred() ? -1 : 0;
}

int patch_sockets_install(void) {
    socket_type = sock_close.type_object;
    if (!zero && !(zero = PyLong_FromLong(0)))
        return -1;
    if (!nothing && !(nothing = PyTuple_New(0)))
        return -1;
    return timeout_offset || !socket_type ? 0 : find_fields();
}
