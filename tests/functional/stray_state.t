#!/bin/bash
# stray_state.t: the catalog and the store at odds for a moment or for longer: a check --repair beside
# data disks that change hands, trash entries of layers in use, roll-outs whose job is an old one.
#
# States that only a stop between two journals or an old catalog leaves are made with sqlite3 while
# the daemon is stopped.
. "$(dirname "$0")/lib.sh"

data_of() { ctl desktop path "$1" --data; }
sql() { sqlite3 "$state/catalog.db" "$@"; }
trash_of() { ctlj trash list | jq -r --arg k "$1" --arg r "$2" 'map(select(.kind == $k and .reason == $r)) | .[0].id'; }

configure 'max_chain_depth = 0'
make_raw "$top/g.raw" 16M 0 0x11 1M
make_raw "$top/g2.raw" 16M 0 0x12 1M
start_daemon || exit 1
ctl template import win "$top/g.raw" --format raw >/dev/null
ctl desktop create ann --template win --data-disk 64M >/dev/null
ctl desktop create bob cid --template win >/dev/null

# ---- a sweep beside jobs ----

# Detach and add, to and fro, while the store is put in order all the time: each time its file must
# be where the answer says.  (A sweep may hold a desktop for a moment: busy.)
(while [ ! -e "$top/enough" ]; do ctl store check --repair >/dev/null 2>&1; done) &
sweeper=$!
keep_pid $sweeper
lost=
from=ann
for _ in {1..25}; do
    to=bob
    [ $from = bob ] && to=ann
    wait_for 10 ctl desktop data-disk detach $from --yes || lost+=" detach"
    wait_for 10 ctl desktop data-disk add $to --disk "$(trash_of data detached)" || lost+=" add"
    [ -e "$(data_of $to)" ] || lost+=" $to"
    from=$to
done
: >"$top/enough"
wait $sweeper
is "$lost" '' 'a data disk that changes hands beside check --repair is where it belongs'
ok '... and after a last check' test -e "$(data_of $from)"
ok 'the check is clean' check_is_clean

# ---- trash entries of layers that a desktop names ----

layer_of() { field .layer desktop show "$1"; }
mark bob 0x61
mark cid 0x62
ctl desktop reset cid --yes >/dev/null
ctl desktop create dan eve --template win >/dev/null
ctl desktop reset dan eve --yes >/dev/null
ctl desktop delete eve --yes >/dev/null
entry_of() { sql "SELECT id FROM trash WHERE kind = '$1' AND name = '$2'"; }
cids=$(entry_of disk cid)
dans=$(entry_of disk dan)
eves=$(entry_of disk eve)
owner=$from
other=ann
[ $owner = ann ] && other=bob
ctl desktop create fay --template win --data-disk 64M >/dev/null
ctl desktop data-disk detach fay --yes >/dev/null
fays=$(entry_of data fay)
kept=$(sql "SELECT layer_id FROM trash WHERE id = '$cids'" "SELECT layer_id FROM trash WHERE id = '$fays'")
stop_daemon
sql "UPDATE trash SET layer_id = '$(sql "SELECT layer_id FROM desktop WHERE name = 'bob'")' WHERE id = '$cids'" \
    "UPDATE trash SET layer_id = '$(sql "SELECT data_layer_id FROM desktop WHERE name = '$owner'")' WHERE id = '$fays'" \
    "UPDATE trash SET layer_id = '$(sql "SELECT layer_id FROM desktop WHERE name = 'dan'")' WHERE id = '$dans'" \
    "UPDATE trash SET layer_id = 'ffffffffffffffffffffffffffffffff' WHERE id = '$eves'" \
    "UPDATE desktop SET is_trashed = 0 WHERE name = 'eve'"
start_daemon || exit 1
mark dan 0x63
disks() { path_of bob; path_of dan; path_of eve; data_of $owner; }
before=$(disks)
fails_with '[12]' 'another desktop has this disk' "another desktop's disk is not brought back" ctl trash restore "$cids"
fails_with '[12]' 'another desktop has this data disk' '... nor given away' ctl desktop data-disk add "$other" --disk "$fays"
ok 'emptying the trash goes on past entries of what is in use, and of what has gone' ctl trash empty --yes
is "$(sql "SELECT count(*) FROM trash WHERE id IN ('$cids', '$fays', '$dans')")" 3 '... keeps those'
is "$(entry_of desktop eve | wc -l)" 1 '... and that of a desktop which is there'
is "$(sql "SELECT count(*) FROM trash WHERE id = '$eves'")" 0 '... the one whose layer has gone is forgotten'
is "$(disks)" "$before" '... all disks are where they were'
ok '... with their bytes' eval 'has bob 0x61 && has dan 0x63'
ok "an entry of a desktop's own present disk" ctl trash restore "$dans"
is "$(disks)" "$before" '... changes nothing'
ok '... not a byte' has dan 0x63
is "$(sql "SELECT count(*) FROM trash WHERE id = '$dans'")" 0 '... and is gone'
# Put right again what was set wrong.
stop_daemon
sql "UPDATE trash SET layer_id = '$(sed -n 1p <<<"$kept")' WHERE id = '$cids'" \
    "UPDATE trash SET layer_id = '$(sed -n 2p <<<"$kept")' WHERE id = '$fays'" \
    "UPDATE desktop SET is_trashed = 1 WHERE name = 'eve'"
start_daemon || exit 1
ok 'an entry whose own disk it is comes back' eval 'ctl trash restore "$cids" && has cid 0x62'

# ---- a disk and its data disk in two stores, one of them away ----

ctl store add two "$top/two" >/dev/null
ctl desktop create gus --template win --data-disk 64M >/dev/null
ctl desktop move gus --to two >/dev/null
ctl trash restore "$(trash_of disk moved)" >/dev/null
like "$(path_of gus) $(data_of gus)" "^$store/.* $top/two/" 'a disk here, its data disk there'
ctl desktop delete gus --yes >/dev/null
mv "$top/two" "$top/two.away"
ok 'emptying the trash while that store is away' ctl trash empty --yes
is "$(entry_of desktop gus | wc -l)" 1 '... leaves what lies in both'
mv "$top/two.away" "$top/two"
is_back() { [ "$(field .state store show two)" = online ]; }
wait_for 10 is_back
ok 'when it is back, it goes' eval 'ctl trash empty --yes && [ -z "$(entry_of desktop gus)" ]'

# ---- a roll-out and its job ----

ctl template import win "$top/g2.raw" --format raw >/dev/null
ctl rollout start --template win --to 2 bob cid --health none --yes >/dev/null
# Killed between journal and catalog; and before the job is taken up, a snapshot takes its layer.
ctl snapshot create bob since >/dev/null
stop_daemon
sql "UPDATE rollout SET state = 'canary', finished_at = NULL" \
    "UPDATE rollout_desktop SET state = 'waiting', is_open = 1, generation = NULL, former_layer_id = NULL" \
    "UPDATE job SET state = 'running', finished_at = NULL, result = NULL, plan = json_object('claims', json_array(), 'rollout', (SELECT id FROM rollout)) WHERE id = (SELECT job_id FROM rollout)"
start_daemon || exit 1
state_is() { [ "$(field .state rollout show win-2)" = "$1" ]; }
ok 'a roll-out whose rows are behind goes on' wait_for 20 state_is 'done'
is "$(field .n_moved rollout show win-2)" 2 '... and counts a desktop as moved that a snapshot was taken of since'
ok '... and takes it back' ctl rollout rollback win-2 --yes
is "$(field .version desktop show bob) $(field .version desktop show cid)" '1 1' '... both'
ok '... to their disks' eval 'has bob 0x61 && has cid 0x62'

ctl rollout start --template win --to 2 dan --health none --yes >/dev/null
late=$(sql "SELECT name FROM rollout WHERE state = 'done'")
ctl catalog backup >/dev/null
ctl desktop create hal --template win >/dev/null
ctl desktop reset hal --yes >/dev/null
stop_daemon
rm -f "$state"/catalog.db*
cp "$store/catalog.backup" "$state/catalog.db"
sql "UPDATE rollout SET state = 'gate', finished_at = NULL WHERE name = '$late'" \
    "UPDATE rollout_desktop SET is_open = 1 WHERE rollout_id = (SELECT id FROM rollout WHERE name = '$late')" \
    "UPDATE job SET state = 'running', finished_at = NULL WHERE id = (SELECT job_id FROM rollout WHERE name = '$late')"
start_daemon || exit 1
json_ok 'a roll-out at work in an old catalog is stopped, with a word' "$(ctlj rollout show "$late")" \
    '.state == "stopped" and (.reason | test("old copy"))'
ok '... it can be taken back' eval 'ctl rollout rollback "$late" --yes && has dan 0x63'
ok 'the check is clean' check_is_clean

done_testing
