#include "runq.h"

#include <stddef.h>

void runq_init(struct runq *q) {
    at_store(&q->head, 0);
    at_store(&q->tail, 0);
    at_store(&q->next, NULL);
}

static ATOMIC(struct g *) * slot(struct runq *q, uint32_t i) { return &q->ring[i % RUNQ_SIZE]; }

bool runq_put(struct runq *q, struct g *g) {
    uint32_t head = at_load_acq(&q->head); /* what thieves took is free to be overwritten */
    uint32_t tail = at_load(&q->tail);
    if (tail - head >= RUNQ_SIZE)
        return false;
    at_store(slot(q, tail), g);
    at_store_rel(&q->tail, tail + 1);
    return true;
}

struct g *runq_put_next(struct runq *q, struct g *g) { return at_swap(&q->next, g); }

struct g *runq_get_ring(struct runq *q) {
    for (;;) {
        uint32_t head = at_load_acq(&q->head);
        uint32_t tail = at_load(&q->tail);
        if (head == tail)
            return NULL;
        struct g *g = at_load(slot(q, head));
        if (at_cas(&q->head, &head, head + 1))
            return g;
    }
}

struct g *runq_get(struct runq *q) {
    /* Only the owner sets runnext to something: a plain load tells whether there is any. */
    if (at_load(&q->next)) {
        struct g *g = at_swap(&q->next, NULL);
        if (g)
            return g;
    }
    return runq_get_ring(q);
}

uint32_t runq_take_half(struct runq *q, struct g **out) {
    uint32_t head = at_load_acq(&q->head);
    uint32_t n = (at_load(&q->tail) - head) / 2;
    for (uint32_t i = 0; i < n; i++)
        out[i] = at_load(slot(q, head + i));
    return at_cas(&q->head, &head, head + n) ? n : 0;
}

uint32_t runq_grab(struct runq *from, struct g **out, bool take_next) {
    for (;;) {
        uint32_t head = at_load_acq(&from->head);
        uint32_t tail = at_load_acq(&from->tail);
        uint32_t n = tail - head;
        n -= n / 2;
        if (n == 0) {
            struct g *g = take_next ? at_swap(&from->next, NULL) : NULL;
            out[0] = g;
            return g != NULL;
        }
        if (n > RUNQ_SIZE / 2)
            continue; /* head and tail were read apart */
        for (uint32_t i = 0; i < n; i++)
            out[i] = at_load(slot(from, head + i));
        if (at_cas(&from->head, &head, head + n))
            return n;
    }
}

uint32_t runq_len(struct runq *q) {
    uint32_t n = at_load_acq(&q->tail) - at_load_acq(&q->head);
    return (n > RUNQ_SIZE ? 0 : n) + (at_load(&q->next) != NULL);
}
