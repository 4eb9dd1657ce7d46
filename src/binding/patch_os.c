/* patch.os() and patch.subprocess(): reading, writing, closing descriptors; waiting for children.
 *
 * A goroutine waits until the descriptor is ready and then calls the built-in, which no longer blocks. So
 * that two do not call it for the same byte, one at a time is in it, for a descriptor. Against other
 * processes and threads that does not help: then it blocks, as unpatched.
 *
 * What is written may be more than there is room for. It is written here, as far as it goes without
 * waiting (RWF_NOWAIT), and then the goroutine waits again. O_NONBLOCK is never set: others may share the
 * description.
 *
 * All here is guarded by the GIL, but not across calls. */
#include "patch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef RWF_NOWAIT
#define RWF_NOWAIT 8
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434 /* since Linux 5.3, the same everywhere */
#endif
#ifndef P_PIDFD
#define P_PIDFD 3
#endif

/* errno is read in these alone: after a park the thread, and with it its address, may be another. */
#define NOINLINE __attribute__((noinline))

/* An int that can be a descriptor; else -1, for the built-in to deal with. */
static int fd_of(PyObject *o) {
    int overflow = 0;
    long fd = o && PyLong_Check(o) ? PyLong_AsLongAndOverflow(o, &overflow) : -1;
    return overflow || fd < 0 || fd > INT_MAX ? -1 : (int)fd;
}

/* ---- one at a time ---- */

/* In a built-in that reads; key: the descriptor. The next one waits in the semaroot, and not for the descriptor,
 * which may be ready as long as the one inside has not got the GIL back: those who wait would not let it. */
static struct inside *insiders;

/* Odd, so that it is no object's address; not one of patch_socket.c's. */
static void *key_of(int fd) { return (void *)((uintptr_t)fd << 5 | 3); }

static bool nobody_inside(void *key) { return !inside_any(insiders, key); }

/* 0 or EINTR. */
static int wait_until_alone(void *key) {
    struct waiter me = {0};
    return waited_errno(semaroot_wait(&me, key, nobody_inside, key, "IO wait", NOTE_FOREVER, 0));
}

void patch_descriptors_fork_child(void) { insiders = NULL; }

/* ---- reading ---- */

bool patch_fails_at_once(int fd, int wrong) {
    int flags = fcntl(fd, F_GETFL);
    return flags < 0 || flags & O_NONBLOCK || (flags & O_ACCMODE) == wrong;
}

/* 0: the built-in may be called now; it says what is wrong, too. */
static int wait_readable(int fd) {
    for (;;) {
        int err = netpoll_look(fd, NETPOLL_READ);
        if (err == EAGAIN ? patch_fails_at_once(fd, O_WRONLY)
                          : err != 0 || nobody_inside(key_of(fd)))
            return 0;
        err = err ? patch_wait(fd, NETPOLL_READ, NOTE_FOREVER) : wait_until_alone(key_of(fd));
        if (err == EINTR || err == EBADF)
            return err;
        if (err)
            return 0;
    }
}

PyObject *patch_read_when_ready(struct patch *p, int fd, PyObject *self, PyObject *const *args,
                                Py_ssize_t nargs, PyObject *kwnames) {
    int err = fd < 0 ? 0 : wait_readable(fd);
    if (err)
        return patch_raise_wait(err, "");
    struct inside me;
    inside_enter(&insiders, &me, key_of(fd));
    PyObject *result = patch_call(p, self, args, nargs, kwnames);
    inside_leave(&insiders, &me);
    semaroot_wake_all(me.key);
    return result;
}

PATCH_BODY(read_body) {
    if (interrupt_check() < 0)
        return NULL;
    return patch_read_when_ready(p, nargs ? fd_of(args[0]) : -1, self, args, nargs, kwnames);
}

PATCH(os_read, "posix", NULL, "read", read_body, IN_GOROUTINES)
PATCH(os_readv, "posix", NULL, "readv", read_body, IN_GOROUTINES)
PATCH(os_readinto, "posix", NULL, "readinto", read_body, IN_GOROUTINES)
PATCH(os_eventfd_read, "posix", NULL, "eventfd_read", read_body, IN_GOROUTINES)

/* ---- writing ---- */

bool patch_takes_in_parts(int fd) {
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return false;
    if (!S_ISFIFO(st.st_mode) && !S_ISSOCK(st.st_mode) && !(S_ISCHR(st.st_mode) && isatty(fd)))
        return false;
    return !patch_fails_at_once(fd, O_RDONLY);
}

/* As much as goes without waiting; -errno. */
static NOINLINE Py_ssize_t write_now(int fd, const char *data, Py_ssize_t n) {
    struct iovec iov = {(void *)data, (size_t)n};
    ssize_t r = pwritev2(fd, &iov, 1, -1, RWF_NOWAIT);
    if (r >= 0 || (errno != EOPNOTSUPP && errno != ENOSYS && errno != EINVAL))
        return r >= 0 ? r : -errno;
    if (netpoll_look(fd, NETPOLL_WRITE) == EAGAIN)
        return -EAGAIN;
    Py_BEGIN_ALLOW_THREADS
    r = write(fd, data, n < PIPE_BUF ? (size_t)n : PIPE_BUF); /* there is room for that */
    r = r < 0 ? -errno : r;
    Py_END_ALLOW_THREADS
    return r;
}

Py_ssize_t patch_write_all(int fd, const char *data, Py_ssize_t len, int *err) {
    Py_ssize_t done = 0;
    for (*err = 0; done < len && !*err;) {
        Py_ssize_t n = write_now(fd, data + done, len - done);
        if (n >= 0)
            done += n;
        else if (n == -EAGAIN)
            *err = patch_wait(fd, NETPOLL_WRITE, NOTE_FOREVER);
        else if (n != -EINTR)
            *err = (int)-n;
    }
    return done;
}

/* A blocking call that has written something says how much, if it then fails; but not if it is told to
 * end. */
static PyObject *wrote(Py_ssize_t done, int err) {
    if (!err || (done && err != EINTR && err != EBADF))
        return PyLong_FromSsize_t(done);
    return patch_raise_wait(err, "");
}

/* NULL without an exception: the built-in is to deal with it. */
static PyObject *write_buffer(int fd, PyObject *data) {
    Py_buffer buffer;
    int err = 0;
    if (PyObject_GetBuffer(data, &buffer, PyBUF_SIMPLE) < 0) {
        PyErr_Clear();
        return NULL;
    }
    PyObject *result = NULL;
    if (buffer.len > 0) {
        Py_ssize_t done = patch_write_all(fd, buffer.buf, buffer.len, &err);
        result = wrote(done, err);
    }
    PyBuffer_Release(&buffer);
    return result;
}

int patch_wait_writable(int fd) {
    int err = fd < 0 ? 0 : netpoll_look(fd, NETPOLL_WRITE);
    if (err == EAGAIN && !patch_fails_at_once(fd, O_RDONLY))
        err = patch_wait(fd, NETPOLL_WRITE, NOTE_FOREVER);
    else
        err = 0;
    return err == EINTR || err == EBADF ? err : 0;
}

static PyObject *write_or_leave(struct patch *p, PyObject *self, PyObject *data,
                                PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    int fd = fd_of(args[0]);
    PyObject *result = data && patch_takes_in_parts(fd) ? write_buffer(fd, data) : NULL;
    if (result || PyErr_Occurred())
        return result;
    int err = patch_wait_writable(fd);
    return err ? patch_raise_wait(err, "") : patch_call(p, self, args, nargs, kwnames);
}

PATCH_BODY(write_body) {
    if (interrupt_check() < 0)
        return NULL;
    if (!patch_positional(2, nargs, kwnames))
        return patch_call(p, self, args, nargs, kwnames);
    return write_or_leave(p, self, args[1], args, nargs, kwnames);
}

/* The buffers together, or NULL. */
static PyObject *joined(PyObject *buffers) {
    PyObject *empty = PySequence_Check(buffers) ? PyBytes_FromStringAndSize(NULL, 0) : NULL;
    PyObject *all = empty ? PyObject_CallMethod(empty, "join", "O", buffers) : NULL;
    Py_XDECREF(empty);
    PyErr_Clear();
    return all;
}

PATCH_BODY(writev_body) {
    if (interrupt_check() < 0)
        return NULL;
    if (!patch_positional(2, nargs, kwnames))
        return patch_call(p, self, args, nargs, kwnames);
    PyObject *all = patch_takes_in_parts(fd_of(args[0])) ? joined(args[1]) : NULL;
    PyObject *result = write_or_leave(p, self, all, args, nargs, kwnames);
    Py_XDECREF(all);
    return result;
}

PATCH(os_write, "posix", NULL, "write", write_body, IN_GOROUTINES)
PATCH(os_eventfd_write, "posix", NULL, "eventfd_write", write_body, IN_GOROUTINES)
PATCH(os_writev, "posix", NULL, "writev", writev_body, IN_GOROUTINES)

/* ---- sendfile ---- */

/* For so much there is room, nearly always, once a socket (a pipe) is writable. */
#define PORTION_SOCKET 16384
#define PORTION_PIPE 4096

/* One portion, from `done` on; -1 with an exception. */
static Py_ssize_t send_portion(struct patch *p, PyObject *self, PyObject *const *values,
                               Py_ssize_t done, Py_ssize_t n) {
    PyObject *result = NULL, *count = PyLong_FromSsize_t(n);
    PyObject *offset = values[2] == Py_None
                           ? Py_NewRef(Py_None)
                           : PyLong_FromLongLong(PyLong_AsLongLong(values[2]) + done);
    if (count && offset && !PyErr_Occurred()) {
        PyObject *args[] = {values[0], values[1], offset, count};
        result = patch_call(p, self, args, 4, NULL);
    }
    Py_ssize_t sent = result ? PyLong_AsSsize_t(result) : -1;
    Py_XDECREF(result);
    Py_XDECREF(count);
    Py_XDECREF(offset);
    return sent;
}

static PyObject *send_in_portions(struct patch *p, PyObject *self, PyObject *const *values) {
    int fd = fd_of(values[0]), err = 0;
    Py_ssize_t done = 0, sent = 1, count = PyLong_AsSsize_t(values[3]);
    struct stat st;
    Py_ssize_t portion = fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode) ? PORTION_PIPE
                                                                     : PORTION_SOCKET;
    while (done < count && sent > 0) {
        if ((err = patch_wait_writable(fd)))
            return patch_raise_wait(err, "");
        Py_ssize_t left = count - done;
        sent = send_portion(p, self, values, done, left < portion ? left : portion);
        if (sent < 0 && (!done || !PyErr_ExceptionMatches(PyExc_OSError)))
            return NULL;
        done += sent < 0 ? 0 : sent;
    }
    PyErr_Clear();
    return PyLong_FromSsize_t(done);
}

static bool is_offset(PyObject *o) {
    int overflow = 0;
    if (o == Py_None)
        return true;
    return PyLong_Check(o) && PyLong_AsLongLongAndOverflow(o, &overflow) >= 0 && !overflow;
}

static bool is_count(PyObject *o) {
    int overflow = 0;
    return PyLong_Check(o) && PyLong_AsLongLongAndOverflow(o, &overflow) > 0 && !overflow;
}

PATCH_BODY(sendfile_body) {
    static const char *const names[] = {"out_fd", "in_fd", "offset", "count"};
    PyObject *values[4] = {NULL};
    if (interrupt_check() < 0)
        return NULL;
    if (!patch_arguments(names, 4, values, args, nargs, kwnames) || !values[0] || !values[1] ||
        !values[2] || !values[3] || !patch_takes_in_parts(fd_of(values[0])) ||
        !is_offset(values[2]) || !is_count(values[3]))
        return patch_call(p, self, args, nargs, kwnames);
    return send_in_portions(p, self, values);
}

PATCH(os_sendfile, "posix", NULL, "sendfile", sendfile_body, IN_GOROUTINES)

struct patch *const patch_descriptors[] = {
    &os_read,   &os_readv,    &os_readinto, &os_eventfd_read, &os_write, &os_eventfd_write,
    &os_writev, &os_sendfile, NULL,
};

/* ---- closing ---- */

/* Told even after a failure: close() gives the number up whatever it says. */
PATCH_BODY(close_body) {
    static const char *const names[] = {"fd"};
    PyObject *fd = NULL;
    bool right = patch_arguments(names, 1, &fd, args, nargs, kwnames);
    return patch_close(p, right ? fd_of(fd) : -1, self, args, nargs, kwnames);
}

/* Above that nobody has a descriptor. */
static int end_of_numbers(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_max > INT_MAX)
        return INT_MAX;
    return (int)limit.rlim_max;
}

PATCH_BODY(closerange_body) {
    PyObject *result = patch_call(p, self, args, nargs, kwnames);
    if (!result || nargs != 2 || !netpoll_waiters())
        return result;
    int overflow = 0;
    int low = fd_of(args[0]) < 0 ? 0 : fd_of(args[0]);
    long high = PyLong_Check(args[1]) ? PyLong_AsLongAndOverflow(args[1], &overflow) : 0;
    for (int fd = low, end = end_of_numbers(); fd < high && fd < end; fd++)
        patch_closed(fd);
    return result;
}

PATCH_BODY(dup2_body) {
    static const char *const names[] = {"fd", "fd2", "inheritable"};
    PyObject *values[3] = {NULL};
    bool right = patch_arguments(names, 3, values, args, nargs, kwnames);
    bool same = right && values[0] && values[1] && fd_of(values[0]) == fd_of(values[1]);
    PyObject *result = patch_call(p, self, args, nargs, kwnames);
    if (result && right && !same)
        patch_closed(fd_of(values[1]));
    return result;
}

PATCH(os_close, "posix", NULL, "close", close_body, EVERYWHERE)
PATCH(os_closerange, "posix", NULL, "closerange", closerange_body, EVERYWHERE)
PATCH(os_dup2, "posix", NULL, "dup2", dup2_body, EVERYWHERE)

struct patch *const patch_closes[] = {&os_close, &os_closerange, &os_dup2, NULL};

/* ---- children ---- */

static NOINLINE int open_pidfd(pid_t pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }

/* Until the process has ended. Closes pidfd, if it is `ours`. */
static int wait_ended(int pidfd, bool ours) {
    int err = netpoll_look(pidfd, NETPOLL_READ);
    if (err == EAGAIN)
        err = netpoll_wait(pidfd, NETPOLL_READ, NOTE_FOREVER);
    if (ours)
        close(pidfd);
    return err;
}

static bool is_int(PyObject *o, long *value) {
    int overflow = 0;
    *value = o && PyLong_Check(o) ? PyLong_AsLongAndOverflow(o, &overflow) : -1;
    return o && PyLong_Check(o) && !overflow;
}

/* Nobody has ended yet, says the built-in with WNOHANG: None, or a tuple that begins with 0. */
static bool none_yet(PyObject *result) {
    return result == Py_None || (PyTuple_Check(result) && PyTuple_GET_SIZE(result) > 0 &&
                                 PyLong_Check(PyTuple_GET_ITEM(result, 0)) &&
                                 PyLong_AsLong(PyTuple_GET_ITEM(result, 0)) == 0);
}

/* With WNOHANG added to the last argument first: whoever is no child need not be waited for. */
static PyObject *wait_for_child(struct patch *p, PyObject *self, PyObject *const *args,
                                Py_ssize_t nargs, long options, int pidfd, pid_t pid) {
    PyObject *now[3];
    for (Py_ssize_t i = 0; i < nargs; i++)
        now[i] = args[i];
    PyObject *flags = PyLong_FromLong(options | WNOHANG);
    now[nargs - 1] = flags;
    PyObject *result = flags ? patch_call(p, self, now, nargs, NULL) : NULL;
    Py_XDECREF(flags);
    if (!result || !none_yet(result))
        return result;
    Py_DECREF(result);
    bool ours = pidfd < 0;
    if (ours)
        pidfd = open_pidfd(pid);
    int err = pidfd < 0 ? 0 : wait_ended(pidfd, ours);
    if (err == EINTR || err == EBADF)
        return patch_raise_wait(err, "");
    return patch_call(p, self, args, nargs, NULL);
}

/* waitpid(pid, options), wait4(pid, options) */
PATCH_BODY(waitpid_body) {
    static const char *const names[] = {"pid", "options"};
    PyObject *values[2] = {NULL, NULL};
    long pid, options;
    if (interrupt_check() < 0)
        return NULL;
    if (!patch_arguments(names, 2, values, args, nargs, kwnames) || !is_int(values[0], &pid) ||
        !is_int(values[1], &options) || pid <= 0 || pid > INT_MAX || options != 0)
        return patch_call(p, self, args, nargs, kwnames);
    return wait_for_child(p, self, values, 2, options, -1, (pid_t)pid);
}

/* waitid(idtype, id, options) */
PATCH_BODY(waitid_body) {
    long type, id, options;
    if (interrupt_check() < 0)
        return NULL;
    if (nargs != 3 || !is_int(args[0], &type) || !is_int(args[1], &id) ||
        !is_int(args[2], &options) || (type != P_PID && type != P_PIDFD) || id < 0 ||
        id > INT_MAX || (options & ~WNOWAIT) != WEXITED)
        return patch_call(p, self, args, nargs, kwnames);
    bool is_fd = type == P_PIDFD;
    return wait_for_child(p, self, args, 3, options, is_fd ? (int)id : -1, is_fd ? 0 : (pid_t)id);
}

PATCH(os_waitpid, "posix", NULL, "waitpid", waitpid_body, IN_GOROUTINES)
PATCH(os_wait4, "posix", NULL, "wait4", waitpid_body, IN_GOROUTINES)
PATCH(os_waitid, "posix", NULL, "waitid", waitid_body, IN_GOROUTINES)

struct patch *const patch_children[] = {&os_waitpid, &os_wait4, &os_waitid, NULL};
