/* Timers: the heap against a model, sleeping, races of stop and reset, many at once.
 * check-c: skip valgrind (which is too slow to be on time) */
#include "timer.h"

#include "host.h"

/* ---- the heap, with a clock of its own: timers far in the future, run by hand ---- */

#define HEAP_TIMERS 300
#define FAR (INT64_MAX / 4)

static struct timer heap[HEAP_TIMERS];
static int64_t model[HEAP_TIMERS], fired_at[HEAP_TIMERS]; /* 0: not armed, has not fired */
static int64_t last_when;

static void note_order(struct timer *t, int64_t now) {
    long i = t - heap;
    CHECK(model[i] && model[i] <= now && t->when >= last_when);
    last_when = t->when;
    fired_at[i] = now;
    model[i] = 0;
}

static int64_t model_next(void) {
    int64_t next = TIMER_NEVER;
    for (int i = 0; i < HEAP_TIMERS; i++)
        if (model[i] && model[i] < next)
            next = model[i];
    return next;
}

static void heap_step(uint32_t *seed, int64_t *clock) {
    uint32_t i = xorshift(seed) % HEAP_TIMERS;
    int64_t when = *clock + 1 + xorshift(seed) % 1000;
    switch (xorshift(seed) % 4) {
    case 0:
        if (!model[i]) {
            CHECK(timer_start(&heap[i], when));
            model[i] = when;
        }
        break;
    case 1:
        CHECK(timer_stop(&heap[i]) == (model[i] != 0));
        model[i] = 0;
        break;
    case 2:
        CHECK(timer_reset(&heap[i], when, 0) == (model[i] != 0));
        model[i] = when;
        break;
    default:
        *clock += xorshift(seed) % 50;
        last_when = 0;
        timers_run(*clock);
        CHECK(model_next() > *clock);
    }
    CHECK(timers_next() == model_next());
}

static void heap_model(void) {
    uint32_t seed = 4711;
    int64_t clock = FAR;
    for (int i = 0; i < HEAP_TIMERS; i++)
        heap[i] = (struct timer){.fire = note_order};
    for (long i = 0; i < scaled(100000, 2000); i++)
        heap_step(&seed, &clock);
    for (int i = 0; i < HEAP_TIMERS; i++)
        timer_stop(&heap[i]);
    CHECK(timers_next() == TIMER_NEVER);
}

/* ---- ticks ---- */

static _Atomic long ticks;

static void count_tick(struct timer *t, int64_t now) {
    (void)t;
    (void)now;
    atomic_fetch_add(&ticks, 1);
}

static void ticking(void) {
    struct timer t = {.fire = count_tick, .period = 2 * MS};
    ticks = 0;
    CHECK(timer_start(&t, rt_now() + 2 * MS));
    int64_t end = rt_now() + 1000 * MS;
    while (atomic_load(&ticks) < 5 && rt_now() < end)
        sleep_for(MS);
    CHECK(timer_stop(&t));
    long n = atomic_load(&ticks);
    CHECK(n >= 5);
    sleep_for(10 * MS);
    CHECK(atomic_load(&ticks) == n);
}

/* ---- sleeping ---- */

static void accuracy(void) {
    enum { N = 100 };
    int64_t late[N];
    for (int i = 0; i < N; i++) {
        int64_t until = rt_now() + 2 * MS;
        CHECK(sched_sleep(until) == WAKE_TIMEOUT);
        late[i] = rt_now() - until;
        CHECK(late[i] >= 0);
    }
    qsort(late, N, sizeof *late, by_value);
    printf("   procs %d%s: sleep late by p50 %ld us, p90 %ld us, max %ld us\n", config.procs,
           config.gil ? " (one lock)" : "", (long)(late[N / 2] / US), (long)(late[N * 9 / 10] / US),
           (long)(late[N - 1] / US));
    CHECK(late[N / 2] < 20 * MS);
    CHECK(sched_sleep(1) == WAKE_TIMEOUT && sched_sleep(0) == WAKE_TIMEOUT);
    CHECK(sched_sleep(-5) == WAKE_TIMEOUT);
}

static void sleep_some(void *arg) {
    int64_t until = rt_now() + (long)arg;
    CHECK(sched_sleep(until) == WAKE_TIMEOUT);
    CHECK(rt_now() >= until);
}

static void many_sleepers(void) {
    long n = SANITIZED ? 1000 : scaled(10000, 200);
    struct chan *done = new_chan(0);
    uint32_t seed = 9;
    for (long i = 0; i < n; i++)
        go_done(sleep_some, (void *)(long)(xorshift(&seed) % (100 * MS)), done);
    wait_for_done(done, n);
    CHECK(timers_next() == TIMER_NEVER);
}

/* ---- stop and reset against firing ---- */

struct shot {
    struct timer t;
    _Atomic long fired;
};

static void fire_shot(struct timer *t, int64_t now) {
    (void)now;
    atomic_fetch_add(&((struct shot *)t->arg)->fired, 1);
}

/* After a stop that was in time it does not fire; after one that was late it has fired. */
static void stop_races(void *arg) {
    (void)arg;
    uint32_t seed = (uint32_t)rt_now() | 1;
    for (long i = 0; i < scaled(3000, 50); i++) {
        struct shot s = {.t = {.fire = fire_shot}};
        s.t.arg = &s;
        long armed = 1;
        CHECK(timer_start(&s.t, rt_now() + xorshift(&seed) % 30000));
        for (uint32_t k = xorshift(&seed) % 3; k > 0; k--) {
            int was = timer_reset(&s.t, rt_now() + xorshift(&seed) % 30000, 0);
            CHECK(was >= 0);
            armed += !was;
        }
        if (xorshift(&seed) % 2)
            yield();
        else
            sleep_for(xorshift(&seed) % 40000);
        bool stopped = timer_stop(&s.t);
        CHECK(atomic_load(&s.fired) == armed - stopped);
    }
}

static void stop_and_reset(void) {
    struct chan *done = new_chan(0);
    for (int i = 0; i < 4; i++)
        go_done(stop_races, NULL, done);
    wait_for_done(done, 4);
}

/* ---- all Ps busy: sysmon is who runs them ---- */

static void hog(void *arg) { compute_for((long)arg); }

static void busy(void) {
    struct chan *done = new_chan(0);
    struct timer t = {.fire = count_tick, .period = MS};
    ticks = 0;
    CHECK(timer_start(&t, rt_now() + MS));
    for (int i = 1; i < config.procs; i++)
        go_done(hog, (void *)(60 * MS), done);
    compute_for(60 * MS); /* no call into the runtime */
    long n = atomic_load(&ticks);
    timer_stop(&t);
    wait_for_done(done, config.procs - 1);
    CHECK(n >= 5);
}

int main(void) {
    each("heap_model", heap_model);
    each("ticking", ticking);
    each("accuracy", accuracy);
    each("many_sleepers", many_sleepers);
    each("stop_and_reset", stop_and_reset);
    each("busy", busy);
    return 0;
}
