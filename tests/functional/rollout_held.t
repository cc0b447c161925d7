#!/bin/bash
# rollout_held.t: on the way back a desktop is in use, or its store is away: the others go back, the
# roll-out stops, and the trash keeps that desktop's former disk until it is brought back or given up.
. "$(dirname "$0")/lib.sh"

row_of() { ctlj rollout show "$1" --desktops | jq -r --arg name "$2" '.[] | select(.name == $name) | .state'; }
version_of() { field .version desktop show "$1"; }
# The entry with the disk that a roll-out replaced.
entry_of() { ctlj trash list | jq -r --arg name "$1" '.[] | select(.reason == "rollout" and .desktop == $name) | .id'; }

# As a guest's QEMU has it: for writing.
run_guest()
{
    rm -f "$top/nbd"
    qemu-storage-daemon --blockdev "driver=qcow2,node-name=a,file.driver=file,file.filename=$(path_of "$1")" \
        --nbd-server "addr.type=unix,addr.path=$top/nbd" --export type=nbd,id=e,node-name=a,writable=on &
    guest=$!
    keep_pid $guest
    wait_for 20 test -S "$top/nbd"
}
shut_down()
{
    kill $guest
    wait $guest 2>/dev/null
    true
}

configure 'trash_keep = 1s' # what nothing holds goes at once
ok 'the daemon starts' start_daemon
mkdir "$top/side"
ctl store add side "$top/side" >/dev/null
make_raw "$top/a.raw" 16M 0 0x11 1M
make_raw "$top/b.raw" 16M 0 0x33 2M
ctl template import win "$top/a.raw" --format raw >"$top/said"
ctl desktop create --prefix lab --count 3 --template win >"$top/said"
ctl desktop create far --template win --store side >"$top/said"
ctl template import win "$top/b.raw" --format raw >"$top/said"
for i in 1 2 3; do mark lab-00$i 0x5$i; done
mark far 0x61

# ---- one that is in use ----

ok 'three move, and a guest runs in one of them' eval \
    'ctl rollout start --yes --template win --to 2 --prefix lab --canary 0 && run_guest lab-002'
ok '(one that goes back is changed first)' mark lab-003 0x73
fails_with 1 "stopped: 1 desktop could not be brought back now: desktop 'lab-002': .*in use by QEMU.*imagectl rollout rollback win-2" \
    'rollback stops, and says what to do' ctl rollout rollback --yes win-2
json_ok '... not over' "$(ctlj rollout show win-2)" '.state == "stopped" and .n_returned == 2 and .n_held == 1
    and .n_kept == 0 and .n_moved == 0 and .finished_at == null and (.reason | test("brought back now"))'
is "$(version_of lab-001) $(version_of lab-002) $(version_of lab-003)" '1 2 1' 'the others are back'
ok '... with their marks' eval 'has lab-001 0x51 && has lab-003 0x53'
is "$(row_of win-2 lab-002)" held 'its row says that it is held'
json_ok '... and where its former disk is' "$(ctlj rollout show win-2 --in-state held)" 'length == 1 and .[0].trash == $id and (.[0].reason | test("QEMU"))' \
    --arg id "$(entry_of lab-002)"
like "$(ctl rollout show win-2)" 'lab-002 .*held' 'show lists it'
like "$(ctl event list)" 'rollout.stop .*brought back now' 'an event tells'
like "$(http GET /metrics)" '^imaged_rollouts_stopped 1$' '... and metrics'

only_held() { [ "$(field 'map(.desktop + " " + .reason) | join(",")' trash list)" = 'lab-002 rollout' ]; }
ok 'what the others had expires, and its former disk does not' wait_for 90 only_held
held=$(entry_of lab-002)
fails_with 4 'may bring it back' 'it is not emptied by name' ctl trash empty "$held" --yes
ctl trash empty --yes >"$top/said" 2>&1
ok '... nor with all' only_held
fails_with 4 "lab-002.* is part of roll-out 'win-2'" 'nobody else rolls over it' ctl rollout start --yes --template win --to 1 lab-002
fails_with 2 'not over' 'the roll-out is not forgotten' ctl rollout delete win-2
fails_with 1 'brought back now.*QEMU' 'it is tried again, in vain' ctl rollout rollback --yes win-2
fails_with 1 'brought back now.*QEMU' '... by resume as well' ctl rollout resume win-2
stop_daemon KILL
configure 'trash_keep = 7d'
ok 'the daemon is killed, and starts' start_daemon
is "$(field '"\(.state) \(.n_held)"' rollout show win-2)" 'stopped 1' '... stopped it stays'
ok '... with the disk' [ "$(entry_of lab-002)" = "$held" ]
shut_down
ok 'the guest is shut down: rollback' ctl rollout rollback --yes win-2
json_ok '... ends it' "$(ctlj rollout show win-2)" '.state == "rolled-back" and .n_returned == 3 and .n_held == 0 and .finished_at != null'
ok 'with the very disk it had' has lab-002 0x52
is "$(version_of lab-002)" 1 '... on its former version'
ok '... which QEMU likes' qemu-img check -q "$(path_of lab-002)"
fails_with 2 'no desktop' 'nothing is left to be brought back' ctl rollout rollback --yes win-2
ok 'and it can be forgotten' ctl rollout delete win-2
ok 'every byte is accounted for' check_is_clean

# ---- a store that is away ----

ok 'desktops of two stores move' ctl rollout start --yes --template win --to 2 lab-001 far
mv "$top/side" "$top/unplugged"
store_is() { [ "$(field .state store show side)" = "$1" ]; }
ok 'one store goes away' wait_for 20 store_is offline
fails_with 1 "brought back now: desktop 'far': " 'rollback stops' ctl rollout rollback --yes win-2
is "$(row_of win-2 lab-001) $(row_of win-2 far)" 'returned held' '... with the other one brought back'
mv "$top/unplugged" "$top/side"
ok 'the store is there again' wait_for 20 store_is online
ok 'resume goes on with the way back' ctl rollout resume win-2
is "$(field .state rollout show win-2) $(version_of far)" 'rolled-back 1' '... to its end'
ok '... with its mark' has far 0x61
ctl rollout delete win-2 >"$top/said"

# ---- given up ----

ok 'two move, one runs' eval 'ctl rollout start --yes --template win --to 2 lab-001 lab-003 --canary 0 && run_guest lab-003'
fails_with 1 'brought back now' 'rollback stops' ctl rollout rollback --yes win-2
fails_with 1 '1 desktop could not be brought back' 'resume --skip-failed leaves it' ctl rollout resume win-2 --skip-failed
json_ok '... and ends' "$(ctlj rollout show win-2)" '.state == "rolled-back" and .n_kept == 1 and .n_held == 0 and .finished_at != null'
is "$(row_of win-2 lab-003) $(version_of lab-003)" 'kept 2' '... as it is'
ok 'now the trash lets go of its former disk' ctl trash empty "$(entry_of lab-003)" --yes
shut_down
fails_with 1 '1 desktop could not be brought back' 'a rollback comes too late, and is over' ctl rollout rollback --yes win-2
json_ok '... which is said' "$(ctlj rollout show win-2 --desktops)" '.[] | select(.name == "lab-003") | .state == "kept" and (.reason | test("in the trash no more"))'
ctl rollout delete win-2 >"$top/said"

ok 'two more' eval 'ctl rollout start --yes --template win --to 2 lab-001 lab-002 --canary 0 && run_guest lab-001'
fails_with 1 'brought back now' 'rollback stops' ctl rollout rollback --yes win-2
ok 'cancel ends it' ctl rollout cancel win-2
is "$(field .state rollout show win-2) $(row_of win-2 lab-001)" 'cancelled kept' '... with nothing held'
ok '... its former disk may go' eval 'ctl trash empty "$(entry_of lab-001)" --dry-run | grep lab-001'
shut_down
ok 'while that is there it comes back all the same' ctl rollout rollback --yes win-2
is "$(field .state rollout show win-2) $(row_of win-2 lab-001)" 'rolled-back returned' '... and it is over'
ok '... with its mark' has lab-001 0x51
ok 'every byte is accounted for' check_is_clean
done_testing
