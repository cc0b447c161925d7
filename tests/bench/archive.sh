# archive.sh: lines of the benchmark about archives; read by run.sh.
#
# shellcheck disable=SC2154

# The first archive of a desktop and its template against qemu-img convert -c; then a second one
# with 1 % changed, and one with nothing changed: the fixed overhead.
bench_archive()
{
    local mib=$archive_mib i path top_file changed
    local first=() plain=() best=() second=() nothing=()
    fresh archive
    mkdir "$dir/target"
    start_daemon "$dir"
    # Half of it compresses.
    truncate -s $((mib * 2))M "$dir/golden.raw"
    random_bytes $((mib / 2)) | dd of="$dir/golden.raw" bs=1M conv=notrunc status=none
    yes 'half of what a disk holds compresses' | head -c $((mib / 2))M |
        dd of="$dir/golden.raw" bs=1M seek=$((mib / 2)) conv=notrunc status=none
    ctl template import golden "$dir/golden.raw" --format raw >"$top/said" || fail "cannot import"
    create_desktops desk 1
    for ((i = 0; i < rounds; i++)); do
        mkdir "$dir/target/$i"
        ctl archive target add "t$i" "$dir/target/$i" >"$top/said" || fail "cannot add a target"
        flush
        first+=("$(timed ctl archive create desk-001 --to "t$i")")
        top_file=$(ctl -o json archive list --target "t$i" | jq -r '.[0].id')
        top_file=$(ctl -o json archive show "$top_file" | jq -r .file)
        flush
        plain+=("$(timed sh -c "qemu-img convert -c -O qcow2 '$dir/golden.raw' '$dir/plain.$i' &&
            sync '$dir/plain.$i'")")
        flush
        best+=("$(timed sh -c "qemu-img convert -c -W -m 16 -O qcow2 -o compression_type=zstd \
            '$dir/golden.raw' '$dir/best.$i' && sync '$dir/best.$i'")")
    done
    check_images "$top_file"
    changed=$((mib / 100))
    random_bytes "$changed" >"$dir/changed"
    for ((i = 0; i < rounds; i++)); do
        path=$(ctl desktop path desk-001)
        qemu-io -f qcow2 -c "write -q -s $dir/changed $((i * changed))M ${changed}M" "$path" ||
            fail "qemu-io cannot write"
        flush
        second+=("$(timed ctl archive create desk-001 --to t0)")
        nothing+=("$(timed ctl archive create desk-001 --to t0)")
    done
    stop_daemon
    row ms "first archive, $mib MiB" "$(median "${first[@]}")" "$(median "${plain[@]}")" - \
        'peer>=5' "peer: qemu-img convert -c (zlib), and sync"
    row ms "the same against its best flags" "$(median "${first[@]}")" "$(median "${best[@]}")" - \
        'peer>=1' "peer: qemu-img convert -c -W -m 16 -o compression_type=zstd, and sync"
    row ms "second archive, 1 % changed" "$(median "${second[@]}")" "$(median "${first[@]}")" - - \
        "peer: the first archive; $changed MiB were written"
    row ms "archive, nothing changed" "$(median "${nothing[@]}")" - - 'ours<=500' \
        "the fixed overhead: imagectl, job, freeze, manifest, index"
}
