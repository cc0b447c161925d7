# report.sh: the savings report over thousands of diffs with data in them.  Read by run.sh, which
# sets what is not set here.
#
# shellcheck disable=SC2154

readonly n_clusters=500          # of 128 KiB, in each diff
readonly n_template_clusters=60000

# make_diffs NAME N_CONTIGUOUS N_SCATTERED: a state whose desktops have diffs of these kinds; lists
# of their files in $dir/contiguous and $dir/scattered, of all in $dir/all.  The daemon is stopped.
make_diffs()
{
    fresh "$1"
    start_daemon "$dir"
    import_golden 10G 0
    create_desktops d $(($2 + $3))
    stop_daemon
    template_path | "$bench/fill_overlays" --contiguous $n_template_clusters || fail "fill_overlays"
    layer_paths >"$dir/all"
    head -n "$2" "$dir/all" >"$dir/contiguous"
    tail -n "$3" "$dir/all" >"$dir/scattered"
    "$bench/fill_overlays" --contiguous $n_clusters <"$dir/contiguous" || fail "fill_overlays"
    [ "$3" -eq 0 ] || "$bench/fill_overlays" --scattered $n_clusters --seed 1 <"$dir/scattered" ||
        fail "fill_overlays"
    check_images "$(head -n 1 "$dir/all")" "$(tail -n 1 "$dir/all")"
    flush
}

map_each()
{
    local file
    while read -r file; do
        qemu-img map --output=json "$file" || return
    done
}

# map_ms LIST: milliseconds that qemu-img map needs for one file, by a sample spread over the list.
map_ms()
{
    local n
    n=$(wc -l <"$1")
    awk -v n="$n" -v want="$n_map" 'int(NR * want / n) != int((NR - 1) * want / n)' "$1" \
        >"$top/sample"
    calc "$(timed map_each <"$top/sample") / $(wc -l <"$top/sample")"
}

# Without cached counts, and again; a daemon started for each round.
report_round()
{
    local i expected
    sqlite3 "$state/catalog.db" 'DELETE FROM layer_counts' || fail "cannot empty layer_counts"
    start_daemon "$dir"
    cold_ms+=("$(api_ms http://localhost/v1/reports/savings)")
    expected=$(($(wc -l <"$dir/all") * n_clusters * 131072))
    jq -e --argjson n $expected '.rows[0].diff_bytes == $n' "$top/body" >"$top/said" ||
        fail "the report is wrong: $(jq -c '.rows[0]' "$top/body")"
    for i in 1 2 3; do
        again_ms+=("$(api_ms http://localhost/v1/reports/savings)")
    done
    stop_daemon
    limit_ms+=("$("$bench/limit_tables" "$n_threads" <"$dir/all" | cut -d ' ' -f 1)")
}

# report_rounds: sets cold, again and limit.
report_rounds()
{
    local cold_ms=() again_ms=() limit_ms=() r
    state=$dir/s
    "$bench/limit_tables" "$n_threads" <"$dir/all" >"$top/said" || fail "limit_tables"
    for ((r = 0; r < rounds; r++)); do report_round; done
    cold=$(median "${cold_ms[@]}") again=$(median "${again_ms[@]}") limit=$(median "${limit_ms[@]}")
}

bench_report()
{
    local cold again limit half=$((n_desktops / 2)) contiguous scattered peer
    say "savings report: $n_desktops diffs of $n_clusters clusters"
    make_diffs mixed $half $half
    map_ms "$dir/scattered" >"$top/said2" # warm
    contiguous=$(map_ms "$dir/contiguous") scattered=$(map_ms "$dir/scattered")
    report_rounds
    peer=$(calc "$half * ($contiguous + $scattered)")
    row ms "report, $n_desktops diffs, nothing cached" "$cold" "$peer" "$limit" \
        "peer>=20 limit<=2" "half contiguous, half scattered; qemu-img map of $n_map each, scaled"
    row ms "report again, nothing changed" "$again" - - "ours<=50" ""
    make_diffs contiguous "$n_desktops" 0
    report_rounds
    contiguous=$(map_ms "$dir/contiguous")
    row ms "report, contiguous diffs alone" "$cold" "$(calc "$n_desktops * $contiguous")" "$limit" \
        "peer>=100 limit<=2" "qemu-img map of $n_map, scaled"
}
