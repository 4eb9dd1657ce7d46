/* Patching: built-in functions and methods that block are given ones that park.
 *
 * A built-in is reached through its PyMethodDef, whose ml_meth is read at each call. So whatever was
 * made or imported before (`from time import sleep`, a bound method, a lock) follows when that one
 * pointer is exchanged, and is as before when it is put back. No attribute of a module is touched.
 *
 * One struct patch, made with PATCH(), for each built-in. Its body is written once, for the calling
 * convention of vectorcalls; which convention the built-in has differs between versions and is seen to
 * here. A file patch_<module>.c has the bodies and a list of its patches; patch.c knows the lists. */
#ifndef GOROUTINES_PATCH_H
#define GOROUTINES_PATCH_H

#include "binding.h"

#include <errno.h>
#include <stddef.h>

enum patch_convention {
    PATCH_NOARGS,
    PATCH_O,
    PATCH_VARARGS,
    PATCH_VARKW,
    PATCH_FAST,
    PATCH_FASTKW,
    PATCH_METHOD, /* FASTKW and the defining class */
    PATCH_CONVENTIONS,
};

/* Who gets the body: elsewhere the built-in itself is called, at once. */
enum patch_where { IN_GOROUTINES, EVERYWHERE };

struct patch {
    const char *module, *type, *name; /* type: NULL for a function */
    PyObject *(*body)(struct patch *p, PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                      PyObject *kwnames);
    enum patch_where where;
    PyCFunction entries[PATCH_CONVENTIONS]; /* what is put into ml_meth */
    /* Once it has been found; the definition is never freed. */
    PyMethodDef *def;
    PyMethodDef plain;         /* as def was */
    PyTypeObject *type_object; /* of a method; kept for ever */
    enum patch_convention convention;
    bool installed;
};

/* Heads a body. */
#define PATCH_BODY(f)                                                                              \
    static PyObject *f(struct patch *p, PyObject *self, PyObject *const *args, Py_ssize_t nargs,   \
                       PyObject *kwnames)

/* The built-in itself. Runs no Python code if that does not, and allocates nothing for the arguments () and
 * (False,). */
PyObject *patch_call(struct patch *p, PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                     PyObject *kwnames);

/* Whether the caller is a goroutine, and not in another interpreter that it has entered. */
bool patch_in_goroutine(void);

/* The arguments that a function with these parameter names is called with; absent ones stay as they are.
 * False: the call is wrong, and the built-in is to say how. */
bool patch_arguments(const char *const *names, int n, PyObject **values, PyObject *const *args,
                     Py_ssize_t nargs, PyObject *kwnames);

/* n positional arguments and no others. */
static inline bool patch_positional(Py_ssize_t n, Py_ssize_t nargs, PyObject *kwnames) {
    return nargs == n && !(kwnames && PyTuple_GET_SIZE(kwnames));
}

/* A float or int of seconds that is not negative, not NaN and small enough for the clock, in ns. False: it
 * is something else, for the built-in to deal with. */
bool patch_seconds(PyObject *seconds, int64_t *ns);

/* ---- PATCH(): the entries, one for each calling convention ---- */

PyObject *patch_enter_noargs(struct patch *p, PyObject *self);
PyObject *patch_enter_o(struct patch *p, PyObject *self, PyObject *arg);
PyObject *patch_enter_varargs(struct patch *p, PyObject *self, PyObject *args);
PyObject *patch_enter_varkw(struct patch *p, PyObject *self, PyObject *args, PyObject *kwargs);
PyObject *patch_enter_fast(struct patch *p, PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                           PyObject *kwnames);

#define PATCH_ENTRY(f) (PyCFunction)(void (*)(void)) f

/* A patch of that name for module.attribute or module.type.attribute. */
#define PATCH(id, module_, type_, name_, body_, where_)                                            \
    static struct patch id;                                                                        \
    static PyObject *id##_noargs(PyObject *self, PyObject *unused) {                               \
        (void)unused;                                                                              \
        return patch_enter_noargs(&id, self);                                                      \
    }                                                                                              \
    static PyObject *id##_o(PyObject *self, PyObject *arg) {                                       \
        return patch_enter_o(&id, self, arg);                                                      \
    }                                                                                              \
    static PyObject *id##_varargs(PyObject *self, PyObject *args) {                                \
        return patch_enter_varargs(&id, self, args);                                               \
    }                                                                                              \
    static PyObject *id##_varkw(PyObject *self, PyObject *args, PyObject *kwargs) {                \
        return patch_enter_varkw(&id, self, args, kwargs);                                         \
    }                                                                                              \
    static PyObject *id##_fast(PyObject *self, PyObject *const *args, Py_ssize_t n) {              \
        return patch_enter_fast(&id, self, args, n, NULL);                                         \
    }                                                                                              \
    static PyObject *id##_fastkw(PyObject *self, PyObject *const *args, Py_ssize_t n,              \
                                 PyObject *kwnames) {                                              \
        return patch_enter_fast(&id, self, args, n, kwnames);                                      \
    }                                                                                              \
    static PyObject *id##_method(PyObject *self, PyTypeObject *cls, PyObject *const *args,         \
                                 Py_ssize_t n, PyObject *kwnames) {                                \
        (void)cls;                                                                                 \
        return patch_enter_fast(&id, self, args, n, kwnames);                                      \
    }                                                                                              \
    static struct patch id = {                                                                     \
        .module = module_,                                                                         \
        .type = type_,                                                                             \
        .name = name_,                                                                             \
        .body = body_,                                                                             \
        .where = where_,                                                                           \
        .entries = {PATCH_ENTRY(id##_noargs), PATCH_ENTRY(id##_o), PATCH_ENTRY(id##_varargs),      \
                    PATCH_ENTRY(id##_varkw), PATCH_ENTRY(id##_fast), PATCH_ENTRY(id##_fastkw),     \
                    PATCH_ENTRY(id##_method)},                                                     \
    };

/* ---- slots: what is called through a type, and has no PyMethodDef ---- */

/* Exchanged in the type, in each class derived from it that has not its own, and, for super() and classes yet
 * to be made, in the descriptor. All interpreters but the main one have types of their own, or (3.11) the
 * same ones: the replacement asks patch_in_goroutine(). */
struct patch_slot {
    const char *module, *type, *name; /* of the method, __next__ */
    size_t offset;                    /* in the type */
    void *replacement;
    /* Once it has been found. */
    PyTypeObject *type_object; /* kept for ever */
    PyWrapperDescrObject *descriptor;
    void *plain;
    bool installed;
};

#define PATCH_SLOT(id, module_, type_, name_, slot_, replacement_)                                 \
    static struct patch_slot id = {                                                                \
        .module = module_,                                                                         \
        .type = type_,                                                                             \
        .name = name_,                                                                             \
        .offset = offsetof(PyTypeObject, slot_),                                                   \
        .replacement = (void *)replacement_,                                                       \
    };

/* ---- the lists; each ends with NULL ---- */

extern struct patch *const patch_time[];    /* patch_time.c */
extern struct patch *const patch_sockets[]; /* patch_socket.c */
extern struct patch *const patch_socket_closes[];
extern struct patch *const patch_buffered[]; /* patch_buffered.c */
extern struct patch_slot *const patch_buffered_slots[];
extern struct patch *const patch_files[]; /* patch_file.c */
extern struct patch *const patch_file_closes[];
extern struct patch *const patch_ssl[];     /* patch_ssl.c */
extern struct patch *const patch_locks[];   /* patch_lock.c */
extern struct patch *const patch_queues[];  /* patch_queue.c */
extern struct patch *const patch_threads[]; /* patch_thread.c */
extern struct patch *const patch_main[];
extern struct patch *const patch_signals[];     /* patch_signal.c */
extern struct patch *const patch_selects[];     /* patch_select.c */
extern struct patch *const patch_descriptors[]; /* patch_os.c */
extern struct patch *const patch_closes[];
extern struct patch *const patch_children[];
extern struct patch_slot *const patch_connections[]; /* patch_sqlite3.c */

/* What a group needs besides exchanging pointers. -1 with an exception. */
int patch_sockets_install(void);
int patch_ssl_install(void);
int patch_locks_install(void);
int patch_threads_install(void);
int patch_main_install(void);
int patch_selects_install(void);
int patch_files_install(void);

/* patch_signal.c. After a call of a goroutine that may have sent this process a signal: its result, once
 * the handler has run, or NULL with what that raised. Steals result. */
PyObject *patch_signal_sent(PyObject *result);

/* ---- semaroot.c: waiting for an object that knows nothing of goroutines ---- */

/* A goroutine's wait, on its own stack: zeroes at first, and the same one for all waits of a call. */
struct waiter {
    void *key;
    struct g *g;
    int64_t since;                        /* rt_now() when the call first waited */
    struct waiter *prev, *next;           /* with the same key */
    struct waiter *last;                  /* of the first one: the last one */
    struct waiter *link_prev, *link_next; /* of the first one: first ones in the same bucket */
    bool queued;
};

enum waited {
    WAIT_READY, /* ready() said so */
    WAIT_WOKEN, /* somebody woke it: look again */
    WAIT_TIMEOUT,
    WAIT_INTERRUPTED,
};

/* A goroutine waits for key. ready(arg) is asked once it can be found, within the scheduler's section: it
 * must not run Python code. flags: as of sched_park_begin(). */
enum waited semaroot_wait(struct waiter *w, void *key, bool (*ready)(void *arg), void *arg,
                          const char *reason, int64_t deadline, uint32_t flags);
/* As netpoll_wait() says it: 0, ETIMEDOUT or EINTR. */
static inline int waited_errno(enum waited waited) {
    return waited == WAIT_TIMEOUT ? ETIMEDOUT : waited == WAIT_INTERRUPTED ? EINTR : 0;
}
/* Wakes the first one that waits for key, if any. */
void semaroot_wake(void *key);
/* One that has waited long was woken and has not come yet: others are to wait. */
bool semaroot_reserved(void *key);
void semaroot_wake_all(void *key);
/* All that wait for anything. */
void semaroot_wake_everybody(void);
void semaroot_fork_child(void);

/* ---- one at a time: those who are doing something, on their own stacks; guarded by the GIL ---- */

struct inside {
    void *key; /* what only one may do */
    struct inside *next;
};

static inline bool inside_any(const struct inside *list, const void *key) {
    while (list && list->key != key)
        list = list->next;
    return list;
}

static inline void inside_enter(struct inside **list, struct inside *me, void *key) {
    me->key = key;
    me->next = *list;
    *list = me;
}

/* Not in the list any more in a forked child, where it was emptied. */
static inline void inside_leave(struct inside **list, struct inside *me) {
    while (*list && *list != me)
        list = &(*list)->next;
    if (*list)
        *list = me->next;
}

/* ---- between patch_socket.c and patch_ssl.c ---- */

struct timeval;

bool patch_is_socket(PyObject *o);
int *patch_socket_fd(PyObject *sock);          /* -1: closed */
int64_t *patch_socket_timeout(PyObject *sock); /* in ns; negative: none; 0: it does not block */
int64_t patch_deadline(int64_t timeout);       /* of a call that begins now, with such a timeout */
/* SO_RCVTIMEO or SO_SNDTIMEO. *before, unless NULL: what it was. False: there is no such option. */
bool patch_set_kernel_timeout(int fd, int option, const struct timeval *tv, struct timeval *before);
extern const struct timeval patch_no_kernel_timeout; /* with it calls end at once, with EAGAIN */
/* Raises what netpoll_wait() has ended with; NULL. */
PyObject *patch_raise_wait(int err, const char *timed_out);

/* ---- descriptors ---- */

/* netpoll_close(), and for those who wait for several descriptors. With the GIL. (patch_select.c) */
void patch_closed(int fd);
/* The built-in, and then that, even after a failure: close() gives the number up whatever it says. */
PyObject *patch_close(struct patch *p, int fd, PyObject *self, PyObject *const *args,
                      Py_ssize_t nargs, PyObject *kwnames);
void patch_selects_fork_child(void);
void patch_descriptors_fork_child(void);

/* For calls that buffered files make, before they release the GIL: others that want such a file then know that
 * somebody is in it. (patch_buffered.c) */
void patch_iteration_known(void);
/* And netpoll_wait(). */
int patch_wait(int fd, enum netpoll_mode mode, int64_t deadline);
void patch_buffered_fork_child(void);

/* ---- between patch_os.c and patch_file.c ---- */

/* Whether it does not wait: O_NONBLOCK, or `wrong`, the access (O_RDONLY, O_WRONLY) that does not allow it. */
bool patch_fails_at_once(int fd, int wrong);
/* The built-in's result, once it does not block. fd -1: at once. */
PyObject *patch_read_when_ready(struct patch *p, int fd, PyObject *self, PyObject *const *args,
                                Py_ssize_t nargs, PyObject *kwnames);
/* What blocks until all of a large write has gone: pipes, sockets, terminals, unless O_NONBLOCK. */
bool patch_takes_in_parts(int fd);
/* All of it. Returns how much was written; *err: why no more. */
Py_ssize_t patch_write_all(int fd, const char *data, Py_ssize_t len, int *err);
/* 0: the built-in may be called now, if it writes little; EINTR, EBADF. */
int patch_wait_writable(int fd);

/* ---- between patch_lock.c and patch_thread.c ---- */

/* C code releases this lock: goroutines block in it. -1 with an exception. */
int patch_lock_released_by_c(PyObject *lock);

/* For os.register_at_fork(). */
PyObject *patch_threads_after_fork(PyObject *module, PyObject *thread_handle);

#endif
