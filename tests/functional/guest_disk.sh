# guest_disk.sh: disks of guests for the tests: made by mke2fs and sfdisk, changed by debugfs, and read
# by them for a second opinion.  Read by bash, after lib.sh.

# make_root FOLDER HOSTNAME PACKAGE=VERSION...: a Debian-like tree.
make_root()
{
    local folder=$1 hostname=$2
    shift 2
    mkdir -p "$folder"/{etc,bin,home/alice,tmp,usr/lib,var/lib/dpkg}
    printf '%s\n' 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"' 'ID=debian' 'VERSION_ID="12"' >"$folder/usr/lib/os-release"
    ln -sfn ../usr/lib/os-release "$folder/etc/os-release"
    printf '%s\n' root:x:0:0:root:/root:/bin/bash daemon:x:1:1::/:/bin/false alice:x:1000:1000::/home/alice:/bin/bash nobody:x:65534:65534::/:/bin/false >"$folder/etc/passwd"
    printf '%s\n' root:x:0: alice:x:1000: >"$folder/etc/group"
    echo "$hostname" >"$folder/etc/hostname"
    dpkg_status "$@" >"$folder/var/lib/dpkg/status"
}

# dpkg_status PACKAGE=VERSION...
dpkg_status()
{
    local p
    for p in "$@"; do
        printf 'Package: %s\nStatus: install ok installed\nArchitecture: amd64\nDescription: of %s\n more\nVersion: %s\n\n' "${p%%=*}" "${p%%=*}" "${p#*=}"
    done
    printf 'Package: gone\nStatus: deinstall ok config-files\nArchitecture: all\nVersion: 1\n\n'
}

# make_ext IMAGE SIZE FOLDER [MKE2FS ARGS...]: a bare disk.
make_ext()
{
    local image=$1 size=$2 folder=$3
    shift 3
    truncate -s "$size" "$image"
    mke2fs -q -F -t ext4 -b 4096 -L root -E root_owner=0:0 "$@" -d "$folder" "$image"
}

# make_gpt IMAGE EXT: an ESP, a BIOS boot partition, and the file system as the third.
make_gpt()
{
    local image=$1 ext=$2 size
    size=$(stat -c %s "$ext")
    truncate -s $((size + 24 * 1048576)) "$image"
    printf '%s\n' 'label: gpt' 'start=2048, size=16384, type=uefi' 'start=18432, size=2048, type=21686148-6449-6E6F-744E-656564454649' "start=20480, size=$((size / 512)), type=linux" | sfdisk -q "$image"
    mkfs.vfat -F 12 -n EFI -S 512 --offset 2048 "$image" 8192 >/dev/null
    dd if="$ext" of="$image" bs=1M seek=10 conv=notrunc,sparse status=none
}

# change_disk DESKTOP COMMAND...: the command gets a raw copy of the disk as its last argument; what it
# changed there QEMU then writes into the desktop's disk.
change_disk()
{
    local path raw=$top/changed
    path=$(path_of "$1")
    shift
    qemu-img convert -f qcow2 -O raw "$path" "$raw.before"
    cp --sparse=always "$raw.before" "$raw"
    "$@" "$raw" || return
    # shellcheck disable=SC2046 # words are meant
    python3 - "$raw.before" "$raw" "$top/piece" >"$top/writes" <<'END'
import sys
block = 4096
with open(sys.argv[1], "rb") as a, open(sys.argv[2], "rb") as b:
    at = 0
    while True:
        x, y = a.read(block), b.read(block)
        if not y:
            break
        if x != y:
            with open(f"{sys.argv[3]}.{at}", "wb") as piece:
                piece.write(y)
            print(f"write -q -s {sys.argv[3]}.{at} {at} {len(y)}")
        at += block
END
    qemu-io -f qcow2 "$path" <"$top/writes" >/dev/null
    rm -f "$raw" "$raw.before" "$top"/piece.*
}

# debug_write OFFSET SCRIPT IMAGE: debugfs changes the file system that begins there.
debug_write()
{
    if [ "$1" = 0 ]; then
        debugfs -w -f "$2" "$3" >/dev/null 2>&1
        return
    fi
    dd if="$3" of="$3.part" bs=1M skip=$(($1 / 1048576)) status=none
    debugfs -w -f "$2" "$3.part" >/dev/null 2>&1
    dd if="$3.part" of="$3" bs=1M seek=$(($1 / 1048576)) conv=notrunc status=none
    rm -f "$3.part"
}
