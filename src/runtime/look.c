/* Looking at the scheduler without stopping it: counters, and whether all are asleep. */
#include "proc_internal.h"

void sched_stats(struct sched_stats *out) {
    *out = (struct sched_stats){
        .finished = atomic_load(&sched.finished),
        .handoffs = atomic_load(&sched.handoffs),
        .preemptions = atomic_load(&sched.preemptions),
        .idle_threads = atomic_load(&sched.idle_threads),
    };
    int n = atomic_load(&sched.nallp);
    /* finished before started: a goroutine that begins and ends in between is not counted as -1 */
    for (int i = 0; i < n; i++)
        out->finished += atomic_load_explicit(&sched.allp[i]->finished, memory_order_acquire);
    out->started = atomic_load(&sched.started);
    for (int i = 0; i < n; i++) {
        struct p *p = sched.allp[i];
        out->started += atomic_load_explicit(&p->started, memory_order_relaxed);
        out->switches += atomic_load_explicit(&p->switches, memory_order_relaxed);
        out->steals += atomic_load_explicit(&p->steals, memory_order_relaxed);
    }
    out->threads = atomic_load(&sched.threads);
    if (out->idle_threads > out->threads)
        out->idle_threads = out->threads;
}

int64_t sched_num_goroutine(void) {
    struct sched_stats s;
    sched_stats(&s);
    return (int64_t)(s.started - s.finished);
}

int sched_runnable(int64_t *lengths, int n) {
    int procs = atomic_load(&sched.procs);
    if (n >= 0)
        lengths[0] = atomic_load(&sched.queue_len);
    for (int i = 0; i < procs && i < n; i++)
        lengths[i + 1] = runq_len(&sched.allp[i]->runq);
    return procs;
}

void sched_each_native(void (*fn)(struct thread_g *t, void *arg), void *arg) {
    rt_lock(&sched.lock);
    for (struct thread_g *t = sched.natives; t; t = t->next)
        fn(t, arg);
    rt_unlock(&sched.lock);
}

/* Scheduler lock held. */
static bool natives_asleep(void) {
    for (struct thread_g *t = sched.natives; t; t = t->next)
        if (t->deadline != NOTE_FOREVER || park_claimed(&t->g))
            return false;
    return true;
}

/* Scheduler lock held. */
static bool ps_asleep(void) {
    int n = atomic_load(&sched.nallp);
    for (int i = 0; i < n; i++)
        if (atomic_load(&sched.allp[i]->m) || runq_len(&sched.allp[i]->runq))
            return false;
    return true;
}

bool sched_asleep(void) {
    timers_hold(); /* or one might be armed, or fire, between the two looks */
    rt_lock(&sched.lock);
    bool asleep = !sched.queue.len && !sched.without_p && ps_asleep() && natives_asleep() &&
                  !netpoll_waiters(); /* last: one who was woken has been queued before */
    rt_unlock(&sched.lock);
    asleep = asleep && !timers_useful();
    timers_release();
    return asleep;
}

void sched_poke_watcher(void) {
    if (!sched.watcher || atomic_load(&sched.watcher_armed))
        return;
    if (!sched_asleep())
        return;
    rt_lock(&sched.lock);
    if (sched.watcher)
        note_poke(sched.watcher);
    rt_unlock(&sched.lock);
}

bool sched_watch(struct note *n, bool take_over) {
    rt_lock(&sched.lock);
    bool mine = take_over || !atomic_load(&sched.watcher);
    if (mine) {
        atomic_store(&sched.watcher, n);
        atomic_store(&sched.watcher_armed, false);
    }
    rt_unlock(&sched.lock);
    return mine;
}

void sched_unwatch(struct note *n) {
    rt_lock(&sched.lock);
    if (atomic_load(&sched.watcher) == n)
        atomic_store(&sched.watcher, NULL);
    rt_unlock(&sched.lock);
}

void sched_watcher_armed(bool armed) { atomic_store(&sched.watcher_armed, armed); }
