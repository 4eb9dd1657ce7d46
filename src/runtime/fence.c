/* Asymmetric fences, with membarrier(2) where the kernel has it (proc_internal.h). */
#include "proc_internal.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

bool sched_membarrier;

static long membarrier(int command) { return syscall(SYS_membarrier, command, 0, 0); }

void fences_init(void) {
#ifndef __SANITIZE_THREAD__
    sched_membarrier = membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0;
#endif
}

void sched_heavy_fence(void) {
    if (sched_membarrier)
        membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
#ifndef __SANITIZE_THREAD__
    else
        atomic_thread_fence(memory_order_seq_cst);
#endif
}
