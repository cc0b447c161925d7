#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# data_disk_archive.t: data disks in archives, in exports, and in a catalog that is made of the layers'
# headers alone.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/data_disk_lib.sh"

configure 'max_chain_depth = 0'
mkdir "$top/nas"
make_raw "$top/g.raw" 64M 0 0x11 1M
start_daemon || exit 1
ctl template import win "$top/g.raw" --format raw >/dev/null
ctl desktop create ann --template win --data-disk 256M >/dev/null
ctl desktop create bob --template win >/dev/null
ctl archive target add nas "$top/nas" >/dev/null

point_of() { field ".[0].id" archive list --of "$1"; }

# ---- archives ----

both ann 1 2
json_ok 'archive' "$(ctlj archive create ann bob --to nas)" '.n_done == 2'
point=$(point_of ann)
json_ok 'the manifest has both chains' "$(ctlj archive show "$point")" '.manifest | .format == 2 and (.chain | length) == 2 and (.data.chain | length) == 1 and .data.virtual_size == 268435456 and .data.chain[0].owner == "data"'
like "$(ctl archive show "$point")" 'DATA DISK +256\.0 MiB' '... the table says so'
unlike "$(ctl archive show "$(point_of bob)")" 'DATA DISK' '... and not of one without'
json_ok 'a point without one has the format that older versions read' "$(ctlj archive show "$(point_of bob)")" '.manifest | .format == 1 and has("data") == false'
json_ok 'once more: nothing is stored again' "$(ctlj archive create ann --to nas)" '.new_bytes == 0'
qio "$(data_of ann)" 'write -q -P 3 16M 64k' >/dev/null
json_ok 'what changed in the data disk alone costs just that' "$(ctlj archive create ann --to nas)" '.new_bytes > 0 and .new_bytes < 1000000'
json_ok '... as a chain' "$(ctlj archive show "$(point_of ann)")" '.manifest | (.chain | length) == 2 and (.data.chain | length) == 2'
ok 'verify' ctl archive verify --target nas
ok 'gc keeps what points name' eval 'ctl archive gc nas >/dev/null && ctl archive verify --target nas'
both ann 4 5
ok 'restore as a new desktop' ctl archive restore "$point" --as eve
ok '... has both' has_both eve 1 2
ok '... of its own' eval 'both eve 6 7 && has_both ann 4 5'
like "$(ctl archive restore "$point" --in-place --dry-run)" 'disk and data disk go to the trash' 'the dry run says both'
ok 'restore in place' ctl archive restore "$point" --in-place --yes
ok '... has both' has_both ann 1 2
ok 'one undo takes both back' eval 'ctl desktop undo-reset ann --yes && has_both ann 4 5'
ok 'the disk alone' eval 'ctl archive restore "$point" --in-place --disk system --yes && has_both ann 1 5 && ctl desktop undo-reset ann --yes'
g=$(field .generation desktop show ann)
ok 'the data disk alone' eval 'ctl archive restore "$point" --in-place --disk data --yes && has_both ann 4 2'
is "$(field .generation desktop show ann)" "$g" '... is no new generation'
ok '... and its entry takes it back' eval 'ctl trash restore "$(trash_of data archive)" && has_both ann 4 5'
fails_with 2 'in place' 'a data disk alone is nobody to be made anew' ctl archive restore "$point" --as joe --disk data
fails_with 2 'no data disk' 'a point that has none' ctl archive restore "$(point_of bob)" --in-place --disk data --yes
ctl desktop data-disk add bob --size 64M >/dev/null
both bob 8 9
ok 'a point without a data disk leaves a present one alone' eval 'ctl archive restore "$(point_of bob)" --in-place --yes && ! has bob 8 && has_data bob 9'
ctl snapshot create ann monday >/dev/null
both ann 10 11
ok 'a snapshot is archived with it' ctl archive create ann@monday --to nas
ok '... and restored' eval 'ctl archive restore "$(point_of ann)" --as tom && has_both tom 4 5'

# Nothing but its size is new: that is a state, too.
size_of() { qemu-img info --output json "$(path_of "$1")" | jq '.["virtual-size"]'; }
ctl desktop create big --template win --disk-size 192M >/dev/null
ok 'a desktop that is larger, and empty, is archived' ctl archive create big --to nas
ok '... restored' ctl archive restore "$(point_of big)" --as big2
is "$(size_of big2)" "$((192 << 20))" '... with its size'
ok 'the check is clean' check_is_clean

# The newest point of ann is what tom was restored from.
point=archive:$(point_of ann)
uri=$(field .uri export start "$point/data")
ok 'export of an archived one' eval 'nbdcopy "$uri" "$top/out3.raw" && finds raw "$top/out3.raw" "read -P 5 8M 64k"'
is "$(field '.name + " " + .kind' export show "$point/data")" "$point/data archive-data" '... by its name'
stop_daemon KILL
start_daemon || exit 1
ok '... and after a kill' wait_for 20 eval 'nbdcopy "$(field .uri export show "$point/data")" "$top/out4.raw" && cmp "$top/out3.raw" "$top/out4.raw"'
ctl export stop "$point/data" >/dev/null
fails_with 2 'never changes' '... not for writing' ctl export start "$point/data" --read-write
fails_with 3 "archive:.*has no data disk" 'of a point without' ctl export start "archive:$(point_of bob)/data"

# A byte of the target is changed: verify says whose it was.
point=$(point_of ann)
object=$(field '.manifest.data.chain[0].object' archive show "$point")
chmod u+w "$top/nas/layers/$object.qcow2"
printf '\377' | dd of="$top/nas/layers/$object.qcow2" bs=1 seek=66000 conv=notrunc status=none
fails_with 1 '' 'verify finds a damaged object of a data disk' ctl archive verify --target nas
files=$(store_files)
fails_with '[16]' 'damaged|not what|digest|corrupt' 'a restore of it fails' ctl archive restore "$point" --as sue
is "$(store_files)" "$files" '... and leaves nothing behind'
fails_with 3 'no' '... no desktop either' ctl desktop show sue

# ---- exports ----

uri=$(field .uri export start ann/data)
isnt "$uri" '' 'export of a data disk'
json_ok '... of its size' "$(nbdinfo --json "$uri")" '.exports[0]["export-size"] == 268435456 and .exports[0].is_read_only'
ok '... with its bytes' eval 'nbdcopy "$uri" "$top/out.raw" && finds raw "$top/out.raw" "read -P 11 8M 64k"'
fails_with 4 'export|use|busy' 'what would replace it is busy' ctl snapshot revert ann monday --yes
ok 'stop' ctl export stop ann/data
uri=$(field .uri export start ann@monday/data)
ok 'export of a snapshot of it' eval 'nbdcopy "$uri" "$top/out2.raw" && finds raw "$top/out2.raw" "read -P 5 8M 64k"'
ctl export stop ann@monday/data >/dev/null
uri=$(field .uri export start ann/data --read-write)
ok 'export for writing' qemu-io -f raw -c 'write -q -P 0x78 8M 64k' "$uri"
stop_daemon KILL
ok 'it is served again after a kill' start_daemon
ok '... still' wait_for 20 eval 'nbdinfo --size "$(field .uri export show ann/data)"'
ctl export stop ann/data >/dev/null
ok '... the bytes are there' has_data ann 0x78
fails_with 3 'has no data disk' 'one that has none' eval 'ctl desktop create zoe --template win >/dev/null && ctl export start zoe/data'
fails_with 3 'no desktop' 'of a template' ctl export start win/data

# ---- the catalog from the headers alone ----

ctl snapshot delete ann monday --yes >/dev/null
ctl snapshot create ann tuesday >/dev/null
was=$(field '[.layer, .data_layer] | join(" ")' snapshot show ann tuesday)
both ann 12 13
ctl desktop set eve --disk-size 96M >/dev/null
ctl desktop data-disk detach tom --yes >/dev/null
gone=$(field '.[0].layer' trash list)
ctl desktop delete bob --yes >/dev/null
before=$(ctlj desktop list | jq -cS 'map({id, name, layer, data_layer, data_disk_size, virtual_size})')
stop_daemon
rm -f "$state"/catalog.db* "$store/journal" "$store/catalog.backup"
start_daemon || exit 1
ok 'catalog rebuild without journal' ctl catalog rebuild
is "$(ctlj desktop list | jq -cS 'map({id, name, layer, data_layer, data_disk_size, virtual_size})')" "$before" '... every desktop has its data disk'
ok '... with the bytes' has_both ann 12 13
is "$(ctlj snapshot list ann | jq -r --arg l "${was% *}" 'map(select(.layer == $l))[0] | [.layer, .data_layer] | join(" ")')" "$was" 'the snapshot has both layers again'
ok '... and can be gone back to' eval 'n=$(ctlj snapshot list ann | jq -r --arg l "${was% *}" "map(select(.layer == \$l))[0].name") && ctl snapshot revert ann "$n" --yes && has_both ann 10 0x78 && ctl desktop undo-reset ann --yes && has_both ann 12 13'
json_ok 'what was detached is in the trash' "$(ctlj trash list)" 'map(select(.kind == "data" and .layer == $l)) | length == 1' --arg l "$gone"
ok '... and comes back' eval 'ctl desktop data-disk add tom --disk "$(ctlj trash list | jq -r --arg l "$gone" "map(select(.layer == \$l))[0].id")" && has_both tom 4 5'
ok 'a deleted desktop comes back with its own' eval 'ctl trash restore "$(trash_of desktop deleted)" && has_data bob 9'
ok 'a reset keeps the size' eval 'ctl desktop reset eve --yes && [ "$(field .virtual_size desktop show eve)" = 100663296 ] && has_data eve 7'
ctl store check >/dev/null 2>&1 # a merge's former file goes to quarantine, see docs/design/snapshots.md
ok 'the check is clean' check_is_clean
done_testing
