#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# sessions.t: users on their desktops, with a real libvirtd, QEMU and SPICE client: the password of
# the .vv lets one client in and then nobody; the session follows its user, survives a broken
# connection and a killed daemon, and is ended by who may.  The guests have no system.
. "$(dirname "$0")/lib.sh"
. "$repo/tests/guest/libvirt.sh"
viewer=$BUILD/tests/spice_client

chmod 755 "$top"
mkdir -m 755 "$top/tls"
(cd "$top/tls" && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca-key.pem \
    -out ca-cert.pem -days 30 -subj '/CN=test authority' &&
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout server-key.pem -out server.csr \
        -subj '/O=site/CN=vs-a' &&
    openssl x509 -req -in server.csr -CA ca-cert.pem -CAkey ca-key.pem -CAcreateserial -days 30 -out server-cert.pem) \
    >"$top/said" 2>&1 || { cat "$top/said"; exit 1; }
LIBVIRT_SPICE_TLS=$top/tls
start_daemon || exit 1
truncate -s 64M "$top/g.raw"
ctl template import win "$top/g.raw" --format raw --memory 128M --cpus 1 >/dev/null 2>&1
ctl desktop create a b --template win >/dev/null
for u in anna bert carl nobody; do ctl user add "$u" >/dev/null; done
user_id() { field .id user show "$1"; }
assign() { # DESKTOP USER MAY_TAKE_OVER
    sqlite3 "$state/catalog.db" "INSERT INTO assignment (desktop_id, user_id, is_owner, may_take_over,
        created_at) SELECT id, '$(user_id "$2")', 0, $3, 0 FROM desktop WHERE name = '$1'"
}
assign a anna 0
assign a bert 1
assign b nobody 0
libvirt_start "$top/lv" || exit 1
libvirt_host vs-a --accelerator tcg

connect() { ctl connect "$1" --user "$2" --file "$top/$3" "${@:4}"; }
session_is() { [ "$(field .state session show "$1")" = "$2" ]; }
n_attached() {
    sqlite3 -readonly "$state/catalog.db" "SELECT count(*) FROM attachment JOIN desktop d ON
        d.id = desktop_id WHERE name = '$1' AND user_id = '$(user_id "$2")'"
}
# watch NAME FILE: a client that stays, with what it says in NAME.log
declare -A view_in view_pid
watch() {
    mkfifo "$top/$1.in"
    "$viewer" --vv "$top/$2" <"$top/$1.in" >"$top/$1.log" 2>&1 &
    view_pid[$1]=$!
    keep_pid $!
    exec {fd}>"$top/$1.in"
    view_in[$1]=$fd
    wait_for 60 grep -qx up "$top/$1.log"
}
stays() { kill -0 "${view_pid[$1]}" && ! grep -Eq '^(closed|refused)' "$top/$1.log"; }
leave() { echo quit >&"${view_in[$1]}"; wait "${view_pid[$1]}"; }
cut_off() { wait "${view_pid[$1]}"; [ $? -eq 5 ]; }
try() { "$viewer" --once --limit 60 --vv "$top/$1" </dev/zero >"$top/try.log" 2>&1; }
refused() { try "$1"; [ $? -eq 3 ]; }

# ---- Who may ----

fails_with 3 'no desktop is assigned' 'who has nothing' ctl connect --user carl
fails_with 3 "no desktop or pool 'a' for this user" 'what is not his' ctl connect a --user carl
fails_with 3 "no user 'nobody2'" 'for nobody' ctl connect a --user nobody2
fails_with 1 'no Windows desktop' 'RDP is for Windows' ctl connect a --user anna --protocol rdp

# ---- A first session ----

ok 'connect starts a desktop that is off' connect a anna anna.vv
is "$(field .run desktop show a)" running 'it runs'
is "$(stat -c %a "$top/anna.vv")" 600 'the file is for its reader alone'
like "$(cat "$top/anna.vv")" '^\[virt-viewer\]$' 'it is what remote-viewer reads'
like "$(cat "$top/anna.vv")" '^delete-this-file=1$' 'it is to be deleted'
is "$(n_attached a anna)" 1 'who has seen the desktop is written down'
json_ok 'the session' "$(ctlj session show a)" '.user == "anna" and .state == "opening" and .host == "vs-a" and .protocol == "spice"'
sed 's/^password=.*/password=wrong/' "$top/anna.vv" >"$top/wrong.vv"
ok 'a wrong password is refused' refused wrong.vv
ok 'the right one lets a client in' watch anna anna.vv
ok 'the session is connected' wait_for 30 session_is a connected
json_ok 'from where is known' "$(ctlj session show a)" '.client_address == "127.0.0.1" and .connected_at != null'
is_over() { libvirt_virsh dumpxml "$1" | grep -q "passwdValidTo='1970"; }
ok 'when all its channels are up the password ends, before its minute is over' wait_for 45 is_over a
ok 'it lets nobody in again' refused anna.vv
ok '... and who is in stays' session_is a connected
ok '... undisturbed' stays anna
ok 'a client that goes' leave anna
ok '... leaves the session open' wait_for 30 session_is a disconnected

# ---- As himself ----

as_nobody() { (cd / && setpriv --reuid=65534 --regid=65534 --clear-groups "$BUILD/imagectl" --state "$state" "$@"); }
chmod 755 "$state"
chmod 666 "$state/imaged.sock"
fails_with 5 'permission session.connect' 'nobody asks for another' as_nobody connect a --user anna
fails_with 3 "no desktop or pool 'a'" '... nor for another desktop' as_nobody connect a
fails_with '[35]' 'a' 'nor does he see her session' as_nobody session show a
fails_with '[35]' 'a' '... nor end it' as_nobody session end a --yes
fails_with 5 'permission' '... nor send messages' as_nobody session message a hello
is "$(as_nobody -o json session list)" '[]' '... and his list is empty'
as_nobody connect --file - >"$top/his.vv" 2>/dev/null
ok 'what is his he gets' try his.vv
is "$(as_nobody -o json session list | jq -r '.[0].desktop')" b 'and sees it'
ok '... and ends it' as_nobody session end b --yes
ok 'stop' ctl desktop stop b --force

# ---- The user comes again, from elsewhere ----

id=$(field .id session show a)
ok 'connect again, without a name' ctl connect --user anna --file "$top/home.vv"
is "$(field .id session show a)" "$id" 'it is the same session'
ok 'a client at home' watch home home.vv
ok 'connect at work' connect a anna work.vv
ok 'a client at work' watch work work.vv
ok 'takes it over from the one at home' cut_off home
is "$(field .id session show a)" "$id" 'it is still the same'
ok '... and connected' wait_for 30 session_is a connected

# ---- A shared desktop: one at a time ----

fails_with 4 'anna is on it since' 'another user is told who is on' connect a bert bert.vv
fails_with 4 'take-over' 'and how he may take over' connect a bert bert.vv
fails_with 2 'message is empty' 'an empty message' ctl session message a ''
ok 'he takes over' connect a bert bert.vv --take-over
ok 'the other is cut off' cut_off work
json_ok 'and her session ended' "$(ctlj session show "$id")" '.state == "ended" and (.reason | test("taken over by bert"))'
is "$(field .user session show a)" bert 'it is his now'
ok 'her password does not let her in again' refused work.vv
ok 'his does' watch bert bert.vv
said=$(connect a anna anna.vv --take-over 2>&1)
like "$said" 'bert is on it' 'who may not take over does not'
ok 'the session is connected' wait_for 30 session_is a connected

# ---- The daemon is killed ----

kill -9 "$daemon"
wait "$daemon" 2>/dev/null
daemon=
start_daemon || exit 1
wait_for 60 host_is vs-a up
ok 'the session is there' session_is a connected
ok '... and its client undisturbed' stays bert
kill -9 "$daemon"
wait "$daemon" 2>/dev/null
daemon=
leave bert
start_daemon || exit 1
ok 'a client that went while no daemon ran is gone' wait_for 60 session_is a disconnected

# ---- Ends ----

id=$(field .id session show a)
fails_with 2 'yes' 'an end wants a yes' ctl session end a
ok 'connect' connect a bert bert2.vv
ok 'a client' watch bert2 bert2.vv
ok 'somebody ends it, found by a search' ctl session end --search 'desktop = a' --yes
ok 'the client is cut off' cut_off bert2
fails_with 3 'no session' 'nobody is on it' ctl session show a
json_ok 'why' "$(ctlj session show "$id")" '.state == "ended" and (.reason | test("ended by root")) and .ended_at != null'
ok 'its password is over' refused bert2.vv
is "$(field .run desktop show a)" running 'the desktop runs on'
ok 'connect' connect a anna anna2.vv
id=$(field .id session show a)
fails_with 1 'agent' 'a message without an agent fails' ctl session message a hello
ok 'the desktop is switched off' ctl desktop stop a --force
is_ended() { [ "$(field .state session show "$1")" = ended ]; }
ok 'so is the session' wait_for 30 is_ended "$id"
json_ok 'why' "$(ctlj session show "$id")" '.reason | test("switched off")'
json_ok 'all of them' "$(ctlj session list --all --desktop a)" 'length == 3 and all(.[]; .state == "ended")'
is "$(ctlj session list)" '[]' 'none is open'

# ---- Several desktops of one user ----

assign b anna 0
fails_with 2 'say which one: a, b' 'who has several is asked which' ctl connect --user anna
fails_with 2 'imagectl connect a' '... and told how' ctl connect --user anna
ok 'one' connect a anna one.vv
ok '... and the other' connect b anna two.vv
ok 'a client on the one' watch one one.vv
ok '... and one on the other' watch two two.vv
ok 'the one is connected' wait_for 30 session_is a connected
ok '... and so is the other' wait_for 30 session_is b connected
is "$(ctlj session list --user anna | jq -r '[.[].desktop] | sort | join(" ")')" 'a b' 'she has two sessions'
is "$(ctlj connect --user anna | jq -r .desktop)" b 'without a name she comes to that which she opened last'
ok 'neither is in the way of the other' eval 'stays one && stays two'
ok 'one ends' ctl session end a --yes
ok '... and its client is cut off' cut_off one
ok '... the other is not' eval 'stays two && session_is b connected'
ok 'it ends too' ctl session end b --yes
ok '... and cuts it off' cut_off two
ok 'stop' ctl desktop stop a b --force

# ---- Killed between what is durable and what the host is told ----

host_process() { pgrep -P "$(pgrep -P "$libvirt_pid" | head -n 1)" libvirtd; }
state_of() { sqlite3 -readonly "$state/catalog.db" "SELECT state FROM session ORDER BY created_at DESC LIMIT 1"; }
catalog_says() { [ "$(state_of)" = "$1" ]; }
kill_daemon()
{
    kill -9 "$daemon"
    wait "$daemon" 2>/dev/null
    daemon=
}
ok 'start' ctl desktop start a
kill -STOP "$(host_process)"
connect a anna never.vv >"$top/said" 2>&1 &
ok 'a log-in is durable, while its host hangs' wait_for 30 catalog_says opening
kill_daemon
kill -CONT "$(host_process)"
not_ok 'nobody got a password' test -e "$top/never.vv"
start_daemon || exit 1
wait_for 60 host_is vs-a up
id=$(field .id session show a)
ok 'who logs in again' connect a anna killed.vv
is "$(ctlj session list | jq -r '.[].id')" "$id" '... has that session, and no other'
is "$(n_attached a anna)" 1 '... and was let in once'
ok '... and gets in' watch killed killed.vv
ok 'it ends' ctl session end a --yes
ok '... its client is cut off' cut_off killed
ok '... and its password lets nobody in' refused killed.vv
ok 'who logs in then' connect a anna after.vv
isnt "$(field .id session show a)" "$id" '... has another one'
ok 'stop' ctl desktop stop a --force

# ---- As a browser asks ----

ok 'start' ctl desktop start b
post /v1/sessions '{"name": "b"}' -H 'Accept: application/x-virt-viewer' -D "$top/headers" >"$top/b.vv"
like "$(cat "$top/headers")" 'Content-Type: application/x-virt-viewer' 'the file itself'
ok '... opens it' try b.vv
like "$(ctlj event list)" 'session.open' 'it is written down'
unlike "$(sqlite3 -readonly "$state/catalog.db" .dump)" "$(sed -n 's/^password=//p' "$top/b.vv")" 'the password is nowhere in the catalog'
like "$(cat "$top/b.vv")" '^port=' 'a host without TLS has a port'

# ---- TLS ----

ok 'the host wants TLS now' ctl host set vs-a --tls-subject 'O=site,CN=vs-a' --tls-ca "$top/tls/ca-cert.pem"
fails_with '[0-9]*' 'started without TLS' 'a desktop that runs has none: nobody gets a password for the open wire' \
    ctl connect b --file "$top/open.vv"
not_ok '... nor a file' test -e "$top/open.vv"
ok 'stop' ctl desktop stop b --force
ok 'it is started again, and the session of its former run is in nobody'"'"'s way' ctl connect b --user nobody --file "$top/tls.vv"
of_vv() { /usr/bin/python3 - "$@" <<'P'
import sys
keys = dict(line.rstrip("\n").split("=", 1) for line in open(sys.argv[1]) if "=" in line)
print(keys.get(sys.argv[2], "none").replace("\\n", "\n"), end="")
P
}
is "$(of_vv "$top/tls.vv" port)" none 'there is no port without TLS'
like "$(of_vv "$top/tls.vv" tls-port)" '^[0-9]+$' 'there is one with TLS'
is "$(of_vv "$top/tls.vv" host-subject)" 'O=site,CN=vs-a' 'the subject of its certificate'
is "$(of_vv "$top/tls.vv" ca)" "$(cat "$top/tls/ca-cert.pem")" 'who signed it'
unlike "$(libvirt_virsh dumpxml b)" "<graphics type='spice'[^>]* port='[1-9]" 'the display has no port without TLS'
like "$(openssl s_client -connect "127.0.0.1:$(of_vv "$top/tls.vv" tls-port)" -CAfile "$top/tls/ca-cert.pem" \
    </dev/null 2>&1)" 'Verify return code: 0' 'it speaks TLS'
sed 's/^host-subject=.*/host-subject=O=site,CN=vs-b/' "$top/tls.vv" >"$top/other.vv"
try other.vv
is $? 4 'a client does not trust another host that has a certificate of the site'
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$top/k" -out "$top/c" -days 30 \
    -subj '/CN=another authority' 2>"$top/said"
/usr/bin/python3 - "$top" <<'P'
import sys
top = sys.argv[1]
ca = open(top + "/c").read().replace("\n", "\\n")
with open(top + "/forged.vv", "w") as out:
    for line in open(top + "/tls.vv"):
        out.write("ca=" + ca + "\n" if line.startswith("ca=") else line)
P
try forged.vv
is $? 4 '... nor one that another authority has signed'
sed 's/^password=.*/password=wrong/' "$top/tls.vv" >"$top/wrong.vv"
ok 'a wrong password is refused' refused wrong.vv
ok 'the right one lets a client in' watch tls tls.vv
ok 'the session is connected' wait_for 30 session_is b connected
ok 'its password ends' wait_for 45 is_over b
ok '... and lets nobody in again' refused tls.vv
ok '... while who is in stays' stays tls
ok 'the session ends' ctl session end b --yes
ok '... and cuts it off' cut_off tls
ok 'stop' ctl desktop stop b --force
ok 'the check is clean' ctl store check
done_testing
