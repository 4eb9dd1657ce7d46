/* Contexts: C stacks that can be left and resumed, on any OS thread.
 *
 * The switch itself is a few instructions of assembly, which save what the ABI lets a function
 * expect to find unchanged after a call: callee-saved registers and floating-point control state
 * (rounding, exception masks).  Everything else, thread-local storage first, belongs to the OS
 * thread: a function that switches must not use the address of a thread-local variable computed
 * before, so the current M is read through a function that is never inlined.
 *
 * `struct context` adds what the sanitizers must be told about each switch.  In plain builds it is
 * the stack pointer, and the functions below are the switch.
 *
 * Contexts have no lock.  Whoever resumes one on another thread makes the saving of it happen
 * before, with release/acquire order or a lock of its own.
 */
#ifndef GOROUTINES_RUNTIME_CONTEXT_H
#define GOROUTINES_RUNTIME_CONTEXT_H

#include <stddef.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CONTEXT_ASAN 1
#elif __has_feature(thread_sanitizer)
#define CONTEXT_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) && !defined(CONTEXT_ASAN)
#define CONTEXT_ASAN 1
#elif defined(__SANITIZE_THREAD__) && !defined(CONTEXT_TSAN)
#define CONTEXT_TSAN 1
#endif

#if defined(CONTEXT_ASAN)
#include <pthread.h>
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#elif defined(CONTEXT_TSAN)
#include <sanitizer/tsan_interface.h>
#endif

/* Suspends the caller, leaving its stack pointer in *save_sp, and resumes the context suspended at
 * load_sp.  Returns when somebody switches to *save_sp, maybe on another OS thread. */
__attribute__((visibility("hidden"))) void context_switch(void **save_sp, void *load_sp);

/* Returns the stack pointer of a new suspended context that runs entry() on the stack ending at
 * stack_hi (aligned down to 16), with the caller's floating-point control state.  entry must not
 * return.  Its caller, context_start, ends every stack walk. */
__attribute__((visibility("hidden"))) void *context_make(void *stack_hi, void (*entry)(void));

struct context {
    void *sp; /* where it is suspended; stale while it runs */
#if defined(CONTEXT_ASAN)
    const void *lo;   /* bounds of its stack, */
    size_t size;      /* told to ASan at each jump to it */
    void *fake_stack; /* ASan's shadow frames, valid while suspended */
#elif defined(CONTEXT_TSAN)
    void *fiber; /* TSan's view of it as a thread */
#endif
};

/* Makes *c a context that will run entry() on [lo, hi).  A stack may be used again for a new
 * context once the last one was left with context_exit_jump and destroyed. */
static inline void context_init(struct context *c, void *lo, void *hi, void (*entry)(void)) {
#if defined(CONTEXT_ASAN)
    c->lo = lo;
    c->size = (size_t)((char *)hi - (char *)lo);
    c->fake_stack = NULL;
    /* Frames of the previous user that never returned have left their red zones poisoned. */
    __asan_unpoison_memory_region(lo, c->size);
#elif defined(CONTEXT_TSAN)
    c->fiber = __tsan_create_fiber(0);
#endif
    (void)lo;
    c->sp = context_make(hi, entry);
}

/* Makes *c stand for the calling OS thread on its native stack, to be jumped away from. */
static inline void context_init_thread(struct context *c) {
    c->sp = NULL;
#if defined(CONTEXT_ASAN)
    pthread_attr_t attr;
    void *lo = NULL;
    c->size = 0;
    if (pthread_getattr_np(pthread_self(), &attr) == 0) {
        pthread_attr_getstack(&attr, &lo, &c->size);
        pthread_attr_destroy(&attr);
    }
    c->lo = lo;
    c->fake_stack = NULL;
#elif defined(CONTEXT_TSAN)
    c->fiber = __tsan_get_current_fiber();
#endif
}

/* To be called first by the entry function of a context; context_jump does the like on return. */
static inline void context_entered(void) {
#if defined(CONTEXT_ASAN)
    __sanitizer_finish_switch_fiber(NULL, NULL, NULL);
#endif
}

/* Suspends *from, which must be the running context, and resumes *to.  Returns when somebody jumps
 * to *from. */
static inline void context_jump(struct context *from, struct context *to) {
#if defined(CONTEXT_ASAN)
    __sanitizer_start_switch_fiber(&from->fake_stack, to->lo, to->size);
#elif defined(CONTEXT_TSAN)
    /* Flag 0: what this OS thread did before the jump happens before what it does after it. */
    __tsan_switch_to_fiber(to->fiber, 0);
#endif
    context_switch(&from->sp, to->sp);
#if defined(CONTEXT_ASAN)
    __sanitizer_finish_switch_fiber(from->fake_stack, NULL, NULL);
#endif
}

/* Leaves *from, which must be the running context, for good and resumes *to.  *to may destroy *from
 * and give its stack back. */
_Noreturn static inline void context_exit_jump(struct context *from, struct context *to) {
#if defined(CONTEXT_ASAN)
    __sanitizer_start_switch_fiber(NULL, to->lo, to->size); /* NULL: frees the fake stack */
#elif defined(CONTEXT_TSAN)
    __tsan_switch_to_fiber(to->fiber, 0);
#endif
    context_switch(&from->sp, to->sp);
    __builtin_trap();
}

/* Forgets a context made by context_init that does not run, and will not again. */
static inline void context_destroy(struct context *c) {
#if defined(CONTEXT_TSAN)
    __tsan_destroy_fiber(c->fiber);
    c->fiber = NULL;
#endif
    c->sp = NULL;
}

#endif
