#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# migrate.t: desktops that run are moved between two hosts, with a SPICE client that stays connected;
# the daemon killed meanwhile, a host frozen, cut off and switched off.  The guests count on their own
# disks, and would tell if they ran twice or lost a write.
# heavy: guests under TCG
# long: 70 s
. "$(dirname "$0")/lib.sh"
. "$repo/tests/guest/vhosts.sh"
. "$repo/tests/guest/counter_guest.sh"

counter_begin 2 a b
host_of() { field .host desktop show "$1"; }
is_on() { [ "$(host_of "$1")" = "$2" ]; }
# Where it runs, by the processes; by libvirt.
on() { for n in 1 2; do vhost_guests $n | sed "s/^/h$n:/"; done | tr '\n' ' '; }
counter_flush() { local n; for n in 1 2; do vhost_virsh $n domstate a 2>/dev/null | grep -q running && vhost_flush $n a; done; }

ctl host maintenance h2 >/dev/null
ok 'start' ctl desktop start a
ctl host activate h2 >/dev/null
ok 'it counts' counter_runs "$(path_of a)"
is "$(on)" 'h1:a ' 'on the first host'
fails_with 1 'there already' 'not to where it is' ctl desktop migrate a --to h1
fails_with 1 'does not run' 'not one that is off' ctl desktop migrate b
fails_with 3 'no host' 'not to a host that is not there' ctl desktop migrate a --to h9

# ---- With a session ----

ctl user add anna >/dev/null && ctl desktop assign a anna >/dev/null
session_is() { [ "$(field .state session show a)" = "$1" ]; }
port_on() { vhost_virsh "$1" domdisplay --type spice a | sed 's/.*://; s/?.*//'; }
password_is_over() { vhost_virsh "$1" dumpxml a | grep -q "passwdValidTo='1970"; }
refused() { "$BUILD/tests/spice_client" --once --host "$(vhost_address "$1")" --port "$(port_on "$1")" --password "$2" </dev/null >"$top/late.log" 2>&1; [ $? -eq 3 ]; }
ok 'a session' ctl connect a --user anna --file "$top/anna.vv"
password=$(sed -n 's/^password=//p' "$top/anna.vv")
mkfifo "$top/viewer.in"
"$BUILD/tests/spice_client" --vv "$top/anna.vv" <"$top/viewer.in" >"$top/viewer.log" 2>"$top/viewer.err" &
viewer=$!
keep_pid $viewer
exec 9>"$top/viewer.in"
ok 'its client logs in' wait_for 60 grep -qx up "$top/viewer.log"
ok '... and is seen' wait_for 30 session_is connected
ok '... and its password ends' wait_for 90 password_is_over 1
fails_with 1 'do not come here by TLS or TCP' 'nobody looks on: no way leads there' ctl session shadow a
id=$(field .id session show a)
before=$(counter_of "$(path_of a)")
ok 'it is moved' ctl desktop migrate a
is "$(on)" 'h2:a ' 'to the other host, and is on that alone'
json_ok '... as the catalog says' "$(ctlj desktop show a)" '.host == "h2" and .run == "running"'
ok 'it counts on' counter_runs "$(path_of a)"
ok 'no write was lost' counter_is_sound "$(path_of a)" "$before"
is "$n_boots" 1 'it was not started anew'
ok 'the client goes on at the other host' wait_for 30 grep -q "^server $(vhost_address 2):" "$top/viewer.log"
json_ok 'the session is the same, on the other host' "$(ctlj session list)" "length == 1 and .[0].id == \"$id\" and .[0].host == \"h2\""
ok '... its client is seen there' wait_for 30 session_is connected
ok '... and is there still' kill -0 $viewer
unlike "$(cat "$top/viewer.log")" '^(refused|closed main)' '... never cut'
ok 'its password has ended there too' refused 2 "$password"
ok '... which disturbs nobody' session_is connected
echo quit >&9
exec 9>&-
wait $viewer
is "$?" 0 'the client ends when it wants to'
ok '... which is seen' wait_for 30 session_is disconnected
json_ok 'it is told' "$(ctlj event list)" 'any(.[]; .name == "desktop.migrate" and .message == "moved from h1 to h2")'
ok 'its user is sent to where it is now' ctl connect a --user anna --file "$top/again.vv"
like "$(cat "$top/again.vv")" "^host=$(vhost_address 2)\$" '... by the new address'
ok 'the session is ended there' ctl session end a --yes

# ---- The daemon is killed while it is moved ----

is_migrating() { [ "$(sqlite3 "$state/catalog.db" "SELECT count(*) FROM run WHERE target_host_id IS NOT NULL")" = 1 ]; }
# On one host, which is the catalog's.
agrees() { [ "$(on)" = "$(host_of a):a " ]; }
for delay in 0 0.1 0.3; do
    at=$(counter_of "$(path_of a)")
    ctl desktop migrate a --no-wait >/dev/null
    wait_for 10 is_migrating || wait_for 10 jobs_are_over
    [ $delay = 0 ] || sleep $delay # any moment will do
    stop_daemon KILL
    start_daemon || exit 1
    ok "killed $delay s after the move began: its job comes to an end" wait_for 90 jobs_are_over
    ok '... it runs on one host, which is the catalog'"'s" wait_for 20 agrees
    ok '... and counts on' counter_runs "$(path_of a)"
    ok '... no write was lost, and it never ran twice' counter_is_sound "$(path_of a)" "$at"
done

# ---- The target hangs ----

source=$(host_of a)
target=$((3 - ${source#h}))
at=$(counter_of "$(path_of a)")
vhost_freeze $target
ctl desktop migrate a --to h$target --no-wait >/dev/null 2>&1
ok 'a move to a host that hangs begins' wait_for 20 is_migrating
fails_with 1 'on already' '... it is started nowhere else' ctl desktop start a
fails_with 4 'busy' '... nor stopped' ctl desktop stop a --force
stop_daemon KILL
start_daemon || exit 1
ok '... and neither after the daemon was killed' is_migrating
vhost_thaw $target
ok 'when the host answers again, its job comes to an end' wait_for 120 jobs_are_over
ok '... it runs on one host, which is the catalog'"'s" wait_for 20 agrees
ok '... and counts on' counter_runs "$(path_of a)"
ok '... no write was lost, and it never ran twice' counter_is_sound "$(path_of a)" "$at"

# ---- The host is switched off ----

source=$(host_of a)
n=${source#h}
vhost_power_off "$n"
ok 'its host is switched off' wait_for 30 host_is "$source" down
fails_with 1 'on already' 'it is not started elsewhere: nobody knows that it is off' ctl desktop start a
fails_with 4 'busy' '... nor is its disk exchanged' ctl desktop reset a --yes
vhost_start "$n"
ok 'its host is back' wait_for 60 host_is "$source" up
ok '... and says that it is off' wait_for 30 is_run a off
ok 'start' ctl desktop start a
ok 'it counts' counter_runs "$(path_of a)"
ok 'it never ran twice' counter_is_sound "$(path_of a)"

# ---- A host is emptied ----

source=$(host_of a)
target=$((3 - ${source#h}))
ctl network add exam --isolated >/dev/null && ctl desktop set b --network exam >/dev/null
ctl host maintenance h$target >/dev/null
ok 'another one, on a network of its host alone' ctl desktop start b
ctl host activate h$target >/dev/null
unlike "$(vhost_virsh $target net-list)" 'imaged-' 'the other host has not got it'
ok 'a host is emptied' ctl host maintenance "$source" --evacuate
is "$(on)" "$([ $target = 1 ] && echo 'h1:a h1:b ' || echo 'h2:a h2:b ')" 'both run on the other one, alone'
like "$(vhost_virsh $target net-list)" 'imaged-.* active' '... whose network was made first'
ok 'stop' ctl desktop stop b --force
ok 'it counts on' counter_runs "$(path_of a)"

# ---- One that runs is re-imaged ----

ctl host activate "$source" >/dev/null
at=$(counter_of "$(path_of a)")
old=$(path_of a)
fails_with 4 'busy' 'one that runs is not re-imaged' ctl desktop reset a --yes
ok '... unless it may be stopped' ctl desktop reset a --stop --yes
isnt "$(path_of a)" "$old" 'it has another disk'
ok '... on which it counts' counter_runs "$(path_of a)"
counter_read "$(path_of a)"
is "$n_boots" 1 '... from the beginning'
ok '... and runs on one host' agrees
ctl desktop reset a --stop --yes --no-wait >/dev/null
stop_daemon KILL
start_daemon || exit 1
ok 'killed in it: its job comes to an end' wait_for 90 jobs_are_over
ok '... it runs on one host, which is the catalog'"'s" wait_for 20 agrees
ok '... and counts' counter_runs "$(path_of a)"
ok '... alone' counter_is_sound "$(path_of a)"
json_ok 'both former disks can be brought back' "$(ctlj trash list)" '[.[] | select(.desktop == "a" or .name == "a")] | length >= 2'

# ---- What UEFI keeps ----

ctl desktop stop a --force >/dev/null
ctl desktop create u --template count --firmware uefi --nvram keep --memory 128M >/dev/null
kept=$store/config/$(field .id desktop show u)-1.nvram
has_written() { ! cmp -s "$kept" /usr/share/OVMF/OVMF_VARS_4M.fd; }
ok 'one whose UEFI keeps its variables' ctl desktop start u
ok '... and writes them' wait_for 120 has_written
source=$(host_of u)
target=$((3 - ${source#h}))
ok '... is moved' ctl desktop migrate u --to h$target
is "$(on)" "h$target:u " '... and is on the other host alone'
like "$(vhost_virsh $target dumpxml u)" "<source file='$kept'" '... with the same file'
# The variables as the guest sees them: below the code, at the end of the first 4 GiB.
flash_is_kept() {
    vhost_virsh $target qemu-monitor-command u "{\"execute\": \"pmemsave\", \"arguments\":
        {\"val\": $((0xffc00000)), \"size\": $(stat -c %s "$kept"), \"filename\": \"$top/flash\"}}" && cmp "$kept" "$top/flash"
}
ok '... which is what the guest has' wait_for 60 flash_is_kept
ok '... and not a blank one' has_written
ctl desktop stop u --force >/dev/null
ok '... and is on again after a stop' ctl desktop start u
ok 'the check is clean' check_is_clean
done_testing
