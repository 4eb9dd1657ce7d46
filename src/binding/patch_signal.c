/* patch.signal(): the main goroutine stands for the main thread.
 *
 * signal.signal() and its like are carried out there, by run() which waits there, and so is signal.pause(),
 * since that is where signals arrive. Handlers run there, too.
 * In plain Python the handler of a signal that a program sends itself has run when the call returns; so
 * after such a call of the main goroutine the main thread looks for signals at once, and what the handler
 * raises comes out of the call. */
#include "patch.h"

#include <signal.h>
#include <unistd.h>

struct call {
    struct patch *p;
    PyObject *self, *const *args;
    Py_ssize_t nargs;
    PyObject *kwnames;
};

static PyObject *carry_out(void *arg) {
    struct call *c = arg;
    return patch_call(c->p, c->self, c->args, c->nargs, c->kwnames);
}

PATCH_BODY(on_main_thread) {
    struct call call = {p, self, args, nargs, kwnames};
    PyObject *result;
    if (run_on_main_thread(carry_out, &call, &result))
        return result;
    return patch_call(p, self, args, nargs, kwnames);
}

static PyObject *look_for_signals(void *unused) {
    (void)unused;
    return PyErr_CheckSignals() < 0 ? NULL : Py_NewRef(Py_None);
}

static uint64_t looks; /* of the main thread */

void patch_signals_looked(void) {
    looks++;
    semaroot_wake_all(&looks);
}

static bool looked_since(void *before) { return looks != *(uint64_t *)before; }

/* So long another goroutine waits for the main thread to run handlers: one may wait for this goroutine. */
#define PATIENCE INT64_C(50000000)

/* After that main has what a handler raised, however this goroutine goes on. */
static void let_main_thread_look(void) {
    struct waiter me = {0};
    uint64_t before = looks;
    if (run_poke())
        semaroot_wait(&me, &looks, looked_since, &before, "signal handlers",
                      timer_after(rt_now(), PATIENCE), 0);
}

PyObject *patch_signal_sent(PyObject *result) {
    PyObject *looked;
    if (!result)
        return NULL;
    if (!run_on_main_thread(look_for_signals, NULL, &looked)) {
        let_main_thread_look();
        return result;
    }
    if (!looked)
        Py_CLEAR(result);
    Py_XDECREF(looked);
    return result;
}

PATCH_BODY(raise_body) { return patch_signal_sent(patch_call(p, self, args, nargs, kwnames)); }

/* To this process, a group, or everybody; not to another process. */
PATCH_BODY(kill_body) {
    long pid = nargs && PyLong_Check(args[0]) ? PyLong_AsLong(args[0]) : 1;
    PyErr_Clear();
    PyObject *result = patch_call(p, self, args, nargs, kwnames);
    return pid <= 0 || pid == getpid() ? patch_signal_sent(result) : result;
}

PATCH(signal_signal, "_signal", NULL, "signal", on_main_thread, IN_GOROUTINES)
PATCH(signal_siginterrupt, "_signal", NULL, "siginterrupt", on_main_thread, IN_GOROUTINES)
PATCH(signal_set_wakeup_fd, "_signal", NULL, "set_wakeup_fd", on_main_thread, IN_GOROUTINES)
PATCH(signal_pause, "_signal", NULL, "pause", on_main_thread, IN_GOROUTINES)
PATCH(signal_raise_signal, "_signal", NULL, "raise_signal", raise_body, IN_GOROUTINES)
PATCH(signal_pidfd_send_signal, "_signal", NULL, "pidfd_send_signal", raise_body, IN_GOROUTINES)
PATCH(signal_interrupt_main, "_thread", NULL, "interrupt_main", raise_body, IN_GOROUTINES)
PATCH(signal_kill, "posix", NULL, "kill", kill_body, IN_GOROUTINES)
PATCH(signal_killpg, "posix", NULL, "killpg", raise_body, IN_GOROUTINES)

struct patch *const patch_signals[] = {
    &signal_signal,         &signal_siginterrupt,
    &signal_set_wakeup_fd,  &signal_pause,
    &signal_raise_signal,   &signal_pidfd_send_signal,
    &signal_interrupt_main, &signal_kill,
    &signal_killpg,         NULL,
};
