/* patch.threading(), the locks: _thread.lock and _thread.RLock.
 *
 * A lock itself stays what it is, for goroutines and threads alike. A goroutine tries it without
 * blocking, and while that fails waits in the semaroot by the lock's address. A thread blocks in the
 * lock as before. Whoever releases it, releases it and then wakes the first goroutine that waits.
 *
 * An RLock knows its owner by the OS thread's ident, in a field that is found by looking what changes
 * when one is acquired. For a goroutine the field has the goroutine's ident (patch_ident()); while the
 * built-in works on a lock of the caller's, it has the OS thread's, which is what that compares it with. The
 * GIL is held all the while. */
#include "patch.h"

/* ---- acquire's arguments ---- */

enum acquire_how { AS_BUILT_IN, BLOCKING, FAILED };

/* BLOCKING: *deadline is set. What does not block, and what is wrong, is the built-in's business. */
static enum acquire_how parse_acquire(PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
                                      int64_t *deadline) {
    static const char *const names[] = {"blocking", "timeout"};
    PyObject *values[2] = {NULL, NULL};
    *deadline = NOTE_FOREVER;
    if (nargs == 0 && !kwnames)
        return BLOCKING;
    if (!patch_arguments(names, 2, values, args, nargs, kwnames))
        return AS_BUILT_IN;
    int blocking = values[0] ? PyObject_IsTrue(values[0]) : 1;
    if (blocking < 0)
        return FAILED;
    if (!blocking)
        return AS_BUILT_IN;
    if (!values[1] || (PyLong_Check(values[1]) && PyLong_AsLong(values[1]) == -1) ||
        (PyFloat_Check(values[1]) && PyFloat_AS_DOUBLE(values[1]) == -1)) {
        if (!PyErr_Occurred())
            return BLOCKING;
        PyErr_Clear();
    }
    int64_t ns;
    if (!patch_seconds(values[1], &ns) || ns == 0 || ns / 1000 > PY_TIMEOUT_MAX)
        return AS_BUILT_IN;
    *deadline = timer_after(rt_now(), ns);
    return BLOCKING;
}

/* ---- Lock ---- */

PATCH_BODY(acquire_body);
PATCH_BODY(release_body);

PATCH(lock_acquire, "_thread", "LockType", "acquire", acquire_body, IN_GOROUTINES)
PATCH(lock_acquire_lock, "_thread", "LockType", "acquire_lock", acquire_body, IN_GOROUTINES)
PATCH(lock_enter, "_thread", "LockType", "__enter__", acquire_body, IN_GOROUTINES)
PATCH(lock_release, "_thread", "LockType", "release", release_body, EVERYWHERE)
PATCH(lock_release_lock, "_thread", "LockType", "release_lock", release_body, EVERYWHERE)
PATCH(lock_exit, "_thread", "LockType", "__exit__", release_body, EVERYWHERE)

static bool is_true(PyObject *result) {
    bool yes = result == Py_True;
    if (!result)
        PyErr_Clear();
    Py_XDECREF(result);
    return yes;
}

static bool try_lock(void *lock) {
    if (semaroot_reserved(lock))
        return false;
    PyObject *not_blocking = Py_False;
    return is_true(patch_call(&lock_acquire, lock, &not_blocking, 1, NULL));
}

/* Locks that C code releases when a thread ends (up to 3.12): a goroutine blocks in them. */
static PyObject *released_by_c;

PATCH_BODY(acquire_body) {
    int64_t deadline;
    struct waiter me = {0};
    enum acquire_how how = parse_acquire(args, nargs, kwnames, &deadline);
    if (how == FAILED)
        return NULL;
    if (how == AS_BUILT_IN)
        return patch_call(p, self, args, nargs, kwnames);
    if (try_lock(self))
        Py_RETURN_TRUE;
    if (released_by_c && PySet_Contains(released_by_c, self) == 1)
        return patch_call(p, self, args, nargs, kwnames);
    while (!try_lock(self)) {
        if (!p->installed)
            return patch_call(p, self, args, nargs, kwnames);
        switch (semaroot_wait(&me, self, try_lock, self, "lock", deadline, 0)) {
        case WAIT_READY:
            Py_RETURN_TRUE;
        case WAIT_TIMEOUT:
            Py_RETURN_FALSE;
        case WAIT_INTERRUPTED:
            interrupt_raise();
            return NULL;
        case WAIT_WOKEN:
            break;
        }
    }
    Py_RETURN_TRUE;
}

PATCH_BODY(release_body) {
    PyObject *result = patch_call(p, self, args, nargs, kwnames);
    if (result)
        semaroot_wake(self);
    return result;
}

/* ---- RLock ---- */

PATCH_BODY(racquire_body);
PATCH_BODY(rrelease_body);
PATCH_BODY(as_owner);
PATCH_BODY(release_save_body);
PATCH_BODY(acquire_restore_body);

PATCH(rlock_acquire, "_thread", "RLock", "acquire", racquire_body, EVERYWHERE)
PATCH(rlock_enter, "_thread", "RLock", "__enter__", racquire_body, EVERYWHERE)
PATCH(rlock_release, "_thread", "RLock", "release", rrelease_body, EVERYWHERE)
PATCH(rlock_exit, "_thread", "RLock", "__exit__", rrelease_body, EVERYWHERE)
PATCH(rlock_is_owned, "_thread", "RLock", "_is_owned", as_owner, EVERYWHERE)
PATCH(rlock_count, "_thread", "RLock", "_recursion_count", as_owner, EVERYWHERE)
PATCH(rlock_release_save, "_thread", "RLock", "_release_save", release_save_body, EVERYWHERE)
PATCH(rlock_acquire_restore, "_thread", "RLock", "_acquire_restore", acquire_restore_body,
      EVERYWHERE)

static Py_ssize_t owner_offset; /* of an unsigned long in an RLock; 0: not known yet */

static unsigned long *owner_of(void *rlock) {
    return (unsigned long *)((char *)rlock + owner_offset);
}

/* The built-in, seeing the caller as its owner. Does not block, unless on a plain thread. */
PATCH_BODY(as_owner) {
    unsigned long me = patch_ident(), thread = PyThread_get_thread_ident();
    if (me == thread)
        return patch_call(p, self, args, nargs, kwnames);
    if (*owner_of(self) == me)
        *owner_of(self) = thread;
    PyObject *result = patch_call(p, self, args, nargs, kwnames);
    if (*owner_of(self) == thread)
        *owner_of(self) = me;
    return result;
}

static bool try_rlock(void *rlock) {
    if (*owner_of(rlock) != patch_ident() && semaroot_reserved(rlock))
        return false;
    PyObject *not_blocking = Py_False;
    return is_true(as_owner(&rlock_acquire, rlock, &not_blocking, 1, NULL));
}

/* WAIT_READY or WAIT_TIMEOUT or WAIT_INTERRUPTED; WAIT_WOKEN: not patched any more. */
static enum waited wait_for_rlock(struct patch *p, PyObject *self, int64_t deadline,
                                  uint32_t flags) {
    struct waiter me = {0};
    while (!try_rlock(self)) {
        if (!p->installed)
            return WAIT_WOKEN;
        enum waited how = semaroot_wait(&me, self, try_rlock, self, "rlock", deadline, flags);
        if (how != WAIT_WOKEN)
            return how;
    }
    return WAIT_READY;
}

PATCH_BODY(racquire_body) {
    int64_t deadline;
    enum acquire_how how = patch_in_goroutine() ? parse_acquire(args, nargs, kwnames, &deadline)
                                                : AS_BUILT_IN;
    if (how == FAILED)
        return NULL;
    if (how == AS_BUILT_IN)
        return as_owner(p, self, args, nargs, kwnames);
    switch (wait_for_rlock(p, self, deadline, 0)) {
    case WAIT_READY:
        Py_RETURN_TRUE;
    case WAIT_TIMEOUT:
        Py_RETURN_FALSE;
    case WAIT_INTERRUPTED:
        interrupt_raise();
        return NULL;
    default:
        return as_owner(p, self, args, nargs, kwnames);
    }
}

static void wake_if_free(PyObject *self) {
    if (*owner_of(self) == 0)
        semaroot_wake(self);
}

PATCH_BODY(rrelease_body) {
    PyObject *result = as_owner(p, self, args, nargs, kwnames);
    if (result)
        wake_if_free(self);
    return result;
}

/* (count, owner), for _acquire_restore. */
PATCH_BODY(release_save_body) {
    PyObject *saved = as_owner(p, self, args, nargs, kwnames);
    if (!saved)
        return NULL;
    wake_if_free(self);
    if (patch_ident() != PyThread_get_thread_ident())
        Py_SETREF(saved, Py_BuildValue("(Ok)", PyTuple_GET_ITEM(saved, 0), patch_ident()));
    return saved;
}

/* As the built-in it cannot be interrupted: Condition.wait() relies on having the lock afterwards. */
PATCH_BODY(acquire_restore_body) {
    Py_ssize_t count;
    unsigned long owner;
    if (!patch_in_goroutine())
        return patch_call(p, self, args, nargs, kwnames);
    if (nargs != 1 || !PyTuple_Check(args[0]) || !PyArg_ParseTuple(args[0], "nk", &count, &owner)) {
        PyErr_Clear();
        return patch_call(p, self, args, nargs, kwnames);
    }
    if (wait_for_rlock(p, self, NOTE_FOREVER, PARK_UNINTERRUPTIBLE) != WAIT_READY)
        return patch_call(p, self, args, nargs, kwnames);
    while (--count > 0)
        try_rlock(self);
    Py_RETURN_NONE;
}

struct patch *const patch_locks[] = {
    &lock_acquire,       &lock_acquire_lock,     &lock_enter,
    &lock_release,       &lock_release_lock,     &lock_exit,
    &rlock_acquire,      &rlock_enter,           &rlock_release,
    &rlock_exit,         &rlock_is_owned,        &rlock_count,
    &rlock_release_save, &rlock_acquire_restore, NULL,
};

/* ---- installing ---- */

/* Where an acquired RLock has its owner: the only word that is this thread's ident. */
static Py_ssize_t look_for_owner(PyObject *rlock) {
    unsigned long thread = PyThread_get_thread_ident();
    Py_ssize_t found = 0, n = 0;
    for (Py_ssize_t at = sizeof(PyObject);
         at + (Py_ssize_t)sizeof thread <= rlock_acquire.type_object->tp_basicsize;
         at += sizeof thread)
        if (*(unsigned long *)((char *)rlock + at) == thread) {
            found = at;
            n++;
        }
    return n == 1 ? found : 0;
}

static int find_owner_field(void) {
    PyObject *rlock = PyObject_CallNoArgs((PyObject *)rlock_acquire.type_object);
    if (!rlock)
        return -1;
    PyObject *acquired = patch_call(&rlock_acquire, rlock, NULL, 0, NULL);
    owner_offset = acquired ? look_for_owner(rlock) : 0;
    PyObject *released = acquired ? patch_call(&rlock_release, rlock, NULL, 0, NULL) : NULL;
    bool ok = released && owner_offset && *owner_of(rlock) == 0;
    Py_XDECREF(acquired);
    Py_XDECREF(released);
    Py_DECREF(rlock);
    if (!ok && !PyErr_Occurred())
        PyErr_SetString(PyExc_RuntimeError, "goroutines: RLock cannot be patched on this Python");
    return ok ? 0 : -1;
}

#if PY_VERSION_HEX < 0x030d0000
int patch_lock_released_by_c(PyObject *lock) {
    if (!released_by_c && !(released_by_c = PySet_New(NULL)))
        return -1;
    return PySet_Add(released_by_c, lock);
}
#endif

int patch_locks_install(void) { return owner_offset ? 0 : find_owner_field(); }
