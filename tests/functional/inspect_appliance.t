#!/bin/bash
# heavy: libguestfs' appliance, four times under TCG
# long: 120 s
# inspect_appliance.t: what the quick reader leaves to libguestfs: a journal that waits (what stands
# behind it must not be read stale), and file systems that are not ext.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/guest_disk.sh"

configure "appliance = $BUILD/appliance" 'accelerator = tcg'

# ---- a journal that waits: an upgrade of 'base' is in it, and nowhere else ----

pad() { head -c 4096 <(cat; yes '' | head -c 4096); }
make_root "$top/root" golden
mkdir -p "$top/root"/{sbin,usr/bin,usr/sbin,var/log,boot,root,dev,proc,sys}
echo 12.5 >"$top/root/etc/debian_version"
printf 'UUID=1f2e3d4c-0000-4000-8000-000000000001 / ext4 defaults 0 1\n' >"$top/root/etc/fstab"
dpkg_status base=1.0 spice-vdagent=0.22 | pad >"$top/root/var/lib/dpkg/status"
dpkg_status base=2.0 spice-vdagent=0.22 late=1 | pad >"$top/new"
make_ext "$top/dirty.raw" 64M "$top/root" -U 1f2e3d4c-0000-4000-8000-000000000001
block=$(debugfs -R 'blocks /var/lib/dpkg/status' "$top/dirty.raw" 2>/dev/null | tr -d ' ')
printf 'jo -f\njw -b %s %s\njc\n' "$block" "$top/new" >"$top/script"
debugfs -w -f "$top/script" "$top/dirty.raw" >/dev/null 2>&1
like "$(dumpe2fs -h "$top/dirty.raw" 2>/dev/null)" 'needs_recovery' 'the journal waits to be replayed'

# ---- xfs, NTFS and FAT on one disk, without a system ----

mkdir -p "$top/tree"; echo "kept in xfs" >"$top/tree/file"
printf 'x\n0 0\nd--755 0 0\nsub d--755 0 0\nfile ---644 1000 1000 %s\n$\nlink l--777 0 0 /etc/shadow\n$\n' "$top/tree/file" >"$top/proto"
truncate -s 330M "$top/xfs.raw"; mkfs.xfs -q -p "$top/proto" "$top/xfs.raw"
truncate -s 40M "$top/fat.raw"; mkfs.vfat -F 16 -n STICK "$top/fat.raw" >/dev/null
echo "kept in fat" >"$top/hello"; mcopy -i "$top/fat.raw" "$top/hello" ::/HELLO.TXT
truncate -s 64M "$top/ntfs.raw"; mkntfs -q -F -L WIN "$top/ntfs.raw" >/dev/null 2>&1
truncate -s 450M "$top/mixed.raw"
printf '%s\n' 'label: gpt' 'start=2048, size=675840' 'start=677888, size=131072' 'start=808960, size=81920' | sfdisk -q "$top/mixed.raw"
dd if="$top/xfs.raw" of="$top/mixed.raw" bs=1M seek=1 conv=notrunc,sparse status=none
dd if="$top/ntfs.raw" of="$top/mixed.raw" bs=1M seek=331 conv=notrunc,sparse status=none
dd if="$top/fat.raw" of="$top/mixed.raw" bs=1M seek=395 conv=notrunc,sparse status=none

start_daemon || exit 1
for i in dirty mixed fat; do ctl template import $i "$top/$i.raw" --format raw >/dev/null; done

said=$(ctlj template inspect dirty 2>/dev/null)
json_ok 'an unreplayed journal: by the appliance' "$said" '.n_done == 1 and .items[0].method == "appliance"'
seen=$(field '.versions[0].inspection' template show dirty)
json_ok 'the system' "$seen" '.type == "linux" and .distribution == "debian" and .hostname == "golden" and .package_format == "deb" and (.users | map(.name)) == ["root", "alice"] and .agents == ["spice-vdagent"]'
is "$(field '.applications | map(.name + "=" + .version) | join(" ")' template apps dirty)" 'base=2.0 late=1 spice-vdagent=0.22' 'what stands in the journal counts'
json_ok 'its file system' "$seen" '.file_systems[0] | .type == "ext4" and .mount == "/" and .used > 0'

json_ok 'file systems that are not ext' "$(ctlj template inspect mixed 2>/dev/null)" '.items[0].method == "appliance"'
json_ok '... are told' "$(ctlj template show mixed)" '.versions[0].inspection | .type == "unknown" and .partition_table == "gpt" and (.file_systems | map(.type)) == ["xfs", "ntfs", "vfat"] and .file_systems[2].label == "STICK" and .n_applications == 0'
ctl desktop create d --template mixed >/dev/null
json_ok '... an untouched desktop needs no appliance' "$(ctlj desktop inspect d)" '.items[0].method == "template"'
json_ok 'FAT alone is described without the appliance' "$(ctlj template inspect fat)" '.items[0].method == "fast"'
is "$(ctl desktop files get d /sub/file)" 'kept in xfs' 'a file out of xfs'
json_ok 'a list out of FAT' "$(ctlj desktop files ls fat:1 /)" 'map(.name) == ["HELLO.TXT"] and .[0].size == 12'
ok 'the store is whole' check_is_clean
done_testing
