# advice.sh: digests of layers against a bare read of the same bytes, from the disk and from memory; the
# advisor's report, and again with one layer of many changed.  Read by run.sh, which sets what is not
# set here.
#
# shellcheck disable=SC2154

# digest_lines WHERE LAYER NOTE: medians of both, interleaved; cold if the disk is meant.
digest_lines()
{
    local ours=() limit=() r
    for ((r = 0; r < rounds; r++)); do
        if [ "$1" = disk ]; then drop_caches || fail "only root can drop the caches"; fi
        ours+=("$(timed "$cowtool" digest "$2" --out "$2.digest" --threads "$n_threads")")
        if [ "$1" = disk ]; then drop_caches; fi
        limit+=("$(timed "$bench/limit_read" "$2" "$n_threads")")
    done
    row ms "digest of a layer of $advice_mib MiB, from $1" "$(median "${ours[@]}")" - "$(median "${limit[@]}")" \
        "limit<=1.67" "$3"
}

# advice_layer FILE: with random bytes in it.
advice_layer()
{
    random_bytes "$advice_mib" >"$1.raw"
    qemu-img convert -f raw -O qcow2 -o extended_l2=on,cluster_size=128k "$1.raw" "$1" || fail "qemu-img convert"
    rm "$1.raw"
}

# advice_ms: milliseconds of one report, its job's end waited for; the answer stays in $top/answer.
advice_ms()
{
    local start end
    start=$(now_us)
    ctl report advice -o json >"$top/answer" || fail "report advice"
    end=$(now_us)
    calc "($end - $start) / 1000"
}

bench_advice()
{
    local memory first=() again=() one=() r path
    say "digests of $advice_mib MiB; advice on $advice_diffs diffs"
    fresh advice
    advice_layer "$dir/layer"
    flush
    digest_lines disk "$dir/layer" "limit: pread() of its data, 1 MiB each, O_DIRECT, $n_threads threads"
    memory=$(mktemp -d /dev/shm/imgb.XXXXXX) || fail "no folder in memory"
    cp --sparse=always "$dir/layer" "$memory/layer"
    digest_lines memory "$memory/layer" "limit: the same loop on tmpfs"
    rm -r "$memory"

    start_daemon "$dir"
    import_golden 8G 64
    create_desktops a "$advice_diffs"
    path=$(layer_paths | head -n 1)
    stop_daemon
    layer_paths >"$dir/all"
    "$bench/fill_overlays" --contiguous 128 <"$dir/all" || fail "fill_overlays"
    flush
    for ((r = 0; r < rounds; r++)); do
        rm -rf "$dir/s/digests"
        start_daemon "$dir"
        sleep 0.3 # what was just written may change in the same tick: its digest would not be kept
        first+=("$(advice_ms)")
        again+=("$(advice_ms)")
        qemu-io -f qcow2 -c "write -q -P $((r + 1)) 4G 4k" "$path" >"$top/said" || fail "qemu-io"
        sleep 0.3
        one+=("$(advice_ms)")
        [ "$(jq .n_digests_made "$top/answer")" = 1 ] || fail "more than one layer was read again"
        stop_daemon
    done
    row ms "advice, $advice_diffs diffs of 16 MiB, no digest kept" "$(median "${first[@]}")" - - - "what is equal is compared too"
    row ms "advice again, nothing changed" "$(median "${again[@]}")" - - - "compares again what it claims"
    row ms "advice again, one layer changed" "$(median "${one[@]}")" - "$(median "${again[@]}")" "limit<=1.2" "limit: nothing changed"
}
