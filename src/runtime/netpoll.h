/* Waiting for descriptors: one epoll instance for the process, and who waits in it.
 *
 * Prior art: Go's runtime/netpoll.go and netpoll_epoll.go. Go owns its descriptors: it registers each
 * once, edge-triggered, and remembers what epoll has told. Here anybody may close a descriptor, and
 * the kernel may give its number to another file, without telling us. So nothing is remembered about a
 * descriptor: each wait arms it anew (see netpoll_epoll.c). */
#ifndef GOROUTINES_NETPOLL_H
#define GOROUTINES_NETPOLL_H

#include <stdbool.h>
#include <stdint.h>

enum netpoll_mode { NETPOLL_READ, NETPOLL_WRITE };

/* ---- for those who wait ---- */

/* Whether fd is ready now: 0; EAGAIN; EBADF: it is not open. Any thread; one system call. */
int netpoll_look(int fd, enum netpoll_mode mode);

/* Parks the calling goroutine until fd is ready, for one that has just seen that it is not (by
 * netpoll_look, or by an operation that would block). 0; else ETIMEDOUT; EINTR: interrupted, as
 * WAKE_INTERRUPT; EBADF: not open, or closed meanwhile; or why epoll does not take it. */
int netpoll_wait(int fd, enum netpoll_mode mode, int64_t deadline);

/* The file behind the number has changed: fd was closed, or replaced (dup2). Those who still wait for
 * the old one get EBADF; those who wait for its successor are not disturbed. Called after the fact, so
 * that nobody can begin to wait for the old file any more. Costs a load when nobody waits. */
void netpoll_close(int fd);

/* ---- for the scheduler ---- */

/* How many goroutines wait for descriptors: queued here and not yet woken. */
int64_t netpoll_waiters(void);
/* When the poller was last asked, rt_now() time. */
int64_t netpoll_last(void);

/* Wakes those whose descriptors are ready and returns how many that were. Does not wait; asks nothing
 * if somebody else is asking. The caller kicks. */
int netpoll_poll(void);

/* The right to wait in the poller. An M takes it before it makes itself known as the one to be
 * interrupted, and gives it back after it is no longer. False: another thread has it just now. */
bool netpoll_acquire(void);
void netpoll_release(void);
/* Until a descriptor is ready, `deadline`, netpoll_interrupt(), a signal or for no reason; returns how
 * many were woken. Between acquire and release. */
int netpoll_block(int64_t deadline);
/* Ends the netpoll_block() that is under way, or the next one. */
void netpoll_interrupt(void);

void netpoll_fork_child(void); /* forgets all waiters; the next wait makes a new epoll instance */

#endif
