/* Channels and select, after Go's runtime/chan.go and select.go.
 *
 * A channel's lock guards its fields and the queues, and the elem and queued fields of the sudogs in
 * them. Invariants, while it is not held:
 *   - at least one of sendq and recvq is empty, but for waiters that have been woken elsewhere (by a
 *     timeout, another case of their select, ...) and have not yet taken themselves out;
 *   - buffered: if the buffer is not empty, no waiter is in recvq; if it is not full, none in sendq;
 *   - closed: no waiter in either.
 *
 * Values are opaque words. A send that succeeds passes its value on; one that does not leaves it with
 * the caller. Nothing is allocated, and no host called, while a channel's lock is held. */
#ifndef GOROUTINES_CHAN_H
#define GOROUTINES_CHAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lock.h"

struct g;
struct chan;

/* A goroutine (or thread) in a channel's queue, on its own stack. */
struct sudog {
    struct g *g;
    struct chan *c;
    struct sudog *prev, *next;
    void *elem;     /* sender: the value; receiver: where a value is left for it */
    uint32_t index; /* its case in a select */
    bool queued;
};

struct waitq {
    struct sudog *first, *last;
};

struct chan {
    struct rt_lock lock;
    bool closed;
    size_t cap;       /* values it may hold */
    size_t room;      /* slots that buf has: grows up to cap */
    size_t len, head; /* values in buf; the oldest */
    void **buf;
    struct waitq sendq, recvq;
};

enum chan_result {
    CHAN_OK,
    CHAN_CLOSED,
    CHAN_WOULD_BLOCK,
    CHAN_TIMEOUT,
    CHAN_INTERRUPTED, /* nothing was handed over */
    CHAN_NO_MEMORY,
};

/* Deadlines: an rt_now() time, NOTE_FOREVER, or: */
#define CHAN_POLL INT64_MIN

void chan_init(struct chan *c, size_t cap);
/* Nobody waits in it. The values that are still in the buffer are the caller's: chan_take(). */
void chan_destroy(struct chan *c);

enum chan_result chan_send(struct chan *c, void *value, int64_t deadline);
/* CHAN_CLOSED: closed and drained. */
enum chan_result chan_recv(struct chan *c, void **value, int64_t deadline);
/* The common case of a buffered channel, in which nobody waits or is woken and nothing is allocated:
 * true if it was that. */
bool chan_send_quickly(struct chan *c, void *value);
bool chan_recv_quickly(struct chan *c, void **value);
/* False: it was closed. */
bool chan_close(struct chan *c);
size_t chan_len(struct chan *c);
bool chan_is_closed(struct chan *c);

/* From any thread, a timer's too: sends if that needs no waiting and no memory. The caller kicks. */
bool chan_try_send_word(struct chan *c, void *value);
/* Whether somebody waits to receive. */
bool chan_has_receiver(struct chan *c);
/* Takes a value out of the buffer if there is one (for draining; waiting senders do not move up). */
bool chan_take(struct chan *c, void **value);
/* Calls fn for each value in the buffer and in waiting senders, with the lock held. */
int chan_visit(struct chan *c, int (*fn)(void *value, void *arg), void *arg);

/* ---- select ---- */

enum select_dir { SELECT_RECV, SELECT_SEND };

struct select_case {
    struct chan *c; /* NULL: never ready */
    enum select_dir dir;
    void *value; /* send: what; recv: what came, if this case was chosen */
    /* select's own. */
    struct sudog sudog;
};

struct select_outcome {
    enum chan_result result; /* OK, CLOSED (of case `index`), WOULD_BLOCK, TIMEOUT, ... */
    uint32_t index;
};

/* Exactly one case comes to pass, or none. order: room for 2 * n uint32. */
struct select_outcome select_go(struct select_case *cases, uint32_t n, uint32_t *order,
                                int64_t deadline);

/* ---- between chan.c and select.c ---- */

void waitq_push(struct waitq *q, struct sudog *s);
void waitq_remove(struct waitq *q, struct sudog *s);
/* First thing under the lock of a queue that keeps *forks: in a forked child those who waited do not
 * exist, and the stacks of their threads may have been used again. */
void waitq_after_fork(struct waitq *q, uint32_t *forks);
/* Lock held. OK/CLOSED: done. WOULD_BLOCK: has to wait. NO_MEMORY: the buffer must grow first.
 * *woke: somebody was woken. */
enum chan_result chan_send_locked(struct chan *c, void *value, bool *woke);
enum chan_result chan_recv_locked(struct chan *c, void **value, bool *woke);
/* Lock not held: makes room for one more value. False when memory is out. */
bool chan_grow(struct chan *c);

#endif
