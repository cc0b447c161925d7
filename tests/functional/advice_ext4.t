#!/bin/bash
# advice_ext4.t: real file systems: clones of one ext4 template get the same files, each after other ones
# of its own.  At the same offset little is equal, anywhere nearly all is: the two figures differ.
. "$(dirname "$0")/lib.sh"

n=6
mkdir "$top/root" "$top/update"
for i in $(seq 40); do random_file "$top/root/base$i" 1 "$i" && truncate -s "$((20 + i * 3))K" "$top/root/base$i"; done
for i in $(seq 60); do random_file "$top/update/lib$i" 1 $((100 + i)) && truncate -s "$((30 + i * 2))K" "$top/update/lib$i"; done
truncate -s 64M "$top/fs.raw"
mke2fs -q -F -t ext4 -b 4096 -E lazy_itable_init=0,root_owner=0:0 -d "$top/root" "$top/fs.raw"
start_daemon || exit 1
ctl template import debian "$top/fs.raw" --format raw >/dev/null
ctl desktop create --prefix c --count $n --template debian >/dev/null
mapfile -t names < <(printf 'c-%03d\n' $(seq $n))

# install NAME N: debugfs writes into the clone, as a raw file first: files of its own, the update, and
# nobody's order of the files is another's.
install()
{
    local own=$(($2 * 37 + 11)) i order
    cp --sparse=always "$top/fs.raw" "$top/clone.raw"
    order=$(seq 60 | shuf --random-source=<(yes "$2"))
    {
        random_file "$top/own" 1 $((1000 + $2)) && truncate -s ${own}K "$top/own"
        echo "write $top/own own"
        for i in $order; do echo "write $top/update/lib$i lib$i"; done
    } >"$top/cmds"
    debugfs -w -f "$top/cmds" "$top/clone.raw" >/dev/null 2>"$top/debugfs" || return
    # what differs from the template is what a guest would have written
    python3 - "$top/fs.raw" "$top/clone.raw" >"$top/io" <<'PY'
import sys
old, new = (open(path, "rb").read() for path in sys.argv[1:])
open(sys.argv[2] + ".all", "wb").write(new)
start = None
for at in range(0, len(new) + 4096, 4096):
    differs = at < len(new) and old[at:at + 4096] != new[at:at + 4096]
    if differs and start is None:
        start = at
    elif not differs and start is not None:
        print(start, at - start)
        start = None
PY
    local disk
    disk=$(path_of "$1")
    while read -r offset length; do
        dd if="$top/clone.raw" of="$top/piece" bs=4096 skip=$((offset / 4096)) count=$((length / 4096)) status=none
        echo "write -q -s $top/piece.$offset $offset $length"
        mv "$top/piece" "$top/piece.$offset"
    done <"$top/io" >"$top/cmds"
    qemu-io -f qcow2 "$disk" <"$top/cmds" >/dev/null
    rm -f "$top"/piece.*
    qemu-img compare -q -f qcow2 -F raw "$disk" "$top/clone.raw"
}

bad=
for i in $(seq $n); do install "${names[i - 1]}" "$i" || bad+=" $i"; done
is "$bad" '' 'each clone has the update, and something of its own before it'
for name in "${names[@]}"; do
    qemu-img convert -O raw "$(path_of "$name")" "$top/out.raw"
    e2fsck -fn "$top/out.raw" >/dev/null 2>&1 || bad+=" $name"
done
is "$bad" '' '... and a sound file system'
said=$(ctlj report advice)
figures() { jq -cS '.rows[0] | {own_bytes, same_offset_bytes, same_offset_saves_bytes, anywhere_bytes, anywhere_saves_bytes}'; }
mapfile -t found < <(for name in "${names[@]}"; do path_of "$name"; done)
counts=$("$here/advice_count.py" 50 "$(template_path debian)" "${found[@]}")
is "$(figures <<<"$said")" "$(jq -cS '{own_bytes, same_offset_bytes, same_offset_saves_bytes, anywhere_bytes, anywhere_saves_bytes}' <<<"$counts")" \
    'the figures are those that another count gives'
json_ok 'nearly all is equal somewhere' "$said" '.rows[0] | .anywhere_bytes > 0.85 * .own_bytes'
json_ok '... and little at the same offset' "$said" '.rows[0] | .same_offset_bytes < 0.3 * .own_bytes'
diag "own $(jq '.rows[0].own_bytes' <<<"$said"), same offset $(jq '.rows[0].same_offset_bytes' <<<"$said"), anywhere $(jq '.rows[0].anywhere_bytes' <<<"$said")"
json_ok 'no stand-in is promised to save more than that' "$said" '.rows[0] | .actions[1].frees_bytes <= .same_offset_saves_bytes + .zero_bytes + .below_bytes'

done_testing
