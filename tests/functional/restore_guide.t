#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# restore_guide.t: docs/restore-without-imaged.md does what it says: its commands, as they stand
# there but for the places and the id, bring a disk back from a copy of the target, with imaged gone.
. "$(dirname "$0")/lib.sh"

guide=$here/../../docs/restore-without-imaged.md

# commands HEADING TARGET ID: the indented lines below this heading, with the places of this test.
commands()
{
    awk -v wanted="## $1" '/^## / { on = $0 == wanted } on && sub(/^    /, "")' "$guide" | sed -e "s|/mnt/backup/imaged|$2|" \
        -e "s|REPO=backup@host:imaged|REPO=$2|" -e "s|^id=.*|id=$3|" -e "s|/srv/|$top/out/|"
}

# run HEADING TARGET ID [WITHOUT]: run them as one script, in an empty folder; without some lines.
run()
{
    rm -rf "$top/out" "$top/work"
    mkdir "$top/out" "$top/work"
    commands "$1" "$2" "$3" | grep -v -- "${4:-^$}" >"$top/script"
    (cd "$top/work" && bash -eu "$top/script") >"$top/printed" 2>"$top/complained"
}

export BORG_BASE_DIR=$top/borg BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes \
    BORG_RELOCATED_REPO_ACCESS_IS_OK=yes
mkdir "$top/nas"
start_daemon || exit 1
make_raw "$top/golden.raw" 256M 0 17 3M 100M 42 2M
ctl template import golden "$top/golden.raw" --format raw >/dev/null
ctl desktop create a --template golden --data-disk 64M >/dev/null
ctl archive target add nas "$top/nas" >/dev/null
ctl archive target add vault "$top/vault" --kind borg --encryption none >/dev/null
mark a 7
ctl snapshot create a monday >/dev/null
mark a 8
qio "$(ctl desktop path a --data)" 'write -q -P 9 1M 64k' >/dev/null
qemu-img convert -O raw "$(path_of a)" "$top/as-it-was.raw"
qemu-img convert -O raw "$(ctl desktop path a --data)" "$top/data-was.raw"
ok 'archived to a folder' ctl archive create a --to nas
ok 'archived to borg' ctl archive create a --to vault
dir_id=$(field '.[0].id' archive list --target nas)
borg_id=$(field '.[0].id' archive list --target vault)
json_ok 'a chain of three layers' "$(ctlj archive show "$dir_id")" '.n_layers == 3'
stop_daemon
rm -rf "$state"
mv "$top/nas" "$top/elsewhere"
mv "$top/vault" "$top/moved"

# ---- kind dir ----

run 'A target of kind dir' "$top/elsewhere" "$dir_id"
is $? 0 'the commands for a folder all succeed'
is "$(cat "$top/complained")" '' '... and complain of nothing'
like "$(cat "$top/printed")" "$dir_id	a		268435456" '... the list names the point'
is "$(tail -n 2 "$top/printed" | sort -u | wc -l)" 1 '... the checksums of the point are the same'
like "$(tail -n 1 "$top/printed")" '^[0-9a-f]{64}$' '... and they are checksums'
is "$(grep -c '^image: ' "$top/printed")" 3 '... the whole chain is shown'
ok 'the disk is what it was' \
    qemu-img compare -q -f qcow2 -F raw "$top/out/disk.qcow2" "$top/as-it-was.raw"
ok '... and the data disk' \
    qemu-img compare -q -f qcow2 -F raw "$top/out/data.qcow2" "$top/data-was.raw"
object=$(find "$top/elsewhere/layers" -name '*.qcow2' | sort | head -n 1)
chmod u+w "$object"
printf '\377' | dd of="$object" bs=1 seek=70000 conv=notrunc status=none
run 'A target of kind dir' "$top/elsewhere" "$dir_id" qemu-img
like "$(cat "$top/printed")" "^layers/$(basename "$object") is damaged" 'a byte that was changed is found'

# ---- kind borg ----

run 'A target of kind borg' "$top/moved" "$borg_id"
is $? 0 'the commands for borg all succeed'
like "$(cat "$top/printed")" "point-$borg_id" '... the list names the point'
ok 'the disk is what it was' \
    qemu-img compare -q -f qcow2 -F raw "$top/out/disk.qcow2" "$top/as-it-was.raw"
ok '... and the data disk' \
    qemu-img compare -q -f qcow2 -F raw "$top/out/data.qcow2" "$top/data-was.raw"

done_testing
