#include "notify.h"

#include "note.h"
#include "proc.h"

void notify_init(struct notify_list *l) { *l = (struct notify_list){.forks = sched_forks()}; }

static void lock(struct notify_list *l) {
    rt_lock(&l->lock);
    waitq_after_fork(&l->waiters, &l->forks);
}

/* ---- telling ---- */

/* Lock held. False: w has given up. */
static bool tell(struct notify_list *l, struct notify_waiter *w) {
    waitq_remove(&l->waiters, &w->sudog);
    if (w->asleep)
        return g_wake(w->sudog.g, WAKE_CASE(0, true));
    return w->told = true;
}

/* Lock held; released. */
static void wake_and_unlock(struct notify_list *l, int64_t n) {
    bool any = false;
    while (n > 0 && l->waiters.first)
        if (tell(l, (struct notify_waiter *)l->waiters.first)) {
            any = true;
            n--;
        }
    rt_unlock(&l->lock);
    if (any)
        sched_kick();
}

void notify_wake(struct notify_list *l, int64_t n) {
    sched_enter_to_wake();
    lock(l);
    wake_and_unlock(l, n);
    sched_leave();
}

/* ---- waiting ---- */

void notify_join(struct notify_list *l, struct notify_waiter *w) {
    *w = (struct notify_waiter){0};
    lock(l);
    waitq_push(&l->waiters, &w->sudog);
    rt_unlock(&l->lock);
}

/* Lock held, w in the list; released. */
static enum chan_result sleep_in(struct notify_list *l, struct notify_waiter *w, struct g *g,
                                 const char *reason, int64_t deadline) {
    w->sudog.g = g;
    w->asleep = true;
    sched_park_begin(g, reason, 0);
    rt_unlock(&l->lock);
    uint32_t woken = sched_park(g, deadline);
    if (woken != WAKE_TIMEOUT && woken != WAKE_INTERRUPT)
        return CHAN_OK;
    lock(l);
    waitq_remove(&l->waiters, &w->sudog);
    rt_unlock(&l->lock);
    return woken == WAKE_TIMEOUT ? CHAN_TIMEOUT : CHAN_INTERRUPTED;
}

enum chan_result notify_wait(struct notify_list *l, struct notify_waiter *w, const char *reason,
                             int64_t deadline) {
    struct g *g = sched_enter();
    enum chan_result r = CHAN_OK;
    lock(l);
    if (w->told) {
        rt_unlock(&l->lock);
    } else if (!g || deadline == CHAN_POLL) {
        waitq_remove(&l->waiters, &w->sudog);
        rt_unlock(&l->lock);
        r = g ? CHAN_TIMEOUT : CHAN_NO_MEMORY;
    } else {
        r = sleep_in(l, w, g, reason, deadline);
    }
    sched_leave();
    return r;
}

void notify_cancel(struct notify_list *l, struct notify_waiter *w) {
    sched_enter_to_wake();
    lock(l);
    waitq_remove(&l->waiters, &w->sudog);
    wake_and_unlock(l, w->told);
    sched_leave();
}

int64_t notify_len(struct notify_list *l) {
    int64_t n = 0;
    lock(l);
    for (struct sudog *s = l->waiters.first; s; s = s->next)
        n++;
    rt_unlock(&l->lock);
    return n;
}

/* ---- wait groups ---- */

void wait_group_init(struct wait_group *wg) {
    notify_init(&wg->list);
    wg->count = 0;
}

bool wait_group_add(struct wait_group *wg, int64_t n) {
    int64_t count;
    sched_enter_to_wake();
    lock(&wg->list);
    bool allowed = !__builtin_add_overflow(wg->count, n, &count) && count >= 0;
    if (allowed)
        wg->count = count;
    wake_and_unlock(&wg->list, allowed && count == 0 ? INT64_MAX : 0);
    sched_leave();
    return allowed;
}

enum chan_result wait_group_wait(struct wait_group *wg, int64_t deadline) {
    struct g *g = sched_enter();
    if (!g)
        return CHAN_NO_MEMORY;
    enum chan_result r = CHAN_OK;
    lock(&wg->list);
    if (wg->count == 0 || deadline == CHAN_POLL) {
        r = wg->count == 0 ? CHAN_OK : CHAN_WOULD_BLOCK;
        rt_unlock(&wg->list.lock);
    } else {
        struct notify_waiter me = {0};
        waitq_push(&wg->list.waiters, &me.sudog);
        r = sleep_in(&wg->list, &me, g, "wait group", deadline);
    }
    sched_leave();
    return r;
}

int64_t wait_group_count(struct wait_group *wg) {
    lock(&wg->list);
    int64_t n = wg->count;
    rt_unlock(&wg->list.lock);
    return n;
}
