/* Being told: order, what comes before the sleep, giving up; wait groups. */
#include "notify.h"

#include "host.h"

struct told {
    struct notify_list *list;
    struct chan *order;
    long number;
};

static void wait_and_tell(void *arg) {
    struct told *t = arg;
    struct notify_waiter me;
    notify_join(t->list, &me);
    CHECK(notify_wait(t->list, &me, "test", NOTE_FOREVER) == CHAN_OK);
    send_value(t->order, t->number);
}

static void fifo(void) {
    enum { N = 30 };
    static struct told t[N];
    struct notify_list list;
    struct chan *order = new_chan(N);
    notify_init(&list);
    for (long i = 0; i < N; i++) {
        t[i] = (struct told){&list, order, i};
        go(wait_and_tell, &t[i]);
        wait_for_waiters(&list.lock, &list.waiters, (int)i + 1);
    }
    CHECK(notify_len(&list) == N);
    for (long i = 0; i < 10; i++) {
        notify_wake(&list, 1);
        CHECK(recv_value(order) == i);
    }
    notify_wake(&list, 5);
    long sum = 0;
    for (int i = 0; i < 5; i++)
        sum += recv_value(order);
    CHECK(sum == 10 + 11 + 12 + 13 + 14);
    notify_wake(&list, INT64_MAX);
    for (int i = 15; i < N; i++)
        recv_value(order);
    CHECK(notify_len(&list) == 0);
    notify_wake(&list, 1); /* nobody is there: it is not kept */
    struct notify_waiter me;
    notify_join(&list, &me);
    CHECK(notify_wait(&list, &me, "test", rt_now() + MS) == CHAN_TIMEOUT);
    CHECK(!list.waiters.first);
}

/* Told after it has joined and before it sleeps. */
static void early(void) {
    struct notify_list list;
    struct notify_waiter first, second;
    notify_init(&list);
    notify_join(&list, &first);
    notify_join(&list, &second);
    notify_wake(&list, 1);
    CHECK(notify_wait(&list, &second, "test", CHAN_POLL) == CHAN_TIMEOUT);
    CHECK(notify_wait(&list, &first, "test", NOTE_FOREVER) == CHAN_OK);
    CHECK(notify_len(&list) == 0);
}

/* What was told to one that does not wait after all goes to the next. */
static void cancelled(void) {
    struct notify_list list;
    struct notify_waiter first, second, third;
    notify_init(&list);
    notify_join(&list, &first);
    notify_join(&list, &second);
    notify_join(&list, &third);
    notify_wake(&list, 1);
    notify_cancel(&list, &first);
    notify_cancel(&list, &third); /* was not told: nothing to pass on */
    CHECK(notify_wait(&list, &second, "test", NOTE_FOREVER) == CHAN_OK);
    CHECK(notify_len(&list) == 0);
}

/* A guarded condition: items are taken one at a time, by those told and by those whose time is over. */
static struct {
    struct notify_list list;
    struct rt_lock lock;
    long items;
    long made;
    _Atomic long taken, told, timed_out;
    _Atomic bool over;
} store;

static void take_items(void *arg) {
    uint32_t seed = (uint32_t)(uintptr_t)&seed | 1;
    (void)arg;
    while (!atomic_load(&store.over)) {
        struct notify_waiter me;
        rt_lock(&store.lock);
        if (store.items) {
            store.items--;
            rt_unlock(&store.lock);
            atomic_fetch_add(&store.taken, 1);
            continue;
        }
        notify_join(&store.list, &me);
        rt_unlock(&store.lock);
        if (atomic_load(&store.over)) {
            notify_cancel(&store.list, &me);
            break;
        }
        int64_t deadline = xorshift(&seed) % 4 ? NOTE_FOREVER
                                               : rt_now() + (int64_t)(xorshift(&seed) % 20000);
        enum chan_result r = notify_wait(&store.list, &me, "test", deadline);
        CHECK(r == CHAN_OK || (r == CHAN_TIMEOUT && deadline != NOTE_FOREVER));
        atomic_fetch_add(r == CHAN_OK ? &store.told : &store.timed_out, 1);
    }
}

static void make_items(void *arg) {
    for (long i = 0; i < (long)arg; i++) {
        rt_lock(&store.lock);
        store.items++;
        rt_unlock(&store.lock);
        notify_wake(&store.list, 1);
        if (i % 8 == 0)
            yield();
    }
}

/* A lost call would leave an item behind, and everybody asleep. */
static void storm(void) {
    long each = scaled(5000, 100);
    struct chan *made = new_chan(0), *taken = new_chan(0);
    notify_init(&store.list);
    for (int i = 0; i < 6; i++)
        go_done(take_items, NULL, taken);
    for (int i = 0; i < 3; i++)
        go_done(make_items, (void *)each, made);
    wait_for_done(made, 3);
    while (atomic_load(&store.taken) < 3 * each)
        sleep_for(100 * US);
    atomic_store(&store.over, true);
    notify_wake(&store.list, INT64_MAX);
    wait_for_done(taken, 6);
    CHECK(store.items == 0 && !store.list.waiters.first);
}

struct crew {
    struct wait_group wg;
    _Atomic long working;
};

static void work(void *arg) {
    struct crew *crew = arg;
    yield();
    atomic_fetch_sub(&crew->working, 1);
    CHECK(wait_group_add(&crew->wg, -1));
}

static void wait_for_crew(void *arg) {
    struct crew *crew = arg;
    CHECK(wait_group_wait(&crew->wg, NOTE_FOREVER) == CHAN_OK);
    CHECK(atomic_load(&crew->working) == 0);
}

static void wait_groups(void) {
    struct chan *done = new_chan(0);
    struct crew crew = {.working = 0};
    wait_group_init(&crew.wg);
    for (long i = 0; i < scaled(500, 20); i++) {
        CHECK(wait_group_wait(&crew.wg, NOTE_FOREVER) == CHAN_OK);
        CHECK(!wait_group_add(&crew.wg, -1));
        atomic_store(&crew.working, 10);
        CHECK(wait_group_add(&crew.wg, 10) && !wait_group_add(&crew.wg, INT64_MAX));
        CHECK(wait_group_wait(&crew.wg, CHAN_POLL) == CHAN_WOULD_BLOCK);
        for (int j = 0; j < 3; j++)
            go_done(wait_for_crew, &crew, done);
        for (int j = 0; j < 10; j++)
            go(work, &crew);
        wait_for_crew(&crew);
        wait_for_done(done, 3);
        CHECK(wait_group_count(&crew.wg) == 0 && !crew.wg.list.waiters.first);
    }
    CHECK(wait_group_add(&crew.wg, 1));
    CHECK(wait_group_wait(&crew.wg, rt_now() + MS) == CHAN_TIMEOUT);
    CHECK(!crew.wg.list.waiters.first);
}

int main(void) {
    each("fifo", fifo);
    each("early", early);
    each("cancelled", cancelled);
    each("storm", storm);
    each("wait_groups", wait_groups);
    return 0;
}
