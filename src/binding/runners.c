/* Who computes, and who is blocked in C? With the GIL in one's hand everybody else is outside the
 * interpreter, so one lets go of it, looks who is inside, and takes it again; several times. */
#include "binding.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <inttypes.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MS INT64_C(1000000)
#define AT_ONCE (MS / 5)
#define LOOKS 12 /* outside so often while the interpreter is free: blocked in C */
#define LONG_IN_C (1000 * MS)
#define NO_THREAD_LINKS 2 /* of a directory: "." and the entry in its parent */

/* ---- what a thread does, as the kernel sees it ---- */

/* Its lock and condition variable are in there, and little else that a thread may wait for. */
static bool is_gil(uintptr_t futex) {
#ifdef RTLD_DL_SYMENT
    static uintptr_t size; /* any thread may set it */
    uintptr_t known = __atomic_load_n(&size, __ATOMIC_RELAXED);
    Dl_info info;
    ElfW(Sym) * symbol;
    if (!known && dladdr1(&_PyRuntime, &info, (void **)&symbol, RTLD_DL_SYMENT) && symbol) {
        known = symbol->st_size;
        __atomic_store_n(&size, known, __ATOMIC_RELAXED);
    }
    return futex - (uintptr_t)&_PyRuntime < known;
#else
    (void)futex;
    return false;
#endif
}

/* False: there is no such file here, or it may not be read. */
static bool read_about(pid_t tid, const char *file, char *text, size_t size) {
    snprintf(text, size, "/proc/self/task/%ld/%s", (long)tid, file);
    int fd = open(text, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, text, size - 1);
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = 0;
    return n > 0;
}

enum activity runners_activity(pid_t tid) {
    char text[256];
    int call;
    uintptr_t first;
    if (read_about(tid, "syscall", text, sizeof text)) {
        if (strncmp(text, "running", 7) == 0)
            return THREAD_RUNS;
        bool wants = sscanf(text, "%d %" SCNxPTR, &call, &first) == 2 && call == SYS_futex;
        return wants && is_gil(first) ? THREAD_WANTS_HOST : THREAD_SLEEPS;
    }
    const char *state = read_about(tid, "stat", text, sizeof text) ? strrchr(text, ')') : NULL;
    return state && strncmp(state, ") R", 3) == 0 ? THREAD_RUNS : THREAD_SLEEPS;
}

static void count_asleep(struct thread_g *t, void *n) { *(int64_t *)n += atomic_load(&t->asleep); }

/* A thread besides the caller, which is sysmon, and one that runs goroutines. */
bool runners_may_wait(void) {
    struct stat task;
    struct sched_stats s;
    int64_t asleep = 0;
    if (stat("/proc/self/task", &task) != 0)
        return true;
    sched_stats(&s);
    sched_each_native(count_asleep, &asleep);
    return (int64_t)task.st_nlink - NO_THREAD_LINKS - s.idle_threads - asleep > 2;
}

/* ---- looks ---- */

struct looking {
    struct g *inside; /* in the interpreter, at an instant when this thread was not */
    bool interpreter_free;
};

static void find_inside(struct m *m, void *arg) {
    struct g *g = host_inside(m);
    if (g)
        ((struct looking *)arg)->inside = g;
}

/* Counts how often in a row, and during one run, a goroutine stayed outside though it could come in. */
static void count_look(struct m *m, void *arg) {
    struct looking *l = arg;
    struct g *g = atomic_load(&m->curg);
    if (!g || !goroutine_of(g)->ts)
        return;
    struct goroutine *gr = goroutine_of(g);
    uint32_t waits = atomic_load(&g->waits);
    if (g == l->inside) {
        gr->looks = 0;
    } else if (l->interpreter_free) {
        if (gr->looks_waits != waits)
            gr->looks = 0;
        if (gr->looks++ == 0)
            gr->looks_since = rt_now();
        gr->looks_waits = waits;
    }
}

/* The GIL was free if it could be had at once: whoever wanted it would have had it by then. */
static struct looking look(int64_t pause) {
    struct looking l = {0};
    struct timespec ts = {.tv_nsec = pause};
    PyThreadState *me = PyEval_SaveThread();
    nanosleep(&ts, NULL);
    sched_each_m(find_inside, &l);
    int64_t wanted = rt_now();
    PyEval_RestoreThread(me);
    l.interpreter_free = !l.inside && rt_now() - wanted < AT_ONCE;
    sched_each_m(count_look, &l);
    return l;
}

struct g *runners_look(int64_t pause) { return look(pause).inside; }

bool runners_quiet(int64_t pause) { return look(pause).interpreter_free; }

/* Seen outside often enough; and it is not merely that its thread gets no processor, unless that has been
 * so for a long time (it computes in C). */
bool runners_blocked(struct g *g) {
    struct goroutine *gr = goroutine_of(g);
    if (atomic_load(&g->status) != G_RUNNING || gr->looks < LOOKS ||
        gr->looks_waits != atomic_load(&g->waits))
        return false;
    return runners_activity(atomic_load(&g->m)->tid) == THREAD_SLEEPS ||
           rt_now() - gr->looks_since > LONG_IN_C;
}
