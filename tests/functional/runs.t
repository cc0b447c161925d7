#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# runs.t: desktops on a real libvirtd and QEMU: started, found again after the daemon was killed, left
# alone where they are somebody else's, and never started where it is not known that they are off.
# The guests have no system: their BIOS looks for one.
. "$(dirname "$0")/lib.sh"
. "$repo/tests/guest/libvirt.sh"

chmod 755 "$top"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$top/tls.key" -out "$top/tls.pem" -days 30 \
    -subj /CN=localhost -addext subjectAltName=DNS:localhost >/dev/null 2>&1
port=$(/usr/bin/python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
configure "listen = 127.0.0.1:$port" "tls_cert = $top/tls.pem" "tls_key = $top/tls.key"
start_daemon || exit 1
truncate -s 64M "$top/g.raw"
ctl template import win "$top/g.raw" --format raw --memory 128M --cpus 1 >/dev/null 2>&1
ctl desktop create a b c --template win >/dev/null
on_host() { libvirt_virsh list --name | sed '/^$/d' | sort | tr '\n' ' '; }

# ---- Hosts ----

fails_with 1 'there is no host' 'without a host' ctl desktop start a
fails_with 2 'no address of a host' 'what is no address' ctl host add x http://x
fails_with 2 'no address of a host' 'a program is not started for an address' ctl host add x 'qemu+ext:///system?command=/bin/sh'
ok 'a host that does not answer is added all the same' ctl host add gone qemu+tcp://127.0.0.1:9/system
ok '... it is down' wait_for 10 host_is gone down
like "$(ctl host show gone)" 'REASON .*refused' '... and says why'
fails_with 2 'is no display address' 'what no client could connect to' ctl host add x qemu+tcp://127.0.0.1:9/system --display-address 'a b'
fails_with 2 'is no proxy' 'what is no proxy' ctl host add x qemu+tcp://127.0.0.1:9/system --proxy nonsense
fails_with 1 "'a': it does not run" 'no picture of a desktop that is off' ctl desktop screenshot a "$top/a.png"
libvirt_start "$top/lv" || exit 1
uri="qemu+unix:///system?socket=$top/lv/run/libvirt-sock"
ok 'a host' ctl host add vs-a "$uri" --accelerator tcg
fails_with 1 'already' 'the same one again' ctl host add vs-b "$uri"
ok '... is up' wait_for 60 host_is vs-a up
ok 'the same libvirtd at another address' ctl host add twin "qemu+unix:///system?socket=$top/lv/../lv/run/libvirt-sock"
ok '... is not let up' wait_for 60 host_is twin down
like "$(ctl host show twin)" "REASON .*the same machine as the host 'vs-a'" '... and says why'
json_ok '... in one event' "$(ctlj event list --kind host.same)" 'map(.object) == ["twin"]'
ok '... and goes' ctl host remove twin
json_ok 'what it has' "$(ctlj host show vs-a)" '.cpus > 0 and .memory_bytes > 0 and .spice and .n_domains == 0'

# ---- Start ----

is "$(run_of a)" off 'a desktop is off'
ok 'start' ctl desktop start a b
is "$(on_host)" 'a b ' 'libvirt runs both'
json_ok 'and the catalog says so' "$(ctlj desktop show a)" '.run == "running" and .host == "vs-a"'
uuid=$(field .uuid desktop show a)
is "$(libvirt_virsh domuuid a)" "$uuid" 'with its UUID'
like "$(libvirt_virsh dumpxml a)" "incarnation=" 'whose run it is stands in it'
fails_with 1 'on already' 'a second start' ctl desktop start a
fails_with 4 'busy' 'its disk is not exchanged' ctl desktop reset a --yes
ok '... but a snapshot of it can be taken' ctl snapshot create a now
fails_with 4 'busy' '... nor served for writing' ctl export start a --read-write
fails_with 4 'busy' '... nor deleted' ctl desktop delete a --yes
fails_with 4 'desktops? run' 'a host with desktops is not forgotten' ctl host remove vs-a
ok 'maintenance' ctl host maintenance vs-a
fails_with 1 'is in maintenance' '... takes no new ones' ctl desktop start c
ok 'activate' ctl host activate vs-a
ok 'pause' ctl desktop pause a
is "$(libvirt_virsh domstate a)" paused '... holds'
ok 'resume' ctl desktop resume a
ok '... again, which changes nothing' ctl desktop resume a
fails_with 1 'cannot write the picture' 'a picture that cannot be written' ctl desktop screenshot a "$top/none/a.png"
is "$(libvirt_virsh domstate a)" running '... goes on'

# ---- The console ----

as --32 -o "$top/e.o" "$repo/tests/guest/echo.S" && ld -m elf_i386 -Ttext 0x7c00 --oformat binary -o "$top/e.raw" "$top/e.o"
truncate -s 8M "$top/e.raw"
ctl template import echo "$top/e.raw" --format raw --memory 32M --cpus 1 >/dev/null 2>&1
ctl desktop create e --template echo >/dev/null
fails_with 1 'does not run' 'the console of one that is off' ctl desktop console e
ctl desktop start e >/dev/null
mkfifo "$top/keys"
trap '' PIPE # who does not read any more is seen by what he said
# What is typed comes back in capitals; until then it is typed again.
is_heard() { echo "$1" >&7; grep -q "${1^^}" "$2"; }
timeout 300 "$BUILD/imagectl" --state "$state" desktop console e <"$top/keys" >"$top/screen" 2>"$top/left" &
first=$!
keep_pid $first
exec 7>"$top/keys"
ok 'the console of one that runs: the guest answers' wait_for 60 is_heard abc "$top/screen"
fails_with 4 'somebody has its console' 'it is for one at a time' ctl desktop console e
exec 7>&-
ok 'it ends with what is typed' wait $first
like "$(ctl event list --kind desktop.console)" 'e .*opened' 'that it was opened is told'
# --foreground: in a process group of its own it would be stopped as soon as it reads the terminal.
script -qefc "timeout --foreground 300 '$BUILD/imagectl' --state '$state' desktop console e" /dev/null <"$top/keys" >"$top/screen2" 2>&1 &
second=$!
keep_pid $second
exec 7>"$top/keys"
ok 'on a terminal' wait_for 60 is_heard def "$top/screen2"
printf '\035' >&7
ok '... Ctrl-] leaves it' wait $second
exec 7>&-
ctl user add afar >/dev/null && ctl role grant admin afar >/dev/null && ctl token create t --user afar >"$top/token" 2>"$top/said"
remote=(env IMAGED_CA_FILE="$top/tls.pem" "$BUILD/imagectl" --url "https://localhost:$port" --token-file "$top/token")
timeout 300 "${remote[@]}" desktop console e <"$top/keys" >"$top/screen4" 2>"$top/left" &
far=$!
keep_pid $far
exec 7>"$top/keys"
ok 'from another machine, by TLS' wait_for 60 is_heard jkl "$top/screen4"
fails_with 4 'somebody has its console' '... it is for one at a time, too' "${remote[@]}" desktop console e
head -c 4000 /dev/zero | tr '\0' m >&7
echo >&7
has_all() { [ "$(tr -dc M <"$top/screen4" | wc -c)" = 4000 ]; }
ok '... all of a long text comes back' wait_for 120 has_all
exec 7>&-
ok '... and it ends with what is typed' wait $far
chmod 755 "$state"
chmod 666 "$state/imaged.sock"
ok 'one who may' eval 'ctl user add nobody && ctl role grant image-admin nobody --desktop e'
(cd / && exec setpriv --reuid=65534 --regid=65534 --clear-groups timeout 300 "$BUILD/imagectl" --state "$state" desktop console e) \
    <"$top/keys" >"$top/screen5" 2>"$top/left" &
fourth=$!
keep_pid $fourth
exec 7>"$top/keys"
ok '... has it' wait_for 60 is_heard mno "$top/screen5"
ok '... loses the right to it' ctl role revoke image-admin nobody --desktop e
not_ok '... and is out of it' wait $fourth
exec 7>&-
timeout 300 "$BUILD/imagectl" --state "$state" desktop console e <"$top/keys" >"$top/screen3" 2>"$top/left" &
third=$!
keep_pid $third
exec 7>"$top/keys"
ok 'once more' wait_for 60 is_heard ghi "$top/screen3"
ctl desktop stop e --force >/dev/null
not_ok 'it ends with the desktop' wait $third
like "$(cat "$top/left")" 'has ended' '... and says so'
exec 7>&-

# ---- The daemon is killed; one ends meanwhile, and a stranger comes ----

kill -9 "$daemon"
wait "$daemon" 2>/dev/null
daemon=
libvirt_virsh destroy b >/dev/null
start_daemon || exit 1
fails_with 4 'busy' 'before its host has answered, too, a disk is not exchanged' ctl desktop reset a --yes
ok 'who ended is off' wait_for 30 is_run b off
is "$(run_of a)" running 'who runs is known again'
ok '... and is stopped by force' ctl desktop stop a --force
is "$(on_host)" '' 'nothing runs'
ok 'then its disk is exchanged' ctl desktop reset a --yes
cat >"$top/stranger.xml" <<E
<domain type='qemu'><name>a</name><uuid>$uuid</uuid>
<metadata><imaged:run xmlns:imaged='urn:imaged:run' desktop='$(field .id desktop show a)' generation='1'
incarnation='00000000000000000000000000000000'/></metadata>
<memory unit='MiB'>64</memory><os><type arch='x86_64'>hvm</type></os></domain>
E
libvirt_virsh create "$top/stranger.xml" >/dev/null
is "$(on_host)" 'a ' 'somebody starts what says that it is the desktop'
told() { ctlj event list | jq -e 'any(.[]; .name == "host.stranger")' >/dev/null; }
ok 'that is told' wait_for 30 told
fails_with 4 'nobody started from here' 'and it is not started beside it' ctl desktop start a
is "$(on_host)" 'a ' 'nor is that one touched'
is "$(run_of a)" off 'nor taken for ours'
libvirt_virsh destroy a >/dev/null

# ---- A guest that does not listen ----

ok 'start' ctl desktop start a
fails_with 4 'did not shut down within 1 s' 'a stop that the guest does not hear' ctl desktop stop a --timeout 1
is "$(on_host)" 'a ' '... leaves it on'

# ---- A host that hangs ----

libvirtd=$(pgrep -f "^libvirtd --config" | while read -r pid; do grep -q "$top/lv" "/proc/$pid/mountinfo" && echo "$pid"; done)
timeout 300 "$BUILD/imagectl" --state "$state" desktop console a </dev/zero >/dev/null 2>&1 &
console=$!
keep_pid $console
has_console() { [ "$(ctlj event list --kind desktop.console | jq 'map(select(.name == "desktop.console" and .object == "a")) | length')" = 1 ]; }
ok 'a console, whose user does not stop typing' wait_for 60 has_console
kill -STOP "$libvirtd"
before=$SECONDS
ctl host list >/dev/null
ctl desktop list >/dev/null
ok 'nobody waits who does not ask it' [ $((SECONDS - before)) -le 1 ]
ok 'it is down' wait_for 20 host_is vs-a down
not_ok 'the console ends with it' wait $console
fails_with 1 'does not answer|did not answer|refused|cannot connect' 'a console that it does not open' ctl desktop console a
fails_with 1 'does not answer' 'a stop that it does not hear' ctl desktop stop a --force
is "$(run_of a)" running 'is none: the desktop keeps its lease'
fails_with 4 'busy' '... and its disk' ctl desktop reset a --yes
kill -CONT "$libvirtd"
ok 'it comes back' wait_for 60 host_is vs-a up
ok 'stop' ctl desktop stop a --force
is "$(on_host)" '' 'nothing runs'
ok 'a host without desktops is forgotten' ctl host remove vs-a
ok 'the check is clean' ctl store check
done_testing
