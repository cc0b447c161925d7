/* counter.S: a guest of one sector that counts on its own disk, and notes when it is not alone.
 *
 * Sector 1 holds what it knows, 32-bit little endian: counter, "IAMD", failed writes, boots, twice.
 * With the clock, 18 times a second, it reads the sector back: if that is not what it wrote last, somebody else
 * runs on this disk, and "twice" goes up, for good. Then it counts on, and writes the same to sector
 * 16 + counter % 1024, so that a write that got lost is seen there (counter_guest.sh reads it all).
 * It goes on from what the disk says, so the counter never goes back. */
.code16
.globl _start
_start: ljmp $0, $1f
1:      xorw %ax, %ax
        movw %ax, %ds
        movw %ax, %es
        movw %ax, %ss
        movw $0x7c00, %sp
        cld
        sti
        movb %dl, drive
        movw $0x8000, to
        movb $0x42, %ah
        call disk
        movl $0x444d4149, 0x8004
        incl 0x800c
        jmp write
next:   movw $0x8200, to
        movb $0x42, %ah
        call disk
        jc pause                /* cannot be read: nothing is known */
        movl 0x8200, %eax
        cmpl 0x8000, %eax
        jne other
        movl 0x820c, %eax
        cmpl 0x800c, %eax
        je count
other:  incl 0x8010
count:  incl 0x8000
        movl 0x8000, %eax
        andl $1023, %eax
        addl $16, %eax
        movl %eax, sector
        movw $0x8000, to
        movb $0x43, %ah
        call disk
        movl $1, sector
write:  movw $0x8000, to
        movb $0x43, %ah
        call disk
pause:  sti
        hlt                     /* until the clock ticks; a BIOS would wait at full speed */
        jmp next
disk:   movb $0, %al
        movw $packet, %si
        movb drive, %dl
        int $0x13
        jnc 1f
        incl 0x8008
        stc
1:      ret
drive:  .byte 0
.align 4
packet: .byte 16, 0
        .word 1
to:     .word 0x8000, 0
sector: .long 1, 0
.org 510
.word 0xaa55
