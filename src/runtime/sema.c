#include "sema.h"

#include "note.h"
#include "proc.h"

void sema_init(struct sema *s, int64_t count) {
    *s = (struct sema){.count = count, .forks = sched_forks()};
}

static void lock(struct sema *s) {
    rt_lock(&s->lock);
    waitq_after_fork(&s->waiters, &s->forks);
}

/* Lock held. Serves the waiters from the front as far as the count goes. */
static bool serve(struct sema *s) {
    bool woke = false;
    struct sudog *first;
    while ((first = s->waiters.first) && (int64_t)(intptr_t)first->elem <= s->count) {
        int64_t n = (int64_t)(intptr_t)first->elem;
        waitq_remove(&s->waiters, first);
        if (g_wake(first->g, WAKE_CASE(0, true))) {
            s->count -= n;
            woke = true;
        }
    }
    return woke;
}

/* Lock held; released. */
static enum chan_result wait_for(struct g *g, struct sema *s, int64_t n, const char *reason,
                                 int64_t deadline) {
    struct sudog me = {.g = g, .elem = (void *)(intptr_t)n};
    sched_park_begin(g, reason, 0);
    waitq_push(&s->waiters, &me);
    rt_unlock(&s->lock);
    uint32_t woken = sched_park(g, deadline);
    if (woken != WAKE_TIMEOUT && woken != WAKE_INTERRUPT)
        return CHAN_OK;
    lock(s);
    waitq_remove(&s->waiters, &me);
    bool woke = serve(s); /* a large request that gave up may have been in the way of small ones */
    rt_unlock(&s->lock);
    if (woke)
        sched_kick();
    return woken == WAKE_TIMEOUT ? CHAN_TIMEOUT : CHAN_INTERRUPTED;
}

enum chan_result sema_acquire(struct sema *s, int64_t n, const char *reason, int64_t deadline) {
    struct g *g = sched_enter();
    if (!g)
        return CHAN_NO_MEMORY;
    enum chan_result r = CHAN_OK;
    lock(s);
    if (s->count >= n && !s->waiters.first) {
        s->count -= n;
        rt_unlock(&s->lock);
    } else if (deadline == CHAN_POLL) {
        rt_unlock(&s->lock);
        r = CHAN_WOULD_BLOCK;
    } else {
        r = wait_for(g, s, n, reason, deadline);
    }
    sched_leave();
    return r;
}

/* The releasing goroutine stays where it is: to queue for a P first would keep the others waiting. */
bool sema_release_if(struct sema *s, int64_t n, int64_t least, int64_t most) {
    sched_enter_to_wake();
    lock(s);
    bool allowed = s->count >= least && s->count <= most, woke = false;
    if (allowed) {
        s->count += n;
        woke = serve(s);
    }
    rt_unlock(&s->lock);
    if (woke)
        sched_kick();
    sched_leave();
    return allowed;
}

void sema_release(struct sema *s, int64_t n) { sema_release_if(s, n, INT64_MIN, INT64_MAX); }

int64_t sema_count(struct sema *s) {
    rt_lock(&s->lock);
    int64_t n = s->count;
    rt_unlock(&s->lock);
    return n;
}
