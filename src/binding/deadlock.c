/* Deadlock: every goroutine waits for something that only another one could provide.
 *
 * The runtime pokes the watcher, a thread that waits in run() (or the main thread in a channel
 * operation), when the last P goes idle. The watcher takes the GIL, so that no Python thread moves,
 * and checks the whole condition. If other threads are the only reason why it is none, it looks again
 * from time to time, less and less often, since nobody tells when the last of them ends. */
#include "binding.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define MS INT64_C(1000000)
#define RECHECK_FIRST (10 * MS)
#define RECHECK_LONGEST (1000 * MS)
#define CONFIRM_AFTER (150 * MS)

static bool enabled;
static bool native_callers; /* a thread that Python did not start has called in */
static PyObject *default_int_handler;
static int64_t pause_between = RECHECK_FIRST;

int deadlock_init(void) {
    const char *off = getenv("GOROUTINES_DEADLOCK");
    enabled = !off || strcmp(off, "0") != 0;
    PyObject *signal = PyImport_ImportModule("_signal");
    default_int_handler = signal ? PyObject_GetAttrString(signal, "default_int_handler") : NULL;
    Py_XDECREF(signal);
    return default_int_handler ? 0 : -1;
}

/* ---- other threads ---- */

struct tally {
    int64_t states, goroutines, natives;
};

static void tally_native(struct thread_g *t, void *arg) {
    (void)t;
    ((struct tally *)arg)->natives++;
}

static struct tally tally(void) {
    struct tally t = {0};
    PyThreadState *ts = compat_newest_state();
    for (; ts; ts = PyThreadState_Next(ts)) {
        t.states++;
        t.goroutines += stack_owns((void *)ts->thread_id);
    }
    sched_each_native(tally_native, &t);
    return t;
}

/* The caller is one of those that wait natively, or (in run()) one more. */
static bool other_threads(bool caller_is_native) {
    struct tally t = tally();
    return t.states - t.goroutines - host_m_states() - t.natives - !caller_is_native > 0;
}

static int64_t python_threads(void) {
    PyObject *count = helper("_thread", "_count");
    PyObject *n = count ? PyObject_CallNoArgs(count) : NULL;
    int64_t threads = n ? PyLong_AsLongLong(n) : 0;
    Py_XDECREF(n);
    PyErr_Clear();
    return threads;
}

/* The caller's state, and those of other threads that run Python code: a thread that Python has just
 * started has a state before it is counted, and no frame. */
static int64_t states_in_use(void) {
    int64_t n = 0;
    int held = compat_hold_collector(); /* frame objects are allocated */
    PyThreadState *ts = compat_newest_state();
    for (; ts; ts = PyThreadState_Next(ts)) {
        if (stack_owns((void *)ts->thread_id))
            continue;
        PyFrameObject *frame = ts == PyThreadState_Get() ? NULL : PyThreadState_GetFrame(ts);
        n += frame || ts == PyThreadState_Get();
        Py_XDECREF(frame);
    }
    compat_release_collector(held);
    return n;
}

/* More thread states than threads that Python has started (and the main one): some are native. What is
 * in doubt is looked at again when the thread calls the next time. */
void deadlock_note_caller(void) {
    static __thread bool known;
    if (known || PyThread_get_thread_ident() == main_thread_ident())
        return;
    struct tally t = tally();
    int64_t ours = python_threads() + 1;
    known = t.states - t.goroutines - host_m_states() <= ours;
    if (!known && states_in_use() > ours)
        known = native_callers = true;
}

/* ---- signal handlers ---- */

static bool is_default(PyObject *handler) {
    return handler == Py_None || PyLong_Check(handler) || handler == default_int_handler;
}

static bool handlers_installed(void) {
    PyObject *getsignal = helper("_signal", "getsignal");
    bool found = false;
    for (int i = 1; getsignal && i < NSIG && !found; i++) {
        PyObject *handler = PyObject_CallFunction(getsignal, "i", i);
        if (handler)
            found = !is_default(handler);
        else
            PyErr_Clear();
        Py_XDECREF(handler);
    }
    return found;
}

/* ---- the condition ---- */

static int64_t due;           /* while the watcher looks by itself: when; else 0 */
static int64_t suspect_since; /* all have been found asleep at each look since then; 0: not */

static void look_again(int64_t *recheck, int64_t pause) {
    due = *recheck = rt_now() + pause;
    sched_watcher_armed(true);
}

static void wait_for_poke(void) {
    due = suspect_since = 0;
    sched_watcher_armed(false);
}

static bool other_ways_out(bool caller_is_native) {
    return native_callers || other_threads(caller_is_native) || handlers_installed();
}

/* A native thread that was just created shows only when it has its thread state: so all must be found
 * asleep for a while, with nothing having run in between. */
static bool confirmed(int64_t *recheck) {
    static uint64_t switches_then;
    struct sched_stats s;
    sched_stats(&s);
    if (!suspect_since || s.switches != switches_then) {
        suspect_since = rt_now();
        switches_then = s.switches;
    }
    if (rt_now() - suspect_since < CONFIRM_AFTER) {
        look_again(recheck, CONFIRM_AFTER);
        return false;
    }
    wait_for_poke();
    return true;
}

static bool found(int64_t *recheck, bool caller_is_native) {
    *recheck = NOTE_FOREVER;
    if (!enabled)
        return false;
    if (!sched_asleep()) {
        pause_between = RECHECK_FIRST;
        wait_for_poke();
        return false;
    }
    if (other_ways_out(caller_is_native)) {
        suspect_since = 0;
        look_again(recheck, pause_between);
        pause_between = pause_between * 2 < RECHECK_LONGEST ? pause_between * 2 : RECHECK_LONGEST;
        return false;
    }
    return confirmed(recheck);
}

bool deadlock_found(int64_t *recheck) { return found(recheck, false); }

bool deadlock_other_threads(void) { return other_threads(false); }

PyObject *deadlock_error(void) {
    PyObject *report = helper("goroutines.debug", "_deadlock_report");
    PyObject *text = report ? PyObject_CallNoArgs(report) : NULL;
    PyObject *error = text ? PyObject_CallOneArg(DeadlockError, text) : NULL;
    Py_XDECREF(text);
    if (!error)
        return compat_fetch();
    if (!sched_asleep())
        Py_CLEAR(error);
    return error;
}

/* ---- the main thread, waiting without run() ---- */

static int64_t signal_pause; /* of the main thread's wait */

int64_t deadlock_watch(struct g *g) {
    if (PyThread_get_thread_ident() != main_thread_ident())
        return NOTE_FOREVER;
    if (!run_under_way())
        sched_watch(&g->note, false);
    signal_pause = due = suspect_since = 0;
    return interrupt_next_look(&signal_pause);
}

void deadlock_unwatch(struct g *g) { sched_unwatch(&g->note); }

bool deadlock_poked(struct g *g, int64_t *recheck) {
    host_thread_back(thread_of(g)->saved);
    if (PyErr_CheckSignals() < 0)
        interrupt_stash(g, compat_fetch());
    *recheck = due ? due : NOTE_FOREVER;
    bool only_signals = due && rt_now() < due;
    if (!thread_of(g)->stash && !only_signals && !run_under_way() && found(recheck, true)) {
        PyObject *error = deadlock_error();
        if (error)
            interrupt_stash(g, error);
    }
    sched_kick_again();
    int64_t next = interrupt_next_look(&signal_pause);
    if (next < *recheck)
        *recheck = next;
    bool stop = thread_of(g)->stash != NULL;
    thread_of(g)->saved = PyEval_SaveThread();
    return stop;
}
