/* Goroutine stacks: slots of equal size in big anonymous mappings, pooled per size.
 *
 *          slot (a size class)                            next slot
 *      +---------+------------------------------------+---------+----
 *      |  guard  |  usable         <- grows downwards |  guard  |
 *      +---------+------------------------------------+---------+----
 *                lo                                   hi
 *
 * Address space is reserved in arenas and never given back, so that a stale read of a dead
 * goroutine's stack never faults; memory is given back by stack_scavenge.  One mapping holds many
 * slots, because a process may only have some 65,530 of them.
 *
 * Guards are a sixteenth of the slot, two pages to 64 KiB, as a C function may step over a smaller
 * one.  They are set when a slot is used for the first time (1 us) and kept for ever.  Linux
 * 6.13 and later can mark a page in the page table alone (MADV_GUARD_INSTALL); before, a guard is a
 * mapping of its own, and splits the one around it in two.  Such guards stop at half of the
 * process's mappings, and stacks made after that are unguarded.
 */
#ifndef GOROUTINES_RUNTIME_STACK_H
#define GOROUTINES_RUNTIME_STACK_H

#include <stdbool.h>
#include <stddef.h>

struct stack {
    char *lo; /* lowest usable byte; the guard lies directly below */
    char *hi; /* one past the end, page aligned */
};

/* Takes a stack whose slot (guard included) has at least `size` bytes.  Sizes are rounded up to
 * one of four steps per power of two (which are exact themselves), at least 4 pages.  Slots of a
 * power of two up to 2 MiB are aligned to their size, bigger ones are 1 MiB off a multiple of 2
 * MiB.  Contents are unspecified.  Returns 0, or -1 with errno ENOMEM when address space or memory
 * is out. */
int stack_alloc(size_t size, struct stack *out);

/* Gives a stack back to the pool of its size; the one freed last is used first.  Never fails. */
void stack_free(struct stack s);

/* Returns to the kernel the memory of pooled stacks that may have touched pages, the longest unused
 * first, leaving `keep` of each size.  Does a bounded amount of work, so call it again while it
 * returns more than 0: the bytes of address space it went over. */
size_t stack_scavenge(size_t keep);

/* How many pooled stacks may hold memory that stack_scavenge would return. */
size_t stack_idle_dirty(void);

/* "madvise", "mprotect" or "none"; the environment variable GOROUTINES_STACK_GUARD (one of these)
 * decides, where the kernel can. */
const char *stack_guard_kind(void);

/* Of the slot that addr lies in (its guard is part of it), the usable range.  False when addr is
 * not in an arena.  This and the next three take no lock and are async-signal-safe. */
bool stack_find(const void *addr, struct stack *out);

/* The bytes of the slot of s, guard included. */
size_t stack_bytes(struct stack s);

/* Is addr inside an arena? */
bool stack_owns(const void *addr);

/* Is addr inside the guard of a slot? */
bool stack_guard_hit(const void *addr);

/* Around fork: no other thread is inside this file while the process is copied. */
void stack_fork_prepare(void);
void stack_fork_parent(void);
void stack_fork_child(void);

#endif
