#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# pool_runs.t: pools on two real hosts: spares that wait, sessions that end and desktops that come back
# clean, whatever was done in between; leases and what their ends do.  The guests count on their own
# disks how often they were booted and how far they got: who finds more than his own has somebody's disk.
# heavy: guests under TCG
# long: 95 s
. "$(dirname "$0")/lib.sh"
. "$repo/tests/guest/vhosts.sh"
. "$repo/tests/guest/counter_guest.sh"

counter_begin 2
for u in anna bert; do ctl user add "$u" >/dev/null; done

sql() { sqlite3 -cmd '.timeout 10000' "$state/catalog.db" "$1"; }
member() { ctlj pool show "$1" --desktops | jq -r "$2"; }
# one POOL FILTER: of the pool's desktops one is so.
one() { member "$1" "[.[] | select($2)] | length == 1" | grep -qx true; }
none() { member "$1" "[.[] | select($2)] | length == 0" | grep -qx true; }
connect() # POOL USER: the desktop's name; what the client reads is in USER.vv
{
    local said
    said=$(ctlj connect "$1" --user "$2") && jq -j .file <<<"$said" >"$top/$2.vv" && jq -r .desktop <<<"$said"
}
guest=
counter_flush() # the one that is looked at
{
    local host
    host=$(field .host desktop show "$guest")
    if [ "$host" != null ]; then vhost_flush "${host#h}" "$guest"; fi
}
# boots DESKTOP: how often the disk that it has now was booted.
boots() { guest=$1; counter_read "$(path_of "$1")" && echo "$n_boots"; }
booted() { [ "$(boots "$1")" = "$2" ]; }
# Anna's work, in her guest: it counts.
work() { guest=$1; counter_runs "$(path_of "$1")"; }
file_of() { find "$store/config" -name '*.mem' 2>/dev/null | wc -l; }
restart() # kill -9, and again
{
    kill -9 "$daemon"
    wait "$daemon" 2>/dev/null
    daemon=
    start_daemon && wait_for 60 hosts_up
}
# over DESKTOP: its lease was over an hour ago, warned of or not.
over()
{
    sql "UPDATE pool_desktop SET lease_until = (strftime('%s') - ${2:-3600}) * 1000 WHERE desktop_id IN (SELECT id FROM desktop WHERE name = '$1');
        UPDATE assignment SET lease_until = (strftime('%s') - ${2:-3600}) * 1000 WHERE desktop_id IN (SELECT id FROM desktop WHERE name = '$1')"
    ctl pool set wake --warn "$((RANDOM % 100 + 1))m" >/dev/null
}
# cut_off PID: that client ends, since it was cut off.
ends() { ! kill -0 "$1"; }
cut_off() { wait_for 60 ends "$1" || return; wait "$1"; [ $? -eq 5 ]; }
ctl pool create wake --template count --size 0 >/dev/null # its changes wake the keeper

# ---- Leases whose ends take their time: looked at below ----

ok 'a time-based pool' ctl pool create late --template count --size 1 --type time-based --lease 8h --warn 10m --grace 5m --end-action log-off
ctl pool grant late --user anna >/dev/null
ok 'its desktop' wait_for 60 one late '.state == "free"'
is "$(connect late anna)" late-001 'is given, and started'
json_ok '... for as long as the lease says' "$(ctlj pool show late --desktops)" '(.[0].lease_until | fromdate) - now > 7.9 * 3600 and (.[0].lease_until | fromdate) - now < 8 * 3600 + 1'
sql "UPDATE pool_desktop SET lease_until = (strftime('%s') + 300) * 1000 WHERE user_id IS NOT NULL"
ctl pool set wake --warn 1m >/dev/null
told() { ctlj event list | jq -e 'any(.[]; .name == "lease.warning" and .object == "late-001" and (.message | test("anna: until .*not delivered: .*agent")))'; }
ok 'five minutes before its end she is told; without an agent it is said that she was not' wait_for 60 told
over late-001 60
is "$(member late '.[0].state + " " + .[0].user')" 'given anna' 'in her time of grace it is hers'
mkfifo "$top/late.in"
"$BUILD/tests/spice_client" --vv "$top/anna.vv" <"$top/late.in" >"$top/late.log" 2>&1 &
late=$!
keep_pid $late
exec 8>"$top/late.in"
ok '... and she is on it' wait_for 60 grep -qx up "$top/late.log"
before=$(boots late-001)
over late-001
ok 'when it is over she is cut off' cut_off $late
exec 8>&-
fails_with 5 'lease is over' '... and not let in while it is being shut down' ctl connect late --user anna --file "$top/x.vv"

# ---- Automatic, with a spare ----

ok 'an automatic pool with a spare' ctl pool create lab --template count --size 2 --spares 1
ctl pool grant lab --user anna --user bert >/dev/null
ok 'one of its desktops waits switched on' wait_for 60 one lab '.state == "free" and .run == "running"'
spare=$(member lab '.[] | select(.run == "running") | .name')
from=$(date +%s%N)
hers=$(connect lab anna)
diag "connect to a spare took $((($(date +%s%N) - from) / 1000000)) ms"
is "$hers" "$spare" 'who connects gets that one'
ok 'another one is started in its place' wait_for 60 one lab '.state == "free" and .run == "running"'
ok 'she works' work "$hers"
mkfifo "$top/anna.in"
"$BUILD/tests/spice_client" --vv "$top/anna.vv" <"$top/anna.in" >"$top/anna.log" 2>&1 &
anna=$!
keep_pid $anna
exec 9>"$top/anna.in"
ok 'she is on it' wait_for 60 grep -qx up "$top/anna.log"
his=$(connect lab bert)
isnt "$his" "$hers" 'another user gets another one'
is "$(connect lab bert)" "$his" '... and the same again'
fails_with 5 'at most 1' 'not a second one beside it' ctl connect lab --user bert --another --file "$top/x.vv"

# ---- Ways around it, while she has it ----

ok 'she takes a snapshot of her work' ctl snapshot create "$hers" hers
ok 'an admin restarts her desktop' ctl desktop restart "$hers"
for n in 1 2; do vhost_virsh $n reset "$hers" >/dev/null 2>&1; done
ok 'its guest is restarted from inside' wait_for 30 booted "$hers" 2
ok 'it is moved to the other host' ctl desktop migrate "$hers"
is "$(member lab ".[] | select(.name == \"$hers\") | .state + \" \" + .user")" 'given anna' 'it is hers all the while'
fails_with '[45]' '' 'nobody deletes it' ctl desktop delete "$hers" --yes
fails_with 4 '' 'nor serves it for writing' ctl export start "$hers" --read-write
ok 'her memory is saved' ctl desktop suspend "$hers"
ok '... and her session over' wait_for 60 one lab ".name == \"$hers\" and .state == \"free\""
is "$(sql 'SELECT count(*) FROM suspension s JOIN desktop d ON d.id = s.desktop_id AND d.generation = s.generation')" 0 'her memory fits her disk alone'
fails_with '[45]' '' 'her snapshot does not come back' ctl snapshot revert "$hers" hers --yes
not_ok '... nor her disk' ctl desktop undo-reset "$hers" --yes
ok 'she is cut off' cut_off $anna
exec 9>&-
ok 'it is started as the spare' wait_for 60 one lab ".name == \"$hers\" and .run == \"running\""
ok 'she comes again' [ "$(connect lab anna)" = "$hers" ]
ok 'to a disk that was booted once' wait_for 30 booted "$hers" 1

# ---- Its session ends; the manager is killed in between ----

generation=$(field .generation desktop show "$hers")
work "$hers"
mkfifo "$top/anna2.in"
"$BUILD/tests/spice_client" --vv "$top/anna.vv" <"$top/anna2.in" >"$top/anna.log" 2>&1 &
anna=$!
keep_pid $anna
exec 9>"$top/anna2.in"
ok 'a client' wait_for 60 grep -qx up "$top/anna.log"
(ctl session end "$hers" --yes >/dev/null 2>&1) &
ending=$!
returning() { [ "$(sql "SELECT m.state FROM pool_desktop m JOIN desktop d ON d.id = m.desktop_id WHERE d.name = '$hers'")" != given ]; }
ok 'her session ends' wait_for 30 returning
ok 'the manager is killed just then' restart
wait $ending
ok 'she was cut off' cut_off $anna
exec 9>&-
ok 'all the same it comes back' wait_for 60 one lab ".name == \"$hers\" and .state == \"free\" and .user == null"
ok '... with another disk' [ "$(field .generation desktop show "$hers")" -gt "$generation" ]
ok 'his was not touched' one lab ".name == \"$his\" and .state == \"given\" and .user == \"bert\" and .run == \"running\""
ctl pool revoke lab --user bert >/dev/null
fails_with 3 'no desktop or pool' 'who it is taken from does not get in' ctl connect lab --user bert --file "$top/x.vv"
ctl pool grant lab --user bert >/dev/null

# ---- Manual ----

ok 'a manual pool' ctl pool create desk --template count --size 1 --type manual
ctl pool grant desk --user anna --user bert >/dev/null
ok 'its desktop' wait_for 60 one desk '.state == "free"'
connect desk anna >/dev/null
ok 'she works' work desk-001
ok 'her session ends' ctl session end desk-001 --yes
is "$(member desk '.[0].state + " " + .[0].user + " " + .[0].run')" 'given anna running' 'it stays hers, and on'
fails_with 4 'is free' 'another one gets none' ctl connect desk --user bert --file "$top/x.vv"
is "$(connect desk anna)" desk-001 'she comes again'
fails_with 2 'yes' 'a return wants a yes' ctl pool return desk desk-001
ok 'it is returned, while it runs' ctl pool return desk desk-001 --yes
ok '... and free' wait_for 60 one desk '.state == "free" and .run == "off"'
is "$(connect desk bert)" desk-001 'now he gets it'
ok '... with a disk that was booted once' wait_for 30 booted desk-001 1
is "$(sql 'SELECT count(*) FROM (SELECT 1 FROM attachment a GROUP BY desktop_id, generation HAVING count(DISTINCT user_id) > 1)')" 0 \
    'no disk has seen two users'

# ---- Leases: suspended, archived ----

mkdir "$top/archive"
ctl archive target add vault "$top/archive" >/dev/null
fails_with 2 'archive target' 'what archives says where' ctl pool create x --template count --size 1 --type time-based --lease 2h --end-action archive
for how in suspend archive; do
    ctl pool create $how --template count --size 1 --type time-based --lease 2h --end-action $how --archive-target vault >/dev/null
    ctl pool grant $how --user anna >/dev/null
    wait_for 60 one $how '.state == "free"'
    is "$(connect $how anna)" $how-001 "a lease whose end is: $how"
    work $how-001
done
generation=$(field .generation desktop show archive-001)
over archive-001
over suspend-001
ok 'one is suspended' wait_for 90 is_run suspend-001 suspended
is "$(file_of)" 1 '... its memory in a file of the store'
guest=suspend-001
count=$(counter_of "$(path_of suspend-001)")
ok 'the other one is archived, and free' wait_for 90 one archive '.state == "free" and .user == null'
json_ok '... in the target' "$(ctlj archive list)" 'any(.[]; .name == "archive-001" or .desktop == "archive-001")'
ok '... with another disk' [ "$(field .generation desktop show archive-001)" -gt "$generation" ]
reconnects() { connect suspend anna | grep -qx suspend-001; }
ok 'she comes to the suspended one in another lease' wait_for 60 reconnects
ok 'which goes on where it was' wait_for 30 counter_is_beyond "$(path_of suspend-001)" "$count"
is "$(boots suspend-001)" 1 '... not booted again'
suspension() { sql "SELECT count(*) FROM lease_end e JOIN desktop d ON d.id = e.desktop_id WHERE d.name = '$1'"; }

# ---- A lease on one's own desktop ----

ctl desktop create fin-01 --template count >/dev/null
fails_with 2 'no end' 'terms without an end' ctl desktop assign fin-01 anna --end-action suspend
ok 'assigned until a date' ctl desktop assign fin-01 anna --until 2099-01-31 --end-action suspend --max-extensions 1 --extension 2h
json_ok '... which is told' "$(ctlj desktop assignments fin-01)" '.[0] | .until == "2099-01-31T23:59:59Z" and .end_action == "suspend" and .max_extensions == 1 and .n_extensions == 0'
ok 'extended' ctl desktop extend fin-01
is "$(field '.[0].until' desktop assignments fin-01)" 2099-02-01T01:59:59Z 'by as much as was said'
fails_with 5 'all that its terms allow' 'and once' ctl desktop extend fin-01
is "$(connect fin-01 anna)" fin-01 'she connects'
ok 'she works' work fin-01
over fin-01
ok 'it is suspended' wait_for 90 is_run fin-01 suspended
is "$(ctlj desktop assignments fin-01)" '[]' 'and nobody has it'
json_ok 'her session is over' "$(ctlj session list --desktop fin-01 --all)" 'all(.[]; .state == "ended" and (.reason | test("lease is over")))'
fails_with 3 "no desktop or pool" 'she does not get in' ctl connect fin-01 --user anna --file "$top/x.vv"
done_with() { [ "$(suspension fin-01)" = 0 ]; }
ok 'nothing of it is left to do' wait_for 30 done_with
generation=$(field .generation desktop show fin-01)
ok 'to another one' ctl desktop assign fin-01 bert --until 2099-01-31 --end-action archive --archive-target vault
over fin-01
archived() { ctlj archive list | jq -e 'any(.[]; .name == "fin-01" or .desktop == "fin-01")'; }
ok 'at the end it is archived' wait_for 90 archived
fresh() { [ "$(field .generation desktop show fin-01)" -gt "$generation" ]; }
ok '... and laid fresh' wait_for 90 fresh
ok 'shared by two, once the end of that is over' wait_for 60 ctl desktop share fin-01 anna
ctl desktop share fin-01 bert >/dev/null
connect fin-01 anna >/dev/null
ok 'taken from who is on it' ctl desktop unassign fin-01 anna
ended() { [ "$(ctlj session list --desktop fin-01)" = '[]' ]; }
ok '... her session ends' wait_for 30 ended
is "$(run_of fin-01)" running '... and it stays on'

# ---- The one that was to shut down ----

ok 'a guest that does not listen is switched off' wait_for 150 is_run late-001 off
is "$(member late '.[0].state + " " + .[0].user')" 'given anna' 'the desktop stays hers, for another time'
closed() { [ "$(suspension late-001)" = 0 ]; }
ok 'then she is let in again' wait_for 30 closed
is "$(connect late anna)" late-001 'to her own desktop'
ok '... and her own disk' wait_for 30 booted late-001 $((before + 1))

ok 'a pool with what is given' ctl pool delete lab --force --yes
gone() { ! ctl pool show lab; }
ok '... goes, sessions and all' wait_for 60 gone
is "$(ctlj desktop list --prefix lab- | jq length)" 0 'nothing of it is left'
ctl desktop stop --all-of-prefix '' --force >/dev/null 2>&1
for d in $(ctlj desktop list | jq -r '.[] | select(.run != "off" and .run != "suspended") | .name'); do ctl desktop stop "$d" --force >/dev/null; done
ok 'every byte is accounted for' check_is_clean
stop_daemon
done_testing
