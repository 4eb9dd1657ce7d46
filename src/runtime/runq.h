/* A P's local run queue: a ring of goroutines and `runnext`, as in Go's runtime/proc.go.
 *
 * One owner (the M that has the P) puts and gets; any M may grab half. head is moved by compare and
 * swap by owner and thieves; tail is written by the owner only. A slot between head and tail is
 * written before tail is published (release) and read before head is moved past it, so a thief that
 * lost the race has read garbage and throws it away. */
#ifndef GOROUTINES_RUNQ_H
#define GOROUTINES_RUNQ_H

#include <stdbool.h>
#include <stdint.h>

#include "atomics.h"

#ifndef RUNQ_SIZE
#define RUNQ_SIZE 256 /* a power of two; 4 in one of the test builds, for more races */
#endif

struct g;

struct runq {
    _Alignas(64) ATOMIC(uint32_t) head;
    ATOMIC(uint32_t) tail;
    /* Runs before the ring: who was just made ready by the running goroutine and will find what they
     * share in the cache. */
    ATOMIC(struct g *) next;
    ATOMIC(struct g *) ring[RUNQ_SIZE];
};

void runq_init(struct runq *q);
/* Owner. False: full. */
bool runq_put(struct runq *q, struct g *g);
/* Owner. Makes g the next one; returns the goroutine that it pushes out (to be put), or NULL. */
struct g *runq_put_next(struct runq *q, struct g *g);
/* Owner. */
struct g *runq_get(struct runq *q);
/* Owner; from the ring only. */
struct g *runq_get_ring(struct runq *q);
/* Owner, ring full: takes half of it into out[RUNQ_SIZE / 2]; returns how many. */
uint32_t runq_take_half(struct runq *q, struct g **out);
/* Any M: takes half of `from` (rounded up; runnext only if there is nothing else and `take_next`)
 * into out[RUNQ_SIZE / 2]; returns how many. */
uint32_t runq_grab(struct runq *from, struct g **out, bool take_next);
/* A snapshot. */
uint32_t runq_len(struct runq *q);

#endif
