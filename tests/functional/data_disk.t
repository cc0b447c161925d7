#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# data_disk.t: the data disk of a desktop: what no re-image touches, what snapshots, archives, moves
# and rebuilds keep; larger disks; what is refused.  QEMU writes and reads the patterns.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/data_disk_lib.sh"

configure 'max_chain_depth = 0'
make_raw "$top/g.raw" 64M 0 0x11 1M
make_raw "$top/g2.raw" 64M 0 0x12 1M
start_daemon || exit 1
ctl template import win "$top/g.raw" --format raw >/dev/null

size_of() { qemu-img info --output json "$1" | jq '.["virtual-size"]'; }
digest() { sha256sum <"$1"; }

# ---- create ----

json_ok 'create with a data disk' "$(ctlj desktop create ann --template win --data-disk 1G)" '.data_disk_size == 1073741824 and (.data_layer | length == 32) and (.data_disk_bytes | type == "number")'
ok 'create without' ctl desktop create bob --template win
json_ok '... has none' "$(ctlj desktop show bob)" '.data_disk_size == null and .data_layer == null and .data_disk_bytes == null'
json_ok 'a list says who has one' "$(ctlj desktop list)" 'map({(.name): .data_disk_size}) | add == {ann: 1073741824, bob: null}'
is "$(size_of "$(data_of ann)")" 1073741824 'QEMU sees a disk of that size'
is "$(qemu-img info --output json "$(data_of ann)" | jq -r '.["backing-filename"]')" null '... that stands on nothing'
ok '... and is sound' qemu-img check -q -f qcow2 "$(data_of ann)"
fails_with 3 'has no data disk' 'the path of none' ctl desktop path bob --data
both ann 1 2
ok 'the check is clean' check_is_clean
json_ok '... and has a row of its own for them' "$(ctlj store check)" '[.stores[].rows[] | select(.kind == "data_disks")][0] | .n_files == 1 and .bytes > 0'
json_ok 'the savings report has them beside the rest' "$(ctlj report savings)" '(.other | map(select(.name == "data_disks"))[0].n_files == 1) and .totals.n_desktops == 2'
like "$(ctl report savings)" '^data disks ' '... by a name for people'
unlike "$(ctl report savings -o html; ctl store check)" 'data_disks' '... everywhere'
fails_with 2 'size' 'a size that is none' ctl desktop create x --template win --data-disk big
post /v1/desktops '{"names": ["x"], "template": "win", "data_disk_size": 17}' >/dev/null
is "$(http_code)" 400 'a size out of range'
fails_with 3 'no' '... and made nothing' ctl desktop show x

# ---- reset, undo, roll-out: not touched ----

was=$(data_of ann); sum=$(digest "$was"); inode=$(stat -c '%i %Y %Z' "$was")
like "$(ctl desktop reset ann --dry-run)" 'its present disk goes to the trash' 'the dry run of a reset speaks of the disk'
ok 'reset' ctl desktop reset ann --yes
ok '... the disk is fresh, the data are there' eval '! has ann 1 && has_data ann 2'
is "$(data_of ann)" "$was" '... in the same file'
is "$(stat -c '%i %Y %Z' "$was")" "$inode" '... that nobody touched'
ok 'undo-reset brings the disk back' eval 'ctl desktop undo-reset ann --yes && has_both ann 1 2'
ctl template import win "$top/g2.raw" --format raw >/dev/null
ok 'to another version' ctl desktop reset ann --to 2 --yes
is "$(field .version desktop show ann)" 2 '... it stands on that'
ok '... the data are there' has_data ann 2
is "$(digest "$was")" "$sum" '... to the last bit of the file'
ctl desktop reset ann --to 1 --yes >/dev/null
mark ann 3 >/dev/null
ok 'a roll-out' ctl rollout start --template win --to 2 ann --health none --yes
ok '... a fresh disk of the new version, the data are there' eval '[ "$(field .version desktop show ann)" = 2 ] && ! has ann 3 && has_data ann 2'
ok '... rolled back' ctl rollout rollback win-2 --yes
ok '... the former disk, the data are there' eval '[ "$(field .version desktop show ann)" = 1 ] && has_both ann 3 2'
is "$(digest "$was") $(data_of ann)" "$sum $was" '... to the last bit of the same file'
# A guest that has only the data disk open is none of a reset's business; delete is refused.
mkfifo "$top/hold"
qemu-io -f qcow2 "$(data_of ann)" <"$top/hold" >/dev/null 2>&1 &
keep_pid $!
exec 7>"$top/hold"
is_free() { qemu-io -f qcow2 -c 'read 0 512' "$(data_of ann)" >/dev/null 2>&1; }
ok 'QEMU has the data disk' wait_for 20 eval '! is_free'
json_ok '... the desktop is live' "$(ctlj desktop show ann)" '.live'
for verb in 'desktop delete ann --yes' 'snapshot create ann s0' 'desktop data-disk detach ann --yes' \
    'desktop data-disk resize ann --size 2G' 'desktop compact ann'; do
    # shellcheck disable=SC2086 # words of a command
    fails_with 4 'in use|running|busy' "busy: $verb" ctl $verb
done
exec 7>&-
wait "${kept_pids[-1]}"
ok 'the check is clean' check_is_clean

# ---- snapshots ----

both ann 3 4
json_ok 'a snapshot has both' "$(ctlj snapshot create ann s1 >/dev/null; ctlj snapshot show ann s1)" '(.data_layer | length == 32) and .data_layer != .layer'
is "$(stat -c %a "$was") $(stat -c %a "$(data_of ann)")" '440 660' 'the data layer is frozen under a fresh one'
both ann 5 6
like "$(ctl snapshot show ann s1)" 'DATA DISK +1\.0 GiB' 'the table says so'
json_ok 'diff: both disks, each by itself' "$(ctlj snapshot diff ann s1)" '.n_bytes == 65536 and (.data_disk | .in == "both" and .n_bytes == 65536 and .extents == [{offset: 8388608, length: 65536}] and .is_complete)'
ctl snapshot create ann s1b >/dev/null
qio "$(data_of ann)" 'write -q -P 7 100M 1M' >/dev/null
json_ok '... what changed in the data disk alone' "$(ctlj snapshot diff ann s1b)" '.n_bytes == 0 and .data_disk.n_bytes == 1048576'
is "$(ctl snapshot diff ann s1b)" $'disk: 0 B differ, in 0 extents\ndata disk: 1.0 MiB differ, in 1 extent' '... in words'
is "$(ctl snapshot diff ann s1 -o csv | tail -n +2 | sed 's/^[0-9]*,//' | sort | tr '\n' ' ')" '1048576,data 65536,data 65536,system ' '... all extents as CSV'
json_ok '... between snapshots' "$(ctlj snapshot diff ann s1 s1b)" '.n_bytes == 65536 and .data_disk.n_bytes == 65536'
qio "$(data_of ann)" 'discard 100M 1M' >/dev/null
ctl snapshot delete ann s1b --yes >/dev/null
ctl snapshot create bob s0 >/dev/null
json_ok '... of a desktop without' "$(ctlj snapshot diff bob s0)" '.n_bytes == 0 and .data_disk == null'
ctl desktop data-disk add bob --size 64M >/dev/null
is "$(ctl snapshot diff bob s0)" $'disk: 0 B differ, in 0 extents\ndata disk: the snapshot has none, the desktop has one now' '... of one that got it since'
ctl desktop data-disk detach bob --yes >/dev/null
ctl snapshot delete bob s0 --yes >/dev/null
g=$(field .generation desktop show ann)
like "$(ctl snapshot revert ann s1 --dry-run)" 'disk and data disk go to the trash' 'the dry run of a revert says both'
ok 'revert' ctl snapshot revert ann s1 --yes
ok '... brings both back' has_both ann 3 4
ok 'one undo takes both back' eval 'ctl desktop undo-reset ann --yes && has_both ann 5 6'
ok 'revert of the disk alone' eval 'ctl snapshot revert ann s1 --disk system --yes && has_both ann 3 6'
ok '... undone' eval 'ctl desktop undo-reset ann --yes && has_both ann 5 6'
g=$(field .generation desktop show ann)
ok 'revert of the data disk alone' eval 'ctl snapshot revert ann s1 --disk data --yes && has_both ann 5 4'
is "$(field .generation desktop show ann)" "$g" '... is no new generation: the guest boots what it booted'
ok '... and its entry brings it back' eval 'ctl trash restore "$(trash_of data revert)" && has_both ann 5 6'
# An undo takes back what was replaced last, whichever disk that was.
ctl desktop reset ann --yes >/dev/null
both ann 7 8
ctl snapshot revert ann s1 --disk data --yes >/dev/null
ok 'a reset, then a revert of the data disk' has_both ann 7 4
like "$(ctl desktop undo-reset ann --dry-run)" 'its present data disk goes to the trash' '... the dry run of an undo says the data disk'
ok '... the undo is of the revert' eval 'ctl desktop undo-reset ann --yes && has_both ann 7 8'
like "$(ctl desktop undo-reset ann --dry-run)" 'its present disk goes to the trash' '... the next one would be of the reset'
ok '... and is' eval 'ctl desktop undo-reset ann --yes && has_both ann 5 8'
both ann 5 6
ctl snapshot create bob s1 >/dev/null
fails_with 2 'no data disk' 'revert to a data disk that the snapshot has not' ctl snapshot revert bob s1 --disk data --yes
post /v1/snapshots/revert '{"names": ["ann"], "snapshot": "s1", "disk": "both"}' >/dev/null
is "$(http_code)" 400 'a disk that is neither'
ok 'the check is clean' check_is_clean --data
ctl snapshot create ann s2 >/dev/null
both ann 7 8
before=$(field '.data_layer' snapshot show ann s2)
ok 'a snapshot in the middle is deleted' ctl snapshot delete ann s1 --yes
ok '... and all read the same' has_both ann 7 8
isnt "$(field '.data_layer' snapshot show ann s2)" "$before" '... its data layer was merged into the next'
ok '... which reads what it did' eval 'ctl snapshot revert ann s2 --yes && has_both ann 5 6 && ctl desktop undo-reset ann --yes && has_both ann 7 8'
ok 'the check is clean' check_is_clean
ok 'compact' eval 'ctl desktop compact ann && has_both ann 7 8'
ctl desktop compact ann >/dev/null
json_ok 'a job that finds nothing to do is done as a whole' "$(ctlj job list)" 'map(select(.kind == "desktop.compact"))[0] | .total == 1 and .done == 1'
ok 'flatten' eval 'ctl desktop flatten ann && has_both ann 7 8'
is "$(qemu-img info --output json --backing-chain "$(data_of ann)" | jq length)" 1 '... both stand on nothing'
ok 'the check is clean' check_is_clean
ctl snapshot delete ann s2 --yes >/dev/null

# ---- growing ----

ok 'resize' ctl desktop data-disk resize ann --size 2G
is "$(size_of "$(data_of ann)")" 2147483648 '... QEMU sees the new size'
ok '... and the bytes' has_data ann 8
ok '... and zeros behind them' finds qcow2 "$(data_of ann)" 'read -P 0 1024M 64M'
fails_with 2 'never shrinks' 'smaller' ctl desktop data-disk resize ann --size 1G
fails_with 3 'no data disk' 'of none' ctl desktop data-disk resize bob --size 1G
qio "$(data_of ann)" 'write -q -P 9 2000M 1M' >/dev/null
ok 'compact of layers of two sizes' eval 'ctl desktop compact ann && has_data ann 8 && finds qcow2 "$(data_of ann)" "read -P 9 2000M 1M"'
ok 'QEMU finds it sound' qemu-img check -q -f qcow2 "$(data_of ann)"
ok 'create with a larger disk' ctl desktop create cat --template win --disk-size 128M
is "$(size_of "$(path_of cat)")" 134217728 '... QEMU sees it'
ok '... with the template below and zeros behind' eval 'finds qcow2 "$(path_of cat)" "read -P 0x12 0 1M" && finds qcow2 "$(path_of cat)" "read -P 0 64M 64M"'
mark cat 1
ok 'a reset' ctl desktop reset cat --yes
is "$(size_of "$(path_of cat)")" 134217728 '... keeps the size'
mark cat 1
ok 'set --disk-size' ctl desktop set cat --disk-size 192M
is "$(size_of "$(path_of cat)")" 201326592 '... is larger at once'
ok '... and reads the same' has cat 1
ctl desktop reset cat --to 1 --yes >/dev/null
is "$(size_of "$(path_of cat)")" 201326592 '... and stays so on another version'
fails_with 2 'smaller than its template' 'smaller than the template' ctl desktop create x --template win --disk-size 32M
fails_with 2 'never shrinks' '... or than it is' ctl desktop set cat --disk-size 64M
fails_with 2 'stands alone' 'together with something else' ctl desktop set cat --disk-size 256M --hostname c
ok 'the check is clean' check_is_clean

# ---- detach, add ----

fails_with 2 '--yes' 'detach asks' ctl desktop data-disk detach ann
like "$(ctl desktop data-disk detach ann --dry-run)" 'data disk goes to the trash' 'its dry run says what happens'
ok 'detach' ctl desktop data-disk detach ann --yes
json_ok '... it has none' "$(ctlj desktop show ann)" '.data_disk_size == null'
fails_with 3 'no data disk' '... for a second time' ctl desktop data-disk detach ann --yes
entry=$(trash_of data detached)
ok 'another desktop gets it' ctl desktop data-disk add bob --disk "$entry"
ok '... with the bytes' has_data bob 8
ok 'the check is clean' check_is_clean
ok 'the first one gets a blank one' ctl desktop data-disk add ann --size 1G
fails_with 1 'already' '... once' ctl desktop data-disk add ann --size 1G
ok '... of zeros' finds qcow2 "$(data_of ann)" 'read -P 0 0 64M'
fails_with 3 'no trash entry' 'an entry that is not there' ctl desktop data-disk add cat --disk 0123456789abcdef0123456789abcdef
fails_with 2 'not a data disk' 'an entry that is another thing' ctl desktop data-disk add cat --disk "$(trash_of disk reset)"
fails_with 2 'either --size, or --disk' 'add what?' ctl desktop data-disk add cat
ok 'reset of the new owner leaves it' eval 'ctl desktop reset bob --yes && has_data bob 8'
ctl snapshot create bob keeps >/dev/null
qio "$(data_of bob)" 'write -q -P 10 8M 64k' >/dev/null
ctl desktop data-disk detach bob --yes >/dev/null
entry=$(trash_of data detached)
fails_with 2 'a snapshot of .bob. needs it' 'what a snapshot stands on keeps its owner' ctl desktop data-disk add cat --disk "$entry"
ok '... who can have it back' eval 'ctl desktop data-disk add bob --disk "$entry" && has_data bob 10'
ok '... and go to the snapshot' eval 'ctl snapshot revert bob keeps --yes && has_data bob 8'
ok '... and undo that' eval 'ctl desktop undo-reset bob --yes && has_data bob 10'
ok 'the check is clean' check_is_clean

# ---- delete, restore ----

mark bob 11
ok 'delete' ctl desktop delete bob --yes
json_ok '... is one entry' "$(ctlj trash list)" 'map(select(.reason == "deleted" and .name == "bob")) | length == 1'
ok '... that brings both back' eval 'ctl trash restore "$(trash_of desktop deleted)" && has_both bob 11 10'
ok '... and the snapshot' eval 'ctl snapshot revert bob keeps --yes && has_data bob 8 && ctl desktop undo-reset bob --yes'
ok 'the check is clean' check_is_clean

# ---- the catalog from the journal ----

world() { ctlj snapshot list | jq -cS 'map(del(.disk_bytes))'; ctlj trash list | jq -cS 'sort_by(.id)'; ctlj desktop list | jq -cS 'map({id, layer, data_layer, data_disk_size, generation, virtual_size})'; }
before=$(world)
ok 'catalog rebuild' ctl catalog rebuild --force
is "$(world)" "$before" '... gives the same'
ok '... the size wished for too' eval 'ctl desktop reset cat --yes && [ "$(size_of "$(path_of cat)")" = 201326592 ]'

# ---- a data disk's file that is lost ----

ctl desktop create dan --template win --data-disk 64M >/dev/null
lost=$(data_of dan)
stop_daemon
mv "$lost" "$top/lost"
start_daemon || exit 1
is "$(field .state desktop show dan)" missing 'a desktop whose data disk is not there is missing'
json_ok '... and an alarm says so' "$(ctlj event list --limit 20)" 'map(select(.name == "desktop.missing" and .object == "dan" and .severity == "alarm")) | length == 1'
fails_with 1 'not all is well' '... as the check does' ctl store check
stop_daemon
mv "$top/lost" "$lost"
start_daemon || exit 1
is "$(field .state desktop show dan)" ok 'it is found again'
ctl desktop delete dan --yes >/dev/null

# ---- another store, back by a drain ----

ok 'a second store' ctl store add two "$top/two"
sum=$(qemu-img convert -O raw "$(data_of bob)" "$top/bob.raw" && digest "$top/bob.raw")
ok 'move' ctl desktop move bob --to two
like "$(data_of bob)" "^$top/two/" '... takes the data disk along'
ok '... with the same bytes' qemu-img compare -q -f qcow2 -F raw "$(data_of bob)" "$top/bob.raw"
ok '... and both' has_both bob 11 10
ok 'both stores are clean' check_is_clean
ok 'the former data disk comes back from the trash, into its store' eval 'ctl trash restore "$(trash_of data moved)" && has_both bob 11 10'
unlike "$(data_of bob)" "^$top/two/" '... so the two lie apart'
ok 'snapshot, revert, compact of disks that lie apart' eval 'ctl snapshot create bob apart && both bob 12 13 && ctl snapshot revert bob apart --yes && has_both bob 11 10 && ctl desktop undo-reset bob --yes && has_both bob 12 13 && ctl desktop compact bob && has_both bob 12 13'
ok 'delete and restore of disks that lie apart' eval 'ctl desktop delete bob --yes && ctl trash restore "$(trash_of desktop deleted)" && has_both bob 12 13'
ok 'both stores are clean' check_is_clean
ok 'drain' ctl store drain two --to default
ok '... they lie together again' eval 'has_both bob 12 13 && [[ $(path_of bob) == "$store"/* && $(data_of bob) == "$store"/* ]]'
ok 'nothing is left in the trash' eval 'ctl trash empty --yes && [ "$(ctlj trash list)" = "[]" ] && [ -z "$(ls "$store/trash")" ]'
ok '... the data are there' has_both bob 12 13
# A data disk that was taken away is the trash's business: an undo leaves it there.
ctl snapshot create bob z >/dev/null
ok 'a revert of the data disk' ctl snapshot revert bob z --disk data --yes
is "$(field .undo_available desktop show bob)" true '... can be undone'
ctl desktop data-disk detach bob --yes >/dev/null
is "$(field .undo_available desktop show bob)" false '... not without a data disk'
fails_with 3 'no reset' '... an undo says so' ctl desktop undo-reset bob --yes
ok 'both stores are clean' check_is_clean --data
done_testing
