/* Plain threads beside goroutines: the same channels, native waits, and who notices that all sleep.
 * check-c: skip valgrind (many threads take minutes there) */
#include "sema.h"

#include "host.h"

/* ---- threads and goroutines on the same channels ---- */

#define MEMBERS 4

struct mixed {
    struct chan *c;
    long each;
    bool hurried;
    _Atomic uint8_t *seen;
};

struct member {
    struct mixed *mixed;
    long number;
};

static int64_t patience(struct mixed *m, uint32_t *seed) {
    return m->hurried ? rt_now() + (int64_t)(xorshift(seed) % 100000) : NOTE_FOREVER;
}

static void send_all(void *arg) {
    struct member *me = arg;
    struct mixed *m = me->mixed;
    uint32_t seed = 3 + (uint32_t)me->number;
    for (long i = 0; i < m->each;) {
        long value = me->number * m->each + i;
        enum chan_result r = chan_send(m->c, (void *)value, patience(m, &seed));
        CHECK(r == CHAN_OK || (m->hurried && r == CHAN_TIMEOUT));
        i += r == CHAN_OK;
    }
}

static void receive_all(void *arg) {
    struct member *me = arg;
    struct mixed *m = me->mixed;
    uint32_t seed = 33 + (uint32_t)me->number;
    void *v;
    for (enum chan_result r; (r = chan_recv(m->c, &v, patience(m, &seed))) != CHAN_CLOSED;)
        if (r == CHAN_OK)
            CHECK(atomic_fetch_add(&m->seen[(long)v], 1) == 0);
        else
            CHECK(m->hurried && r == CHAN_TIMEOUT);
}

static void *send_thread(void *arg) {
    thread_begin();
    send_all(arg);
    thread_end();
    return NULL;
}

static void *receive_thread(void *arg) {
    thread_begin();
    receive_all(arg);
    thread_end();
    return NULL;
}

static void mix(size_t cap, bool hurried) {
    struct mixed m = {new_chan(cap), scaled(2000, 20), hurried, NULL};
    struct member members[2 * MEMBERS];
    pthread_t senders[MEMBERS], receivers[MEMBERS];
    struct chan *sent = new_chan(0), *received = new_chan(0);
    m.seen = calloc((size_t)(2 * MEMBERS * m.each), 1);
    for (long i = 0; i < 2 * MEMBERS; i++)
        members[i] = (struct member){&m, i};
    for (int i = 0; i < MEMBERS; i++) {
        CHECK(pthread_create(&receivers[i], NULL, receive_thread, &members[i]) == 0);
        go_done(receive_all, &members[MEMBERS + i], received);
        CHECK(pthread_create(&senders[i], NULL, send_thread, &members[i]) == 0);
        go_done(send_all, &members[MEMBERS + i], sent);
    }
    for (int i = 0; i < MEMBERS; i++)
        join_thread(senders[i]);
    wait_for_done(sent, MEMBERS);
    chan_close(m.c);
    for (int i = 0; i < MEMBERS; i++)
        join_thread(receivers[i]);
    wait_for_done(received, MEMBERS);
    for (long i = 0; i < 2 * MEMBERS * m.each; i++)
        CHECK(m.seen[i] == 1);
    CHECK(!m.c->sendq.first && !m.c->recvq.first);
    free((void *)m.seen);
}

static void mixed_rendezvous(void) { mix(0, false); }
static void mixed_buffered(void) { mix(5, false); }
static void mixed_timeouts(void) { mix(0, true); }

/* ---- native deadlines ---- */

static void *wait_natively(void *arg) {
    struct chan *c = new_chan(0);
    struct sema s;
    void *v;
    (void)arg;
    sema_init(&s, 0);
    thread_begin();
    for (int i = 0; i < 10; i++) {
        int64_t until = rt_now() + 3 * MS;
        CHECK(chan_recv(c, &v, until) == CHAN_TIMEOUT && rt_now() >= until);
        CHECK(chan_send(c, NULL, CHAN_POLL) == CHAN_WOULD_BLOCK);
        until = rt_now() + 3 * MS;
        CHECK(sema_acquire(&s, 1, "test", until) == CHAN_TIMEOUT && rt_now() >= until);
        until = rt_now() + 3 * MS;
        CHECK(sched_sleep(until) == WAKE_TIMEOUT && rt_now() >= until);
        CHECK(sched_sleep(-1) == WAKE_TIMEOUT);
    }
    thread_end();
    return NULL;
}

static void native_deadlines(void) {
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        CHECK(pthread_create(&threads[i], NULL, wait_natively, NULL) == 0);
    for (int i = 0; i < 3; i++)
        join_thread(threads[i]);
}

/* Threads that come and go, each with something to wait for. */
static void *short_life(void *c) {
    thread_begin();
    send_value(c, 1);
    thread_end();
    return NULL;
}

static void many_short_threads(void) {
    struct chan *c = new_chan(0);
    for (long i = 0; i < scaled(300, 20); i++) {
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, short_life, c) == 0);
        CHECK(recv_value(c) == 1);
        join_thread(thread);
    }
}

/* ---- all asleep ---- */

#define RING 8

static struct note watcher;
static _Atomic long awake; /* tokens on their way */

struct ring_member {
    struct chan *in, *out;
    bool wire;
};

static void pass_on(struct ring_member *r, long left) {
    if (left % 7 == 0)
        sleep_for((left % 3) * 100 * US); /* all are asleep, but for a timer */
    else if (left % 11 == 0)
        block_for(50 * US);
    send_value(r->out, left - 1);
}

static void pass_around(void *arg) {
    struct ring_member *r = arg;
    void *left;
    if (r->wire)
        sched_wire(sched_current());
    while (chan_recv(r->in, &left, NOTE_FOREVER) == CHAN_OK)
        if (left)
            pass_on(r, (long)left);
        else
            atomic_fetch_sub(&awake, 1);
}

/* While a token goes around somebody is awake: sched_asleep() says no all the time. Soon after it has
 * come to rest the watcher is poked. */
static void wait_until_asleep(void) {
    /* This thread looks before it sleeps: when the last P went idle, it may still have been on its way
     * out of its own send, and then nobody was poked. */
    for (enum note_result r = NOTE_POKED;; r = note_sleep(&watcher, rt_now() + 5000 * MS)) {
        bool asleep = sched_asleep();
        bool busy = atomic_load(&awake) > 0; /* if it is now, it was then */
        CHECK(!(asleep && busy));
        if (asleep)
            CHECK(r == NOTE_POKED);
        if (asleep)
            return;
        CHECK(busy || r == NOTE_POKED);
    }
}

static void look_meanwhile(void) {
    for (bool busy = true; busy;) {
        bool asleep = sched_asleep();
        busy = atomic_load(&awake) > 0;
        CHECK(!(asleep && busy));
    }
}

/* By the plain thread: all goroutines sleep at the end of each round. */
static void ring(bool wire) {
    static struct ring_member members[RING];
    struct chan *c[RING], *done = new_chan(RING);
    for (int i = 0; i < RING; i++)
        c[i] = new_chan(0);
    for (int i = 0; i < RING; i++) {
        members[i] = (struct ring_member){c[i], c[(i + 1) % RING], wire && i % 3 == 0};
        go_done(pass_around, &members[i], done);
    }
    note_clear(&watcher);
    CHECK(sched_watch(&watcher, true));
    for (long i = 0; i < scaled(300, 20); i++) {
        atomic_store(&awake, 1);
        send_value(c[i % RING], 40 + i % 20);
        thread_end();
        if (i % 3 == 0)
            look_meanwhile();
        wait_until_asleep();
        thread_begin();
    }
    sched_unwatch(&watcher);
    for (int i = 0; i < RING; i++)
        chan_close(c[i]);
    wait_for_done(done, RING);
}

static void asleep(void) { ring(false); }
static void asleep_wired(void) { ring(true); }

int main(void) {
    each("mixed_rendezvous", mixed_rendezvous);
    each("mixed_buffered", mixed_buffered);
    each("mixed_timeouts", mixed_timeouts);
    each("native_deadlines", native_deadlines);
    each("many_short_threads", many_short_threads);
    each_in_thread("asleep", asleep);
    each_in_thread("asleep_wired", asleep_wired);
    return 0;
}
