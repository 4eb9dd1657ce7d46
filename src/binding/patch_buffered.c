/* Buffered files over what parks: a socket's makefile(), Popen.stdout, sys.stdin.
 *
 * A BufferedReader or BufferedWriter has a lock in C, which belongs to the OS thread and is held while the raw
 * file reads or writes. If that parks, another goroutine must not come to that lock: on the same OS thread it is
 * taken for the one inside, calling again, and gets a RuntimeError before anything is done; on another one it
 * would keep the thread, and a line might get lost, as happens to threads. So there is a table of the files
 * that goroutines are in, and others wait for their turn here. Who is not in it (a thread; sometimes an
 * iteration) has that error caught and the call tried once more; threads wait in the lock itself, as always.
 *
 * All here is guarded by the GIL. */
#include "patch.h"

#include <string.h>

/* Who leaves wakes; but not a thread: then it is found after a pause. */
#define FIRST_PAUSE INT64_C(1000000)
#define LONGEST_PAUSE (256 * FIRST_PAUSE)

/* ---- which files goroutines are in ---- */

/* A goroutine's call, on its own stack. */
struct file_call {
    void *file;
    bool known; /* is in the table */
    struct file_call *next;
};

#define BUCKETS 1024

static struct file_call *buckets[BUCKETS];
static int64_t known;

/* The iteration that was begun last, by anybody; NULL once any has ended. So it is not over. */
static struct file_call *latest;

static struct file_call **bucket_of(const void *file) {
    return &buckets[((uintptr_t)file >> 4) % BUCKETS];
}

static void make_known(struct file_call *call) {
    struct file_call **bucket = bucket_of(call->file);
    call->known = true;
    call->next = *bucket;
    *bucket = call;
    known++;
}

/* It is not there any more in a forked child. */
static void forget(struct file_call *call) {
    struct file_call **at = bucket_of(call->file);
    while (*at && *at != call)
        at = &(*at)->next;
    if (!*at)
        return;
    *at = call->next;
    known--;
}

void patch_buffered_fork_child(void) {
    memset(buckets, 0, sizeof buckets);
    known = 0;
    latest = NULL;
}

/* The next one from `call` on. */
static struct file_call *call_of(struct file_call *call, const void *file) {
    while (call && call->file != file)
        call = call->next;
    return call;
}

/* Nobody is known to be in it, and it is not kept for one that has waited long. */
static bool is_free(void *file) {
    return !(known && call_of(*bucket_of(file), file)) && !semaroot_reserved(file);
}

/* A call of g that is not over. */
static bool is_of(const struct g *g, const struct file_call *call) {
    return call && (const char *)call >= g->stack.lo && (const char *)call < g->stack.hi;
}

/* g, which is running, is in a call of file's already. `iteration`: as latest was. */
static bool is_within(const struct g *g, const void *file, const struct file_call *iteration) {
    if (is_of(g, iteration) && iteration->file == file)
        return true;
    struct file_call *call = known ? call_of(*bucket_of(file), file) : NULL;
    while (call && !is_of(g, call))
        call = call_of(call->next, file);
    return call;
}

void patch_iteration_known(void) {
    struct g *g = latest ? sched_current() : NULL;
    if (g && is_of(g, latest) && !latest->known)
        make_known(latest);
}

int patch_wait(int fd, enum netpoll_mode mode, int64_t deadline) {
    patch_iteration_known();
    return netpoll_wait(fd, mode, deadline);
}

/* ---- waiting ---- */

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

/* Until it is the caller's turn. -1 with an exception. */
static int wait_for_turn(struct waiter *me, PyObject *file) {
    while (!is_free(file))
        if (semaroot_wait(me, file, is_free, file, "IO wait", NOTE_FOREVER, 0) ==
            WAIT_INTERRUPTED) {
            interrupt_raise();
            return -1;
        }
    return 0;
}

/* -1 with an exception. */
static int wait_for_owner(struct waiter *me, PyObject *file, int64_t pause) {
    int64_t deadline = timer_after(rt_now(), pause);
    if (semaroot_wait(me, file, never, NULL, "IO wait", deadline, 0) != WAIT_INTERRUPTED)
        return 0;
    interrupt_raise();
    return -1;
}

/* ---- a call ---- */

struct call {
    struct patch *p; /* NULL: the slot is called */
    struct patch_slot *slot;
    PyObject *self, *const *args;
    Py_ssize_t nargs;
    PyObject *kwnames;
};

static PyObject *as_built_in(const struct call *c) {
    return c->p ? patch_call(c->p, c->self, c->args, c->nargs, c->kwnames)
                : ((iternextfunc)c->slot->plain)(c->self);
}

static PyObject *call_inside(const struct call *c) {
    struct file_call me = {.file = c->self};
    make_known(&me);
    PyObject *result = as_built_in(c);
    forget(&me);
    semaroot_wake(c->self);
    return result;
}

static PyObject *call_in_turn(const struct call *c) {
    struct waiter me = {0};
    if (is_within(sched_current(), c->self, latest))
        return as_built_in(c);
    for (int64_t pause = FIRST_PAUSE;; pause = pause < LONGEST_PAUSE ? 2 * pause : pause) {
        if (wait_for_turn(&me, c->self) < 0)
            return NULL;
        PyObject *result = call_inside(c);
        if (result || !is_taken_for_owner())
            return result;
        if (wait_for_owner(&me, c->self, pause) < 0)
            return NULL;
    }
}

PATCH_BODY(buffered_body) {
    struct call c = {p, NULL, self, args, nargs, kwnames};
    return call_in_turn(&c);
}

PATCH(reader_read, "_io", "BufferedReader", "read", buffered_body, IN_GOROUTINES)
PATCH(reader_read1, "_io", "BufferedReader", "read1", buffered_body, IN_GOROUTINES)
PATCH(reader_readinto, "_io", "BufferedReader", "readinto", buffered_body, IN_GOROUTINES)
PATCH(reader_readinto1, "_io", "BufferedReader", "readinto1", buffered_body, IN_GOROUTINES)
PATCH(reader_readline, "_io", "BufferedReader", "readline", buffered_body, IN_GOROUTINES)
PATCH(reader_peek, "_io", "BufferedReader", "peek", buffered_body, IN_GOROUTINES)
PATCH(reader_seek, "_io", "BufferedReader", "seek", buffered_body, IN_GOROUTINES)
PATCH(reader_close, "_io", "BufferedReader", "close", buffered_body, IN_GOROUTINES)
PATCH(writer_write, "_io", "BufferedWriter", "write", buffered_body, IN_GOROUTINES)
PATCH(writer_flush, "_io", "BufferedWriter", "flush", buffered_body, IN_GOROUTINES)
PATCH(writer_seek, "_io", "BufferedWriter", "seek", buffered_body, IN_GOROUTINES)
PATCH(writer_truncate, "_io", "BufferedWriter", "truncate", buffered_body, IN_GOROUTINES)
PATCH(writer_close, "_io", "BufferedWriter", "close", buffered_body, IN_GOROUTINES)
PATCH(random_read, "_io", "BufferedRandom", "read", buffered_body, IN_GOROUTINES)
PATCH(random_read1, "_io", "BufferedRandom", "read1", buffered_body, IN_GOROUTINES)
PATCH(random_readinto, "_io", "BufferedRandom", "readinto", buffered_body, IN_GOROUTINES)
PATCH(random_readinto1, "_io", "BufferedRandom", "readinto1", buffered_body, IN_GOROUTINES)
PATCH(random_readline, "_io", "BufferedRandom", "readline", buffered_body, IN_GOROUTINES)
PATCH(random_peek, "_io", "BufferedRandom", "peek", buffered_body, IN_GOROUTINES)
PATCH(random_write, "_io", "BufferedRandom", "write", buffered_body, IN_GOROUTINES)
PATCH(random_flush, "_io", "BufferedRandom", "flush", buffered_body, IN_GOROUTINES)
PATCH(random_seek, "_io", "BufferedRandom", "seek", buffered_body, IN_GOROUTINES)
PATCH(random_truncate, "_io", "BufferedRandom", "truncate", buffered_body, IN_GOROUTINES)
PATCH(random_close, "_io", "BufferedRandom", "close", buffered_body, IN_GOROUTINES)

struct patch *const patch_buffered[] = {
    &reader_read,     &reader_read1,     &reader_readinto, &reader_readinto1, &reader_readline,
    &reader_peek,     &reader_seek,      &reader_close,    &writer_write,     &writer_flush,
    &writer_seek,     &writer_truncate,  &writer_close,    &random_read,      &random_read1,
    &random_readinto, &random_readinto1, &random_readline, &random_peek,      &random_write,
    &random_flush,    &random_seek,      &random_truncate, &random_close,     NULL};

/* ---- iteration ---- */

static struct patch_slot reader_next, random_next;

/* Most lines are in the buffer already, and to get one of those costs no more than to ask which goroutine this
 * is. So it is tried at once, by goroutines and threads. */
static PyObject *try_next_line(const struct call *c) {
    struct file_call me = {.file = c->self};
    latest = &me;
    PyObject *line = as_built_in(c);
    latest = NULL;
    if (me.known)
        forget(&me);
    semaroot_wake(c->self);
    return line;
}

/* Of a derived class it calls its readline(), which is patched itself. */
static PyObject *next_line(PyObject *self, struct patch_slot *slot) {
    struct call c = {NULL, slot, self, NULL, 0, NULL};
    const struct file_call *outer = latest;
    if (Py_TYPE(self) != slot->type_object)
        return as_built_in(&c);
    if (is_free(self)) {
        PyObject *line = try_next_line(&c);
        if (line || !PyErr_Occurred() || !patch_in_goroutine() ||
            is_within(sched_current(), self, outer) || !is_taken_for_owner())
            return line;
    }
    return patch_in_goroutine() ? call_in_turn(&c) : as_built_in(&c);
}

static PyObject *reader_next_line(PyObject *self) { return next_line(self, &reader_next); }
static PyObject *random_next_line(PyObject *self) { return next_line(self, &random_next); }

PATCH_SLOT(reader_next, "_io", "BufferedReader", "__next__", tp_iternext, reader_next_line)
PATCH_SLOT(random_next, "_io", "BufferedRandom", "__next__", tp_iternext, random_next_line)

struct patch_slot *const patch_buffered_slots[] = {&reader_next, &random_next, NULL};
