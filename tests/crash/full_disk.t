#!/bin/bash
# A file system without room, in bytes and in inodes: what needs space fails with a clear word and
# gives back what it took; what gives space back works.  On small loop-mounted file systems.
set -u
cd "$(dirname "$0")" || exit 1
. ./lib.sh

mounted=
unmount() {
    kill_daemon
    [ -z "$mounted" ] || umount "$state"
    mounted=
}

# mount_new SIZE MKFS-OPTIONS...: an empty file system as the state folder.
mount_new() {
    unmount
    rm -f "$work/fs.img"
    mkdir -p "$state"
    truncate -s "$1" "$work/fs.img"
    mkfs.ext4 -q -F -m 0 "${@:2}" "$work/fs.img" 2>"$work/mkfs.err" &&
        mount -o loop "$work/fs.img" "$state" 2>>"$work/mkfs.err" || {
        not_ok "a small file system is mounted: $(cat "$work/mkfs.err")"
        finish
    }
    mounted=1
}

free_bytes() {
    sync -f "$state"
    df -B1 --output=avail "$state" | tail -1
}

free_inodes() {
    df --output=iavail "$state" | tail -1
}

fill_bytes() {
    dd if=/dev/zero of="$state/ballast" bs=1M oflag=append conv=notrunc 2>/dev/null
    dd if=/dev/zero of="$state/ballast" bs=4k oflag=append conv=notrunc 2>/dev/null
    # an empty overlay takes three blocks of 1 KiB
    dd if=/dev/zero of="$state/ballast" bs=1k oflag=append conv=notrunc 2>/dev/null
    sync -f "$state"
    free=$(free_bytes)
    [ "$free" -lt 1024 ] || diag "$free bytes are free still"
}

# no_space WHAT COMMAND...: it fails and says that it is for space; nothing stays of it.
no_space() {
    local what=$1 before after code left
    shift
    before=$(signature)
    left=$(free_bytes)
    ctl "$@" >"$work/out" 2>"$work/err"
    code=$?
    wait_idle
    after=$(signature)
    if [ $code != 1 ] || ! grep -qiE 'space|inodes' "$work/err"; then
        not_ok "$what: exit $code, $(cat "$work/err" "$work/out")"
        return
    fi
    ok "$what fails and says why"
    if [ "$before" = "$after" ]; then ok "$what changes nothing"; else
        not_ok "$what changes something"
        diag "$(diff <(echo "$before") <(echo "$after"))"
    fi
    after=$(free_bytes)
    # what the catalog notes of the failed job is all that may be gone
    if [ $((left - after)) -lt 500000 ]; then ok "$what gives all space back"; else
        not_ok "$what keeps $((left - after)) bytes"
    fi
    check "$what leaves nothing behind" store_is_clean
}

configure() {
    printf '[imaged]\ninspect_imports = no\n%s\n' "$1" >"$work/imaged.conf"
    daemon_options=(--config "$work/imaged.conf")
}

restart() {
    kill_daemon
    start_daemon || {
        diag "$(tail -3 "$work/log")"
        return 1
    }
    wait_idle
}

# ---- bytes, without a watermark: the kernel says no ----

configure $'low_space_bytes=0\nlow_space_percent=0'
mount_new 96M
make_situation
ctl desktop create --prefix many --count 20 --template win >/dev/null || bail "create"
wait_idle

# 90 MiB of data that do not compress to zeros, in front of a hole
truncate -s 300M "$work/big.raw"
head -c 94371840 /dev/urandom | dd of="$work/big.raw" conv=notrunc bs=1M 2>/dev/null
no_space "an import that does not fit" template import big "$work/big.raw" --format raw
rm "$work/big.raw"

# a desktop's own disk, so that there is something to win
write_disk many-001 0x01 0 2M
write_disk many-002 0x02 0 2M
fill_bytes
no_space "a create on a full disk" desktop create one --template win
no_space "a batch on a full disk" desktop create --prefix more --count 50 --template win
no_space "an import on a full disk" template import small "$work/golden4.raw" --format raw
no_space "a reset on a full disk" desktop reset many-001 --yes
check "a delete on a full disk works" quiet ctl desktop delete many-001 many-002 --yes
check "the store is clean after it" store_is_clean
check "a start on a full disk, after a kill" restart
check "the desktops are as they were" [ "$(ctl desktop list --prefix many -o json | jq length)" = 18 ]
check "a deleted desktop comes back on a full disk" quiet ctl trash restore "$(trash_id many-002 desktop)"
fill_bytes
check "the trash is emptied on a full disk" quiet ctl trash empty --yes
wait_idle
check "there is space again ($(free_bytes) bytes)" [ "$(free_bytes)" -gt 1500000 ]
check "the store is clean" store_is_clean
check "deleting all the rest works" quiet ctl desktop delete --template win --yes
fill_bytes
check "and emptying the trash, full again" quiet ctl trash empty --yes
wait_idle
check "the store is clean then too" store_is_clean
rm -f "$state/ballast"
check "with room again, all works: create" quiet ctl desktop create last --template win
check "reset" quiet ctl desktop reset last --yes
check "a start" restart
check "the store is clean at last" store_is_clean
stop_daemon || not_ok "it stops"
check "the catalog is sound" catalog_is_sound

# ---- the watermark: no new work long before ----

configure $'low_space_bytes=1G\nlow_space_percent=50'
mount_new 128M
make_situation
wait_idle
fallocate -l $(($(free_bytes) - 40000000)) "$state/ballast"
no_space "a create below the watermark" desktop create one --template win
no_space "an import below the watermark" template import small "$work/golden4.raw" --format raw
check "the store says that it is short" [ "$(ctl store show -o json | jq .low_space)" = true ]
check "a delete below the watermark works" quiet ctl desktop delete a --yes
check "the trash is emptied below the watermark" quiet ctl trash empty --yes
rm "$state/ballast"
check "a create above it works again" quiet ctl desktop create one --template win
check "the store is clean" store_is_clean

# ---- inodes ----

configure $'low_space_bytes=0\nlow_space_percent=0'
mount_new 96M -N 1200
make_situation
ctl desktop create --prefix many --count 20 --template win >/dev/null || bail "create"
mkdir "$state/files"
(cd "$state/files" && seq 300 | xargs touch)
no_space "a create with few inodes left" desktop create one --template win
(cd "$state/files" && seq 301 2000 | xargs touch 2>/dev/null)
check "no inode is left" [ "$(free_inodes)" -eq 0 ]
no_space "a create with no inode left" desktop create one --template win
no_space "a reset with no inode left" desktop reset a --yes
check "a delete with no inode left works" quiet ctl desktop delete many-001 --yes
(cd "$state/files" && seq 3001 4000 | xargs touch 2>/dev/null)
check "a start with no inode left, after a kill" restart
check "the trash is emptied with no inode left" quiet ctl trash empty --yes
wait_idle
check "the store is clean" store_is_clean
rm -rf "$state/files"
check "with inodes again, a reset works" quiet ctl desktop reset a --yes
stop_daemon || not_ok "it stops"
check "the catalog is sound" catalog_is_sound
finish
