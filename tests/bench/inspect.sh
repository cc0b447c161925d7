# inspect.sh: looking into disks, against guestfish.  Read by run.sh, which sets what is not set here.
#
# shellcheck disable=SC2154

# A Debian-like ext4 with a package database of n packages on GPT.
make_guest()
{
    local n=$1 image=$2 tree=$dir/tree
    mkdir -p "$tree"/{etc,bin,sbin,usr/bin,home/alice,var/lib/dpkg,var/log,boot,root}
    printf 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_ID="12"\n' >"$tree/etc/os-release"
    echo 12.5 >"$tree/etc/debian_version"
    printf 'root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\n' >"$tree/etc/passwd"
    : >"$tree/bin/sh"
    echo '/dev/sda1 / ext4 defaults 0 1' >"$tree/etc/fstab"
    echo golden >"$tree/etc/hostname"
    seq "$n" | awk '{ printf "Package: package-%05d\nStatus: install ok installed\nPriority: optional\nSection: misc\nMaintainer: Somebody <somebody@example.org>\nArchitecture: amd64\nVersion: 1.%d-1\nDepends: libc6 (>= 2.36), package-%05d\nDescription: the %dth package of them all\n What it does takes some more lines\n to be said, as it does with others.\n\n", $1, $1, $1 / 2, $1 }' >"$tree/var/lib/dpkg/status"
    truncate -s 2G "$dir/ext.raw"
    mke2fs -q -F -t ext4 -d "$tree" "$dir/ext.raw" || fail "mke2fs"
    truncate -s 2100M "$image"
    printf '%s\n' 'label: gpt' 'start=2048, size=4194304' | sfdisk -q "$image" || fail "sfdisk"
    dd if="$dir/ext.raw" of="$image" bs=1M seek=1 conv=notrunc,sparse status=none
}

# The same by libguestfs with its own appliance, as one would do without imaged.
guestfish_inspects()
{
    LIBGUESTFS_BACKEND=direct LIBGUESTFS_BACKEND_SETTINGS=force_tcg \
        guestfish --ro --format=qcow2 -a "$1" -i inspect-list-applications2 /dev/sda1
}

bench_inspect()
{
    local i n=500 quick=() unchanged=() read_ms=() names
    say "looking into disks"
    fresh inspect
    start_daemon "$dir"
    make_guest 2000 "$dir/golden.raw"
    ctl template import golden "$dir/golden.raw" --format raw >"$top/said" || fail "cannot import"
    ctl template inspect golden >"$top/said" || fail "cannot inspect: $(cat "$top/said")"
    create_desktops desk $n
    # All have been at work, none changed what tells: 16 MiB at the disk's end.
    layer_paths | while read -r image; do
        qemu-io -f qcow2 -c 'write -q -P 7 1900M 1M' "$image" || fail "qemu-io"
    done
    flush
    for ((i = 0; i < rounds; i++)); do
        quick+=("$(timed ctl template inspect golden)")
        unchanged+=("$(timed ctl desktop inspect --all)")
        grep -q "inspected $n desktops" "$top/said" || fail "not all: $(cat "$top/said")"
    done
    [ "$(ctl -o json desktop inspect --all | jq '[.items[] | select(.method == "template")] | length')" = $n ] ||
        fail "some were read"
    # The same desktops with a hostname of their own: each has to be read.
    names=$(names_of desk | head -n 20)
    for i in $names; do
        # shellcheck disable=SC2046 # one word
        qemu-io -f qcow2 -c "write -q -P 65 $(offset_of_hostname) 4" "$(ctl desktop path "$i")" || fail "qemu-io"
    done
    # shellcheck disable=SC2086 # words
    for ((i = 0; i < rounds; i++)); do
        read_ms+=("$(calc "$(timed ctl desktop inspect $names) / 20")")
    done
    local image peer
    image=$(layer_paths | head -n 1)
    timed guestfish_inspects "$image" >"$top/peer" # makes its appliance, the first time
    peer=$(timed guestfish_inspects "$image")
    stop_daemon
    row ms "inspect one disk (ext4, 2,000 packages)" "$(median "${quick[@]}")" "$peer" - 'ours<=150 peer>=50' \
        "peer: guestfish -i inspect-list-applications2 under TCG; ours with imagectl's start, job, helper, server"
    row ms "... of 20 changed desktops, each" "$(median "${read_ms[@]}")" "$peer" - 'ours<=150 peer>=50' \
        "likewise"
    row ms "inspect $n desktops that changed nothing that tells" "$(median "${unchanged[@]}")" "$(calc "$peer * $n")" - \
        'ours<=1500 peer>=1000' "peer: $n times that; each diff holds data elsewhere"
}

# Where the bytes of /etc/hostname lie on the disk.
offset_of_hostname()
{
    echo $((1048576 + 4096 * $(debugfs -R 'blocks /etc/hostname' "$dir/ext.raw" 2>/dev/null)))
}
