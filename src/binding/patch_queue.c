/* patch.threading(), queue.SimpleQueue in C: get parks. The other queues are made of locks. */
#include "patch.h"

PATCH_BODY(get_body);
PATCH_BODY(put_body);

PATCH(queue_get, "_queue", "SimpleQueue", "get", get_body, IN_GOROUTINES)
PATCH(queue_empty, "_queue", "SimpleQueue", "empty", patch_call, IN_GOROUTINES)
PATCH(queue_put, "_queue", "SimpleQueue", "put", put_body, EVERYWHERE)
PATCH(queue_put_nowait, "_queue", "SimpleQueue", "put_nowait", put_body, EVERYWHERE)

/* As for a lock's acquire: false if the built-in is to deal with it. -1: an exception. */
static int blocks(PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, int64_t *deadline) {
    static const char *const names[] = {"block", "timeout"};
    PyObject *values[2] = {NULL, NULL};
    int64_t ns;
    *deadline = NOTE_FOREVER;
    if (!patch_arguments(names, 2, values, args, nargs, kwnames))
        return 0;
    int block = values[0] ? PyObject_IsTrue(values[0]) : 1;
    if (block <= 0 || !values[1] || values[1] == Py_None)
        return block;
    if (!patch_seconds(values[1], &ns) || ns == 0 || ns / 1000 > PY_TIMEOUT_MAX)
        return 0;
    *deadline = timer_after(rt_now(), ns);
    return 1;
}

static bool has_item(void *queue) {
    PyObject *empty = patch_call(&queue_empty, queue, NULL, 0, NULL);
    bool has = empty == Py_False;
    Py_XDECREF(empty);
    return has;
}

static PyObject *get_now(PyObject *self) {
    PyObject *not_blocking = Py_False;
    return patch_call(&queue_get, self, &not_blocking, 1, NULL);
}

PATCH_BODY(get_body) {
    int64_t deadline;
    struct waiter me = {0};
    int blocking = blocks(args, nargs, kwnames, &deadline);
    if (blocking < 0)
        return NULL;
    if (!blocking)
        return patch_call(p, self, args, nargs, kwnames);
    for (;;) {
        if (has_item(self))
            return get_now(self);
        if (!p->installed)
            return patch_call(p, self, args, nargs, kwnames);
        switch (semaroot_wait(&me, self, has_item, self, "queue get", deadline, 0)) {
        case WAIT_TIMEOUT:
            return get_now(self);
        case WAIT_INTERRUPTED:
            interrupt_raise();
            return NULL;
        default:
            break;
        }
    }
}

PATCH_BODY(put_body) {
    PyObject *result = patch_call(p, self, args, nargs, kwnames);
    if (result)
        semaroot_wake(self);
    return result;
}

struct patch *const patch_queues[] = {
    &queue_get, &queue_empty, &queue_put, &queue_put_nowait, NULL,
};
