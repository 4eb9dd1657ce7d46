/* A million goroutines, parked and woken: what each costs.
 * check-c: timeout 300
 * check-c: skip runq4 valgrind (the same again, and minutes) */
#include "host.h"

static long status_kb(const char *key) {
    char line[256];
    long kb = 0;
    FILE *f = fopen("/proc/self/status", "r");
    CHECK(f);
    while (fgets(line, sizeof line, f))
        if (strncmp(line, key, strlen(key)) == 0)
            kb = atol(line + strlen(key) + 1);
    fclose(f);
    return kb;
}

/* ThreadSanitizer takes each for a thread and knows some 8,000 of them. */
static long how_many(long n, long least) {
    n = scaled(n, least);
#if defined(CONTEXT_TSAN)
    n = n < 2000 ? n : 2000;
#endif
    return n;
}

static _Atomic long parked, woken;
static struct chan *gate;

static void wait_at_gate(void *arg) {
    void *v;
    atomic_fetch_add(&parked, 1);
    CHECK(chan_recv(gate, &v, NOTE_FOREVER) == CHAN_CLOSED);
    CHECK(arg == NULL);
    atomic_fetch_add(&woken, 1);
}

static void park_and_wake(long n, bool tell) {
    gate = new_chan(0);
    atomic_store(&parked, 0);
    atomic_store(&woken, 0);
    long before = status_kb("VmRSS:") + status_kb("VmPTE:");
    int64_t t0 = rt_now();
    for (long i = 0; i < n; i++)
        go(wait_at_gate, NULL);
    while (atomic_load(&parked) < n)
        yield();
    int64_t t1 = rt_now();
    long after = status_kb("VmRSS:") + status_kb("VmPTE:");
    chan_close(gate);
    while (atomic_load(&woken) < n)
        yield();
    int64_t t2 = rt_now();
    if (tell)
        printf(
            "   %ld goroutines: %ld bytes each (resident and page tables), parked in %ld ns each, "
            "woken in %ld ns each\n",
            n, (after - before) * 1024 / n, (long)((t1 - t0) / n), (long)((t2 - t1) / n));
}

static void million(void) {
    long n = how_many(1000000, 1000);
    park_and_wake(n, true);
    park_and_wake(n, true); /* on stacks used before */
    for (int i = 0; i < 5000 && sched_num_goroutine() > 1; i++)
        sleep_for(MS);
    CHECK(sched_num_goroutine() == 1);
}

static long counted;

static bool count_g(struct g *g, void *arg) {
    (void)arg;
    counted += atomic_load(&g->status) == G_WAITING;
    return true;
}

/* Whoever looks at all of them sees each. */
static void looking(void) {
    long n = how_many(10000, 500);
    gate = new_chan(0);
    atomic_store(&parked, 0);
    atomic_store(&woken, 0);
    for (long i = 0; i < n; i++)
        go(wait_at_gate, NULL);
    for (int i = 0; i < 5000 && counted < n; i++) {
        sleep_for(MS);
        counted = 0;
        sched_each_g(count_g, NULL);
    }
    CHECK(counted == n);
    chan_close(gate);
    while (atomic_load(&woken) < n)
        yield();
}

int main(void) {
    once("million", 1, million);
    once("million_on_4", 4, million);
    each("looking", looking);
    return 0;
}
