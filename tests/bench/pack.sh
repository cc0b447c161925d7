# pack.sh: the first archive of an image: time and size.  Read by run.sh, which sets what is not set
# here.
#
# shellcheck disable=SC2154

# guest_like MIB FILE: what a guest's disk is like: mostly programs and libraries, some bytes that
# do not compress, some zeros.
guest_like()
{
    {
        tar cf - /usr/lib /usr/share /usr/bin 2>/dev/null | head -c $(($1 * 80 / 100 * 1048576))
        random_bytes $(($1 * 8 / 100))
    } >"$2"
    truncate -s "$1M" "$2"
}

pack_ours()
{
    "$cowtool" pack --threads "$n_threads" --out "$dir/ours.$1" "$dir/src.qcow2"
}

pack_zlib()
{
    qemu-img convert -c -O qcow2 "$dir/src.qcow2" "$dir/zlib.$1"
}

pack_zstd()
{
    qemu-img convert -c -W -m 16 -O qcow2 -o compression_type=zstd "$dir/src.qcow2" "$dir/zstd.$1"
}

bench_pack()
{
    local ours=() zlib=() zstd=() r
    say "archiving $pack_mib MiB"
    fresh pack
    guest_like "$pack_mib" "$dir/raw"
    qemu-img convert -f raw -O qcow2 -o extended_l2=on,cluster_size=128k "$dir/raw" "$dir/src.qcow2"
    rm "$dir/raw"
    cat "$dir/src.qcow2" >"$top/said" # into the page cache
    for ((r = 0; r < rounds; r++)); do
        flush
        ours+=("$(timed pack_ours "$r")")
        flush
        zstd+=("$(timed pack_zstd "$r")")
        flush
        zlib+=("$(timed pack_zlib "$r")")
        [ "$r" -eq 0 ] || rm "$dir/ours.$r" "$dir/zlib.$r" "$dir/zstd.$r"
    done
    check_images "$dir/ours.0"
    qemu-img compare -q "$dir/ours.0" "$dir/src.qcow2" || fail "the packed file reads otherwise"
    row ms "archive $pack_mib MiB, against convert -c" "$(median "${ours[@]}")" \
        "$(median "${zlib[@]}")" - "peer>=5" "ours ends flushed and hashed, the peer's does not"
    row ms "archive $pack_mib MiB, against convert -c -W -m 16, zstd" "$(median "${ours[@]}")" \
        "$(median "${zstd[@]}")" - "peer>=1" "likewise"
    row MiB "size of that archive, against zstd" "$(calc "$(stat -c %s "$dir/ours.0") / 1048576")" \
        "$(calc "$(stat -c %s "$dir/zstd.0") / 1048576")" - "peer>=0.9" ""
}
