/* Interrupting whoever is parked, while values fly: nothing is lost, nobody hears of both. */
#include "sema.h"
#include "timer.h"

#include "host.h"

#define PEOPLE 6

static struct {
    struct chan *c, *other;
    struct sema s;
    _Atomic long sent, got, interrupted, in_use;
    _Atomic int64_t sent_sum, got_sum;
    _Atomic bool stop;
    long each;
} w;

static bool interrupt_one(struct g *g, void *arg) {
    uint32_t *seed = arg;
    if (atomic_load(&g->status) == G_WAITING && xorshift(seed) % 2)
        g_interrupt(g);
    return true;
}

static void interrupt_all(void *arg) {
    uint32_t seed = 12345;
    (void)arg;
    while (!atomic_load(&w.stop)) {
        /* In here, so that they come into this P's ring. From the global queue one in 122 turns is taken
         * while two yield to each other, and two that were to meet would be interrupted in between. */
        sched_enter_to_wake();
        sched_each_g(interrupt_one, &seed);
        sched_kick();
        sched_leave();
        yield();
    }
}

static bool happened(enum chan_result r) {
    if (r == CHAN_INTERRUPTED)
        atomic_fetch_add(&w.interrupted, 1);
    else
        CHECK(r == CHAN_OK);
    return r == CHAN_OK;
}

static struct select_outcome pick_two(struct select_case *cases) {
    uint32_t order[4];
    return select_go(cases, 2, order, NOTE_FOREVER);
}

static enum chan_result send_somewhere(long value, bool by_select) {
    if (!by_select)
        return chan_send(w.c, (void *)value, NOTE_FOREVER);
    struct select_case cases[] = {
        {.c = w.c, .dir = SELECT_SEND, .value = (void *)value},
        {.c = w.other, .dir = SELECT_SEND, .value = (void *)value},
    };
    return pick_two(cases).result;
}

static void send_all(void *arg) {
    for (long i = 1; i <= w.each || !atomic_load(&w.interrupted);) {
        if (!happened(send_somewhere(i, (long)arg % 2)))
            continue;
        atomic_fetch_add(&w.sent, 1);
        atomic_fetch_add(&w.sent_sum, i);
        i++;
    }
}

/* True: closed. */
static bool receive_one(bool by_select) {
    void *v = NULL;
    enum chan_result r;
    if (by_select) {
        struct select_case cases[] = {{.c = w.c, .dir = SELECT_RECV},
                                      {.c = w.other, .dir = SELECT_RECV}};
        struct select_outcome o = pick_two(cases);
        r = o.result;
        v = cases[o.index].value;
    } else {
        r = chan_recv(w.c, &v, NOTE_FOREVER);
    }
    if (r == CHAN_CLOSED)
        return true;
    if (happened(r)) {
        atomic_fetch_add(&w.got, 1);
        atomic_fetch_add(&w.got_sum, (long)v);
    }
    return false;
}

static void receive_all(void *arg) {
    while (!receive_one((long)arg % 2 == 0)) /* at least one selects, so that `other` is served */
        ;
}

static void use_sema(void *arg) {
    (void)arg;
    for (long i = 0; i < w.each; i++) {
        if (!happened(sema_acquire(&w.s, 1, "test", NOTE_FOREVER)))
            continue;
        CHECK(atomic_fetch_add(&w.in_use, 1) < 2);
        yield();
        atomic_fetch_sub(&w.in_use, 1);
        sema_release(&w.s, 1);
    }
}

static void sleep_often(void *arg) {
    (void)arg;
    for (long i = 0; i < w.each / 10; i++) {
        int64_t until = rt_now() + 50 * US;
        uint32_t woken = sched_sleep(until);
        CHECK(woken == WAKE_INTERRUPT || (woken == WAKE_TIMEOUT && rt_now() >= until));
    }
}

static void wait_patiently(struct chan *c) {
    void *v;
    enum chan_result r;
    while ((r = chan_recv(c, &v, NOTE_FOREVER)) == CHAN_INTERRUPTED)
        ;
    CHECK(r == CHAN_OK);
}

/* This goroutine, and those that say they are done, are interrupted as well: so by hand. */
static _Atomic long over;

struct job {
    void (*fn)(void *);
    void *arg;
};

static void run_job(void *arg) {
    struct job *job = arg;
    job->fn(job->arg);
    atomic_fetch_add(&over, 1);
}

static void wait_for_over(long n) {
    while (atomic_load(&over) < n)
        yield();
}

static void everybody(void) {
    static struct job jobs[4 * PEOPLE + 1];
    w.c = new_chan(0);
    w.other = new_chan(1);
    w.each = scaled(3000, 30);
    sema_init(&w.s, 2);
    void (*kinds[])(void *) = {send_all, use_sema, sleep_often, receive_all};
    int n = 0;
    for (int k = 0; k < 4; k++)
        for (long i = 0; i < PEOPLE; i++) {
            jobs[n] = (struct job){kinds[k], (void *)i};
            go(run_job, &jobs[n++]);
        }
    jobs[n] = (struct job){interrupt_all, NULL};
    go(run_job, &jobs[n]);
    wait_for_over(3 * PEOPLE);
    while (chan_len(w.other))
        yield();
    chan_close(w.c);
    chan_close(w.other);
    wait_for_over(4 * PEOPLE);
    atomic_store(&w.stop, true);
    wait_for_over(4 * PEOPLE + 1);
    CHECK(w.sent >= PEOPLE * w.each && w.got == w.sent && w.got_sum == w.sent_sum);
    CHECK(sema_count(&w.s) == 2 && !w.s.waiters.first);
    CHECK(!w.c->sendq.first && !w.c->recvq.first && timers_next() == TIMER_NEVER);
}

/* What must not be interrupted is not; what is woken later gets its value. */
static struct g *deaf;

static void be_deaf(void *arg) {
    struct g *g = sched_enter();
    sched_park_begin(g, "test", PARK_UNINTERRUPTIBLE);
    atomic_store((struct g * _Atomic *)arg, g);
    CHECK(sched_park(g, NOTE_FOREVER) == 42);
    sched_leave();
}

static void uninterruptible(void) {
    struct g *_Atomic g = NULL;
    struct chan *done = new_chan(1);
    go_done(be_deaf, (void *)&g, done);
    while (!atomic_load(&g))
        yield();
    deaf = atomic_load(&g);
    for (int i = 0; i < 100; i++) {
        CHECK(!g_interrupt(deaf));
        if (i % 10 == 0)
            sleep_for(100 * US);
    }
    CHECK(g_wake(deaf, 42) && !g_wake(deaf, 43));
    wait_patiently(done);
}

int main(void) {
    each("everybody", everybody);
    each("uninterruptible", uninterruptible);
    return 0;
}
