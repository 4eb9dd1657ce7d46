#include "stack.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "lock.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102 /* Linux 6.13 */
#endif
#define THIS_PROCESS (-10000) /* PIDFD_SELF_THREAD, Linux 6.14 */

enum {
    MAX_ARENAS = 16384, /* 16 TiB in arenas of full size; the table's memory is untouched */
    CLASSES = 100,      /* four per power of two, from 4 pages up */
    BATCH = 32,         /* stacks taken out of the pool at a time by stack_scavenge, */
    GUARD_BATCH = 32,   /* and guards installed at a time, at most */
    SCAVENGE_MAX = 256, /* stacks released per call: about a millisecond */
};

static const size_t ARENA_MIN = (size_t)64 << 20, ARENA_MAX = (size_t)1 << 30;
static const size_t ARENA_MIN_SLOTS = 16;

/* As much as one page-table page maps with 4 KiB pages: a slot that does not straddle it has its
 * guard and its top page in one page table. */
static const size_t ALIGN_MAX = (size_t)2 << 20;

static const size_t GUARD_MAX = (size_t)64 << 10;

/* A place in a pool's lists.  It is not kept in the stack itself, where it would touch a page that
 * the kernel has been given back.  There is one for each slot that was ever used, so stack_free
 * always finds one. */
struct node {
    struct node *prev, *next; /* in a circular list with a sentinel; next alone in `spare` */
    char *lo;                 /* start of the slot; unset in `spare` */
};

/* The slots of one size.  All fields but slot are guarded by pools_lock. */
struct pool {
    size_t slot;              /* bytes, guard included; constant */
    struct node dirty, clean; /* sentinels: pooled stacks with and without touched pages */
    struct node releasing;    /* taken from dirty by stack_scavenge, on the way to clean */
    struct node *spare;       /* nodes of the slots that are in use */
    size_t ndirty;            /* length of dirty */
    struct arena *fresh;      /* arenas with slots that were never used, linked by next */
    size_t next_slots;        /* how many the next arena should have; 0: none made so far */
};

/* A mapping full of slots, never unmapped.  Written once before arena_count counts it, except for
 * used, guarded and next, which are guarded by pools_lock. */
struct arena {
    char *lo, *hi;
    struct pool *pool;
    struct node *nodes; /* one for each slot */
    size_t used;        /* slots handed out so far; the others are fresh */
    size_t guarded;     /* those that are fresh and before this one have their guards */
    struct arena *next; /* in pool->fresh */
};

/* Held for list operations only, never over a system call. */
static struct rt_lock pools_lock;
static struct pool pools[CLASSES];
static _Atomic size_t idle_dirty; /* sum of ndirty, written under pools_lock */

/* Append-only: written under pools_lock, read by signal handlers up to arena_count. */
static struct arena arenas[MAX_ARENAS];
static _Atomic size_t arena_count;

/* Set once, before the first stack. */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static size_t page;
static enum guard_kind { GUARD_NONE, GUARD_MPROTECT, GUARD_MADVISE } guard_kind;
static long guard_mappings_max; /* for guards of the mprotect kind */
static _Atomic long guard_mappings;

/* ---- Setting up. ---- */

static void *map(size_t size, int flags) {
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

/* Does MADV_GUARD_INSTALL do what it says?  Emulators accept any advice and ignore it, so let a
 * system call write to such a page. */
static bool can_madvise_guards(void) {
    char *p = map(page, 0);
    if (p == NULL)
        return false;
    bool works = madvise(p, page, MADV_GUARD_INSTALL) == 0 &&
                 syscall(SYS_clock_gettime, CLOCK_MONOTONIC, p) == -1 && errno == EFAULT;
    munmap(p, page);
    return works;
}

static enum guard_kind choose_guard_kind(void) {
    const char *wish = getenv("GOROUTINES_STACK_GUARD");
    if (wish != NULL && strcmp(wish, "none") == 0)
        return GUARD_NONE;
    if (wish != NULL && strcmp(wish, "mprotect") == 0)
        return GUARD_MPROTECT;
    return can_madvise_guards() ? GUARD_MADVISE : GUARD_MPROTECT;
}

static long max_map_count(void) {
    long count = 65530; /* the kernel's default */
    FILE *f = fopen("/proc/sys/vm/max_map_count", "re");
    if (f != NULL) {
        if (fscanf(f, "%ld", &count) != 1)
            count = 65530;
        fclose(f);
    }
    return count;
}

static void list_init(struct node *list) { list->prev = list->next = list; }

static void setup(void) {
    page = (size_t)sysconf(_SC_PAGESIZE);
    guard_kind = choose_guard_kind();
    guard_mappings_max = max_map_count() / 2;
    for (size_t i = 0; i < CLASSES; i++) {
        pools[i].slot = ((4 + i % 4) << (i / 4)) * page;
        list_init(&pools[i].dirty);
        list_init(&pools[i].clean);
        list_init(&pools[i].releasing);
    }
}

/* The pool whose slots have `size` bytes or the next more; NULL when none is so big. */
static struct pool *pool_for(size_t size) {
    size_t pages = size / page + (size % page != 0);
    if (pages < 4)
        pages = 4;
    unsigned shift = 61 - (unsigned)__builtin_clzll(pages); /* pages >> shift is 4 to 7 */
    size_t steps = (pages >> shift) + ((pages & (((size_t)1 << shift) - 1)) != 0);
    size_t class = shift * 4 + (steps - 4); /* 8 steps are 4 of the next power of two */
    return class < CLASSES ? &pools[class] : NULL;
}

/* The bytes of a slot's guard.  A C function may move the stack pointer by its whole frame before
 * it touches memory (list.sort 4.3 KB, socket.gethostbyname_ex 16 KB, select.select 49 KB in builds
 * without -fstack-clash-protection), and must not step over the guard.  At most an eighth of the
 * slot, so that stack_bytes can tell the slot from what is usable. */
static size_t guard_bytes(size_t slot) {
    if (slot < 16 * page)
        return page;
    size_t bytes = slot / 16 / page * page;
    if (bytes < 2 * page)
        return 2 * page;
    return bytes < GUARD_MAX ? bytes : GUARD_MAX;
}

/* ---- Lists.  pools_lock is held. ---- */

static void push(struct node *list, struct node *n) {
    n->prev = list;
    n->next = list->next;
    n->next->prev = list->next = n;
}

static struct node *unlink_node(struct node *n) {
    n->prev->next = n->next;
    n->next->prev = n->prev;
    return n;
}

static void push_spare(struct pool *p, struct node *n) {
    n->next = p->spare;
    p->spare = n;
}

static void count_dirty(struct pool *p, size_t by) {
    p->ndirty += by;
    atomic_store_explicit(&idle_dirty, atomic_load_explicit(&idle_dirty, memory_order_relaxed) + by,
                          memory_order_relaxed);
}

static void push_dirty(struct pool *p, struct node *n) {
    push(&p->dirty, n);
    count_dirty(p, 1);
}

/* ---- Arenas. ---- */

/* Maps `size` bytes at `skew` from a multiple of `align` (a power of two), by mapping more and
 * cutting both ends. */
static char *map_aligned(size_t size, size_t align, size_t skew) {
    char *p = map(size + align - page, MAP_NORESERVE | MAP_STACK);
    if (p == NULL)
        return NULL;
    size_t head = (skew - (uintptr_t)p) & (align - 1), tail = align - page - head;
    if (head > 0)
        munmap(p, head);
    if (tail > 0)
        munmap(p + head + size, tail);
    return p + head;
}

/* Maps an arena of up to `slots` slots, of fewer while address space does not suffice. */
static bool arena_map(struct arena *a, struct pool *p, size_t slots) {
    size_t align = p->slot & -p->slot, skew = 0;
    if (align > ALIGN_MAX) {
        /* Such a slot straddles page tables. Let its guard share one with the top page of the slot
         * below. */
        align = ALIGN_MAX;
        skew = ALIGN_MAX / 2;
    }
    for (; slots > 0; slots /= 2) {
        struct node *nodes = map(slots * sizeof *nodes, MAP_NORESERVE);
        char *lo = nodes != NULL ? map_aligned(slots * p->slot, align, skew) : NULL;
        if (lo != NULL) {
            /* A huge page would make each goroutine cost 2 MiB.  Kernels without them refuse. */
            madvise(lo, slots * p->slot, MADV_NOHUGEPAGE);
            *a = (struct arena){.lo = lo, .hi = lo + slots * p->slot, .pool = p, .nodes = nodes};
            return true;
        }
        if (nodes != NULL)
            munmap(nodes, slots * sizeof *nodes);
    }
    return false;
}

static size_t clamp_slots(const struct pool *p, size_t slots) {
    size_t min = ARENA_MIN / p->slot, max = ARENA_MAX / p->slot;
    if (slots == 0)
        slots = min;
    if (slots > max)
        slots = max;
    return slots < ARENA_MIN_SLOTS ? ARENA_MIN_SLOTS : slots;
}

/* Publishes an arena; false when the table is full. */
static bool arena_append(const struct arena *new) {
    struct pool *p = new->pool;
    rt_lock(&pools_lock);
    size_t n = atomic_load_explicit(&arena_count, memory_order_relaxed);
    bool fits = n < MAX_ARENAS;
    if (fits) {
        arenas[n] = *new;
        arenas[n].next = p->fresh;
        p->fresh = &arenas[n];
        p->next_slots = (size_t)(new->hi - new->lo) / p->slot * 2;
        atomic_store_explicit(&arena_count, n + 1, memory_order_release);
    }
    rt_unlock(&pools_lock);
    return fits;
}

/* Adds an arena to the pool.  Two threads may do it at the same time: the second one's slots are
 * used later. */
static bool pool_grow(struct pool *p) {
    struct arena a;
    rt_lock(&pools_lock);
    size_t slots = p->next_slots;
    rt_unlock(&pools_lock);
    if (!arena_map(&a, p, clamp_slots(p, slots)))
        return false;
    if (arena_append(&a))
        return true;
    munmap(a.nodes, (size_t)(a.hi - a.lo) / p->slot * sizeof *a.nodes);
    munmap(a.lo, (size_t)(a.hi - a.lo));
    return false;
}

/* The arena that addr lies in, or NULL. */
static const struct arena *arena_of(const void *addr) {
    const char *at = addr;
    size_t n = atomic_load_explicit(&arena_count, memory_order_acquire);
    for (size_t i = 0; i < n; i++) {
        if (at >= arenas[i].lo && at < arenas[i].hi)
            return &arenas[i];
    }
    return NULL;
}

/* ---- Guards. ---- */

/* A guard is a mapping, and so is what it cuts off: count two.  Where the mapping cannot be split
 * any more the stack stays unguarded. */
static void guard_mprotect(char *slot, size_t bytes) {
    if (atomic_load_explicit(&guard_mappings, memory_order_relaxed) + 2 > guard_mappings_max)
        return;
    if (mprotect(slot, bytes, PROT_NONE) == 0)
        atomic_fetch_add_explicit(&guard_mappings, 2, memory_order_relaxed);
}

static void guard_install(char *slot, size_t bytes) {
    if (guard_kind == GUARD_NONE)
        return;
    /* Locked memory (mlockall) cannot be marked, but protected. */
    if (guard_kind == GUARD_MADVISE && madvise(slot, bytes, MADV_GUARD_INSTALL) == 0)
        return;
    guard_mprotect(slot, bytes);
}

/* One system call for the guards of n slots from slot on: half the price.  False: not on this kernel,
 * or not for this memory; some may be there all the same. */
static bool guard_several(char *slot, size_t size, size_t n) {
    static _Atomic bool refused;
    size_t bytes = guard_bytes(size);
    struct iovec guards[GUARD_BATCH];
    if (n < 2 || atomic_load_explicit(&refused, memory_order_relaxed))
        return false;
    for (size_t i = 0; i < n; i++)
        guards[i] = (struct iovec){.iov_base = slot + i * size, .iov_len = bytes};
    long done = syscall(SYS_process_madvise, THIS_PROCESS, guards, n, MADV_GUARD_INSTALL, 0);
    if (done == (long)(n * bytes))
        return true;
    atomic_store_explicit(&refused, true, memory_order_relaxed);
    return false;
}

/* As many slots from this one on as were used before it: a small program pays for few. */
static size_t guards_ahead(const struct arena *a, size_t first) {
    size_t n = first < GUARD_BATCH ? first : GUARD_BATCH;
    size_t left = (size_t)(a->hi - a->lo) / a->pool->slot - first;
    return n < left ? n : left;
}

/* The guard of a slot that was taken when it had none, and those of some that follow. */
static void guard_fresh(struct arena *a, char *slot) {
    size_t size = a->pool->slot, first = (size_t)(slot - a->lo) / size;
    size_t n = guard_kind == GUARD_MADVISE ? guards_ahead(a, first) : 0;
    if (!guard_several(slot, size, n)) {
        guard_install(slot, guard_bytes(size));
        return;
    }
    rt_lock(&pools_lock);
    if (a->guarded < first + n)
        a->guarded = first + n;
    rt_unlock(&pools_lock);
}

/* ---- Allocation. ---- */

/* The slot used last, else a clean one, else one never used; NULL when the pool is empty.
 * *unguarded: its arena if it has no guard yet, else NULL.  pools_lock is held, and so slots are
 * handed out in order: what `guarded` says here was installed by those who took earlier slots, for
 * all from theirs on. */
static char *take(struct pool *p, struct arena **unguarded) {
    struct node *list = p->dirty.next != &p->dirty ? &p->dirty : &p->clean;
    *unguarded = NULL;
    if (list->next != list) {
        struct node *n = unlink_node(list->next);
        if (list == &p->dirty)
            count_dirty(p, (size_t)-1);
        push_spare(p, n);
        return n->lo;
    }
    struct arena *a = p->fresh;
    if (a == NULL)
        return NULL;
    if (a->used >= a->guarded)
        *unguarded = a;
    push_spare(p, &a->nodes[a->used]);
    char *slot = a->lo + a->used++ * p->slot;
    if (a->lo + a->used * p->slot == a->hi)
        p->fresh = a->next;
    return slot;
}

static char *locked_take(struct pool *p, struct arena **unguarded) {
    rt_lock(&pools_lock);
    char *slot = take(p, unguarded);
    rt_unlock(&pools_lock);
    return slot;
}

/* Grows the pool when it is empty; NULL when it cannot grow either. */
static char *pool_take(struct pool *p, struct arena **unguarded) {
    char *slot;
    do
        slot = locked_take(p, unguarded);
    while (slot == NULL && pool_grow(p));
    /* Others may have freed some meanwhile. */
    return slot != NULL ? slot : locked_take(p, unguarded);
}

int stack_alloc(size_t size, struct stack *out) {
    pthread_once(&once, setup);
    struct pool *p = pool_for(size);
    struct arena *unguarded = NULL;
    char *slot = p != NULL ? pool_take(p, &unguarded) : NULL;
    if (slot == NULL) {
        errno = ENOMEM;
        return -1;
    }
    if (unguarded != NULL)
        guard_fresh(unguarded, slot);
    *out = (struct stack){.lo = slot + guard_bytes(p->slot), .hi = slot + p->slot};
    return 0;
}

/* The pool that s was taken from: with one page of its guard, s is bigger than the next smaller
 * slot. */
static struct pool *pool_of(struct stack s) { return pool_for((size_t)(s.hi - s.lo) + page); }

void stack_free(struct stack s) {
    struct pool *p = pool_of(s);
    char *slot = s.hi - p->slot;
    rt_lock(&pools_lock);
    struct node *n = p->spare;
    p->spare = n->next;
    n->lo = slot;
    push_dirty(p, n);
    rt_unlock(&pools_lock);
}

/* ---- Giving memory back. ---- */

/* Moves up to `max` of the longest unused dirty stacks beyond `keep` to releasing, which makes them
 * the caller's.  Returns how many. */
static size_t begin_release(struct pool *p, size_t keep, size_t max, struct node **batch) {
    size_t n = 0;
    rt_lock(&pools_lock);
    for (; n < max && p->ndirty > keep; n++) {
        batch[n] = unlink_node(p->dirty.prev);
        count_dirty(p, (size_t)-1);
        push(&p->releasing, batch[n]);
    }
    rt_unlock(&pools_lock);
    return n;
}

static void end_release(struct pool *p, struct node **batch, size_t n) {
    rt_lock(&pools_lock);
    for (size_t i = 0; i < n; i++)
        push(&p->clean, unlink_node(batch[i]));
    rt_unlock(&pools_lock);
}

/* Leaves the guard out: a madvise guard is a mark in the page table.  Locked memory cannot be
 * given back; such a stack counts as clean all the same, or it would be tried for ever. */
static void release(struct pool *p, struct node **batch, size_t n) {
    size_t guard = guard_bytes(p->slot);
    for (size_t i = 0; i < n; i++)
        madvise(batch[i]->lo + guard, p->slot - guard, MADV_DONTNEED);
}

size_t stack_scavenge(size_t keep) {
    struct node *batch[BATCH];
    size_t left = SCAVENGE_MAX, bytes = 0;
    if (stack_idle_dirty() == 0)
        return 0;
    pthread_once(&once, setup); /* not to run it, but to see what it wrote */
    for (struct pool *p = pools; p < pools + CLASSES && left > 0; p++) {
        size_t n;
        while ((n = begin_release(p, keep, left < BATCH ? left : BATCH, batch)) > 0) {
            release(p, batch, n);
            end_release(p, batch, n);
            bytes += n * (p->slot - guard_bytes(p->slot));
            left -= n;
        }
    }
    return bytes;
}

size_t stack_idle_dirty(void) { return atomic_load_explicit(&idle_dirty, memory_order_relaxed); }

/* ---- Questions. ---- */

const char *stack_guard_kind(void) {
    static const char *const names[] = {
        [GUARD_NONE] = "none", [GUARD_MPROTECT] = "mprotect", [GUARD_MADVISE] = "madvise"};
    pthread_once(&once, setup);
    return names[guard_kind];
}

bool stack_find(const void *addr, struct stack *out) {
    const struct arena *a = arena_of(addr);
    if (a == NULL)
        return false;
    size_t size = a->pool->slot;
    char *slot = a->lo + (size_t)((const char *)addr - a->lo) / size * size;
    *out = (struct stack){.lo = slot + guard_bytes(size), .hi = slot + size};
    return true;
}

size_t stack_bytes(struct stack s) { return pool_of(s)->slot; }

bool stack_owns(const void *addr) { return arena_of(addr) != NULL; }

bool stack_guard_hit(const void *addr) {
    struct stack s;
    return stack_find(addr, &s) && (const char *)addr < s.lo;
}

/* ---- Fork. ---- */

void stack_fork_prepare(void) {
    pthread_once(&once, setup);
    rt_lock(&pools_lock);
}

void stack_fork_parent(void) { rt_unlock(&pools_lock); }

/* The threads that were giving stacks back do not exist here: those stacks are still dirty. */
void stack_fork_child(void) {
    for (struct pool *p = pools; p < pools + CLASSES; p++) {
        while (p->releasing.next != &p->releasing)
            push_dirty(p, unlink_node(p->releasing.next));
    }
    rt_unlock(&pools_lock);
}
