/* The atomics of the lock-free parts (run queue, park word) behind one header, so that the model
 * checker in tests/model can put its own in their place and try every interleaving. */
#ifndef GOROUTINES_ATOMICS_H
#define GOROUTINES_ATOMICS_H

#ifdef GOROUTINES_MODEL
#include "model_atomics.h"
#else
#include <stdatomic.h>

#define ATOMIC(T) _Atomic(T)
#define at_load(p) atomic_load_explicit(p, memory_order_relaxed)
#define at_load_acq(p) atomic_load_explicit(p, memory_order_acquire)
#define at_store(p, v) atomic_store_explicit(p, v, memory_order_relaxed)
#define at_store_rel(p, v) atomic_store_explicit(p, v, memory_order_release)
#define at_swap(p, v) atomic_exchange_explicit(p, v, memory_order_acq_rel)
/* On failure *expected is what was found. */
#define at_cas(p, expected, v)                                                                     \
    atomic_compare_exchange_strong_explicit(p, expected, v, memory_order_acq_rel,                  \
                                            memory_order_acquire)
#endif

#endif
