/* The process: fork, exit, and naming the goroutine whose stack overflows. */
#include "binding.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

#include "fault.h"

/* ---- fork ---- */

/* The interpreter deletes all thread states but one in the child, and would free these chunks. */
static bool forget_chunk(struct g *g, void *current) {
    if (g != current && g->stack.hi && goroutine_of(g)->ts)
        compat_drop_chunk(goroutine_of(g)->ts, &goroutine_of(g)->chunk);
    return true;
}

static void after_fork_child(void) {
    struct g *current = sched_current();
    unsigned long ident = patch_ident();
    compat_become_main(_PyThreadState_UncheckedGet());
    sched_each_g(forget_chunk, current);
    patch_sockets_fork_child();
    patch_ssl_fork_child();
    sched_fork_child();
    if (current)
        goroutine_of(current)->forked = true;
    goroutines_left_behind = 0;
    func_timers_fork_child();
    members_fork_child();
    host_fork_child();
    run_fork_child();
    patch_fork_child(ident);
}

int fork_init(void) {
    if (pthread_atfork(sched_fork_prepare, sched_fork_parent, after_fork_child) == 0)
        return 0;
    PyErr_NoMemory();
    return -1;
}

/* ---- exit ---- */

#define MS INT64_C(1000000)
#define QUIET_LOOKS 3
#define PATIENCE (100 * MS)

/* The interpreter is about to go: no goroutine is taken up any more. Those that are inside have a moment
 * to come to their next call of ours, where they stay. After that, one that still computes is stopped by
 * the interpreter when it next wants the GIL; one that is blocked in C stays there. */
PyObject *shutdown_runtime(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    host_stop();
    int64_t until = rt_now() + PATIENCE;
    for (int quiet = 0; quiet < QUIET_LOOKS && rt_now() < until;)
        quiet = runners_quiet(MS / 4) ? quiet + 1 : 0;
    Py_RETURN_NONE;
}

/* The process is to end as after a KeyboardInterrupt that nobody has caught: by SIGINT, when the interpreter
 * is gone. It notes that itself when its own running of a source raises one; sys.excepthook gets it. */
PyObject *die_of_interrupt(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    PyRun_SimpleString("raise KeyboardInterrupt");
    Py_RETURN_NONE;
}
