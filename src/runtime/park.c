/* Parking and waking: who ends a wait, and who puts the goroutine on a run queue.
 *
 * The state of the park word (parkword.h) goes
 *
 *     NONE ----begin----> LEAVING ---left---> PARKED
 *      ^                     |                   |
 *      |                   wake                wake        (compare and swap: one waker wins)
 *      |                     v                   v
 *      +----resumed------ CLAIMED <--------------+
 *
 * A waker that finds PARKED queues the goroutine. One that finds LEAVING does not: the goroutine's M
 * still uses its thread state, and queues it itself as soon as it has left (leaving rule, proc.h).
 *
 * A wait may be in several places at once (channels of a select, a timer, somebody who interrupts):
 * the compare and swap makes exactly one of them its end. What a waker hands over is written before
 * it, into a place of its own (the sudog of the case), so that the loser's is simply not looked at. */
#include "proc_internal.h"

#include <stdlib.h>

#include "parkword.h"

void sched_park_begin(struct g *g, const char *reason, uint32_t flags) {
    atomic_store_explicit(&g->wait_reason, reason, memory_order_relaxed);
    atomic_store_explicit(&g->wait_since, rt_now_coarse(), memory_order_relaxed);
    parkword_begin(&g->park, flags);
}

static void count_without_p(int64_t n) {
    rt_lock(&sched.lock);
    sched.without_p += n;
    rt_unlock(&sched.lock);
}

static void ready_wired(struct g *g) {
    /* It runs without a P from here on; counted before it does, or all might seem asleep. */
    count_without_p(1);
    note_wakeup(&g->note);
}

static void ready(struct g *g) {
    if (g->is_thread)
        note_wakeup(&g->note);
    else if (g_wired(g))
        ready_wired(g);
    else
        sched_queue(g);
}

static bool wake(struct g *g, uint32_t with, uint32_t unless) {
    uint64_t word;
    if (!parkword_claim(&g->park, with, unless, &word))
        return false;
    if (parkword_state(word) == PARK_PARKED)
        ready(g);
    return true;
}

bool g_wake(struct g *g, uint32_t with) { return wake(g, with, 0); }

bool g_asleep(struct g *g) {
    return g_get_status(g) == G_WAITING &&
           parkword_state(atomic_load_explicit(&g->park, memory_order_acquire)) == PARK_PARKED;
}

bool g_interrupt(struct g *g) { return wake(g, WAKE_INTERRUPT, PARK_UNINTERRUPTIBLE); }

bool park_claimed(struct g *g) {
    return parkword_state(atomic_load_explicit(&g->park, memory_order_acquire)) == PARK_CLAIMED;
}

bool park_left(struct g *g) { return parkword_left(&g->park); }

static uint32_t resumed(struct g *g) {
    uint32_t woken = parkword_end(&g->park);
    g_set_status(g, G_RUNNING);
    atomic_store_explicit(&g->waits, atomic_load_explicit(&g->waits, memory_order_relaxed) + 1,
                          memory_order_relaxed);
    return woken;
}

/* ---- native waits: threads that are no M, and goroutines wired to theirs ---- */

static void natives_add(struct thread_g *t, int64_t deadline) {
    rt_lock(&sched.lock);
    t->deadline = deadline;
    t->prev = NULL;
    t->next = sched.natives;
    if (sched.natives)
        sched.natives->prev = t;
    sched.natives = t;
    rt_unlock(&sched.lock);
}

static void natives_remove(struct thread_g *t) {
    rt_lock(&sched.lock);
    if (t->prev)
        t->prev->next = t->next;
    else
        sched.natives = t->next;
    if (t->next)
        t->next->prev = t->prev;
    rt_unlock(&sched.lock);
}

/* The sleeper ends its own wait; false: a waker was faster. */
static bool claim_own(struct g *g, uint32_t with) {
    uint64_t word;
    return parkword_claim(&g->park, with, 0, &word);
}

static enum note_result sleep_once(struct thread_g *t, int64_t until) {
    atomic_store_explicit(&t->asleep, true, memory_order_relaxed);
    enum note_result result = note_sleep(&t->g.note, until);
    atomic_store_explicit(&t->asleep, false, memory_order_relaxed);
    return result;
}

static void sleep_natively(struct g *g, int64_t deadline, int64_t recheck) {
    for (;;) {
        switch (sleep_once(thread_of(g), recheck < deadline ? recheck : deadline)) {
        case NOTE_WOKEN:
            return;
        case NOTE_TIMEDOUT:
            if (rt_now() >= deadline) {
                if (claim_own(g, WAKE_TIMEOUT))
                    return;
                deadline = NOTE_FOREVER; /* a waker is about to set the note */
                recheck = NOTE_FOREVER;
                break;
            } /* fall through */
        case NOTE_POKED:
            recheck = NOTE_FOREVER;
            if (sched.host->poked(g, &recheck) && claim_own(g, WAKE_INTERRUPT))
                return;
            break;
        case NOTE_SIGNAL:
            if (sched.host->interrupted(g) && claim_own(g, WAKE_INTERRUPT))
                return;
            break;
        }
    }
}

static uint32_t park_thread(struct g *g, int64_t deadline) {
    g_set_status(g, G_WAITING);
    note_clear(&g->note);
    natives_add(thread_of(g), deadline);
    glist_nest();
    int64_t recheck = sched.host->block(g);
    if (!park_left(g))
        sleep_natively(g, deadline, recheck);
    sched.host->unblock(g);
    glist_unnest(g);
    natives_remove(thread_of(g));
    return resumed(g);
}

static void wake_timer_fired(struct timer *t, int64_t now) {
    (void)now;
    g_wake(t->arg, WAKE_TIMEOUT);
}

/* A wired goroutine keeps its M, which waits for it; its P goes to others. It is PARKED before it gives
 * anything up: a waker that finds it LEAVING counts nothing, and all might seem asleep. Nobody else
 * takes up its thread state, so it need not be left first. */
static void park_wired(struct g *g) {
    struct m *m = rt_m();
    g_set_status(g, G_WAITING);
    note_clear(&g->note);
    if (park_left(g))
        return;
    if (m->own_p)
        sched_hand_off(m);
    else
        count_without_p(-1);
    fill_poller();
    sched.host->block(g);
    sched_poke_watcher();
    while (note_sleep(&g->note, NOTE_FOREVER) != NOTE_WOKEN)
        ;
    sched.host->unblock(g);
}

/* A goroutine inside a callback of foreign C code is wired for this wait only. */
static void park_pinned(struct g *g) {
    sched_wire(g);
    park_wired(g);
    sched_unwire(g);
}

static void park_goroutine(struct g *g) {
    if (g_wired(g)) {
        park_wired(g);
    } else if (sched.host->pinned(g)) {
        park_pinned(g);
    } else if (!park_claimed(g)) {
        g_set_status(g, G_WAITING);
        sched_leave_m(rt_m(), g, LEAVE_PARK);
    }
}

uint32_t sched_park(struct g *g, int64_t deadline) {
    /* Whoever wants it sets the flag first and then tries g_interrupt(): one of the two sees the other. */
    if (atomic_load(&g->interrupt_wanted))
        g_interrupt(g);
    if (g->is_thread)
        return park_thread(g, deadline);
    struct timer t = {.fire = wake_timer_fired, .arg = g};
    if (deadline != NOTE_FOREVER && !timer_start(&t, deadline))
        g_wake(g, WAKE_TIMEOUT); /* no memory for a timer: at once rather than never */
    park_goroutine(g);
    if (deadline != NOTE_FOREVER)
        timer_stop(&t);
    return resumed(g);
}

uint32_t sched_sleep(int64_t deadline) {
    struct g *g = sched_enter();
    if (!g)
        return WAKE_INTERRUPT;
    sched_park_begin(g, "sleep", 0);
    uint32_t woken = sched_park(g, deadline);
    sched_leave();
    return woken;
}

/* Those that do not exist in the child are still in the queues of channels there: nobody can wake them,
 * so they are passed over. */
static bool forget(struct g *g, void *current) {
    if (g != current)
        at_store(&g->park, PARK_NONE);
    return true;
}

void park_fork_child(struct g *current) {
    sched_each_g(forget, current);
    for (struct thread_g *t = sched.natives; t; t = t->next)
        forget(&t->g, NULL);
    sched.natives = NULL;
}
