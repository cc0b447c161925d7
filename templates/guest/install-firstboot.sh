#!/bin/sh
# install-firstboot.sh ROOT: put the guest's half of the identity into a root file system and enable
# it, by files and links alone: nothing of ROOT is executed.
set -eu
root=${1:?usage: install-firstboot.sh ROOT}
from=$(cd "$(dirname "$0")" && pwd)
units=$root/usr/lib/systemd/system

mkdir -p "$root/usr/lib/imaged" "$units" "$root/etc/udev/rules.d" "$root/etc/imaged" \
    "$root/etc/systemd/system/getty@tty1.service.d" \
    "$root/etc/systemd/system/sysinit.target.wants" \
    "$root/etc/systemd/system/multi-user.target.wants"
install -m 755 "$from/imaged-firstboot" "$root/usr/lib/imaged/imaged-firstboot"
install -m 644 "$from/70-imaged-config.rules" "$root/etc/udev/rules.d/"
install -m 644 "$from/getty-autologin.conf" \
    "$root/etc/systemd/system/getty@tty1.service.d/imaged.conf"
for unit in "$from"/imaged-firstboot-*.service; do
    name=$(basename "$unit")
    install -m 644 "$unit" "$units/$name"
    target=$(sed -n 's/^WantedBy=//p' "$unit")
    ln -sf "/usr/lib/systemd/system/$name" "$root/etc/systemd/system/$target.wants/$name"
done
