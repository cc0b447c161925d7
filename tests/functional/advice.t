#!/bin/bash
# advice.t: what 50 diffs have in common, against a count by other means; compact and a stand-in base
# on them, every desktop compared bit by bit.
. "$(dirname "$0")/lib.sh"

n=50
make_raw "$top/a.raw" 64M 0 0x11 8M 32M 0x22 4M
random_file "$top/r.raw" 3 5
dd if="$top/r.raw" of="$top/a.raw" bs=1M seek=10 conv=notrunc status=none
start_daemon || exit 1
ctl template import win "$top/a.raw" --format raw >/dev/null
ctl desktop create --prefix d --count $n --template win >/dev/null
names() { ctlj desktop list | jq -r '.[].name'; }

# Of each desktop: what all have at one place, what most have, what all have at a place of their own,
# its own, zeros, and the template's own bytes again.
for i in $(seq $n); do
    cmd=("write -q -P 0x31 16M 512k" "write -q -P 0x$(printf %02x $((i + 64))) 24M 64k")
    for k in 0 1 2 3; do cmd+=("write -q -P 0x$((41 + k)) $((20480 + 256 * k + 4 * i))k 4k"); done
    [ $((i % 5)) = 0 ] || cmd+=("write -q -P 0x61 1M 128k") # over the template's data
    [ $((i % 5)) = 0 ] || cmd+=("write -q -P 0x62 48M 256k") # where it has none
    [ $((i % 7)) = 1 ] && cmd+=("write -q -P 0x63 50M 64k")
    [ $((i % 3)) = 0 ] && cmd+=("write -q -P 0 40M 64k" "write -q -P 0x11 4M 32k")
    [ $((i % 10)) = 3 ] && cmd+=("write -q -z 1M 16k" "write -q -z 17M 8k")
    qio "$(path_of d-$(printf %03d $i))" "${cmd[@]}" >/dev/null || path_of d-$(printf %03d $i)
done
