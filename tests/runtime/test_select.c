/* select: exactly one case, chosen fairly; nil, both directions, timeouts, closing. */
#include "host.h"

static struct select_outcome pick(struct select_case *cases, uint32_t n, int64_t deadline) {
    uint32_t order[64];
    CHECK(2 * n <= COUNT(order));
    return select_go(cases, n, order, deadline);
}

static struct select_case to_recv(struct chan *c) {
    return (struct select_case){.c = c, .dir = SELECT_RECV};
}

static struct select_case to_send(struct chan *c, long v) {
    return (struct select_case){.c = c, .dir = SELECT_SEND, .value = (void *)v};
}

/* ---- atomicity: what one select sends on some channel, another gets once ---- */

#define CHANNELS 4
#define PEOPLE 4

struct market {
    struct chan *c[CHANNELS];
    long each;
    _Atomic uint8_t *seen;
    _Atomic long received;
    bool hurried;
};

struct trader {
    struct market *market;
    long number;
};

static int64_t patience(struct market *m, uint32_t *seed) {
    if (!m->hurried)
        return NOTE_FOREVER;
    return xorshift(seed) % 8 == 0 ? CHAN_POLL : rt_now() + (int64_t)(xorshift(seed) % 50000);
}

static void sell(void *arg) {
    struct trader *me = arg;
    struct market *m = me->market;
    uint32_t seed = 1 + (uint32_t)me->number;
    for (long i = 0; i < m->each;) {
        struct select_case cases[CHANNELS];
        for (int k = 0; k < CHANNELS; k++)
            cases[k] = to_send(m->c[k], me->number * m->each + i);
        struct select_outcome o = pick(cases, CHANNELS, patience(m, &seed));
        if (o.result == CHAN_OK)
            i++;
        else
            CHECK(m->hurried && (o.result == CHAN_TIMEOUT || o.result == CHAN_WOULD_BLOCK));
        if (o.result == CHAN_WOULD_BLOCK)
            yield();
    }
}

static void buy(void *arg) {
    struct trader *me = arg;
    struct market *m = me->market;
    uint32_t seed = 1000 + (uint32_t)me->number;
    for (;;) {
        struct select_case cases[CHANNELS];
        for (int k = 0; k < CHANNELS; k++)
            cases[k] = to_recv(m->c[k]);
        struct select_outcome o = pick(cases, CHANNELS, patience(m, &seed));
        if (o.result == CHAN_CLOSED)
            return;
        if (o.result == CHAN_WOULD_BLOCK)
            yield();
        if (o.result != CHAN_OK)
            continue;
        CHECK(o.index < CHANNELS);
        CHECK(atomic_fetch_add(&m->seen[(long)cases[o.index].value], 1) == 0);
        atomic_fetch_add(&m->received, 1);
    }
}

static void trade(long rounds, bool hurried) {
    struct market m = {.each = rounds / PEOPLE + 1, .hurried = hurried};
    struct trader traders[PEOPLE];
    struct chan *sold = new_chan(0), *bought = new_chan(0);
    m.seen = calloc((size_t)(PEOPLE * m.each), 1);
    for (int k = 0; k < CHANNELS; k++)
        m.c[k] = new_chan(k == 3 ? 2 : 0);
    for (long i = 0; i < PEOPLE; i++) {
        traders[i] = (struct trader){&m, i};
        go_done(buy, &traders[i], bought);
        go_done(sell, &traders[i], sold);
    }
    wait_for_done(sold, PEOPLE);
    while (chan_len(m.c[3]))
        yield();
    for (int k = 0; k < CHANNELS; k++)
        chan_close(m.c[k]);
    wait_for_done(bought, PEOPLE);
    CHECK(m.received == PEOPLE * m.each);
    for (int k = 0; k < CHANNELS; k++)
        CHECK(!m.c[k]->sendq.first && !m.c[k]->recvq.first);
    free((void *)m.seen);
}

static void atomicity(void) { trade(scaled(100000, 500), false); }

static void timeout_races(void) { trade(scaled(20000, 200), true); }

/* ---- choice ---- */

/* Chi-square with 3 degrees of freedom, far beyond the 0.001 point of 16.3. */
static void uniform_choice(void) {
    long n = scaled(40000, 4000), count[4] = {0};
    struct chan *c[4];
    for (int k = 0; k < 4; k++) {
        c[k] = new_chan(1);
        send_value(c[k], k);
    }
    for (long i = 0; i < n; i++) {
        struct select_case cases[4];
        for (int k = 0; k < 4; k++)
            cases[k] = to_recv(c[k]);
        struct select_outcome o = pick(cases, 4, CHAN_POLL);
        CHECK(o.result == CHAN_OK && (long)cases[o.index].value == (long)o.index);
        count[o.index]++;
        send_value(c[o.index], o.index);
    }
    double chi = 0, expected = (double)n / 4;
    for (int k = 0; k < 4; k++)
        chi += ((double)count[k] - expected) * ((double)count[k] - expected) / expected;
    CHECK(chi < 30);
}

/* ---- one channel in both directions ---- */

struct mirror {
    struct chan *c;
    long rounds;
    _Atomic long sent_sum, got_sum;
    _Atomic long sent, got;
};

static void both_ways(void *arg) {
    struct mirror *m = arg;
    for (long i = 0; i < m->rounds; i++) {
        struct select_case cases[] = {to_send(m->c, i + 1), to_recv(m->c)};
        struct select_outcome o = pick(cases, 2, rt_now() + 50 * MS);
        if (o.result == CHAN_TIMEOUT)
            return; /* the others have finished */
        CHECK(o.result == CHAN_OK);
        if (o.index == 0) {
            atomic_fetch_add(&m->sent_sum, i + 1);
            atomic_fetch_add(&m->sent, 1);
        } else {
            atomic_fetch_add(&m->got_sum, (long)cases[1].value);
            atomic_fetch_add(&m->got, 1);
        }
    }
}

static void same_channel(void) {
    struct mirror m = {.c = new_chan(0), .rounds = scaled(10000, 100)};
    struct chan *done = new_chan(0);
    /* One alone does not meet itself. */
    struct select_case alone[] = {to_send(m.c, 1), to_recv(m.c), to_recv(m.c)};
    CHECK(pick(alone, 3, CHAN_POLL).result == CHAN_WOULD_BLOCK);
    CHECK(pick(alone, 3, rt_now() + 5 * MS).result == CHAN_TIMEOUT);
    for (int i = 0; i < 6; i++)
        go_done(both_ways, &m, done);
    wait_for_done(done, 6);
    CHECK(m.sent == m.got && m.sent_sum == m.got_sum && m.sent > 0);
    CHECK(!m.c->sendq.first && !m.c->recvq.first);
}

/* ---- nil, many cases, closing ---- */

static void nil_cases(void) {
    struct chan *c = new_chan(1);
    struct select_case cases[] = {to_recv(NULL), to_send(NULL, 1), to_recv(c)};
    CHECK(pick(cases, 3, CHAN_POLL).result == CHAN_WOULD_BLOCK);
    CHECK(pick(cases, 2, rt_now() + MS).result == CHAN_TIMEOUT);
    CHECK(pick(cases, 0, rt_now() + MS).result == CHAN_TIMEOUT);
    CHECK(pick(cases, 0, CHAN_POLL).result == CHAN_WOULD_BLOCK);
    send_value(c, 5);
    struct select_outcome o = pick(cases, 3, NOTE_FOREVER);
    CHECK(o.result == CHAN_OK && o.index == 2 && (long)cases[2].value == 5);
}

static void send_soon(void *arg) {
    yield();
    send_value(arg, 9);
}

/* More than twelve: the lock order is sorted in another way. Some channels come twice. */
static void many_cases(void) {
    struct chan *c[24], *done = new_chan(0);
    uint32_t seed = 5;
    for (long round = 0; round < scaled(500, 20); round++) {
        struct select_case cases[30];
        for (int k = 0; k < 24; k++)
            c[k] = round ? c[k] : new_chan(0);
        for (int k = 0; k < 30; k++)
            cases[k] = to_recv(c[(unsigned)(k * 7 + round) % 24]);
        struct chan *chosen = c[xorshift(&seed) % 24];
        go_done(send_soon, chosen, done);
        struct select_outcome o = pick(cases, 30, NOTE_FOREVER);
        CHECK(o.result == CHAN_OK && cases[o.index].c == chosen);
        CHECK((long)cases[o.index].value == 9);
        wait_for_done(done, 1);
    }
}

struct closer {
    struct chan *a, *b;
    _Atomic long closed, ok;
};

static void select_until_closed(void *arg) {
    struct closer *x = arg;
    for (;;) {
        struct select_case cases[] = {to_recv(x->a), to_send(x->b, 1)};
        struct select_outcome o = pick(cases, 2, NOTE_FOREVER);
        if (o.result == CHAN_CLOSED) {
            atomic_fetch_add(&x->closed, 1);
            return;
        }
        CHECK(o.result == CHAN_OK && o.index == 1);
        atomic_fetch_add(&x->ok, 1);
    }
}

static void close_a(void *arg) {
    struct closer *x = arg;
    yield();
    chan_close(x->a);
}

static void close_b(void *arg) {
    struct closer *x = arg;
    yield();
    chan_close(x->b);
}

static void against_close(void) {
    struct chan *done = new_chan(0);
    for (long round = 0; round < scaled(1000, 20); round++) {
        struct closer x = {new_chan(0), new_chan(round % 4), 0, 0};
        for (int i = 0; i < 4; i++)
            go_done(select_until_closed, &x, done);
        go_done(close_a, &x, done);
        go_done(close_b, &x, done);
        wait_for_done(done, 6);
        CHECK(x.closed == 4 && (size_t)x.ok == chan_len(x.b));
    }
}

int main(void) {
    each("atomicity", atomicity);
    each("timeout_races", timeout_races);
    each("uniform_choice", uniform_choice);
    each("same_channel", same_channel);
    each("nil_cases", nil_cases);
    each("many_cases", many_cases);
    each("against_close", against_close);
    return 0;
}
