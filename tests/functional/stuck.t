#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# stuck.t: a guest whose store is full is paused, goes on by itself when there is space again, and what it
# wrote is right; a store tells when it is nearly full, full, and no longer.
# heavy: a guest under TCG
. "$(dirname "$0")/lib.sh"
. "$repo/tests/guest/libvirt.sh"
readonly BLOCKS=2560 # of 32 KiB: 80 MiB

chmod 755 "$top"
configure 'low_space_bytes = 24M' 'low_space_percent = 50' 'warn_space_bytes = 80M' 'warn_space_percent = 60'
truncate -s 256M "$top/small.img"
mkfs.ext4 -qF -m 0 "$top/small.img"
mkdir "$top/small"
ok 'a small file system' mount -o loop "$top/small.img" "$top/small" || { done_testing; exit 1; }
start_daemon || exit 1
as --32 --defsym N_BLOCKS=$BLOCKS -o "$top/guest.o" "$repo/tests/guest/fill_disk.S"
ld -m elf_i386 --oformat binary -Ttext 0x7c00 -o "$top/guest.raw" "$top/guest.o"
is "$(stat -c %s "$top/guest.raw")" 512 'a guest of one sector'
truncate -s 128M "$top/guest.raw"
ok 'a store' ctl store add small "$top/small/store"
ctl template import filler "$top/guest.raw" --format raw --memory 64M --cpus 1 >/dev/null 2>&1
ok 'a desktop in it' ctl desktop create d --template filler --store small
libvirt_start "$top/lv" || exit 1
libvirt_host vs-a --accelerator tcg
free_mib() { df --output=avail -BM "$top/small" | tail -n 1 | tr -dc 0-9; }
fallocate -l $(($(free_mib) - 40))M "$top/small/ballast"
run_is() { [ "$(field .run desktop show d)" = "$1" ]; }
written() { libvirt_virsh domblkstat d vda | sed -n 's/.*wr_bytes //p'; } # by the guest, as QEMU counts
told() { ctlj event list --kind "$1" --limit 1 | jq -e ".[0] | $2" >/dev/null; }

# ---- Full ----

ok 'little is left, which is told' wait_for 40 told store.low-space '.severity == "warning" and .object == "small"'
ok 'start' ctl desktop start d
ok 'it fills its store and is paused' wait_for 120 run_is stuck
is "$(field .run_reason desktop show d)" 'its store is full' '... why stands there'
ok 'that is told' told desktop.stuck '.severity == "alarm" and (.message | test("full"))'
is "$(libvirt_virsh domstate d --reason)" 'paused (I/O error)' 'libvirt says so, too'
ok 'that its store is full, too' wait_for 40 told store.low-space '.severity == "alarm"'
layer=$(path_of d)
before=$(written)
like "$(http GET /metrics)" '^imaged_runs\{state="stuck"\} 1$' 'it is counted'

# ---- A person pauses it, and imaged is killed meanwhile ----

ok 'a person pauses it, too' ctl desktop pause d
kill -9 "$daemon"
wait "$daemon" 2>/dev/null
daemon=
start_daemon || exit 1
ok 'the host is back' wait_for 60 host_is vs-a up
ok 'it is his pause, which nothing but he ends' run_is paused
is "$(ctlj event list --kind desktop.stuck | jq length)" 1 '... although its disk is as full as before'
ok 'he ends it' ctl desktop resume d
ok 'then it waits for space again' wait_for 60 run_is stuck
is "$(libvirt_virsh domstate d)" paused '... and was not resumed, as long as there is no space'

# ---- Space ----

rm "$top/small/ballast"
ok 'with space it goes on by itself' wait_for 60 run_is running
ok 'that is told' wait_for 10 told desktop.unstuck '.severity == "info" and .object == "d"'
done_is() { [ "$(written)" -ge $((BLOCKS * 32768 + 512)) ]; }
ok 'and comes to its end' wait_for 120 done_is
ok 'that the store has space, too' wait_for 40 told store.low-space '.severity != "alarm"'

# ---- What was paused by others stays ----

ok 'pause' ctl desktop pause d
is "$(field .run desktop show d)" paused 'whom a person has paused'
sleep_looks() { [ "$(ctlj event list --kind host.up,desktop.pause --limit 1 | jq -r '.[0].name')" = host.up ]; }
kill -9 "$daemon"
wait "$daemon" 2>/dev/null
daemon=
start_daemon || exit 1
ok '... stays, when all has been looked at anew' wait_for 60 sleep_looks
is "$(libvirt_virsh domstate d --reason)" 'paused (user)' '... so'

# ---- The data ----

ok 'stop' ctl desktop stop d --force
ok 'the layer is sound' qemu-img check -q "$layer"
qemu-img convert -f qcow2 -O raw "$layer" "$top/after.raw"
is "$(/usr/bin/python3 - "$top/after.raw" "$BLOCKS" <<'PY'
import struct, sys
with open(sys.argv[1], "rb") as f:
    f.seek(1 << 20)
    wrong = [n for n in range(int(sys.argv[2])) if f.read(32768) != struct.pack("<I", n + 1) * 8192]
print(len(wrong), wrong[:5])
PY
)" '0 []' 'every block that the guest wrote is there'
ok 'it was paused in the middle' [ "$before" -gt $((8 << 20)) ]
ok '... of its work' [ "$before" -lt $((BLOCKS * 32768)) ]
ok 'the check is clean' ctl store check
done_testing
