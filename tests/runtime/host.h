/* A host in plain C for the tests of the runtime.
 *
 * It stands where the interpreter stands otherwise, and is stricter: every goroutine has an owner
 * word, so that attaching one that another M still has, or freeing one that was not left, stops the
 * program (the leaving rule of proc.h). It comes in two kinds: parallel, and with one lock for all
 * (`config.gil`), which a goroutine holds while it runs and gives up while it is outside().
 *
 * each() runs a test in a child process for 1, 2, 4 and 8 Ps in parallel and for 2 with the lock. */
#ifndef GOROUTINES_TESTS_HOST_H
#define GOROUTINES_TESTS_HOST_H

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "chan.h"
#include "check.h"
#include "context.h"
#include "proc.h"

#define MS 1000000LL
#define US 1000LL
#define UNUSED __attribute__((unused))
#define COUNT(array) (sizeof(array) / sizeof *(array))

#if defined(CONTEXT_ASAN) || defined(CONTEXT_TSAN)
#define SANITIZED 1
#if defined(CONTEXT_TSAN)
/* Else each child sleeps for a second at its end. */
const char *__tsan_default_options(void);
UNUSED const char *__tsan_default_options(void) { return "atexit_sleep_ms=0"; }
#endif
#else
#define SANITIZED 0
#endif

#ifndef HANG_SECONDS
#define HANG_SECONDS 100
#endif

static struct {
    int procs;
    bool gil;
} config;

/* ---- sizes ---- */

static double scale(void) {
    const char *s = getenv("RT_SCALE");
    return s ? atof(s) : 1.0;
}

UNUSED static long scaled(long n, long least) {
    long v = (long)((double)n * scale());
    return v < least ? least : v;
}

/* Each caller has its own seed. */
static uint32_t xorshift(uint32_t *seed) {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

/* ---- the one lock ---- */

/* First come, first served, so that whoever offers it really gives it away. */
static struct {
    pthread_mutex_t mutex;
    pthread_cond_t moved;
    uint64_t next, serving;
    _Atomic int held;
    _Atomic(struct m *) holder; /* NULL: none, or a thread that is no M */
    uint32_t seed;              /* guarded by the lock itself */
} gil = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0, 0, NULL, 1};

static void gil_acquire(void) {
    if (!config.gil)
        return;
    pthread_mutex_lock(&gil.mutex);
    uint64_t ticket = gil.next++;
    while (gil.serving != ticket)
        pthread_cond_wait(&gil.moved, &gil.mutex);
    CHECK(atomic_exchange(&gil.held, 1) == 0);
    atomic_store(&gil.holder, rt_m());
    pthread_mutex_unlock(&gil.mutex);
}

static void gil_release(void) {
    if (!config.gil)
        return;
    pthread_mutex_lock(&gil.mutex);
    atomic_store(&gil.holder, NULL);
    CHECK(atomic_exchange(&gil.held, 0) == 1);
    gil.serving++;
    pthread_cond_broadcast(&gil.moved);
    pthread_mutex_unlock(&gil.mutex);
}

/* What the interpreter does for others every few milliseconds. */
static void gil_offer(void) {
    gil_release();
    gil_acquire();
}

/* ---- struct host ---- */

/* The host's part of a goroutine, at the high end of its stack. */
struct work {
    void (*fn)(void *arg);
    void *arg;
    struct chan *done;         /* gets a value at the end */
    _Atomic(struct m *) owner; /* whose M it is attached on */
    _Atomic bool outside;
    bool pinned;
};

#define WORK_SIZE ((sizeof(struct work) + 63) / 64 * 64)

static _Atomic long host_freed;
static _Atomic bool host_interrupt_natives;

static struct work *work_of(struct g *g) { return (struct work *)(g->stack.hi - WORK_SIZE); }

static void leave_current(struct m *m) {
    struct work *w = m->host;
    m->host = NULL;
    if (w && w != (void *)m)
        CHECK(atomic_exchange(&w->owner, NULL) == m);
}

static void host_run(struct g *g) {
    struct work *w = work_of(g);
    struct chan *done = w->done;
    w->fn(w->arg);
    if (done)
        CHECK(chan_send(done, NULL, NOTE_FOREVER) == CHAN_OK);
}

static void host_attach(struct m *m, struct g *g) {
    struct work *w = work_of(g);
    struct m *nobody = NULL;
    CHECK(m->attached == (m->host != NULL));
    CHECK(m->host != w);
    if (!m->host)
        gil_acquire();
    CHECK(w->fn);
    CHECK(atomic_compare_exchange_strong(&w->owner, &nobody, m));
    leave_current(m);
    m->host = w;
    if (config.gil && xorshift(&gil.seed) % 16 == 0)
        gil_offer(); /* a switch may take long */
}

static void host_attach_m(struct m *m) {
    CHECK(m->attached && m->host);
    leave_current(m);
    m->host = m;
}

static void host_detach(struct m *m) {
    CHECK(m->host == m); /* goroutines are let go first */
    m->host = NULL;
    gil_release();
}

static void host_free(struct g *g) {
    struct work *w = work_of(g);
    CHECK(atomic_load(&w->owner) == NULL);
    CHECK(w->fn);
    w->fn = NULL;
    sched_look_lock(); /* nobody is looking at it any more */
    sched_look_unlock();
    atomic_fetch_add(&host_freed, 1);
}

static bool host_pinned(struct g *g) { return work_of(g)->pinned; }

static bool host_outside(struct m *m) {
    struct g *g = atomic_load(&m->curg);
    return g && atomic_load(&work_of(g)->outside);
}

static enum holder host_interpreter_holder(void) {
    if (!atomic_load(&gil.held))
        return HOLDER_NONE;
    sched_look_lock(); /* an M gives the lock up before it is freed */
    struct m *m = atomic_load(&gil.holder);
    bool has_p = m && atomic_load(&m->p);
    sched_look_unlock();
    return has_p ? HOLDER_WITH_P : HOLDER_WITHOUT_P;
}

static bool host_others_may_wait(void) { return config.gil; }

static int64_t host_block(struct g *g) {
    (void)g;
    gil_release();
    return NOTE_FOREVER;
}

static void host_unblock(struct g *g) {
    (void)g;
    gil_acquire();
}

static bool host_interrupted(struct g *g) {
    (void)g;
    return atomic_load(&host_interrupt_natives);
}

static bool host_poked(struct g *g, int64_t *recheck) {
    (void)g;
    (void)recheck;
    return false;
}

static bool host_thread_start(struct m *m) {
    CHECK(!m->host);
    return true;
}

static void host_thread_stop(struct m *m) {
    CHECK(!m->host || m->host == m);
    if (m->host)
        gil_release();
    m->host = NULL;
}

static struct host the_host = {
    .goroutine_size = WORK_SIZE,
    .parallel = true,
    .run = host_run,
    .attach = host_attach,
    .attach_m = host_attach_m,
    .detach = host_detach,
    .free = host_free,
    .pinned = host_pinned,
    .outside = host_outside,
    .interpreter_holder = host_interpreter_holder,
    .others_may_wait = host_others_may_wait,
    .block = host_block,
    .unblock = host_unblock,
    .interrupted = host_interrupted,
    .poked = host_poked,
    .thread_start = host_thread_start,
    .thread_stop = host_thread_stop,
};

/* ---- goroutines ---- */

UNUSED static bool try_go(void (*fn)(void *), void *arg, struct chan *done) {
    struct g *g = g_new();
    if (!g)
        return false;
    struct work *w = work_of(g);
    w->fn = fn;
    w->arg = arg;
    w->done = done;
    atomic_init(&w->owner, NULL);
    atomic_init(&w->outside, false);
    w->pinned = false;
    g_start(g);
    return true;
}

UNUSED static void go(void (*fn)(void *), void *arg) { CHECK(try_go(fn, arg, NULL)); }

/* done gets a value when it has ended. */
UNUSED static void go_done(void (*fn)(void *), void *arg, struct chan *done) {
    CHECK(try_go(fn, arg, done));
}

/* Channels of tests are never freed: the last sender may still be unlocking one. */
UNUSED static struct chan *new_chan(size_t cap) {
    struct chan *c = malloc(sizeof *c);
    CHECK(c);
    chan_init(c, cap);
    return c;
}

UNUSED static void send_value(struct chan *c, long v) {
    CHECK(chan_send(c, (void *)v, NOTE_FOREVER) == CHAN_OK);
}

UNUSED static long recv_value(struct chan *c) {
    void *v;
    CHECK(chan_recv(c, &v, NOTE_FOREVER) == CHAN_OK);
    return (long)v;
}

UNUSED static void wait_for_done(struct chan *done, long n) {
    for (long i = 0; i < n; i++)
        recv_value(done);
}

/* fn(arg) as a blocking call: sysmon may give the P away meanwhile. Also for plain threads. */
UNUSED static void blocked_outside(void (*fn)(void *), void *arg) {
    struct g *g = sched_current();
    if (g)
        atomic_store(&work_of(g)->outside, true);
    gil_release();
    fn(arg);
    gil_acquire();
    if (g)
        atomic_store(&work_of(g)->outside, false);
}

static void nap(void *ns) {
    struct timespec ts = {.tv_sec = (long)ns / (1000 * MS), .tv_nsec = (long)ns % (1000 * MS)};
    nanosleep(&ts, NULL);
}

UNUSED static void block_for(int64_t ns) { blocked_outside(nap, (void *)ns); }

/* Computes, without calling the runtime. */
UNUSED static void compute_for(int64_t ns) {
    for (int64_t end = rt_now() + ns, offer = rt_now() + MS; rt_now() < end;)
        if (rt_now() >= offer) {
            gil_offer();
            offer = rt_now() + MS;
        }
}

UNUSED static void yield(void) {
    sched_yield_g();
    gil_offer();
}

UNUSED static void sleep_for(int64_t ns) { CHECK(sched_sleep(rt_now() + ns) == WAKE_TIMEOUT); }

/* Threads other than the first one are inside the interpreter between these. */
UNUSED static void thread_begin(void) { gil_acquire(); }
UNUSED static void thread_end(void) { gil_release(); }

/* Until n wait in q, which the lock guards. */
UNUSED static void wait_for_waiters(struct rt_lock *lock, struct waitq *q, int n) {
    for (int found = 0; found != n; yield()) {
        found = 0;
        rt_lock(lock);
        for (struct sudog *s = q->first; s; s = s->next)
            found++;
        rt_unlock(lock);
    }
}

static void join_now(void *thread) { CHECK(pthread_join(*(pthread_t *)thread, NULL) == 0); }

UNUSED static void join_thread(pthread_t thread) { blocked_outside(join_now, &thread); }

UNUSED static struct sched_stats stats(void) {
    struct sched_stats s;
    sched_stats(&s);
    return s;
}

UNUSED static int by_value(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* ---- running tests ---- */

static bool tell_g(struct g *g, void *arg) {
    (void)arg;
    int status = atomic_load(&g->status);
    if (status == G_RUNNABLE || status == G_RUNNING || status == G_WAITING)
        fprintf(stderr, "  g%lu status %d park %lx wired %u %s\n", (unsigned long)g->id, status,
                (unsigned long)g->park, (unsigned)g->wired, g->wait_reason ? g->wait_reason : "");
    return true;
}

static const char *running;

/* Not safe in a signal handler, but all there is to tell why a test does not end. */
static void on_hang(int signo) {
    (void)signo;
    struct sched_stats s = stats();
    int64_t queued[9] = {0};
    int n = sched_runnable(queued, 8);
    fprintf(stderr, "HANG in %s, procs %d gil %d: started %lu finished %lu threads %ld idle %ld\n",
            running, config.procs, config.gil, (unsigned long)s.started, (unsigned long)s.finished,
            (long)s.threads, (long)s.idle_threads);
    for (int i = 0; i <= n && i < 9; i++)
        fprintf(stderr, "  queue %d: %ld\n", i - 1, (long)queued[i]);
    sched_each_g(tell_g, NULL);
    abort();
}

UNUSED static void init(int procs, bool one_lock) {
    config.procs = procs;
    config.gil = one_lock;
    the_host.parallel = !one_lock;
    sched_init(&the_host, procs);
    signal(SIGALRM, on_hang);
    alarm(HANG_SECONDS);
}

/* fn as a goroutine, until it ends; the caller is a plain thread inside the interpreter. */
UNUSED static void run_main(void (*fn)(void *), void *arg) {
    struct chan *done = new_chan(1);
    go_done(fn, arg, done);
    wait_for_done(done, 1);
}

struct test {
    const char *name;
    void (*run)(void);
    bool in_thread; /* not as a goroutine */
};

static void test_main(void *test) { ((struct test *)test)->run(); }

static void in_child(struct test t, int procs, bool one_lock) {
    fflush(stdout);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        running = t.name;
        init(procs, one_lock);
        gil_acquire();
        if (t.in_thread)
            t.run();
        else
            run_main(test_main, &t);
        fflush(stdout);
        _exit(0);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return;
    fprintf(stderr, "FAIL %s with %d Ps%s: status %x\n", t.name, procs,
            one_lock ? ", one lock" : "", status);
    exit(1);
}

static bool selected(const char *name) {
    const char *only = getenv("RT_ONLY");
    return !only || strcmp(only, name) == 0;
}

static void in_all_ways(struct test t) {
    static const int procs[] = {1, 2, 4, 8};
    if (!selected(t.name))
        return;
    for (size_t i = 0; i < COUNT(procs); i++)
        in_child(t, procs[i], false);
    in_child(t, 2, true);
    printf("ok %s\n", t.name);
}

UNUSED static void each(const char *name, void (*run)(void)) {
    in_all_ways((struct test){name, run, false});
}

/* The same, but run by a plain thread. */
UNUSED static void each_in_thread(const char *name, void (*run)(void)) {
    in_all_ways((struct test){name, run, true});
}

UNUSED static void once(const char *name, int procs, void (*run)(void)) {
    if (!selected(name))
        return;
    in_child((struct test){name, run, false}, procs, false);
    printf("ok %s\n", name);
}

#endif
