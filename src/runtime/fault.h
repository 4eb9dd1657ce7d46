/* Naming the goroutine when its C stack overflows.
 *
 * An overflow hits the guard page and kills the process with SIGSEGV.  Without help that is silent:
 * the kernel cannot push a signal frame on a full stack, and a crash report shows a thread, not the
 * goroutine on it.  So each thread that runs goroutines has a signal stack, and a handler prints
 *
 *     fatal error: stack overflow in goroutine 7: its C stack of 256 KiB is full (see
 *     goroutines.stack_size)
 *
 * on one line and passes the signal on to the handler that was there before.  It uses nothing but
 * write(2), and no lock.
 *
 * Another crash handler, such as Python's faulthandler, may come before or after:
 *  - enabled before, it is the one passed to, and prints its traceback after our line;
 *  - enabled later, it sees the signal first, then puts our handler back and raises the signal
 *    again.  The address is lost by then, so the line says that the goroutine *running on this
 *    thread* crashed, and that an overflow is a possible reason.
 */
#ifndef GOROUTINES_RUNTIME_FAULT_H
#define GOROUTINES_RUNTIME_FAULT_H

#include <stddef.h>

/* Writes the number of a goroutine, in decimal, to buf (n bytes; no terminating 0 needed): the one
 * whose stack addr lies in or guards, or with NULL the one running on the calling thread.  Returns
 * the length, 0 when there is none.  Runs in a signal handler, maybe on a thread without goroutines:
 * no locks, no allocation, no thread-local storage that is not there yet. */
typedef int (*fault_namer)(const void *addr, char *buf, size_t n);

/* May be called at any time; NULL: none. */
void fault_set_namer(fault_namer namer);

/* Installs the handler for SIGSEGV and SIGBUS; only the first call in a process does something. */
void fault_install(void);

/* Gives the calling thread a signal stack, unless it has one. */
void fault_thread_start(void);

/* Frees the signal stack that fault_thread_start made, before the thread ends. */
void fault_thread_stop(void);

#endif
