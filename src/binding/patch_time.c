/* patch.time(): time.sleep parks. */
#include "patch.h"

static PyObject *yield_once(void) {
    sched_yield_g();
    return interrupt_check() < 0 ? NULL : Py_NewRef(Py_None);
}

PATCH_BODY(sleep_body) {
    int64_t ns;
    if (!patch_seconds(args[0], &ns))
        return patch_call(p, self, args, nargs, kwnames);
    if (PySys_Audit("time.sleep", "O", args[0]) < 0 || interrupt_check() < 0)
        return NULL;
    if (ns == 0)
        return yield_once();
    if (sched_sleep(timer_after(rt_now(), ns)) == WAKE_INTERRUPT) {
        interrupt_raise();
        return NULL;
    }
    Py_RETURN_NONE;
}

PATCH(time_sleep, "time", NULL, "sleep", sleep_body, IN_GOROUTINES)

struct patch *const patch_time[] = {&time_sleep, NULL};
