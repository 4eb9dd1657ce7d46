/* The message of a goroutine whose C stack overflows, beside other crash handlers.
 * check-c: skip valgrind (which has a signal handler of its own below ours) */
#include "fault.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "context.h"
#include "stack.h"

#if defined(CONTEXT_ASAN) || defined(CONTEXT_TSAN)
#define SANITIZED 1 /* the sanitizer's handler is the previous one, and exits */
#else
#define SANITIZED 0
#endif

#define NAMED                                                                                      \
    "fatal error: stack overflow in goroutine 7: its C stack of 64 KiB is full (see "              \
    "goroutines.stack_size)\n"

static char output[8192]; /* what the last child wrote to stderr */

static void ok(const char *name) {
    printf("ok %s\n", name);
    fflush(stdout);
}

/* Runs crash() in a child and returns its wait status. */
static int run(void (*crash)(void)) {
    int pipe_fds[2], status;
    CHECK(pipe(pipe_fds) == 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        dup2(pipe_fds[1], STDERR_FILENO);
        alarm(60);
        crash();
        _exit(0);
    }
    close(pipe_fds[1]);
    size_t length = 0;
    ssize_t n;
    while ((n = read(pipe_fds[0], output + length, sizeof output - 1 - length)) > 0)
        length += (size_t)n;
    output[length] = '\0';
    close(pipe_fds[0]);
    CHECK(waitpid(pid, &status, 0) == pid);
    return status;
}

static void check_killed(int status) {
    if (SANITIZED)
        CHECK(!WIFEXITED(status) || WEXITSTATUS(status) != 0);
    else
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

static bool says(const char *text) { return strstr(output, text) != NULL; }

static bool says_once(const char *text) {
    const char *at = strstr(output, text);
    return at != NULL && strstr(at + 1, text) == NULL;
}

static void write_text(const char *text) { CHECK(write(STDERR_FILENO, text, strlen(text)) > 0); }

/* ---- A goroutine that overflows its stack, on a thread like the scheduler's. ---- */

static struct stack stack;
static _Thread_local struct context native, goroutine;

/* As the scheduler's: by address, or the goroutine on this thread. */
static int namer(const void *addr, char *buf, size_t n) {
    struct stack found;
    if (addr == NULL ? goroutine.sp == NULL : !stack_find(addr, &found) || found.lo != stack.lo)
        return 0;
    CHECK(n > 1);
    buf[0] = '7';
    return 1;
}

static volatile int deepest = 1 << 30;
static char *volatile nowhere = (char *)16;

static __attribute__((noinline)) int recurse(int depth) {
    volatile char frame[1024];
    frame[0] = (char)depth;
    if (depth == deepest)
        return 0;
    return recurse(depth + 1) + frame[0];
}

/* Over the guard and all of the arena at once, as a C function with a frame of that size would. */
static __attribute__((noinline)) void step_over(void) {
    struct stack first;
    volatile char *below = stack.lo;
    while (stack_find((const void *)below, &first))
        below -= 64 * 1024;
    size_t frame = (size_t)((volatile char *)__builtin_frame_address(0) - below) + 64 * 1024;
    volatile char *far = __builtin_alloca(frame);
    far[0] = 1;
}

static bool steps_over;

static void overflowing_entry(void) {
    context_entered();
    if (steps_over)
        step_over();
    recurse(0);
    context_exit_jump(&goroutine, &native);
}

static void *overflow_thread(void *unused) {
    fault_thread_start();
    CHECK(stack_alloc(64 * 1024, &stack) == 0);
    context_init_thread(&native);
    context_init(&goroutine, stack.lo, stack.hi, overflowing_entry);
    context_jump(&native, &goroutine);
    return unused;
}

static void overflow(void) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, overflow_thread, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
}

static void overflow_named(void) {
    fault_set_namer(namer);
    fault_install();
    overflow();
}

static void overflow_steps_over(void) {
    steps_over = true;
    overflow_named();
}

/* What lies below the arena is not known, and may even be writable: then recurse() meets the guard. */
static void test_stepping_over(void) {
    check_killed(run(overflow_steps_over));
    CHECK(says_once("fatal error: SIGSEGV in goroutine 7 (its C stack may be full: see "
                    "goroutines.stack_size)\n") ||
          says_once(NAMED));
    ok("stepping_over");
}

static void test_named(void) {
    check_killed(run(overflow_named));
    CHECK(says_once(NAMED));
    CHECK(SANITIZED || strcmp(output, NAMED) == 0);
    ok("named");
}

static void overflow_unnamed(void) {
    fault_install();
    fault_install();
    overflow();
}

static void test_unnamed(void) {
    check_killed(run(overflow_unnamed));
    CHECK(says_once("fatal error: stack overflow in an unknown goroutine: "));
    ok("unnamed");
}

static int crashing_namer(const void *addr, char *buf, size_t n) {
    (void)addr, (void)buf, (void)n;
    return *(volatile char *)nowhere;
}

static void overflow_crashing_namer(void) {
    fault_set_namer(crashing_namer);
    fault_install();
    overflow();
}

static void test_crashing_namer(void) {
    check_killed(run(overflow_crashing_namer));
    ok("crashing_namer");
}

/* ---- Other handlers. ---- */

static struct sigaction replaced;

/* As Python's faulthandler: report, put back what was there, raise again. */
static void crash_reporter(int sig) {
    write_text("traceback\n");
    sigaction(sig, &replaced, NULL);
    raise(sig);
}

static void install_reporter(void (*handler)(int)) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK | SA_NODEFER};
    CHECK(sigaction(SIGSEGV, &action, &replaced) == 0);
}

static void overflow_reporter_before(void) {
    install_reporter(crash_reporter);
    overflow_named();
}

static void test_reporter_before(void) {
    check_killed(run(overflow_reporter_before));
    CHECK(strncmp(output, NAMED "traceback\n", strlen(NAMED "traceback\n")) == 0);
    CHECK(says_once("fatal error"));
    ok("reporter_before");
}

static void overflow_reporter_after(void) {
    fault_set_namer(namer);
    fault_install();
    install_reporter(crash_reporter);
    overflow();
}

static void test_reporter_after(void) {
    check_killed(run(overflow_reporter_after));
    const char *expected = "traceback\nfatal error: SIGSEGV in goroutine 7 "
                           "(its C stack may be full: see goroutines.stack_size)\n";
    CHECK(strncmp(output, expected, strlen(expected)) == 0);
    CHECK(says_once("fatal error"));
    ok("reporter_after");
}

static void note_signal(int sig) {
    (void)sig;
    write_text("noted\n");
}

static void overflow_noting_handler(void) {
    install_reporter(note_signal);
    overflow_named();
}

/* signal.signal(SIGSEGV, ...) only sets a flag: without care, the access would fault for ever. */
static void test_handler_that_returns(void) {
    check_killed(run(overflow_noting_handler));
    CHECK(strcmp(output, NAMED "noted\n") == 0);
    ok("handler_that_returns");
}

static void exit_with_three(int sig, siginfo_t *info, void *context) {
    sigset_t blocked;
    CHECK(context != NULL && info->si_signo == sig && stack_guard_hit(info->si_addr));
    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    CHECK(sigismember(&blocked, sig) && sigismember(&blocked, SIGUSR1));
    _exit(3);
}

static void overflow_siginfo_handler(void) {
    struct sigaction action = {.sa_sigaction = exit_with_three,
                               .sa_flags = SA_ONSTACK | SA_SIGINFO};
    sigaddset(&action.sa_mask, SIGUSR1);
    CHECK(sigaction(SIGSEGV, &action, NULL) == 0);
    overflow_named();
}

static void test_siginfo_handler(void) {
    int status = run(overflow_siginfo_handler);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 3);
    CHECK(strcmp(output, NAMED) == 0);
    ok("siginfo_handler");
}

/* ---- Faults that are not overflows. ---- */

static void read_null(void) {
    fault_set_namer(namer);
    fault_install();
    *(volatile char *)nowhere = 1;
}

static void test_plain_fault(void) {
    check_killed(run(read_null));
    CHECK(!says("fatal error"));
    ok("plain_fault");
}

static void read_null_ignored(void) {
    signal(SIGSEGV, SIG_IGN);
    read_null();
}

static void test_ignored(void) {
    check_killed(run(read_null_ignored));
    CHECK(!says("fatal error"));
    ok("ignored");
}

static void raise_outside(void) {
    fault_set_namer(namer);
    fault_install();
    raise(SIGSEGV);
}

static void test_raised_outside(void) {
    check_killed(run(raise_outside));
    CHECK(!says("fatal error"));
    ok("raised_outside");
}

static void bus_error(void) {
    FILE *empty = tmpfile();
    CHECK(empty != NULL);
    fault_install();
    char *p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fileno(empty), 0);
    CHECK(p != MAP_FAILED);
    CHECK(*(volatile char *)p == 0);
}

static void test_bus_error(void) {
    int status = run(bus_error);
    CHECK(SANITIZED || (WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS));
    ok("bus_error");
}

/* ---- Signal stacks. ---- */

static bool has_signal_stack(void) {
    stack_t current;
    CHECK(sigaltstack(NULL, &current) == 0);
    return !(current.ss_flags & SS_DISABLE);
}

static void *start_and_stop(void *unused) {
    bool before = has_signal_stack(); /* AddressSanitizer sets one */
    fault_thread_start();
    CHECK(has_signal_stack());
    fault_thread_start();
    fault_thread_stop();
    CHECK(has_signal_stack() == before);
    fault_thread_stop();
    return unused;
}

static void *keep_existing(void *unused) {
    static char mine[1 << 16];
    stack_t new = {.ss_sp = mine, .ss_size = sizeof mine}, old, current;
    CHECK(sigaltstack(&new, &old) == 0);
    fault_thread_start();
    CHECK(sigaltstack(NULL, &current) == 0 && current.ss_sp == mine);
    fault_thread_stop();
    CHECK(sigaltstack(NULL, &current) == 0 && current.ss_sp == mine);
    CHECK(sigaltstack(&old, NULL) == 0);
    return unused;
}

static void test_signal_stacks(void) {
    pthread_t thread;
    for (int i = 0; i < 200; i++) {
        CHECK(pthread_create(&thread, NULL, start_and_stop, NULL) == 0);
        CHECK(pthread_join(thread, NULL) == 0);
    }
    CHECK(pthread_create(&thread, NULL, keep_existing, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    ok("signal_stacks");
}

int main(void) {
    test_named();
    test_stepping_over();
    test_unnamed();
    test_crashing_namer();
    test_reporter_before();
    test_reporter_after();
    test_handler_that_returns();
    test_siginfo_handler();
    test_plain_fault();
    test_ignored();
    test_raised_outside();
    test_bus_error();
    test_signal_stacks();
    return 0;
}
