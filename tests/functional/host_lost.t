#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# host_lost.t: a host hangs, is cut off, is without power, comes back: the other one is as fast as ever,
# nothing is started that may still run, and what an admin has declared off never runs beside its
# successor.  libvirtd started anew under desktops that run.  The guests count on their own disks, and
# would tell if they ran twice or lost a write.
# heavy: guests under TCG
# long: 55 s
. "$(dirname "$0")/lib.sh"
. "$repo/tests/guest/vhosts.sh"
. "$repo/tests/guest/counter_guest.sh"

counter_begin 2 a b c
ctl user add anna >/dev/null && ctl desktop assign a anna >/dev/null
# HOST:DESKTOP, by the processes; by the catalog.
on_hosts() { for n in 1 2; do vhost_guests $n | sed "s/^/h$n:/"; done | sort | xargs; }
in_catalog() { ctlj desktop list | jq -r '.[] | select(.run != "off") | .host + ":" + .name' | sort | xargs; }
agrees() { jobs_are_over && [ "$(on_hosts)" = "$(in_catalog)" ]; }
flushed=
counter_flush() { [ -z "$flushed" ] || vhost_flush "$flushed" a; }
runs_on() { flushed=$1; counter_runs "$(path_of a)"; }
told() { ctlj event list | jq -e --arg n "$1" --arg m "$2" 'any(.[]; .name == $n and (.message | test($m)))'; }
ctl host maintenance h2 >/dev/null
ok 'one desktop on the first' ctl desktop start a
ctl host activate h2 >/dev/null
ok 'it counts' runs_on 1

# ---- It hangs ----

fails_with 4 'answers: it is not off' 'a host that answers is not declared off' ctl host fence h1 --yes
# The longest of some rounds of what others do meanwhile, in ms.
longest()
{
    local i from took most=0
    for i in 1 2 3 4; do
        from=$(date +%s%N)
        ctl desktop list >/dev/null && ctl host list >/dev/null && ctl desktop start b >/dev/null && ctl desktop stop b --force >/dev/null || { echo failed; return; }
        took=$((($(date +%s%N) - from) / 1000000))
        [ $took -gt $most ] && most=$took
    done
    echo $most
}
ctl host maintenance h1 >/dev/null # so that b is started on the other one
before=$(longest)
vhost_freeze 1
during=$(longest)
diag "list, start and stop on the other host: at most $before ms, and $during ms while the first one hangs"
ok 'the other host is as fast as ever' [ "$during" -le $((before * 3 + 1500)) ]
ok 'it is down' wait_for 30 host_is h1 down
fails_with 1 'on already' 'what it ran is started nowhere else' ctl desktop start a
fails_with 1 'does not answer' '... nor is it stopped' ctl desktop stop a --force
fails_with 1 'does not answer|did not answer' '... or suspended' ctl desktop suspend a
ctl snapshot create a hung --no-wait >/dev/null 2>&1
stop_daemon KILL
start_daemon || exit 1
fails_with '[14]' 'on already|busy' '... also not by a manager that was started meanwhile' ctl desktop start a
vhost_thaw 1
ok 'it answers again' wait_for 60 hosts_up
ok 'all is as the catalog says' wait_for 60 agrees
ok '... it counts on' runs_on 1
ok '... and never ran twice' counter_is_sound "$(path_of a)"
ctl host activate h1 >/dev/null

# A start that it did not answer.
ctl host maintenance h2 >/dev/null
vhost_freeze 1
fails_with 1 'c' 'a start on a host that hangs' ctl desktop start c
ctl host activate h2 >/dev/null
fails_with '[14]' 'on already|busy|no host' '... is no start elsewhere' ctl desktop start c
vhost_thaw 1
ok 'it answers again' wait_for 60 hosts_up
ok '... and tells what became of it' wait_for 60 agrees
ok 'then it can be started, if it is off' eval 'is_run c running || ctl desktop start c'
ctl desktop stop c --force >/dev/null

# ---- It hangs, and is declared off although it is not ----

vhost_freeze 1
ok 'it is down' wait_for 30 host_is h1 down
at=$(flushed='' counter_of "$(path_of a)")
fails_with 2 'no proof that it is off' 'nobody declares it off by mistake' ctl host fence h1
is "$(field .fenced_at host show h1)" null '... nothing is changed'
fails_with '[14]' 'lock' "its desktop is not started: QEMU finds its disk in use" ctl host fence h1 --restart --yes
ok 'it is off, as the admin said' is_run a off
json_ok '... as its host is' "$(ctlj host show h1)" '.state == "fenced" and .fenced_at != null and .n_desktops == 0'
stop_daemon KILL
start_daemon || exit 1
json_ok '... also after a restart' "$(ctlj host show h1)" '.state == "fenced"'
ok 'where the disk is in use, it is not started' eval '! ctl desktop start a'
vhost_thaw 1
ok 'it comes back' wait_for 60 host_is h1 up
is "$(on_hosts)" '' '... and what ran there is ended'
ok '... which is told' told host.return 'still ran there, and were ended: a'
ok 'then it is started' ctl desktop start a
ok '... and counts on' runs_on "$(n=$(field .host desktop show a); echo "${n#h}")"
ok '... it never ran twice' counter_is_sound "$(path_of a)" "$at"
ctl desktop stop a --force >/dev/null
ctl host maintenance h2 >/dev/null
ctl desktop start a >/dev/null
ctl host activate h2 >/dev/null

# ---- It is cut off ----

ok 'it counts' runs_on 1
vhost_cut 1
ok 'a host that is cut off is down' wait_for 30 host_is h1 down
fails_with 1 'on already' 'its desktop is not started elsewhere' ctl desktop start a
at=$(flushed='' counter_of "$(path_of a)")
vhost_join 1
ok 'it is back' wait_for 60 host_is h1 up
ok '... with its desktop' wait_for 30 is_run a running
ok '... that counts on' runs_on 1
ok '... and was never elsewhere' counter_is_sound "$(path_of a)" "$at"

# ---- It is without power ----

vhost_virsh 1 dumpxml a >"$top/a.xml"
at=$(counter_of "$(path_of a)")
vhost_power_off 1
ok 'a host without power is down' wait_for 30 host_is h1 down
fails_with 1 'on already' 'its desktop is not started elsewhere' ctl desktop start a
ok '... until it is declared off: it runs elsewhere' ctl host fence h1 --restart --yes
is "$(on_hosts)" 'h2:a' '... there alone'
is "$(in_catalog)" 'h2:a' '... as the catalog says'
ok '... and counts on' runs_on 2
ok '... it never ran twice' counter_is_sound "$(path_of a)" "$at"
json_ok '... all that is told' "$(ctlj event list)" 'any(.[]; .name == "host.fence" and .object == "h1") and any(.[]; .name == "desktop.off" and .message == "its host was declared off")'
ok 'a second time changes nothing' ctl host fence h1 --yes
is "$(on_hosts)" 'h2:a' '... it runs on'
fails_with 1 'no host can take it' 'it is not moved to the one that is off' ctl desktop migrate a --to h1

# It comes back, and runs what it ran before (with another disk, which here would be locked).
stop_daemon KILL
{
    echo '<domain type="qemu"><memory unit="MiB">16</memory><os><type arch="x86_64">hvm</type></os>'
    sed -n '/<name>/p; /<uuid>/p; /<metadata>/,/<\/metadata>/p' "$top/a.xml"
    echo '</domain>'
} >"$top/old.xml"
vhost_start 1 || exit 1
ok 'somebody starts there what ran there' vhost_virsh 1 create "$top/old.xml"
is "$(on_hosts)" 'h1:a h2:a' '... beside its successor'
start_daemon || exit 1
ok 'it is like other hosts again' wait_for 60 hosts_up
is "$(on_hosts)" 'h2:a' '... when only the one is left that the catalog knows'
is "$(in_catalog)" 'h2:a' '... and that was not taken for another'
ok '... which counts on' runs_on 2
counter_read "$(path_of a)"
diag "$n_boots boots"

# ---- libvirtd is started anew ----

kill_libvirtd() { local p; for p in $(vhost_processes 2); do [ "$(cat "/proc/$p/comm")" = libvirtd ] && kill -"$1" "$p"; done; }
boots=$n_boots
kill_libvirtd KILL
first=$(pgrep -P "${vhost_pids[2]}")
nsenter -a -t "$first" sh -c 'rm -f /run/libvirt/*.pid; exec libvirtd -d --listen --config /etc/libvirt/libvirtd.conf --pid-file /run/libvirt/d.pid' >/dev/null 2>&1
ok 'libvirtd is killed and started: the host is up again' wait_for 60 host_is h2 up
ok '... and its desktop runs on' wait_for 30 is_run a running
ok '... and counts' runs_on 2
counter_read "$(path_of a)"
is "$n_boots" "$boots" '... not started anew'
ok 'its user gets it on screen' ctl connect a --user anna --file "$top/a.vv"
ok '... with a real client' "$BUILD/tests/spice_client" --once --limit 60 --vv "$top/a.vv"
vhost_virsh 2 destroy a >/dev/null
ok 'its end is noticed' wait_for 20 is_run a off
ok 'and it can be started' ctl desktop start a
ok '... alone' agrees
flushed=
ok 'it never ran twice' counter_is_sound "$(path_of a)"
ctl desktop stop a --force >/dev/null
ok 'the check is clean' check_is_clean
done_testing
