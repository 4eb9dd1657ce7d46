/* Switching C stacks on x86-64 (System V ABI).  The contract is in context.h.
 *
 * A suspended context is a stack pointer to this frame, the same for one that was switched away
 * from and one that has never run:
 *
 *      sp + 0    mxcsr (4 bytes), x87 control word (2 bytes), padding
 *      sp + 8    r15
 *      sp + 16   r14
 *      sp + 24   r13
 *      sp + 32   r12
 *      sp + 40   rbx
 *      sp + 48   rbp
 *      sp + 56   return address
 *
 * Because old and new frame have one layout, the CFI below is right on both sides of the
 * instruction that exchanges the stack pointer.
 *
 * No shadow-stack property is declared: a process that enforces shadow stacks cannot switch stacks
 * this way, and glibc turns them off when it meets an object without the property.
 */

        .text

/* void context_switch(void **save_sp, void *load_sp) */
        .globl  context_switch
        .hidden context_switch
        .type   context_switch, @function
        .p2align 5
context_switch:
        .cfi_startproc
        endbr64
        pushq   %rbp
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %rbp, 0
        pushq   %rbx
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %rbx, 0
        pushq   %r12
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r12, 0
        pushq   %r13
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r13, 0
        pushq   %r14
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r14, 0
        pushq   %r15
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r15, 0
        subq    $8, %rsp
        .cfi_adjust_cfa_offset 8
        stmxcsr (%rsp)
        fnstcw  4(%rsp)

        /* Loading either control register drains the pipeline; nearly always both are equal.  The
         * low six bits of mxcsr are sticky status, which the ABI does not preserve over calls. */
        movl    (%rsp), %eax
        movzwl  4(%rsp), %ecx
        movq    %rsp, (%rdi)
        movq    %rsi, %rsp
        xorl    (%rsp), %eax
        testl   $0xffc0, %eax
        jne     3f
1:      cmpw    4(%rsp), %cx
        jne     4f

2:      addq    $8, %rsp
        .cfi_adjust_cfa_offset -8
        .cfi_remember_state
        popq    %r15
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r15
        popq    %r14
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r14
        popq    %r13
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r13
        popq    %r12
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r12
        popq    %rbx
        .cfi_adjust_cfa_offset -8
        .cfi_restore %rbx
        popq    %rbp
        .cfi_adjust_cfa_offset -8
        .cfi_restore %rbp
        /* Not ret: its prediction is the return address of the stack just left, always wrong (10 ns
         * per switch instead of 6.5 on Zen).  As a jump it is predicted from history. */
        popq    %rcx
        .cfi_adjust_cfa_offset -8
        .cfi_register %rip, %rcx
        notrack jmp *%rcx

        .cfi_restore_state
        .cfi_adjust_cfa_offset 8
3:      ldmxcsr (%rsp)
        jmp     1b
4:      fldcw   4(%rsp)
        jmp     2b
        .cfi_endproc
        .size   context_switch, .-context_switch

/* The outermost frame of every made context: calls the entry function found in rbx.  An undefined
 * return address ends the walk of debuggers and of _Unwind_ForcedUnwind, and rbp is 0 for whoever
 * follows frame pointers.  The first switch "returns" to behind the nop: unwinders look a return
 * address up as the address minus one, which must belong to this function too. */
        .globl  context_start
        .hidden context_start
        .type   context_start, @function
        .p2align 4
        .cfi_startproc
        .cfi_undefined %rip
        .cfi_def_cfa_offset 16
context_start:
        nop
        endbr64
        callq   *%rbx
        ud2
        .cfi_endproc
        .size   context_start, .-context_start

/* void *context_make(void *stack_hi, void (*entry)(void)) */
        .globl  context_make
        .hidden context_make
        .type   context_make, @function
        .p2align 4
context_make:
        .cfi_startproc
        endbr64
        andq    $-16, %rdi
        /* 64 bytes of frame below 16 that stay zero: the start frame's CFA is within the stack, and
         * rsp is a multiple of 16 at the call of entry. */
        leaq    -80(%rdi), %rax
        xorl    %ecx, %ecx
        movq    %rcx, (%rax)
        stmxcsr (%rax)
        fnstcw  4(%rax)
        movq    %rcx, 8(%rax)
        movq    %rcx, 16(%rax)
        movq    %rcx, 24(%rax)
        movq    %rcx, 32(%rax)
        movq    %rsi, 40(%rax)
        movq    %rcx, 48(%rax)
        leaq    1+context_start(%rip), %rdx
        movq    %rdx, 56(%rax)
        movq    %rcx, 64(%rax)
        movq    %rcx, 72(%rax)
        ret
        .cfi_endproc
        .size   context_make, .-context_make

        .section .note.GNU-stack, "", @progbits
