/* The park word (src/runtime/parkword.h itself): two wakers, a timer and one that interrupts, against
 * the M that leaves the goroutine. -DBROKEN=1: wakers queue the goroutine while its M still uses it. */
#include "interleave.h"
#include "parkword.h"

enum { BY_A = 2, BY_B = 4, BY_TIMER = -1, BY_INTERRUPT = -2 };

static struct {
    uint64_t park;
    uint64_t in_use; /* the M uses the goroutine's thread state */
    uint64_t queued; /* how often it was put on a run queue */
} s;

static uint32_t flags;
static int claims;
static uint32_t claimed_with;
static bool resumed;

static void queue(void) {
    model_check(!at_load(&s.in_use), "queued while its M still uses its thread state");
    at_store(&s.queued, s.queued + 1);
    model_check(s.queued == 1, "queued twice");
}

/* wake() of park.c. */
static void wake(uint32_t with, uint32_t unless) {
    uint64_t found;
    if (!parkword_claim(&s.park, with, unless, &found))
        return;
    model_check(++claims == 1, "two wakers both ended the wait");
    claimed_with = with;
    if (parkword_state(found) == PARK_PARKED)
        queue();
#if BROKEN == 1
    else
        queue();
#endif
}

static void waker_a(void) { wake(BY_A, 0); }
static void waker_b(void) { wake(BY_B, 0); }
static void timer(void) { wake((uint32_t)BY_TIMER, 0); }
static void interrupter(void) { wake((uint32_t)BY_INTERRUPT, 4); }

/* finish_leaving() of proc.c. */
static void leaving_m(void) {
    at_store(&s.in_use, 0);
    if (parkword_left(&s.park))
        queue();
}

static bool is_queued(void *arg) {
    (void)arg;
    return s.queued > 0;
}

/* Whoever takes it from the queue: the wait is over, with what the winner said. */
static void goroutine(void) {
    model_wait(is_queued, NULL);
    model_check(!at_load(&s.in_use), "resumed while its M still uses its thread state");
    model_check(parkword_end(&s.park) == claimed_with && claims == 1,
                "woken with what nobody said");
    resumed = true;
}

static void begin_with(uint32_t park_flags) {
    memset(&s, 0, sizeof s);
    s.in_use = 1;
    flags = park_flags;
    claims = 0;
    resumed = false;
    parkword_begin(&s.park, flags);
}

static void begin(void) { begin_with(0); }
static void begin_uninterruptible(void) { begin_with(4); }

static void end(void) {
    model_check(resumed && claims == 1 && s.queued == 1, "a wake-up was lost");
    model_check(parkword_state(s.park) == PARK_NONE, "the park word is not as before");
}

static void end_not_interrupted(void) {
    end();
    model_check(claimed_with == BY_A, "what must not be interrupted was");
}

int main(void) {
    static const struct model models[] = {
        {"park, two wakers and a timer",
         begin,
         {leaving_m, goroutine, waker_a, waker_b, timer},
         end,
         &s,
         sizeof s},
        {"park, a waker, a timer and an interrupt",
         begin,
         {leaving_m, goroutine, waker_a, timer, interrupter},
         end,
         &s,
         sizeof s},
        {"park, uninterruptible",
         begin_uninterruptible,
         {leaving_m, goroutine, waker_a, interrupter},
         end_not_interrupted,
         &s,
         sizeof s},
    };
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        explore(&models[i]);
    return 0;
}
