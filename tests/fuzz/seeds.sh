# seeds.sh: make the small images that the fuzzers start from.  Sourced; make_seeds FOLDER.

make_seeds() {
    local folder=$1 size=${2:-2M}
    local writes=(-c 'write -P 17 0 20k' -c 'write -P 34 300k 7k' -c 'write -P 51 900k 30k')
    (
        set -e
        cd "$folder"
        { yes imaged | head -c 70000; head -c 3000 /dev/urandom; } > raw
        truncate -s 256K raw
        new() { # NAME OPTIONS
            qemu-img create -q -f qcow2 -o "$2" "$1.qcow2" "$size"
            qemu-io -f qcow2 "${writes[@]}" "$1.qcow2" > log
        }
        new c512 cluster_size=512
        new c4k cluster_size=4k
        new c64k cluster_size=64k
        new v2 compat=0.10,cluster_size=1k
        new r1 refcount_bits=1,cluster_size=1k
        new r8 refcount_bits=8,cluster_size=512
        new r64 refcount_bits=64,cluster_size=512
        new ext extended_l2=on,cluster_size=16k
        new lazy lazy_refcounts=on,cluster_size=4k
        new zero cluster_size=1k
        qemu-io -f qcow2 -c 'write -z 0 5k' -c 'write -z 500k 10k' zero.qcow2 > log
        new snap cluster_size=1k
        qemu-img snapshot -c one snap.qcow2
        qemu-io -f qcow2 -c 'write -P 99 4k 3k' snap.qcow2 > log
        qemu-img snapshot -c two snap.qcow2
        new bitmap cluster_size=1k
        qemu-img bitmap --add bitmap.qcow2 one
        qemu-io -f qcow2 -c 'write -P 99 4k 3k' bitmap.qcow2 > log
        qemu-img bitmap --add -g 512 bitmap.qcow2 two
        qemu-img convert -O qcow2 -c -o cluster_size=4k raw zlib.qcow2
        qemu-img convert -O qcow2 -c -o cluster_size=512,compression_type=zstd raw zstd512.qcow2
        qemu-img convert -O qcow2 -c -o compression_type=zstd raw zstd.qcow2
        qemu-img convert -O qcow2 -c -o extended_l2=on,cluster_size=16k raw extzlib.qcow2
        qemu-img snapshot -c one zlib.qcow2
        rm -f raw log
    )
}
