#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# run-guest.sh DISK [COMMAND...]: boot a disk of make-golden.sh, give it commands, power it off.
#
# Each COMMAND is one line for the guest ("mark hello", "show"); make-golden.sh says which there
# are. The guest's "golden:" lines go to standard output.  DISK is qcow2 unless GUEST_FORMAT=raw.
#
# Exit code 0 means: it came up, answered every command without an error, and powered off by itself.
# Anything else fails with the reason and the last console lines on standard error.  The time limit
# (GUEST_TIMEOUT, 120 seconds) is for the whole run.  QEMU never outlives this script.
#
# The accelerator is always TCG: a /dev/kvm that exists may still hang for ever, and these guests
# are small enough not to need it.
set -euo pipefail
export LC_ALL=C

readonly TIMEOUT_S=${GUEST_TIMEOUT:-120}
readonly FORMAT=${GUEST_FORMAT:-qcow2}
readonly MEMORY_MIB=256
readonly N_CONSOLE_LINES_KEPT=20

qemu_pid=
console=()      # the last lines of the guest's console, for the message when something goes wrong

die() {
    printf 'run-guest: %s\n' "$*" >&2
    if [ ${#console[@]} -gt 0 ]; then
        printf 'run-guest: console: %s\n' "${console[@]}" >&2
    fi
    exit 1
}

# remember LINE: keep it for die(), drop the oldest one.
remember() {
    console+=("$1")
    [ ${#console[@]} -le $N_CONSOLE_LINES_KEPT ] || console=("${console[@]:1}")
}

# SIGTERM first: QEMU then closes the image properly.  SIGKILL if it does not react.
stop_qemu() {
    local deadline=$((SECONDS + 5))

    [ -n "$qemu_pid" ] || return 0
    kill -TERM "$qemu_pid" 2>/dev/null || true
    while kill -0 "$qemu_pid" 2>/dev/null; do
        [ $SECONDS -lt $deadline ] || kill -KILL "$qemu_pid" 2>/dev/null || true
        sleep 0.05
    done
    qemu_pid=
}

start_qemu() {
    # QEMU splits options at commas; a doubled comma is a comma.
    local file="file.driver=file,file.discard=unmap,file.filename=${1//,/,,}"

    # The driver is said, never probed.  A backing file is followed by the name in the image's
    # header, which is right only here: the image comes from our own test. -nodefaults: without
    # floppy, network card and display the BIOS is through at once. -no-reboot: a kernel that
    # panics ends the run instead of booting again.
    coproc QEMU {
        exec qemu-system-x86_64 -nodefaults -no-user-config -no-reboot \
            -machine pc -accel tcg -cpu max -smp 1 -m "$MEMORY_MIB" -display none \
            -blockdev "driver=$FORMAT,node-name=disk,discard=unmap,$file" \
            -device virtio-blk-pci,drive=disk,bootindex=1 \
            -chardev stdio,id=console,signal=off -serial chardev:console
    }
    # shellcheck disable=SC2153   # set by coproc
    qemu_pid=$QEMU_PID
    # bash forgets the coprocess's descriptors when it ends; its last lines are still to be read
    # then.
    exec {from_guest}<&"${QEMU[0]}" {to_guest}>&"${QEMU[1]}"
}

# next_answer WHAT: wait for the guest's next "golden:" line, print it, leave it in $answer.
next_answer() {
    local what=$1 line left status

    while :; do
        left=$((deadline - SECONDS))
        [ "$left" -gt 0 ] || die "time-out: no answer to '$what' within $TIMEOUT_S s"
        status=0
        IFS= read -r -t "$left" -u "$from_guest" line || status=$?
        # Above 128: the time is up, and the loop's first line says so.
        [ "$status" -le 128 ] || continue
        [ "$status" -eq 0 ] || die "the guest ended before it answered '$what'"

        line=${line//$'\r'/}
        remember "$line"
        # The BIOS may leave escape sequences in front of the first line.
        if [[ $line == *"golden: "* ]]; then
            answer=${line#*golden: }
            printf 'golden: %s\n' "$answer"
            [[ $answer != error:* ]] || die "the guest reports an error after '$what'"
            return
        fi
    done
}

send() {
    # SIGPIPE is ignored (see main), or QEMU's death would end this script without a word.
    printf '%s\n' "$1" 2>/dev/null 1>&"$to_guest" || die "the guest ended before '$1' could be sent"
}

# The guest is off when QEMU has closed the console and gone.
wait_for_end() {
    local line left status=0

    while :; do
        left=$((deadline > SECONDS ? deadline - SECONDS : 1))
        IFS= read -r -t "$left" -u "$from_guest" line || status=$?
        [ "$status" -le 128 ] || die "time-out: the guest did not power off within $TIMEOUT_S s"
        [ "$status" -eq 0 ] || break
        remember "${line//$'\r'/}"
    done
    status=0
    wait "$qemu_pid" || status=$?
    qemu_pid=
    [ "$status" -eq 0 ] || die "QEMU failed with exit code $status"
}

main() {
    local disk command answer deadline

    [ $# -ge 1 ] || {
        echo "usage: run-guest.sh DISK [COMMAND...]" >&2
        exit 2
    }
    case $FORMAT in
    qcow2 | raw) ;;
    *) die "GUEST_FORMAT is '$FORMAT', not qcow2 or raw" ;;
    esac
    disk=$1
    shift
    if [ ! -r "$disk" ] || [ ! -w "$disk" ]; then
        die "cannot read and write '$disk'"
    fi

    trap stop_qemu EXIT
    trap 'exit 1' HUP INT TERM
    trap '' PIPE
    deadline=$((SECONDS + TIMEOUT_S))
    start_qemu "$disk"

    next_answer "power on"
    [ "$answer" = up ] || die "the guest's first word was '$answer', not 'up'"
    next_answer "power on"
    for command; do
        send "$command"
        next_answer "$command"
    done
    send off
    next_answer off
    wait_for_end
}

main "$@"
