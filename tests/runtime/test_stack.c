/* Goroutine stacks: recycling, guards, exhaustion, giving memory back.
 * check-c: skip valgrind (which has mappings of its own, and does not pass every fault on) */
#include "stack.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "context.h"
#include "lock.h"

#if defined(CONTEXT_ASAN) || defined(CONTEXT_TSAN)
#define SANITIZED 1 /* a fault becomes a report, and address space cannot be limited */
#else
#define SANITIZED 0
#endif

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)

static size_t page;

static void ok(const char *name) {
    printf("ok %s\n", name);
    fflush(stdout);
}

static struct stack alloc(size_t size) {
    struct stack s;
    CHECK(stack_alloc(size, &s) == 0);
    return s;
}

/* Runs the test in a child, whose stacks, limits and environment are its own. */
static int in_child(void (*test)(void)) {
    int status;
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        test();
        fflush(stdout);
        _exit(0);
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    return status;
}

static void passes_in_child(const char *name, void (*test)(void)) {
    int status = in_child(test);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    ok(name);
}

/* Does a write to addr kill with SIGSEGV? */
static bool faults(char *addr) {
    int status;
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        signal(SIGSEGV, SIG_DFL);
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        *(volatile char *)addr = 1;
        _exit(0);
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV;
}

static size_t guard_of(struct stack s) { return stack_bytes(s) - (size_t)(s.hi - s.lo); }

static size_t resident(void) {
    size_t total, pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    CHECK(f != NULL && fscanf(f, "%zu %zu", &total, &pages) == 2);
    fclose(f);
    return pages * page;
}

static void test_sizes(void) {
    for (size_t size = 16 * KIB; size <= 64 * MIB; size *= 2) {
        struct stack s = alloc(size);
        CHECK(stack_bytes(s) == size);
        /* Steps of a few KiB must not reach the next slot, and a guard takes an eighth at most. */
        CHECK(size < 64 * KIB || (guard_of(s) >= 8 * KIB && guard_of(s) <= size / 8));
        CHECK(size < MIB || guard_of(s) == 64 * KIB);
        CHECK((uintptr_t)s.hi % (size < 2 * MIB ? size : 2 * MIB) == (size > 2 * MIB ? MIB : 0));
        stack_free(s);
    }
    for (size_t size = 16 * KIB; size <= 300 * KIB; size += page) {
        struct stack s = alloc(size), found;
        size_t slot = stack_bytes(s);
        CHECK(slot >= size && slot <= size + size / 4);
        CHECK(stack_find(s.lo - guard_of(s), &found) && found.lo == s.lo);
        CHECK((uintptr_t)s.lo % page == 0 && (uintptr_t)s.hi % page == 0);
        s.lo[0] = s.hi[-1] = 1;
        stack_free(s);
    }
    struct stack s;
    CHECK(stack_alloc(SIZE_MAX, &s) == -1 && errno == ENOMEM);
    CHECK(stack_alloc((size_t)1 << 60, &s) == -1 && errno == ENOMEM);
    s = alloc(1);
    CHECK((size_t)(s.hi - s.lo) == 3 * page);
    stack_free(s);
}

static void test_recycling(void) {
    struct stack a = alloc(256 * KIB), b = alloc(256 * KIB);
    CHECK(a.lo >= b.hi || b.lo >= a.hi);
    size_t idle = stack_idle_dirty();
    stack_free(a);
    stack_free(b);
    CHECK(stack_idle_dirty() == idle + 2);
    CHECK(alloc(256 * KIB).lo == b.lo);
    CHECK(alloc(256 * KIB).lo == a.lo);
    CHECK(stack_idle_dirty() == idle);
    stack_free(a);
    stack_free(b);
}

static void test_addresses(void) {
    struct stack s = alloc(256 * KIB), found;
    int local;
    CHECK(stack_owns(s.lo) && stack_owns(s.hi - 1) && stack_owns(s.lo - 1));
    CHECK(!stack_owns(&local) && !stack_owns(NULL) && !stack_owns((void *)-1));
    CHECK(!stack_guard_hit(s.lo) && !stack_guard_hit(s.hi - 1));
    CHECK(stack_guard_hit(s.lo - 1) && stack_guard_hit(s.lo - guard_of(s)));
    CHECK(!stack_guard_hit(&local) && !stack_guard_hit(NULL));
    CHECK(stack_find(s.lo - page, &found) && found.lo == s.lo && found.hi == s.hi);
    CHECK(stack_find(s.hi - 1, &found) && found.lo == s.lo && found.hi == s.hi);
    CHECK(!stack_find(&local, &found));
    stack_free(s);
}

static void check_guarded(void) {
    enum { N = 40 }; /* more than the first arena has at this size */
    struct stack stacks[N];
    for (int i = 0; i < N; i++)
        stacks[i] = alloc(2 * MIB);
    for (int i = 0; i < N; i += 13) {
        CHECK(faults(stacks[i].lo - 1) && faults(stacks[i].lo - guard_of(stacks[i])));
        CHECK(!faults(stacks[i].lo) && !faults(stacks[i].hi - 1));
    }
    for (int i = 0; i < N; i++)
        stack_free(stacks[i]);
}

/* Guards are installed some at a time: each stack has its own from the moment it is handed out. */
static void *take_guarded(void *unused) {
    (void)unused;
    for (int i = 0; i < 400; i++) {
        char *guard = alloc(128 * KIB).lo - page;
        CHECK(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, guard) == -1 && errno == EFAULT);
        CHECK(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, guard + page - 16) == -1);
        CHECK(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, guard + page) == 0);
    }
    return NULL;
}

static void test_guards_at_once(void) {
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, take_guarded, NULL) == 0);
    for (int i = 0; i < 4; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}

static void test_guard_default(void) {
    printf("   guards of this kernel: %s\n", stack_guard_kind());
    CHECK(strcmp(stack_guard_kind(), "none") != 0);
    check_guarded();
}

static void test_guard_madvise(void) {
    setenv("GOROUTINES_STACK_GUARD", "madvise", 1);
    CHECK(strcmp(stack_guard_kind(), "none") != 0); /* mprotect before Linux 6.13 */
    check_guarded();
}

static void test_guard_mprotect(void) {
    setenv("GOROUTINES_STACK_GUARD", "mprotect", 1);
    CHECK(strcmp(stack_guard_kind(), "mprotect") == 0);
    check_guarded();
}

static void test_guard_none(void) {
    setenv("GOROUTINES_STACK_GUARD", "none", 1);
    CHECK(strcmp(stack_guard_kind(), "none") == 0);
    struct stack s = alloc(2 * MIB);
    CHECK(!faults(s.lo - 1));
}

static size_t mappings(void) {
    size_t lines = 0;
    FILE *f = fopen("/proc/self/maps", "r");
    CHECK(f != NULL);
    for (int c; (c = fgetc(f)) != EOF;)
        lines += c == '\n';
    fclose(f);
    return lines;
}

/* Guards that are mappings stop at half of what the process may have. */
static void test_guards_stop(void) {
    setenv("GOROUTINES_STACK_GUARD", "mprotect", 1);
    FILE *f = fopen("/proc/sys/vm/max_map_count", "r");
    size_t max = 0;
    CHECK(f != NULL && fscanf(f, "%zu", &max) == 1);
    fclose(f);
    size_t n = max > 200000 ? 1000 : max / 2;
    struct stack first = alloc(64 * KIB), last = first;
    for (size_t i = 1; i < n; i++) {
        last = alloc(64 * KIB);
        last.hi[-1] = 1;
    }
    CHECK(faults(first.lo - 1));
    CHECK(n == 1000 || !faults(last.lo - 1));
    CHECK(mappings() < max / 2 + 1000);
}

static void test_hundred_thousand(void) {
    enum { N = 100 * 1000 };
    struct stack *stacks = malloc(N * sizeof *stacks);
    struct timespec t0, t1, t2;
    CHECK(stacks != NULL);
    clock_gettime(CLOCK_MONOTONIC, &t0);
    for (int i = 0; i < N; i++) {
        stacks[i] = alloc(256 * KIB);
        *(int *)(stacks[i].hi - 64) = i;
    }
    clock_gettime(CLOCK_MONOTONIC, &t1);
    CHECK(SANITIZED || strcmp(stack_guard_kind(), "mprotect") == 0 || mappings() < 1000);
    for (int i = 0; i < N; i++)
        CHECK(*(int *)(stacks[i].hi - 64) == i);
    size_t full = resident();
    for (int i = 0; i < N; i++)
        stack_free(stacks[i]);
    while (stack_scavenge(0) > 0)
        continue;
    size_t empty = resident();
    clock_gettime(CLOCK_MONOTONIC, &t2);
    for (int i = 0; i < N; i++)
        alloc(256 * KIB);
    printf("   new, touched: %.2f us each; freed and scavenged: %.2f us each; %zu -> %zu MiB\n",
           (double)(t1.tv_sec - t0.tv_sec) * 10 + (double)(t1.tv_nsec - t0.tv_nsec) / 1e8,
           (double)(t2.tv_sec - t1.tv_sec) * 10 + (double)(t2.tv_nsec - t1.tv_nsec) / 1e8,
           full / MIB, empty / MIB);
    CHECK(full > empty + (size_t)N * page * 9 / 10);
    free(stacks);
}

static void test_exhaustion(void) {
    enum { MAX = 4096 };
    static struct stack stacks[MAX];
    stack_free(alloc(64 * KIB)); /* one arena of another size */
    size_t total = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    CHECK(f != NULL && fscanf(f, "%zu", &total) == 1);
    fclose(f);
    total = total * page + 301 * MIB;
    CHECK(setrlimit(RLIMIT_AS, &(struct rlimit){total, RLIM_INFINITY}) == 0);
    size_t n = 0;
    while (n < MAX && stack_alloc(1 * MIB, &stacks[n]) == 0)
        n++;
    CHECK(errno == ENOMEM);
    CHECK(n > 290 && n < 302); /* smaller and smaller arenas have used nearly all of it */
    stacks[0].lo[0] = stacks[n - 1].lo[0] = 1;
    struct stack other;
    CHECK(stack_alloc(1 * MIB, &other) == -1);
    char *again = stacks[7].lo;
    stack_free(stacks[7]);
    stacks[7] = alloc(1 * MIB);
    CHECK(stacks[7].lo == again);
    other = alloc(64 * KIB);
    stack_free(other);
    CHECK(setrlimit(RLIMIT_AS, &(struct rlimit){RLIM_INFINITY, RLIM_INFINITY}) == 0);
    other = alloc(1 * MIB);
    other.lo[0] = 1;
}

static void test_scavenge(void) {
    enum { N = 300 };
    static struct stack stacks[N];
    for (int i = 0; i < N; i++) {
        stacks[i] = alloc(256 * KIB);
        memset(stacks[i].lo, 1, (size_t)(stacks[i].hi - stacks[i].lo));
    }
    for (int i = 0; i < N; i++)
        stack_free(stacks[i]);
    size_t before = resident(), idle = stack_idle_dirty();
    CHECK(idle == N);
    size_t bytes = stack_scavenge(10);
    CHECK(bytes > 0 && bytes < N * 256 * KIB); /* bounded work */
    while ((bytes = stack_scavenge(10)) > 0)
        continue;
    CHECK(stack_idle_dirty() == 10);
    CHECK(resident() + (N - 20) * (size_t)(stacks[0].hi - stacks[0].lo) < before);
    CHECK(stacks[N - 1].lo[0] == 1); /* the ones used last were kept */
    CHECK(stacks[0].lo[0] == 0 && stacks[0].hi[-1] == 0);
    if (!SANITIZED)
        CHECK(faults(stacks[0].lo - 1) && faults(stacks[N - 1].lo - 1));
    for (int i = 0; i < 10; i++)
        CHECK(alloc(256 * KIB).lo == stacks[N - 1 - i].lo); /* touched ones first */
    CHECK(stack_idle_dirty() == 0);
    CHECK(stack_scavenge(0) == 0);
    for (int i = 10; i < N; i++)
        stacks[i] = alloc(256 * KIB); /* clean ones, no new slots */
    struct stack s = stacks[N - 1];
    s.lo[0] = 1;
}

/* ---- Threads. ---- */

static _Atomic bool stop;

static void *churn(void *seed) {
    struct stack held[16] = {{0}};
    unsigned random = (unsigned)(uintptr_t)seed;
    for (int i = 0; i < 20000; i++) {
        random = random * 1103515245 + 12345;
        struct stack *s = &held[random >> 16 & 15];
        if (s->lo == NULL) {
            *s = alloc(random & 1 << 20 ? 64 * KIB : 256 * KIB);
            *(struct stack **)s->lo = s;
        } else {
            CHECK(*(struct stack **)s->lo == s); /* nobody else has this stack */
            stack_free(*s);
            s->lo = NULL;
        }
    }
    for (int i = 0; i < 16; i++) {
        if (held[i].lo != NULL)
            stack_free(held[i]);
    }
    return NULL;
}

static void *scavenge(void *unused) {
    while (!stop)
        stack_scavenge(2);
    return unused;
}

static void test_threads(void) {
    pthread_t churners[4], scavenger;
    CHECK(pthread_create(&scavenger, NULL, scavenge, NULL) == 0);
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&churners[i], NULL, churn, (void *)(uintptr_t)(i + 1)) == 0);
    for (int i = 0; i < 4; i++)
        CHECK(pthread_join(churners[i], NULL) == 0);
    stop = true;
    CHECK(pthread_join(scavenger, NULL) == 0);
}

static struct rt_lock lock;
static long counter;

static void *count(void *unused) {
    for (int i = 0; i < 50000; i++) {
        rt_lock(&lock);
        counter++;
        rt_unlock(&lock);
    }
    return unused;
}

static void test_lock(void) {
    pthread_t threads[4];
    rt_lock_init(&lock);
    CHECK(rt_trylock(&lock) && !rt_trylock(&lock));
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, count, NULL) == 0);
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL); /* they get to sleep */
    CHECK(counter == 0);
    rt_unlock(&lock);
    for (int i = 0; i < 4; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK(counter == 200000);
    CHECK(rt_trylock(&lock));
    rt_unlock(&lock);
}

static void test_fork(void) {
    struct stack a = alloc(64 * KIB), b;
    stack_free(a);
    stack_fork_prepare();
    pid_t pid = fork();
    if (pid == 0) {
        stack_fork_child();
        b = alloc(64 * KIB);
        CHECK(b.lo == a.lo);
        CHECK(alloc(64 * KIB).lo != a.lo);
        stack_free(b);
        _exit(0);
    }
    stack_fork_parent();
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    CHECK(alloc(64 * KIB).lo == a.lo);
}

int main(void) {
    page = (size_t)sysconf(_SC_PAGESIZE);
    unsetenv("GOROUTINES_STACK_GUARD");
    passes_in_child("sizes", test_sizes);
    passes_in_child("recycling", test_recycling);
    passes_in_child("addresses", test_addresses);
    if (!SANITIZED) {
        passes_in_child("guard_default", test_guard_default);
        passes_in_child("guards_at_once", test_guards_at_once);
        passes_in_child("guard_madvise", test_guard_madvise);
        passes_in_child("guard_mprotect", test_guard_mprotect);
        passes_in_child("guard_none", test_guard_none);
        passes_in_child("guards_stop", test_guards_stop);
        passes_in_child("exhaustion", test_exhaustion);
    }
    passes_in_child("hundred_thousand", test_hundred_thousand);
    passes_in_child("scavenge", test_scavenge);
    passes_in_child("fork", test_fork);
    test_lock();
    ok("lock");
    test_threads();
    ok("threads");
    return 0;
}
