/* patch.socket(): buffered files over what parks, as a socket's makefile() gives them.
 *
 * A BufferedReader or BufferedWriter has a lock in C, which belongs to the OS thread and is held while the raw
 * file reads or writes. If that parks, another goroutine on the same OS thread is taken for the one inside,
 * calling again, and gets a RuntimeError before anything is done. It waits here and tries once more. One on
 * another OS thread waits in the lock itself, as threads do. */
#include "patch.h"

#include <string.h>

/* Who leaves wakes, but not out of iteration, which is no method: then it is found after a pause. */
#define FIRST_PAUSE INT64_C(1000000)
#define LONGEST_PAUSE (256 * FIRST_PAUSE)

/* Takes the exception away if it is the one. */
static bool is_taken_for_owner(void) {
    static const char begin[] = "reentrant call inside ";
    if (!PyErr_ExceptionMatches(PyExc_RuntimeError))
        return false;
    PyObject *raised = compat_fetch(), *text = PyObject_Str(raised);
    const char *chars = text ? PyUnicode_AsUTF8(text) : NULL;
    bool yes = chars && strncmp(chars, begin, sizeof begin - 1) == 0;
    Py_XDECREF(text);
    PyErr_Clear();
    if (yes)
        Py_DECREF(raised);
    else
        compat_raise(raised);
    return yes;
}

static bool never(void *unused) {
    (void)unused;
    return false;
}

/* -1 with an exception. */
static int wait_for_owner(struct waiter *me, PyObject *file, int64_t pause) {
    int64_t deadline = timer_after(rt_now(), pause);
    if (semaroot_wait(me, file, never, NULL, "IO wait", deadline, 0) != WAIT_INTERRUPTED)
        return 0;
    interrupt_raise();
    return -1;
}

static PyObject *call_inside(struct goroutine *gr, struct patch *p, PyObject *self,
                             PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    struct inside me;
    inside_enter(&gr->files, &me, self);
    PyObject *result = patch_call(p, self, args, nargs, kwnames);
    inside_leave(&gr->files, &me);
    return result;
}

PATCH_BODY(buffered_body) {
    struct goroutine *gr = current_goroutine();
    struct waiter me = {0};
    if (inside_any(gr->files, self))
        return patch_call(p, self, args, nargs, kwnames);
    for (int64_t pause = FIRST_PAUSE;; pause = pause < LONGEST_PAUSE ? 2 * pause : pause) {
        PyObject *result = call_inside(gr, p, self, args, nargs, kwnames);
        if (result || !is_taken_for_owner()) {
            semaroot_wake(self);
            return result;
        }
        if (wait_for_owner(&me, self, pause) < 0)
            return NULL;
    }
}

PATCH(reader_read, "_io", "BufferedReader", "read", buffered_body, IN_GOROUTINES)
PATCH(reader_read1, "_io", "BufferedReader", "read1", buffered_body, IN_GOROUTINES)
PATCH(reader_readinto, "_io", "BufferedReader", "readinto", buffered_body, IN_GOROUTINES)
PATCH(reader_readinto1, "_io", "BufferedReader", "readinto1", buffered_body, IN_GOROUTINES)
PATCH(reader_readline, "_io", "BufferedReader", "readline", buffered_body, IN_GOROUTINES)
PATCH(reader_peek, "_io", "BufferedReader", "peek", buffered_body, IN_GOROUTINES)
PATCH(reader_close, "_io", "BufferedReader", "close", buffered_body, IN_GOROUTINES)
PATCH(writer_write, "_io", "BufferedWriter", "write", buffered_body, IN_GOROUTINES)
PATCH(writer_flush, "_io", "BufferedWriter", "flush", buffered_body, IN_GOROUTINES)
PATCH(writer_close, "_io", "BufferedWriter", "close", buffered_body, IN_GOROUTINES)

struct patch *const patch_buffered[] = {
    &reader_read, &reader_read1, &reader_readinto, &reader_readinto1, &reader_readline,
    &reader_peek, &reader_close, &writer_write,    &writer_flush,     &writer_close,
    NULL,
};
