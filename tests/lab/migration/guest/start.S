# Entry of the guest: a multiboot header, a flat GDT, a stack, one timer interrupt.

        .section .multiboot, "a"
        .balign 4
        .set    FLAGS, 0x3                      # modules on page borders, memory size given
        .long   0x1badb002, FLAGS, -(0x1badb002 + FLAGS)

        .text
        .globl  _start, tick_entry
_start:
        cli
        cld
        movl    $stack_end, %esp
        lgdt    gdt_pointer
        ljmp    $0x08, $1f
1:      movw    $0x10, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        pushl   %ebx                            # the multiboot information
        call    guest_main
2:      hlt
        jmp     2b

tick_entry:
        pushl   %eax
        incl    ticks
        movb    $0x20, %al                      # end of interrupt
        outb    %al, $0x20
        popl    %eax
        iret

        .balign 8
gdt:    .quad   0
        .quad   0x00cf9a000000ffff              # 0x08: code, flat
        .quad   0x00cf92000000ffff              # 0x10: data, flat
gdt_pointer:
        .word   . - gdt - 1
        .long   gdt

        .bss
        .balign 16
        .skip   4096
stack_end:
