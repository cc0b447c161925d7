# search.sh: how long searches take over a catalog of a large site; the peer is a statement with LIKE and
# EXISTS as one writes it first.  Read by run.sh, which sets what is not set here.
#
# shellcheck disable=SC2154

bench_search()
{
    local name p50 p99 cpu least naive n_rows peer http=() r
    local text='Vms: user.username = *John* AND template.name = *xp* AND Apps = *office*'
    say "searching $search_desktops desktops and users, $search_apps application rows, $search_events events"
    fresh search
    start_daemon "$dir"
    stop_daemon
    /usr/bin/python3 "$here/search_fill.py" "$state/catalog.db" "$search_desktops" "$search_desktops" 200 \
        "$search_apps" "$search_events" || fail "the catalog cannot be filled"
    flush
    "$bench/search_load" "$state/catalog.db" "$search_rounds" >"$dir/out" || fail "search_load"
    while IFS=$'\t' read -r name p50 p99 cpu least naive n_rows; do
        peer=$naive
        row ms "search: $name, p99" "$p99" "$peer" - "ours<=10" \
            "median $p50 ms, $cpu ms of a processor (at best $least); $n_rows rows; without HTTP; peer: LIKE and EXISTS (one processor's time)"
    done <"$dir/out"
    start_daemon "$dir"
    for ((r = 0; r < 50; r++)); do
        http+=("$(api_ms -G http://localhost/v1/search --data-urlencode "search=$text" -d fields=table)")
    done
    row ms "search: the first of these by HTTP, median" "$(median "${http[@]}")" - - "ours<=10" "a connection for each"
    http=()
    for ((r = 0; r < 50; r++)); do
        http+=("$(api_ms -G http://localhost/v1/events -d kind=host.down -d limit=100)")
    done
    row ms "events of a rare kind by HTTP, median" "$(median "${http[@]}")" - - "ours<=10" "one of 100,000 events"
    stop_daemon
    rm -rf "$dir"
}
