/* fork: the child forgets all goroutines but the caller's, and can start new ones.
 * check-c: skip asan tsan valgrind (a fork of a process with several threads: TSan starts no threads
 * in the child, ASan's allocator may be locked there for ever, and to valgrind all is lost that the
 * threads of the parent were about to make) */
#include "netpoll.h"
#include "notify.h"
#include "sema.h"

#include "host.h"

#include <errno.h>

static struct g *forked_g;

static void after_in_child(void) {
    forked_g = sched_fork_child();
    pthread_mutex_init(&gil.mutex, NULL);
    pthread_cond_init(&gil.moved, NULL);
    gil.next = gil.serving + 1; /* the caller holds it, nobody waits */
}

static void register_handlers(void) {
    CHECK(pthread_atfork(sched_fork_prepare, sched_fork_parent, after_in_child) == 0);
}

/* ---- what the child does ---- */

static void add_up(void *arg) {
    struct chan **c = arg;
    send_value(c[1], recv_value(c[0]) + 1);
}

static void sleep_and_yield(void *arg) {
    (void)arg;
    sleep_for(MS);
    yield();
    block_for(100 * US);
}

/* Goroutines that wait here exist in the parent only. */
static struct chan *haunted;

static void meet_ghosts(void) {
    void *v;
    CHECK(chan_send(haunted, NULL, CHAN_POLL) == CHAN_WOULD_BLOCK);
    CHECK(chan_recv(haunted, &v, rt_now() + MS) == CHAN_TIMEOUT);
    CHECK(chan_close(haunted));
}

/* Goroutines wait for it in the parent only, and there they go on waiting. */
static int haunted_pipe[2];

static void wait_for_pipe(void *fd) {
    CHECK(netpoll_wait((int)(long)fd, NETPOLL_READ, NOTE_FOREVER) == 0);
}

static void wait_for_pipe_too(void *arg) {
    struct chan **c = arg;
    send_value(c[0], netpoll_wait(haunted_pipe[0], NETPOLL_READ, rt_now() + MS));
}

static void poll_in_child(void) {
    static struct chan *c[1];
    struct chan *done = new_chan(1);
    int mine[2];
    CHECK(netpoll_waiters() == 0);
    c[0] = new_chan(0);
    go(wait_for_pipe_too, c);
    CHECK(recv_value(c[0]) == ETIMEDOUT);
    CHECK(pipe(mine) == 0);
    go_done(wait_for_pipe, (void *)(long)mine[0], done);
    sched_sleep(rt_now() + MS);
    CHECK(write(mine[1], "x", 1) == 1);
    wait_for_done(done, 1);
    close(mine[0]);
    close(mine[1]);
}

static void work_in_child(void) {
    enum { N = 200 };
    static struct chan *chain[N + 1];
    struct chan *done = new_chan(0);
    for (int i = 0; i <= N; i++)
        chain[i] = new_chan(0);
    for (int i = 0; i < N; i++) {
        go_done(add_up, &chain[i], done);
        go_done(sleep_and_yield, NULL, done);
    }
    send_value(chain[0], 1);
    CHECK(recv_value(chain[N]) == N + 1);
    wait_for_done(done, 2 * N);
    CHECK(sched_sleep(rt_now() + MS) == WAKE_TIMEOUT);
    for (int i = 0; i < 1000 && sched_num_goroutine() > 0; i++)
        sleep_for(MS);
    CHECK(sched_num_goroutine() == 0);
}

/* Those who waited for a semaphore, or in a list, do not exist in the child, nor may their places in the
 * queues be looked at: threads' stacks are used again. */
static struct sema locked;
static struct wait_group working;

static void check_queues(void) {
    CHECK(!sema_acquire_quickly(&locked, 1));
    CHECK(sema_acquire(&locked, 1, "test", CHAN_POLL) == CHAN_WOULD_BLOCK);
    CHECK(!locked.waiters.first && notify_len(&working.list) == 0);
    CHECK(sema_release_if(&locked, 1, 0, 0) && sema_count(&locked) == 1);
    CHECK(sema_acquire_quickly(&locked, 1));
    CHECK(wait_group_add(&working, -1) && wait_group_wait(&working, NOTE_FOREVER) == CHAN_OK);
    CHECK(wait_group_add(&working, 1));
}

static void check_child(bool was_goroutine) {
    volatile char mine[512];
    memset((char *)mine, 0x5a, sizeof mine);
    CHECK((forked_g != NULL) == was_goroutine);
    CHECK(sched_current() == NULL && stats().threads == 0);
    alarm(HANG_SECONDS);
    check_queues();
    if (!chan_is_closed(haunted))
        meet_ghosts();
    poll_in_child();
    work_in_child();
    for (size_t i = 0; i < sizeof mine; i++)
        CHECK(mine[i] == 0x5a); /* nobody was given this stack */
}

static void wait_for_child(pid_t pid) {
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

/* The child has a child, too. */
static void child(bool was_goroutine) {
    check_child(was_goroutine);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0)
        check_child(false);
    else
        wait_for_child(pid);
    _exit(0);
}

static void fork_once(bool is_goroutine) {
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0)
        child(is_goroutine);
    wait_for_child(pid);
}

/* ---- what goes on in the parent meanwhile ---- */

static _Atomic bool stop;

static void keep_busy(void *arg) {
    struct chan *c = arg;
    while (!atomic_load(&stop)) {
        send_value(c, 1);
        recv_value(c);
        sched_sleep(rt_now() + 10 * US);
        yield();
    }
}

static void wait_for_close(void *arg) {
    void *v;
    CHECK(chan_recv(arg, &v, NOTE_FOREVER) == CHAN_CLOSED);
}

static void wait_for_lock(void *arg) {
    (void)arg;
    CHECK(sema_acquire(&locked, 1, "test", NOTE_FOREVER) == CHAN_OK);
    sema_release(&locked, 1);
}

static void wait_for_work(void *arg) {
    (void)arg;
    CHECK(wait_group_wait(&working, NOTE_FOREVER) == CHAN_OK);
}

static void forks(bool is_goroutine) {
    struct chan *done = new_chan(8), *polled = new_chan(2);
    register_handlers();
    sema_init(&locked, 0);
    wait_group_init(&working);
    CHECK(wait_group_add(&working, 1));
    for (int i = 0; i < 3; i++) {
        go_done(wait_for_lock, NULL, done);
        go_done(wait_for_work, NULL, done);
    }
    wait_for_waiters(&locked.lock, &locked.waiters, 3);
    wait_for_waiters(&working.list.lock, &working.list.waiters, 3);
    CHECK(pipe(haunted_pipe) == 0);
    for (int i = 0; i < 2; i++)
        go_done(wait_for_pipe, (void *)(long)haunted_pipe[0], polled);
    while (netpoll_waiters() < 2)
        yield();
    haunted = new_chan(0);
    for (int i = 0; i < 3; i++)
        go_done(wait_for_close, haunted, done);
    wait_for_waiters(&haunted->lock, &haunted->recvq, 3);
    for (int i = 0; i < 8; i++)
        go_done(keep_busy, new_chan(1), done);
    for (long i = 0; i < scaled(10, 2); i++) {
        sched_sleep(rt_now() + 200 * US);
        fork_once(is_goroutine);
    }
    atomic_store(&stop, true);
    chan_close(haunted); /* here they are still alive */
    sema_release(&locked, 1);
    CHECK(wait_group_add(&working, -1));
    wait_for_done(done, 17);
    CHECK(netpoll_waiters() == 2);
    CHECK(write(haunted_pipe[1], "x", 1) == 1);
    wait_for_done(polled, 2);
}

static void from_goroutine(void) { forks(true); }
static void from_thread(void) { forks(false); }

int main(void) {
    each("from_goroutine", from_goroutine);
    each_in_thread("from_thread", from_thread);
    return 0;
}
