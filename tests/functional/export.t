#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# export.t: NBD exports on unix sockets, read-only and for writing.  The bytes are judged by QEMU and
# the libnbd tools; what the server may do is read from /proc, and tried.
. "$(dirname "$0")/lib.sh"

start_daemon || { diag "$(cat "$log")"; exit 1; }
make_raw "$top/golden.raw" 64M 0 1 4M 32M 2 1M
ctl template import golden "$top/golden.raw" --format raw >/dev/null
ctl desktop create lab-1 --template golden >/dev/null
ctl desktop create lab-2 --template golden >/dev/null
mark lab-1 7

# ---- Read-only ----

uri=$(ctl export start lab-1)
like "$uri" "^nbd\+unix:///lab-1\?socket=$state/exports/[0-9a-f]{8}/nbd$" "start prints the URI"
export=$(ctlj export show lab-1)
json_ok "an export as JSON" "$export" \
    '.id and .name == "lab-1" and .uri == $uri and .state == "running" and (.read_write | not)
     and .tls == "none" and .n_clients == 0' --arg uri "$uri"
json_ok "it is listed" "$(ctlj export list)" 'length == 1 and .[0].name == "lab-1"'
ok "QEMU reads what the desktop's chain holds" \
    qemu-img compare -f raw -F qcow2 "$uri" "$(path_of lab-1)"
socket=${uri#*socket=}
ok "the default export is the same" nbdinfo --size "nbd+unix:///?socket=$socket"
not_ok "another name is refused" nbdinfo --size "nbd+unix:///other?socket=$socket"
info=$(nbdinfo --json "$uri")
json_ok "what it offers" "$info" '.exports[0] | ."is_read_only" and .can_multi_conn and .can_cache
    and ."export-size" == 67108864 and (.contexts | index("base:allocation") != null)'
map=$(nbdinfo --map "$uri" | awk '{print $1, $2, $NF}' | tr '\n' ';')
is "$map" "0 4259840 data;4259840 29294592 hole,zero;33554432 1048576 data;34603008 32505856 hole,zero;" \
    "what is data and what is a hole"
nbdcopy --connections=4 "$uri" "$top/copy.raw"
ok "nbdcopy over four connections" qemu-img compare -f raw -F qcow2 "$top/copy.raw" "$(path_of lab-1)"
not_ok "nobody can write" qemu-io -f raw -c 'write 0 4k' "$uri"

# ---- The sandbox ----

pid=$(field .pid export show lab-1)
is "$(awk '/^Seccomp:/ { print $2 }' "/proc/$pid/status")" 2 "its system calls are filtered"
is "$(awk '/^NoNewPrivs:/ { print $2 }' "/proc/$pid/status")" 1 "it gets no new privileges"
is "$(grep -cE 'Max (core )?file size +0 +0' "/proc/$pid/limits")" 2 "it can write no file"
files=$(find "/proc/$pid/fd" -type l -printf '%l\n' | grep -v -e '^pipe:' -e '^socket:' -e '^/dev/null$')
is "$(grep -vc "^$store/layers/" <<<"$files")" 0 "of files it holds layers alone" || diag "$files"
is "$(wc -l <<<"$files")" 2 "both of the chain's"
timeout 20 strace -f -qq -e trace=openat,open,socket,execve -e signal=none -o "$top/trace" -p "$pid" &
tracer=$!
keep_pid $tracer
traced() { [ "$(awk '/^TracerPid/ { print $2 }' "/proc/$pid/status")" = "$tracer" ] ||
    [ "$(awk '/^TracerPid/ { print $2 }' "/proc/$pid/status")" != 0 ]; }
wait_for 10 traced
nbdcopy "$uri" "$top/copy.raw"
kill -INT "$(awk '/^TracerPid/ { print $2 }' "/proc/$pid/status")"
wait $tracer
is "$(grep -c . "$top/trace")" 0 "a whole copy opens nothing" || diag "$(head "$top/trace")"

# ---- In use ----

fails_with 4 "it is exported.*lab-1" "reset says that it is exported" ctl desktop reset lab-1 --yes
fails_with 4 "it is exported" "so does delete" ctl desktop delete lab-1 --yes
fails_with 4 "imagectl export stop lab-1" "and how to end it" ctl desktop rename lab-1 lab-9
fails_with 4 "it is exported" "it cannot be written meanwhile" ctl export start lab-1 --read-write
not_ok "QEMU cannot open the disk for writing" qemu-io -f qcow2 -c 'write 0 4k' "$(path_of lab-1)"
ok "another reader is welcome" ctl export start lab-1
fails_with 2 "exported 2 times" "then the name is not enough" ctl export stop lab-1
second=$(field '.[1].id' export list)
ok "the id is" ctl export stop "$second"
isnt "$(field .state desktop show lab-1)" "" "the desktop can be looked at"

# ---- Clients that misbehave ----

python3 - "$socket" <<'PY'
import socket, sys
for data in (b"", b"\0" * 4096, b"GET / HTTP/1.0\r\n\r\n", b"\0\0\0\3IHAVEOPT\0\0\0\7\xff\xff\xff\xff"):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(5)
    s.connect(sys.argv[1])
    s.recv(18)
    try:
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
        while s.recv(4096):
            pass
    except OSError:
        pass
    s.close()
PY
ok "garbage leaves the server well" nbdinfo --size "$uri"
python3 - "$socket" >"$top/held" <<'PY' &
import socket, sys, time
held = []
for _ in range(64):
    s = socket.socket(socket.AF_UNIX)
    s.connect(sys.argv[1])
    s.recv(18)
    held.append(s)
print("held", flush=True)
time.sleep(60)
PY
holder=$!
keep_pid $holder
ok "64 connections that hang in the handshake" wait_for 20 grep -q held "$top/held"
ok "do not keep others out" timeout 10 nbdinfo --size "$uri"
is "$(field .n_clients export show lab-1)" 64 "they are counted"
begin=$SECONDS
ok "stop ends it all the same" ctl export stop lab-1
ok "in bounded time" test $((SECONDS - begin)) -le 5
kill $holder
ok "its process is gone" wait_for 30 test ! -e "/proc/$pid"
is "$(find "$state/exports" -mindepth 1 | wc -l)" 0 "and its folder"
json_ok "an event tells" "$(ctlj event list)" 'any(.[]; .name == "export.end" and .object == "lab-1")'
ok "the desktop is free again" ctl desktop reset lab-1 --yes

# ---- Clients that go away in the middle ----

uri=$(ctl export start lab-2)
pid=$(field .pid export show lab-2)
for _ in 1 2 3 4 5 6 7 8; do
    nbdcopy --requests=64 "$uri" null: &
    copier=$!
    keep_pid $copier
    reads() { [ "$(field .n_clients export show lab-2)" -gt 0 ] || ! kill -0 $copier 2>/dev/null; }
    wait_for 10 reads
    kill -9 $copier 2>/dev/null
    wait $copier 2>/dev/null
done
python3 - "${uri#*socket=}" <<'PY'
import socket, struct, sys
for n in range(40):
    s = socket.socket(socket.AF_UNIX)
    s.connect(sys.argv[1])
    s.recv(18)
    name = b"lab-2"
    s.sendall(struct.pack(">I", 3) + b"IHAVEOPT" + struct.pack(">II", 7, 4 + len(name) + 2) +
              struct.pack(">I", len(name)) + name + b"\0\0")
    s.recv(4096)
    # 64 reads, of which not one answer is taken; sometimes with half a request at the end.
    reads = b"".join(struct.pack(">IHHQQI", 0x25609513, 0, 0, i, i * 65536, 1 << 20) for i in range(64))
    s.sendall(reads + (b"\x25\x60\x95" if n % 2 else b""))
    s.close()
PY
ok "do not take the server with them" nbdinfo --size "$uri"
is "$(field .pid export show lab-2)" "$pid" "it is the same one"
ctl export stop lab-2 >/dev/null

# ---- 64 real clients ----

uri=$(ctl export start golden)
many=$(for i in $(seq 64); do
    timeout 30 qemu-io -r -f raw -c 'read -P 2 32M 64k' "$uri" & done; wait)
is "$(grep -c '^read 65536/65536' <<<"$many")" 64 "64 clients read at once"
like "$(field .name export show golden)" '^golden:1$' "a template's version is named"
ctl export stop golden >/dev/null
ctl template import lone "$top/golden.raw" --format raw >/dev/null
ctl export start lone >/dev/null
fails_with 4 "it is exported" "a template cannot be deleted meanwhile" ctl template delete lone --yes
ctl export stop lone >/dev/null

# ---- For writing ----

fails_with 2 "only a desktop" "a template is never written" ctl export start golden --read-write
uri=$(ctl export start lab-1 --read-write)
pid=$(field .pid export show lab-1)
is "$(sqlite3 "$state/catalog.db" "SELECT count(*) FROM lease WHERE holder LIKE 'export/%'")" 1 \
    "a lease stands in the catalog"
ok "a client writes" qemu-io -f raw -c 'write -P 9 8M 1M' -c flush "$uri"
ok "the default export is the same" nbdinfo --size "nbd+unix:///?socket=${uri#*socket=}"
ok "allocation depths are told" nbdinfo --map=qemu:allocation-depth "$uri"
fails_with 4 "it is exported" "there is no second writer" ctl export start lab-1 --read-write
fails_with 4 "it is exported" "nor a reader" ctl export start lab-1
fails_with 4 "it is exported" "nor a reset" ctl desktop reset lab-1 --yes
not_ok "QEMU's locks say so too" qemu-io -f qcow2 -c 'write 0 4k' "$(path_of lab-1)"
ok "stop" ctl export stop lab-1
ok "the server is gone" test ! -e "/proc/$pid"
is "$(sqlite3 "$state/catalog.db" "SELECT count(*) FROM lease")" 0 "and the lease"
ok "the bytes are in the desktop" finds qcow2 "$(path_of lab-1)" 'read -P 9 8M 1M'
ok "its image is sound" qemu-img check -q "$(path_of lab-1)"
ok "the template is untouched" finds qcow2 "$(template_path golden)" 'read -P 0 8M 1M'

# While QEMU runs on it.
mkfifo "$top/hold"
qemu-io -f qcow2 "$(path_of lab-2)" <"$top/hold" >/dev/null 2>&1 &
keep_pid $!
exec 9>"$top/hold"
held() { [ "$(ctl export start lab-2 2>&1 | grep -c 'in use by QEMU')" = 1 ] || { ctl export stop lab-2; false; }; }
ok "a desktop that QEMU writes is not exported" wait_for 10 held
fails_with 4 "in use by QEMU" "nor for writing" ctl export start lab-2 --read-write
exec 9>&-

# ---- Snapshots and archive points ----

mark lab-1 3
ctl snapshot create lab-1 first >/dev/null || diag "no snapshot"
mark lab-1 4
uri=$(ctl export start lab-1@first)
ok "a snapshot reads as it was" finds raw "$uri" 'read -P 3 4M 64k'
fails_with 4 "it is exported" "it cannot be deleted meanwhile" \
    ctl snapshot delete lab-1 first --yes
ctl export stop lab-1@first >/dev/null
mkdir "$top/archive"
ctl archive target add backup --kind dir "$top/archive" >/dev/null
ctl archive create lab-1 --to backup >/dev/null
point=$(field '.[0].id' archive list)
fails_with 3 "archive:$point" "a point's bare id is no name, but there is a hint" \
    ctl export start "${point:0:20}"
uri=$(ctl export start "archive:$point")
ok "an archive point reads as the desktop" \
    qemu-img compare -f raw -F qcow2 "$uri" "$(path_of lab-1)"
ctl export stop "archive:$point" >/dev/null

# ---- Ends by themselves ----

uri=$(ctl export start lab-1 --idle-timeout 1)
no_exports() { [ "$(ctlj export list | jq length)" = 0 ]; }
ok "an idle export ends" wait_for 15 no_exports
json_ok "an event tells why" "$(ctlj event list)" 'any(.[]; .name == "export.end" and (.message | test("no client")))'
uri=$(ctl export start lab-1 --read-write --idle-timeout 1s)
ok "a writable one too" wait_for 15 no_exports
ok "and the desktop is free" ctl desktop reset lab-1 --yes

fails_with 3 "no desktop or template" "what is not there" ctl export start nothing
fails_with 3 "no snapshot" "no such snapshot" ctl export start lab-1@never
fails_with 3 "no export" "no such export" ctl export stop never
done_testing
