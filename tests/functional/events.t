#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# events.t: what happened, narrowed by severity and kind, and as a stream that goes on where it was.
. "$(dirname "$0")/lib.sh"
start_daemon || exit 1
truncate -s 8M "$top/g.raw"
ctl template import win "$top/g.raw" --format raw >/dev/null 2>&1
ctl desktop create a b --template win >/dev/null
ctl host add gone qemu+tcp://127.0.0.1:9/system >/dev/null
told() { [ "$(ctlj event list --kind "$1" | jq length)" -ge 1 ]; }

# ---- The list ----

ok 'a host that is down is an alarm' wait_for 30 told host.down
json_ok 'only alarms' "$(ctlj event list --severity alarm)" 'length == 1 and .[0].name == "host.down"'
json_ok 'what is worse is there too' "$(ctlj event list --severity warning)" 'length == 1'
json_ok 'of some kinds' "$(ctlj event list --kind 'desktop.create,host.*')" \
    'map(.name) == ["host.down", "host.add", "desktop.create"]'
json_ok 'both' "$(ctlj event list --kind 'host.*' --severity alarm)" 'map(.name) == ["host.down"]'
json_ok 'none' "$(ctlj event list --kind 'desktop')" '. == []'
id=$(ctlj event list --kind desktop.create | jq -r '.[0].id')
json_ok 'behind one' "$(ctlj event list --since "$id")" 'map(.name) == ["host.down", "host.add"]'
is "$(ctlj event list --kind 'host.*,desktop.create' --limit 2 | jq length)" 2 'the newest of them'
fails_with 2 'info\|warning\|alarm' 'a severity that there is not' ctl event list --severity bad
fails_with 2 'no kinds of events' 'a kind that cannot be' ctl event list --kind "x' OR 1"
http GET '/v1/events?severity=bad' >/dev/null
is "$(http_code)" 400 '... also of the API'
http GET '/v1/events/stream?since=x' >/dev/null
is "$(http_code)" 400 'nor does a stream begin nowhere'

# ---- The stream ----

# stream FILE PATH [CURL ARGS...]
stream()
{
    local file=$1 path=$2
    shift 2
    curl -sN --unix-socket "$state/imaged.sock" "$@" "http://localhost$path" >"$file" 2>/dev/null &
    keep_pid $!
}
first_is() { [ "$(grep -m1 '^id: ' "$1")" = "id: $2" ]; }
has_event() { grep -q "^data: .*\"name\":\"$2\"" "$1"; }
stream "$top/all" "/v1/events/stream?since=0"
ok 'a stream from the beginning' wait_for 20 has_event "$top/all" host.down
is "$(sed -n 's/^id: //p' "$top/all" | tr '\n' ' ')" "$(ctlj event list | jq -r 'map(.id) | reverse | join(" ")') " \
    'has every event, once, in order'
stream "$top/again" /v1/events/stream -H "Last-Event-ID: $id"
ok 'one that goes on' wait_for 20 first_is "$top/again" $((id + 1))
stream "$top/list" /v1/events -H 'Accept: text/event-stream' -H "Last-Event-ID: $id"
ok '... is the list, asked for as a stream' wait_for 20 first_is "$top/list" $((id + 1))
stream "$top/some" '/v1/events/stream?kind=desktop.rename&since=0'
ctl desktop rename a c >/dev/null
ok 'one of a kind' wait_for 20 has_event "$top/some" desktop.rename
is "$(grep -c '^data' "$top/some")" 1 'has nothing else'
ok 'the others have it too' wait_for 20 has_event "$top/all" desktop.rename
(ctl -o json event list --follow --since "$id" --kind 'host.*' >"$top/follow" & echo $! >"$top/follow.pid")
ok 'event list --follow' wait_for 20 grep -q host.down "$top/follow"
is "$(jq -r .name "$top/follow" | tr '\n' ' ')" 'host.add host.down ' '... the oldest first'
kill "$(cat "$top/follow.pid")"

# ---- Many ----

stop_daemon
sqlite3 "$state/catalog.db" "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
    INSERT INTO event (time, kind, severity, object, who, message)
    SELECT i, 'test.many', 'info', 'o', 'w', 'm' || i FROM n"
start_daemon || exit 1
stream "$top/many" '/v1/events/stream?since=0&kind=test.many'
many() { [ "$(grep -c '^data' "$top/many")" -ge 3000 ]; }
ok 'thousands that were missed' wait_for 60 many
is "$(sed -n 's/.*"message":"m\([0-9]*\)".*/\1/p' "$top/many" | sort -nc 2>&1; grep -c '^data' "$top/many")" 3000 'come once, in order'

# ---- Who does not read, and who may not see ----

/usr/bin/python3 - "$state/imaged.sock" <<'PY' &
import socket, sys, time
readers = []
for n in range(20):
    s = socket.socket(socket.AF_UNIX)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    s.connect(sys.argv[1])
    s.sendall(b"GET /v1/events/stream?since=0 HTTP/1.1\r\nHost: x\r\n\r\n")
    readers.append(s)
time.sleep(600)
PY
keep_pid $!
stream "$top/late" /v1/events/stream
is "$(ctl desktop rename c f >/dev/null && echo well)" well 'twenty who do not read hold up no change'
ok '... nor who reads' wait_for 20 has_event "$top/late" desktop.rename
chmod 755 "$top"
chmod 666 "$state/imaged.sock"
ctl user add nobody >/dev/null
setpriv --reuid=65534 --regid=65534 --clear-groups curl -sN --unix-socket "$state/imaged.sock" \
    'http://localhost/v1/events/stream?since=0' >"$top/his" 2>/dev/null &
keep_pid $!
post /v1/searches '{"name":"ours","search":"Desktops: name = b","shared":true}' >/dev/null
setpriv --reuid=65534 --regid=65534 --clear-groups curl -sS --unix-socket "$state/imaged.sock" http://localhost/v1/searches \
    -d '{"name":"his","search":"Desktops: name = b"}' >/dev/null
ok 'a user has a stream too' wait_for 20 has_event "$top/his" search.save
is "$(sed -n 's/^data: //p' "$top/his" | jq -r .who | sort -u | tr '\n' ' ')" 'nobody ' '... of what he may see alone'
done_testing
