#!/bin/bash
# snapshots.t: snapshots by name: made, shown, renamed, gone back to, deleted, compared; compact and
# flatten; what is refused, and what stays untouched.
. "$(dirname "$0")/lib.sh"

configure 'max_chain_depth = 0'
make_raw "$top/g.raw" 64M 0 0x11 8M 40M 0x22 4M
start_daemon || exit 1
ctl template import win "$top/g.raw" --format raw >/dev/null
ctl desktop create ann bob lab-1 lab-2 lab-3 --template win >/dev/null

# put DESKTOP PATTERN OFFSET LENGTH: QEMU writes, the shadow copy too.
shadow() { echo "$top/$1.shadow"; }
cp --sparse=always "$top/g.raw" "$(shadow ann)"
put()
{
    qio "$(path_of "$1")" "write -q -P $2 $3 $4" >/dev/null &&
        qemu-io -f raw -c "write -q -P $2 $3 $4" "$(shadow "$1")" >/dev/null
}
slot_of() { sqlite3 -readonly "$state/catalog.db" "SELECT l.slot FROM snapshot s JOIN layer l ON l.id = s.layer_id JOIN desktop d ON d.id = s.desktop_id WHERE d.name = '$1' AND s.name = '$2' AND s.is_trashed = 0"; }
keep() { cp --sparse=always "$(shadow "$1")" "$top/$1.$2"; }
# reads_as SLOT-PATH RAW
reads_as() { qemu-img compare -q -f qcow2 -F raw "$1" "$2"; }
disk_is() { reads_as "$(path_of "$1")" "${2:-$(shadow "$1")}"; }
snapshot_is() { reads_as "$store/layers/$(slot_of "$1" "$2")" "$top/$1.${3:-$2}"; }
# Inode, time of the last change and content of all layers, by name; those that nobody may touch.
layers() { (cd "$store/layers" && for f in "$@"; do stat -c '%n %i %Y.%y %s %b' "$f"; sha256sum "$f"; done); }
all_layers() { (cd "$store" && find layers trash -type f -printf '%i\n' | sort); }
# The bytes of every file, by inode: law 1 says that none of an existing layer ever changes.
digests() { (cd "$store" && find layers trash -type f -printf '%i %p\n' | while read -r i p; do echo "$i $(sha256sum <"$p")"; done | sort -u); }
# law_1 BEFORE: whatever is there still has the bytes that it had.
law_1() { digests | join <(printf '%s\n' "$1") - | awk '$2 != $4 { bad = 1 } END { exit bad }'; }

# ---- create, list, show, rename ----

put ann 0x31 0 1M; keep ann s1
before=$(path_of ann)
json_ok 'snapshot create' "$(ctlj snapshot create ann s1 --description 'before the update')" '.n_done == 1 and .items[0].name == "ann" and .items[0].ok'
isnt "$(path_of ann)" "$before" 'the desktop has a fresh layer'
is "$(stat -c %a "$before") $(stat -c %a "$(path_of ann)")" '440 660' 'the frozen layer is read-only, the active one is not'
ok 'the guest reads what it read' disk_is ann
ok '... and so does the snapshot' snapshot_is ann s1
put ann 0x32 1M 1M; keep ann s2; ctl snapshot create ann s2 >/dev/null
put ann 0x33 0 64k; keep ann s3; ctl snapshot create ann s3 >/dev/null
put ann 0x34 20M 2M
json_ok 'list' "$(ctlj snapshot list)" 'map(.name) | sort == ["s1", "s2", "s3"]'
json_ok '... of a desktop' "$(ctlj snapshot list ann)" 'length == 3 and all(.desktop == "ann" and .template == "win" and .version == 1 and .generation == 1)'
is "$(ctlj snapshot list bob)" '[]' '... that has none'
json_ok 'show' "$(ctlj snapshot show ann s1)" '.name == "s1" and .description == "before the update" and .is_current == false and (.disk_bytes | type == "number") and (.id | length == 32) and (.created_at | test("Z$"))'
json_ok '... the one that the disk stands on' "$(ctlj snapshot show ann s3)" '.is_current'
json_ok 'paging' "$(http GET '/v1/snapshots?limit=2')" 'length == 2'
json_ok 'rename' "$(ctlj snapshot rename ann s3 s3b --description new)" '.name == "s3b" and .description == "new"'
ctl snapshot rename ann s3b s3 >/dev/null

fails_with 3 'no desktop' 'no such desktop' ctl snapshot show nobody s1
fails_with 3 'no snapshot' 'no such snapshot' ctl snapshot show ann s9
fails_with 1 'already' 'a name that is taken' ctl snapshot create ann s1
fails_with 1 'already' '... by another snapshot' ctl snapshot rename ann s1 s2
for bad in '' '.x' '-x' 'a/b' 'a b' "$(printf 'x%.0s' {1..64})"; do
    post /v1/snapshots "$(jq -n --arg n "$bad" '{names: ["ann"], snapshot: $n}')" >/dev/null
    is "$(http_code)" 400 "a snapshot named '${bad:0:8}' is refused"
done
post /v1/snapshots '{"names": ["ann"], "snapshot": "once"}' -H 'Idempotency-Key: k1' >"$top/one"
post /v1/snapshots '{"names": ["ann"], "snapshot": "once"}' -H 'Idempotency-Key: k1' >"$top/two"
is "$(jq -r .id "$top/two")" "$(jq -r .id "$top/one")" 'the same request twice is one job'
ctl job wait "$(jq -r .id "$top/one")" >/dev/null 2>&1
json_ok '... and one snapshot' "$(ctlj snapshot list ann)" 'map(select(.name == "once")) | length == 1'
ok '... which is deleted' ctl snapshot delete ann once --yes
ok 'the guest reads the same' disk_is ann

# ---- diff ----

json_ok 'diff of two snapshots' "$(ctlj snapshot diff ann s1 s2)" '.n_bytes == 1048576 and .extents == [{offset: 1048576, length: 1048576}]'
json_ok '... and now' "$(ctlj snapshot diff ann s2)" '.n_bytes == 2162688 and .n_extents == 2 and .is_complete'
json_ok '... with itself' "$(ctlj snapshot diff ann s1 s1)" '.n_bytes == 0 and .extents == []'

# ---- revert and its undo ----

g=$(field .generation desktop show ann)
keep ann now
ok 'revert' ctl snapshot revert ann s1 --yes
is "$(ctlj event list --limit 1 | jq -r '.[0].message')" "back to snapshot 's1'" '... and its event'
ok 'the disk is the snapshot' disk_is ann "$top/ann.s1"
is "$(field .generation desktop show ann)" $((g + 1)) 'the generation is one up'
json_ok 'the snapshots stay' "$(ctlj snapshot list ann)" 'length == 3'
ok 'undo-reset brings the disk back' eval 'ctl desktop undo-reset ann --yes && disk_is ann'
fails_with 3 'no snapshot' 'revert to what is not there' ctl snapshot revert ann s9 --yes
fails_with 2 '--yes' 'revert asks' ctl snapshot revert ann s1
like "$(ctl snapshot revert ann s1 --dry-run)" 'present disk goes to the trash' 'its dry run says what happens'

# ---- delete: merges with its neighbour alone ----

base=$(basename "$(template_path win)"); s1=$(slot_of ann s1); s3=$(slot_of ann s3)
others=$(layers "$base" "$s1" "$s3"); was=$(digests); inodes=$(all_layers)
like "$(ctl snapshot delete ann s2 --dry-run)" 'writes at most' 'the dry run says what will be written'
is "$(all_layers)" "$inodes" '... and does nothing'
ctlj snapshot delete ann s2 s2 --yes >"$top/deleted"
json_ok 'delete of a middle snapshot, named twice' "$(cat "$top/deleted")" '.n_done == 1 and (.items | length == 1) and .items[0].merged and .items[0].written_bytes_max > 0'
new=$(stat -c '%b' "$store/layers/$s3")
[ $((new * 512)) -le "$(jq '.items[0].written_bytes_max' "$top/deleted")" ]
is $? 0 'no more was written than reckoned'
is "$(layers "$base" "$s1")" "$(head -4 <<<"$others")" 'the template and the layer below the neighbour are untouched'
isnt "$(layers "$s3")" "$(tail -2 <<<"$others")" 'the slot above has another content'
ok 'no byte of an existing layer was changed' law_1 "$was"
ok 'the other snapshots read the same' eval 'snapshot_is ann s1 && snapshot_is ann s3'
ok '... and the disk' disk_is ann
ok 'QEMU finds the merged layer sound' qemu-img check -q -f qcow2 "$store/layers/$s3"
is "$(stat -c %a "$store/layers/$s3")" 440 '... and it is read-only'
ok 'the check is clean' check_is_clean
like "$(ctl store check)" '^only for snapshots +[0-9]' 'which says what its row of snapshots counts'
json_ok '... and has its own word for the API' "$(ctlj store check)" '[.stores[].rows[].kind] | index("snapshots") != null'
json_ok 'the trash has the snapshot and the layer' "$(ctlj trash list)" 'map(select(.kind == "snapshot" and .name == "s2" and .desktop == "ann")) + map(select(.kind == "layer")) | length == 2'
fails_with 3 'no snapshot' 'it is gone' ctl snapshot show ann s2
fails_with 3 'no snapshot' 'one of two is not there: nothing is deleted' ctl snapshot delete ann s1 s9 --yes
ok '... really' ctl snapshot show ann s1
fails_with 2 '--yes' 'delete asks' ctl snapshot delete ann s1

trash_of() { ctlj trash list | jq -r --arg k "$1" --arg n "$2" 'map(select(.kind == $k and .name == $n)) | .[0].id'; }
ok 'a deleted snapshot is brought back' ctl trash restore "$(trash_of snapshot s2)"
ok '... with its bytes' snapshot_is ann s2
ok 'the merge is taken back' ctl trash restore "$(trash_of layer ann)"
ok '... all read the same' eval 'snapshot_is ann s1 && snapshot_is ann s2 && snapshot_is ann s3 && disk_is ann'
ok '... and the check is clean' check_is_clean
ok 'taken back for the second time' ctl trash restore "$(trash_of layer ann)"
ok '... and the third' ctl trash restore "$(trash_of layer ann)"
ok '... all read the same' eval 'snapshot_is ann s1 && snapshot_is ann s2 && snapshot_is ann s3 && disk_is ann'
ok '... and the check is clean' check_is_clean
was=$(digests)

# ---- a former active layer is a disk, not a slot's content ----

ok 'delete of the uppermost merges into the active layer' ctl snapshot delete ann s3 --yes
ok '... the disk reads the same' disk_is ann
is "$(stat -c %a "$(path_of ann)")" 660 '... and QEMU may write it'
keep ann merged
merged=$(ctlj trash list | jq -r 'map(select(.kind == "disk" and .reason == "merged")) | .[0].id')
put ann 0x44 30M 1M; keep ann s4
ctl snapshot create ann s4 >/dev/null
ok 'what was merged comes back as a former disk' ctl trash restore "$merged"
ok '... without what was written since' disk_is ann "$top/ann.merged"
ok '... and the snapshot taken since is what it was' snapshot_is ann s4
ok 'back to that' eval 'ctl snapshot revert ann s4 --yes && disk_is ann'
ok 'the check is clean' check_is_clean
ok 'no byte of an existing layer was changed' law_1 "$was"

# ---- many at once, in any order; a trashed disk stands on one ----

for i in 1 2 3 4 5; do put ann 0x5$i $((i * 5))M 300k; keep ann t$i; ctl snapshot create ann t$i >/dev/null; done
ctl snapshot revert ann t2 --yes >/dev/null
cp --sparse=always "$top/ann.t2" "$(shadow ann)"
put ann 0x60 33M 70k; keep ann branch
ctl desktop reset ann --yes >/dev/null
ok 'delete of several in no order' ctl snapshot delete ann t4 t1 t5 t2 --yes
ok '... the one that is left' snapshot_is ann t3
ok 'the trashed disk on one of them comes back' eval 'ctl desktop undo-reset ann --yes && disk_is ann "$top/ann.branch"'
cp --sparse=always "$top/ann.branch" "$(shadow ann)"
ok 'all come back' eval 'for n in t5 t1 t4 t2; do ctl trash restore "$(trash_of snapshot $n)" || exit 1; done'
ok '... and read what they did' eval 'for i in 1 2 3 4 5; do snapshot_is ann t$i || exit 1; done'
ok 'the check is clean' check_is_clean

# ---- a deleted desktop keeps its snapshots ----

ctl desktop delete ann --yes >/dev/null
fails_with 3 'no such desktop' 'a deleted desktop has none to go to' ctl snapshot revert ann t1 --yes
ok 'the desktop comes back' ctl trash restore "$(trash_of desktop ann)"
ok '... with them' eval 'for i in 1 2 3 4 5; do snapshot_is ann t$i || exit 1; done; disk_is ann'

# ---- compact, flatten ----

put ann 0x70 50M 1M; put ann 0x22 42M 512k # the template's own bytes again
before=$(stat -c %b "$(path_of ann)")
ok 'compact' ctl desktop compact ann
ok '... reads the same' disk_is ann
ok '... what the template says too is left out' eval '[ "$(stat -c %b "$(path_of ann)")" -lt "$before" ]'
ok '... all snapshots read the same' eval 'for i in 1 2 3 4 5; do snapshot_is ann t$i || exit 1; done'
ok 'flatten' ctl desktop flatten ann
ok '... reads the same' disk_is ann
is "$(qemu-img info --output json "$(path_of ann)" | jq -r '.["backing-filename"]')" null '... and stands on nothing'
ok 'the check is clean' check_is_clean --data
ok 'no byte of an existing layer was changed' law_1 "$was"

# ---- the catalog from the journal ----

world() { ctlj snapshot list | jq -cS 'map(del(.disk_bytes))'; ctlj trash list | jq -cS 'sort_by(.id)'; ctlj desktop list | jq -cS 'map({id, layer, generation})'; }
before=$(world)
ok 'catalog rebuild' ctl catalog rebuild --force
is "$(world)" "$before" '... gives the same'
ok 'nothing is left in the trash' eval 'ctl trash empty --yes && [ "$(ctlj trash list)" = "[]" ] && [ -z "$(ls "$store/trash")" ]'
ok '... all snapshots read the same' eval 'for i in 1 2 3 4 5; do snapshot_is ann t$i || exit 1; done; disk_is ann'
ok '... and the check is clean' check_is_clean

# ---- batches ----

json_ok 'a snapshot of all of a prefix' "$(ctlj snapshot create --all-of-prefix lab- monday)" '.n_done == 3 and .n_failed == 0'
ctl snapshot create lab-2 tuesday >/dev/null
mark lab-1 0x71; mark lab-2 0x72
said=$(ctlj snapshot create --all-of-prefix lab- tuesday 2>/dev/null)
json_ok 'one has it already: the others get theirs' "$said" '.n_done == 2 and .n_failed == 1'
json_ok 'revert of a prefix' "$(ctlj snapshot revert --all-of-prefix lab- monday --yes)" '.n_done == 3 and .n_failed == 0'
is "$(ctlj event list --limit 1 | jq -r '.[0].message')" "back to snapshot 'monday': 3 desktops" '... and its event'
ok '... the disks' eval '! has lab-1 0x71 && ! has lab-2 0x72'
ok 'undo of a prefix' eval 'ctl desktop undo-reset --all-of-prefix lab- --yes && has lab-1 0x71 && has lab-2 0x72'
fails_with 3 'no desktop' 'a prefix of nobody' ctl snapshot create --all-of-prefix zz monday

# ---- a desktop that runs ----

ctl snapshot create bob b1 >/dev/null; mark bob 0x81
ctl snapshot create bob b2 >/dev/null; mark bob 0x82
# QEMU holds the disk as a guest would.
mkfifo "$top/hold"
qemu-io -f qcow2 "$(path_of bob)" <"$top/hold" >/dev/null 2>&1 &
keep_pid $!
exec 7>"$top/hold"
is_free() { qemu-io -f qcow2 -c 'read 0 512' "$(path_of bob)" >/dev/null 2>&1; }
ok 'QEMU has the disk' wait_for 20 eval '! is_free'
files=$(store_files)
for verb in 'snapshot create bob b3' 'snapshot revert bob b1 --yes' 'snapshot delete bob b2 --yes' \
    'desktop compact bob' 'desktop flatten bob' 'snapshot diff bob b1' 'desktop reset bob --yes'; do
    # shellcheck disable=SC2086 # words of a command
    fails_with 4 'in use|running|busy' "busy: $verb" ctl $verb
done
json_ok '... both snapshots stay' "$(ctlj snapshot list bob)" 'map(.name) | sort == ["b1", "b2"]'
ok 'diff of two snapshots needs no disk' ctl snapshot diff bob b1 b2
ok 'a merge below the disk goes on under a guest' ctl snapshot delete bob b1 --yes
echo 'read -P 0x82 4M 64k' >&7
exec 7>&-
wait "${kept_pids[-1]}"
ok 'the disk is what it was' has bob 0x82
ok '... and free again' ctl snapshot delete bob b2 --yes
ok '... what it read is left' has bob 0x82
ok 'the check is clean' check_is_clean

# ---- space ----

ctl snapshot create lab-3 a >/dev/null
qio "$(path_of lab-3)" 'write -q -P 5 0 30M' >/dev/null
ctl snapshot create lab-3 b >/dev/null
stop_daemon
configure 'low_space_bytes = 8000000T' 'low_space_percent = 100' 'max_chain_depth = 0'
ok 'a daemon whose store counts as full' start_daemon
files=$(store_files)
fails_with 1 'merging .a. needs .*space' 'no room for a merge: refused before it begins' \
    ctl snapshot delete lab-3 a --yes
is "$(store_files)" "$files" '... and nothing was made'
ok '... and the snapshot stays' ctl snapshot show lab-3 a
done_testing
