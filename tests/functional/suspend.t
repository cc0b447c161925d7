#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# suspend.t: memory of desktops, saved and gone on with by a real libvirtd and QEMU, and never with
# another disk.  The guest is a boot sector that counts in its memory, from 0 when it is booted, and
# writes the count into the second sector of its disk.
. "$(dirname "$0")/lib.sh"
. "$repo/tests/guest/libvirt.sh"

chmod 755 "$top"
start_daemon || exit 1
python3 - "$top/g.raw" <<'E'
import struct, sys
code = bytes.fromhex('31c08ed88ec08ed0bc007cfb') + b'\x88\x16\xf0\x7d'            # segments; drive
code += b'\x66\xc7\x06\x00\x80\x00\x00\x00\x00'                                     # count = 0
loop = len(code)
code += b'\x66\xff\x06\x00\x80'                                                     # count += 1
code += b'\xb4\x43\xb0\x00\xbe\xe0\x7d\x8a\x16\xf0\x7d\xcd\x13'                     # write
code += b'\xb4\x86\x31\xc9\xba\x50\xc3\xcd\x15'                                     # 50 ms
code += b'\xeb' + struct.pack('b', loop - len(code) - 2)
code = code.ljust(0x1e0, b'\0') + struct.pack('<BBHHHQ', 16, 0, 1, 0x8000, 0, 1)
code = code.ljust(510, b'\0') + b'\x55\xaa'
with open(sys.argv[1], 'wb') as f:
    f.write(code)
    f.truncate(64 << 20)
E
ctl template import t "$top/g.raw" --format raw --memory 64M --cpus 1 >/dev/null 2>&1
ctl desktop create a b --template t >/dev/null
count_of() {
    local words
    words=$(qemu-io -U -r -f qcow2 -c 'read -v 512 4' "$(path_of "$1")" 2>/dev/null | sed -n 's/^00000200: *//p')
    # shellcheck disable=SC2086 # the four bytes
    set -- $words
    echo $((0x${4:-0}${3:-0}${2:-0}${1:-0}))
}
counts_past() { [ "$(count_of "$1")" -gt "$2" ]; }
is_under() { [ "$(count_of "$1")" -lt "$2" ]; }
files() { find "$store/config" -name '*.mem' 2>/dev/null | wc -l; }

LIBVIRT_NET=1 libvirt_start "$top/lv" || exit 1
libvirt_host vs-a --accelerator tcg
fails_with 1 'does not run' 'what is off is not suspended' ctl desktop suspend a
ok 'two desktops' ctl desktop start a b
ok 'the guest counts' wait_for 60 counts_past a 20
ok 'a picture of it' ctl desktop screenshot a "$top/a.png"
is "$(head -c 8 "$top/a.png" | od -An -tx1 | tr -d ' ')" 89504e470d0a1a0a '... is a PNG'

# ---- Suspended, and on again ----

ok 'suspend' ctl desktop suspend a
is "$(run_of a)" suspended '... is told'
is "$(libvirt_virsh list --name | sed '/^$/d')" b 'the host runs it no more'
is "$(files)" 1 'its memory is a file of the store'
ok '... which is accounted for' ctl store check
before=$(count_of a)
ok 'resume' ctl desktop resume a
is "$(run_of a)" running '... runs, whatever its host told while it was put together'
ok 'the guest counts on, from where it was' wait_for 60 counts_past a "$before"
is "$(files)" 0 'the file is gone'
fails_with 1 'on already' 'what is on is not started again' ctl desktop start a

# ---- With a restart of the daemon, and by start ----

ok 'suspend' ctl desktop suspend a
before=$(count_of a)
stop_daemon
start_daemon || exit 1
ok 'the host is back' wait_for 60 host_is vs-a up
ok 'start goes on with the memory too' ctl desktop start a
ok '... counts on' wait_for 60 counts_past a "$before"
is "$(libvirt_virsh domuuid a)" "$(field .uuid desktop show a)" 'it is the same desktop'

# ---- Never with another disk ----

ok 'suspend' ctl desktop suspend a
before=$(count_of a)
ok 'somebody writes to its disk' qemu-io -f qcow2 -c 'write -P 7 1M 64k' "$(path_of a)"
fails_with 1 'not suspended' 'its memory is good for nothing' ctl desktop resume a
ok 'start boots it' ctl desktop start a
ok '... anew' wait_for 60 is_under a "$before"
ok 'suspend' ctl desktop suspend a
ok 're-image' ctl desktop reset a --yes
is "$(run_of a)" off '... and it is off'
fails_with 1 'not' 'nothing goes on' ctl desktop resume a
ok 'it starts' ctl desktop start a
ok 'and counts' wait_for 60 counts_past a 5
ok 'suspend' ctl desktop suspend a
ok 'on purpose without its memory' ctl desktop start a --fresh
is "$(find "$store/config" -name "*-$(field .generation desktop show a).mem" | wc -l)" 0 'the file is gone'

# ---- The daemon is killed while it suspends ----

ctl desktop suspend b --no-wait >/dev/null
kill -9 "$daemon"
wait "$daemon" 2>/dev/null
daemon=
start_daemon || exit 1
is_suspended() { [ "$(run_of b)" = suspended ]; }
ok 'it is suspended in the end' wait_for 60 is_suspended
before=$(count_of b)
ok 'resume' ctl desktop resume b
ok '... counts on' wait_for 60 counts_past b "$before"

# ---- With what UEFI keeps ----

ctl desktop create u --template t --firmware uefi --nvram keep --memory 256M >/dev/null
kept=$store/config/$(field .id desktop show u)-1.nvram
has_written() { ! cmp -s "$kept" /usr/share/OVMF/OVMF_VARS_4M.fd; }
ok 'one whose UEFI keeps its variables' ctl desktop start u
ok '... and writes them' wait_for 120 has_written
ok 'suspend' ctl desktop suspend u
ok 'resume' ctl desktop resume u
is "$(libvirt_virsh domstate u)" running '... it runs'
like "$(libvirt_virsh dumpxml u)" "<source file='$kept'" '... with the same file'
# The variables as the guest sees them: below the code, at the end of the first 4 GiB.
flash_is_kept() {
    libvirt_virsh qemu-monitor-command u "{\"execute\": \"pmemsave\", \"arguments\":
        {\"val\": $((0xffc00000)), \"size\": $(stat -c %s "$kept"), \"filename\": \"$top/flash\"}}" && cmp "$kept" "$top/flash"
}
ok '... which is what the guest has' wait_for 60 flash_is_kept
ok '... and not a blank one' has_written
ok 'all stop' ctl desktop stop a b u --force
ok 'the check is clean' ctl store check
done_testing
