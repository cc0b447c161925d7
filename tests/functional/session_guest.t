#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# session_guest.t: what a guest's agent does for sessions: who logs off ends his, who shuts down does,
# too, messages get there, and RDP clients are told the guest's own address.  The agent is QEMU's own,
# in a guest that has hardly anything else.
# heavy: a guest under TCG
# long: 50 s
. "$(dirname "$0")/lib.sh"
. "$repo/tests/guest/libvirt.sh"

chmod 755 "$top"
start_daemon || exit 1
"$repo/tests/guest/make-golden.sh" --agent "$top/g.raw" "$BUILD/cache/golden" >"$top/said" 2>&1 || { cat "$top/said"; exit 1; }
ctl template import office "$top/g.raw" --format raw --memory 128M --cpus 1 >/dev/null 2>&1
ctl desktop create a --template office >/dev/null
ctl user add anna >/dev/null
libvirt_start "$top/lv" || exit 1
libvirt_host vs-a --accelerator tcg
ctl desktop assign a anna >/dev/null
session_is() { [ "$(field .state session show "$1")" = "$2" ]; }
events() { ctlj event list | jq -r '.[] | select(.name == "'"$1"'") | .severity + " " + .message'; }
# The guest's list of who is logged in, with this user or nobody.
logged_in()
{
    guest_run a "echo $(/usr/bin/python3 - "$@" <<'P'
import base64, struct, sys
print(base64.b64encode(b"".join(
    struct.pack("<hxxi32s4s32s256shhiii16s20x", 7, 99, b"tty1", b"1", name.encode(), b"", 0, 0, 0, 1790000000, 0, b"")
    for name in sys.argv[1:])).decode())
P
    ) | base64 -d >/run/utmp"
}
has_logged_in() { [ "$(field .logged_in_at session show a)" != null ]; }

# ---- Messages ----

ok 'connect' ctl connect a --user anna --file "$top/a.vv"
fails_with 1 'not delivered to anna: .*agent' 'before the agent is there a message is not delivered' ctl session message a 'too early'
like "$(events session.message)" '^warning not delivered to anna .*: too early' '... and that is written down'
ok 'its agent' guest_wait a 120
ok 'a message' ctl session message a "it's \"late\"; \$(reboot)"
told() { guest_run a 'cat /wall' | grep -qxF "it's \"late\"; \$(reboot)"; }
ok '... gets there, as it is' wait_for 60 told
like "$(events session.message)" '^info to anna: it.s "late"' '... and that is written down'

# ---- A snapshot: its file systems are at rest in that moment, and go on ----

freezing() { agent a "{\"execute\":\"guest-fsfreeze-$1\"}" | jq -r .return; }
ok 'a file system of its disk' guest_run a 'mount -t ext4 /dev/vda2 /data || grep -q " /data " /proc/mounts'
ok 'a snapshot while it runs' ctl snapshot create a one
like "$(events snapshot.create)" 'while it ran, its file systems at rest' '... with the help of the agent'
is "$(freezing status)" thawed '... which let them go on'
ok '... and the guest writes' guest_run a 'echo 1 >/data/after && sync'
like "$(freezing freeze)" '^[1-9]' 'a host that died in the middle of one has left them at rest'
is "$(freezing status)" frozen '... so nothing is written'
ok 'the next snapshot' ctl snapshot create a two
is "$(freezing status)" thawed '... lets them go on'
ok '... and the guest writes' guest_run a 'echo 2 >/data/after && sync'
ok 'both snapshots are deleted while it runs' ctl snapshot delete a one two --yes
ok '... and the guest writes' guest_run a 'echo 3 >/data/after && sync && grep -x 3 /data/after && umount /data'

# ---- Log-off ----

ok 'its user again' ctl connect a --user anna --file "$top/a.vv"
mkfifo "$top/in"
"$BUILD/tests/spice_client" --vv "$top/a.vv" <"$top/in" >"$top/a.log" 2>&1 &
viewer=$!
keep_pid $viewer
exec {hold}>"$top/in"
ok 'a client' wait_for 60 grep -qx up "$top/a.log"
ok 'somebody logs in' logged_in anna
ok '... which is known after a while' wait_for 60 has_logged_in
ok 'he is connected' session_is a connected
kill -9 "$daemon"
wait "$daemon" 2>/dev/null
daemon=
ok 'he logs off while no daemon runs' logged_in
id=$(sqlite3 -readonly "$state/catalog.db" "SELECT id FROM session WHERE ended_at IS NULL")
start_daemon || exit 1
is_ended() { [ "$(field .state session show "$id")" = ended ]; }
ok 'that ends his session' wait_for 60 is_ended
is "$(field .reason session show "$id")" 'logged off' 'why'
ok 'his client is cut off' wait_for 30 grep -q '^closed main' "$top/a.log"
is "$(field .run desktop show a)" running 'a desktop of his own runs on'

# ---- The end of a lease ----

ok 'a lease' ctl desktop assign a anna --until 2099-01-31
sqlite3 -cmd '.timeout 10000' "$state/catalog.db" "UPDATE assignment SET lease_until = (strftime('%s') + 300) * 1000 WHERE lease_until IS NOT NULL"
ctl pool create wakes --template office --size 0 >/dev/null # the keeper
told_of_end() { guest_run a 'cat /wall' | grep -q 'This desktop is yours until .*Save your work'; }
ok 'five minutes before its end its user is told in the guest' wait_for 60 told_of_end
warned() { events lease.warning | grep -q 'anna: until .*told in the guest'; }
ok '... and that is written down' wait_for 60 warned
ok 'it is hers for good' ctl desktop assign a anna

# ---- A roll-out that waits for the agent ----

ctl template import office "$top/g.raw" --format raw --memory 128M --cpus 1 >/dev/null 2>&1
ok 'a roll-out, with its health by the agent' ctl rollout start --template office --to 2 a --when now --health agent --health-timeout 300s --yes
json_ok '... finds it healthy' "$(ctlj rollout show office-2 --desktops)" 'length == 1 and .[0].health == "ok" and .[0].state == "moved"'
is "$(field '.version, .run' desktop show a | xargs)" '2 running' '... and it runs on the new version'
ok '... from which the agent answered' guest_run a '! [ -e /run/utmp ] || ! grep -q anna /run/utmp'

# ---- RDP ----

ok 'it is a Windows from now on, as far as we know' ctl template set office --profile windows
fails_with '[0-9]*' 'address' 'RDP takes an address' ctl connect a --user anna --protocol rdp --file "$top/a.rdp"
ok 'it has one' guest_run a 'ip addr add 10.9.8.7/24 dev lo'
ok 'connect' ctl connect a --user anna --protocol rdp --file "$top/a.rdp"
is "$(tr -d '\r' <"$top/a.rdp" | head -n 2)" $'full address:s:10.9.8.7:3389\nusername:s:anna' 'the file says where'
is "$(grep -c $'\r$' "$top/a.rdp")" "$(wc -l <"$top/a.rdp")" 'lines end as Windows wants it'
json_ok 'the session' "$(ctlj session show a)" '.protocol == "rdp" and .state == "opening"'
id=$(field .id session show a)
ok 'he logs in' logged_in anna
ok '... and is connected' wait_for 60 session_is a connected

# ---- Shutdown ----

agent a '{"execute":"guest-shutdown","arguments":{"mode":"powerdown"}}'
ok 'he shuts the guest down: that ends his session' wait_for 60 is_ended
like "$(field .reason session show "$id")" 'switched off' 'why'
is "$(field .run desktop show a)" off 'the desktop is off'
done_testing
