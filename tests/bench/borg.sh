# borg.sh: what kind borg needs for desktops that took the same update.  Read by run.sh, which sets
# what is not set here.  BENCH_BORG_DESKTOPS=50 for the full size (default 6).  Needs root (mounts).
#
# Each desktop is an overlay that QEMU writes: a file system in it gets 5 MB of its own in an order of
# its own, then the same 200 MiB of files.
#
# shellcheck disable=SC2154

# make_files DIR BYTES SEED: files of many sizes that do not compress, in an order by the seed.
make_files()
{
    python3 - "$@" <<'END'
import math, os, random, sys
root, left, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
r, n = random.Random(seed), 0
while left > 0:
    size = min(int(r.lognormvariate(math.log(9000), 1.9)) + 1, 8 << 20, left)
    folder = f"{root}/d{r.randrange(90)}"
    os.makedirs(folder, exist_ok=True)
    with open(f"{folder}/f{seed}-{n}", "wb") as f:
        f.write(r.randbytes(size))
    left, n = left - size, n + 1
END
}

# borg_desktop I: $dir/desk.qcow2.
borg_desktop()
{
    local server
    rm -f "$dir/desk.qcow2"
    qemu-img create -q -f qcow2 -o cluster_size=128k,extended_l2=on -b "$dir/base.qcow2" -F qcow2 \
        "$dir/desk.qcow2" || fail "qemu-img create"
    qemu-storage-daemon --blockdev "driver=file,node-name=f,filename=$dir/desk.qcow2" \
        --blockdev driver=qcow2,node-name=q,file=f \
        --export "type=fuse,id=e,node-name=q,mountpoint=$dir/disk,writable=on" &
    server=$!
    until [ -s "$dir/disk" ]; do
        kill -0 "$server" || fail "qemu-storage-daemon ended"
        sleep 0.02
    done
    mount -o loop,noatime "$dir/disk" "$dir/m" || fail "cannot mount"
    make_files "$dir/m" 5000000 $((1000 + $1))
    umount "$dir/m" && mount -o loop,noatime "$dir/disk" "$dir/m" || fail "cannot mount"
    cp -a "$dir/update" "$dir/m/" && umount "$dir/m" || fail "cannot write the update"
    kill "$server"
    wait "$server"
    umount "$dir/disk" 2>/dev/null # QEMU leaves the mount when a signal ends it
}

# put REPOSITORY ID FILE [BELOW]: bytes stored for it.
borg_put()
{
    local repository=$1
    shift
    "$build/tests/archtool" --create --state-dir "$dir/state" borg "$repository" put "$@" \
        2>"$top/said" | cut -d ' ' -f 2
}

bench_borg()
{
    local n=${BENCH_BORG_DESKTOPS:-6} i id base=00000000000000000000000000000001 together=0 alone=0
    say "borg: $n desktops with the same update"
    fresh borg
    mkdir "$dir/m" "$dir/state" "$dir/update"
    : >"$dir/disk"
    make_files "$dir/update" 209715200 2
    truncate -s 3G "$dir/base.raw"
    mkfs.ext4 -q -F "$dir/base.raw" && mount -o loop "$dir/base.raw" "$dir/m" || fail "cannot mount"
    make_files "$dir/m" 314572800 1
    umount "$dir/m"
    qemu-img convert -O qcow2 "$dir/base.raw" "$dir/base.qcow2"
    borg_put "$dir/repo" $base "$dir/base.qcow2" >/dev/null
    for ((i = 0; i < n; i++)); do
        borg_desktop "$i"
        id=$(printf '%032x' $((i + 16)))
        together=$((together + $(borg_put "$dir/repo" "$id" "$dir/desk.qcow2" \
            "$base=$dir/base.qcow2")))
        # By itself: in a repository of its own.
        borg_put "$dir/own" "$base" "$dir/desk.qcow2" "$base=$dir/base.qcow2" >"$top/said"
        alone=$((alone + $(cat "$top/said")))
        rm -rf "$dir/own"
    done
    row MiB "borg, $n desktops, one update" "$(calc "$together / 1048576")" \
        "$(calc "$alone / 1048576")" - "$([ "$n" -ge 50 ] && echo 'peer>=4' || echo -)" \
        "peer: each archived by itself; factor $(calc "$alone / $together"); goal set for 50"
}
