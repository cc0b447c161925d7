#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# manager_killed.t: the manager is killed at any moment of anything: start, stop, restart, snapshot,
# merge, migrate, suspend, re-image, hand-over of a pool's desktop.  Two hosts, guests that count on
# their own disks (they would tell if one ran twice or lost a write), users who leave their marks there.
# Each time it is started again: everything agrees with the hosts, nothing hangs, nothing is locked.
#
#   KILLS=N   how often (4; some hundred for a night);  SEED=N   the same choices once more
# heavy: guests under TCG
. "$(dirname "$0")/lib.sh"
. "$repo/tests/guest/vhosts.sh"
. "$repo/tests/guest/counter_guest.sh"

kills=${KILLS:-4}
SEED=${SEED:-$((($(date +%N | sed 's/^0*//') + $$) % 32768))}
RANDOM=$SEED
diag "again: SEED=$SEED KILLS=$kills"

counter_begin 2 a b c
for u in anna bert; do ctl user add $u >/dev/null; done
ctl pool create p --template count --size 2 >/dev/null
ctl pool grant p --user anna --user bert >/dev/null

sql() { sqlite3 -readonly -cmd '.timeout 10000' "$state/catalog.db" "$1"; }
has_free() { [ "$(field .n_free pool show p)" -ge "$1" ]; }
ok 'a pool' wait_for 30 has_free 2
ok 'desktops run' ctl desktop start a b

# ---- What is done ----

# No subshells: they have a chance of their own.
pick() { picked=${*:RANDOM % $# + 1:1}; }
pick_snapshot()
{
    # shellcheck disable=SC2046 # names are words
    set -- $(ctlj snapshot list "$1" 2>/dev/null | jq -r '.[].name' | sort)
    local at=$RANDOM
    picked=
    [ $# -eq 0 ] || picked=${*:at % $# + 1:1}
}
# A line to be said to imagectl, in $act.
choose_act()
{
    local d
    pick a b c
    d=$picked
    case $((RANDOM % 16)) in
    0 | 1 | 2) act="desktop start $d" ;;
    3) act="desktop stop $d --force" ;;
    4) act="desktop restart $d" ;;
    5 | 6) act="snapshot create $d s$RANDOM" ;;
    7 | 8)
        pick_snapshot "$d"
        act="snapshot create $d s$RANDOM"
        [ -z "$picked" ] || act="snapshot delete $d $picked --yes"
        ;;
    9 | 10) act="desktop migrate $d" ;;
    11) act="desktop reset $d --stop --yes" ;;
    12) act="desktop suspend $d" ;;
    13) act="session end $(sql "SELECT id FROM session WHERE ended_at IS NULL LIMIT 1") --yes" ;;
    *)
        pick anna bert
        act="connect p --user $picked --file $top/s.vv"
        ;;
    esac
}

n_by_fault=0
died() { ! kill -0 "$daemon" 2>/dev/null; }
ended_or_died() { local c; died && return; for c in "${clients[@]}"; do ! kill -0 "$c" 2>/dev/null || return; done; }
up_or_died() { died || hosts_up; }
# Some acts at once, and the end of the manager: after some time, or at its N-th change.
kill_in()
{
    local i delay='' n=$((RANDOM % 3 + 1)) line
    acts=()
    for ((i = 0; i < n; i++)); do choose_act && acts+=("$act"); done
    if [ $((RANDOM % 2)) = 0 ]; then
        how="at change $((25 + RANDOM % 110))"
        stop_daemon
        RUN_WITH="env IMAGED_FAULT=kill:${how##* }" start_daemon 2>/dev/null || { acts=("its start"); return; }
        wait_for 60 up_or_died
    else
        delay=$((RANDOM % 1200))
        how="after $delay ms"
    fi
    clients=()
    for line in "${acts[@]}"; do
        # shellcheck disable=SC2086 # words
        ctl $line >>"$top/acts.log" 2>&1 </dev/null &
        clients+=($!)
    done
    if [ "$delay" ]; then
        sleep "$(printf '0.%03d' $((delay % 1000)))" # any moment will do
        [ "$delay" -lt 1000 ] || sleep 1
    else
        wait_for 20 ended_or_died
        if died; then n_by_fault=$((n_by_fault + 1)); else how+=', which did not come'; fi
    fi
    stop_daemon KILL
    kill "${clients[@]}" 2>/dev/null
    wait "${clients[@]}"
} 2>/dev/null

# ---- What has to be so afterwards ----

open_jobs() { sql "SELECT id, kind, state, step, message FROM job WHERE state IN ('queued', 'running')"; }
jobs_are_over() { [ -z "$(open_jobs)" ]; }
# HOST:DESKTOP, by the processes; by the catalog.
on_hosts() { for n in 1 2; do vhost_guests $n | sed "s/^/h$n:/"; done | sort; }
in_catalog() { sql "SELECT h.name || ':' || d.name FROM run r JOIN host h ON h.id = r.host_id JOIN desktop d ON d.id = r.desktop_id ORDER BY 1"; }
# A lease with each run and a run with each lease, both of the desktop's present generation.
leases_agree()
{
    [ "$(sql "SELECT (SELECT count(*) FROM run r JOIN desktop d ON d.id = r.desktop_id LEFT JOIN lease l ON l.desktop_id = r.desktop_id AND
        l.holder = 'run' AND l.host = r.host_id AND l.incarnation = r.incarnation AND l.generation = r.generation
        WHERE l.desktop_id IS NULL OR r.target_host_id IS NOT NULL OR r.state NOT IN ('running', 'paused') OR r.generation <> d.generation)
        + (SELECT count(*) FROM lease l WHERE NOT EXISTS (SELECT 1 FROM run r WHERE r.desktop_id = l.desktop_id))")" = 0 ]
}
# What the domain says of itself, and the file that QEMU writes to.
domains_agree()
{
    local at n name xml
    for at in $(in_catalog); do
        n=${at%%:*} n=${n#h} name=${at#*:}
        xml=$(vhost_virsh "$n" dumpxml "$name") || return
        grep -q "incarnation=['\"]$(sql "SELECT incarnation FROM run r JOIN desktop d ON d.id = r.desktop_id WHERE d.name = '$name'")['\"]" <<<"$xml" || return
        [ "$(vhost_virsh "$n" domblklist "$name" | awk '$1 == "vda" { print $2 }')" = "$(path_of "$name")" ] || return
    done
}
agrees() { jobs_are_over && [ "$(on_hosts)" = "$(in_catalog)" ] && leases_agree && domains_agree; }

flushed=
counter_flush() { [ -z "$flushed" ] || vhost_flush "${flushed%%:*}" "${flushed#*:}"; }
declare -A at=() generation=()
# Each that runs counts on from where it was, alone.
counts_on()
{
    local line n name is g
    for line in $(in_catalog); do
        n=${line%%:*} n=${n#h} name=${line#*:} flushed=
        g=$(field .generation desktop show "$name")
        [ "${generation[$name]:-}" = "$g" ] || at[$name]=0
        generation[$name]=$g
        is=$(vhost_virsh "$n" domstate "$name")
        if [ "$is" = running ]; then
            flushed=$n:$name
            counter_runs "$(path_of "$name")" || { echo "$name does not count"; continue; }
            counter_is_sound "$(path_of "$name")" "${at[$name]}" || echo "that was $name"
            at[$name]=$(counter_of "$(path_of "$name")")
        fi
    done
    flushed=
}

# The users' marks: what stands at 4 MiB of a pool's desktop is nothing or its user's own; then it is.
mark_of() { [ "$1" = anna ] && echo 0xa1 || echo 0xb2; }
first_byte() { qemu-io -U -r -f qcow2 -c 'read -v 4M 16' "$1" | sed -n 's/^00400000: *\(..\).*/0x\1/p'; }
marks_are_kept()
{
    local line name user n found
    while IFS='|' read -r name user n; do
        [ "$name" ] || continue
        [ -z "$n" ] || vhost_flush "${n#h}" "$name"
        found=$(first_byte "$(path_of "$name")")
        [ "$found" = 0x00 ] || [ "$found" = "$(mark_of "$user")" ] || echo "$user has $name, and finds $found there"
        [ "$n" ] || continue
        line=$(vhost_virsh "${n#h}" qemu-monitor-command "$name" '{"execute":"query-block"}' | jq -r '.return[] | select(.inserted.ro == false) | .inserted["node-name"]' | head -n 1)
        vhost_virsh "${n#h}" qemu-monitor-command "$name" --hmp "qemu-io $line \"write -P $(mark_of "$user") 4M 64k\"" >/dev/null
        n_marks=$((n_marks + 1))
    done < <(sql "SELECT d.name, u.name, h.name FROM pool_desktop m JOIN desktop d ON d.id = m.desktop_id JOIN user u ON u.id = m.user_id
        LEFT JOIN run r ON r.desktop_id = d.id LEFT JOIN host h ON h.id = r.host_id WHERE m.state = 'given'")
    # Those that nobody has are clean.
    while read -r name; do
        [ -z "$name" ] || [ "$(first_byte "$(path_of "$name")")" = 0x00 ] || echo "$name is free, and not clean"
    done < <(sql "SELECT d.name FROM pool_desktop m JOIN desktop d ON d.id = m.desktop_id WHERE m.state = 'free'")
}
no_strangers() { [ "$(ctlj event list | jq '[.[] | select(.name | test("stranger"))] | length')" = 0 ]; }
state_now()
{
    echo "hosts: $(on_hosts | xargs)"; echo "catalog: $(in_catalog | xargs)"
    sql "SELECT d.name, r.state, r.reason, r.generation, d.generation, l.host = r.host_id, r.target_host_id IS NOT NULL FROM run r JOIN desktop d ON d.id = r.desktop_id LEFT JOIN lease l ON l.desktop_id = d.id"
    open_jobs
}

n_marks=0
for ((round = 1; round <= kills; round++)); do
    kill_in
    start_daemon || exit 1
    what="$round, killed $how in: $(IFS=','; echo "${acts[*]}")"
    bad=
    wait_for 60 hosts_up || bad+='a host is not found again; '
    wait_for 120 agrees || bad+="$(state_now); "
    bad+=$(counts_on)
    said=$(marks_are_kept; echo "$n_marks")
    n_marks=${said##*$'\n'}
    bad+=${said%"$n_marks"}
    no_strangers || bad+='it does not know its own; '
    [ $((round % 4)) != 0 ] || check_is_clean || bad+='the check is not clean'
    is "$bad" '' "$what"
    [ "$bad" ] && [ "${STOP:-}" ] && { KEEP=1; break; }
done
diag "$n_by_fault of them at a change, $n_marks marks"

# ---- Nothing is locked ----

# One that is suspended does not run.
all_off()
{
    local s d
    for s in $(ctl session list -o json | jq -r '.[].id'); do ctl session end "$s" --yes || return 1; done
    wait_for 90 jobs_are_over || return 1
    for d in a b c; do
        case $(field .run desktop show $d) in off | suspended) continue ;; esac
        wait_for 20 ctl desktop stop $d --force || return 1
    done
}
ok 'all can be switched off' all_off
ok '... and be re-imaged' wait_for 20 ctl desktop reset a b c --yes
is "$(for d in a b c; do ctlj snapshot list $d | jq -r '.[].name' | while read -r s; do ctl snapshot delete $d "$s" --yes 2>&1 >/dev/null </dev/null; done; done)" '' 'no snapshot holds one'
ok 'and started' ctl desktop start a b c
ok '... as one each' wait_for 30 agrees
ok 'the pool is deleted' ctl pool delete p --force --yes
is_gone() { ! ctl pool show p && jobs_are_over; }
ok '... to the end' wait_for 60 is_gone || diag "$(state_now)" "$(ctl pool show p)" "$(ctl pool show p --desktops)" "$(ctl job list | tail)"
ok '... and be deleted' eval 'ctl desktop stop a b c --force && ctl desktop delete a b c --yes'
is "$(on_hosts)" '' 'nothing runs'
ok 'the check is clean' check_is_clean
done_testing
