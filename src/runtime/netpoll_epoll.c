/* The poller, on epoll(7).
 *
 * A wait is: look (poll(2), or the operation itself), arm, park. Arming is EPOLL_CTL_MOD, or ADD where
 * epoll does not know the descriptor, with EPOLLONESHOT: epoll tells once and is silent then.
 *
 * Why each wait arms anew, at the price of one system call (0.3 us beside the 2 us of a wait):
 *   - Who closes a descriptor does not tell us. The kernel then drops the registration, and a wait that
 *     relied on it would never end. Arming finds out: MOD says ENOENT if the number now belongs to
 *     another file, EBADF if to none. Those who still wait for the old file get EBADF then.
 *   - A file that lives on (dup, fork) keeps the old registration though its number belongs to another
 *     file by now, and no call can remove it. What it tells carries an old sequence number and is
 *     passed over; as it was one-shot, it comes once.
 *   - Arming is level-triggered: what became ready before it is told. So there is no edge to miss, and
 *     nothing to remember between waits. While nobody waits, epoll is silent.
 *
 * Invariants, while a pollfd's lock is not held:
 *   - somebody in its queues: epoll has (fd, current file) armed for the directions waited for, under
 *     the pollfd's present seq; or an event of that seq is in the hands of whoever polls; or the file
 *     was closed without netpoll_close();
 *   - an event of another seq means nothing: a later MOD has asked the kernel again.
 *
 * Lock order: polling -> pollfd -> scheduler. Arming, one epoll_ctl, happens under the pollfd's lock, for
 * which only those contend who wait for the same descriptor, and the one who polls. */
#include "netpoll.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "chan.h"
#include "proc_internal.h"

#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441 /* since Linux 5.11, the same everywhere */
#endif

#define EVENTS 128 /* taken from the kernel at a time */
#define NS_PER_S 1000000000
#define NS_PER_MS 1000000
/* A wait in an instance that was closed meanwhile (abandon) cannot be interrupted: it ends by itself. */
#define LONGEST_WAIT INT64_C(2000000000)

/* All that is known of one descriptor number. */
struct pollfd_state {
    struct rt_lock lock;     /* guards the rest */
    uint32_t seq;            /* of the last arming: what it tells is marked with it */
    bool known;              /* to epoll, as far as we know: a hint which call to try first */
    struct waitq waiters[2]; /* by enum netpoll_mode */
};

/* By number: chunks come when they are needed and stay. (4 MB of address space, touched as needed.) */
#define CHUNK_BITS 12
#define CHUNK_LEN (1 << CHUNK_BITS)
#define CHUNKS ((INT_MAX >> CHUNK_BITS) + 1)
static struct pollfd_state *_Atomic chunks[CHUNKS];
static _Atomic int chunks_end; /* no chunk from here on */

static struct {
    struct rt_lock polling; /* held by the one who asks epoll; only he may hold it for long */
    struct rt_lock opening; /* guards the making of the two descriptors */
    /* The epoll instance + 1; 0: none. A copy that is out of date is harmless: see abandon(). */
    _Atomic int epoll;
    /* Always writable, registered one-shot: arming it interrupts. Nothing is ever written to it, so
     * that no harm comes of it if somebody closes it and the number becomes a file. */
    _Atomic int waker;
    _Atomic int64_t waiters;
    _Atomic int64_t last;
    _Atomic bool no_pwait2;
} np;

#define WAKER_EVENT UINT64_MAX

/* errno is read here and nowhere else: after a park the thread, and with it errno, may be another. */
#define NOINLINE __attribute__((noinline))

static NOINLINE int control(int ep, int op, int fd, uint32_t events, uint64_t data) {
    struct epoll_event ev = {.events = events, .data.u64 = data};
    return epoll_ctl(ep, op, fd, &ev) == 0 ? 0 : errno;
}

/* ---- the table ---- */

static struct pollfd_state *find(int fd) {
    struct pollfd_state *chunk = atomic_load_explicit(&chunks[fd >> CHUNK_BITS],
                                                      memory_order_acquire);
    return chunk ? &chunk[fd & (CHUNK_LEN - 1)] : NULL;
}

static struct pollfd_state *find_or_make(int fd) {
    struct pollfd_state *known = find(fd), *none = NULL;
    if (known)
        return known;
    struct pollfd_state *chunk = calloc(CHUNK_LEN, sizeof *chunk);
    if (!chunk)
        return NULL;
    int index = fd >> CHUNK_BITS, end = atomic_load(&chunks_end);
    while (end <= index && !atomic_compare_exchange_weak(&chunks_end, &end, index + 1))
        ;
    if (!atomic_compare_exchange_strong(&chunks[index], &none, chunk))
        free(chunk);
    return find(fd);
}

static void each_chunk(void (*fn)(struct pollfd_state *chunk)) {
    for (int i = 0, n = atomic_load(&chunks_end); i < n; i++) {
        struct pollfd_state *chunk = atomic_load(&chunks[i]);
        if (chunk)
            fn(chunk);
    }
}

/* ---- waking; the pollfd's lock is held ---- */

static int wake_all(struct waitq *q, bool ok) {
    int taken = 0, woken = 0;
    for (struct sudog *s; (s = q->first); taken++) {
        waitq_remove(q, s);
        woken += g_wake(s->g, WAKE_CASE(0, ok));
    }
    /* After they were queued: else all might seem asleep in between. */
    if (taken)
        atomic_fetch_sub(&np.waiters, taken);
    return woken;
}

/* The file is gone. */
static int evict(struct pollfd_state *d) {
    d->known = false;
    return wake_all(&d->waiters[NETPOLL_READ], false) + wake_all(&d->waiters[NETPOLL_WRITE], false);
}

/* ---- the two descriptors ---- */

static int make_epoll(void) {
    int ep = epoll_create1(EPOLL_CLOEXEC);
    int waker = ep < 0 ? -1 : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int err = waker < 0 ? errno : control(ep, EPOLL_CTL_ADD, waker, EPOLLONESHOT, WAKER_EVENT);
    if (err) {
        if (waker >= 0)
            close(waker);
        if (ep >= 0)
            close(ep);
        return err;
    }
    atomic_store(&np.waker, waker);
    atomic_store(&np.epoll, ep + 1);
    return 0;
}

/* *ep: the epoll instance. */
static NOINLINE int opened(int *ep) {
    int err = 0;
    if (!atomic_load_explicit(&np.epoll, memory_order_acquire)) {
        rt_lock(&np.opening);
        if (!atomic_load(&np.epoll))
            err = make_epoll();
        rt_unlock(&np.opening);
    }
    *ep = atomic_load_explicit(&np.epoll, memory_order_acquire) - 1;
    return err;
}

static bool intact(int ep) {
    int err = control(ep, EPOLL_CTL_ADD, atomic_load(&np.waker), EPOLLONESHOT, WAKER_EVENT);
    if (err == 0)
        control(ep, EPOLL_CTL_DEL, atomic_load(&np.waker), 0, 0); /* somebody else's */
    return err == EEXIST;
}

static void evict_chunk(struct pollfd_state *chunk) {
    for (int i = 0; i < CHUNK_LEN; i++) {
        rt_lock(&chunk[i].lock);
        evict(&chunk[i]);
        rt_unlock(&chunk[i].lock);
    }
}

/* Somebody has closed our descriptors behind our back, as daemons do with all numbers: the next wait
 * makes new ones. Who waited is told that his is closed, as it most likely is. True: it was so. */
static NOINLINE bool abandon(int ep) {
    if (intact(ep))
        return false;
    rt_lock(&np.opening);
    bool mine = atomic_load(&np.epoll) == ep + 1;
    if (mine)
        atomic_store(&np.epoll, 0);
    rt_unlock(&np.opening);
    if (mine) {
        each_chunk(evict_chunk);
        sched_kick();
    }
    return true;
}

/* ---- arming; the pollfd's lock is held ---- */

static uint32_t interest(const struct pollfd_state *d) {
    return (d->waiters[NETPOLL_READ].first ? EPOLLIN : 0u) |
           (d->waiters[NETPOLL_WRITE].first ? EPOLLOUT : 0u);
}

static int modify(struct pollfd_state *d, int ep, int op, int fd, uint32_t events) {
    uint64_t data = (uint64_t)++d->seq << 32 | (uint32_t)fd;
    return control(ep, op, fd, events | EPOLLONESHOT, data);
}

/* For those who wait and for `events`. *evicted: how many waited for a file that is gone. */
static int arm(struct pollfd_state *d, int ep, int fd, uint32_t events, int *evicted) {
    int err = d->known ? modify(d, ep, EPOLL_CTL_MOD, fd, interest(d) | events) : ENOENT;
    *evicted = err ? evict(d) : 0;
    if (err == ENOENT)
        err = modify(d, ep, EPOLL_CTL_ADD, fd, events);
    if (err == EEXIST) /* the file was given this number again */
        err = modify(d, ep, EPOLL_CTL_MOD, fd, events);
    d->known = !err;
    return err;
}

/* For those who still wait. Returns how many were evicted. */
static int rearm(struct pollfd_state *d, int ep, int fd) {
    return interest(d) && modify(d, ep, EPOLL_CTL_MOD, fd, interest(d)) ? evict(d) : 0;
}

/* ---- waiting ---- */

NOINLINE int netpoll_look(int fd, enum netpoll_mode mode) {
    struct pollfd p = {.fd = fd, .events = mode == NETPOLL_READ ? POLLIN : POLLOUT};
    int n;
    do
        n = poll(&p, 1, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno;
    return n == 0 ? EAGAIN : p.revents & POLLNVAL ? EBADF : 0;
}

/* On the queue and ready to park, or why not. */
static int begin(struct pollfd_state *d, int ep, int fd, enum netpoll_mode mode, struct sudog *me) {
    int evicted;
    rt_lock(&d->lock);
    int err = arm(d, ep, fd, mode == NETPOLL_READ ? EPOLLIN : EPOLLOUT, &evicted);
    if (!err) {
        atomic_fetch_add(&np.waiters, 1);
        sched_park_begin(me->g, "IO wait", 0);
        waitq_push(&d->waiters[mode], me);
    }
    rt_unlock(&d->lock);
    if (evicted)
        sched_kick();
    return err;
}

/* Woken by a timer or an interrupt: still queued, unless a poller was about to wake it, too. */
static void leave_queue(struct pollfd_state *d, enum netpoll_mode mode, struct sudog *me) {
    rt_lock(&d->lock);
    if (me->queued) {
        waitq_remove(&d->waiters[mode], me);
        atomic_fetch_sub(&np.waiters, 1);
    }
    rt_unlock(&d->lock);
}

static int wait_on(struct pollfd_state *d, int ep, int fd, enum netpoll_mode mode,
                   int64_t deadline) {
    struct g *g = sched_enter();
    if (!g)
        return ENOMEM;
    if (g->is_thread)
        rt_fatal("netpoll_wait", "not a goroutine");
    struct sudog me = {.g = g};
    int err = begin(d, ep, fd, mode, &me);
    if (!err) {
        uint32_t woken = sched_park(g, deadline);
        if (woken == WAKE_TIMEOUT || woken == WAKE_INTERRUPT) {
            leave_queue(d, mode, &me);
            err = woken == WAKE_TIMEOUT ? ETIMEDOUT : EINTR;
        } else if (woken != WAKE_CASE(0, true)) {
            err = EBADF;
        }
    }
    sched_leave();
    return err;
}

int netpoll_wait(int fd, enum netpoll_mode mode, int64_t deadline) {
    struct pollfd_state *d = fd < 0 ? NULL : find_or_make(fd);
    if (!d)
        return fd < 0 ? EBADF : ENOMEM;
    for (;;) {
        int ep, err = opened(&ep);
        if (!err)
            err = wait_on(d, ep, fd, mode, deadline);
        if (err == EPERM)
            return 0; /* epoll does not take what is always ready: regular files */
        if ((err != EBADF && err != EINVAL) || !abandon(ep))
            return err;
        if (netpoll_look(fd, mode) == EBADF)
            return EBADF;
    }
}

void netpoll_close(int fd) {
    struct pollfd_state *d = fd < 0 ? NULL : find(fd);
    if (!d || !netpoll_waiters())
        return;
    sched_enter_to_wake();
    rt_lock(&d->lock);
    int evicted = rearm(d, atomic_load(&np.epoll) - 1, fd);
    rt_unlock(&d->lock);
    if (evicted)
        sched_kick();
    sched_leave();
}

/* ---- polling ---- */

int64_t netpoll_waiters(void) { return atomic_load(&np.waiters); }

int64_t netpoll_last(void) { return atomic_load_explicit(&np.last, memory_order_relaxed); }

static int dispatch(int ep, const struct epoll_event *ev) {
    int fd = (int)(uint32_t)ev->data.u64, woken = 0;
    struct pollfd_state *d = ev->data.u64 == WAKER_EVENT ? NULL : find(fd);
    if (!d)
        return 0;
    rt_lock(&d->lock);
    if (d->seq == ev->data.u64 >> 32) {
        if (ev->events & ~(uint32_t)EPOLLOUT)
            woken += wake_all(&d->waiters[NETPOLL_READ], true);
        if (ev->events & ~(uint32_t)EPOLLIN)
            woken += wake_all(&d->waiters[NETPOLL_WRITE], true);
        woken += rearm(d, ep, fd);
    }
    rt_unlock(&d->lock);
    return woken;
}

/* epoll_wait with a deadline in nanoseconds; before Linux 5.11 up to a millisecond late, for which
 * sysmon makes up. */
static int wait_until(int ep, struct epoll_event *events, int64_t deadline) {
    int64_t left = deadline > 0 ? deadline - rt_now() : 0;
    if (left > LONGEST_WAIT)
        left = LONGEST_WAIT;
    if (left > 0 && !atomic_load_explicit(&np.no_pwait2, memory_order_relaxed)) {
        struct timespec ts = {.tv_sec = left / NS_PER_S, .tv_nsec = left % NS_PER_S};
        int n = (int)syscall(SYS_epoll_pwait2, ep, events, EVENTS, &ts, NULL, (size_t)0);
        if (n >= 0 || errno != ENOSYS)
            return n;
        atomic_store(&np.no_pwait2, true);
    }
    return epoll_wait(ep, events, EVENTS, left > 0 ? (int)((left + NS_PER_MS - 1) / NS_PER_MS) : 0);
}

static NOINLINE int poll_until(int64_t deadline) {
    struct epoll_event events[EVENTS];
    int ep = atomic_load(&np.epoll) - 1, woken = 0;
    if (ep < 0)
        return 0;
    int n = wait_until(ep, events, deadline);
    atomic_store_explicit(&np.last, rt_now(), memory_order_relaxed);
    if (n < 0 && errno != EINTR)
        abandon(ep);
    for (int i = 0; i < n; i++)
        woken += dispatch(ep, &events[i]);
    return woken;
}

bool netpoll_acquire(void) { return rt_trylock(&np.polling); }

void netpoll_release(void) { rt_unlock(&np.polling); }

int netpoll_poll(void) {
    if (!netpoll_acquire())
        return 0;
    int woken = poll_until(0);
    netpoll_release();
    return woken;
}

int netpoll_block(int64_t deadline) { return poll_until(deadline); }

void netpoll_interrupt(void) {
    control(atomic_load(&np.epoll) - 1, EPOLL_CTL_MOD, atomic_load(&np.waker),
            EPOLLOUT | EPOLLONESHOT, WAKER_EVENT);
}

/* ---- fork ---- */

static void forget_chunk(struct pollfd_state *chunk) {
    memset(chunk, 0, CHUNK_LEN * sizeof *chunk);
}

/* The inherited instance is the parent's, too: it is let go untouched. */
void netpoll_fork_child(void) {
    int ep = atomic_load(&np.epoll) - 1;
    if (ep >= 0 && intact(ep)) {
        close(ep);
        close(atomic_load(&np.waker));
    }
    atomic_store(&np.epoll, 0);
    atomic_store(&np.waiters, 0);
    rt_lock_init(&np.polling);
    rt_lock_init(&np.opening);
    each_chunk(forget_chunk);
}
