#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# session_vnc.t: a host whose QEMU knows no SPICE: users get VNC, on a unix socket for one client of
# theirs, and a real VNC client shows the screen.
. "$(dirname "$0")/lib.sh"
. "$repo/tests/guest/libvirt.sh"
trap 'libvirt_stop; cleanup' EXIT

chmod 755 "$top"
start_daemon || exit 1
truncate -s 64M "$top/g.raw"
ctl template import win "$top/g.raw" --format raw --memory 128M --cpus 1 >/dev/null 2>&1
ctl desktop create a --template win >/dev/null
ctl user add anna >/dev/null
ctl user add bert >/dev/null
LIBVIRT_NO_SPICE=1
libvirt_start "$top/lv" || exit 1
ctl host add vs-a "qemu+unix:///system?socket=$top/lv/run/libvirt-sock" --accelerator tcg >/dev/null
host_is() { [ "$(field .state host show vs-a)" = "$1" ]; }
wait_for 60 host_is up
json_ok 'a host without SPICE' "$(ctlj host show vs-a)" '.spice == false'
ctl desktop share a anna --may-take-over >/dev/null
ctl desktop share a bert --may-take-over >/dev/null
session_is() { [ "$(field .state session show a)" = "$1" ]; }
socket_of() { ctlj connect a --user "$@" | jq -r .socket; }
look() { /usr/bin/python3 "$here/rfb_look.py" "$@"; }
ended() { grep -Eq '^(0|end)' "$top/$1.log"; }

ok 'start' ctl desktop start a
fails_with 1 'knows no SPICE' 'there is no SPICE' ctl connect a --user anna --protocol spice
post /v1/sessions '{"name": "a", "protocol": "rfb"}' >"$top/said"
like "$(http_code) $(cat "$top/said")" '^400 .*spice, vnc or rdp' 'nor what is no protocol'
socket=$(socket_of anna)
ok 'anna gets a socket' test -S "$socket"
json_ok 'her session' "$(ctlj session show a)" '.protocol == "vnc" and .state == "opening" and .user == "anna"'
(look "$socket" keys stay >"$top/anna.log" 2>&1; echo 0 >>"$top/anna.log") &
ok 'it shows the screen, and takes keys' wait_for 60 grep -q '^again' "$top/anna.log"
ok 'she is connected' wait_for 30 session_is connected
not_ok 'the socket is for one client' test -e "$socket"

# ---- From elsewhere; somebody else ----

socket=$(socket_of anna)
ok 'she comes from elsewhere: the former client is cut off' wait_for 30 ended anna
is "$(ctlj session list | jq length)" 1 'it is the same session'
mkfifo "$top/x"
Xvfb -displayfd 9 -screen 0 1280x1024x24 9>"$top/x" >"$top/x.log" 2>&1 &
keep_pid $!
DISPLAY=:$(head -n 1 "$top/x") HOME=$top timeout 300 xtigervncviewer -SecurityTypes None "$socket" >"$top/viewer.log" 2>&1 &
viewer=$!
keep_pid $viewer
ok "TigerVNC's client logs in" wait_for 60 session_is connected
like "$(cat "$top/viewer.log")" 'Using pixel format|[Cc]onnected' '... and gets the screen'
said=$(ctl connect a --user bert 2>&1)
like "$said" 'anna is on it' 'bert is told who is on it'
socket=$(socket_of bert --take-over)
ok 'he takes over' test -S "$socket"
is "$(field .user session show a)" bert 'it is his'
wait "$viewer"
isnt $? 124 'her client was cut off before'
(look "$socket" stay >"$top/bert.log" 2>&1; echo 0 >>"$top/bert.log") &
ok 'he is connected' wait_for 60 session_is connected

# ---- The daemon is killed; the end ----

kill -9 "$daemon"
wait "$daemon" 2>/dev/null
daemon=
start_daemon || exit 1
ok 'with the daemon his connection went: the session is open, and says so' wait_for 60 session_is disconnected
wait_for 60 host_is up
socket=$(ctl connect a --user bert | sed 's/.*vncviewer //')
(look "${socket:-none}" stay >"$top/bert2.log" 2>&1; echo 0 >>"$top/bert2.log") &
ok 'he comes again' wait_for 60 session_is connected
late=$(socket_of bert)
ok 'and asks for one more socket, which nobody opens' test -S "$late"
ok 'somebody ends it' ctl session end a --yes
ok '... he is cut off' wait_for 30 ended bert2
not_ok '... and the socket is gone' test -e "$late"
is "$(field .run desktop show a)" running 'the desktop runs on'
done_testing
