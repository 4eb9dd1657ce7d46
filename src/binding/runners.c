/* Who computes, and who is blocked in C? With the GIL in one's hand everybody else is outside the
 * interpreter, so one lets go of it, looks who is inside, and takes it again; several times. */
#include "binding.h"

#include <time.h>

#define MS INT64_C(1000000)
#define AT_ONCE (MS / 5)
#define LOOKS 12 /* outside so often while the interpreter is free: blocked in C */
#define LONG_IN_C (1000 * MS)

struct looking {
    struct g *inside; /* in the interpreter, at an instant when this thread was not */
    bool interpreter_free;
};

static void find_inside(struct m *m, void *arg) {
    struct g *g = host_inside(m);
    if (g)
        ((struct looking *)arg)->inside = g;
}

/* Counts how often in a row, and during one run, a goroutine stayed outside though it could come in. */
static void count_look(struct m *m, void *arg) {
    struct looking *l = arg;
    struct g *g = atomic_load(&m->curg);
    if (!g || !goroutine_of(g)->ts)
        return;
    struct goroutine *gr = goroutine_of(g);
    uint32_t waits = atomic_load(&g->waits);
    if (g == l->inside) {
        gr->looks = 0;
    } else if (l->interpreter_free) {
        if (gr->looks_waits != waits)
            gr->looks = 0;
        if (gr->looks++ == 0)
            gr->looks_since = rt_now();
        gr->looks_waits = waits;
    }
}

/* The GIL was free if it could be had at once: whoever wanted it would have had it by then. */
static struct looking look(int64_t pause) {
    struct looking l = {0};
    struct timespec ts = {.tv_nsec = pause};
    PyThreadState *me = PyEval_SaveThread();
    nanosleep(&ts, NULL);
    sched_each_m(find_inside, &l);
    int64_t wanted = rt_now();
    PyEval_RestoreThread(me);
    l.interpreter_free = !l.inside && rt_now() - wanted < AT_ONCE;
    sched_each_m(count_look, &l);
    return l;
}

struct g *runners_look(int64_t pause) { return look(pause).inside; }

bool runners_quiet(int64_t pause) { return look(pause).interpreter_free; }

/* Seen outside often enough; and it is not merely that its thread gets no processor, unless that has been
 * so for a long time (it computes in C). */
bool runners_blocked(struct g *g) {
    struct goroutine *gr = goroutine_of(g);
    if (atomic_load(&g->status) != G_RUNNING || gr->looks < LOOKS ||
        gr->looks_waits != atomic_load(&g->waits))
        return false;
    return host_thread_sleeps(atomic_load(&g->m)) || rt_now() - gr->looks_since > LONG_IN_C;
}
