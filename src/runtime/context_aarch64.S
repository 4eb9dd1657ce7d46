/* Switching C stacks on AArch64 (AAPCS64).  The contract is in context.h.
 *
 * A suspended context is a stack pointer to this frame, the same for one that was switched away
 * from and one that has never run:
 *
 *      sp + 0    x29, x30
 *      sp + 16   x19 ... x28
 *      sp + 96   d8 ... d15
 *      sp + 160  fpcr, padding
 *
 * Because old and new frame have one layout, the CFI below is right on both sides of the
 * instruction that exchanges the stack pointer.  Only the low halves of v8-v15 are callee-saved,
 * also on machines with SVE.
 */

#define FRAME 176
#define BTI_C hint #34

        .text

/* void context_switch(void **save_sp, void *load_sp) */
        .globl  context_switch
        .hidden context_switch
        .type   context_switch, %function
        .p2align 5
context_switch:
        .cfi_startproc
        BTI_C
        stp     x29, x30, [sp, #-FRAME]!
        .cfi_def_cfa_offset FRAME
        .cfi_rel_offset x29, 0
        .cfi_rel_offset x30, 8
        stp     x19, x20, [sp, #16]
        .cfi_rel_offset x19, 16
        .cfi_rel_offset x20, 24
        stp     x21, x22, [sp, #32]
        .cfi_rel_offset x21, 32
        .cfi_rel_offset x22, 40
        stp     x23, x24, [sp, #48]
        .cfi_rel_offset x23, 48
        .cfi_rel_offset x24, 56
        stp     x25, x26, [sp, #64]
        .cfi_rel_offset x25, 64
        .cfi_rel_offset x26, 72
        stp     x27, x28, [sp, #80]
        .cfi_rel_offset x27, 80
        .cfi_rel_offset x28, 88
        stp     d8, d9, [sp, #96]
        .cfi_rel_offset d8, 96
        .cfi_rel_offset d9, 104
        stp     d10, d11, [sp, #112]
        .cfi_rel_offset d10, 112
        .cfi_rel_offset d11, 120
        stp     d12, d13, [sp, #128]
        .cfi_rel_offset d12, 128
        .cfi_rel_offset d13, 136
        stp     d14, d15, [sp, #144]
        .cfi_rel_offset d14, 144
        .cfi_rel_offset d15, 152
        mrs     x9, fpcr
        str     x9, [sp, #160]
        mov     x10, sp
        str     x10, [x0]

        mov     sp, x1
        ldr     x10, [sp, #160]
        cmp     x9, x10
        b.ne    2f              /* writing fpcr drains the pipeline; nearly always it is equal */
1:      ldp     x19, x20, [sp, #16]
        .cfi_remember_state
        .cfi_restore x19
        .cfi_restore x20
        ldp     x21, x22, [sp, #32]
        .cfi_restore x21
        .cfi_restore x22
        ldp     x23, x24, [sp, #48]
        .cfi_restore x23
        .cfi_restore x24
        ldp     x25, x26, [sp, #64]
        .cfi_restore x25
        .cfi_restore x26
        ldp     x27, x28, [sp, #80]
        .cfi_restore x27
        .cfi_restore x28
        ldp     d8, d9, [sp, #96]
        .cfi_restore d8
        .cfi_restore d9
        ldp     d10, d11, [sp, #112]
        .cfi_restore d10
        .cfi_restore d11
        ldp     d12, d13, [sp, #128]
        .cfi_restore d12
        .cfi_restore d13
        ldp     d14, d15, [sp, #144]
        .cfi_restore d14
        .cfi_restore d15
        ldp     x29, x30, [sp], #FRAME
        .cfi_restore x29
        .cfi_restore x30
        .cfi_def_cfa_offset 0
        ret

        .cfi_restore_state
2:      msr     fpcr, x10
        b       1b
        .cfi_endproc
        .size   context_switch, .-context_switch

/* The outermost frame of every made context: calls the entry function found in x19.  An undefined
 * return address ends the walk of debuggers and of _Unwind_ForcedUnwind, and x29 is 0 for whoever
 * follows frame pointers.  The first switch "returns" to behind the nop: unwinders look a return
 * address up as the address minus one, which must belong to this function too. */
        .globl  context_start
        .hidden context_start
        .type   context_start, %function
        .p2align 4
        .cfi_startproc
        .cfi_undefined x30
        .cfi_def_cfa_offset 16
context_start:
        nop
        BTI_C
        blr     x19
        brk     #1
        .cfi_endproc
        .size   context_start, .-context_start

/* void *context_make(void *stack_hi, void (*entry)(void)) */
        .globl  context_make
        .hidden context_make
        .type   context_make, %function
        .p2align 4
context_make:
        .cfi_startproc
        BTI_C
        and     x0, x0, #-16
        /* 16 bytes above the frame stay zero: the start frame's CFA is within the stack. */
        sub     x0, x0, #(FRAME + 16)
        adr     x10, context_start + 4
        mrs     x9, fpcr
        stp     xzr, x10, [x0]
        stp     x1, xzr, [x0, #16]
        stp     xzr, xzr, [x0, #32]
        stp     xzr, xzr, [x0, #48]
        stp     xzr, xzr, [x0, #64]
        stp     xzr, xzr, [x0, #80]
        stp     xzr, xzr, [x0, #96]
        stp     xzr, xzr, [x0, #112]
        stp     xzr, xzr, [x0, #128]
        stp     xzr, xzr, [x0, #144]
        stp     x9, xzr, [x0, #160]
        stp     xzr, xzr, [x0, #176]
        ret
        .cfi_endproc
        .size   context_make, .-context_make

        .section .note.GNU-stack, "", %progbits
