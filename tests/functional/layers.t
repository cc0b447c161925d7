#!/bin/bash
# layers.t: the files themselves, judged by QEMU: what is created, what is imported, who may read it.
. "$(dirname "$0")/lib.sh"

make_raw "$top/a.raw" 64M 0 0x11 1M 32M 0x22 1M
random_file "$top/r.raw" 3 5
dd if="$top/r.raw" of="$top/a.raw" bs=1M seek=10 conv=notrunc status=none
umask 077
configure 'image_group = games'
start_daemon || exit 1
ctl template import win "$top/a.raw" --format raw >/dev/null
ctl desktop create d1 d2 d3 --template win >/dev/null
ctl desktop create --prefix small --count 2 --template win --cluster-size 64K >/dev/null
ctl desktop create plain --template win --no-subclusters >/dev/null
ctl desktop create c2m --template win --cluster-size 2M >/dev/null

info() { qemu-img info --output=json "$(path_of "$1")"; }
base=$(field '.versions[0].layer' template show win)
bad=
for name in $(ctlj desktop list | jq -r '.[].name'); do
    qemu-img check -q "$(path_of "$name")" || bad+=" $name"
done
is "$bad" '' 'every overlay passes qemu-img check'
ok '... so does the template' qemu-img check -q "$(template_path win)"
json_ok 'QEMU sees the backing file by its relative name, with its format' "$(info d1)" \
    '."backing-filename" == "../layers/'"$base"'" and ."backing-filename-format" == "qcow2" and ."virtual-size" == 67108864'
json_ok 'extended L2 and 128 KiB by default' "$(info d1)" '."cluster-size" == 131072 and ."format-specific".data."extended-l2" == true and ."format-specific".data.compat == "1.1"'
json_ok '--cluster-size 64K' "$(info small-001)" '."cluster-size" == 65536'
json_ok '--cluster-size 2M' "$(info c2m)" '."cluster-size" == 2097152'
json_ok '--no-subclusters' "$(info plain)" '."format-specific".data."extended-l2" == false'
fails_with 2 'cluster' 'a cluster size that is none' ctl desktop create x --template win --cluster-size 100000
is "$(stat -c %a "$(path_of d1)")" 660 'an overlay is born 0660, whatever the umask'
is "$(stat -c %a "$(template_path win)")" 440 'a template is frozen 0440'
is "$(stat -c %a "$store/layers")" 2770 'folders are setgid'
is "$(stat -c %G "$(path_of d1)" "$(template_path win)" "$store/layers" "$store/trash" | sort -u)" games 'all of image_group'
ok 'reset' ctl desktop reset d3 --yes
is "$(stat -c '%a %G' "$(path_of d3)")" '660 games' '... the new disk likewise'
umask 022

# ---- QEMU writes, we read ----

path=$(path_of d1)
qio "$path" 'write -q -P 0x31 0 4k' 'write -q -P 0x32 100k 300k' 'write -q -P 0x33 31M 3M' 'write -q -z 10M 1M' \
    'discard 11M 1M' 'write -q -P 0x34 63M 1M' 'write -q -P 0x35 5000k 512' >/dev/null
qemu-img convert -O raw "$path" "$top/qemu.raw"
"$cowtool" cat "$(template_path win)" "$path" >"$top/ours.raw"
ok 'the guest bytes are the same for QEMU and for us' cmp "$top/qemu.raw" "$top/ours.raw"
ok '... and qemu-img check has nothing to say' qemu-img check -q "$path"
ok '... nor has our own check' "$cowtool" check "$path"
id=$(field .layer desktop show d1)
ok 'the identity survives being written' grep -qa "\"$id\"" <(head -c 4096 "$path")
ok 'QEMU amends it' qemu-img amend -f qcow2 -o lazy_refcounts=on "$path"
ok '... the identity survives that' grep -qa "\"$id\"" <(head -c 4096 "$path")
ok '... and the store check' check_is_clean

# ---- elsewhere ----

cp -a "$store" "$top/elsewhere"
ok 'a copy of the store works where it is' qemu-img compare -q "$top/elsewhere/layers/$id" "$path"
mv "$(template_path win)" "$top/base.away"
ok '... without the first one' qemu-img compare -q -f qcow2 -F raw "$top/elsewhere/layers/$id" "$top/qemu.raw"
mv "$top/base.away" "$store/layers/$base"
rm -r "$top/elsewhere"

# ---- imports ----

imported() # NAME SOURCE FORMAT
{
    local format=()
    [ "${3:-}" ] && format=(--format "$3")
    ok "import of $1" ctl template import "$1" "$2" "${format[@]}"
    ok '... QEMU reads the same bytes' qemu-img compare -q -f raw -F qcow2 "$top/a.raw" "$(template_path "$1")"
    ok '... from one whole, sound file' eval 'qemu-img check -q "$(template_path '"$1"')" && ! qemu-img info --output=json "$(template_path '"$1"')" | grep -q backing'
    ok '... that is sparse' test $(($(stat -c %b "$(template_path "$1")") * 512)) -lt $((7 * 1048576))
}
imported raw "$top/a.raw" raw
qemu-img convert -O qcow2 "$top/a.raw" "$top/i.qcow2"
imported qcow2 "$top/i.qcow2" qcow2
qemu-img convert -O qcow2 -o compat=0.10 "$top/a.raw" "$top/i.qcow2"
imported qcow2-v2 "$top/i.qcow2" qcow2
qemu-img convert -c -O qcow2 "$top/a.raw" "$top/i.qcow2"
imported qcow2-zlib "$top/i.qcow2" qcow2
qemu-img convert -c -O qcow2 -o compression_type=zstd,extended_l2=on,cluster_size=64k "$top/a.raw" "$top/i.qcow2"
imported qcow2-zstd "$top/i.qcow2" qcow2
qemu-img convert -O qcow2 -o cluster_size=4k "$top/a.raw" "$top/i.qcow2"
qemu-io -f qcow2 -c 'write -q -P 0x77 0 8M' "$top/i.qcow2"
qemu-img snapshot -c before "$top/i.qcow2"
qemu-img convert -n -O qcow2 "$top/a.raw" "$top/i.qcow2"
imported qcow2-snapshots "$top/i.qcow2" qcow2
qemu-img convert -O vmdk "$top/a.raw" "$top/i.vmdk"
imported vmdk "$top/i.vmdk" vmdk
qemu-img convert -O vmdk -o subformat=streamOptimized "$top/a.raw" "$top/i.vmdk"
imported vmdk-stream "$top/i.vmdk" vmdk
qemu-img convert -O vdi "$top/a.raw" "$top/i.vdi"
imported vdi "$top/i.vdi" vdi
qemu-img convert -O vhdx "$top/a.raw" "$top/i.vhdx"
imported vhdx "$top/i.vhdx" vhdx
qemu-nbd -t -r -k "$top/nbd.sock" -f raw "$top/a.raw" &
keep_pid $!
wait_for 10 nbdinfo --size "nbd+unix:///?socket=$top/nbd.sock"
imported nbd "nbd+unix:///?socket=$top/nbd.sock"
head -c 1048676 /dev/urandom >"$top/odd.raw"
ok 'a size that is no multiple of 512' ctl template import odd "$top/odd.raw" --format raw
truncate -s 1049088 "$top/odd.raw"
ok '... is rounded up with zeros' qemu-img compare -q -f raw -F qcow2 "$top/odd.raw" "$(template_path odd)"
ok 'check of the data' ctl store check --data
stop_daemon

# ---- the compatible format ----

state=$top/c store=$top/c/store
configure
start_daemon --layer-format compatible || exit 1
ctl template import win "$top/a.raw" --format raw >/dev/null
ctl desktop create d1 --template win >/dev/null
json_ok '--layer-format compatible: standard L2, 64 KiB' "$(info d1)" '."cluster-size" == 65536 and ."format-specific".data."extended-l2" == false'
is "$(field .layer_format store show)" compatible 'the store says so'
qio "$(path_of d1)" 'write -q -P 1 1M 1M' >/dev/null
ok 'QEMU likes it' qemu-img check -q "$(path_of d1)"
json_ok 'a store of the other kind' "$(ctlj store add ext "$top/ext" --layer-format extended)" '.layer_format == "extended"'
ctl desktop create d2 --template win --store ext >/dev/null
json_ok '... has its own' "$(info d2)" '."cluster-size" == 131072 and ."format-specific".data."extended-l2" == true'
ok 'move from one to the other' ctl desktop move d1 --to ext
ok '... with its data' qio "$(path_of d1)" 'read -P 1 1M 1M'
stop_daemon
ok 'the format is remembered' start_daemon
is "$(field .layer_format store show)" compatible '... by the store itself'
done_testing
