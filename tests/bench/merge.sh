# merge.sh: one layer out of several, by copying: two adjacent ones (a snapshot is deleted), and a whole
# chain (flatten).  Read by run.sh, which sets what is not set here.
#
# shellcheck disable=SC2154

readonly merged_options=extended_l2=on,cluster_size=128k

# random_pieces N SIZE_KIB SEED: qemu-io commands, N writes of random bytes in a disk of 8 GiB.
random_pieces()
{
    awk -v n="$1" -v size="$2" -v seed="$3" -v file="$dir/bytes" 'BEGIN {
        srand(seed)
        for (i = 0; i < n; i++)
            printf "write -q -s %s %dk %dk\n", file, size * int(rand() * 8388608 / size), size
    }'
}

# merged_layer NAME BACKING N SIZE_KIB SEED
merged_layer()
{
    qemu-img create -q -f qcow2 -o $merged_options ${2:+-b "$2" -F qcow2} "$dir/$1" 8G &&
        random_pieces "$3" "$4" "$5" | qemu-io -f qcow2 -t none "$dir/$1" >"$top/said" 2>&1 ||
        fail "cannot make a layer: $(tail -n 1 "$top/said")"
}

# cold COMMAND...: its milliseconds with nothing cached: QEMU reads layers past the cache too.
cold()
{
    rm -f "$dir/out"
    flush
    drop_caches || fail "only root can drop the caches"
    timed "$@"
}

convert_and_sync()
{
    qemu-img convert -W -m 16 -t none -T none -O qcow2 -o $merged_options "$1" "$dir/out" && sync "$dir/out"
}

# merge_lines WHAT: the medians of one kind of chain: base, low, top.
merge_lines()
{
    local ours=() limit=() flat=() flat_limit=() peer=() r note="cold; limit: copy_file_range of the layers"
    for ((r = 0; r < rounds; r++)); do
        ours+=("$(cold "$cowtool" merge "$dir/out" "$dir"/{base,low,top} --below 1 --backing base)")
        check_images "$dir/out"
        limit+=("$(cold "$bench/limit_merge" "$dir/out" "$dir"/{low,top})")
        flat+=("$(cold "$cowtool" merge "$dir/out" "$dir"/{base,low,top} --drop-zeros)")
        check_images "$dir/out"
        flat_limit+=("$(cold "$bench/limit_merge" "$dir/out" "$dir"/{base,low,top})")
        peer+=("$(cold convert_and_sync "$dir/top")")
    done
    rm -f "$dir/out"
    row ms "merge two layers, $1" "$(median "${ours[@]}")" - "$(median "${limit[@]}")" "limit<=1.3" \
        "$note' data"
    row ms "flatten three layers, $1" "$(median "${flat[@]}")" "$(median "${peer[@]}")" \
        "$(median "${flat_limit[@]}")" "peer>=1 limit<=1.2" "$note; peer: qemu-img convert -W -m 16"
}

bench_merge()
{
    say "merge of layers with $n_merged MiB each"
    fresh merge
    random_bytes 1 >"$dir/bytes"
    merged_layer base '' $((2 * n_merged)) 1024 1
    merged_layer low base "$n_merged" 1024 2
    merged_layer top low "$n_merged" 1024 3
    merge_lines "$n_merged pieces of 1 MiB each"
    merged_layer low base $((16 * n_merged)) 4 4
    merged_layer top low $((16 * n_merged)) 4 5
    merge_lines "$((16 * n_merged)) pieces of 4 KiB each"
}
