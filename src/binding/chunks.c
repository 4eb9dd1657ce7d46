/* Chunks of the interpreter's data stack are kept for the next one.
 *
 * A thread state whose chunk is full maps another one, and unmaps it when the call that needed it returns.
 * A loop of calls just at that depth would do so for each call, which takes a hundred times as long as the
 * call; with the small first chunk of a goroutine (compat.h) that depth is a usual one. */
#include <stdatomic.h>

#include "binding.h"

#define CHUNK_BYTES 16384 /* as in Python/pystate.c; its larger ones are rare */
#define KEPT 8

static PyObjectArenaAllocator original;
/* Taken and put by any thread: a thread state may be deleted without the GIL. */
static _Atomic(void *) kept[KEPT];

static void *chunk_alloc(void *ctx, size_t size) {
    (void)ctx;
    for (int i = 0; size == CHUNK_BYTES && i < KEPT; i++) {
        void *chunk = atomic_load_explicit(&kept[i], memory_order_relaxed);
        if (chunk && (chunk = atomic_exchange(&kept[i], NULL)))
            return chunk;
    }
    return original.alloc(original.ctx, size);
}

static void chunk_free(void *ctx, void *chunk, size_t size) {
    (void)ctx;
    for (int i = 0; size == CHUNK_BYTES && i < KEPT; i++) {
        void *none = NULL;
        if (!atomic_load_explicit(&kept[i], memory_order_relaxed) &&
            atomic_compare_exchange_strong(&kept[i], &none, chunk))
            return;
    }
    original.free(original.ctx, chunk, size);
}

void chunks_init(void) {
    PyObjectArenaAllocator ours = {.alloc = chunk_alloc, .free = chunk_free};
    PyObject_GetArenaAllocator(&original);
    PyObject_SetArenaAllocator(&ours);
}
