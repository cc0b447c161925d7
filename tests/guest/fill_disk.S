# fill_disk.S: a guest of one sector that needs no system: it writes 32 KiB at a time, from 1 MiB on,
# block n filled with the number n + 1, and "DONE" into its second sector when N_BLOCKS are written.
# For tests of what becomes of a guest whose store is full.
        .code16
        .globl _start
_start: cli
        xorw %ax, %ax
        movw %ax, %ds
        movw %ax, %ss
        movw $0x7c00, %sp
        sti
        movb %dl, drive
        cld
next:   movw $0x1000, %ax               # the buffer is at 0x10000
        movw %ax, %es
        movl number, %eax
        xorw %di, %di
        movw $8192, %cx
        rep stosl
        call write
        incl number
        addl $64, lba
        cmpl $N_BLOCKS + 1, number
        jne next
        movl $0x454e4f44, %es:0         # DONE
        movl $1, lba
        movw $1, count
        call write
stop:   hlt
        jmp stop
# Until the BIOS says that it is written.
write:  movw $packet, %si
        movb drive, %dl
        movw $0x4300, %ax
        int $0x13
        jc write
        ret
drive:  .byte 0x80
number: .long 1
        .align 4
packet: .byte 16, 0
count:  .word 64
        .word 0, 0x1000                 # offset and segment of the buffer
lba:    .long 2048, 0
        .org 510
        .word 0xaa55
