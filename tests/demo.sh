#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# demo.sh BUILD_DIR: what imaged is for, shown on real guests (this is `make demo`).
#
# One golden template becomes 100 desktops.  One of them is booted and written to, re-imaged, and
# brought back; each time the guest itself says what it finds on its disk, and the demo fails if
# that is not what should be there.
#
# All it makes is in one scratch folder that is gone at the end, however it ends.  Only the
# downloaded Debian packages stay, in BUILD_DIR/cache/golden.
set -euo pipefail
export LC_ALL=C

readonly N_DESKTOPS=100
readonly MARKER="a user was here"
readonly START_LIMIT_S=30
readonly STOP_LIMIT_S=30

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
scratch=
daemon_pid=
guest_pid=
n_step=0

die() {
    printf '\ndemo: %s\n' "$*" >&2
    if [ -n "$scratch" ] && [ -s "$scratch/imaged.log" ]; then
        printf 'demo: the last lines of imaged:\n' >&2
        tail -n 20 "$scratch/imaged.log" | sed 's/^/    /' >&2
    fi
    exit 1
}

# step SENTENCE...: announce what comes next, for somebody who has never seen imaged.
step() {
    n_step=$((n_step + 1))
    printf '\n%d. %s\n' "$n_step" "$1"
    shift
    [ $# -eq 0 ] || printf '   %s\n' "$@"
}

# show_command WORD...: print a command as one would type it.
show_command() {
    local word quoted=

    for word; do
        # A name or a path is printed as it is; anything else needs its quotes to be read correctly.
        [[ $word =~ ^[A-Za-z0-9_./:=@%+,-]+$ ]] || word="\"$word\""
        quoted+=" $word"
    done
    printf '   $%s\n' "$quoted"
}

# imagectl ARG...: show the command, run it, show what it prints.
imagectl() {
    show_command imagectl "$@"
    "$build/imagectl" "$@" | sed -u 's/^/   /' || die "'imagectl $*' failed with exit code $?"
}

now_ms() {
    echo $((${EPOCHREALTIME/[.,]/} / 1000))
}

# wait_for_pid_end PID LIMIT_S
wait_for_pid_end() {
    local deadline=$((SECONDS + $2))

    while kill -0 "$1" 2>/dev/null; do
        [ $SECONDS -lt $deadline ] || return 1
        sleep 0.05
    done
}

# Everything that this script started, and nothing else.
cleanup() {
    local pid

    for pid in $guest_pid $daemon_pid; do
        kill -TERM "$pid" 2>/dev/null || continue
        wait_for_pid_end "$pid" 10 || kill -KILL "$pid" 2>/dev/null || true
    done
    [ -z "$scratch" ] || rm -rf "$scratch"
}

start_daemon() {
    local deadline=$((SECONDS + START_LIMIT_S))

    show_command imaged --state "$IMAGED_STATE"
    "$build/imaged" --state "$IMAGED_STATE" >"$scratch/imaged.out" 2>"$scratch/imaged.log" &
    daemon_pid=$!
    until grep -q '^ready' "$scratch/imaged.out"; do
        if ! kill -0 "$daemon_pid" 2>/dev/null; then
            daemon_pid=
            die "imaged ended before it was ready"
        fi
        [ $SECONDS -lt $deadline ] || die "imaged was not ready within $START_LIMIT_S s"
        sleep 0.02
    done
    sed 's/^/   /' "$scratch/imaged.out"
}

stop_daemon() {
    local status=0

    kill -TERM "$daemon_pid"
    wait_for_pid_end "$daemon_pid" "$STOP_LIMIT_S" ||
        die "imaged did not end within $STOP_LIMIT_S s after SIGTERM"
    wait "$daemon_pid" || status=$?
    daemon_pid=
    [ "$status" -eq 0 ] || die "imaged ended with exit code $status"
    echo "   imaged has ended."
}

# boot_desktop NAME [COMMAND...]: run the desktop's disk, leave what its guest said in $guest_words.
# In the background, so that a signal to the demo is acted on while the guest runs.
boot_desktop() {
    local name=$1 path status=0 start_ms
    shift

    show_command imagectl desktop path "$name"
    path=$("$build/imagectl" desktop path "$name") || die "'imagectl desktop path $name' failed"
    printf '   %s\n' "$path"

    show_command "tests/guest/run-guest.sh" "$path" "$@"
    start_ms=$(now_ms)
    "$here/guest/run-guest.sh" "$path" "$@" >"$scratch/guest.out" &
    guest_pid=$!
    wait "$guest_pid" || status=$?
    guest_pid=
    sed 's/^/   /' "$scratch/guest.out"
    [ "$status" -eq 0 ] || die "the guest on $name did not do what it was asked"
    printf '   (booted, done and off in %d ms)\n' $(($(now_ms) - start_ms))
    guest_words=$(<"$scratch/guest.out")
}

# expect_marker TEXT WHY: the guest must have found exactly this on its disk.
expect_marker() {
    grep -qxF "golden: marker $1" <<<"$guest_words" || die "$2"
}

prepare() {
    local program

    if [ $# -ne 1 ]; then
        echo "usage: demo.sh BUILD_DIR" >&2
        exit 2
    fi
    build=$(cd "$1" && pwd) || die "there is no folder '$1'"
    for program in imaged imagectl; do
        [ -x "$build/$program" ] || die "$build/$program is missing: run 'make' first"
    done
    command -v qemu-system-x86_64 >/dev/null || die "'qemu-system-x86_64' is not installed"

    trap cleanup EXIT
    trap 'exit 1' HUP INT TERM
    # A short name: the path of a unix socket may not be longer than 107 bytes.
    scratch=$(mktemp -d "${TMPDIR:-/tmp}/imaged-demo.XXXXXX")
    # The demo's own daemon, whatever the user's environment points at.
    export IMAGED_STATE=$scratch/state
    unset IMAGED_SOCKET IMAGED_URL
    mkdir -p "$build/cache/golden"
}

main() {
    local begin_ms start_ms create_ms reset_ms golden

    prepare "$@"
    begin_ms=$(now_ms)
    golden=$scratch/golden.raw
    echo "imaged keeps disk images of desktops: one golden template, and a thin diff for each."
    echo "All of this happens in $scratch, which is removed at the end."

    step "Build a golden image: a small system of Debian packages that boots from its own disk." \
         "(The first time this downloads 27 MB of Debian packages.)"
    show_command tests/guest/make-golden.sh "$golden" "$build/cache/golden"
    "$here/guest/make-golden.sh" "$golden" "$build/cache/golden" ||
        die "cannot build the golden image"
    printf '   %s: %d MiB for the guest, %d MiB on this disk\n' "$golden" \
        $(($(stat -c %s "$golden") / 1048576)) $(($(stat -c '%b * %B' "$golden") / 1048576))

    step "Start the daemon.  Its whole state is one folder; it needs no other server."
    start_daemon

    step "Import the image as a template: from now on no byte of it changes."
    imagectl template import debian-mini "$golden" --format raw --memory 256M --cpus 1 \
        --os "Debian 12 (mini)"

    step "Create $N_DESKTOPS desktops from the template.  Each is one small file on top of it."
    start_ms=$(now_ms)
    imagectl desktop create --prefix desk --count "$N_DESKTOPS" --template debian-mini
    create_ms=$(($(now_ms) - start_ms))
    printf '   (%d desktops in %d ms)\n' "$N_DESKTOPS" "$create_ms"

    step "Boot desk-001 in QEMU.  Its user leaves something on the disk: a marker."
    boot_desktop desk-001 "mark $MARKER" show
    expect_marker NONE "desk-001 was not like its template when it was new"
    expect_marker "$MARKER" "desk-001 did not keep what its user wrote"

    step "Re-image desk-001: back to the template, whatever happened to it."
    start_ms=$(now_ms)
    imagectl desktop reset desk-001 --yes
    reset_ms=$(($(now_ms) - start_ms))
    printf '   (%d ms, with the start of imagectl)\n' "$reset_ms"

    step "Boot it again: the marker must be gone."
    boot_desktop desk-001
    expect_marker NONE "the marker is still there after the reset"

    step "That was a mistake?  The replaced disk is in the trash: bring it back."
    imagectl desktop undo-reset desk-001 --yes

    step "Boot it again: the marker must be back."
    boot_desktop desk-001
    expect_marker "$MARKER" "the marker is not back after the undo"

    step "What does sharing save?"
    imagectl report savings

    step "Is every byte in the store accounted for?"
    imagectl store check

    step "Stop the daemon."
    stop_daemon

    cat <<SUMMARY

What you have seen, in $((($(now_ms) - begin_ms) / 1000)) s:
 - one template, $N_DESKTOPS desktops on top of it, created in $create_ms ms
 - desk-001 booted from its thin disk; what its user wrote stayed on it
 - one command took it back to the template ($reset_ms ms), another brought the user's disk back;
   the guest itself confirmed both
 - the savings report, and a check that every byte in the store is accounted for
SUMMARY
}

main "$@"
