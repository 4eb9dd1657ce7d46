/* Gs: where they come from and where dead ones wait to be used again.
 *
 * A G is never freed: it lives in a slab for ever, so whoever looks at all of them (debug.stacks(),
 * the end of run()) needs no lock and never meets freed memory. Dead ones keep their stack while they
 * are on their P's free list; on the global list they have none, the stack went back to its pool. */
#include <stdlib.h>
#include <string.h>

#include "proc_internal.h"

#define SLAB_GS 256
#define MAX_SLABS (1 << 17) /* 33 million Gs */
#define P_FREE_MAX 256      /* dead Gs kept on a P, */
#define P_FREE_IDLE 4       /* and when it goes idle */

static struct {
    struct rt_lock lock; /* guards what is not atomic here */
    struct g *_Atomic slabs[MAX_SLABS];
    _Atomic uint64_t used; /* Gs ever made */
    struct g *free;        /* dead, without a stack; linked by schedlink */
    _Atomic size_t stack_size;
    pthread_key_t thread_key;
    pthread_once_t thread_key_once;
} gs = {.stack_size = 256 << 10, .thread_key_once = PTHREAD_ONCE_INIT};

static __thread struct g *this_thread_g;

size_t sched_stack_size(size_t nbytes) {
    return nbytes ? atomic_exchange(&gs.stack_size, nbytes) : atomic_load(&gs.stack_size);
}

/* ---- slabs ---- */

/* A G that was never used; lock held. The slab is made without it: see g_raw(). */
static struct g *carve(void) {
    uint64_t n = atomic_load(&gs.used);
    struct g *slab = n / SLAB_GS < MAX_SLABS ? atomic_load(&gs.slabs[n / SLAB_GS]) : NULL;
    if (!slab)
        return NULL;
    struct g *g = &slab[n % SLAB_GS];
    atomic_store_explicit(&gs.used, n + 1, memory_order_release);
    return g;
}

static bool add_slab(void) {
    struct g *slab = aligned_alloc(64, SLAB_GS * sizeof(struct g));
    if (!slab)
        return false;
    memset(slab, 0, SLAB_GS * sizeof(struct g));
    uint64_t i = atomic_load(&gs.used) / SLAB_GS;
    struct g *none = NULL;
    if (i >= MAX_SLABS || !atomic_compare_exchange_strong(&gs.slabs[i], &none, slab))
        free(slab); /* somebody else was faster */
    return i < MAX_SLABS;
}

/* A G without a stack. */
static struct g *g_raw(void) {
    for (;;) {
        rt_lock(&gs.lock);
        struct g *g = gs.free;
        if (g)
            gs.free = g->schedlink;
        else
            g = carve();
        rt_unlock(&gs.lock);
        if (g || !add_slab())
            return g;
    }
}

static void g_raw_free(struct g *g) {
    g_set_status(g, G_IDLE);
    rt_lock(&gs.lock);
    g->schedlink = gs.free;
    gs.free = g;
    rt_unlock(&gs.lock);
}

void sched_each_g(bool (*fn)(struct g *g, void *arg), void *arg) {
    uint64_t used = atomic_load_explicit(&gs.used, memory_order_acquire);
    for (uint64_t i = 0; i < used; i++)
        if (!fn(&atomic_load(&gs.slabs[i / SLAB_GS])[i % SLAB_GS], arg))
            return;
}

/* ---- goroutines ---- */

static void drop_stack(struct g *g) {
    stack_free(g->stack);
    g->stack = (struct stack){0};
}

static uint32_t kib(size_t nbytes) { return (uint32_t)((nbytes + 1023) / 1024); }

static bool give_stack(struct g *g) {
    size_t size = atomic_load_explicit(&gs.stack_size, memory_order_relaxed);
    g->stack_kib = kib(size);
    return stack_alloc(size, &g->stack) == 0;
}

static struct p *current_p(void) {
    struct m *m = rt_m();
    return m && m_curg(m) ? m->own_p : NULL;
}

static struct g *from_p(struct p *p) {
    struct g *g = p ? p->gfree : NULL;
    if (g) {
        p->gfree = g->schedlink;
        p->ngfree--;
    }
    return g;
}

/* A stack of another size than the one asked for now is not kept. */
static bool right_size(struct g *g) {
    return g->stack_kib == kib(atomic_load_explicit(&gs.stack_size, memory_order_relaxed));
}

static void free_kept(struct g *g) {
    if (g->kept)
        sched.host->free(g);
    g->kept = false;
}

struct g *g_new(void) {
    sched_enter();
    struct g *g = from_p(current_p());
    sched_leave();
    if (g && !right_size(g)) {
        free_kept(g);
        drop_stack(g);
    }
    if (!g)
        g = g_raw();
    if (!g)
        return NULL;
    if (!g->stack.hi && !give_stack(g)) {
        g_raw_free(g);
        return NULL;
    }
    sched_prepare_g(g);
    return g;
}

void g_discard(struct g *g) {
    context_destroy(&g->ctx);
    drop_stack(g);
    g_raw_free(g);
}

/* g has ended, its state has been left and another one is attached. By the M that has p (NULL: none). */
void g_recycle(struct p *p, struct g *g) {
    bool room = p && p->ngfree < P_FREE_MAX;
    g->kept = room && sched.host->keep && sched.host->keep(g);
    if (!g->kept)
        sched.host->free(g);
    g_set_status(g, G_IDLE);
    atomic_store_explicit(&g->park, 0, memory_order_relaxed);
    context_destroy(&g->ctx);
    if (room) {
        g->schedlink = p->gfree;
        p->gfree = g;
        p->ngfree++;
        return;
    }
    drop_stack(g);
    g_raw_free(g);
}

/* The M goes idle, still attached: the states of dead goroutines are not to clutter what the host's tools
 * show (faulthandler's list ends after 100). */
void g_trim(struct p *p) {
    while (p->ngfree > P_FREE_IDLE) {
        struct g *g = from_p(p);
        free_kept(g);
        drop_stack(g);
        g_raw_free(g);
    }
}

/* ---- threads ---- */

/* Other threads' destructors may run later and use channels: they get a new one. */
static void thread_g_free(void *g) {
    this_thread_g = NULL;
    free(g);
}

static void thread_key_make(void) { pthread_key_create(&gs.thread_key, thread_g_free); }

/* What stands for the calling thread when it waits; NULL when memory is out. */
struct g *glist_thread_g(void) {
    struct g *g = this_thread_g;
    if (g)
        return g;
    pthread_once(&gs.thread_key_once, thread_key_make);
    struct thread_g *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    g = &t->g;
    g->is_thread = true;
    g_set_status(g, G_RUNNING);
    pthread_setspecific(gs.thread_key, g);
    this_thread_g = g;
    return g;
}

/* While a thread waits, code that runs on it (a signal handler, a finalizer) may wait as well: that needs
 * a G of its own, made on demand and dropped at the end. */
void glist_nest(void) { this_thread_g = NULL; }

void glist_unnest(struct g *outer) {
    if (this_thread_g && this_thread_g != outer)
        free(thread_of(this_thread_g));
    this_thread_g = outer;
    pthread_setspecific(gs.thread_key, outer);
}

/* ---- fork ---- */

void glist_fork_prepare(void) { rt_lock(&gs.lock); }

void glist_fork_parent(void) { rt_unlock(&gs.lock); }

void glist_fork_child(void) {
    /* The slabs stay: what is in them belongs to goroutines that do not exist here. */
    gs.free = NULL;
    memset((void *)gs.slabs, 0, (atomic_load(&gs.used) / SLAB_GS + 1) * sizeof gs.slabs[0]);
    atomic_store(&gs.used, 0);
    rt_unlock(&gs.lock);
}
