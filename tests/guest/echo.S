# echo.S: a boot sector that answers on its serial line what it is told, in capitals.
.code16
.globl _start
_start:
    cli
    mov $msg, %si
greet:
    lodsb
    test %al, %al
    jz loop
    call put
    jmp greet
loop:
    mov $0x3fd, %dx
    in %dx, %al
    test $1, %al
    jz loop
    mov $0x3f8, %dx
    in %dx, %al
    cmp $'a', %al
    jb 1f
    cmp $'z', %al
    ja 1f
    sub $32, %al
1:  call put
    jmp loop
put:
    mov %al, %ah
    mov $0x3fd, %dx
2:  in %dx, %al
    test $0x20, %al
    jz 2b
    mov $0x3f8, %dx
    mov %ah, %al
    out %al, %dx
    ret
msg: .asciz "hello\r\n"
.org 510
.word 0xaa55
