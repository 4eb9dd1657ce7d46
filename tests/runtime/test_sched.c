/* The scheduler: stealing, hand-off, preemption, fairness, gomaxprocs, wiring, running out of threads.
 * check-c: skip valgrind (which runs one thread at a time, in no fair order) */
#include "host.h"

#include <sys/syscall.h>

static long thread_id(void) { return syscall(SYS_gettid); }

static bool parallel(int procs) { return !config.gil && config.procs >= procs; }

/* ---- stealing ---- */

static void compute_a_bit(void *arg) { compute_for((long)arg); }

static void stealing(void) {
    struct chan *done = new_chan(0);
    uint64_t before = stats().steals;
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 50; i++)
            go_done(compute_a_bit, (void *)(long)(100 * US), done);
        wait_for_done(done, 50);
    }
    uint64_t stolen = stats().steals - before;
    CHECK(!parallel(2) || stolen > 0);
    CHECK(config.procs > 1 || stolen == 0);
}

/* ---- hand-off ---- */

static _Atomic int64_t blocked_since;
static _Atomic long gave_turns;

static void take_turns(void *arg) {
    (void)arg;
    while (atomic_load(&gave_turns) >= 0) {
        int64_t since = atomic_exchange(&blocked_since, 0);
        if (since) {
            atomic_store(&gave_turns, rt_now() - since);
            return;
        }
        yield();
    }
}

/* As many goroutines as there are Ps block for long; another one that waits gets to run. */
static void hand_off_once(int64_t *latency) {
    struct chan *done = new_chan(0);
    atomic_store(&gave_turns, 0);
    atomic_store(&blocked_since, 0);
    go_done(take_turns, NULL, done); /* on this P's queue: runs when the P is handed off */
    atomic_store(&blocked_since, rt_now());
    for (int64_t end = rt_now() + 2000 * MS; !atomic_load(&gave_turns) && rt_now() < end;)
        block_for(20 * US);
    *latency = atomic_load(&gave_turns);
    CHECK(*latency > 0);
    wait_for_done(done, 1);
}

static void hand_off(void) {
    enum { N = 100 };
    int64_t latency[N];
    uint64_t before = stats().handoffs;
    for (int i = 0; i < N; i++)
        hand_off_once(&latency[i]);
    uint64_t handed_off = stats().handoffs - before;
    qsort(latency, N, sizeof *latency, by_value);
    printf("   procs %d%s: another goroutine runs after p50 %ld us, p99 %ld us, %ld hand-offs\n",
           config.procs, config.gil ? " (one lock)" : "", (long)(latency[N / 2] / US),
           (long)(latency[N * 99 / 100] / US), (long)handed_off);
    CHECK(config.procs > 1 || handed_off > 0);
    CHECK(latency[N / 2] < 20 * MS);
}

static void block_long(void *arg) { block_for((long)arg); }

/* n goroutines in a blocking call of 50 ms at once take far less than n times that. */
static void many_blocked(void) {
    long n = scaled(200, 40);
    struct chan *done = new_chan(0);
    int64_t begun = rt_now();
    for (long i = 0; i < n; i++)
        go_done(block_long, (void *)(long)(50 * MS), done);
    wait_for_done(done, n);
    CHECK(rt_now() - begun <
          n * 50 * MS / (SANITIZED ? 1 : 2)); /* generous: machines may be busy */
}

/* Who comes back from a blocking call to find all Ps busy gets its turn, though nobody else waits. */
static void back_from_call(void *arg) {
    block_for(30 * MS);
    yield();
    atomic_store((_Atomic int64_t *)arg, rt_now());
}

static _Atomic bool stop_hogs;

static void hog(void *arg) {
    (void)arg;
    while (!atomic_load(&stop_hogs))
        compute_for(MS);
}

static void back_among_hogs(void) {
    _Atomic int64_t back = 0;
    struct chan *done = new_chan(0);
    atomic_store(&stop_hogs, false);
    go_done(back_from_call, (void *)&back, done);
    yield();
    for (int i = 0; i < config.procs; i++)
        go_done(hog, NULL, done);
    int64_t begun = rt_now();
    sleep_for(MS);
    while (!atomic_load(&back) && rt_now() - begun < 3000 * MS)
        sleep_for(MS);
    CHECK(atomic_load(&back));
    atomic_store(&stop_hogs, true);
    wait_for_done(done, config.procs + 1);
}

/* ---- preemption ---- */

static void preemption(void) {
    struct chan *done = new_chan(0);
    uint64_t before = stats().preemptions;
    atomic_store(&stop_hogs, false);
    for (int i = 0; i < config.procs; i++)
        go_done(hog, NULL, done);
    /* This one and the hogs are more than there are Ps. */
    for (int64_t end = rt_now() + 5000 * MS; stats().preemptions == before && rt_now() < end;)
        yield();
    uint64_t preempted = stats().preemptions - before;
    atomic_store(&stop_hogs, true);
    wait_for_done(done, config.procs);
    CHECK(preempted > 0);
}

/* ---- fairness ---- */

static _Atomic bool stop_playing;
static _Atomic long volleys;

static void play(void *arg) {
    struct chan **c = arg;
    void *v;
    while (chan_recv(c[0], &v, NOTE_FOREVER) == CHAN_OK) {
        atomic_fetch_add(&volleys, 1);
        if (atomic_load(&stop_playing))
            chan_close(c[1]);
        if (chan_send(c[1], v, NOTE_FOREVER) != CHAN_OK)
            break;
    }
    chan_close(c[1]);
}

static void *push_globally(void *arg) {
    (void)arg;
    struct chan *done = new_chan(16);
    thread_begin();
    while (!atomic_load(&stop_playing)) {
        go_done(compute_a_bit, 0, done);
        void *v;
        while (chan_len(done) > 8 && chan_recv(done, &v, CHAN_POLL) == CHAN_OK)
            ;
        gil_offer();
    }
    thread_end();
    return NULL;
}

/* Two that wake each other for ever, and a thread that keeps the global queue busy, starve neither
 * a goroutine that yields nor one that is new. */
static void fairness(void) {
    struct chan *a = new_chan(0), *b = new_chan(0), *done = new_chan(0);
    struct chan *ab[] = {a, b}, *ba[] = {b, a};
    pthread_t thread;
    atomic_store(&stop_playing, false);
    atomic_store(&volleys, 0);
    for (int i = 0; i < config.procs; i++) {
        go_done(play, ab, done);
        go_done(play, ba, done);
        send_value(a, 1);
    }
    CHECK(pthread_create(&thread, NULL, push_globally, NULL) == 0);
    int64_t begun = rt_now();
    for (int i = 0; i < 100; i++)
        yield();
    struct chan *fresh = new_chan(0);
    go_done(compute_a_bit, 0, fresh);
    wait_for_done(fresh, 1);
    CHECK(rt_now() - begun < 5000 * MS);
    /* On a busy machine the threads of those who play may have had no processor so far. */
    for (int64_t end = rt_now() + 5000 * MS; atomic_load(&volleys) <= 100 && rt_now() < end;)
        yield();
    atomic_store(&stop_playing, true);
    wait_for_done(done, 2 * config.procs);
    join_thread(thread);
    CHECK(volleys > 100);
}

/* ---- gomaxprocs changes while everything runs ---- */

static void churn(void *arg) {
    struct chan *c = arg;
    for (long i = 0; i < scaled(2000, 50); i++) {
        send_value(c, i);
        recv_value(c);
        if (i % 8 == 0)
            yield();
        if (i % 64 == 0)
            block_for(10 * US);
    }
}

static void change_procs(void) {
    struct chan *done = new_chan(32);
    uint32_t seed = 3;
    for (int i = 0; i < 16; i++)
        go_done(churn, new_chan(1), done);
    while (chan_len(done) < 16) {
        sched_procs(1 + (int)(xorshift(&seed) % 8));
        if (xorshift(&seed) % 2)
            yield();
        else
            sleep_for(50 * US);
    }
    CHECK(sched_procs(config.procs) >= 1);
    CHECK(sched_procs(0) == config.procs);
    wait_for_done(done, 16);
    struct sched_stats s = stats();
    CHECK(s.started >= s.finished);
}

/* ---- wiring ---- */

static struct chan *wired_c;
static _Atomic long wired_thread;
static _Atomic bool wired_over;

static void stay(void *arg) {
    bool for_life = arg != NULL;
    struct g *g = sched_current();
    if (for_life)
        sched_wire_for_life(g);
    else
        sched_wire(g);
    long me = thread_id();
    atomic_store(&wired_thread, me);
    for (long i = 0; i < scaled(for_life ? 60 : 500, 20); i++) {
        if (i % 3 == 0)
            send_value(wired_c, i);
        else if (i % 3 == 1)
            yield();
        else if (i % 30 == 2)
            block_for(50 * US);
        CHECK(thread_id() == me);
    }
    atomic_store(&wired_over, true);
    chan_close(wired_c);
    atomic_store(&wired_thread, 0);
    if (!for_life)
        sched_unwire(g);
    yield(); /* maybe elsewhere */
    CHECK(!for_life || thread_id() == me);
}

static void elsewhere(void *arg) {
    (void)arg;
    while (!atomic_load(&wired_over)) {
        CHECK(thread_id() != atomic_load(&wired_thread));
        yield();
    }
}

static void wire(void *how) {
    struct chan *done = new_chan(0);
    void *v;
    wired_c = new_chan(0);
    atomic_store(&wired_over, false);
    atomic_store(&wired_thread, 0);
    go_done(stay, how, done);
    while (!atomic_load(&wired_thread))
        yield();
    for (int i = 0; i < 4; i++)
        go_done(elsewhere, NULL, done);
    while (chan_recv(wired_c, &v, NOTE_FOREVER) == CHAN_OK)
        CHECK(thread_id() != atomic_load(&wired_thread));
    wait_for_done(done, 5);
}

static void wired(void) { wire(NULL); }

static void wired_for_life(void) {
    /* A warm-up brings the number of threads to what this takes. */
    wire((void *)1);
    int64_t before = stats().threads;
    for (int i = 0; i < 10; i++)
        wire((void *)1);
    for (int i = 0; i < 100 && stats().threads > before + 4; i++)
        sleep_for(10 * MS);
    CHECK(stats().threads <= before + 4); /* their Ms have ended */
}

/* The host says pinned: like wired, for this wait only. */
static void wait_pinned(void *c) {
    struct work *w = work_of(sched_current());
    for (long i = 0; i < scaled(300, 20); i++) {
        long me = thread_id();
        w->pinned = true;
        recv_value(c);
        yield();
        CHECK(thread_id() == me);
        w->pinned = false;
        yield();
    }
}

static void pinned(void) {
    struct chan *c = new_chan(0), *done = new_chan(0);
    go_done(wait_pinned, c, done);
    for (long i = 0; i < scaled(300, 20); i++) {
        send_value(c, i);
        if (i % 5 == 0)
            sleep_for(100 * US);
    }
    wait_for_done(done, 1);
}

/* ---- few threads ---- */

static void few_threads(void) {
    int64_t before = sched_max_threads(3);
    struct chan *done = new_chan(0);
    for (int i = 0; i < 40; i++)
        go_done(block_long, (void *)(long)(2 * MS), done);
    wait_for_done(done, 40);
    CHECK(stats().threads <= 3);
    CHECK(sched_max_threads(before) == 3);
}

/* ---- the leaving rule ---- */

static void nothing(void *arg) { (void)arg; }

static void all_freed(void) {
    struct chan *done = new_chan(0);
    long n = scaled(20000, 500), before = atomic_load(&host_freed);
    for (long i = 0; i < n; i++)
        go_done(nothing, NULL, done);
    wait_for_done(done, n);
    for (int i = 0; i < 1000 && atomic_load(&host_freed) < before + n; i++)
        sleep_for(MS); /* the last ones are just being left */
    CHECK(atomic_load(&host_freed) >= before + n);
    CHECK(sched_num_goroutine() == 1);
}

int main(void) {
    each("stealing", stealing);
    each("hand_off", hand_off);
    each("many_blocked", many_blocked);
    each("back_among_hogs", back_among_hogs);
    each("preemption", preemption);
    each("fairness", fairness);
    each("change_procs", change_procs);
    each("wired", wired);
    each("wired_for_life", wired_for_life);
    each("pinned", pinned);
    each("few_threads", few_threads);
    each("all_freed", all_freed);
    return 0;
}
