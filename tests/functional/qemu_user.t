#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# qemu_user.t: QEMU as a user of its own, as libvirt has it on a real host: it writes active layers and
# reads frozen ones because of their group, and nobody else reads anything; libvirt gives no file to
# another user.  The guest is a boot sector that writes into the second sector of its disk.
. "$(dirname "$0")/lib.sh"
. "$repo/tests/guest/libvirt.sh"

chmod 755 "$top"
configure 'image_group = libvirt-qemu'
start_daemon || exit 1
python3 - "$top/g.raw" <<'E'
import struct, sys
code = bytes.fromhex('31c08ed88ec08ed0bc007cfb') + b'\x88\x16\xf0\x7d'
loop = len(code)
code += b'\xb4\x43\xb0\x00\xbe\xe0\x7d\x8a\x16\xf0\x7d\xcd\x13' + b'\xfb\xf4'
code += b'\xeb' + struct.pack('b', loop - len(code) - 2)
code = code.ljust(0x1e0, b'\0') + struct.pack('<BBHHHQ', 16, 0, 1, 0x7c00, 0, 1)
with open(sys.argv[1], 'wb') as f:
    f.write(code.ljust(510, b'\0') + b'\x55\xaa')
    f.truncate(64 << 20)
E
ctl template import t "$top/g.raw" --format raw --memory 64M --cpus 1 >/dev/null 2>&1
ctl desktop create a --template t >/dev/null
ctl snapshot create a before >/dev/null
has_written() { [ "$(qemu-io -U -r -f qcow2 -c 'read -v 512 2' "$(path_of a)" 2>/dev/null | grep -c '31 c0')" = 1 ]; }
modes() { find "$store" -type f -printf '%m %u %g %P\n' | sort; }
is_qemu() { ps -o user:32= -p "$(pgrep -f "guest=a,.*$(field .uuid desktop show a)" | head -n 1)"; }

mkdir -p "$top/lv/lib/qemu" "$top/lv/cache/qemu"
chmod 755 "$top/lv" "$top/lv/lib"
LIBVIRT_NET=1 LIBVIRT_USER=libvirt-qemu libvirt_start "$top/lv" || exit 1
chown -R libvirt-qemu:libvirt-qemu "$top/lv/lib/qemu" "$top/lv/cache/qemu"
libvirt_host vs-a --accelerator tcg
before=$(modes)
ok 'start' ctl desktop start a
is "$(is_qemu)" libvirt-qemu 'QEMU is a user of its own'
ok 'it writes the active layer' wait_for 60 has_written
is "$(stat -c '%a %U %G' "$(path_of a)")" '660 root libvirt-qemu' '... by its group'
as_qemu() { setpriv --reuid=libvirt-qemu --regid=libvirt-qemu --clear-groups "$@" 2>/dev/null; }
frozen=$(find "$store/layers" -type f -perm 440 | head -n 1)
ok 'a frozen layer' [ "$frozen" ]
ok '... is read' as_qemu dd if="$frozen" of=/dev/null bs=512 count=1
fails() { ! "$@"; }
ok '... and not written' fails as_qemu dd if=/dev/zero of="$frozen" bs=1 count=1 conv=notrunc
as_nobody() { setpriv --reuid=nobody --regid=nogroup --clear-groups "$@" 2>/dev/null; }
ok 'nobody else reads it' fails as_nobody dd if="$frozen" of=/dev/null bs=512 count=1
ok '... nor an active one' fails as_nobody dd if="$(path_of a)" of=/dev/null bs=512 count=1
is "$(find "$store" -type f -perm /007 | wc -l)" 0 'no file of the store is the world'\''s'
ok 'suspend' ctl desktop suspend a
is "$(find "$store" -type f -perm /007 | wc -l)" 0 'nor is what it had in its memory'
ok 'resume' ctl desktop resume a
ok 'stop' ctl desktop stop a --force
is "$(modes | grep -v config/)" "$(grep -v config/ <<<"$before")" 'libvirt gave nothing to anybody'
ok 'the check is clean' ctl store check
done_testing
