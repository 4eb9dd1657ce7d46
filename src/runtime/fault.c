#include "fault.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "stack.h"

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51 /* the kernel's own part of a signal frame, which grows with the CPU */
#endif

static const size_t SIGNAL_STACK = (size_t)64 << 10; /* a traceback must fit, too */

static _Atomic(fault_namer) current_namer;
static struct sigaction previous_segv, previous_bus; /* constant once our handler is installed */

/* The thread that composes a message: a fault on it then is a fault of the namer. */
static _Atomic pid_t reporting;

/* The mapping of the signal stack that this thread made, guard page included.  Used on the thread's
 * native stack only. */
static _Thread_local char *own_stack;
static _Thread_local size_t own_size;

/* ---- The message. ---- */

struct message {
    size_t length;
    char text[256];
};

static void add(struct message *m, const char *text) {
    while (*text != '\0' && m->length < sizeof m->text)
        m->text[m->length++] = *text++;
}

static void add_number(struct message *m, size_t n) {
    char digits[24];
    char *at = digits + sizeof digits;
    *--at = '\0';
    do
        *--at = (char)('0' + n % 10);
    while ((n /= 10) > 0);
    add(m, at);
}

/* Adds "goroutine 7" and returns true, or leaves the message alone. */
static bool add_goroutine(struct message *m, const void *addr) {
    char number[32] = "";
    fault_namer namer = atomic_load_explicit(&current_namer, memory_order_acquire);
    int n = namer != NULL ? namer(addr, number, sizeof number - 1) : 0;
    if (n <= 0 || (size_t)n >= sizeof number)
        return false;
    number[n] = '\0';
    add(m, "goroutine ");
    add(m, number);
    return true;
}

static void print(const struct message *m) {
    for (size_t done = 0; done < m->length;) {
        ssize_t n = write(STDERR_FILENO, m->text + done, m->length - done);
        if (n < 0 && errno != EINTR)
            return;
        done += n > 0 ? (size_t)n : 0;
    }
}

static void report_overflow(const void *addr) {
    struct message m = {0};
    struct stack s = {0};
    bool found = stack_find(addr, &s);
    add(&m, "fatal error: stack overflow in ");
    if (!add_goroutine(&m, addr))
        add(&m, "an unknown goroutine");
    add(&m, ": its C stack of ");
    /* With the guard: the size that was asked for. */
    add_number(&m, found ? stack_bytes(s) / 1024 : 0);
    add(&m, " KiB is full (see goroutines.stack_size)\n");
    print(&m);
}

/* When the address does not tell: a handler in front of ours raises the signal again after its own
 * report, or a frame bigger than the guard has stepped over it. */
static void report_suspicion(int sig) {
    struct message m = {0};
    add(&m, sig == SIGBUS ? "fatal error: SIGBUS in " : "fatal error: SIGSEGV in ");
    if (!add_goroutine(&m, NULL))
        return;
    add(&m, " (its C stack may be full: see goroutines.stack_size)\n");
    print(&m);
}

/* ---- The handler. ---- */

static const void *stack_pointer(const ucontext_t *at) {
#if defined(__x86_64__)
    return (const void *)at->uc_mcontext.gregs[REG_RSP];
#else
    return (const void *)at->uc_mcontext.sp;
#endif
}

/* Whether the access was made with the stack pointer on no stack of ours, nor on a signal stack: in a
 * goroutine, whose stack is then behind it.  (A thread without one has no name to report.) */
static bool off_stack(const void *context) {
    const ucontext_t *at = context;
    const void *sp = stack_pointer(at);
    return !(at->uc_stack.ss_flags & SS_ONSTACK) && (!stack_owns(sp) || stack_guard_hit(sp));
}

static void set_default(int sig) {
    struct sigaction dfl = {.sa_handler = SIG_DFL};
    sigset_t only;
    sigaction(sig, &dfl, NULL);
    sigemptyset(&only);
    sigaddset(&only, sig);
    pthread_sigmask(SIG_UNBLOCK, &only, NULL);
}

/* Lets the default action kill the process: a fault by happening again when the handler returns,
 * so that the core shows where; a signal that was sent by being sent again. */
static void die(int sig, bool sent) {
    set_default(sig);
    if (sent)
        raise(sig);
}

/* Calls the handler that was there before ours as the kernel would have. */
static void call_previous(const struct sigaction *old, int sig, siginfo_t *info, void *context) {
    sigset_t mask = old->sa_mask, saved;
    if (!(old->sa_flags & SA_NODEFER))
        sigaddset(&mask, sig);
    if (old->sa_flags & (int)SA_RESETHAND)
        set_default(sig);
    pthread_sigmask(SIG_BLOCK, &mask, &saved);
    if (old->sa_flags & SA_SIGINFO)
        old->sa_sigaction(sig, info, context);
    else
        old->sa_handler(sig);
    pthread_sigmask(SIG_SETMASK, &saved, NULL);
}

static void chain(int sig, siginfo_t *info, void *context, bool sent) {
    const struct sigaction *old = sig == SIGBUS ? &previous_bus : &previous_segv;
    if (!(old->sa_flags & SA_SIGINFO) && old->sa_handler == SIG_DFL)
        die(sig, sent);
    else if (!(old->sa_flags & SA_SIGINFO) && old->sa_handler == SIG_IGN) {
        if (!sent) /* as the kernel does: a fault cannot be ignored */
            set_default(sig);
    } else
        call_previous(old, sig, info, context);
}

static void handle(int sig, siginfo_t *info, void *context) {
    int saved_errno = errno;
    bool sent = info->si_code <= 0; /* by kill, tgkill or sigqueue, not by a memory access */
    bool raised = info->si_code == SI_TKILL && info->si_pid == getpid();
    bool overflow = !sent && stack_guard_hit(info->si_addr);
    bool suspicious = raised || (!sent && off_stack(context));
    pid_t self = gettid(), nobody = 0;
    if (atomic_load(&reporting) == self) {
        die(sig, sent);
        return;
    }
    if ((overflow || suspicious) && atomic_compare_exchange_strong(&reporting, &nobody, self)) {
        if (overflow)
            report_overflow(info->si_addr);
        else
            report_suspicion(sig);
        atomic_store(&reporting, 0);
    }
    chain(sig, info, context, sent);
    /* A handler that only notes the signal would have the access fault, and us report, for ever. */
    if (overflow)
        set_default(sig);
    errno = saved_errno;
}

/* ---- Setting up. ---- */

void fault_set_namer(fault_namer namer) {
    atomic_store_explicit(&current_namer, namer, memory_order_release);
}

static void install(void) {
    /* NODEFER: a fault in the handler must reach it, not kill without a word. */
    struct sigaction ours = {.sa_sigaction = handle,
                             .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    sigemptyset(&ours.sa_mask);
    sigaction(SIGSEGV, NULL, &previous_segv); /* before ours can run and need it */
    sigaction(SIGBUS, NULL, &previous_bus);
    sigaction(SIGSEGV, &ours, NULL);
    sigaction(SIGBUS, &ours, NULL);
}

void fault_install(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, install);
}

void fault_thread_start(void) {
    stack_t current;
    if (sigaltstack(NULL, &current) != 0 || !(current.ss_flags & SS_DISABLE))
        return;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t size = (SIGNAL_STACK + getauxval(AT_MINSIGSTKSZ) + page - 1) & ~(page - 1);
    char *p = mmap(NULL, size + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return; /* the thread works without; an overflow on it will be silent */
    mprotect(p, page, PROT_NONE);
    stack_t new = {.ss_sp = p + page, .ss_size = size};
    if (sigaltstack(&new, NULL) != 0) {
        munmap(p, size + page);
        return;
    }
    own_stack = p;
    own_size = size + page;
}

void fault_thread_stop(void) {
    if (own_stack == NULL)
        return;
    stack_t current, off = {.ss_flags = SS_DISABLE};
    /* Somebody else's signal stack, set after ours, stays. */
    if (sigaltstack(NULL, &current) == 0 && (char *)current.ss_sp > own_stack &&
        (char *)current.ss_sp < own_stack + own_size)
        sigaltstack(&off, NULL);
    munmap(own_stack, own_size);
    own_stack = NULL;
}
