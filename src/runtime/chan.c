#include "chan.h"

#include <stdlib.h>
#include <string.h>

#include "note.h"
#include "proc.h"

#define FIRST_ROOM 8

/* ---- queues of waiters ---- */

void waitq_push(struct waitq *q, struct sudog *s) {
    s->queued = true;
    s->next = NULL;
    s->prev = q->last;
    if (q->last)
        q->last->next = s;
    else
        q->first = s;
    q->last = s;
}

void waitq_remove(struct waitq *q, struct sudog *s) {
    if (!s->queued)
        return;
    s->queued = false;
    if (s->prev)
        s->prev->next = s->next;
    else
        q->first = s->next;
    if (s->next)
        s->next->prev = s->prev;
    else
        q->last = s->prev;
}

void waitq_after_fork(struct waitq *q, uint32_t *forks) {
    uint32_t now = sched_forks();
    if (*forks != now)
        *q = (struct waitq){0};
    *forks = now;
}

/* ---- the buffer ---- */

void chan_init(struct chan *c, size_t cap) {
    memset(c, 0, sizeof *c);
    c->cap = cap;
}

void chan_destroy(struct chan *c) {
    free(c->buf);
    c->buf = NULL;
}

static void buf_put(struct chan *c, void *value) {
    size_t at = c->head + c->len;
    c->buf[at < c->room ? at : at - c->room] = value;
    c->len++;
}

static void *buf_get(struct chan *c) {
    void *value = c->buf[c->head];
    if (++c->head == c->room)
        c->head = 0;
    c->len--;
    return value;
}

static size_t next_room(const struct chan *c) {
    size_t room = c->room ? 2 * c->room : FIRST_ROOM;
    return room < c->cap ? room : c->cap;
}

/* Lock held. Moves the values to a larger ring; returns the one to be freed. */
static void **move_to(struct chan *c, void **buf, size_t room) {
    void **old = c->buf;
    if (c->len) {
        size_t upper = c->room - c->head < c->len ? c->room - c->head : c->len;
        memcpy(buf, old + c->head, upper * sizeof *buf);
        memcpy(buf + upper, old, (c->len - upper) * sizeof *buf);
    }
    c->buf = buf;
    c->room = room;
    c->head = 0;
    return old;
}

bool chan_grow(struct chan *c) {
    rt_lock(&c->lock);
    size_t had = c->room, room = next_room(c);
    rt_unlock(&c->lock);
    if (room > SIZE_MAX / sizeof(void *))
        return false;
    void **buf = malloc(room * sizeof *buf);
    if (!buf)
        return false;
    rt_lock(&c->lock);
    void **unused = c->room == had ? move_to(c, buf, room) : buf; /* else another one grew it */
    rt_unlock(&c->lock);
    free(unused);
    return true;
}

/* ---- one step, lock held ---- */

/* Hands value to the first receiver that still waits. */
static bool hand_to_receiver(struct chan *c, void *value) {
    struct sudog *s;
    while ((s = c->recvq.first)) {
        waitq_remove(&c->recvq, s);
        s->elem = value;
        if (g_wake(s->g, WAKE_CASE(s->index, true)))
            return true; /* s is gone */
    }
    return false;
}

/* Takes the value of the first sender that still waits. */
static bool take_from_sender(struct chan *c, void **value) {
    struct sudog *s;
    while ((s = c->sendq.first)) {
        waitq_remove(&c->sendq, s);
        void *elem = s->elem;
        if (g_wake(s->g, WAKE_CASE(s->index, true))) {
            *value = elem;
            return true;
        }
    }
    return false;
}

enum chan_result chan_send_locked(struct chan *c, void *value, bool *woke) {
    if (c->closed)
        return CHAN_CLOSED;
    if (c->recvq.first && hand_to_receiver(c, value)) {
        *woke = true;
        return CHAN_OK;
    }
    if (c->len < c->room) {
        buf_put(c, value);
        return CHAN_OK;
    }
    return c->len < c->cap ? CHAN_NO_MEMORY : CHAN_WOULD_BLOCK;
}

enum chan_result chan_recv_locked(struct chan *c, void **value, bool *woke) {
    if (c->len) {
        *value = buf_get(c);
        void *moved_up;
        if (c->sendq.first && take_from_sender(c, &moved_up)) {
            buf_put(c, moved_up);
            *woke = true;
        }
        return CHAN_OK;
    }
    if (c->sendq.first && take_from_sender(c, value)) {
        *woke = true;
        return CHAN_OK;
    }
    return c->closed ? CHAN_CLOSED : CHAN_WOULD_BLOCK;
}

/* No P is needed for this: no queue of the scheduler is touched. */
bool chan_send_quickly(struct chan *c, void *value) {
    if (!c->cap)
        return false;
    rt_lock(&c->lock);
    bool quick = c->len < c->room && !c->closed && !c->recvq.first;
    if (quick)
        buf_put(c, value);
    rt_unlock(&c->lock);
    return quick;
}

bool chan_recv_quickly(struct chan *c, void **value) {
    if (!c->cap)
        return false;
    rt_lock(&c->lock);
    bool quick = c->len && !c->sendq.first;
    if (quick)
        *value = buf_get(c);
    rt_unlock(&c->lock);
    return quick;
}

/* ---- waiting ---- */

static enum chan_result result_of(uint32_t woken) {
    if (woken == WAKE_TIMEOUT)
        return CHAN_TIMEOUT;
    if (woken == WAKE_INTERRUPT)
        return CHAN_INTERRUPTED;
    return woken & 1 ? CHAN_OK : CHAN_CLOSED;
}

/* Lock held; released. */
static enum chan_result wait_in(struct waitq *q, struct sudog *s, const char *reason,
                                int64_t deadline) {
    struct chan *c = s->c;
    sched_park_begin(s->g, reason, 0);
    waitq_push(q, s);
    rt_unlock(&c->lock);
    enum chan_result r = result_of(sched_park(s->g, deadline));
    if (r == CHAN_TIMEOUT || r == CHAN_INTERRUPTED) {
        rt_lock(&c->lock);
        waitq_remove(q, s);
        rt_unlock(&c->lock);
    }
    return r;
}

/* Lock held; released. */
static enum chan_result send_or_wait(struct g *g, struct chan *c, void *value, int64_t deadline) {
    bool woke = false;
    enum chan_result r = chan_send_locked(c, value, &woke);
    if (r == CHAN_WOULD_BLOCK && deadline != CHAN_POLL) {
        struct sudog s = {.g = g, .c = c, .elem = value};
        return wait_in(&c->sendq, &s, "chan send", deadline);
    }
    rt_unlock(&c->lock);
    if (woke)
        sched_kick();
    return r;
}

enum chan_result chan_send(struct chan *c, void *value, int64_t deadline) {
    struct g *g = sched_enter();
    if (!g)
        return CHAN_NO_MEMORY;
    enum chan_result r;
    for (;;) {
        rt_lock(&c->lock);
        r = send_or_wait(g, c, value, deadline);
        if (r != CHAN_NO_MEMORY || !chan_grow(c))
            break;
    }
    sched_leave();
    return r;
}

enum chan_result chan_recv(struct chan *c, void **value, int64_t deadline) {
    struct g *g = sched_enter();
    if (!g)
        return CHAN_NO_MEMORY;
    bool woke = false;
    rt_lock(&c->lock);
    enum chan_result r = chan_recv_locked(c, value, &woke);
    if (r == CHAN_WOULD_BLOCK && deadline != CHAN_POLL) {
        struct sudog s = {.g = g, .c = c};
        r = wait_in(&c->recvq, &s, "chan receive", deadline);
        *value = s.elem;
    } else {
        rt_unlock(&c->lock);
        if (woke)
            sched_kick();
    }
    sched_leave();
    return r;
}

/* ---- closing and looking ---- */

static void wake_all(struct waitq *q) {
    struct sudog *s;
    while ((s = q->first)) {
        uint32_t index = s->index;
        waitq_remove(q, s);
        g_wake(s->g, WAKE_CASE(index, false));
    }
}

bool chan_close(struct chan *c) {
    sched_enter();
    rt_lock(&c->lock);
    bool was_open = !c->closed;
    c->closed = true;
    if (was_open) {
        wake_all(&c->recvq);
        wake_all(&c->sendq);
    }
    rt_unlock(&c->lock);
    if (was_open)
        sched_kick();
    sched_leave();
    return was_open;
}

size_t chan_len(struct chan *c) {
    rt_lock(&c->lock);
    size_t len = c->len;
    rt_unlock(&c->lock);
    return len;
}

bool chan_is_closed(struct chan *c) {
    rt_lock(&c->lock);
    bool closed = c->closed;
    rt_unlock(&c->lock);
    return closed;
}

bool chan_try_send_word(struct chan *c, void *value) {
    bool woke = false;
    rt_lock(&c->lock);
    enum chan_result r = chan_send_locked(c, value, &woke);
    rt_unlock(&c->lock);
    return r == CHAN_OK;
}

bool chan_has_receiver(struct chan *c) {
    rt_lock(&c->lock);
    bool has = c->recvq.first != NULL;
    rt_unlock(&c->lock);
    return has;
}

bool chan_take(struct chan *c, void **value) {
    rt_lock(&c->lock);
    bool any = c->len > 0;
    if (any)
        *value = buf_get(c);
    rt_unlock(&c->lock);
    return any;
}

int chan_visit(struct chan *c, int (*fn)(void *value, void *arg), void *arg) {
    int r = 0;
    rt_lock(&c->lock);
    for (size_t i = 0; i < c->len && r == 0; i++)
        r = fn(c->buf[(c->head + i) % c->room], arg);
    for (struct sudog *s = c->sendq.first; s && r == 0; s = s->next)
        r = fn(s->elem, arg);
    rt_unlock(&c->lock);
    return r;
}
