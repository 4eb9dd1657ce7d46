/* What differs between CPython 3.11 and 3.15, and nothing else.
 *
 * Only fields that Include/cpython/pystate.h declares are used, but for two in internal headers: the
 * PyThreadState_Swap() of 3.11 does not tell PyGILState about the new thread state, and from 3.13 on a
 * forked child keeps the main thread's state of its parent, where it looks for signals. */
#ifndef GOROUTINES_COMPAT_H
#define GOROUTINES_COMPAT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>
#include <stddef.h>

#if PY_VERSION_HEX < 0x030b0000 || PY_VERSION_HEX >= 0x03100000
#error "goroutines supports CPython 3.11-3.15"
#endif
#ifdef Py_GIL_DISABLED
#error "goroutines supports CPython with the GIL; this is a free-threaded build"
#endif

/* Bytes of a goroutine's stack when the user says nothing. On 3.11 nothing but the recursion limit
 * protects the C stack, and the worst recursion within it (sorted() in __lt__) needs 2.5 MB. 3.12 and
 * 3.13 count C levels: see compat_set_stack. Later the
 * interpreter looks at the stack itself, but not at the libraries that it calls: _decimal takes 256 KiB
 * in one frame to multiply numbers of 100,000 digits. */
#if PY_VERSION_HEX >= 0x030e0000
#define DEFAULT_STACK_BYTES ((size_t)512 << 10)
#elif PY_VERSION_HEX >= 0x030c0000
#define DEFAULT_STACK_BYTES ((size_t)2 << 20)
#else
#define DEFAULT_STACK_BYTES ((size_t)4 << 20)
#endif

/* The data-stack chunk inside the goroutine's own C stack. */
#define INLINE_CHUNK_BYTES 1024

struct inline_chunk {
    union {
        _PyStackChunk chunk;
        char bytes[INLINE_CHUNK_BYTES];
    };
};

/* Makes this thread state's Python frames begin in c. The first slot stays unused, as in the
 * interpreter's own root chunk, so that popping the last frame never frees the chunk. */
static inline void compat_use_chunk(PyThreadState *ts, struct inline_chunk *c) {
    c->chunk.previous = NULL;
    c->chunk.size = INLINE_CHUNK_BYTES;
    c->chunk.top = 0;
    ts->datastack_chunk = &c->chunk;
    ts->datastack_top = &c->chunk.data[1];
    ts->datastack_limit = (PyObject **)(c->bytes + INLINE_CHUNK_BYTES);
}

/* The interpreter frees the chunks of a state that it deletes: ours is not its to free. */
static inline void compat_drop_chunk(PyThreadState *ts, struct inline_chunk *c) {
    if (ts->datastack_chunk != &c->chunk)
        return;
    ts->datastack_chunk = NULL;
    ts->datastack_top = NULL;
    ts->datastack_limit = NULL;
}

/* Whether ts is attached, as anybody may ask without the GIL. On 3.11 one variable says who holds it. */
static inline bool compat_attached(PyThreadState *ts) {
#if PY_VERSION_HEX >= 0x030d0000
    return __atomic_load_n(&ts->state, __ATOMIC_RELAXED) == 1; /* _Py_THREAD_ATTACHED */
#elif PY_VERSION_HEX >= 0x030c0000
    return ((volatile PyThreadState *)ts)->_status.active;
#else
    return _PyThreadState_UncheckedGet() == ts;
#endif
}

/* A new thread state; NULL when memory is out. The GIL is not needed. */
PyThreadState *compat_new_state(void);

/* The newest of all, from which PyThreadState_Next() leads to the others. With the GIL. */
PyThreadState *compat_newest_state(void);

/* From the attached state to another one. */
void compat_swap(PyThreadState *ts);
/* From no attached state. */
void compat_attach(PyThreadState *ts);

/* In a forked child, before the interpreter deletes the other states: ts, if any, is the main thread's. */
void compat_become_main(PyThreadState *ts);

/* Tells the interpreter where ts's C stack ends. False with an exception. */
static inline bool compat_set_stack(PyThreadState *ts, char *lo, char *hi) {
#if PY_VERSION_HEX >= 0x030e0000
    return PyUnstable_ThreadState_SetStackProtection(ts, lo, (size_t)(hi - lo)) == 0;
#elif PY_VERSION_HEX >= 0x030c0000
    /* Measured: the costliest level of C recursion needs under 1.7 KB of stack. */
    int fits = (int)((hi - lo - (64 << 10)) / 1700);
    if (fits < ts->c_recursion_remaining)
        ts->c_recursion_remaining = fits > 20 ? fits : 20;
    return true;
#else
    (void)ts, (void)lo, (void)hi;
    return true;
#endif
}

/* Whether a goroutine has left nothing in its thread state: no context, no thread locals, no hooks,
 * nothing raised or announced. */
bool compat_is_clean(PyThreadState *ts);

/* ts was cleared by its goroutine. A forked child, and the end of the interpreter, clear all states that
 * exist, those that are about to be deleted, too: what is called then is not to be called twice. */
static inline void compat_cleared(PyThreadState *ts) {
#if PY_VERSION_HEX < 0x030d0000
    ts->on_delete = NULL;
    ts->on_delete_data = NULL;
#else
    (void)ts;
#endif
}

/* Up to 3.11 any allocation may run the collector, and thereby code that waits: whatever was just seen
 * of another goroutine need not be true any more. While held, it does not run; result: for release. */
static inline int compat_hold_collector(void) { return PyGC_Disable(); }

static inline void compat_release_collector(int held) {
    if (held)
        PyGC_Enable();
}

/* A dictionary that is asked the same question again and again: has it changed since? Zero at first. */
struct compat_watch {
    PyObject *dict; /* kept alive by somebody else for ever; NULL: not watched yet */
#if PY_VERSION_HEX >= 0x030c0000
    bool unchanged; /* the interpreter tells of each change, just before it is made */
#else
    uint64_t version;
#endif
};

/* Whether dict (always the same one) is as it was at the call before. False: the answer that is looked
 * up now, before any other code runs, may be kept. With the GIL. */
bool compat_unchanged(struct compat_watch *w, PyObject *dict);

/* The exception being raised, as one object (taken away), or NULL. */
PyObject *compat_fetch(void);
/* Raises exc; takes the reference. */
void compat_raise(PyObject *exc);

#endif
