/* Channels: order, rendezvous, buffers, closing, timeouts; nothing lost, nothing twice. */
#include "host.h"

/* ---- order ---- */

struct counted {
    struct chan *c;
    long n;
};

static void send_counted(void *arg) {
    struct counted *s = arg;
    for (long i = 0; i < s->n; i++)
        send_value(s->c, i);
}

static void fifo_through(size_t cap) {
    struct counted s = {new_chan(cap), scaled(20000, 200)};
    struct chan *done = new_chan(0);
    go_done(send_counted, &s, done);
    for (long i = 0; i < s.n; i++)
        CHECK(recv_value(s.c) == i);
    wait_for_done(done, 1);
    CHECK(chan_len(s.c) == 0);
}

static void fifo(void) {
    static const size_t caps[] = {0, 1, 2, 7, 64, 1000};
    for (size_t i = 0; i < COUNT(caps); i++)
        fifo_through(caps[i]);
}

/* Waiting senders are served in the order they came. */
struct numbered {
    struct chan *c, *ready;
    long number;
};

static void send_number(void *arg) {
    struct numbered *s = arg;
    send_value(s->c, s->number);
}

static void waiters_in_order(void) {
    enum { N = 50 };
    struct chan *c = new_chan(0), *done = new_chan(N);
    static struct numbered s[N];
    for (long i = 0; i < N; i++) {
        s[i] = (struct numbered){.c = c, .number = i};
        go_done(send_number, &s[i], done);
        wait_for_waiters(&c->lock, &c->sendq, (int)i + 1);
    }
    for (long i = 0; i < N; i++)
        CHECK(recv_value(c) == i);
    wait_for_done(done, N);
}

/* ---- rendezvous ---- */

static _Atomic long received;

static void receive_slowly(void *arg) {
    for (int i = 0; i < 20; i++) {
        sleep_for(MS);
        atomic_fetch_add(&received, 1);
        recv_value(arg);
    }
}

static void rendezvous(void) {
    struct chan *c = new_chan(0), *done = new_chan(0);
    go_done(receive_slowly, c, done);
    for (long i = 0; i < 20; i++) {
        send_value(c, i);
        CHECK(atomic_load(&received) >= i + 1); /* nothing is buffered */
    }
    wait_for_done(done, 1);
}

static void buffer_bounds(void) {
    struct chan *c = new_chan(20); /* more than one growth */
    void *v;
    for (long i = 0; i < 20; i++)
        CHECK(chan_send(c, (void *)i, CHAN_POLL) == CHAN_OK && chan_len(c) == (size_t)i + 1);
    CHECK(chan_send(c, NULL, CHAN_POLL) == CHAN_WOULD_BLOCK);
    CHECK(chan_send(c, NULL, rt_now() + MS) == CHAN_TIMEOUT);
    for (long i = 0; i < 5; i++)
        CHECK(recv_value(c) == i);
    for (long i = 20; i < 25; i++)
        send_value(c, i); /* wraps around */
    CHECK(chan_close(c) && !chan_close(c));
    CHECK(chan_send(c, NULL, CHAN_POLL) == CHAN_CLOSED);
    for (long i = 5; i < 25; i++)
        CHECK(recv_value(c) == i);
    CHECK(chan_recv(c, &v, CHAN_POLL) == CHAN_CLOSED);
    CHECK(chan_recv(c, &v, NOTE_FOREVER) == CHAN_CLOSED);
    chan_destroy(c);
}

/* ---- many to many ---- */

#define MANY 8

struct crowd {
    struct chan *c, *done;
    long each;
    long n_sent[MANY], n_received[MANY];
    _Atomic uint8_t *seen; /* by value */
    bool timeouts;
};

struct member {
    struct crowd *crowd;
    long number;
};

static int64_t some_deadline(struct crowd *w, uint32_t *seed) {
    if (!w->timeouts)
        return NOTE_FOREVER;
    uint32_t r = xorshift(seed) % 4;
    return r == 0 ? CHAN_POLL : rt_now() + (int64_t)(xorshift(seed) % (r == 1 ? 1000 : 100000));
}

static void crowd_send(void *arg) {
    struct member *me = arg;
    struct crowd *w = me->crowd;
    uint32_t seed = 77 + (uint32_t)me->number;
    for (long i = 0; i < w->each;) {
        long value = me->number * w->each + i;
        enum chan_result r = chan_send(w->c, (void *)value, some_deadline(w, &seed));
        CHECK(r == CHAN_OK || (w->timeouts && (r == CHAN_TIMEOUT || r == CHAN_WOULD_BLOCK)));
        if (r == CHAN_OK)
            i++;
        else if (r == CHAN_WOULD_BLOCK)
            yield();
    }
}

static void crowd_receive(void *arg) {
    struct member *me = arg;
    struct crowd *w = me->crowd;
    uint32_t seed = 7777 + (uint32_t)me->number;
    for (;;) {
        void *v;
        enum chan_result r = chan_recv(w->c, &v, some_deadline(w, &seed));
        if (r == CHAN_CLOSED)
            return;
        if (r == CHAN_OK)
            CHECK(atomic_fetch_add(&w->seen[(long)v], 1) == 0); /* never twice */
        else if (r == CHAN_WOULD_BLOCK)
            yield();
        else
            CHECK(w->timeouts && r == CHAN_TIMEOUT);
    }
}

static void crowd_through(size_t cap, long each_sends, bool timeouts) {
    struct crowd w = {new_chan(cap), new_chan(0), each_sends, {0}, {0}, NULL, timeouts};
    struct chan *received_all = new_chan(0);
    struct member members[MANY];
    w.seen = calloc((size_t)(MANY * w.each), 1);
    for (long i = 0; i < MANY; i++) {
        members[i] = (struct member){&w, i};
        go_done(crowd_receive, &members[i], received_all);
        go_done(crowd_send, &members[i], w.done);
    }
    wait_for_done(w.done, MANY);
    chan_close(w.c);
    wait_for_done(received_all, MANY);
    for (long i = 0; i < MANY * w.each; i++)
        CHECK(atomic_load(&w.seen[i]) == 1); /* never lost */
    CHECK(!w.c->sendq.first && !w.c->recvq.first && w.c->len == 0);
    free((void *)w.seen);
}

static void many_to_many(void) {
    crowd_through(0, scaled(5000, 50), false);
    crowd_through(3, scaled(5000, 50), false);
    crowd_through(1000, scaled(5000, 50), false);
}

/* Whoever timed out is in no queue any more, and has neither given nor got anything. */
static void timeouts(void) {
    crowd_through(0, scaled(2000, 20), true);
    crowd_through(2, scaled(2000, 20), true);
}

/* ---- closing ---- */

struct closing {
    struct chan *c;
    _Atomic long sent, got, closed_seen, closers_won;
};

static void send_until_closed(void *arg) {
    struct closing *x = arg;
    while (chan_send(x->c, NULL, NOTE_FOREVER) == CHAN_OK)
        atomic_fetch_add(&x->sent, 1);
    atomic_fetch_add(&x->closed_seen, 1);
}

static void receive_until_closed(void *arg) {
    struct closing *x = arg;
    void *v;
    while (chan_recv(x->c, &v, NOTE_FOREVER) == CHAN_OK)
        atomic_fetch_add(&x->got, 1);
    atomic_fetch_add(&x->closed_seen, 1);
}

static void close_it(void *arg) {
    struct closing *x = arg;
    for (int i = 0; i < 3; i++)
        yield();
    if (chan_close(x->c))
        atomic_fetch_add(&x->closers_won, 1);
}

static void close_races(void) {
    struct chan *done = new_chan(0);
    for (long round = 0; round < scaled(1000, 20); round++) {
        struct closing x = {.c = new_chan(round % 3)};
        for (int i = 0; i < 3; i++) {
            go_done(send_until_closed, &x, done);
            go_done(receive_until_closed, &x, done);
        }
        go_done(close_it, &x, done);
        go_done(close_it, &x, done);
        wait_for_done(done, 8);
        CHECK(x.closed_seen == 6 && x.closers_won == 1 && x.sent == x.got);
    }
}

int main(void) {
    each("fifo", fifo);
    each("waiters_in_order", waiters_in_order);
    each("rendezvous", rendezvous);
    each("buffer_bounds", buffer_bounds);
    each("many_to_many", many_to_many);
    each("timeouts", timeouts);
    each("close_races", close_races);
    return 0;
}
