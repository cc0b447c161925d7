#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# make-golden.sh [--agent] OUT.raw [CACHE_DIR]: build a small, real, bootable disk image.
#
# Tests and the demo need a guest that boots from its own disk, the way a desktop does: BIOS, boot
# loader, kernel, file system.  This builds one from Debian packages in a few seconds, without root
# and without mounting anything:
#
#   MBR           boot code of syslinux, two partitions
#   1  FAT16      syslinux, kernel of linux-image-cloud-amd64, initramfs (busybox + virtio modules)
#   2  ext4       the guest's data; holds the "marker" by which a test tells one disk from another
#
# The guest is driven over its first serial port, one line per command, one line per answer:
#
#   at boot       golden: up
#                 golden: marker TEXT        (NONE if nobody has written one)
#   mark TEXT     golden: marked TEXT        (on the disk, flushed, when the answer comes)
#   show          golden: marker TEXT
#   off           golden: off                (then it unmounts and powers off)
#
# With --agent QEMU's real guest agent (this machine's package qemu-guest-agent) runs in it, with what
# it needs to tell a guest's users something: what "wall" is given stands in /wall.  A user is logged
# in as long as /run/utmp says so, which a test writes through the agent.  It does nothing else.
#
# CACHE_DIR keeps the two downloaded packages (27 MB); with a warm one nothing is downloaded.
# OUT.raw appears by a rename: it is complete or it is not there.
set -euo pipefail
export LC_ALL=C

# mkfs and sfdisk live where an ordinary user's PATH does not look.
PATH=$PATH:/usr/sbin:/sbin

readonly SECTORS_PER_MIB=2048
readonly DISK_MIB=384
readonly BOOT_START_MIB=1
readonly BOOT_MIB=31
readonly DATA_START_MIB=$((BOOT_START_MIB + BOOT_MIB))
# The last MiB stays empty, so that tools which align partitions have room.
readonly DATA_MIB=$((DISK_MIB - DATA_START_MIB - 1))
readonly MBR_CODE=/usr/lib/SYSLINUX/mbr.bin

# What /init loads, besides what these stand on.  ext4 wants crc32c without naming it as a
# dependency. A kernel may have some of them built in.
readonly MODULES=(virtio_pci virtio_blk crc32c_generic ext4)

die() {
    printf 'make-golden: %s\n' "$*" >&2
    exit 1
}

need_tools() {
    local tool
    for tool in cpio dpkg-deb gzip mcopy mkfs.ext4 mkfs.vfat sfdisk syslinux; do
        command -v "$tool" >/dev/null || die "'$tool' is not installed"
    done
    [ -r "$MBR_CODE" ] || die "$MBR_CODE is missing: install the package syslinux"
}

# find_package GLOB: the newest cached package that matches, or nothing.
find_package() {
    find "$cache" -maxdepth 1 -name "$1" | sort -V | tail -n 1
}

# fetch_package NAME: download one package into the cache with the system's own apt.
fetch_package() {
    command -v apt-get >/dev/null || die "apt-get is needed to download $1"
    # Inside the cache, so that a package appears there by a rename: never half of one.
    partial=$(mktemp -d "$cache/.download.XXXXXX")
    # As root, apt wants to download as the user _apt, who cannot write into our folder.
    (cd "$partial" && apt-get -q -o APT::Sandbox::User=root download "$1") \
        >"$scratch/apt.log" 2>&1 ||
        die "cannot download $1 (has 'apt-get update' been run?): $(tail -n 1 "$scratch/apt.log")"
    mv "$partial"/*.deb "$cache/"
    rm -rf "$partial"
    partial=
}

# linux-image-cloud-amd64 is an empty package that depends on the kernel of the day.
kernel_package_name() {
    apt-cache depends linux-image-cloud-amd64 2>/dev/null |
        awk '$1 == "Depends:" && $2 ~ /^linux-image-.*-cloud-amd64$/ { print $2; exit }'
}

get_packages() {
    local name

    kernel_deb=$(find_package 'linux-image-*-cloud-amd64_*_amd64.deb')
    if [ -z "$kernel_deb" ]; then
        name=$(kernel_package_name)
        [ -n "$name" ] || die "apt does not know linux-image-cloud-amd64: run 'apt-get update'"
        fetch_package "$name"
        kernel_deb=$(find_package 'linux-image-*-cloud-amd64_*_amd64.deb')
    fi

    # Not the host's busybox: that may be the dynamically linked one, and the two packages conflict.
    busybox_deb=$(find_package 'busybox-static_*_amd64.deb')
    if [ -z "$busybox_deb" ]; then
        fetch_package busybox-static:amd64
        busybox_deb=$(find_package 'busybox-static_*_amd64.deb')
    fi
    if [ -z "$kernel_deb" ] || [ -z "$busybox_deb" ]; then
        die "the downloaded packages have names that this script does not expect"
    fi
}

# unpack_kernel DIR: only what is needed, the whole package is ten times its size.
unpack_kernel() {
    local wanted=('./boot/vmlinuz-*' './lib/modules/*/modules.builtin')
    local folder

    # Folders, not single modules: tar fails for a name it does not find, and a module may be
    # built in.
    for folder in drivers/virtio drivers/block drivers/char crypto lib fs; do
        wanted+=("./lib/modules/*/kernel/$folder/*")
    done
    mkdir "$1"
    dpkg-deb --fsys-tarfile "$kernel_deb" | tar -x -C "$1" --wildcards "${wanted[@]}"
}

# write_init FILE: the guest's only program.
write_init() {
    cat >"$1" <<'INIT'
#!/bin/busybox sh
# Runs as process 1 from the initramfs.
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
exec </dev/ttyS0 >/dev/ttyS0 2>&1

# No echo: what is typed must not come back between the answers.
stty -echo

say() { echo "golden: $*"; }

# An error is an answer too; then power off, so that nobody waits for a guest that cannot go on.
fail() { say "error: $*"; poweroff -f; }

show() {
    if [ -s /data/marker ]; then say "marker $(cat /data/marker)"; else say "marker NONE"; fi
}

# What udev would do: the port by its name.
start_agent() {
    local port
    for port in /sys/class/virtio-ports/*; do
        [ "$(cat "$port/name")" != org.qemu.guest_agent.0 ] || qemu-ga -d -m virtio-serial -p "/dev/${port##*/}"
    done
}

while read -r module; do
    insmod "/modules/$module.ko" || fail "cannot load $module"
done </modules/order

if [ -x /bin/qemu-ga ]; then
    start_agent
    say up
    exec sleep 1000000
fi
# Loading the driver and finding the disk are not one moment.
tries=0
until [ -b /dev/vda2 ]; do
    tries=$((tries + 1))
    [ $tries -le 300 ] || fail "no disk /dev/vda2"
    usleep 100000
done
mount -t ext4 /dev/vda2 /data || fail "cannot mount /dev/vda2"

say up
show
while read -r verb text; do
    case $verb in
    mark)
        if printf '%s\n' "$text" >/data/marker && sync; then say "marked $text"
        else say "error: cannot write the marker"; fi ;;
    show) show ;;
    off) break ;;
    *) say "error: unknown command $verb" ;;
    esac
done
sync
umount /data || say "error: cannot unmount /data"
say off
poweroff -f
INIT
    chmod 755 "$1"
}

# add_module TREE NAME ROOT: put a module into the initramfs, behind all that it stands on.
add_module() {
    local tree=$1 name=$2 root=$3 file needed

    [ ! -e "$root/modules/$name.ko" ] || return 0
    # A file may be called virtio-rng.ko where the module is virtio_rng.
    file=$(find "$tree" -name "${name//_/[-_]}.ko")
    if [ -z "$file" ]; then
        grep -q "/${name//_/[-_]}\.ko$" "$tree"/lib/modules/*/modules.builtin ||
            die "the kernel package has no module $name"
        return 0
    fi

    # The same line that modinfo prints; this saves depending on kmod.
    for needed in $(tr '\0' '\n' <"$file" | sed -n 's/^depends=//p' | tr ',' ' '); do
        add_module "$tree" "$needed" "$root"
    done
    cp "$file" "$root/modules/$name.ko"
    echo "$name" >>"$root/modules/order"
}

# add_agent ROOT
add_agent() {
    local root=$1 library

    library=$(ldd /usr/sbin/qemu-ga) || die "qemu-guest-agent is not installed"
    cp /usr/sbin/qemu-ga "$root/bin/"
    for library in $(grep -o '/[^ ]*' <<<"$library"); do
        mkdir -p "$root$(dirname "$library")"
        cp -L "$library" "$root$library"
    done
    mkdir -p "$root"/{sbin,etc,run,tmp}
    ln -s run "$root/var" # /var/run/utmp, /var/run/qemu-ga.pid
    ln -s . "$root/run/run"
    : >"$root/run/utmp"
    printf '#!/bin/busybox sh\ncat >>/wall\n' >"$root/bin/wall"
    printf '#!/bin/busybox sh\nsync\npoweroff -f\n' >"$root/sbin/shutdown"
    echo 'root:x:0:0::/:/bin/sh' >"$root/etc/passwd"
    chmod 755 "$root/bin/wall" "$root/sbin/shutdown"
}

# make_initramfs KERNEL_TREE OUT
make_initramfs() {
    local tree=$1 out=$2 root=$scratch/initramfs module

    mkdir -p "$root"/{bin,proc,sys,dev,data,modules}
    dpkg-deb --fsys-tarfile "$busybox_deb" | tar -x -O ./bin/busybox >"$root/bin/busybox"
    chmod 755 "$root/bin/busybox"

    : >"$root/modules/order"
    for module in "${MODULES[@]}" ${with_agent:+virtio_console}; do
        add_module "$tree" "$module" "$root"
    done
    write_init "$root/init"
    [ -z "$with_agent" ] || add_agent "$root"

    # The kernel makes /dev/console itself, so no device node, hence no root, is needed here.
    (cd "$root" && find . | sort | cpio -o --quiet -H newc -R 0:0) | gzip -n >"$out"
}

# make_data_tree DIR: what the ext4 partition holds before anybody has used the desktop.
make_data_tree() {
    mkdir -p "$1"
    echo "A golden image of imaged's tests. The file 'marker' appears when a guest writes it." \
        >"$1/README"
}

# make_disk KERNEL INITRAMFS OUT
make_disk() {
    local kernel=$1 initramfs=$2 disk=$3
    local boot=$scratch/boot.fat

    truncate -s "${DISK_MIB}M" "$disk"
    sfdisk --quiet "$disk" <<PARTITIONS
label: dos
label-id: 0x494d4744
start=${BOOT_START_MIB}MiB, size=${BOOT_MIB}MiB, type=6, bootable
start=${DATA_START_MIB}MiB, size=${DATA_MIB}MiB, type=83
PARTITIONS
    # The first 440 bytes are the boot code's; the partition table follows them.
    dd if="$MBR_CODE" of="$disk" bs=440 count=1 conv=notrunc status=none

    # The FAT is made in a file of its own: mkfs.vfat takes the size of the whole file for the
    # partition's.  -h is the partition's place on the disk, which the boot sector needs to know.
    truncate -s "${BOOT_MIB}M" "$boot"
    mkfs.vfat -F 16 -n GOLDEN -h $((BOOT_START_MIB * SECTORS_PER_MIB)) "$boot" >"$scratch/mkfs.log"
    cat >"$scratch/syslinux.cfg" <<'CONFIG'
DEFAULT golden
PROMPT 0
LABEL golden
  LINUX /vmlinuz
  INITRD /initrd.gz
  APPEND console=ttyS0 quiet panic=-1 no_timer_check nokaslr mitigations=off random.trust_cpu=on
CONFIG
    mcopy -i "$boot" "$kernel" ::/vmlinuz
    mcopy -i "$boot" "$initramfs" ::/initrd.gz
    mcopy -i "$boot" "$scratch/syslinux.cfg" ::/syslinux.cfg
    syslinux --install "$boot"
    dd if="$boot" of="$disk" bs=1M seek=$BOOT_START_MIB conv=notrunc,sparse status=none

    make_data_tree "$scratch/data"
    mkfs.ext4 -q -F -L golden-data -d "$scratch/data" \
        -E "offset=$((DATA_START_MIB * 1024 * 1024)),root_owner=0:0" \
        "$disk" "${DATA_MIB}M" >>"$scratch/mkfs.log" 2>&1 ||
        die "mkfs.ext4: $(cat "$scratch/mkfs.log")"
}

main() {
    with_agent=
    if [ "${1:-}" = --agent ]; then
        with_agent=yes
        shift
    fi
    if [ $# -lt 1 ] || [ $# -gt 2 ]; then
        echo "usage: make-golden.sh [--agent] OUT.raw [CACHE_DIR]" >&2
        exit 2
    fi
    need_tools

    local out=$1
    # Beside the result: the rename at the end must stay within one file system.
    scratch=$(mktemp -d "$(dirname "$out")/.golden.XXXXXX")
    partial=
    trap 'rm -rf "$scratch" ${partial:+"$partial"}' EXIT
    trap 'exit 1' HUP INT TERM
    cache=${2:-$scratch/cache}
    mkdir -p "$cache"
    cache=$(cd "$cache" && pwd)
    scratch=$(cd "$scratch" && pwd)

    get_packages
    unpack_kernel "$scratch/kernel"
    make_initramfs "$scratch/kernel" "$scratch/initrd.gz"
    make_disk "$(echo "$scratch"/kernel/boot/vmlinuz-*)" "$scratch/initrd.gz" "$scratch/golden.raw"
    mv "$scratch/golden.raw" "$out"
}

main "$@"
