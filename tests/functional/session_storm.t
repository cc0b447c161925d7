#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# session_storm.t: everybody logs in at once, against simulated hosts: each is served once, none
# twice, be it with a desktop of his own or one of a pool; a second storm finds the same sessions.
. "$(dirname "$0")/lib.sh"
. "$repo/tests/guest/libvirt.sh"
. "$repo/tests/sim/sim.sh"

n_hosts=${STORM_HOSTS:-8}
n_users=${STORM_USERS:-240}
IMAGED=$BUILD/tests/imaged-sim
load() { "$BUILD/tests/connect_load" "$state/imaged.sock" 48 "$@"; }
users() { seq -f 'u%.0f' 1 "$n_users"; }

chmod 755 "$top"
start_daemon || exit 1
truncate -s 64M "$top/g.raw"
ctl template import win "$top/g.raw" --format raw --memory 128M --cpus 1 >/dev/null 2>&1
ctl desktop create --template win --prefix d --count "$n_users" >/dev/null
stop_daemon
sim_users "$state/catalog.db" "$n_users"
sim_assign "$state/catalog.db"
libvirt_start "$top/lv" || exit 1
sim_hosts "$top/hosts" "$n_hosts"
start_daemon || exit 1
for ((i = 1; i <= n_hosts; i++)); do
    ctl host add "h$i" "$(sim_uri "$i")" --store-path "$store" >/dev/null
done
all_up() { [ "$(ctlj host list | jq '[.[] | select(.state == "up")] | length')" -eq "$n_hosts" ]; }
ok 'the hosts are up' wait_for 60 all_up
ok 'all desktops start' ctl desktop start --all-of-prefix d
json_ok 'as evenly as can be' "$(ctlj host list)" '([.[].n_desktops] | max) - ([.[].n_desktops] | min) <= 1'

# ---- Each has his own ----

said=$(users | load -)
json_ok 'everybody is served once, with a desktop of his own' "$said" '.n_served == .n_users and .n_twice == 0 and .n_failed == 0'
diag "$said"
json_ok 'and has a session' "$(ctlj session list)" "length == $n_users and ([.[].user] | unique | length) == $n_users"
before=$(ctlj session list | jq -c '[.[] | [.id, .user, .desktop]] | sort')
said=$(users | load -)
json_ok 'they come again' "$said" '.n_served == .n_users and .n_twice == 0'
is "$(ctlj session list | jq -c '[.[] | [.id, .user, .desktop]] | sort')" "$before" 'to the same sessions'

# ---- A quota ----

ok 'all are switched off' ctl desktop stop --all-of-prefix d --force
ok 'four of them together may run two' eval 'ctl group add few --max-running 2 && ctl group add-member few u1 u2 u3 u4'
mapfile -t theirs < <(ctlj desktop assignments | jq -r '.[] | select(.user | test("^u[1-4]$")).name')
pids=()
for name in "${theirs[@]}"; do
    "$BUILD/imagectl" --state "$state" desktop start "$name" >"$top/start.$name" 2>&1 &
    pids+=($!)
done
n_started=0
for pid in "${pids[@]}"; do wait "$pid" && n_started=$((n_started + 1)); done
is "${#theirs[@]} $n_started" '4 2' 'of four that start at the same moment two do'
like "$(cat "$top"/start.*)" "quota of the group 'few' is reached: 2 of 2 running" 'the others hear why'
is "$(for n in 1 2 3 4; do post /v1/sessions "{\"user\":\"u$n\"}" >/dev/null; echo "$(http_code)"; done | sort | uniq -c | xargs)" \
    '2 200 2 403' 'who connects is held to it too'
ok 'it is lifted' ctl group set few --max-running none
json_ok 'then all start' "$(ctlj desktop start --all-of-prefix d 2>/dev/null)" ".n_done == $n_users - 2"

# ---- A pool ----

# A simulated host lives as long as the connection to it.
stop_daemon
sqlite3 "$state/catalog.db" 'DELETE FROM session; DELETE FROM assignment; DELETE FROM attachment'
sim_pool "$state/catalog.db" lab
start_daemon || exit 1
wait_for 60 all_up
none_runs() { [ "$(ctlj host list | jq '[.[].n_desktops] | add')" -eq 0 ]; }
ok 'what is gone from its hosts is off' wait_for 60 none_runs
ok 'all desktops start' ctl desktop start --all-of-prefix d
said=$(users | load lab)
json_ok 'everybody gets another desktop of the pool' "$said" '.n_served == .n_users and .n_twice == 0 and .n_failed == 0'
diag "$said"
is "$(sqlite3 -readonly "$state/catalog.db" 'SELECT count(*), count(DISTINCT desktop_id), count(DISTINCT user_id) FROM attachment')" \
    "$n_users|$n_users|$n_users" 'each desktop has seen one user'
stop_daemon
done_testing
