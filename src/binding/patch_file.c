/* patch.os() and patch.subprocess(): io.FileIO, and with it all files that open() makes: Popen.stdout,
 * sys.stdin, print().
 *
 * What has no wait in the kernel that could be waited for elsewhere (regular files, directories, disks) costs
 * one fstat(2) and is as before. For the rest see patch_os.c: a goroutine waits until the descriptor is ready
 * and then calls the built-in; a large write is written here.
 *
 * All here is guarded by the GIL, but not across calls. */
#include "patch.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

/* ---- a FileIO ---- */

static PyObject *readable, *writable; /* its own methods, whatever a derived class says */

/* -1: closed. */
static int fd_of_file(PyObject *self) { return *(int *)((char *)self + sizeof(PyObject)); }

static bool may_block(int fd) {
    struct stat st;
    return fd >= 0 && fstat(fd, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode) &&
           !S_ISBLK(st.st_mode);
}

static bool says(PyObject *method, PyObject *self) {
    PyObject *answer = PyObject_CallOneArg(method, self);
    bool yes = answer == Py_True;
    Py_XDECREF(answer);
    PyErr_Clear();
    return yes;
}

/* Whether a call may have to wait, so that it must not be left to the built-in. */
static bool waits(PyObject *self, PyObject *method) {
    if (!may_block(fd_of_file(self)) || !says(method, self))
        return false;
    patch_iteration_known();
    return true;
}

/* *len: of a buffer. False: there is none, as the built-in will say. */
static bool has_buffer(PyObject *o, int flags, Py_ssize_t *len) {
    Py_buffer buffer;
    if (PyObject_GetBuffer(o, &buffer, flags) < 0) {
        PyErr_Clear();
        return false;
    }
    *len = buffer.len;
    PyBuffer_Release(&buffer);
    return true;
}

/* ---- reading ---- */

PATCH_BODY(readinto_body) {
    Py_ssize_t len;
    if (!patch_positional(1, nargs, kwnames) || !waits(self, readable) ||
        !has_buffer(args[0], PyBUF_WRITABLE, &len) || len == 0)
        return patch_call(p, self, args, nargs, kwnames);
    if (interrupt_check() < 0)
        return NULL;
    return patch_read_when_ready(p, fd_of_file(self), self, args, nargs, kwnames);
}

PATCH(file_readinto, "_io", "FileIO", "readinto", readinto_body, IN_GOROUTINES)

/* Reads into at most n bytes at data. -1 with an exception, NOTHING_NOW from a descriptor that has become
 * non-blocking. */
#define NOTHING_NOW (-2)

static Py_ssize_t read_some(PyObject *self, char *data, Py_ssize_t n) {
    PyObject *view = PyMemoryView_FromMemory(data, n, PyBUF_WRITE);
    PyObject *got = view ? patch_read_when_ready(&file_readinto, fd_of_file(self), self, &view, 1,
                                                 NULL)
                         : NULL;
    Py_XDECREF(view);
    Py_ssize_t r = got == Py_None ? NOTHING_NOW : got ? PyLong_AsSsize_t(got) : -1;
    Py_XDECREF(got);
    return r;
}

#define FIRST_SIZE 65536 /* of a pipe, usually */

/* What the built-in does in one call that blocks until the end. As there, an error loses what was read. */
static PyObject *read_all(PyObject *self) {
    if (interrupt_check() < 0)
        return NULL;
    Py_ssize_t size = FIRST_SIZE, done = 0, n = 1;
    PyObject *all = PyBytes_FromStringAndSize(NULL, size);
    while (all && n > 0) {
        if (done == size) {
            size += size / 2;
            if (_PyBytes_Resize(&all, size) < 0)
                return NULL;
        }
        n = read_some(self, PyBytes_AS_STRING(all) + done, size - done);
        done += n > 0 ? n : 0;
    }
    if (!all || n == -1) {
        Py_XDECREF(all);
        return NULL;
    }
    if (n == NOTHING_NOW && done == 0) {
        Py_DECREF(all);
        Py_RETURN_NONE;
    }
    _PyBytes_Resize(&all, done);
    return all;
}

/* One that does not block reads what there is, and at once. */
static bool waits_for_end(PyObject *self) {
    return !patch_fails_at_once(fd_of_file(self), O_WRONLY);
}

PATCH_BODY(readall_body) {
    if (!patch_positional(0, nargs, kwnames) || !waits(self, readable) || !waits_for_end(self))
        return patch_call(p, self, args, nargs, kwnames);
    return read_all(self);
}

/* read(size): not negative. */
static PyObject *read_once(struct patch *p, PyObject *self, PyObject *size) {
    if (interrupt_check() < 0)
        return NULL;
    return patch_read_when_ready(p, fd_of_file(self), self, &size, 1, NULL);
}

/* Everything, for no size, None or one below 0. */
PATCH_BODY(read_body) {
    bool all = nargs == 0 || args[0] == Py_None;
    if (!patch_positional(nargs ? 1 : 0, nargs, kwnames) || !(all || PyIndex_Check(args[0])) ||
        !waits(self, readable))
        return patch_call(p, self, args, nargs, kwnames);
    PyObject *size = all ? PyLong_FromLong(-1) : PyNumber_Index(args[0]), *result;
    if (!size)
        return NULL;
    Py_ssize_t n = PyLong_AsSsize_t(size);
    bool too_large = n == -1 && PyErr_Occurred();
    PyErr_Clear();
    if (n == 0 || too_large || (n < 0 && !waits_for_end(self)))
        result = patch_call(p, self, &size, 1, NULL);
    else if (n > 0)
        result = read_once(p, self, size);
    else
        result = read_all(self);
    Py_DECREF(size);
    return result;
}

PATCH(file_read, "_io", "FileIO", "read", read_body, IN_GOROUTINES)
PATCH(file_readall, "_io", "FileIO", "readall", readall_body, IN_GOROUTINES)

/* ---- writing ---- */

/* A writer that is interrupted has to know what is gone already: a BufferedWriter would write it once more. So it
 * hears of the interrupt a little later: by the next wait, or, unless it is the end of run(), the next
 * bytecode. */
static PyObject *wrote(Py_ssize_t done, int err) {
    if (err && (!done || err == EBADF))
        return patch_raise_wait(err, "");
    if (err == EINTR && !current_goroutine()->exit_sent)
        interrupt_announce(sched_current());
    return PyLong_FromSsize_t(done);
}

static PyObject *write_in_parts(int fd, PyObject *data) {
    Py_buffer buffer;
    int err;
    if (PyObject_GetBuffer(data, &buffer, PyBUF_SIMPLE) < 0)
        return NULL;
    Py_ssize_t done = patch_write_all(fd, buffer.buf, buffer.len, &err);
    PyBuffer_Release(&buffer);
    return wrote(done, err);
}

/* logging writes while it holds an RLock, which its caller may not know of, and which is a goroutine's only if
 * locks are patched: until then a write keeps its thread. */
static bool may_park(void) { return patch_locks[0]->installed; }

PATCH_BODY(write_body) {
    Py_ssize_t len;
    if (!may_park() || !patch_positional(1, nargs, kwnames) || !waits(self, writable) ||
        !has_buffer(args[0], PyBUF_SIMPLE, &len) || len == 0)
        return patch_call(p, self, args, nargs, kwnames);
    if (interrupt_check() < 0)
        return NULL;
    int fd = fd_of_file(self);
    if (patch_takes_in_parts(fd))
        return write_in_parts(fd, args[0]);
    int err = patch_wait_writable(fd);
    return err ? patch_raise_wait(err, "") : patch_call(p, self, args, nargs, kwnames);
}

PATCH(file_write, "_io", "FileIO", "write", write_body, IN_GOROUTINES)

struct patch *const patch_files[] = {&file_read, &file_readinto, &file_readall, &file_write, NULL};

/* ---- closing ---- */

/* -1: it leaves the descriptor open. */
static int fd_to_close(PyObject *self) {
    int fd = fd_of_file(self);
    PyObject *own = fd < 0 ? NULL : PyObject_GetAttrString(self, "closefd");
    if (own == Py_False)
        fd = -1;
    Py_XDECREF(own);
    PyErr_Clear();
    return fd;
}

PATCH_BODY(file_close_body) {
    return patch_close(p, fd_to_close(self), self, args, nargs, kwnames);
}

PATCH(file_close, "_io", "FileIO", "close", file_close_body, EVERYWHERE)

struct patch *const patch_file_closes[] = {&file_close, NULL};

/* ---- installing ---- */

/* Whether the descriptor is where it is looked for. */
static bool has_its_descriptor(PyObject *type) {
    PyObject *file = PyObject_CallFunction(type, "s", "/dev/null");
    PyObject *number = file ? PyObject_CallMethod(file, "fileno", NULL) : NULL;
    bool yes = number && PyLong_AsLong(number) == fd_of_file(file);
    Py_XDECREF(number);
    Py_XDECREF(file ? PyObject_CallMethod(file, "close", NULL) : NULL);
    Py_XDECREF(file);
    return yes;
}

/* file_close is in each group that has these, and has been found. */
int patch_files_install(void) {
    PyObject *type = (PyObject *)file_close.type_object;
    if (readable)
        return 0;
    if (!has_its_descriptor(type)) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_RuntimeError,
                            "goroutines: FileIO cannot be patched on this Python");
        return -1;
    }
    writable = PyObject_GetAttrString(type, "writable");
    readable = writable ? PyObject_GetAttrString(type, "readable") : NULL;
    return readable ? 0 : -1;
}
