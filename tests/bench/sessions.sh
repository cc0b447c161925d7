# sessions.sh: log-ins against simulated hosts, and the daemon's memory with thousands of desktops that
# run.  Read by run.sh, which sets what is not set here.
#
# Hosts are libvirt's test driver in a libvirtd of its own; everything else is the daemon as it is:
# each log-in is a request of its own, durable before it is answered.
#
# shellcheck disable=SC2154

. "$here/../guest/libvirt.sh"
. "$here/../sim/sim.sh"

all_hosts_are_up()
{
    [ "$(ctl -o json host list | jq '[.[] | select(.state == "up")] | length')" -eq "$n_hosts" ]
}

# N desktops that run on the hosts, each of a user of its own.
start_sessions()
{
    local i end=$((SECONDS + 120))
    fresh sessions
    chmod 755 "$top"
    start_daemon "$dir"
    truncate -s 64M "$dir/golden.raw"
    ctl template import golden "$dir/golden.raw" --format raw --memory 128M --cpus 1 >"$top/said" ||
        fail "cannot import"
    create_desktops d "$n_running"
    stop_daemon
    sim_users "$state/catalog.db" "$n_running"
    sim_assign "$state/catalog.db"
    libvirt_start "$dir/lv" || fail "no libvirtd"
    kept_pids+=("$libvirt_pid")
    sim_hosts "$dir/hosts" "$n_hosts"
    imaged=$build/tests/imaged-sim
    start_daemon "$dir"
    imaged=
    for ((i = 1; i <= n_hosts; i++)); do
        ctl host add "h$i" "$(sim_uri "$i")" --store-path "$state/store" >"$top/said" || fail "no host"
    done
    until all_hosts_are_up; do
        [ $SECONDS -le $end ] || fail "the hosts do not come up"
        sleep 0.1
    done
    start_ms=$(timed ctl desktop start --all-of-prefix d)
}

# load N_THREADS FIRST LAST: log-ins of these users; the answer is in $said.
load()
{
    said=$(seq -f 'u%.0f' "$2" "$3" |
        "$build/tests/connect_load" "$state/imaged.sock" "$1" -) ||
        fail "not everybody was served once: $said"
}

# picks NAME [quota]: ms for $n_running picks, without hosts; prints the time of one, too.
picks()
{
    mkdir -p "$dir/$1"
    "$build/bench/pool_picks" "$dir/$1" "$n_running" 64 "${@:2}" || fail "picks: $1"
}

# Each user is given a desktop of a pool; what his group has together is asked at each pick.
bench_picks()
{
    local free counted
    free=$(picks picks) && counted=$(picks quota quota) || fail "no picks"
    row ms "$n_running picks, of a group with a quota" "${counted##* }" "${free##* }" - "peer>=0.5" \
        "durable, 64 at a time, all users in the group; the peer: ours, without a quota"
}

bench_sessions()
{
    local start_ms said n_hosts=100 n_running=10000 n_users=5000 n_after=2000 rss
    [ -z "${BENCH_QUICK:-}" ] || { n_hosts=10 n_running=500 n_users=400 n_after=50; }
    say "sessions: $n_running desktops on $n_hosts simulated hosts, $n_users log-ins"
    start_sessions
    flush
    load 64 1 "$n_users"
    row ms "$n_users log-ins at once, $n_hosts simulated hosts" "$(jq '.seconds * 1000' <<<"$said")" - - \
        "ours<=$n_users" "each durable, served once: $(jq '.per_s | round' <<<"$said")/s; the goal is 1,000/s"
    load 1 $((n_users + 1)) $((n_users + n_after))
    row ms "connect to .vv, the desktop runs, p99" "$(jq .p99_ms <<<"$said")" - - "ours<=50" \
        "of $n_after, one after the other; median $(jq .p50_ms <<<"$said") ms"
    rss=$(awk '/^VmRSS/ { print $2 / 1024 }' "/proc/$daemon/status")
    row MiB "memory of the daemon, $n_running run on $n_hosts hosts" "$rss" - - "ours<=100" \
        "resident, after the log-ins; peak $(awk '/^VmHWM/ { print int($2 / 1024) }' "/proc/$daemon/status") MiB"
    row ms "start of $n_running desktops on simulated hosts" "$start_ms" - - - "placed, leased, created"
    stop_daemon
    libvirt_stop
    bench_picks
}
