#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# heavy: boots libguestfs' appliance under TCG
# guest_seal.t: what sealing removes and what it leaves, judged by debugfs and e2fsck; and a file
# system made to crash whoever mounts it, which must be a clear error and nothing more.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/guest_lib.sh"

mkdir "$state"
export IMAGED_TEST_APPLIANCE=$appliance
seal() { "$guesttool" "$state" guest seal "$1" "$3" "w:$2" 2>"$top/err"; }

tree=$top/tree
make_tree "$tree"
mkdir -p "$tree"/etc/ssh "$tree"/var/log/{apt,journal/0123} "$tree"/var/lib/{dhcp,dbus,systemd,imaged} \
    "$tree"/var/{tmp,mail,crash} "$tree"/var/cache/apt/archives "$tree"/home/alice/.cache \
    "$tree"/var/lib/cloud/instances/i-1 "$tree"/etc/udev/rules.d
echo 0123456789abcdef0123456789abcdef >"$tree/etc/machine-id"
ln -s /etc/machine-id "$tree/var/lib/dbus/machine-id"
printf 'root:$6$salt$hash:19000:0:99999:7:::\nalice:$6$a$b:19000:0:99999:7:::\n' >"$tree/etc/shadow"
for file in etc/ssh/ssh_host_{rsa,ed25519}_key{,.pub} var/log/{syslog,syslog.1,auth.log.2.gz,apt/history.log} \
    var/log/journal/0123/system.journal var/lib/dhcp/dhclient.leases var/lib/systemd/random-seed \
    var/lib/imaged/stamp home/alice/.bash_history var/mail/alice var/crash/core tmp/.hidden var/tmp/x \
    var/lib/cloud/instances/i-1/user-data etc/udev/rules.d/70-persistent-net.rules etc/ssh/sshd_config; do
    echo secret >"$tree/$file"
done
head -c 3M /dev/urandom >"$tree/var/cache/apt/archives/big.deb"
echo mine >"$tree/home/alice/kept"
echo outside >"$tree/etc/precious"
ln -s /etc "$tree/home/alice/.cache/way-out"
chmod 640 "$tree/var/log/syslog"
# /tmp gets more names than an answer of the appliance's holds (4 MiB).  mke2fs would take minutes: so it
# is a file first, whose blocks are a folder's, and e2fsck counts the links.
rm -r "$tree/tmp"
head -c 5M /dev/urandom >"$tree/tmp"
echo linked >"$tree/home/alice/many"
make_fs "$tree" "$top/golden.raw"
rm "$tree/tmp"
/usr/bin/python3 - "$top/golden.raw" <<'END'
import re, struct, subprocess, sys
def ask(what):
    return subprocess.run(["debugfs", "-R", what, sys.argv[1]], capture_output=True, text=True).stdout
def inode(path):
    return int(re.search(r"Inode: (\d+)", ask("stat " + path)).group(1))
def entry(number, name, kind, length):
    return struct.pack("<IHBB", number, length, len(name), kind).ljust(8) + name.ljust(length - 8, b"\0")
size = int(re.search(r"Block size:\s+(\d+)", ask("stats")).group(1))
me, linked, n = inode("/tmp"), inode("/home/alice/many"), 0
with open(sys.argv[1], "r+b") as image:
    for i, block in enumerate(ask("blocks /tmp").split()):
        data = entry(me, b".", 2, 12) + entry(2, b"..", 2, 12) + entry(linked, b".hidden", 1, 16) if i == 0 else b""
        while size - len(data) >= 2 * 256:
            data += entry(linked, b"%0240d" % n, 1, 248)
            n += 1
        image.seek(int(block) * size)
        image.write(data + entry(linked, b"x%0239d" % n, 1, size - len(data)))
END
debugfs -w -R 'set_inode_field /tmp mode 041777' "$top/golden.raw" 2>/dev/null
e2fsck -fy "$top/golden.raw" >"$top/e2fsck.log" 2>&1
ok "the guest's file system is sound" e2fsck -fn "$top/golden.raw" || diag "$(tail "$top/e2fsck.log")"
[ "$(in_fs "$top/golden.raw" 'ls -p /tmp' | grep -c .)" -gt 17000 ]
is $? 0 "its /tmp is full"
qemu-img convert -q -O qcow2 "$top/golden.raw" "$top/golden.qcow2"

report=$(seal '{"root_password":"lock"}' "$top/golden.qcow2" 900000) || diag "$(cat "$top/err")"
json_ok "the report names each operation and what it removed" "$report" \
    '.os.distro == "debian" and .n_removed > 15 and .bytes > 3000000 and
     ([.operations[] | select(.name == "ssh-host-keys")][0] | .n_removed == 4 and
      (.paths | index("/etc/ssh/ssh_host_rsa_key") != null)) and .trimmed == ["/"]'
json_ok "the sums are right" "$report" \
    '([.operations[].n_removed] | add) == .n_removed and ([.operations[].bytes] | add) == .bytes'
qemu-img convert -q -O raw "$top/golden.qcow2" "$top/sealed.raw"
fs=$top/sealed.raw
ok "the file system is sound" e2fsck -fn "$fs"
like "$(in_fs "$fs" 'stat /etc/machine-id')" 'Type: regular.*' "machine-id is there"
like "$(in_fs "$fs" 'stat /etc/machine-id')" 'Project: .* Size: 0$' "and empty"
for gone in /etc/ssh/ssh_host_rsa_key /etc/ssh/ssh_host_ed25519_key.pub /var/log/syslog.1 \
    /var/log/auth.log.2.gz /var/log/journal/0123 /var/lib/dhcp/dhclient.leases \
    /var/lib/systemd/random-seed /var/lib/imaged/stamp /home/alice/.bash_history /var/mail/alice \
    /var/crash/core /tmp/.hidden /var/tmp/x /var/lib/cloud/instances/i-1 \
    /etc/udev/rules.d/70-persistent-net.rules /var/cache/apt/archives/big.deb \
    /home/alice/.cache/way-out; do
    ok "$gone is gone" lacks "$fs" "$gone"
done
is "$(in_fs "$fs" 'ls -p /tmp' | grep -c .)" 2 "so many files in one folder are removed"
like "$(in_fs "$fs" 'stat /tmp')" 'Mode: +01777' "its mode kept"
like "$(in_fs "$fs" 'stat /var/log/syslog')" 'Mode: +0640' "a log is emptied, its mode kept"
like "$(in_fs "$fs" 'stat /var/log/syslog')" 'Project: .* Size: 0$' "it is empty"
is "$(in_fs "$fs" 'cat /home/alice/kept')" mine "a user's file stays"
is "$(in_fs "$fs" 'cat /etc/ssh/sshd_config')" secret "so does configuration"
is "$(in_fs "$fs" 'cat /etc/precious')" outside "what a link pointed to stays"
is "$(in_fs "$fs" 'cat /etc/shadow' | head -1 | cut -d: -f2)" '!$6$salt$hash' "root's password is locked"
is "$(in_fs "$fs" 'cat /etc/shadow' | sed -n 2p | cut -d: -f2)" '$6$a$b' "alice's is not"
allocated() { qemu-img map --output=json "$1" | jq '[.[] | select(.data) | .length] | add'; }
qemu-img convert -q -O qcow2 "$top/golden.raw" "$top/before.qcow2"
[ "$(allocated "$top/golden.qcow2")" -lt $(($(allocated "$top/before.qcow2") - 2500000)) ]
is $? 0 "the space of what was removed is given back"

# ---- Refused ----

fails_with 1 "kept or locked, not 'empty'" "another password policy" \
    "$guesttool" "$state" guest seal '{"root_password":"empty"}' 900000 "w:$top/golden.qcow2"
fails_with 1 "needs one disk to write" "a disk that is not to be written" \
    "$guesttool" "$state" guest seal '{}' 900000 "r:$top/golden.qcow2"

# ---- A file system that takes its kernel down with it ----

# "On an error: panic", and an error: a root folder that is no folder.
tune2fs -e panic "$top/golden.raw" >/dev/null 2>&1
debugfs -w -R 'set_inode_field <2> block[0] 1' "$top/golden.raw" 2>/dev/null
qemu-img convert -q -O qcow2 "$top/golden.raw" "$top/bomb.qcow2"
seal '{}' "$top/bomb.qcow2" 300000
isnt $? 0 "a file system that crashes the appliance is an error" || diag "$(cat "$top/err")"
like "$(tail -2 "$top/err")" '^(failed|unavailable|not_found): .{10}' "with a reason" || diag "$(cat "$top/err")"
diag "$(tail -2 "$top/err")"
is "$(leftovers)" "" "nothing is left of it"
touch -d '3 days ago' "$appliance"/*/
seal '{}' "$top/bomb.qcow2" 3000
like "$(cat "$top/err")" 'it was killed after 3 s' "a time limit holds for an appliance too"
is "$(leftovers)" "" "and its QEMU is gone"
is "$(find "$appliance"/*/ -maxdepth 0 -mmin -60 | grep -c .)" 1 "an appliance that is used is no old one"
done_testing
