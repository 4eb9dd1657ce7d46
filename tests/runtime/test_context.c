/* The context switch: what it keeps, and how stack walks end on the stacks it makes. */
#include "context.h"

#include <execinfo.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "check.h"

#define STACK_BYTES ((size_t)256 * 1024)

void context_start(void);

static char *stack_new(void) {
    char *lo = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(lo != MAP_FAILED);
    return lo;
}

static void ok(const char *name) {
    printf("ok %s\n", name);
    fflush(stdout);
}

/* ---- Every callee-saved register, set and read around a switch in one piece of assembly. ---- */

#if defined(__x86_64__)
enum { REGISTERS = 6 };

/* Fills the callee-saved registers from in[], switches, stores them to out[]. */
void switch_with_registers(const uint64_t *in, uint64_t *out, void **save_sp, void *load_sp);
__asm__(".text\n"
        ".type switch_with_registers, @function\n"
        "switch_with_registers:\n"
        "    pushq %rbx; pushq %rbp; pushq %r12; pushq %r13; pushq %r14; pushq %r15\n"
        "    pushq %rsi\n"
        "    movq 0(%rdi), %rbx; movq 8(%rdi), %rbp; movq 16(%rdi), %r12\n"
        "    movq 24(%rdi), %r13; movq 32(%rdi), %r14; movq 40(%rdi), %r15\n"
        "    movq %rdx, %rdi\n"
        "    movq %rcx, %rsi\n"
        "    call context_switch\n"
        "    popq %rsi\n"
        "    movq %rbx, 0(%rsi); movq %rbp, 8(%rsi); movq %r12, 16(%rsi)\n"
        "    movq %r13, 24(%rsi); movq %r14, 32(%rsi); movq %r15, 40(%rsi)\n"
        "    popq %r15; popq %r14; popq %r13; popq %r12; popq %rbp; popq %rbx\n"
        "    ret\n");
#elif defined(__aarch64__)
enum { REGISTERS = 11 + 8 };

void switch_with_registers(const uint64_t *in, uint64_t *out, void **save_sp, void *load_sp);
__asm__(".text\n"
        ".type switch_with_registers, %function\n"
        "switch_with_registers:\n"
        "    stp x29, x30, [sp, #-176]!\n"
        "    stp x19, x20, [sp, #16]\n    stp x21, x22, [sp, #32]\n"
        "    stp x23, x24, [sp, #48]\n    stp x25, x26, [sp, #64]\n"
        "    stp x27, x28, [sp, #80]\n"
        "    stp d8, d9, [sp, #96]\n      stp d10, d11, [sp, #112]\n"
        "    stp d12, d13, [sp, #128]\n   stp d14, d15, [sp, #144]\n"
        "    str x1, [sp, #160]\n"
        "    ldp x19, x20, [x0]\n         ldp x21, x22, [x0, #16]\n"
        "    ldp x23, x24, [x0, #32]\n    ldp x25, x26, [x0, #48]\n"
        "    ldp x27, x28, [x0, #64]\n    ldr x29, [x0, #80]\n"
        "    ldp d8, d9, [x0, #88]\n      ldp d10, d11, [x0, #104]\n"
        "    ldp d12, d13, [x0, #120]\n   ldp d14, d15, [x0, #136]\n"
        "    mov x0, x2\n"
        "    mov x1, x3\n"
        "    bl context_switch\n"
        "    ldr x1, [sp, #160]\n"
        "    stp x19, x20, [x1]\n         stp x21, x22, [x1, #16]\n"
        "    stp x23, x24, [x1, #32]\n    stp x25, x26, [x1, #48]\n"
        "    stp x27, x28, [x1, #64]\n    str x29, [x1, #80]\n"
        "    stp d8, d9, [x1, #88]\n      stp d10, d11, [x1, #104]\n"
        "    stp d12, d13, [x1, #120]\n   stp d14, d15, [x1, #136]\n"
        "    ldp x19, x20, [sp, #16]\n    ldp x21, x22, [sp, #32]\n"
        "    ldp x23, x24, [sp, #48]\n    ldp x25, x26, [sp, #64]\n"
        "    ldp x27, x28, [sp, #80]\n"
        "    ldp d8, d9, [sp, #96]\n      ldp d10, d11, [sp, #112]\n"
        "    ldp d12, d13, [sp, #128]\n   ldp d14, d15, [sp, #144]\n"
        "    ldp x29, x30, [sp], #176\n"
        "    ret\n");
#endif

static struct context home, away;

#ifndef CONTEXT_ASAN
static void fill(uint64_t *values, uint64_t seed) {
    for (int i = 0; i < REGISTERS; i++)
        values[i] = seed * 0x9e3779b97f4a7c15u + (uint64_t)i * 0x0101010101010101u;
}

static void registers_entry(void) {
    uint64_t in[REGISTERS], out[REGISTERS];
    fill(in, 7);
    for (;;) {
        memset(out, 0, sizeof out);
        switch_with_registers(in, out, &away.sp, home.sp);
        CHECK(memcmp(in, out, sizeof in) == 0);
    }
}

static void test_registers(void) {
    char *lo = stack_new();
    uint64_t in[REGISTERS], out[REGISTERS];
    /* No sanitizer is told of these switches, so the other side must stay uninteresting to it. */
    away.sp = context_make(lo + STACK_BYTES, registers_entry);
    for (uint64_t round = 1; round < 100; round++) {
        fill(in, round);
        memset(out, 0, sizeof out);
        switch_with_registers(in, out, &home.sp, away.sp);
        CHECK(memcmp(in, out, sizeof in) == 0);
    }
    munmap(lo, STACK_BYTES);
    ok("registers");
}
#endif

/* ---- Floating-point control state. ---- */

struct fp_control {
    uint64_t a, b;
};

static struct fp_control fp_get(void) {
    struct fp_control c = {0, 0};
#if defined(__x86_64__)
    uint32_t mxcsr;
    uint16_t cw;
    __asm__ volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(mxcsr), "=m"(cw));
    c.a = mxcsr & 0xffc0; /* without the status bits */
    c.b = cw;
#elif defined(__aarch64__)
    __asm__ volatile("mrs %0, fpcr" : "=r"(c.a));
#endif
    return c;
}

/* mode: 0 to 3, in the machine's own numbering; fesetround would need libm. */
static void fp_set_rounding(uint32_t mode) {
#if defined(__x86_64__)
    uint32_t mxcsr;
    uint16_t cw;
    __asm__ volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(mxcsr), "=m"(cw));
    mxcsr = (mxcsr & ~(3u << 13)) | mode << 13;
    cw = (uint16_t)((cw & ~(3u << 10)) | mode << 10);
    __asm__ volatile("ldmxcsr %0\n\tfldcw %1" : : "m"(mxcsr), "m"(cw));
#elif defined(__aarch64__)
    uint64_t fpcr;
    __asm__ volatile("mrs %0, fpcr" : "=r"(fpcr));
    fpcr = (fpcr & ~((uint64_t)3 << 22)) | (uint64_t)mode << 22;
    __asm__ volatile("msr fpcr, %0" : : "r"(fpcr));
#endif
}

static bool fp_equal(struct fp_control x, struct fp_control y) { return x.a == y.a && x.b == y.b; }

static struct fp_control fp_at_entry;

static void fp_entry(void) {
    context_entered();
    fp_at_entry = fp_get();
    fp_set_rounding(2);
    struct fp_control mine = fp_get();
    for (;;) {
        context_jump(&away, &home);
        CHECK(fp_equal(fp_get(), mine));
    }
}

static void test_fp_control(void) {
    char *lo = stack_new();
    struct fp_control normal = fp_get();
    context_init_thread(&home);
    fp_set_rounding(3);
    struct fp_control creator = fp_get();
    context_init(&away, lo, lo + STACK_BYTES, fp_entry);
    fp_set_rounding(0);
    CHECK(fp_equal(fp_get(), normal));
    context_jump(&home, &away);
    CHECK(fp_equal(fp_at_entry, creator));
    for (uint32_t mode = 0; mode < 4; mode++) {
        fp_set_rounding(mode);
        struct fp_control mine = fp_get();
        context_jump(&home, &away);
        CHECK(fp_equal(fp_get(), mine));
    }
    fp_set_rounding(0);
    context_destroy(&away);
    munmap(lo, STACK_BYTES);
    ok("fp_control");
}

/* ---- Entry: alignment and bounds. ---- */

static uintptr_t entry_frame;

static void alignment_entry(void) {
    context_entered();
    /* The ABI aligns the frame address on both machines. */
    entry_frame = (uintptr_t)__builtin_frame_address(0);
    char text[64];
    snprintf(text, sizeof text, "%.3f %Lf", 1.5, (long double)2.25); /* aligned vector stores */
    CHECK(strncmp(text, "1.500 2.25", 10) == 0);
    context_exit_jump(&away, &home);
}

static void test_entry_alignment(void) {
    char *lo = stack_new();
    context_init_thread(&home);
    for (size_t skew = 0; skew < 64; skew++) {
        context_init(&away, lo, lo + STACK_BYTES - skew, alignment_entry);
        context_jump(&home, &away);
        context_destroy(&away);
        CHECK(entry_frame % 16 == 0);
        CHECK(entry_frame > (uintptr_t)lo && entry_frame < (uintptr_t)lo + STACK_BYTES - skew);
    }
    munmap(lo, STACK_BYTES);
    ok("entry_alignment");
}

/* ---- Nesting: a chain of contexts, each of which starts the next. ---- */

enum { DEPTH = 200 };
static struct context chain[DEPTH + 1];
static char *chain_lo[DEPTH + 1];
static int depth, unwound;

static void chain_entry(void) {
    context_entered();
    int mine = ++depth;
    volatile int pattern[64];
    for (int i = 0; i < 64; i++)
        pattern[i] = mine * 64 + i;
    if (mine < DEPTH) {
        context_init(&chain[mine + 1], chain_lo[mine + 1], chain_lo[mine + 1] + STACK_BYTES,
                     chain_entry);
        context_jump(&chain[mine], &chain[mine + 1]);
        context_destroy(&chain[mine + 1]);
    }
    for (int i = 0; i < 64; i++)
        CHECK(pattern[i] == mine * 64 + i);
    unwound++;
    context_exit_jump(&chain[mine], &chain[mine - 1]);
}

static void test_nesting(void) {
    for (int i = 1; i <= DEPTH; i++)
        chain_lo[i] = stack_new();
    for (int round = 0; round < 3; round++) { /* later rounds run on used stacks */
        depth = unwound = 0;
        context_init_thread(&chain[0]);
        context_init(&chain[1], chain_lo[1], chain_lo[1] + STACK_BYTES, chain_entry);
        context_jump(&chain[0], &chain[1]);
        context_destroy(&chain[1]);
        CHECK(depth == DEPTH && unwound == DEPTH);
    }
    for (int i = 1; i <= DEPTH; i++)
        munmap(chain_lo[i], STACK_BYTES);
    ok("nesting");
}

/* ---- Speed. ---- */

static void pingpong_entry(void) {
    context_entered();
    for (;;)
        context_jump(&away, &home);
}

static void test_million_switches(void) {
    enum { ROUNDS = 500 * 1000 };
    char *lo = stack_new();
    struct timespec start, end;
    context_init_thread(&home);
    context_init(&away, lo, lo + STACK_BYTES, pingpong_entry);
    double best = 1e9;
    for (int repeat = 0; repeat < 5; repeat++) {
        clock_gettime(CLOCK_MONOTONIC, &start);
        for (int i = 0; i < ROUNDS / 5; i++)
            context_jump(&home, &away);
        clock_gettime(CLOCK_MONOTONIC, &end);
        double ns = (double)(end.tv_sec - start.tv_sec) * 1e9;
        ns = (ns + (double)(end.tv_nsec - start.tv_nsec)) / (2.0 * (ROUNDS / 5));
        best = ns < best ? ns : best;
    }
    context_destroy(&away);
    munmap(lo, STACK_BYTES);
    printf("   %.2f ns per switch\n", best);
    ok("million_switches");
}

/* ---- A context suspended on one OS thread and resumed on another. ---- */

static int hops;

static void migrant_entry(void) {
    context_entered();
    for (hops = 0;;) {
        hops++;
        context_jump(&away, &home);
    }
}

static void *migrant_host(void *unused) {
    (void)unused;
    context_init_thread(&home);
    for (int i = 0; i < 100; i++)
        context_jump(&home, &away);
    return NULL;
}

static void test_migration(void) {
    char *lo = stack_new();
    context_init(&away, lo, lo + STACK_BYTES, migrant_entry);
    for (int i = 0; i < 5; i++) {
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, migrant_host, NULL) == 0);
        CHECK(pthread_join(thread, NULL) == 0);
    }
    CHECK(hops == 500);
    context_destroy(&away);
    munmap(lo, STACK_BYTES);
    ok("migration");
}

/* ---- Stack walks. ---- */

static void *trace[64];
static int trace_length;

static __attribute__((noinline)) int walk(int levels) {
    if (levels > 0)
        return walk(levels - 1) + 1;
    trace_length = backtrace(trace, 64);
    return 0;
}

static void backtrace_entry(void) {
    context_entered();
    CHECK(walk(3) == 3);
    context_exit_jump(&away, &home);
}

static void test_backtrace_ends(void) {
    char *lo = stack_new();
    context_init_thread(&home);
    context_init(&away, lo, lo + STACK_BYTES, backtrace_entry);
    context_jump(&home, &away);
    context_destroy(&away);
    CHECK(trace_length >= 2 && trace_length < 16);
    uintptr_t last = (uintptr_t)trace[trace_length - 1], start = (uintptr_t)context_start;
    CHECK(last > start && last < start + 32);
    munmap(lo, STACK_BYTES);
    ok("backtrace_ends");
}

#if !defined(CONTEXT_ASAN) && !defined(CONTEXT_TSAN)
static bool cleaned_up;

static void note_cleanup(void *unused) {
    (void)unused;
    cleaned_up = true;
}

static void exiting_entry(void) {
    context_entered();
    pthread_exit((void *)42);
}

static void *exiting_thread(void *lo) {
    static _Thread_local struct context native, foreign;
    context_init_thread(&native);
    context_init(&foreign, lo, (char *)lo + STACK_BYTES, exiting_entry);
    pthread_cleanup_push(note_cleanup, NULL);
    context_jump(&native, &foreign);
    pthread_cleanup_pop(0);
    return NULL;
}

/* The interpreter ends threads so that come for the GIL while it shuts down. */
static void test_pthread_exit(void) {
    char *lo = stack_new();
    for (int i = 0; i < 10; i++) {
        pthread_t thread;
        void *result = NULL;
        CHECK(pthread_create(&thread, NULL, exiting_thread, lo) == 0);
        CHECK(pthread_join(thread, &result) == 0);
        CHECK(result == (void *)42);
    }
    munmap(lo, STACK_BYTES);
    printf("   cleanup handlers of the native stack %s\n", cleaned_up ? "ran" : "did not run");
    ok("pthread_exit");
}
#endif

int main(void) {
#ifndef CONTEXT_ASAN
    test_registers();
#endif
    test_fp_control();
    test_entry_alignment();
    test_nesting();
    test_million_switches();
    test_migration();
    test_backtrace_ends();
#if !defined(CONTEXT_ASAN) && !defined(CONTEXT_TSAN) /* their thread ends with a foreign stack */
    test_pthread_exit();
#endif
    return 0;
}
