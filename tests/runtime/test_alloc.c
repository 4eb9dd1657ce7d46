/* Memory runs out: g_new() says so, and everything else goes on.
 * check-c: skip asan tsan valgrind (they cannot live with a limit on address space) */
#include "host.h"

#include <sys/resource.h>

static struct chan *gate;

static void wait_at_gate(void *arg) {
    void *v;
    (void)arg;
    CHECK(chan_recv(gate, &v, NOTE_FOREVER) == CHAN_CLOSED);
}

static long current_kb(void) {
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    CHECK(f && fscanf(f, "%ld", &pages) == 1);
    fclose(f);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static void limit_address_space(long more_mb) {
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_AS, &limit) == 0);
    limit.rlim_cur = more_mb < 0 ? limit.rlim_max : (rlim_t)(current_kb() + more_mb * 1024) * 1024;
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
}

static long start_as_many_as_possible(struct chan *done) {
    long n = 0;
    while (n < 1000000 &&
           try_go(wait_at_gate, NULL, done)) /* some are parked, some have not begun */
        if (++n % 16 == 0)
            yield();
    CHECK(n < 1000000);
    return n;
}

static void ping(struct chan *c, struct chan *d) {
    send_value(c, 1);
    CHECK(recv_value(d) == 2);
}

static void pong(void *arg) {
    struct chan **c = arg;
    void *v;
    while (chan_recv(c[0], &v, NOTE_FOREVER) == CHAN_OK)
        send_value(c[1], (long)v + 1);
}

/* The last ones are just ending. */
static void start_when_possible(struct chan *done) {
    int tries = 0;
    while (!try_go(wait_at_gate, NULL, done)) {
        CHECK(++tries < 5000);
        sleep_for(MS);
    }
}

static void no_stacks(void) {
    struct chan *c[] = {new_chan(0), new_chan(0)}, *done = new_chan(0);
    go_done(pong, c, done);
    ping(c[0], c[1]);
    for (int round = 0; round < 3; round++) {
        gate = new_chan(0);
        limit_address_space(1000); /* more stacks than all Ps keep for themselves */
        long n = start_as_many_as_possible(done);
        CHECK(!try_go(wait_at_gate, NULL, done)); /* and again */
        for (int i = 0; i < 100; i++)
            ping(c[0], c[1]); /* the others do not notice */
        sleep_for(MS);
        chan_close(gate);
        wait_for_done(done, n);
        start_when_possible(done);
        wait_for_done(done, 1);
        limit_address_space(-1);
    }
    chan_close(c[0]);
    wait_for_done(done, 1);
}

/* No thread can be made: goroutines wait for one, and nothing else happens. */
static void block_shortly(void *arg) { block_for((long)arg); }

static void no_threads(void) {
    struct chan *done = new_chan(0);
    limit_address_space(0);
    for (int i = 0; i < 30; i++)
        go_done(block_shortly, (void *)(long)(500 * US), done);
    wait_for_done(done, 30);
    limit_address_space(-1);
    for (int i = 0; i < 30; i++)
        go_done(block_shortly, (void *)(long)(500 * US), done);
    wait_for_done(done, 30);
}

/* The size of stacks is changed while goroutines come and go. */
static void use_stack(void *arg) {
    volatile char bytes[8000];
    memset((char *)bytes, 1, sizeof bytes);
    CHECK(bytes[7999] == 1 && arg == NULL);
    yield();
}

static void stack_sizes(void) {
    static const size_t sizes[] = {64 << 10, 1 << 20, 300 << 10, 256 << 10, 2 << 20, 100 << 10};
    struct chan *done = new_chan(0);
    for (long i = 0; i < scaled(300, 30); i++) {
        sched_stack_size(sizes[(size_t)i % COUNT(sizes)]);
        for (int k = 0; k < 20; k++)
            go_done(use_stack, NULL, done);
        wait_for_done(done, 20);
    }
    /* What was prepared and is not wanted. */
    for (int i = 0; i < 100; i++) {
        struct g *g = g_new();
        CHECK(g);
        g_discard(g);
    }
}

int main(void) {
    each("no_stacks", no_stacks);
    each("no_threads", no_threads);
    each("stack_sizes", stack_sizes);
    return 0;
}
