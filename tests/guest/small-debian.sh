#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# small-debian.sh DIR: a Debian that boots under libvirt until its guest agent answers, with the
# guest's half of the identity in it: DIR/disk.qcow2 (one ext4 without partitions), DIR/vmlinuz and
# DIR/initrd.img, for a direct kernel boot.
#
# For tests of what a guest does.  It is made once for a folder (others wait on its lock), in about a
# minute, from the machine's own package sources.  Needs root: mmdebstrap's fastest way.
set -euo pipefail
export LC_ALL=C
PATH=$PATH:/usr/sbin:/sbin
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
dir=${1:?usage: small-debian.sh DIR}
readonly PACKAGES=systemd-sysv,udev,dbus,openssh-server,qemu-guest-agent,linux-image-cloud-amd64
readonly MORE=initramfs-tools,iproute2,e2fsprogs,adcli,kmod

mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
exec 9>"$dir/lock"
flock 9
[ ! -e "$dir/disk.qcow2" ] || exit 0
scratch=$(mktemp -d "$dir/.make.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
tree=$scratch/tree

# What the guest needs is known, so the initramfs holds no more than that.
mmdebstrap --quiet --mode=root --variant=minbase --include="$PACKAGES,$MORE" \
    --aptopt='APT::Install-Recommends "false"' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --essential-hook='mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/etc/initramfs-tools"' \
    --essential-hook='printf "MODULES=list\nCOMPRESS=zstd\n" >"$1/etc/initramfs-tools/conf.d/small"' \
    --essential-hook='printf "virtio_pci\nvirtio_blk\n" >"$1/etc/initramfs-tools/modules"' \
    bookworm "$tree" >&2
echo template >"$tree/etc/hostname"
echo '/dev/vda / ext4 errors=remount-ro 0 1' >"$tree/etc/fstab"
# Under TCG each unit costs a second.
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
    e2scrub_reap.service fstrim.timer getty-static.service sys-kernel-debug.mount \
    sys-kernel-tracing.mount dev-hugepages.mount dev-mqueue.mount; do
    ln -sf /dev/null "$tree/etc/systemd/system/$unit"
done
# What was not sealed is the harder case: all clones begin with the same keys and the same id.
echo 0123456789abcdef0123456789abcdef >"$tree/etc/machine-id"
bash "$here/../../templates/guest/install-firstboot.sh" "$tree"
guest=$here/../../templates/guest
install -m 755 "$guest/imaged-data-disk" "$tree/usr/lib/imaged/"
install -m 644 "$guest/imaged-data-disk.service" "$tree/usr/lib/systemd/system/"
sed -n 's/^WantedBy=\(.*\)/\1.wants/p; s/^RequiredBy=\(.*\)/\1.requires/p' \
    "$guest/imaged-data-disk.service" | while read -r folder; do
    mkdir -p "$tree/etc/systemd/system/$folder"
    ln -s /usr/lib/systemd/system/imaged-data-disk.service "$tree/etc/systemd/system/$folder/"
done
cp "$tree"/boot/vmlinuz-* "$scratch/vmlinuz"
cp "$tree"/boot/initrd.img-* "$scratch/initrd.img"
rm -rf "$tree"/var/cache/apt/archives "$tree"/var/lib/apt/lists

truncate -s 2G "$scratch/disk.raw"
mke2fs -q -F -t ext4 -d "$tree" "$scratch/disk.raw"
qemu-img convert -f raw -O qcow2 "$scratch/disk.raw" "$scratch/disk.qcow2"
mv "$scratch/vmlinuz" "$scratch/initrd.img" "$dir/"
mv "$scratch/disk.qcow2" "$dir/disk.qcow2"
