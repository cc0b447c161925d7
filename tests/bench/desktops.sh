# desktops.sh: create, re-image and undo in bulk; the daemon's own weight.  Read by run.sh, which
# sets what is not set here.
#
# shellcheck disable=SC2154

# peer_create DIR N: what an admin's script does.
peer_create()
{
    local i
    for ((i = 0; i < $2; i++)); do
        qemu-img create -q -f qcow2 -F qcow2 -b "$golden" "$1/$i.qcow2" || return
    done
}

peer_reset()
{
    local i
    for ((i = 0; i < $2; i++)); do
        unlink "$1/$i.qcow2" &&
            qemu-img create -q -f qcow2 -F qcow2 -b "$golden" "$1/$i.qcow2" || return
    done
}

create_by_http()
{
    api_ms "http://localhost/v1/desktops?wait=60" \
        -d "{\"template\":\"golden\",\"prefix\":\"b\",\"count\":$n_desktops}"
    jq -e '.state == "done"' "$top/body" >"$top/said" || fail "$(head -c 400 "$top/body")"
}

create_by_ctl()
{
    timed ctl desktop create --prefix a --count "$n_desktops" --template golden
}

# Both batches of one round; each goes first in turn.
create_round()
{
    if [ $(($1 % 2)) -eq 1 ]; then
        flush; ctl_ms+=("$(create_by_ctl)")
        flush; http_ms+=("$(create_by_http)")
    else
        flush; http_ms+=("$(create_by_http)")
        flush; ctl_ms+=("$(create_by_ctl)")
    fi
}

reset_round()
{
    flush
    reset_ms+=("$(timed ctl desktop reset --all-of-prefix a --yes)")
    flush
    undo_ms+=("$(timed ctl desktop undo-reset --all-of-prefix a --yes)")
}

desktops_round()
{
    local r=$1 limit peer
    fresh "limit$r"; limit=$dir
    mkdir "$limit/tmp" "$limit/layers" "$limit/trash"
    fresh "peer$r"; peer=$dir
    fresh "ours$r"
    start_daemon "$dir"
    import_golden 10G 16
    golden=$(template_path)
    create_round "$r"
    flush
    limit_create+=("$("$bench/limit_create" "$limit" "$n_desktops" 1)")
    flush
    peer_create+=("$(timed peer_create "$peer" "$n_peer")")
    if selected reset; then
        reset_round
        flush
        limit_reset+=("$("$bench/limit_create" "$limit" "$n_desktops" 2)")
        flush
        peer_reset+=("$(timed peer_reset "$peer" "$n_peer")")
    fi
    check_images "$(ctl desktop path "$(names_of a | head -n 1)")"
    stop_daemon
}

bench_desktops()
{
    local ctl_ms=() http_ms=() reset_ms=() undo_ms=() limit_create=() peer_create=() limit_reset=() \
        peer_reset=() r peer scaled="the peer made $n_peer, scaled; it makes nothing durable"
    say "create, re-image, undo: $rounds rounds of $n_desktops desktops"
    for ((r = 1; r <= rounds; r++)); do desktops_round "$r"; done

    peer=$(calc "$(median "${peer_create[@]}") * $n_desktops / $n_peer")
    if selected create; then
        row ms "create $n_desktops desktops (HTTP)" "$(median "${http_ms[@]}")" "$peer" \
            "$(median "${limit_create[@]}")" "peer>=50 limit<=2.5" "$scaled"
        row ms "create $n_desktops desktops (imagectl)" "$(median "${ctl_ms[@]}")" "$peer" \
            "$(median "${limit_create[@]}")" "peer>=50 limit<=2.5" "$scaled"
    fi
    if selected reset; then
        peer=$(calc "$(median "${peer_reset[@]}") * $n_desktops / $n_peer")
        row ms "re-image $n_desktops desktops" "$(median "${reset_ms[@]}")" "$peer" \
            "$(median "${limit_reset[@]}")" "peer>=50" "$scaled, and its old disks are lost"
        row ms "undo $n_desktops re-images" "$(median "${undo_ms[@]}")" - - - ""
    fi
    selected daemon && bench_daemon
}

rss_kib()
{
    awk '/^VmRSS/ { print $2 }' "/proc/$daemon/status"
}

# The state of the last round has twice n_desktops.
bench_daemon()
{
    local ready_ms=() idle used r start line out n
    n=$((2 * n_desktops))
    say "daemon with $n desktops"
    for ((r = 0; r < 2 * rounds + 1; r++)); do
        start=$(now_us)
        exec {out}< <(exec "$build/imaged" --state "$state" --config "$top/ours$rounds/conf" \
            2>>"$top/imaged.log")
        daemon=$!
        read -r line <&"$out"
        ready_ms+=("$(calc "($(now_us) - $start) / 1000")")
        [ "$line" = ready ] || fail "imaged said '$line'"
        if [ "$r" -lt $((2 * rounds)) ]; then
            kill -TERM "$daemon"
            wait "$daemon"
        fi
        exec {out}<&-
    done
    idle=$(rss_kib)
    api "http://localhost/v1/desktops?limit=$n" >"$top/body" || fail "$(cat "$top/body")"
    [ "$(jq length "$top/body")" -eq "$n" ] || say "the list has $(jq length "$top/body") desktops"
    api http://localhost/v1/reports/savings >"$top/body" || fail "$(cat "$top/body")"
    used=$(rss_kib)
    stop_daemon
    row ms "ready, $n desktops" "$(median "${ready_ms[@]}")" - - "ours<=500" "from exec to 'ready'"
    row MiB "memory, $n desktops: at start" "$(calc "$idle / 1024")" - - "ours<=64" "VmRSS"
    row MiB "memory, $n desktops: after list and report" "$(calc "$used / 1024")" - - "ours<=64" \
        "VmRSS"
}
