#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# sessions_killed.t: who connects, to his own desktop or one of a pool, and whose session ends, while the
# daemon is killed at its changes or one of them fails (EIO, ENOSPC).  Afterwards nothing is given twice,
# nothing is lost, nothing is locked: pools have all their desktops, and everybody connects.  Simulated
# hosts, which live as long as their connection: a killed daemon finds all desktops off.
#
#   SWEEP=1   at all changes;  SEED=N   the same choices once more
. "$(dirname "$0")/lib.sh"
. "$repo/tests/guest/libvirt.sh"
. "$repo/tests/sim/sim.sh"
. "$here/killed_lib.sh"
trap 'libvirt_stop; cleanup' EXIT

IMAGED=$BUILD/tests/imaged-sim
SEED=${SEED:-$((($(date +%N | sed 's/^0*//') + $$) % 32768))}
RANDOM=$SEED
diag "again: SEED=$SEED"
chmod 755 "$top"
start_daemon || exit 1
truncate -s 8M "$top/g.raw"
ctl template import win "$top/g.raw" --format raw --memory 128M --cpus 1 >/dev/null 2>&1
ctl desktop create own --template win >/dev/null
for u in anna bert; do ctl user add $u >/dev/null; done
ctl desktop assign own anna >/dev/null
libvirt_start "$top/lv" || exit 1
sim_hosts "$top/hosts" 1
ctl host add h "$(sim_uri 1)" --store-path "$store" >/dev/null
killed_hosts_are_up() { [ "$(field .state host show h)" = up ]; }
ok 'a host' wait_for 60 killed_hosts_are_up
ctl pool create p --template win --size 3 >/dev/null
ctl pool grant p --user anna --user bert >/dev/null
sql() { sqlite3 -readonly -cmd '.timeout 10000' "$state/catalog.db" "$1"; }
counts() { sql "SELECT count(*) FROM pool_desktop WHERE state = '$1'"; }
all_are() { jobs_are_over && [ "$(counts free)" = $((3 - $1)) ] && [ "$(counts given)" = "$1" ]; }
ok 'a pool' wait_for 30 all_are 0

connect() { ctl connect "$1" --user "$2" --file "$top/$2.vv"; }
end_all() { sql 'SELECT id FROM session WHERE ended_at IS NULL' | while read -r s; do ctl session end "$s" --yes; done; }
# Before a verb: nobody is on.
fresh()
{
    wait_for 60 killed_hosts_are_up
    end_all
    wait_for 60 all_are 0
} >/dev/null 2>&1

# What is wrong, for whatever has become of the verb.
look()
{
    wait_for 60 killed_hosts_are_up || echo 'its host is not found again'
    wait_for 60 jobs_are_over || echo "a job does not end: $(ctl job list | tail -n 2)"
    [ "$(sql 'SELECT count(*) FROM (SELECT 1 FROM attachment a JOIN pool_desktop m USING (desktop_id) GROUP BY a.desktop_id, a.generation HAVING count(*) > 1)')" = 0 ] ||
        echo 'a generation of a pool was given twice'
    [ "$(sql 'SELECT count(*) FROM (SELECT 1 FROM session WHERE ended_at IS NULL GROUP BY desktop_id HAVING count(*) > 1)')" = 0 ] || echo 'two sessions on one'
    # a session whose end could not be written is ended once more, before anybody gets in
    wait_for 30 connect p anna || echo "anna does not connect: $(connect p anna 2>&1)"
    wait_for 30 connect p bert || echo "bert does not connect: $(connect p bert 2>&1)"
    wait_for 30 connect own anna || echo "nor to her own: $(connect own anna 2>&1)"
    wait_for 60 all_are 2 || echo "the pool: $(ctl pool show p --desktops)"
    [ "$(sql "SELECT count(*), count(DISTINCT desktop_id), sum(user_id = (SELECT id FROM user WHERE name = 'anna')) FROM session WHERE ended_at IS NULL")" = '3|3|2' ] ||
        echo "sessions: $(ctl session list)"
    end_all >"$top/said" 2>&1 || echo "a session does not end: $(cat "$top/said")"
    wait_for 60 all_are 0 || echo "not all come back: $(ctl pool show p --desktops)"
}

# fails_at KIND:N COMMAND...: that change of it fails; the daemon goes on, or ends by itself.
fails_at()
{
    local fault=$1
    shift
    stop_daemon
    RUN_WITH="env IMAGED_FAULT=$fault" start_daemon || { start_daemon; return; }
    wait_for 60 up_or_died
    "$@" >/dev/null 2>&1
    if died; then
        wait "$daemon"
        daemon=
    elif [ "$(n_changes)" -ge "${fault#*:}" ]; then
        return
    else # it would be hit by what is looked at afterwards
        stop_daemon
    fi
    start_daemon
}
# faults WHAT COMMAND...
faults()
{
    local what=$1 kind n first last step n_tried=0 said bad=''
    shift
    fresh
    killed_range "$@" >/dev/null || { fail "$what without a fault"; return; }
    for kind in kill eio enospc; do
        step=$(((last - first) / 2 + 1))
        n=$((first + RANDOM % step))
        [ "${SWEEP:-}" ] && n=$first step=1
        for (( ; n <= last; n += step)); do
            fresh || bad+="$kind:$n: before it: $(ctl pool show p --desktops); "
            if [ $kind = kill ]; then killed_at $n "$@"; else fails_at $kind:$n "$@"; fi
            said=$(look)
            [ -z "$said" ] || bad+="$kind:$n: $said; "
            n_tried=$((n_tried + 1))
        done
    done
    is "$bad" '' "$what: $n_tried faults at its $((last - first + 1)) changes"
}
come_and_go() { connect p bert && end_all; }
faults 'connect to a pool' connect p bert
faults 'connect to an own desktop' connect own anna
faults 'a session and its end' come_and_go
ok 'the check is clean' check_is_clean
is "$(sql 'PRAGMA integrity_check; PRAGMA foreign_key_check')" ok 'the catalog is sound'
done_testing
