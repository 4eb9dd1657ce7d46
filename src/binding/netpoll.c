/* Waiting for descriptors. A goroutine waits in the runtime's poller; any other thread in poll(2), with
 * the GIL released, so that it costs nobody else anything and signals reach it. */
#include "binding.h"

#include <errno.h>
#include <poll.h>
#include <time.h>

#define NS_PER_S INT64_C(1000000000)

/* ---- threads that are no goroutines ---- */

/* POLLNVAL and the like count as ready: the look afterwards tells. */
static int poll_until(int fd, enum netpoll_mode mode, int64_t until) {
    struct pollfd p = {.fd = fd, .events = mode == NETPOLL_READ ? POLLIN : POLLOUT};
    int64_t left = until == NOTE_FOREVER ? 0 : until - rt_now();
    struct timespec ts = {0};
    if (left > 0)
        ts = (struct timespec){.tv_sec = left / NS_PER_S, .tv_nsec = left % NS_PER_S};
    int n;
    Py_BEGIN_ALLOW_THREADS
    n = ppoll(&p, 1, until == NOTE_FOREVER ? NULL : &ts, NULL);
    Py_END_ALLOW_THREADS
    return n;
}

/* 0, an errno, or -1 with what a signal handler has raised. */
static int wait_natively(int fd, enum netpoll_mode mode, int64_t deadline) {
    deadlock_note_caller();
    int64_t pause = 0;
    for (;;) {
        int64_t look = interrupt_next_look(&pause); /* a signal may come just before the sleep */
        poll_until(fd, mode, look < deadline ? look : deadline);
        if (PyErr_CheckSignals() < 0)
            return -1;
        int err = netpoll_look(fd, mode);
        if (err != EAGAIN)
            return err;
        if (rt_now() >= deadline)
            return ETIMEDOUT;
    }
}

/* ---- both ---- */

static int wait_for(int fd, enum netpoll_mode mode, int64_t deadline) {
    int err = netpoll_look(fd, mode);
    if (err != EAGAIN)
        return err;
    if (deadline == CHAN_POLL)
        return ETIMEDOUT;
    return current_goroutine() ? netpoll_wait(fd, mode, deadline)
                               : wait_natively(fd, mode, deadline);
}

/* What a wait has ended with; NULL with an exception. Never inlined: after a park the thread, and with it
 * errno's address, may be another. */
static __attribute__((noinline)) PyObject *outcome(int err, const char *timed_out) {
    switch (err) {
    case 0:
        Py_RETURN_NONE;
    case -1:
        return NULL;
    case ETIMEDOUT:
        return raise_timeout(timed_out);
    case EINTR:
        interrupt_raise();
        return NULL;
    default:
        errno = err;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
}

static int parse_fd(PyObject *o) {
    int fd = PyObject_AsFileDescriptor(o);
    if (fd < 0 && PyErr_ExceptionMatches(PyExc_OverflowError) && PyLong_Check(o)) {
        PyErr_Clear();
        bool negative = is_negative(o) > 0;
        PyErr_Format(negative ? PyExc_ValueError : PyExc_OverflowError,
                     negative ? "file descriptor cannot be a negative integer (%S)"
                              : "file descriptor %S is too large",
                     o);
    }
    return fd;
}

static PyObject *wait_ready(PyObject *args, PyObject *kwargs, const char *format,
                            enum netpoll_mode mode, const char *timed_out) {
    static char *names[] = {"fd", "timeout", NULL};
    PyObject *o, *timeout = Py_None;
    int64_t deadline;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, format, names, &o, &timeout))
        return NULL;
    int fd = parse_fd(o);
    if (fd < 0 || parse_timeout(timeout, &deadline) < 0 || interrupt_check() < 0)
        return NULL;
    return outcome(wait_for(fd, mode, deadline), timed_out);
}

static PyObject *wait_readable(PyObject *module, PyObject *args, PyObject *kwargs) {
    (void)module;
    return wait_ready(args, kwargs, "O|O:wait_readable", NETPOLL_READ,
                      "wait_readable timed out: there is nothing to read");
}

static PyObject *wait_writable(PyObject *module, PyObject *args, PyObject *kwargs) {
    (void)module;
    return wait_ready(args, kwargs, "O|O:wait_writable", NETPOLL_WRITE,
                      "wait_writable timed out: there is no room to write");
}

#define KEYWORDS (METH_VARARGS | METH_KEYWORDS)

PyMethodDef netpoll_methods[] = {
    {"wait_readable", FN(wait_readable), KEYWORDS,
     PyDoc_STR("wait_readable($module, /, fd, timeout=None)\n--\n\n"
               "Wait until fd, an int or an object with fileno(), has something to read, or its "
               "end.\n\nTimeoutError after timeout seconds; OSError (EBADF) if fd is not open. "
               "Regular files are always ready.")},
    {"wait_writable", FN(wait_writable), KEYWORDS,
     PyDoc_STR("wait_writable($module, /, fd, timeout=None)\n--\n\n"
               "Wait until fd, an int or an object with fileno(), can be written to.\n\n"
               "TimeoutError after timeout seconds; OSError (EBADF) if fd is not open. Regular "
               "files are always ready.")},
    {0},
};
