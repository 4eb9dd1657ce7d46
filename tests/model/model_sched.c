/* The handshakes of proc.c and sysmon.c, rewritten in a few lines each (the originals need threads and
 * futexes). They keep the order of the accesses; a lock is a variable that is waited for.
 *
 *   take a P     sched_enter() of a goroutine against sched_take_p() of sysmon: never two on one P
 *   kick         sched_kick() against an M that goes idle: no goroutine waits while all Ps are idle
 *   deep sleep   sched_kick() against sysmon's deep sleep: it does not sleep while somebody waits
 *   leaving      the same, where the waker found the goroutine LEAVING and its M queues it later
 *
 * -DBROKEN=1: sysmon looks whether the M is in the runtime before it takes the P. 2: an M goes idle
 * without a last look. 3: sysmon looks for work before it says that it sleeps. 4: the M that queues a
 * goroutine it has left does not kick. */
#include "interleave.h"

#ifndef BROKEN
#define BROKEN 0
#endif

static struct {
    uint64_t lock;
    uint64_t in_runtime, m_p, p_m, p_idle, users;           /* take a P */
    uint64_t queued, idle_ps, spinning, idle_m, woken, ran; /* kick */
    uint64_t deep, note, claimed, seen;                     /* deep sleep */
} s;

static bool lock_is_free(void *arg) {
    (void)arg;
    return !s.lock;
}

static void lock(void) {
    model_wait(lock_is_free, NULL);
    s.lock = 1;
}

static void unlock(void) { at_store(&s.lock, 0); }

static void begin(void) { memset(&s, 0, sizeof s); }
static void nothing_left(void) {}

/* ---- take a P ---- */

static void use_p(void) {
    at_store(&s.users, s.users + 1);
    model_check(s.users == 1, "two Ms use one P");
    at_store(&s.users, s.users - 1);
}

/* sched_enter(), something on the P, sched_leave(); twice. */
static void goroutine(void) {
    for (int i = 0; i < 2; i++) {
        at_store(&s.in_runtime, 1);
        bool mine = at_load(&s.m_p);
        if (!mine) {
            lock();
            mine = at_load(&s.m_p);
            unlock();
        }
        if (!mine) { /* take_idle_p() */
            lock();
            if (at_load(&s.p_idle)) {
                at_store(&s.p_idle, 0);
                at_store(&s.p_m, 1);
                at_store(&s.m_p, 1);
                mine = true;
            }
            unlock();
        }
        if (mine)
            use_p();
        at_store(&s.in_runtime, 0);
    }
}

/* sched_take_p(); then the P is another M's, which puts it idle at the end. */
static void take_p(void) {
    lock();
    bool taken = false;
    if (at_load(&s.p_m) == 1 && at_load(&s.m_p)) {
#if BROKEN == 1
        taken = !at_load(&s.in_runtime);
        at_store(&s.m_p, 0);
#else
        at_store(&s.m_p, 0);
        taken = !at_load(&s.in_runtime);
#endif
        if (taken)
            at_store(&s.p_m, 0);
        else
            at_store(&s.m_p, 1);
    }
    unlock();
    if (!taken)
        return;
    use_p();
    lock();
    at_store(&s.p_idle, 1);
    unlock();
}

static void take_p_twice(void) {
    take_p();
    take_p();
}

static void begin_with_p(void) {
    begin();
    s.p_m = s.m_p = 1;
}

/* ---- kick ---- */

static bool p_was_idle_get(void) {
    bool got = at_load(&s.idle_ps) > 0;
    if (got)
        at_store(&s.idle_ps, s.idle_ps - 1);
    return got;
}

/* On a P that goes on computing: what it queues is for others. */
static void kicker(void) {
    at_store(&s.queued, s.queued + 1);
    if (!at_load(&s.idle_ps) || at_load(&s.spinning))
        return;
    lock();
    bool got = p_was_idle_get();
    if (got)
        at_store(&s.spinning, s.spinning + 1);
    unlock();
    if (!got)
        return;
    lock(); /* sched_start_m(): here there is always an idle M when a P is */
    at_store(&s.idle_m, 0);
    unlock();
    at_store(&s.woken, 1);
}

static bool is_woken(void *arg) {
    (void)arg;
    return s.woken || s.ran == 2;
}

static void run_what_is_queued(void) {
    while (at_load(&s.queued)) {
        at_store(&s.queued, s.queued - 1);
        at_store(&s.ran, s.ran + 1);
    }
}

/* go_idle(); true: with a P again. */
static bool goes_idle(void) {
    lock();
    at_store(&s.idle_ps, s.idle_ps + 1);
    at_store(&s.idle_m, 1);
    unlock();
    if (BROKEN == 2 || !at_load(&s.queued))
        return false;
    lock();
    bool back = at_load(&s.idle_m) && p_was_idle_get();
    if (back)
        at_store(&s.idle_m, 0);
    unlock();
    return back;
}

/* An M that was woken to look for work, and finds none at first. */
static void spinning_m(void) {
    bool spins = true;
    while (at_load(&s.ran) < 2) {
        run_what_is_queued();
        if (spins)
            at_store(&s.spinning, s.spinning - 1);
        spins = false;
        if (goes_idle())
            continue;
        model_wait(is_woken, NULL); /* never: reported as a deadlock */
        if (at_load(&s.ran) == 2)
            return;
        at_store(&s.woken, 0);
        spins = true;
    }
}

static void begin_spinning(void) {
    begin();
    s.spinning = 1;
}

static void all_ran(void) { model_check(s.ran == 2 && !s.queued, "a goroutine was lost"); }

/* ---- deep sleep ---- */

static bool note_set(void *arg) {
    (void)arg;
    return s.note;
}

/* The last rounds of sysmon, until it sees the goroutine that waits. */
static void sysmon(void) {
    while (!at_load(&s.seen)) {
        if (at_load(&s.queued)) {
            at_store(&s.seen, 1);
            return;
        }
        at_store(&s.note, 0);
#if BROKEN == 3
        bool waits = at_load(&s.queued);
        at_store(&s.deep, 1);
#else
        at_store(&s.deep, 1);
        bool waits = at_load(&s.queued);
#endif
        if (!waits)
            model_wait(note_set, NULL); /* never: reported as a deadlock */
        at_store(&s.deep, 0);
    }
}

static void end_deep_sleep(void) {
    if (at_load(&s.deep) && at_swap(&s.deep, 0))
        at_store(&s.note, 1);
}

static void queue_and_kick(void) {
    at_store(&s.queued, 1);
    end_deep_sleep();
}

/* The waker found it LEAVING: it kicks, but nothing is queued yet. */
static void waker(void) {
    at_store(&s.claimed, 1);
    end_deep_sleep();
}

static bool is_claimed(void *arg) {
    (void)arg;
    return s.claimed;
}

static void m_that_leaves(void) {
    model_wait(is_claimed, NULL);
    at_store(&s.queued, 1);
    if (BROKEN != 4)
        end_deep_sleep();
}

int main(void) {
    static const struct model models[] = {
        {"take a P", begin_with_p, {goroutine, take_p_twice}, nothing_left, &s, sizeof s},
        {"kick", begin_spinning, {spinning_m, kicker, kicker}, all_ran, &s, sizeof s},
        {"deep sleep", begin, {sysmon, queue_and_kick}, nothing_left, &s, sizeof s},
        {"leaving", begin, {sysmon, waker, m_that_leaves}, nothing_left, &s, sizeof s},
    };
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        explore(&models[i]);
    return 0;
}
