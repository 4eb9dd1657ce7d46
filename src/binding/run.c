/* run(): the main goroutine, and the end of the program that it stands for.
 *
 * The calling thread waits natively, so signals reach it as always. What it wakes for: main has
 * ended; a signal (what its handler raises goes to main); all are asleep (deadlock.c).
 *
 * After main, everybody who is still alive gets GoroutineExit:
 *   - parked: at its blocking point, at once;
 *   - not begun: it never runs;
 *   - computing: at its next bytecode, once it has been seen inside the interpreter;
 *   - blocked in C, that is, seen outside a number of times while the interpreter was free: it is left
 *     behind and gets it at its first blocking point after the call.
 * It comes once; a second time only when all that remain sleep for good, and none that is left behind has woken
 * them for a while: it may have a lock that cleanup waits for. What cleanup starts is part of it, and is ended
 * when nobody else is left. */
#include "binding.h"

#include <time.h>

#define MS INT64_C(1000000)
#define PATIENCE (100 * MS)       /* how long a main blocked in C may keep an interrupt waiting, */
#define LONG_PATIENCE (5000 * MS) /* and an exception that is not meant to end the program */
#define CLEANUP_PATIENCE (500 * MS) /* how long cleanup may wait for those that are left behind */
#define SECOND_WINDOW (1000 * MS)   /* an interrupt this soon after another one means it */
#define MAIN_LOOKS 36               /* before an interrupted main counts as computing */
#define LOOK_FIRST (MS / 20)
#define LOOK_LONGEST (5 * MS)

/* What the main goroutine wants done on the main thread; on its stack. */
struct errand {
    PyObject *(*fn)(void *arg);
    void *arg;
    PyObject *result, *exc;
    bool done;
};

struct run {
    struct note note;
    bool on_main_thread;
    struct errand *errand;
    struct g *main;
    uint64_t main_id;
    bool main_ended;
    PyObject *result, *exc; /* of main */
    PyObject *abandoned;    /* the interrupt that main, blocked in C or ended, does not take */
    int64_t interrupted_at; /* by Ctrl-C */
    int64_t give_up_at;     /* NOTE_FOREVER: main owes nothing */
    unsigned long fork_generation;
};

static struct run *current; /* GIL */
static unsigned long fork_generation;

bool run_under_way(void) { return current != NULL; }

void run_fork_child(void) {
    current = NULL;
    fork_generation++;
}

/* ---- what escapes goroutines ---- */

static void call_hook(struct goroutine *gr, PyObject *exc) {
    PyObject *call = helper("goroutines._hook", "call");
    PyObject *created = call ? goroutine_created_at(gr) : NULL;
    PyObject *done = created ? PyObject_CallFunctionObjArgs(call, exc, created, NULL) : NULL;
    if (!done)
        PyErr_WriteUnraisable(gr->fn);
    Py_XDECREF(created);
    Py_XDECREF(done);
}

static bool ends_the_program(PyObject *exc) {
    return PyErr_GivenExceptionMatches(exc, PyExc_SystemExit) ||
           PyErr_GivenExceptionMatches(exc, PyExc_KeyboardInterrupt);
}

/* One whose program is over, because it was blocked in C or was a main that run() did not wait for, has
 * no main to go to. */
static bool is_over(struct goroutine *gr) { return gr->left_behind || gr->is_main; }

void run_goroutine_failed(struct goroutine *gr, PyObject *exc) {
    if (PyErr_GivenExceptionMatches(exc, GoroutineExit) || (is_over(gr) && ends_the_program(exc))) {
        Py_DECREF(exc);
    } else if (ends_the_program(exc) && current && !current->main_ended) {
        interrupt_deliver(current->main, exc);
    } else {
        if (!PyErr_GivenExceptionMatches(exc, PyExc_SystemExit))
            call_hook(gr, exc);
        Py_DECREF(exc);
    }
}

bool run_in_cleanup(void) {
    struct goroutine *gr = current && current->main_ended ? current_goroutine() : NULL;
    return gr && (gr->of_cleanup || (gr->exit_sent && !gr->pending));
}

/* ---- waiting for main ---- */

static enum note_result sleep_without_gil(struct note *n, int64_t until) {
    enum note_result r;
    Py_BEGIN_ALLOW_THREADS
    r = note_sleep(n, until);
    Py_END_ALLOW_THREADS
    return r;
}

/* ---- interrupting main ---- */

static int64_t earliest(int64_t a, int64_t b) { return a < b ? a : b; }

static bool main_is_blocked(struct run *r) {
    for (int i = 0; i < MAIN_LOOKS && !r->main_ended && !runners_blocked(r->main); i++)
        runners_look(MS);
    return !r->main_ended && runners_blocked(r->main);
}

/* What a signal handler raised goes to main. A Ctrl-C that finds the last one undelivered, or comes right
 * after another Ctrl-C, ends run() whatever main does. */
static void interrupt_main(struct run *r, PyObject *exc) {
    int64_t now = rt_now();
    bool owes = goroutine_of(r->main)->pending;
    if (PyErr_GivenExceptionMatches(exc, PyExc_KeyboardInterrupt)) {
        if (owes || now - r->interrupted_at < SECOND_WINDOW) {
            Py_XSETREF(r->abandoned, exc);
            return;
        }
        r->interrupted_at = now;
    }
    r->give_up_at = earliest(r->give_up_at,
                             now + (ends_the_program(exc) ? PATIENCE : LONG_PATIENCE));
    interrupt_deliver(r->main, exc);
}

/* The interrupt has not been raised yet: if main is blocked in C, run() goes on without it. */
static void lose_patience(struct run *r) {
    r->give_up_at = NOTE_FOREVER;
    struct goroutine *main = goroutine_of(r->main);
    if (r->main_ended || !main->pending)
        return;
    if (main_is_blocked(r))
        r->abandoned = main->pending ? Py_NewRef(main->pending) : NULL;
    else if (!r->main_ended && main->pending)
        r->give_up_at = rt_now() + PATIENCE;
}

static bool forked_away(struct run *r) { return r->fork_generation != fork_generation; }

static void run_signal_handlers(struct run *r) {
    if (PyErr_CheckSignals() == 0)
        return;
    PyObject *exc = compat_fetch();
    if (r->main_ended || forked_away(r)) /* while the handler ran: run() raises it itself */
        Py_XSETREF(r->abandoned, exc);
    else
        interrupt_main(r, exc);
}

static void look_for_deadlock(struct run *r, int64_t *recheck) {
    *recheck = NOTE_FOREVER;
    if (r->main_ended || !deadlock_found(recheck))
        return;
    PyObject *error = deadlock_error();
    if (r->main_ended)
        Py_XDECREF(error);
    else if (error)
        interrupt_deliver_parked(r->main, error);
}

/* ---- errands ---- */

static void do_errand(struct run *r) {
    struct errand *e = r->errand;
    if (!e)
        return;
    r->errand = NULL;
    e->result = e->fn(e->arg);
    e->exc = e->result ? NULL : compat_fetch();
    e->done = true;
    sched_enter_to_wake();
    if (g_wake(r->main, WAKE_CASE(0, true)))
        sched_kick();
    sched_leave();
}

bool run_on_main_thread(PyObject *(*fn)(void *arg), void *arg, PyObject **result) {
    struct run *r = current;
    struct errand e = {.fn = fn, .arg = arg};
    if (!r || !r->on_main_thread || r->main_ended || sched_current() != r->main)
        return false;
    r->errand = &e;
    struct g *g = sched_enter();
    sched_park_begin(g, "main thread", PARK_UNINTERRUPTIBLE);
    if (e.done) /* while a P was waited for */
        g_wake(g, WAKE_CASE(0, true));
    else
        note_poke(&r->note);
    sched_park(g, NOTE_FOREVER);
    sched_leave();
    if (e.exc)
        compat_raise(e.exc);
    *result = e.result;
    return true;
}

bool run_poke(void) {
    if (!current || !current->on_main_thread)
        return false;
    note_poke(&current->note);
    return true;
}

static void wait_for_main(struct run *r) {
    int64_t recheck = NOTE_FOREVER, pause = 0;
    while (!r->main_ended && !r->abandoned && !forked_away(r)) {
        int64_t until = earliest(earliest(recheck, r->give_up_at), interrupt_next_look(&pause));
        enum note_result woken = sleep_without_gil(&r->note, until);
        if (woken == NOTE_WOKEN)
            return;
        if (woken == NOTE_SIGNAL || r->errand)
            pause = 0; /* where one signal came or is made to come, more may do so just now */
        do_errand(r);
        run_signal_handlers(r); /* one may have come just before the sleep */
        patch_signals_looked();
        goroutine_warn_of_shortage();
        sched_kick_again();
        if (rt_now() >= r->give_up_at)
            lose_patience(r);
        if (woken == NOTE_POKED || rt_now() >= recheck)
            look_for_deadlock(r, &recheck);
    }
}

/* ---- the end ---- */

struct census {
    int64_t alive;   /* not left behind */
    int64_t asleep;  /* of these, parked and not woken, */
    int64_t helpers; /* and started by cleanup */
};

static bool count(struct g *g, void *arg) {
    struct census *c = arg;
    if (goroutine_alive(g) && !goroutine_of(g)->left_behind) {
        c->alive++;
        c->asleep += g_asleep(g);
        c->helpers += goroutine_of(g)->of_cleanup;
    }
    return true;
}

struct sending {
    bool again;
    bool helpers; /* to those, too, that cleanup has started */
    /* Room for goroutines that are told through the eval loop: that scans all states. */
    int64_t few;
};

static bool send_exit(struct g *g, void *arg) {
    struct sending *s = arg;
    if (!goroutine_alive(g))
        return true;
    struct goroutine *gr = goroutine_of(g);
    if (gr->left_behind || gr->service || (gr->exit_sent && !s->again) ||
        (gr->of_cleanup && !s->helpers))
        return true;
    gr->exit_sent = true;
    if (!atomic_load(&g->started)) {
        gr->exit_before_start = true;
        return true;
    }
    bool ended = interrupt_deliver_parked(g, interrupt_new_exit());
    if (!ended && atomic_load(&g->status) == G_RUNNABLE && s->few > 0) {
        s->few--;
        interrupt_announce(g);
    }
    return true;
}

static void send_exits(bool again, bool helpers) {
    struct sending s = {again, helpers, 1000};
    int held = compat_hold_collector();
    sched_each_g(send_exit, &s);
    compat_release_collector(held);
}

void run_main_ended(struct goroutine *gr, PyObject *result, PyObject *exc) {
    struct run *r = current;
    if (!r || goroutine_of(r->main) != gr) { /* run() has not waited for it */
        Py_XDECREF(result);
        if (exc)
            run_goroutine_failed(gr, exc);
        return;
    }
    r->result = result;
    r->exc = exc;
    r->main_ended = true;
    gr->exit_sent = true;
    note_wakeup(&r->note);
    send_exits(false, false); /* here and now, so that nobody begins who has not begun by now */
}

static bool leave_if_blocked(struct g *g, void *unused) {
    (void)unused;
    if (goroutine_alive(g) && !goroutine_of(g)->left_behind && runners_blocked(g)) {
        goroutine_of(g)->left_behind = true;
        goroutines_left_behind++;
        if (!goroutine_of(g)->ended)
            interrupt_pend(g, interrupt_new_exit()); /* also one that was blocked in its cleanup */
    }
    return true;
}

/* Seen inside, a goroutine gets its exception at the next bytecode. */
static void watch_runners(int64_t pause) {
    struct g *inside = runners_look(pause);
    if (inside && goroutine_alive(inside) && goroutine_of(inside)->exit_sent)
        interrupt_announce(inside);
    int held = compat_hold_collector();
    sched_each_g(leave_if_blocked, NULL);
    compat_release_collector(held);
}

static bool leave_behind(struct g *g, void *unused) {
    (void)unused;
    if (goroutine_alive(g) && !goroutine_of(g)->left_behind) {
        goroutine_of(g)->left_behind = true;
        goroutines_left_behind++;
    }
    return true;
}

static struct census take_census(void) {
    struct census c = {0};
    if (sched_num_goroutine() > goroutines_left_behind)
        sched_each_g(count, &c);
    return c;
}

/* In this order: a timer that fires in between has queued somebody by the time that is looked at. */
static bool asleep_for_good(void) {
    timers_hold();
    bool useful = timers_useful();
    timers_release();
    if (useful || netpoll_waiters())
        return false;
    struct census c = take_census();
    return c.asleep == c.alive && !sched_work_waits() && !deadlock_other_threads();
}

/* *since: when they were first seen asleep; 0: not asleep. */
static bool nobody_wakes_them(int64_t *since) {
    if (!asleep_for_good()) {
        *since = 0;
        return false;
    }
    int64_t now = rt_now();
    if (!*since)
        *since = now;
    return !goroutines_left_behind || now - *since >= CLEANUP_PATIENCE;
}

/* NULL, or the interrupt that ended the wait for the others. */
static PyObject *end_all(struct run *r) {
    int64_t pause = LOOK_FIRST, asleep_since = 0;
    for (struct census c; (c = take_census()).alive;) {
        bool only_helpers = c.helpers == c.alive;
        func_timers_stop_all(only_helpers);
        send_exits(false, only_helpers); /* to those, too, that have been started meanwhile */
        watch_runners(pause);
        if (PyErr_CheckSignals() < 0) {
            sched_each_g(leave_behind, NULL);
            return compat_fetch();
        }
        if (forked_away(r))
            break;
        goroutine_warn_of_shortage();
        if (nobody_wakes_them(&asleep_since))
            send_exits(true, true);
        pause = pause * 3 / 2 < LOOK_LONGEST ? pause * 3 / 2 : LOOK_LONGEST;
    }
    return NULL;
}

/* ---- run ---- */

static int check_caller(void) {
    if (current_goroutine())
        PyErr_SetString(PyExc_RuntimeError,
                        "run() called inside a goroutine: use go(f), or call f directly");
    else if (current)
        PyErr_SetString(PyExc_RuntimeError,
                        "run() is under way already, in another thread: use go(f) there");
    else
        return 0;
    return -1;
}

static PyObject *outcome(struct run *r, PyObject *late) {
    PyObject *exc = r->abandoned ? r->abandoned : r->exc;
    if (r->abandoned)
        Py_CLEAR(r->exc);
    if (late) {
        Py_XDECREF(exc);
        exc = late;
    }
    if (exc) {
        Py_CLEAR(r->result);
        compat_raise(exc);
        return NULL;
    }
    if (forked_away(r)) {
        PyErr_SetString(PyExc_RuntimeError,
                        "the main goroutine of this run() does not exist in the forked child");
        return NULL;
    }
    return r->result;
}

PyObject *run(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    (void)module;
    if (nargs < 1) {
        PyErr_SetString(PyExc_TypeError,
                        "run() takes a function and its arguments, as in run(main)");
        return NULL;
    }
    if (check_caller() < 0)
        return NULL;
    struct run r = {.give_up_at = NOTE_FOREVER,
                    .interrupted_at = -SECOND_WINDOW,
                    .fork_generation = fork_generation};
    r.main = goroutine_new("run", args, nargs, kwnames);
    if (!r.main)
        return NULL;
    if (current) { /* begun by code that ran meanwhile */
        goroutine_discard(r.main);
        check_caller();
        return NULL;
    }
    goroutine_of(r.main)->is_main = true;
    r.on_main_thread = PyThread_get_thread_ident() == main_thread_ident();
    current = &r;
    note_clear(&r.note);
    sched_watch(&r.note, true);
    g_start(r.main);
    wait_for_main(&r);
    if (forked_away(&r))
        return outcome(&r, NULL);
    r.main_ended = true;
    do_errand(&r); /* of a main that is not waited for */
    note_clear(&r.note);
    func_timers_stop_all(false);
    PyObject *late = end_all(&r);
    if (!forked_away(&r)) {
        sched_unwatch(&r.note);
        current = NULL;
    }
    return outcome(&r, late);
}
