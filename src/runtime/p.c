/* Ps: which are idle, what is on their queues and on the global one, and how many there are. */
#include "proc_internal.h"

#include <stdlib.h>
#include <string.h>

/* ---- P ---- */

bool p_in_use(const struct p *p) { return p->id < atomic_load(&sched.procs); }

static struct p *p_new(int id) {
    struct p *p = aligned_alloc(64, sizeof *p);
    if (!p)
        return NULL;
    memset(p, 0, sizeof *p);
    p->id = id;
    p->retired = true;
    runq_init(&p->runq);
    return p;
}

/* Scheduler lock held. */
void global_push(struct g *g) {
    glist_push(&sched.queue, g);
    atomic_store_explicit(&sched.queue_len, sched.queue.len, memory_order_release);
}

/* Scheduler lock held. Nobody will run p any more: what it has queued goes to the global queue. */
static void drain(struct p *p) {
    struct g *batch[RUNQ_SIZE / 2];
    for (uint32_t n; (n = runq_grab(&p->runq, batch, true)) > 0;)
        for (uint32_t i = 0; i < n; i++)
            global_push(batch[i]);
}

void sched_idle_p_put(struct p *p) {
    atomic_store_explicit(&p->m, NULL, memory_order_relaxed);
    p->retired = !p_in_use(p);
    if (p->retired) {
        drain(p);
        return;
    }
    p->idle = true;
    p->link = sched.idle_p;
    sched.idle_p = p;
    atomic_fetch_add(&sched.nidle_p, 1);
}

struct p *sched_idle_p_get(void) {
    struct p *p = sched.idle_p;
    if (p) {
        sched.idle_p = p->link;
        p->idle = false;
        atomic_fetch_sub(&sched.nidle_p, 1);
    }
    return p;
}

static void idle_p_unlink(struct p *p) {
    struct p **at = &sched.idle_p;
    while (*at != p)
        at = &(*at)->link;
    *at = p->link;
    p->idle = false;
    atomic_fetch_sub(&sched.nidle_p, 1);
}

/* Scheduler lock held, or m not yet visible. */
void m_take(struct m *m, struct p *p) {
    m->own_p = p;
    atomic_store_explicit(&p->m, m, memory_order_relaxed);
    atomic_store_explicit(&m->p, p, memory_order_release);
}

/* Scheduler lock held. */
struct p *m_drop(struct m *m) {
    struct p *p = m->own_p;
    m->own_p = NULL;
    atomic_store_explicit(&m->p, NULL, memory_order_relaxed);
    atomic_store_explicit(&p->m, NULL, memory_order_relaxed);
    return p;
}

/* ---- queues ---- */

struct p *own_p(void) {
    struct m *m = rt_m();
    return m && atomic_load_explicit(&m->in_runtime, memory_order_relaxed) ? m->own_p : NULL;
}

static struct g *global_pop(void) {
    struct g *g = glist_pop(&sched.queue);
    atomic_store_explicit(&sched.queue_len, sched.queue.len, memory_order_release);
    return g;
}

void sched_queue_global(struct g *g) {
    g_set_status(g, G_RUNNABLE);
    rt_lock(&sched.lock);
    global_push(g);
    rt_unlock(&sched.lock);
}

/* The ring is full: half of it, and g, to the global queue. */
static void put_overflow(struct p *p, struct g *g) {
    struct g *batch[RUNQ_SIZE / 2 + 1];
    uint32_t n = runq_take_half(&p->runq, batch);
    if (n == 0 && runq_put(&p->runq, g))
        return; /* thieves made room */
    rt_lock(&sched.lock);
    for (uint32_t i = 0; i < n; i++)
        global_push(batch[i]);
    global_push(g);
    rt_unlock(&sched.lock);
}

void put_tail(struct p *p, struct g *g) {
    if (!runq_put(&p->runq, g))
        put_overflow(p, g);
}

void sched_queue(struct g *g) {
    struct p *p = own_p();
    if (!p) {
        sched_queue_global(g);
        return;
    }
    g_set_status(g, G_RUNNABLE);
    struct g *pushed_out = runq_put_next(&p->runq, g);
    if (pushed_out)
        put_tail(p, pushed_out);
}

struct g *global_get_one(void) {
    if (!atomic_load_explicit(&sched.queue_len, memory_order_acquire))
        return NULL;
    rt_lock(&sched.lock);
    struct g *g = global_pop();
    rt_unlock(&sched.lock);
    return g;
}

/* A fair share of the global queue: the first is returned, the others go on p's ring. */
struct g *global_get(struct p *p) {
    if (!atomic_load_explicit(&sched.queue_len, memory_order_acquire))
        return NULL;
    struct glist batch = {0};
    rt_lock(&sched.lock);
    int64_t n = sched.queue.len / atomic_load(&sched.procs) + 1;
    for (; n > 0 && sched.queue.len && batch.len < RUNQ_SIZE / 2; n--)
        glist_push(&batch, global_pop());
    rt_unlock(&sched.lock);
    struct g *first = glist_pop(&batch);
    for (struct g *g; (g = glist_pop(&batch));)
        put_tail(p, g);
    return first;
}

static uint32_t next_random(struct m *m) {
    m->rng ^= m->rng << 13;
    m->rng ^= m->rng >> 17;
    m->rng ^= m->rng << 5;
    return m->rng;
}

/* With one interpreter lock, what a running goroutine has queued is left to its own M: two Ms inside
 * the interpreter only fight. */
static bool may_steal_from(struct p *victim) {
    if (sched.host->parallel)
        return true;
    rt_lock(&sched.lock);
    /* acquire: a new M is announced there without the lock */
    struct m *owner = atomic_load_explicit(&victim->m, memory_order_acquire);
    bool may = !owner || (!atomic_load_explicit(&owner->in_runtime, memory_order_acquire) &&
                          sched.host->outside(owner));
    rt_unlock(&sched.lock);
    return may;
}

static struct g *steal_from(struct p *p, struct p *victim, bool take_next) {
    struct g *batch[RUNQ_SIZE / 2];
    if (victim == p || !runq_len(&victim->runq) || !may_steal_from(victim))
        return NULL;
    uint32_t n = runq_grab(&victim->runq, batch, take_next);
    if (n == 0)
        return NULL;
    counter_add(&p->steals, n);
    for (uint32_t i = 1; i < n; i++)
        put_tail(p, batch[i]);
    return batch[0];
}

struct g *steal(struct m *m, struct p *p) {
    int n = atomic_load(&sched.nallp);
    if (n == 1)
        return NULL;
    uint32_t start = next_random(m);
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < n; i++) {
            struct g *g = steal_from(p, sched.allp[(start + (uint32_t)i) % (uint32_t)n],
                                     round == 1);
            if (g)
                return g;
        }
    return NULL;
}

bool sched_work_waits(void) {
    if (atomic_load(&sched.queue_len))
        return true;
    int n = atomic_load(&sched.nallp);
    for (int i = 0; i < n; i++)
        if (runq_len(&sched.allp[i]->runq))
            return true;
    return false;
}

/* ---- how many ---- */

/* Scheduler lock held. */
void set_procs(int n) {
    int had = atomic_load(&sched.nallp);
    for (; had < n; had++) {
        sched.allp[had] = p_new(had);
        if (!sched.allp[had])
            break;
    }
    if (n > had)
        n = had;
    int before = atomic_load(&sched.procs);
    atomic_store(&sched.nallp, had);
    for (int i = n; i < before; i++)
        if (sched.allp[i]->idle) {
            idle_p_unlink(sched.allp[i]);
            sched.allp[i]->retired = true;
        }
    atomic_store(&sched.procs, n);
    for (int i = before; i < n; i++)
        if (sched.allp[i]->retired)
            sched_idle_p_put(sched.allp[i]);
}

int sched_procs(int n) {
    rt_lock(&sched.lock);
    int before = atomic_load(&sched.procs);
    if (n > 0)
        set_procs(n < MAX_PROCS ? n : MAX_PROCS);
    rt_unlock(&sched.lock);
    if (n > 0 && sched_started()) {
        sched_enter();
        sched_kick();
        sched_leave();
    }
    return before;
}
