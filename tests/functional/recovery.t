#!/bin/bash
# recovery.t: what is lost and comes back: the catalog, the journal, both, a layer, a byte; and
# several stores: adding, copying, moving, draining, removing.
. "$(dirname "$0")/lib.sh"

# What a person knows the world by, without what only the running daemon knows.
world()
{
    ctlj desktop list | jq -cS 'map({id, name, template, version, owner, generation, layer, mac, uuid, state, undo_available})'
    ctlj template list | jq -cS 'map({id, name, n_versions, latest, state})'
    for t in $(ctlj template list | jq -r '.[].name'); do
        ctlj template versions "$t" | jq -cS 'map({id, name, state, cpus, memory_bytes, os, description, layer, checksum})'
    done
    ctlj trash list | jq -cS 'sort_by(.id) | map({id, name, kind, reason, generation, layer})'
}
drop_catalog() { rm -f "$state/catalog.db" "$state/catalog.db-wal" "$state/catalog.db-shm"; }

make_raw "$top/a.raw" 16M 0 0x11 2M
make_raw "$top/b.raw" 16M 0 0x33 2M 8M 0x44 1M
start_daemon || exit 1
ctl template import win "$top/a.raw" --format raw --cpus 4 --memory 3G --os W --description 'with words' >/dev/null
ctl template import win "$top/b.raw" --format raw >/dev/null
ctl template import old "$top/a.raw" --format raw >/dev/null
ctl template retire old:1 >/dev/null
ctl desktop create ann bob cid dan eve --template win --owner u1 >/dev/null
ctl desktop create v1 --template win:1 >/dev/null
mark ann 0x61; mark bob 0x62; mark cid 0x63; mark dan 0x64
ctl desktop reset bob --yes >/dev/null
mark bob 0x65
ctl desktop rename cid cid2 >/dev/null
ctl desktop delete dan --yes >/dev/null
ctl template delete old --yes >/dev/null
world_before=$(world)
check_is_clean || diag 'the check is not clean at the start'

# ---- the catalog is lost ----

stop_daemon
cp "$state/catalog.db" "$top/oldest.db"
drop_catalog
ok 'the daemon starts without its catalog' start_daemon
like "$(cat "$log.out")" '^ready, in rescue mode: .*catalog' '... in rescue mode, which it says'
json_ok 'status says so' "$(ctlj status)" '.state == "rescue" and (.reason | test("catalog"))'
files=$(store_files)
fails_with 1 'rescue' 'create is refused' ctl desktop create x --template win
fails_with 1 'catalog rebuild' '... naming the way out' ctl desktop delete ann --yes
fails_with 1 'rescue' 'import is refused' ctl template import x "$top/a.raw" --format raw
fails_with 1 'rescue' 'emptying the trash is refused' ctl trash empty --yes
fails_with 1 'rescue' 'adding a store is refused' ctl store add x "$top/x"
ok 'reads are served' ctl desktop list
ctl store check >/dev/null 2>&1
isnt $? 2 'so is the check'
is "$(store_files)" "$files" '... and it takes nothing for an orphan'
ok 'a restart' eval 'stop_daemon && start_daemon'
json_ok '... is still in rescue mode' "$(ctlj status)" '.state == "rescue"'
json_ok 'catalog rebuild' "$(ctlj catalog rebuild)" '.n_desktops == 5 and .n_versions == 3 and .n_trash == 3'
json_ok 'the daemon is ready now' "$(ctlj status)" '.state == "ready"'
is "$(world)" "$world_before" 'everything is back: templates, versions, desktops, owners, generations, trash'
ok '... exports work again' eval 'ctl export start ann && ctl export stop ann'
ok '... the disks' eval 'has ann 0x61 && has bob 0x65 && has cid2 0x63'
ok '... the check is clean' check_is_clean
ok '... undo works' ctl desktop undo-reset bob --yes
ok '... with the disk of before' has bob 0x62
ok '... restore too' eval 'ctl trash restore "$(ctlj trash list | jq -r ".[] | select(.kind == \"desktop\") | .id")" && has dan 0x64'
ok '... and new work' ctl desktop create fay --template win
json_ok 'an event tells of the rebuild' "$(ctlj event list)" 'any(.[]; .name == "catalog.rebuild")'
fails_with 2 force 'a second rebuild wants --force' ctl catalog rebuild
world_before=$(world)
ok 'with it' ctl catalog rebuild --force
is "$(world)" "$world_before" 'it makes the same again'
ok 'a restart' eval 'stop_daemon && start_daemon'
is "$(world)" "$world_before" '... changes nothing'

# ---- an old backup of the catalog is put back ----

ok 'backup' ctl catalog backup
ok 'things go on' eval 'ctl desktop create gus --template win && ctl desktop reset ann --yes && ctl desktop delete eve --yes && ctl desktop rename v1 v2'
world_before=$(world)
stop_daemon
drop_catalog
cp "$store/catalog.backup" "$state/catalog.db"
ok 'the daemon starts with an old catalog' start_daemon
is "$(world)" "$world_before" 'it was brought up to date from the store'
json_ok 'an event says so' "$(ctlj event list)" 'any(.[]; .name == "catalog.recover" and (.message | test("older than the store")))'
ok '... the check is clean' check_is_clean
stop_daemon
drop_catalog
cp "$top/oldest.db" "$state/catalog.db"
ok 'with a much older one, from before the rebuild' start_daemon
is "$(world)" "$world_before" '... likewise'
ok '... the check is clean' check_is_clean

# ---- the journal is lost or torn ----

stop_daemon
rm "$store/journal"
ok 'the daemon starts without the journal' start_daemon
json_ok 'an event says so' "$(ctlj event list)" 'any(.[]; .name == "catalog.recover" and .severity == "alarm")'
is "$(world)" "$world_before" 'nothing changed'
ok '... the journal is there again' test -s "$store/journal"
ok '... the check is clean' check_is_clean
stop_daemon
drop_catalog
start_daemon
ctl catalog rebuild >/dev/null
is "$(world)" "$world_before" 'the new journal is enough to make the catalog anew'

ctl desktop create torn --template win >/dev/null
world_before=$(world)
stop_daemon
# A write that was cut off: half a record after the last good one.
end=$(/usr/bin/python3 - "$store/journal" <<'PY'
import sys
print(len(open(sys.argv[1], "rb").read().rstrip(b"\0")))
PY
)
printf 'IMGJ\001\002\003\377\377' | dd of="$store/journal" bs=1 seek=$((end + 3)) conv=notrunc status=none
ok 'the daemon starts with a torn journal' start_daemon
is "$(world)" "$world_before" '... with all that was acknowledged'
ok 'and goes on writing' ctl desktop create torn2 --template win
world_before=$(world)
stop_daemon
drop_catalog
start_daemon
ctl catalog rebuild >/dev/null
is "$(world)" "$world_before" '... so that a rebuild finds it all'

# ---- catalog and journal are lost: the layers' own headers remain ----

headers() { ctlj desktop list | jq -cS 'map({id, template, version, layer}) | sort_by(.id)'; }
before=$(headers)
stop_daemon
drop_catalog
rm "$store/journal"
ok 'the daemon starts with neither' start_daemon
json_ok '... in rescue mode' "$(ctlj status)" '.state == "rescue"'
said=$(ctlj catalog rebuild)
json_ok 'rebuild says that it went by the headers' "$said" '.notes | any(test("headers"))'
is "$(headers)" "$before" 'desktops are back with their ids and disks'
json_ok 'versions too' "$(ctlj template versions win)" 'map(.version) == [1, 2]'
ok 'disks' eval 'has cid 0x63 || has cid2 0x63'
json_ok 'replaced disks are in the trash' "$(ctlj trash list)" 'length >= 2 and all(.[]; .store == "default")'
check=$(ctlj store check)
json_ok 'every byte is accounted for' "$check" '.ok and .stores[0].used_bytes == .stores[0].accounted_bytes'
world_before=$(world)
ok 'a restart' eval 'stop_daemon && start_daemon'
is "$(world)" "$world_before" '... keeps it'

# A new machine: only the store is there.
stop_daemon
mkdir "$top/new"
cp -a "$store" "$top/new/store"
old_state=$state
state=$top/new store=$top/new/store
ok 'on another machine with a copy of the store' start_daemon
ok '... rebuild' ctl catalog rebuild
is "$(world)" "$world_before" '... brings all of it'
ok '... the check is clean' check_is_clean
stop_daemon
state=$old_state store=$old_state/store
rm -rf "$top/new"
start_daemon

# ---- damage that the check finds ----

layer=$(template_path win)
cp "$layer" "$top/kept"
chmod u+w "$layer"
at=$(($(stat -c %s "$layer") - 70000))
printf '\377' | dd of="$layer" bs=1 seek=$at conv=notrunc status=none
chmod u-w "$layer"
ok 'a check of the tables does not read the data' ctl store check
said=$(ctlj store check --data)
is $? 1 'a flipped byte in a frozen layer: check --data exits 1'
json_ok '... names the version and what stands on it' "$said" '[.stores[0].findings[] | select(.kind == "data")]
    | length == 1 and .[0].name == "win:2" and (.[0].affects | index("ann") != null and index("v2") == null and index("v1") == null)'
chmod u+w "$layer"
dd if="$top/kept" of="$layer" conv=notrunc status=none
chmod u-w "$layer"
ok 'put right, all is well' ctl store check --data

mv "$(path_of ann)" "$top/ann.qcow2"
said=$(ctlj store check)
is $? 1 'a layer that is gone: the check exits 1'
json_ok '... names it' "$said" '[.stores[0].findings[] | select(.kind == "missing")] | length == 1 and .[0].name == "ann"'
fails_with '[123]' . 'undo aside, ann has no disk: show still works, path may fail' ctl desktop show nobody
json_ok 'the report goes on without it' "$(ctlj report savings)" '.totals.n_missing == 1'
ok 're-imaging gives it a disk again' ctl desktop reset ann --yes
ok '... which QEMU likes' qemu-img check -q "$(path_of ann)"
ctl trash empty --yes >/dev/null
ok '... and all is well' wait_for 10 check_is_clean

# Tables of an active layer: corrupt.
path=$(path_of bob)
cp "$path" "$top/bob.kept"
l1=$(od -An -tx1 -j 40 -N 8 "$path" | tr -d ' \n')
printf '\200\0\177\377\377\377\0\0' | dd of="$path" bs=1 seek=$((16#$l1)) conv=notrunc status=none
not_ok 'QEMU calls it corrupt' qemu-img check -q "$path"
json_ok 'so does the check, by name' "$(ctlj store check)" '.ok == false and (.stores[0].findings | any(.kind == "corrupt" and .name == "bob"))'
cat "$top/bob.kept" >"$path"
ok 'put right, all is well' check_is_clean

# ---- stores ----

json_ok 'store add' "$(ctlj store add fast "$top/fast")" '.name == "fast" and .state == "online" and .is_default == false'
fails_with 1 'already|exists|taken' 'the same name twice is refused' ctl store add fast "$top/fast2"
fails_with '[12]' . 'the same folder twice is refused' ctl store add again "$top/fast"
ok 'a desktop in the other store' ctl desktop create far --template win --store fast
base_copies() { find "$top/fast/layers" -type f | wc -l; }
is "$(base_copies)" 2 'its base was copied there'
ok 'a second one' ctl desktop create far2 far3 --template win --store fast
is "$(base_copies)" 4 '... the base only once'
is "$(field .store desktop show far)" fast 'it is there'
ok 'QEMU reads the template through it' qemu-img compare -q -f qcow2 -F raw "$(path_of far)" "$top/b.raw"
like "$(path_of far)" "^$top/fast/layers/" 'its path is below that store'
json_ok 'the version lies in both' "$(ctlj template versions win)" '.[1].stores | sort == ["default", "fast"]'
mark far 0x71
sum=$(qemu-img convert -O raw "$(path_of far)" "$top/far.raw" && md5sum <"$top/far.raw")
id=$(field .id desktop show far)
ok 'desktop move' ctl desktop move far --to default
is "$(field .store desktop show far)" default 'it moved'
is "$(field .id desktop show far)" "$id" '... as itself'
is "$(qemu-img convert -O raw "$(path_of far)" "$top/far.raw" && md5sum <"$top/far.raw")" "$sum" '... with the same bytes'
ok '... and QEMU likes it' qemu-img check -q "$(path_of far)"
ok 'and back' ctl desktop move far --to fast
ok '... with its mark' has far 0x71
ok 'an import into a store' ctl template import there "$top/a.raw" --format raw --store fast
json_ok '... lies there alone' "$(ctlj template versions there)" '.[0].stores == ["fast"]'
ok '... desktops follow it' eval 'ctl desktop create t1 --template there && test "$(field .store desktop show t1)" = fast'
ok 'both stores are clean' check_is_clean
fails_with '[12]' 'layers|drain' 'a store that holds layers is not removed' ctl store remove fast --yes
json_ok '... a dry run says so' "$(ctlj store remove fast --dry-run)" '.objects[0].ok == false'

# offline
mv "$top/fast" "$top/fast.away"
fails_with 1 offline 'a store that is away: its desktops cannot be reset' ctl desktop reset far --yes
ok '... those of the other can' ctl desktop reset ann --yes
fails_with 1 offline 'nothing is created in it' ctl desktop create far9 --template win --store fast
ok '... the folder is not made anew' test ! -e "$top/fast"
json_ok 'the check says so' "$(ctlj store check)" '.ok == false and (.stores | map(select(.name == "fast"))[0].findings[0].kind == "offline")
    and (.stores | map(select(.name == "default"))[0].ok)'
ok 'a restart while it is away' eval 'stop_daemon && start_daemon'
is "$(field .name desktop show far)" far 'its desktops are still known'
mv "$top/fast.away" "$top/fast"
is_back() { [ "$(field .state store show fast)" = online ]; }
ok 'it comes back by itself' wait_for 10 is_back
ok '... with the mark' has far 0x71

# both stores, no catalog: the second one is found by adding it again
world_before=$(world | head -1)
stop_daemon
drop_catalog
start_daemon
ok 'after the catalog was lost: rebuild' ctl catalog rebuild
ok 'add the second store again' ctl store add fast "$top/fast"
is "$(world | head -1)" "$world_before" 'all desktops of both are back'
ok '... the check is clean' check_is_clean

ok 'drain' ctl store drain fast --to default
is "$(field .store desktop show far)" default 'its desktops moved'
ok '... with the mark' has far 0x71
json_ok 'its versions too' "$(ctlj template versions there)" '.[0].stores | index("default") != null'
json_ok 'it takes nothing new' "$(ctlj store show fast)" '.state == "draining"'
fails_with '[124]' 'drain' 'create there is refused' ctl desktop create x --template win --store fast
export=$(ctlj export start win:2 | jq -r .id)
ctl trash empty --yes >/dev/null
json_ok 'a copy of a version that somebody uses stays' "$(ctlj template versions win)" '.[-1].stores | index("fast") != null'
ctl export stop "$export" >/dev/null
ctl trash empty --yes >/dev/null
removed() { ctl store remove fast --yes; }
ok 'store remove' wait_for 20 removed
json_ok 'it is gone' "$(ctlj store list)" 'map(.name) == ["default"]'
ok 'a last check' check_is_clean
done_testing
