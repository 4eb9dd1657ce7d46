/* fork(): the child has one thread, and forgets all goroutines, Ms, timers and who waits for a descriptor. */
#include "proc_internal.h"

void sched_fork_prepare(void) {
    timers_hold();
    rt_lock(&sched.lock);
    glist_fork_prepare();
    stack_fork_prepare();
}

void sched_fork_parent(void) {
    stack_fork_parent();
    glist_fork_parent();
    rt_unlock(&sched.lock);
    timers_release();
}

static void ps_fork_child(void) {
    int n = atomic_load(&sched.nallp), procs = atomic_load(&sched.procs);
    sched.idle_p = NULL;
    atomic_store(&sched.nidle_p, 0);
    for (int i = 0; i < n; i++) {
        struct p *p = sched.allp[i];
        runq_init(&p->runq);
        p->gfree = NULL;
        p->ngfree = 0;
        p->idle = false;
        p->retired = i >= procs;
        atomic_store(&p->finished, atomic_load(&p->started));
        atomic_store(&p->m, NULL);
    }
    for (int i = procs - 1; i >= 0; i--)
        sched_idle_p_put(sched.allp[i]);
    atomic_store(&sched.finished, atomic_load(&sched.started));
}

static _Atomic uint32_t forks; /* changed while there is one thread */

uint32_t sched_forks(void) { return atomic_load_explicit(&forks, memory_order_relaxed); }

struct g *sched_fork_child(void) {
    struct g *g = sched_current();
    atomic_store_explicit(&forks, sched_forks() + 1, memory_order_relaxed);
    rt_no_m();
    park_fork_child(g);
    stack_fork_child();
    glist_fork_child();
    sched.idle_m = sched.all_m = sched.timer_m = NULL;
    atomic_store(&sched.poller_m, NULL);
    atomic_store(&sched.timer_m_until, TIMER_NEVER);
    atomic_store(&sched.threads, 0);
    atomic_store(&sched.idle_threads, 0);
    atomic_store(&sched.nspinning, 0);
    sched.queue = (struct glist){0};
    atomic_store(&sched.queue_len, 0);
    sched.without_p = 0;
    sched.watcher = NULL;
    atomic_store(&sched.watcher_armed, false);
    ps_fork_child();
    rt_unlock(&sched.lock);
    timers_fork_child();
    netpoll_fork_child();
    fences_init();
    sysmon_init();
    return g;
}
