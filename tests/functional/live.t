#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# live.t: snapshots and merges of desktops that run, on a real libvirtd and QEMU; the daemon killed at
# changes of theirs, the host frozen, cut off and switched off meanwhile.  The guests count on their own
# disks, and would tell if they ran twice or lost a write.
# heavy: guests under TCG
. "$(dirname "$0")/lib.sh"
. "$repo/tests/guest/vhosts.sh"
. "$repo/tests/guest/counter_guest.sh"
. "$here/killed_lib.sh"

counter_begin 1 a b
# The file that QEMU writes to, by libvirt; and by the catalog.
written() { vhost_virsh 1 domblklist "$1" | awk '$1 == "vda" { print $2 }'; }
snapshot_path() { echo "$store/layers/$(field .layer snapshot show "$1" "$2")"; }
counter_flush() { vhost_flush 1 a; vhost_flush 1 d; }
image_is_sound() { qemu-img check -U -q "$1"; }

ok 'start' ctl desktop start a
ok 'it counts' counter_runs "$(path_of a)"

# ---- Snapshots ----

before=$(counter_of "$(path_of a)")
old=$(path_of a)
ok 'a snapshot while it runs' ctl snapshot create a one
isnt "$(path_of a)" "$old" 'its disk is another file'
is "$(written a)" "$(path_of a)" '... which QEMU writes to'
is "$(snapshot_path a one)" "$old" 'the snapshot has the former one'
is "$(stat -c %a "$old")" 440 '... frozen'
sum=$(sha256sum <"$old")
ok 'it counts on' counter_runs "$(path_of a)"
is "$(sha256sum <"$old")" "$sum" 'the snapshot stays as it is'
ok '... and holds what was counted until then' counter_is_sound "$old" "$before"
ok 'no write was lost' counter_is_sound "$(path_of a)" "$before"
ok "QEMU's tool finds the snapshot sound" image_is_sound "$old"
json_ok 'it is told so' "$(ctlj event list)" 'any(.[]; .name == "snapshot.create" and (.message | test("while it ran")))'
ok 'snapshots of one that runs and one that is off' ctl snapshot create a b two
is "$(written a)" "$(path_of a)" 'the one writes to its new disk'
fails_with 1 'already' 'the same name again' ctl snapshot create a two
ok 'the check is clean' check_is_clean
ok 'stop' ctl desktop stop a --force
ok "QEMU's tool finds the disk sound" image_is_sound "$(path_of a)"
ok 'back to the first' ctl snapshot revert a one --yes
ok 'start' ctl desktop start a
at=$(counter_of "$old")
ok 'it counts from there' wait_for 20 counter_is_beyond "$(path_of a)" "$at"

# ---- Merges ----

ctl snapshot create a three >/dev/null && ctl snapshot create a four >/dev/null
counter_runs "$(path_of a)" >/dev/null
# The files that QEMU has open, by libvirt; and those of the chain, by QEMU's tool.
open_files() { vhost_virsh 1 dumpxml a | sed -n "/device='disk'/,/<target/s/.*<source file='\([^']*\)'.*/\1/p"; }
chain_files() { qemu-img info -U --backing-chain --output=json "$(path_of a)" | jq -r '.[].filename' | xargs -n 1 realpath; }
at=$(counter_of "$(path_of a)")
three=$(snapshot_path a three)
ok 'a snapshot below another one is deleted while it runs' ctl snapshot delete a three --yes
is "$(open_files)" "$(chain_files)" 'QEMU has the files of the chain as it is now'
is "$(written a)" "$(path_of a)" '... and writes to the disk'
ok 'it counts on' counter_runs "$(path_of a)"
ok 'no write was lost' counter_is_sound "$(path_of a)" "$at"
ok "QEMU's tool finds its layer sound" image_is_sound "$(path_of a)"
ok 'the uppermost snapshot is deleted while it runs' ctl snapshot delete a four --yes
is "$(open_files)" "$(chain_files)" 'QEMU has the files of the chain as it is now'
ok 'it counts on' counter_runs "$(path_of a)"
ok 'no write was lost' counter_is_sound "$(path_of a)" "$at"
ok 'the snapshots before hold what they held' counter_is_sound "$(snapshot_path a one)" "$before"
is "$(sha256sum <"$(snapshot_path a one)")" "$sum" '... to the last byte'
ok 'the check is clean' check_is_clean

# ---- With a data disk ----

data_path() { echo "$store/layers/$(field .data_layer desktop show "$1")"; }
data_written() { vhost_virsh 1 domblklist "$1" | awk '$1 != "vda" && $2 ~ "/layers/" { print $2 }'; }
ctl desktop create d --template count --data-disk 8M >/dev/null
qemu-io -f qcow2 -c 'write -P 0x5a 1M 64k' "$(data_path d)" >/dev/null
ok 'start one with a data disk' ctl desktop start d
ok 'it counts' counter_runs "$(path_of d)"
old=$(data_path d)
ok 'a snapshot of both' ctl snapshot create d one
isnt "$(data_path d)" "$old" 'its data disk is another file, too'
is "$(vhost_virsh 1 domblklist d | awk '$1 == "vda" { print $2 }') $(data_written d)" "$(path_of d) $(data_path d)" 'QEMU writes to both new ones'
is "$(stat -c %a "$old")" 440 'the former one is frozen'
ok 'the snapshot is deleted while it runs' ctl snapshot delete d one --yes
is "$(vhost_virsh 1 domblklist d | awk '$1 == "vda" { print $2 }') $(data_written d)" "$(path_of d) $(data_path d)" 'QEMU writes to the disks of the catalog'
ok 'it counts on' counter_runs "$(path_of d)"
ok 'stop' ctl desktop stop d --force
ok '... the data is there' qemu-io -r -f qcow2 -c 'read -P 0x5a 1M 64k' "$(data_path d)"
ok "QEMU's tool finds the data disk sound" image_is_sound "$(data_path d)"
fails_with '[14]' 'it runs' 'compacting is for desktops that are off' ctl desktop compact a
fails_with '[14]' 'desktop stop' '... which is said, as for flattening' ctl desktop flatten a

# ---- Off, back, and on again ----

at=$(counter_of "$(path_of a)")
fails_with 4 'it runs' 'one that runs does not go back' ctl snapshot revert a one --yes
ok '... unless it may be stopped' ctl snapshot revert a one --stop --yes
is "$(written a)" "$(path_of a)" 'it runs from the new disk'
ok '... on which it counts from there' wait_for 20 counter_is_beyond "$(path_of a)" "$before"
ok '... as it does' counter_is_sound "$(path_of a)" "$before"
ok '... far behind where it was' [ "$counter" -lt "$at" ]
fails_with 4 'it runs' 'nor is that undone while it runs' ctl desktop undo-reset a --yes
ok '... unless it may be stopped' ctl desktop undo-reset a --stop --yes
is "$(written a)" "$(path_of a)" 'it runs from the former disk'
ok '... and counts on there' wait_for 20 counter_is_beyond "$(path_of a)" "$at"
ok 'no write was lost' counter_is_sound "$(path_of a)" "$at"
ctl snapshot revert a one --stop --yes --no-wait >/dev/null
stop_daemon KILL
start_daemon || exit 1
ok 'killed in it: its job comes to an end' wait_for 60 jobs_are_over
ok '... it runs' counter_runs "$(path_of a)"
ok '... from there' counter_is_sound "$(path_of a)" "$before"
is "$(written a)" "$(path_of a)" '... on its disk'


# ---- The daemon is killed at each change that a snapshot makes ----

killed_hosts_are_up() { host_is h1 up; }
agrees() { [ "$(written a)" = "$(path_of a)" ]; }
runs_once() { [ "$(vhost_guests 1)" = a ]; }
# Changes of a verb on the desktop a that runs: PREPARE NAME, then VERB NAME, killed in its N-th change.
# Three of them, others at each run; SWEEP=1: all.
at_changes()
{
    local what=$1 prepare=$2 verb=$3 n n_killed=0 bad='' how at step=$((20 + RANDOM % 20))
    n=$((FIRST + RANDOM % 30))
    [ "${SWEEP:-}" ] && n=$FIRST step=1
    echo "# $what from $n by $step"
    while { [ "${SWEEP:-}" ] || [ $n_killed -lt 3 ]; } && $prepare "k$n" && killed_at $n $verb "k$n"; do
        if [ "$was_at_work" ]; then
            n_killed=$((n_killed + 1))
            at=$(counter_of "$(path_of a)")
            agrees || bad+=" $n:agree"
            runs_once || bad+=" $n:once"
            counter_runs "$(path_of a)" || bad+=" $n:runs"
            how=$(counter_is_sound "$(path_of a)" "$at") || bad+=" $n:sound ($how)"
            image_is_sound "$(path_of a)" || bad+=" $n:image"
        fi
        n=$((n + step))
    done >/dev/null 2>&1
    is "$bad" "" "killed at each of $n_killed changes of $what, it agrees with its host, and no write is lost"
    ok "... and at some of them, until $n" [ $n_killed -gt 0 ]
}
FIRST=${FIRST:-20} # the start of the daemon makes about so many
create_k() { ctl snapshot create a "$1"; }
delete_k() { ctl snapshot delete a "$1" --yes; }
at_changes 'a snapshot' true create_k
at_changes 'a merge' create_k delete_k
at=$(counter_of "$(path_of a)")
is "$(sha256sum <"$(snapshot_path a one)")" "$sum" 'the first snapshot holds what it held'
ok 'the check is clean' check_is_clean
ok 'stop' ctl desktop stop a --force
ok 'no write was lost, on the disk as it is then' counter_is_sound "$(path_of a)" "$at"
ok "QEMU's tool finds it sound" image_is_sound "$(path_of a)"
done_testing
