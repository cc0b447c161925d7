#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# export_crash.t: servers that are killed, and a daemon that is killed or stopped while it exports.
. "$(dirname "$0")/lib.sh"

start_daemon || { diag "$(cat "$log")"; exit 1; }
make_raw "$top/golden.raw" 16M 0 1 1M
ctl template import golden "$top/golden.raw" --format raw >/dev/null
ctl desktop create lab-1 --template golden >/dev/null
ctl desktop create lab-2 --template golden >/dev/null
psktool -u alice -p "$top/alice.psk" >/dev/null 2>&1
is_state() { [ "$(field .state export show "$1")" = "$2" ]; }

# ---- A server dies ----

ctl export start lab-1 >/dev/null
kill -9 "$(field .pid export show lab-1)"
ok "a server that dies is noticed" wait_for 10 is_state lab-1 failed
json_ok "with its reason" "$(ctlj export show lab-1)" '.reason | test("ended unexpectedly")'
json_ok "and an alarm" "$(ctlj event list)" 'any(.[]; .name == "export.fail" and .severity == "alarm")'
ok "the desktop is free" ctl desktop reset lab-1 --yes
ok "it can be exported again" ctl export start lab-1
first=$(field '.[0].id' export list)
ok "the failed one is taken away" ctl export stop "$first"
ctl export stop lab-1 >/dev/null

uri=$(ctl export start lab-1 --read-write)
qemu-io -f raw -c 'write -q -P 5 1M 64k' -c flush "$uri"
kill -9 "$(field .pid export show lab-1)"
ok "a writer that dies is noticed" wait_for 10 is_state lab-1 failed
is "$(sqlite3 "$state/catalog.db" "SELECT count(*) FROM lease")" 0 "its lease is given up"
ok "what was flushed is there" finds qcow2 "$(path_of lab-1)" 'read -P 5 1M 64k'
ctl export stop lab-1 >/dev/null

# ---- The daemon is killed ----

ro=$(ctl export start golden)
tcp=$(ctl export start golden --tcp 127.0.0.1:0 --tls-psk "$top/alice.psk")
rw=$(ctl export start lab-1 --read-write)
ctl export start lab-2 >/dev/null
pids=$(field '.[].pid' export list)
stop_daemon KILL
gone() { local pid; for pid in $pids; do [ ! -e "/proc/$pid" ] || [ "$(awk '{ print $3 }' "/proc/$pid/stat")" = Z ] || return 1; done; }
ok "no server outlives a killed daemon" wait_for 10 gone
start_daemon
is "$(field '[.[].state] | unique | join(" ")' export list)" running "all are served again"
is "$(nbdinfo --size "$ro")" 16777216 "under the same URI"
is "$(nbdinfo --size "$tcp?tls-psk-file=$top/alice.psk")" 16777216 "and the same port, with the same keys"
ok "for writing too" qemu-io -f raw -c 'read -q -P 5 1M 64k' -c 'write -q -P 6 1M 64k' "$rw"
fails_with 4 "it is exported" "the claims are held again" ctl desktop reset lab-2 --yes
fails_with 4 "it is exported" "the writer's too" ctl desktop reset lab-1 --yes
json_ok "events tell" "$(ctlj event list)" '[.[] | select(.name == "export.restore")] | length == 4'

# A survivor: the start ends it before anything else is done.
pid=$(field '.[] | select(.name == "lab-1").pid' export list)
mark=$(grep -l "^$pid " "$state"/exports/*/server)
ok "the server's mark is kept" test -s "$mark"
stop_daemon KILL
wait_for 10 gone
sleep 1000 &
survivor=$!
keep_pid $survivor
awk -v boot="$(cat /proc/sys/kernel/random/boot_id)" '{ printf "%s %s %s", $1, $22, boot }' \
    "/proc/$survivor/stat" >"$mark"
start_daemon
ended() { ! kill -0 $survivor 2>/dev/null; }
ok "a survivor is ended by its mark" wait_for 30 ended

# Its port is taken meanwhile.
stop_daemon KILL
port=$(sed -E 's,.*127\.0\.0\.1:([0-9]+)/.*,\1,' <<<"$tcp")
python3 -c 'import socket, sys, time
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("127.0.0.1", int(sys.argv[1]))); s.listen(); print("x", flush=True); time.sleep(60)' "$port" >"$top/taken" &
keep_pid $!
taken=$!
wait_for 10 test -s "$top/taken"
start_daemon
json_ok "one that cannot be served again is reported" "$(ctlj export list)" \
    '[.[] | select(.state == "failed")] | length == 1 and (.[0].reason | test("listens"))'
kill $taken

# ---- The daemon is stopped ----

pids=$(field '.[] | .pid // empty' export list)
begin=$SECONDS
ok "a stopped daemon ends its exports" stop_daemon
ok "soon" test $((SECONDS - begin)) -le 10
ok "all of them" gone
start_daemon
is "$(field '[.[].state] | unique | join(" ")' export list)" failed "only what failed is still told of"
ctl export stop "$(field '.[0].id' export list)" >/dev/null
is "$(find "$state/exports" -mindepth 1 | wc -l)" 0 "no folder is left"
is "$(sqlite3 "$state/catalog.db" "SELECT count(*) FROM lease")" 0 "no lease"
ok "the store is in order" ctl store check
done_testing
