/* The chain of filters: many goroutines, each a reader and a writer. */
#include "host.h"

struct filter {
    struct chan *in, *out;
    long prime;
};

static void generate(void *arg) {
    for (long i = 2; chan_send(arg, (void *)i, NOTE_FOREVER) == CHAN_OK; i++)
        ;
}

static void filter(void *arg) {
    struct filter *f = arg;
    void *v;
    while (chan_recv(f->in, &v, NOTE_FOREVER) == CHAN_OK)
        if ((long)v % f->prime && chan_send(f->out, v, NOTE_FOREVER) != CHAN_OK)
            break;
    chan_close(f->in); /* the end travels up */
}

static bool is_prime(long n) {
    for (long d = 2; d * d <= n; d++)
        if (n % d == 0)
            return false;
    return n > 1;
}

static void sieve(void) {
    long n = scaled(1000, 20), expected = 1;
    struct filter *filters = calloc((size_t)n, sizeof *filters);
    struct chan *c = new_chan(0), *done = new_chan(0);
    go_done(generate, c, done);
    for (long i = 0; i < n; i++) {
        long prime = recv_value(c);
        while (!is_prime(++expected))
            ;
        CHECK(prime == expected);
        filters[i] = (struct filter){c, new_chan(0), prime};
        go_done(filter, &filters[i], done);
        c = filters[i].out;
    }
    chan_close(c);
    wait_for_done(done, n + 1);
    free(filters);
}

int main(void) {
    each("sieve", sieve);
    return 0;
}
