#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# session_vnc.t: a host whose QEMU knows no SPICE: users get VNC, on a unix socket for one client of
# theirs, or from other machines by TLS with a ticket, and a real VNC client shows the screen.
. "$(dirname "$0")/lib.sh"
. "$repo/tests/guest/libvirt.sh"

chmod 755 "$top"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$top/tls.key" -out "$top/tls.pem" -days 30 \
    -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 >/dev/null 2>&1
read -r port vnc_port < <(/usr/bin/python3 -c 'import socket
s = [socket.socket(), socket.socket()]
for one in s:
    one.bind(("127.0.0.1", 0))
print(*[one.getsockname()[1] for one in s])')
tls=("listen = 127.0.0.1:$port" "tls_cert = $top/tls.pem" "tls_key = $top/tls.key")
configure "${tls[@]}"
start_daemon || exit 1
truncate -s 64M "$top/g.raw"
ctl template import win "$top/g.raw" --format raw --memory 128M --cpus 1 >/dev/null 2>&1
ctl desktop create a --template win >/dev/null
ctl user add anna >/dev/null
ctl user add bert >/dev/null
LIBVIRT_NO_SPICE=1
libvirt_start "$top/lv" || exit 1
libvirt_host vs-a --accelerator tcg
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
head -n 1 "$top/x" >"$top/display"
DISPLAY=:$(cat "$top/display") HOME=$top timeout 300 xtigervncviewer -SecurityTypes None "$socket" >"$top/viewer.log" 2>&1 &
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
wait_for 60 host_is vs-a up
socket=$(ctl connect a --user bert | sed 's/.*vncviewer //')
(look "${socket:-none}" stay >"$top/bert2.log" 2>&1; echo 0 >>"$top/bert2.log") &
ok 'he comes again' wait_for 60 session_is connected
late=$(socket_of bert)
ok 'and asks for one more socket, which nobody opens' test -S "$late"
ok 'somebody ends it' ctl session end a --yes
ok '... he is cut off' wait_for 30 ended bert2
not_ok '... and the socket is gone' test -e "$late"
is "$(field .run desktop show a)" running 'the desktop runs on'

# ---- From another machine ----

ctl token create from-afar --user anna >"$top/token" 2>"$top/said"
remote() { IMAGED_CA_FILE=$top/tls.pem "$BUILD/imagectl" --url "https://localhost:$port" --token-file "$top/token" "$@"; }
fails_with 1 'listen_vnc' 'imaged does not serve VNC: she is told so' remote connect a
stop_daemon
configure "${tls[@]}" "listen_vnc = 127.0.0.1:$vnc_port" 'vnc_address = localhost'
ok 'a daemon that serves VNC with TLS' start_daemon
wait_for 60 host_is vs-a up
remote -o json connect a >"$top/far.json"
json_ok 'a host, a port, a password' "$(cat "$top/far.json")" \
    ".host == \"localhost\" and .port == $vnc_port and (.password | length) == 32 and .socket == null and .protocol == \"vnc\""
password=$(jq -r .password "$top/far.json")
like "$(jq -r .file "$top/far.json" | tr '\n' ' ')" "type=vnc.*host=localhost.*port=$vnc_port.*username=anna.*password=$password" 'and a file with them'
far() { local ticket=$1; shift; look "localhost:$vnc_port:$top/tls.pem:$ticket" "$@"; }
like "$(far "${password%?}" 2>&1)" 'refused: the log-in is not right' 'a part of the password is none'
like "$(far "$(tr 0-9a-f 1-9a-f0 <<<"$password")" 2>&1)" 'refused: the log-in is not right' 'nor is another'
(far "$password" keys stay >"$top/far.log" 2>&1; echo 0 >>"$top/far.log") &
ok 'with it she sees the screen, and has keys' wait_for 60 grep -q '^again' "$top/far.log"
ok 'she is connected' wait_for 30 session_is connected
is "$(field .client_address session show a)" 127.0.0.1 '... from there'
like "$(far "$password" 2>&1)" 'refused: the log-in is not right' 'the password was for once'

# What strangers say, and what they do not say.
/usr/bin/python3 - "$vnc_port" >"$top/hostile.log" 2>&1 <<'EOF'
import os, socket, sys
def come():
    s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 60)
    assert s.recv(12, socket.MSG_WAITALL) == b"RFB 003.008\n"
    return s
def rest(s):
    data = b""
    try:
        while piece := s.recv(4096):
            data += piece
    except ConnectionResetError:
        pass
    return data
for said in (b"GET / HTTP/1.1\r\n\r\n", b"RFB 003.003\n", b"RFB 003.008\n\1", b"RFB 003.008\n\x13\0\2\0\0\1\0",
             b"RFB 003.008\n\x13\0\2\0\0\1\6" + os.urandom(4000),
             b"RFB 003.008\n\x13\0\2\0\0\1\6" + b"\0\0\0\4\0\0\0\4annaanna"):
    s = come()
    s.sendall(said)
    rest(s)
silent = []
for _ in range(16):
    silent.append(come())
over = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 60)
assert rest(over) == b"", "a 17th of one address got in"
for s in silent:
    rest(s)  # until they are sent away
come()
print("fine")
EOF
is "$(cat "$top/hostile.log")" fine 'strangers are sent away, those that say nothing too, and there is room again'
is "$(field .state session show a)" connected 'she has seen nothing of them'

# TigerVNC's own client takes it over.
remote connect a --file "$top/far.vv" >/dev/null
ok 'the former client is cut off' wait_for 30 ended far
VNC_USERNAME=anna VNC_PASSWORD=$(sed -n 's/^password=//p' "$top/far.vv") DISPLAY=:$(cat "$top/display") HOME=$top timeout 300 \
    xtigervncviewer -SecurityTypes X509Plain -X509CA "$top/tls.pem" "localhost::$vnc_port" >"$top/viewer2.log" 2>&1 &
viewer=$!
keep_pid $viewer
ok "TigerVNC's client logs in by TLS" wait_for 60 session_is connected
like "$(cat "$top/viewer2.log")" 'Using pixel format|[Cc]onnected' '... and gets the screen'

# Looking on from there.
ctl role grant helpdesk anna >/dev/null
json_ok 'she looks on at her own screen, say' "$(remote -o json session shadow a)" '.state == "asked"'
remote session consent a >/dev/null
password=$(remote -o json session shadow a | jq -r .password)
(far "$password" stay >"$top/shadow.log" 2>&1; echo 0 >>"$top/shadow.log") &
ok 'the other client shows it, too' wait_for 60 grep -q '^picture' "$top/shadow.log"
password=$(remote -o json connect a | jq -r .password)
ok 'one more ticket, which nobody shows' test -n "$password"
wait "$viewer"
isnt $? 124 "... TigerVNC's client is cut off for it"
ok 'somebody ends it' ctl session end a --yes
ok '... who looks on is cut off' wait_for 30 ended shadow
like "$(far "$password" 2>&1)" 'refused: the log-in is not right' '... and the ticket is good for nothing'
done_testing
