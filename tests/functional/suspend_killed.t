#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# suspend_killed.t: memory of desktops is saved and gone on with, and meanwhile the daemon is killed (at
# each of its changes, at any moment, while the host writes), the store is full or its disk fails, the host
# dies.  Then the desktop is on, suspended with a file that is good, or off; it never goes on with a
# disk that is not the one of its memory, and never runs twice: its guest would tell (counter.S).
#
#   SWEEP=1   killed at all changes of both verbs, and at 20 moments;  SEED=N  the same choices once more
# heavy: guests under TCG
. "$(dirname "$0")/lib.sh"
. "$repo/tests/guest/libvirt.sh"
. "$repo/tests/guest/counter_guest.sh"
. "$here/killed_lib.sh"
trap 'libvirt_stop; [ -z "$daemon" ] || stop_daemon; umount -l "$top/small" 2>/dev/null; cleanup' EXIT

SEED=${SEED:-$((($(date +%N | sed 's/^0*//') + $$) % 32768))}
RANDOM=$SEED
diag "again: SEED=$SEED"
chmod 755 "$top"
start_daemon || exit 1
counter_image "$top/g.raw"
ctl template import count "$top/g.raw" --format raw --memory 32M --cpus 1 >/dev/null 2>&1
truncate -s 256M "$top/small.img"
mkfs.ext4 -qF -m 0 "$top/small.img"
mkdir "$top/small"
ok 'a small file system' mount -o loop "$top/small.img" "$top/small" || { done_testing; exit 1; }
ok 'a store' ctl store add small "$top/small/store"
ctl desktop create a --template count --store small >/dev/null
run_of() { field .run desktop show a; }
is_run() { [ "$(run_of)" = "$1" ]; }
killed_hosts_are_up() { [ "$(field .state host show h)" = up ]; }
counter_flush() { libvirt_virsh suspend a && libvirt_virsh resume a; } >/dev/null 2>&1
n_files() { find "$top/small/store/config" -name '*.mem' 2>/dev/null | wc -l; }
has_no_file() { [ "$(n_files)" = 0 ]; }
# Those whose QEMU is there, libvirt asked or not.
qemus() { libvirt_inside pgrep -cf '^/usr/bin/qemu-system.*guest=a,'; }
# The host and the catalog say the same, and no job is under way.
agrees()
{
    local is
    jobs_are_over || return
    is=$(run_of)
    case $is in
    running) [ "$(qemus)" = 1 ] && [ "$(libvirt_virsh domstate a)" = running ] ;;
    suspended | off) [ "$(qemus)" = 0 ] ;;
    *) return 1 ;;
    esac
}

# What writes a memory for libvirt waits for us while there is this file, or fails.
io=$top/io
mkdir "$io"
cp /usr/lib/libvirt/libvirt_iohelper "$io/real"
cat >"$io/helper" <<E2
#!/bin/bash
PATH=/usr/bin:/bin
touch $io/begun
while [ -e $io/hold ]; do sleep 0.02; done
[ ! -e $io/eio ] || exec strace -qq -o /dev/null -e trace=write -e inject=write:error=EIO:when=1+ $io/real "\$@"
exec $io/real "\$@"
E2
chmod 755 "$io" "$io/helper"
start_host()
{
    LIBVIRT_NET=1 libvirt_start "$top/lv" && libvirt_inside mount --bind "$io/helper" /usr/lib/libvirt/libvirt_iohelper
}
start_host || exit 1
ctl host add h "qemu+unix:///system?socket=$top/lv/run/libvirt-sock" --accelerator tcg >/dev/null
ok 'a host' wait_for 60 killed_hosts_are_up
ok 'start' ctl desktop start a
ok 'it counts' counter_runs "$(path_of a)"

# ---- Killed ----

declare -A ended=([running]=0 [suspended]=0 [off]=0)
# After a kill: it is one of three things, and is on at the end.  Says what is wrong.  at, boots: before it.
look()
{
    local is
    wait_for 60 killed_hosts_are_up || { echo 'its host is not found again'; return; }
    wait_for 60 agrees || { echo "catalog: $(run_of), QEMUs: $(qemus), $(libvirt_virsh list --all | xargs); $(ctl job list | tail -n 3)"; return; }
    is=$(run_of)
    how=$is
    if [ "$is" = suspended ]; then
        [ "$(n_files)" = 1 ] || echo "suspended with $(n_files) files"
        check_is_clean || echo 'suspended, and the check is not clean'
        ctl desktop resume a >"$top/said" 2>&1 || echo "what is suspended does not go on: $(cat "$top/said")"
    elif [ "$is" = off ]; then
        ctl desktop start a >"$top/said" 2>&1 || echo "what is off does not start: $(cat "$top/said")"
        boots=$((boots + 1))
    fi
    counter_runs "$(path_of a)" || echo 'it does not count'
    counter_is_sound "$(path_of a)" "$at"
    [ "$n_boots" = "$boots" ] || echo "it has booted $n_boots times, not $boots"
    [ "$(qemus)" = 1 ] || echo "$(qemus) of it run"
}
# Before a kill: on, or suspended.  Sets at and boots.
begin()
{
    wait_for 60 killed_hosts_are_up
    is_run running || ctl desktop start a
    counter_runs "$(path_of a)"
    at=$counter boots=$n_boots
    [ "$1" != suspended ] || ctl desktop suspend a
} >/dev/null 2>&1
suspend_a() { ctl desktop suspend a; }
resume_a() { ctl desktop resume a; }
note_look()
{
    local said
    look >"$top/look"
    said=$(cat "$top/look")
    [ -z "$said" ] || bad+="$1: $said; "
    ended[$how]=$((ended[$how] + 1))
}
# at_changes WHAT BEFORE VERB: three of them, others at each run; SWEEP=1: all.
at_changes()
{
    local n n_killed=0 first last step
    bad='' how=
    begin "$2"
    killed_range "$3" >/dev/null || { fail "$1 without a fault"; return; }
    step=$(((last - first) / 3 + 1))
    n=$((first + RANDOM % step))
    [ "${SWEEP:-}" ] && n=$first step=1
    while [ "$n" -le $((last + 1)) ] && begin "$2" && killed_at $n "$3"; do
        [ -z "$was_at_work" ] || n_killed=$((n_killed + 1))
        note_look "$n"
        n=$((n + step))
    done
    is "$bad" '' "killed at $n_killed of the $((last - first + 1)) changes of $1"
    ok '... and was' [ $n_killed -gt 0 ]
}
at_changes suspend running suspend_a
at_changes resume suspended resume_a

# at_moments WHAT BEFORE VERB: at any moment.
at_moments()
{
    local i ms client
    bad='' how=
    for ((i = 0; i < ${SWEEP:+10}${SWEEP:-2}; i++)); do
        begin "$2"
        ms=$((RANDOM % 500))
        "$3" >/dev/null 2>&1 &
        client=$!
        sleep "$(printf '0.%03d' $ms)" # any moment will do
        stop_daemon KILL
        kill $client 2>/dev/null
        wait $client 2>/dev/null
        start_daemon
        note_look "$ms ms"
    done
    is "$bad" '' "killed at $i moments of $1"
}
at_moments suspend running suspend_a
at_moments resume suspended resume_a
diag "after that it was: running ${ended[running]}, suspended ${ended[suspended]}, off ${ended[off]} times"

# ---- While the host writes ----

has_begun() { [ -e "$io/begun" ]; }
# Suspend it, and return when the host is about to write.
suspend_half()
{
    begin running
    rm -f "$io/begun"
    touch "$io/hold"
    ctl desktop suspend a --no-wait >/dev/null
    wait_for 30 has_begun
}
newest_job() { sqlite3 -readonly -cmd '.timeout 10000' "$state/catalog.db" 'SELECT state, error_message, result FROM job ORDER BY created_at DESC LIMIT 1'; }

ok 'the host begins to write' suspend_half
stop_daemon KILL
start_daemon || exit 1
ok 'killed meanwhile, its host is found again' wait_for 60 killed_hosts_are_up
like "$(run_of)" '^(running|paused)$' '... and it is on still'
fails_with 4 'busy' '... and nobody else is let in to it' ctl desktop stop a --force
rm "$io/hold"
ok '... suspended, in the end, by what was begun before' wait_for 30 is_run suspended
is "$(look)" '' '... with all of its memory'

ok 'the store is full when the host writes' eval 'suspend_half && ! cat /dev/zero >"$top/small/ballast"'
rm "$io/hold"
ok '... the job ends' wait_for 60 jobs_are_over
like "$(newest_job)" 'cannot save its memory' '... and says what failed'
rm "$top/small/ballast"
ok 'it runs on' wait_for 30 is_run running
is "$(look)" '' '... as it was'
ok 'nothing is left of the file' wait_for 30 has_no_file

begin running
touch "$io/eio"
fails_with 1 'memory|Input/output error|write' 'the disk fails below the file' ctl desktop suspend a
rm "$io/eio"
is "$(look)" '' '... it runs on as it was'
ok '... nothing is left of the file' wait_for 30 has_no_file
ok 'then it can be suspended' begin suspended
is "$(look)" '' '... and goes on'

ok 'the host dies while it writes' suspend_half
libvirt_stop
rm "$io/hold"
start_host || exit 1
ok '... and comes again' wait_for 60 killed_hosts_are_up
ok '... it is off, which the host says' wait_for 60 is_run off
ok '... the check is clean' check_is_clean
is "$(look)" '' '... it is booted, on the disk that it had'
ok 'suspend' begin suspended
is "$(look)" '' '... with another file than the torn one'

# ---- No file is left over ----

stop_daemon
start_daemon || exit 1
ok 'what nobody needs is gone after the next start' wait_for 30 has_no_file
is "$(run_of)" running 'it runs'
ok 'stop' ctl desktop stop a --force
ok 'no write was lost' counter_is_sound "$(path_of a)" "$at"
ok "QEMU's tool finds its disk sound" qemu-img check -q "$(path_of a)"
ok 'the check is clean' check_is_clean
done_testing
