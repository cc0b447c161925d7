# latency.sh: one re-image after the other, while bulk work runs beside.  Read by run.sh, which sets
# what is not set here.
#
# shellcheck disable=SC2154

# wait_for_job KIND: until such a job runs, or $top/over says that it ran already.
wait_for_job()
{
    until api "http://localhost/v1/jobs?state=running" |
        jq -e --arg kind "$1" 'any(.[]; .kind == $kind)' >/dev/null; do
        [ -e "$top/over" ] && return
        sleep 0.005
    done
}

# beside KIND COMMAND...: re-images while COMMAND runs, whose job is a KIND; latencies are added
# to $top/latencies.
beside()
{
    local kind=$1 worker
    shift
    rm -f "$top/over"
    { "$@" >"$top/worker" 2>&1 || echo "failed: $*" >>"$top/failed"; : >"$top/over"; } &
    worker=$!
    kept_pids+=("$worker")
    wait_for_job "$kind"
    tail -n +$(($(wc -l <"$top/latencies") + 1)) "$dir/names" |
        "$bench/latency" "$state/imaged.sock" "$top/over" >>"$top/latencies" || fail "latency"
    wait "$worker"
    kept_pids=()
    [ ! -e "$top/failed" ] || fail "$(cat "$top/failed" "$top/worker")"
}

latency_row()
{
    local n
    n=$(wc -l <"$top/latencies")
    row ms "one re-image $1: p99" "$(percentile 99 <"$top/latencies")" - - "$2" \
        "$n in a row; p50 $(percentile 50 <"$top/latencies"), max $(percentile 100 <"$top/latencies") ms$3"
    cp "$top/latencies" "$top/latencies.${1// /-}"
    : >"$top/latencies"
}

import_big()
{
    ctl template import "big" "$dir/big.raw" --format raw
}

# Some desktops with really written data, and the big template if there is one, to the trash.
trash_big()
{
    local name
    create_desktops big "$n_big"
    names_of big | while read -r name; do
        ctl desktop path "$name"
    done | "$bench/fill_overlays" --contiguous $((big_mib * 1048576 / n_big / 131072)) --data ||
        fail "fill_overlays"
    ctl desktop delete --all-of-prefix big --yes >"$top/said" || fail "desktop delete"
    ! ctl template show big >/dev/null 2>&1 || ctl template delete big --yes >"$top/said" ||
        fail "template delete"
    flush
}

# Of the trash only what is big: thousands of deleted small files are another story (lib.sh).
empty_big()
{
    local ids
    ids=$(ctl -o json trash list | jq -r '.[] | select(.disk_bytes > 1048576) | .id') || return
    ctl trash empty $ids --yes
}

bench_latency()
{
    local n_imports=0 n_reclaims=0
    say "latency of $n_resets re-images, beside an import of $big_mib MiB and a reclaim"
    : >"$top/latencies"
    rm -f "$top/failed"
    fresh latency
    start_daemon "$dir"
    import_golden 10G 16
    create_desktops r "$n_resets"
    names_of r >"$dir/names"
    random_bytes "$big_mib" >"$dir/big.raw"
    flush

    "$bench/latency" "$state/imaged.sock" <"$dir/names" >"$top/latencies" || fail "latency"
    latency_row "alone" - ""

    # One more version if one import was too short for all of them.
    while [ "$(wc -l <"$top/latencies")" -lt "$n_resets" ] && [ $n_imports -lt 2 ]; do
        beside template.import import_big
        n_imports=$((n_imports + 1))
    done
    latency_row "beside an import" "ours<=20" "; imports of $big_mib MiB: $n_imports"

    rm "$dir/big.raw" # room for what comes
    while [ "$(wc -l <"$top/latencies")" -lt "$n_resets" ] && [ $n_reclaims -lt 3 ]; do
        trash_big
        beside trash.empty empty_big
        n_reclaims=$((n_reclaims + 1))
    done
    latency_row "beside a reclaim" "ours<=120" "; reclaims: $n_reclaims"
    stop_daemon
}
