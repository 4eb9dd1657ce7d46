/* The poller: waits end when they should and for no other reason, whoever polls, whatever happens to
 * the descriptor behind our back.
 * check-c: timeout 300 */
#include "netpoll.h"

#include "host.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>

#define SOON (60000 * MS) /* a limit, where a wait should end long before */

static int wait_for(int fd, enum netpoll_mode mode) {
    return netpoll_wait(fd, mode, rt_now() + SOON);
}

static void make_pair(int pair[2]) {
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
}

static void close_pair(int pair[2]) {
    close(pair[0]);
    close(pair[1]);
}

static void write_byte(int fd) { CHECK(write(fd, "x", 1) == 1); }

static void read_byte(int fd) {
    char c;
    CHECK(read(fd, &c, 1) == 1);
}

static void fill(int fd) {
    static const char zeroes[4096];
    while (write(fd, zeroes, sizeof zeroes) > 0)
        ;
}

static void drain(int fd) {
    char buf[4096];
    while (read(fd, buf, sizeof buf) > 0)
        ;
}

static void until_waiting(int64_t n) {
    while (netpoll_waiters() != n)
        yield();
}

/* A goroutine that waits and tells what came of it. */
struct waiter {
    int fd;
    enum netpoll_mode mode;
    struct chan *out;
};

static void waiter(void *arg) {
    struct waiter *w = arg;
    send_value(w->out, netpoll_wait(w->fd, w->mode, NOTE_FOREVER));
}

/* ---- one wait ---- */

static void what_is_known_at_once(void) {
    int pair[2];
    make_pair(pair);
    CHECK(netpoll_look(pair[0], NETPOLL_READ) == EAGAIN);
    CHECK(netpoll_look(pair[0], NETPOLL_WRITE) == 0);
    CHECK(netpoll_wait(pair[0], NETPOLL_WRITE, NOTE_FOREVER) == 0);
    write_byte(pair[1]);
    CHECK(netpoll_look(pair[0], NETPOLL_READ) == 0);
    for (int i = 0; i < 3; i++)
        CHECK(netpoll_wait(pair[0], NETPOLL_READ, NOTE_FOREVER) == 0); /* level-triggered */
    close_pair(pair);
    CHECK(netpoll_look(pair[0], NETPOLL_READ) == EBADF);
    CHECK(netpoll_wait(pair[0], NETPOLL_READ, NOTE_FOREVER) == EBADF);
    CHECK(netpoll_wait(-1, NETPOLL_READ, NOTE_FOREVER) == EBADF);
    int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    CHECK(netpoll_wait(file, NETPOLL_READ, NOTE_FOREVER) == 0); /* a regular file: always */
    close(file);
    CHECK(netpoll_waiters() == 0);
}

static void time_limits(void) {
    int pair[2];
    make_pair(pair);
    for (int i = 0; i < 5; i++) {
        int64_t deadline = rt_now() + i * 300 * US;
        CHECK(netpoll_wait(pair[0], NETPOLL_READ, deadline) == ETIMEDOUT);
        CHECK(rt_now() >= deadline);
        CHECK(netpoll_waiters() == 0);
    }
    CHECK(netpoll_wait(pair[0], NETPOLL_READ, INT64_MIN) == ETIMEDOUT);
    write_byte(pair[1]);
    CHECK(wait_for(pair[0], NETPOLL_READ) == 0);
    close_pair(pair);
}

/* ---- two that talk ---- */

struct talker {
    int fd;
    long n;
    bool first;
};

static void talk(void *arg) {
    struct talker *t = arg;
    if (t->first)
        write_byte(t->fd);
    for (long i = 0; i < t->n; i++) {
        CHECK(wait_for(t->fd, NETPOLL_READ) == 0);
        read_byte(t->fd);
        if (!t->first || i < t->n - 1)
            write_byte(t->fd);
    }
}

static void conversations(void) {
    enum { PAIRS = 8 };
    struct chan *done = new_chan(0);
    static struct talker t[PAIRS][2];
    for (int i = 0; i < PAIRS; i++) {
        int pair[2];
        make_pair(pair);
        for (int k = 0; k < 2; k++) {
            t[i][k] = (struct talker){pair[k], scaled(2000, 20), k == 0};
            go_done(talk, &t[i][k], done);
        }
    }
    wait_for_done(done, 2 * PAIRS);
    CHECK(netpoll_waiters() == 0);
}

/* ---- many on one descriptor ---- */

static void both_directions(void) {
    enum { N = 50 };
    int pair[2];
    make_pair(pair);
    fill(pair[0]);
    struct chan *readers = new_chan(N), *writers = new_chan(N);
    struct waiter r = {pair[0], NETPOLL_READ, readers}, w = {pair[0], NETPOLL_WRITE, writers};
    for (int i = 0; i < N; i++) {
        go(waiter, &r);
        go(waiter, &w);
    }
    until_waiting(2 * N);
    drain(pair[1]);
    for (int i = 0; i < N; i++)
        CHECK(recv_value(writers) == 0);
    CHECK(netpoll_waiters() == N && chan_len(readers) == 0);
    write_byte(pair[1]);
    for (int i = 0; i < N; i++)
        CHECK(recv_value(readers) == 0);
    fill(pair[0]);
    for (int i = 0; i < N; i++) {
        go(waiter, &w);
        go(waiter, &r); /* ready at once, though the other direction is not */
    }
    for (int i = 0; i < N; i++)
        CHECK(recv_value(readers) == 0);
    close(pair[1]); /* an end wakes both */
    for (int i = 0; i < N; i++)
        CHECK(recv_value(writers) == 0);
    close(pair[0]);
}

/* ---- tokens: nothing is lost between readiness, time limits and interrupts ---- */

static struct {
    int fd[2];
    long n;
    _Atomic long taken;
    struct rt_lock lock; /* guards victims: who has left is not interrupted any more */
    struct g *victims[8];
    _Atomic bool stop;
} tokens;

static void set_victim(long i, struct g *g) {
    rt_lock(&tokens.lock);
    tokens.victims[i] = g;
    rt_unlock(&tokens.lock);
}

static void take_tokens(void *arg) {
    uint32_t seed = (uint32_t)(long)arg * 2654435761u + 1;
    set_victim((long)arg, sched_current());
    while (atomic_load(&tokens.taken) < tokens.n) {
        int64_t limit = xorshift(&seed) % 4 ? xorshift(&seed) % (200 * US) : 50 * MS;
        int r = netpoll_wait(tokens.fd[0], NETPOLL_READ, rt_now() + limit);
        char c;
        if (r == 0 && read(tokens.fd[0], &c, 1) == 1)
            atomic_fetch_add(&tokens.taken, 1);
        CHECK(r == 0 || r == ETIMEDOUT || r == EINTR);
    }
    set_victim((long)arg, NULL);
}

static void interrupt_takers(void *arg) {
    uint32_t seed = 7;
    (void)arg;
    while (!atomic_load(&tokens.stop)) {
        rt_lock(&tokens.lock);
        struct g *g = tokens.victims[xorshift(&seed) % COUNT(tokens.victims)];
        sched_enter_to_wake();
        bool woken = g && g_interrupt(g);
        rt_unlock(&tokens.lock);
        if (woken)
            sched_kick();
        sched_leave();
        sleep_for(xorshift(&seed) % (50 * US));
    }
}

static void nothing_is_lost(void) {
    struct chan *done = new_chan(0);
    make_pair(tokens.fd);
    tokens.n = scaled(4000, 50);
    for (long i = 0; i < (long)COUNT(tokens.victims); i++)
        go_done(take_tokens, (void *)i, done);
    go_done(interrupt_takers, NULL, done);
    uint32_t seed = 99;
    for (long i = 0; i < tokens.n; i++) {
        if (xorshift(&seed) % 3 == 0)
            sleep_for(xorshift(&seed) % (100 * US));
        while (write(tokens.fd[1], "x", 1) != 1)
            CHECK(wait_for(tokens.fd[1], NETPOLL_WRITE) == 0);
    }
    wait_for_done(done, COUNT(tokens.victims));
    CHECK(atomic_load(&tokens.taken) == tokens.n);
    atomic_store(&tokens.stop, true);
    wait_for_done(done, 1);
    CHECK(netpoll_waiters() == 0);
    close_pair(tokens.fd);
}

/* ---- closed ---- */

static void closed_with_notice(void) {
    struct chan *out = new_chan(2);
    for (long i = 0; i < scaled(200, 10); i++) {
        int pair[2];
        make_pair(pair);
        fill(pair[0]);
        struct waiter r = {pair[0], NETPOLL_READ, out}, w = {pair[0], NETPOLL_WRITE, out};
        go(waiter, &r);
        go(waiter, &w);
        until_waiting(2);
        netpoll_close(pair[0]); /* which it is not: nobody is disturbed */
        CHECK(netpoll_waiters() == 2);
        close(pair[0]);
        netpoll_close(pair[0]);
        CHECK(recv_value(out) == EBADF && recv_value(out) == EBADF);
        CHECK(netpoll_waiters() == 0);
        close(pair[1]);
    }
}

/* The number belongs to another file, with a waiter of its own, by the time we are told. */
static void replaced(bool keep_old_file) {
    struct chan *out = new_chan(1), *out2 = new_chan(1);
    int old[2], new[2];
    make_pair(old);
    make_pair(new);
    int kept = keep_old_file ? dup(old[0]) : -1, number = old[0];
    struct waiter w = {number, NETPOLL_READ, out}, w2 = {number, NETPOLL_READ, out2};
    go(waiter, &w);
    until_waiting(1);
    CHECK(dup2(new[0], number) == number);
    go(waiter, &w2);
    CHECK(recv_value(out) == EBADF); /* found out by the second wait */
    until_waiting(1);
    netpoll_close(number);
    if (keep_old_file)
        write_byte(old[1]); /* what the old file does is nobody's business any more */
    sleep_for(2 * MS);
    CHECK(netpoll_waiters() == 1);
    write_byte(new[1]);
    CHECK(recv_value(out2) == 0);
    close_pair(old);
    close_pair(new);
    close(kept);
}

static void replaced_and_gone(void) { replaced(false); }
static void replaced_and_kept(void) { replaced(true); }

/* Between two waits, without any notice. */
static void reused(void) {
    for (long i = 0; i < scaled(300, 20); i++) {
        int pair[2], kept = -1;
        make_pair(pair);
        CHECK(netpoll_wait(pair[0], NETPOLL_READ, rt_now() + 10 * US) == ETIMEDOUT);
        if (i % 2)
            kept = dup(pair[0]); /* then epoll still knows (old file, number) */
        int number = pair[0];
        close_pair(pair);
        int efd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        CHECK(efd == number);
        struct chan *out = new_chan(1);
        struct waiter w = {efd, NETPOLL_READ, out};
        go(waiter, &w);
        until_waiting(1);
        uint64_t one = 1;
        CHECK(write(efd, &one, sizeof one) == sizeof one);
        CHECK(recv_value(out) == 0);
        close(efd);
        close(kept);
    }
}

/* As daemons do: all numbers, ours among them. */
UNUSED static void poller_closed(void) {
    int pair[2];
    for (int i = 0; i < 3; i++) {
        make_pair(pair);
        CHECK(netpoll_wait(pair[0], NETPOLL_READ, rt_now()) == ETIMEDOUT);
        for (int fd = 3; fd < 100; fd++)
            close(fd);
        make_pair(pair);
        if (i == 1) /* where the poller was, there is something else now */
            for (int k = 0; k < 10; k++)
                CHECK(open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0);
        struct chan *out = new_chan(1);
        struct waiter w = {pair[0], NETPOLL_READ, out};
        go(waiter, &w);
        until_waiting(1);
        write_byte(pair[1]);
        CHECK(recv_value(out) == 0);
    }
}

/* ---- who polls ---- */

/* wait_for() ends soon though nobody is idle, or everybody is blocked. */
static void ends_beside(void (*other)(void *), void *arg, long others) {
    struct chan *out = new_chan(1), *done = new_chan(others);
    int pair[2];
    make_pair(pair);
    struct waiter w = {pair[0], NETPOLL_READ, out};
    go(waiter, &w);
    until_waiting(1);
    for (long i = 0; i < others; i++)
        go_done(other, arg, done);
    write_byte(pair[1]);
    CHECK(recv_value(out) == 0);
    wait_for_done(done, others);
    close_pair(pair);
}

static void compute(void *ns) { compute_for((int64_t)(long)ns); }
static void block(void *ns) { block_for((int64_t)(long)ns); }

static void beside_computing(void) { ends_beside(compute, (void *)(30 * MS), 9); }
static void beside_blocked(void) { ends_beside(block, (void *)(100 * MS), 9); }

/* The event comes while the only other goroutine is blocked, and nothing else happens. */
static void write_in_block(void *fd) {
    nap((void *)(20 * MS));
    write_byte((int)(long)fd);
    nap((void *)(200 * MS));
}

static _Atomic int64_t woken_at;

static void wait_and_note(void *fd) {
    CHECK(wait_for((int)(long)fd, NETPOLL_READ) == 0);
    atomic_store(&woken_at, rt_now());
}

static void while_blocked(void) {
    struct chan *done = new_chan(1);
    int pair[2];
    make_pair(pair);
    go_done(wait_and_note, (void *)(long)pair[0], done);
    until_waiting(1);
    blocked_outside(write_in_block, (void *)(long)pair[1]);
    int64_t back = rt_now();
    wait_for_done(done, 1);
    CHECK(atomic_load(&woken_at) < back);
    close_pair(pair);
}

/* Those who wait on their own M leave nobody behind. */
static void wired_waiter(void *arg) {
    sched_wire(sched_current());
    waiter(arg);
    waiter(arg);
    sched_unwire(sched_current());
}

static void pinned_waiter(void *arg) {
    work_of(sched_current())->pinned = true;
    waiter(arg);
    waiter(arg);
    work_of(sched_current())->pinned = false;
}

static void *write_later(void *fd) {
    nap((void *)(5 * MS));
    write_byte((int)(long)fd);
    return NULL;
}

static void on_their_own_m(void) {
    void (*kinds[])(void *) = {wired_waiter, pinned_waiter, waiter};
    for (size_t k = 0; k < COUNT(kinds); k++) {
        struct chan *out = new_chan(2), *done = new_chan(1);
        int pair[2];
        make_pair(pair);
        struct waiter w = {pair[0], NETPOLL_READ, out};
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, write_later, (void *)(long)pair[1]) == 0);
        go_done(kinds[k], &w, done);
        CHECK(recv_value(out) == 0);
        wait_for_done(done, 1);
        join_thread(thread);
        close_pair(pair);
    }
}

/* Main itself is wired: all Ps are idle. */
static void wired_main(void) {
    sched_wire(sched_current());
    for (int i = 0; i < 5; i++) {
        int pair[2];
        make_pair(pair);
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, write_later, (void *)(long)pair[1]) == 0);
        CHECK(wait_for(pair[0], NETPOLL_READ) == 0);
        join_thread(thread);
        close_pair(pair);
    }
    sched_unwire(sched_current());
}

/* ---- the M in the poller is there for other things, too ---- */

static void answer(void *arg) {
    struct chan **c = arg;
    for (void *v; chan_recv(c[0], &v, NOTE_FOREVER) == CHAN_OK;)
        send_value(c[1], (long)v + 1);
}

/* In a plain thread: each message wakes an idle M, the one in the poller if it is the only one. */
static void called_from_threads(void) {
    static struct chan *c[2];
    int pair[2];
    struct chan *out = new_chan(1);
    make_pair(pair);
    c[0] = new_chan(0);
    c[1] = new_chan(0);
    struct waiter w = {pair[0], NETPOLL_READ, out};
    go(waiter, &w);
    go(answer, c);
    for (long i = 0; i < scaled(2000, 50); i++) {
        send_value(c[0], i);
        CHECK(recv_value(c[1]) == i + 1);
    }
    CHECK(netpoll_waiters() == 1);
    write_byte(pair[1]);
    CHECK(recv_value(out) == 0);
    chan_close(c[0]);
    close_pair(pair);
}

/* A timer that comes first, and one that is armed while an M sleeps in the poller until a later one. */
static void timers_in_time(void) {
    int pair[2];
    struct chan *out = new_chan(1);
    make_pair(pair);
    struct waiter w = {pair[0], NETPOLL_READ, out};
    go(waiter, &w);
    for (int i = 0; i < 20; i++) {
        int64_t begun = rt_now();
        sched_sleep(begun + 500 * US);
        CHECK(rt_now() - begun < 2000 * MS);
    }
    write_byte(pair[1]);
    CHECK(recv_value(out) == 0);
    close_pair(pair);
}

static void idle_is_idle(void) {
    int pair[2];
    struct chan *out = new_chan(1);
    make_pair(pair);
    struct waiter w = {pair[0], NETPOLL_READ, out};
    go(waiter, &w);
    sleep_for(50 * MS);
    struct timespec before, after;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
    sleep_for(400 * MS);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
    int64_t used = (after.tv_sec - before.tv_sec) * 1000 * MS + (after.tv_nsec - before.tv_nsec);
    CHECK(used < 40 * MS);
    write_byte(pair[1]);
    CHECK(recv_value(out) == 0);
    close_pair(pair);
}

/* ---- many descriptors ---- */

static void many(void) {
    struct rlimit files;
    CHECK(getrlimit(RLIMIT_NOFILE, &files) == 0);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    long n = scaled(20000, 500);
    if (n > (long)files.rlim_cur - 100)
        n = (long)files.rlim_cur - 100;
    struct waiter *w = calloc((size_t)n, sizeof *w);
    struct chan *out = new_chan(64);
    for (long i = 0; i < n; i++) {
        w[i] = (struct waiter){eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), NETPOLL_READ, out};
        CHECK(w[i].fd >= 0);
        go(waiter, &w[i]);
    }
    until_waiting(n);
    CHECK(stats().threads < 50);
    for (long i = n; i-- > 0;) {
        uint64_t one = 1;
        CHECK(write(w[i].fd, &one, sizeof one) == sizeof one);
    }
    for (long i = 0; i < n; i++)
        CHECK(recv_value(out) == 0);
    CHECK(netpoll_waiters() == 0);
}

int main(void) {
    each("what_is_known_at_once", what_is_known_at_once);
    each("time_limits", time_limits);
    each("conversations", conversations);
    each("both_directions", both_directions);
    each("nothing_is_lost", nothing_is_lost);
    each("closed_with_notice", closed_with_notice);
    each("replaced_and_gone", replaced_and_gone);
    each("replaced_and_kept", replaced_and_kept);
    each("reused", reused);
#ifndef CONTEXT_TSAN /* which counts a close beside an epoll_wait as a race */
    each("poller_closed", poller_closed);
#endif
    each("beside_computing", beside_computing);
    each("beside_blocked", beside_blocked);
    each("while_blocked", while_blocked);
    each("on_their_own_m", on_their_own_m);
    each("wired_main", wired_main);
    each_in_thread("called_from_threads", called_from_threads);
    each("timers_in_time", timers_in_time);
    each("idle_is_idle", idle_is_idle);
    each("many", many);
    return 0;
}
