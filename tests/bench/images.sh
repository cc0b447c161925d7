# images.sh: single images: the check of a large one, growth, long chains.  Read by run.sh, which
# sets what is not set here.
#
# shellcheck disable=SC2154

# ---- check ----

# Forget cached pages; fails if this is not allowed.
drop_caches()
{
    sync
    { echo 3 >/proc/sys/vm/drop_caches; } 2>/dev/null
}

limit_read()
{
    "$bench/limit_read_meta" "$dir/big.qcow2" | cut -d ' ' -f 1
}

bench_check()
{
    local ours=() peer=() limit=() cold=() cold_limit=() r
    say "check of a $big_image image"
    fresh check
    "$mkmeta" --size "$big_image" "$dir/big.qcow2" || fail "mkmeta"
    flush
    limit_read >"$top/said"
    for ((r = 0; r < rounds; r++)); do
        ours+=("$(timed "$cowtool" check "$dir/big.qcow2")")
        grep -q '^errors=0 leaks=0 ' "$top/said" || fail "cowtool: $(head -n 2 "$top/said")"
        peer+=("$(timed qemu-img check "$dir/big.qcow2")")
        limit+=("$(limit_read)")
    done
    row ms "check, $big_image mapped, warm" "$(median "${ours[@]}")" "$(median "${peer[@]}")" \
        "$(median "${limit[@]}")" "peer>=12" ""
    for ((r = 0; r < rounds; r++)); do
        drop_caches || break
        cold+=("$(timed "$cowtool" check "$dir/big.qcow2")")
        drop_caches
        cold_limit+=("$(limit_read)")
    done
    row ms "check, $big_image mapped, cold" "$(median "${cold[@]:--}")" - \
        "$(median "${cold_limit[@]:--}")" "limit<=1.5" "needs root, to drop the caches"
}

# ---- growth ----

blocks_of()
{
    stat -c '%b * %B' "$1"
}

# random_commands COMMAND SIZE N: for qemu-io, N times COMMAND at random multiples of 4 KiB.
random_commands()
{
    awk -v command="$1" -v blocks=$(($2 / 4096)) -v n="$3" 'BEGIN {
        srand(42)
        for (i = 0; i < n; i++) printf "%s %dk 4k\n", command, 4 * int(rand() * blocks)
    }'
}

# grow FILE: the same writes into it; prints the bytes of blocks and of length by which it grew.
grow()
{
    local blocks length
    blocks=$(blocks_of "$1") length=$(stat -c %s "$1")
    qemu-io -f qcow2 "$1" <"$dir/writes" >"$top/said" 2>&1 || fail "qemu-io: $(tail -n 1 "$top/said")"
    flush
    check_images "$1"
    echo "$(($(blocks_of "$1") - blocks)) $(($(stat -c %s "$1") - length))"
}

bench_growth()
{
    local path ours peer distinct
    say "growth: $n_writes random writes of 4 KiB"
    fresh growth
    random_commands "write -q -P 85" $((10 << 30)) "$n_writes" >"$dir/writes"
    distinct=$(cut -d ' ' -f 5 "$dir/writes" | sort -u | wc -l)
    start_daemon "$dir"
    import_golden 10G 16
    create_desktops g 1
    path=$(ctl desktop path "$(names_of g)")
    qemu-img create -q -f qcow2 -F qcow2 -b "$(template_path)" "$dir/peer.qcow2" || fail "qemu-img"
    ours=$(grow "$path") peer=$(grow "$dir/peer.qcow2")
    stop_daemon
    row MiB "growth: $n_writes random writes, blocks" "$(calc "${ours% *} / 1048576")" \
        "$(calc "${peer% *} / 1048576")" "$(calc "$distinct * 4096 / 1048576")" "peer>=8" \
        "the limit is what the guest wrote"
    row MiB "growth: $n_writes random writes, length" "$(calc "${ours#* } / 1048576")" \
        "$(calc "${peer#* } / 1048576")" - - "sparse: no block behind most of ours"
}

# ---- chain ----

readonly chain_bytes=$((4 << 30))

# A chain whose layers hide parts of one another; a disk of as many extents in one layer; and one
# of a single extent.
make_chain()
{
    local i args=(--size "$chain_bytes" --cluster 131072 --extended)
    "$mkmeta" "${args[@]}" "$dir/0" || fail "mkmeta"
    chain=("$dir/0")
    for ((i = 1; i < n_layers; i++)); do
        "$mkmeta" "${args[@]}" --backing "$((i - 1))" --map-scattered $((chain_bytes / 131072 / 16)) \
            --seed $i "$dir/$i" || fail "mkmeta"
        chain+=("$dir/$i")
    done
    "$mkmeta" "${args[@]}" --map-scattered $((chain_bytes / 131072)) "$dir/one" || fail "mkmeta"
    "$mkmeta" "${args[@]}" "$dir/flat" || fail "mkmeta"
    flush
}

# our_read FILE...: microseconds of one random read.
our_read()
{
    "$bench/chain_pread" "$n_reads" "$@" || fail "chain_pread"
}

# The step has no factor with the disk's size but 4096, so the reads spread over all of it.
peer_read()
{
    qemu-img bench -f qcow2 -c $((n_reads / 4)) -d 1 -s 4096 -S $((4096 * 338699)) "$1" >"$top/said" ||
        fail "qemu-img bench"
    calc "1e6 * $(sed -n 's/^Run completed in \([0-9.]*\) seconds.*/\1/p' "$top/said") / ($n_reads / 4)"
}

bench_chain()
{
    local chain=() deep=() one=() flat=() peer=() peer_one=() limit=() r note
    say "chain of $n_layers layers: $n_reads random reads"
    fresh chain
    make_chain
    for ((r = 0; r <= 2 * rounds; r++)); do # the first round warms up
        deep[r]=$(our_read "${chain[@]}")
        one[r]=$(our_read "$dir/one")
        flat[r]=$(our_read "$dir/flat")
        peer[r]=$(peer_read "${chain[n_layers - 1]}")
        peer_one[r]=$(peer_read "$dir/one")
        limit[r]=$("$bench/limit_pread" "$dir/flat" $chain_bytes "$n_reads" 1)
    done
    unset 'deep[0]' 'one[0]' 'flat[0]' 'peer[0]' 'peer_one[0]' 'limit[0]'
    note="4 KiB, warm, one thread; peer: qemu-img bench; limit: pread of one file"
    row us "random read, 1 layer" "$(median "${one[@]}")" "$(median "${peer_one[@]}")" \
        "$(median "${limit[@]}")" - "$note"
    row us "random read, $n_layers layers" "$(median "${deep[@]}")" "$(median "${peer[@]}")" \
        "$(median "${limit[@]}")" "peer>=1" "$note"
    row us "random read, $n_layers layers against 1" "$(median "${deep[@]}")" - \
        "$(median "${one[@]}")" "limit<=1.15" \
        "the limit is our own reader on one layer of as many extents; on one layer of a single extent \
it takes $(median "${flat[@]}") us"
}
