/* Takes the place of <stdatomic.h> in the runtime's lock-free files when they are compiled with
 * -DGOROUTINES_MODEL: each access is a step of the checker (interleave.h), at which another thread may
 * go on instead. The variables are plain ones, as only one thread runs at a time.
 *
 * -DBROKEN_CAS and -DBROKEN_SWAP tear these operations apart: the checker must notice. */
#ifndef GOROUTINES_MODEL_ATOMICS_H
#define GOROUTINES_MODEL_ATOMICS_H

#include <stdbool.h>
#include <stdint.h>

/* The calling thread is about to touch shared memory. */
void model_step(void);
/* It has read this: what it does next may depend on it. */
void model_saw(uint64_t value);

#ifdef BROKEN_CAS
#define model_tear_cas() model_step()
#else
#define model_tear_cas() ((void)0)
#endif
#ifdef BROKEN_SWAP
#define model_tear_swap() model_step()
#else
#define model_tear_swap() ((void)0)
#endif

#define ATOMIC(T) __typeof__(T)

#define at_load(p)                                                                                 \
    __extension__({                                                                                \
        model_step();                                                                              \
        __typeof__(*(p)) at_found = *(p);                                                          \
        model_saw((uint64_t)at_found);                                                             \
        at_found;                                                                                  \
    })
#define at_load_acq(p) at_load(p)

#define at_store(p, v) (model_step(), (void)(*(p) = (v)))
#define at_store_rel(p, v) at_store(p, v)

#define at_swap(p, v)                                                                              \
    __extension__({                                                                                \
        model_step();                                                                              \
        __typeof__(*(p)) at_found = *(p);                                                          \
        model_saw((uint64_t)at_found);                                                             \
        model_tear_swap();                                                                         \
        *(p) = (v);                                                                                \
        at_found;                                                                                  \
    })

#define at_cas(p, expected, v)                                                                     \
    __extension__({                                                                                \
        model_step();                                                                              \
        __typeof__(*(p)) at_found = *(p);                                                          \
        bool at_same = at_found == *(expected);                                                    \
        model_saw((uint64_t)at_found);                                                             \
        if (at_same) {                                                                             \
            model_tear_cas();                                                                      \
            *(p) = (v);                                                                            \
        } else {                                                                                   \
            *(expected) = at_found;                                                                \
        }                                                                                          \
        at_same;                                                                                   \
    })

#endif
