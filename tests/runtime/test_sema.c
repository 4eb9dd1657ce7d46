/* The semaphore: order, weights, timeouts, interrupts; nobody starves. */
#include "sema.h"

#include "host.h"

struct waiter {
    struct sema *s;
    struct chan *order;
    long number, units;
};

static void wait_and_tell(void *arg) {
    struct waiter *w = arg;
    CHECK(sema_acquire(w->s, w->units, "test", NOTE_FOREVER) == CHAN_OK);
    send_value(w->order, w->number);
}

static void fifo(void) {
    enum { N = 30 };
    static struct waiter w[N];
    struct sema s;
    struct chan *order = new_chan(N);
    sema_init(&s, 0);
    for (long i = 0; i < N; i++) {
        w[i] = (struct waiter){&s, order, i, 1};
        go(wait_and_tell, &w[i]);
        wait_for_waiters(&s.lock, &s.waiters, (int)i + 1);
    }
    for (long i = 0; i < N; i++) {
        sema_release(&s, 1);
        CHECK(recv_value(order) == i);
    }
    CHECK(sema_count(&s) == 0 && !s.waiters.first);
}

/* A large request at the front is not overtaken by small ones that would fit. */
static void weighted(void) {
    static struct waiter big, small;
    static struct sema s;
    struct chan *order = new_chan(2);
    sema_init(&s, 2);
    big = (struct waiter){&s, order, 1, 3};
    small = (struct waiter){&s, order, 2, 1};
    go(wait_and_tell, &big);
    wait_for_waiters(&s.lock, &s.waiters, 1);
    go(wait_and_tell, &small);
    wait_for_waiters(&s.lock, &s.waiters, 2);
    CHECK(sema_acquire(&s, 1, "test", CHAN_POLL) == CHAN_WOULD_BLOCK);
    CHECK(chan_len(order) == 0 && sema_count(&s) == 2);
    sema_release(&s, 1);
    CHECK(recv_value(order) == 1);
    sema_release(&s, 1);
    CHECK(recv_value(order) == 2);
    CHECK(sema_count(&s) == 0);
}

/* A large request that gives up lets the small ones behind it pass. */
static void gives_up(void) {
    static struct waiter small;
    static struct sema s;
    struct chan *order = new_chan(2);
    sema_init(&s, 1);
    small = (struct waiter){&s, order, 2, 1};
    go(wait_and_tell, &small); /* runs once this one waits, or before: both are well */
    CHECK(sema_acquire(&s, 5, "test", rt_now() + 10 * MS) == CHAN_TIMEOUT);
    CHECK(recv_value(order) == 2);
    CHECK(sema_count(&s) == 0 && !s.waiters.first);
}

/* Past the scheduler while nobody waits; within bounds, or not at all. */
static void quickly(void) {
    static struct waiter w;
    static struct sema s;
    struct chan *order = new_chan(1);
    sema_init(&s, 2);
    CHECK(sema_acquire_quickly(&s, 2) && !sema_acquire_quickly(&s, 1) &&
          sema_acquire_quickly(&s, 0));
    CHECK(!sema_release_if(&s, 1, 1, 2) && !sema_release_quickly(&s, 1, 1, 2));
    CHECK(sema_count(&s) == 0 && sema_release_quickly(&s, 2, 0, 0) && sema_count(&s) == 2);
    CHECK(sema_acquire_quickly(&s, 2));
    CHECK(sema_release_if(&s, 1, 0, 1) && sema_count(&s) == 1);
    w = (struct waiter){&s, order, 7, 2};
    go(wait_and_tell, &w);
    wait_for_waiters(&s.lock, &s.waiters, 1);
    CHECK(!sema_acquire_quickly(&s, 1) && !sema_release_quickly(&s, 1, 0, 1)); /* they wait first */
    CHECK(!sema_release_if(&s, 1, 0, 0) && sema_count(&s) == 1);
    CHECK(sema_release_if(&s, 1, 0, 1) && recv_value(order) == 7);
    CHECK(sema_count(&s) == 0);
}

struct pool {
    struct sema s;
    int64_t units;
    _Atomic int64_t in_use;
    _Atomic long got, timed_out;
    long rounds;
};

static void use_pool(void *arg) {
    struct pool *p = arg;
    uint32_t seed = (uint32_t)(uintptr_t)&seed | 1;
    for (long i = 0; i < p->rounds; i++) {
        int64_t n = 1 + xorshift(&seed) % 3;
        int64_t deadline = xorshift(&seed) % 3 ? NOTE_FOREVER
                                               : rt_now() + (int64_t)(xorshift(&seed) % 20000);
        enum chan_result r = sema_acquire(&p->s, n, "test", deadline);
        if (r == CHAN_TIMEOUT) {
            atomic_fetch_add(&p->timed_out, 1);
            continue;
        }
        CHECK(r == CHAN_OK);
        CHECK(atomic_fetch_add(&p->in_use, n) + n <= p->units);
        if (xorshift(&seed) % 4 == 0)
            yield();
        atomic_fetch_sub(&p->in_use, n);
        sema_release(&p->s, n);
        atomic_fetch_add(&p->got, 1);
    }
}

static void contended(void) {
    struct pool p = {.units = 5, .rounds = scaled(3000, 30)};
    struct chan *done = new_chan(0);
    sema_init(&p.s, p.units);
    for (int i = 0; i < 10; i++)
        go_done(use_pool, &p, done);
    wait_for_done(done, 10);
    CHECK(p.got + p.timed_out == 10 * p.rounds);
    CHECK(sema_count(&p.s) == p.units && p.in_use == 0 && !p.s.waiters.first);
}

struct race {
    struct sema s;
    _Atomic long turns[4];
    _Atomic bool stop;
};

struct runner {
    struct race *race;
    int number;
};

static void run_race(void *arg) {
    struct runner *r = arg;
    while (!atomic_load(&r->race->stop)) {
        CHECK(sema_acquire(&r->race->s, 1, "test", NOTE_FOREVER) == CHAN_OK);
        atomic_fetch_add(&r->race->turns[r->number], 1);
        yield(); /* the others come and wait */
        sema_release(&r->race->s, 1);
    }
}

/* Of those who always want it, each gets it again and again. */
static void no_starvation(void) {
    static struct race race;
    static struct runner runners[4];
    struct chan *done = new_chan(0);
    sema_init(&race.s, 1);
    for (int i = 0; i < 4; i++) {
        runners[i] = (struct runner){&race, i};
        go_done(run_race, &runners[i], done);
    }
    for (int i = 0; i < 4; i++)
        while (atomic_load(&race.turns[i]) < scaled(5000, 500))
            sleep_for(MS);
    atomic_store(&race.stop, true);
    wait_for_done(done, 4);
}

int main(void) {
    each("fifo", fifo);
    each("weighted", weighted);
    each("gives_up", gives_up);
    each("quickly", quickly);
    each("contended", contended);
    each("no_starvation", no_starvation);
    return 0;
}
