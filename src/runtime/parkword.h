/* The park word of a G: whether its wait is over, and who has ended it (see park.c).
 *
 * Low to high: the state (2 bits), flags, and in the upper half what it was woken with. Apart from the
 * rest so that tests/model can try every interleaving of these functions. */
#ifndef GOROUTINES_PARKWORD_H
#define GOROUTINES_PARKWORD_H

#include <stdbool.h>
#include <stdint.h>

#include "atomics.h"

enum { PARK_NONE, PARK_LEAVING, PARK_PARKED, PARK_CLAIMED, PARK_STATES = 3 };

typedef ATOMIC(uint64_t) parkword;

static inline unsigned parkword_state(uint64_t word) { return word & PARK_STATES; }

static inline void parkword_begin(parkword *w, uint32_t flags) {
    at_store_rel(w, PARK_LEAVING | flags);
}

/* Ends the wait, unless somebody has, or one of the flags `unless` is set. True: *found is the word
 * before. */
static inline bool parkword_claim(parkword *w, uint32_t with, uint32_t unless, uint64_t *found) {
    *found = at_load(w);
    while ((parkword_state(*found) == PARK_LEAVING || parkword_state(*found) == PARK_PARKED) &&
           !(*found & unless))
        if (at_cas(w, found, PARK_CLAIMED | (uint64_t)with << 32))
            return true;
    return false;
}

/* The M has left. True: the wait is over already. */
static inline bool parkword_left(parkword *w) {
    uint64_t word = at_load(w);
    while (parkword_state(word) == PARK_LEAVING)
        if (at_cas(w, &word, (word & ~(uint64_t)PARK_STATES) | PARK_PARKED))
            return false;
    return true;
}

/* The wait is over: with what. */
static inline uint32_t parkword_end(parkword *w) {
    uint64_t word = at_load_acq(w);
    at_store(w, PARK_NONE);
    return (uint32_t)(word >> 32);
}

#endif
