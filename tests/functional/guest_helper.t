#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# long: 60 s
#
# guest_helper.t: the helper's sandbox, looked at from outside while it runs; helpers that hang, die or
# lie; and that nothing is left of any.  No appliance is started.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/guest_lib.sh"

mkdir -m 755 "$state"
chmod 755 "$top" # for the runs as another user below
qemu-img create -q -f qcow2 "$top/a.qcow2" 16M

run() { "$guesttool" "$state" "$@"; }
status_of() { awk -v key="$1:" '$1 == key { $1 = ""; print substr($0, 2) }' "/proc/$2/status"; }

# inner TOOL: the process that does the task: the youngest below the tool.
inner()
{
    local pid=$1 next
    while next=$(pgrep -n -P "$pid"  -f 'imaged-guest --role'); do pid=$next; done
    [ "$pid" != "$1" ] && echo "$pid"
}

# ---- The sandbox, from inside and from outside ----

json_ok "role guest: no rights, no network but unix sockets, its disk" \
    "$(run guest ping '{}' 60000 "r:$top/a.qcow2" 2>/dev/null)" \
    '.uid != 0 and .no_new_privs and (.may_use_inet | not) and .may_use_unix and .n_disks_reached == 1'
json_ok "role fetch: has a network" "$(run fetch ping '{}' 60000 2>/dev/null)" \
    '.uid != 0 and .no_new_privs and .may_use_inet and .may_use_netlink and .n_unusual_families == 0'

"$guesttool" "$state" guest ping '{"delay_ms":60000}' 120000 "r:$top/a.qcow2" >/dev/null 2>&1 &
tool=$!
keep_pid $tool
locked_in() { pid=$(inner $tool) && [ "$(status_of Seccomp "$pid")" = 2 ]; }
ok "it runs" wait_for 30 locked_in
pid=$(inner $tool)
isnt "$(status_of Uid "$pid" | awk '{ print $1 }')" 0 "its user is not root"
is "$(status_of Groups "$pid" | tr -d ' ')" "" "it has no further groups"
for set in CapEff CapPrm CapInh CapBnd CapAmb; do
    is "$(status_of $set "$pid")" 0000000000000000 "$set is empty"
done
is "$(status_of NoNewPrivs "$pid")" 1 "it gets no new privileges"
for ns in net mnt pid ipc uts; do
    isnt "$(readlink "/proc/$pid/ns/$ns")" "$(readlink "/proc/self/ns/$ns")" "its $ns namespace is its own"
done
is "$(awk 'NR > 2' "/proc/$pid/net/dev" | grep -vc ' *lo:')" 0 "with no network device"
seen=("/proc/$pid/root/"*)
is "$(printf '%s\n' "${seen[@]##*/}" | grep -vxE 'bin|sbin|lib[0-9x]*|dev|etc|proc|run|tmp|usr|var')" "" \
    "of the file system it sees little"
is "$(ls -d "/proc/$pid/root/"{run,etc/shadow} 2>/dev/null)" "/proc/$pid/root/run" "no passwords"
like "$(ls "/proc/$pid/root/run/disks")" '^disk0$' "of this folder only its own run"
ok "in which it cannot write" grep -q ' /run/disks ro,' "/proc/$pid/mountinfo"
for limit in 'core file size' 'cpu time' 'open files' 'processes' 'file size'; do
    unlike "$(grep "Max $limit" "/proc/$pid/limits")" 'unlimited' "a limit: $limit"
done
environment=$(tr '\0' '\n' <"/proc/$pid/environ" | cut -d= -f1 | sort | tr '\n' ' ')
is "$environment" "LC_ALL PATH " "it was started with a closed environment"
folder=$(echo "$state"/guest/*)
is "$(stat -c '%a' "$folder")" 710 "its folder: nobody else enters"
is "$(stat -c '%a %u' "$folder/disk0")" "600 $(status_of Uid "$pid" | awk '{ print $1 }')" \
    "its socket: for its user alone"
not_ok "another user cannot connect" setpriv --reuid=4321 --regid=4321 --clear-groups \
    nbdinfo --size "nbd+unix:///?socket=$folder/disk0"
outer=$(pgrep -P $tool -f 'imaged-guest --role')
is "$(status_of CapEff "$outer")" 0000000000000000 "who waits for it outside has no rights either"
isnt "$(status_of Uid "$outer" | awk '{ print $1 }')" 0 "and is not root"

# ---- Whoever asked is killed ----

kill -9 $tool
wait $tool 2>/dev/null
gone() { ! kill -0 "$pid" 2>/dev/null && ! kill -0 "$outer" 2>/dev/null; }
ok "then it is gone too" wait_for 10 gone
isnt "$(ls "$state/guest")" "" "its folder is left"
mkdir -p "$folder/tmp/deep/deeper"
ln -s / "$folder/tmp/deep/root"
ln -s "$top" "$folder/tmp/top"
touch "$top/precious"
IMAGED_TEST_SWEEP=1 run fetch ping '{}' 60000 >/dev/null 2>&1
is "$(ls "$state/guest")" "" "and removed at the next start"
ok "without following links" test -e "$top/precious"

# ---- Hang, crash ----

fails_with 1 "the helper for 'the test': it was killed after 2 s" "one that takes too long" \
    run guest ping '{"delay_ms":60000}' 2000 "r:$top/a.qcow2"
is "$(leftovers)" "" "nothing is left of it"
"$guesttool" "$state" guest ping '{"delay_ms":60000}' 120000 >/dev/null 2>"$top/err" &
tool=$!
keep_pid $tool
wait_for 30 locked_in
# From outside, this is the one signal that the first process of a pid namespace dies of.
kill -KILL "$(inner $tool)"
wait $tool
like "$(cat "$top/err")" "the helper for 'the test': it was ended by signal 9" "one that dies"
is "$(leftovers)" "" "nothing is left of that either"
fails_with 1 "does not understand this request \(task 'dance'\)" "a task that is not there" run guest dance
fails_with 1 "role fetch.*'appliance-check'" "a task of another role" run fetch appliance-check

# ---- A server that could not write all ----

mkdir "$top/bin"
cat >"$top/bin/qemu-storage-daemon" <<END
#!/usr/bin/python3
import signal, subprocess, sys
real = subprocess.Popen(["$(command -v qemu-storage-daemon)"] + sys.argv[1:], close_fds=False)
signal.signal(signal.SIGTERM, lambda *_: real.terminate())
real.wait()
print("cannot flush", file=sys.stderr)
sys.exit(1)
END
chmod 755 "$top/bin/qemu-storage-daemon"
json_ok "a disk that is written" "$(run guest ping '{}' 60000 "w:$top/a.qcow2" 2>/dev/null)" '.n_disks_reached == 1'
PATH=$top/bin:$PATH fails_with 1 "the server that wrote the disk did not end well: cannot flush" \
    "a server that ends with an error" run guest ping '{}' 60000 "w:$top/a.qcow2"
is "$(leftovers)" "" "nothing is left of it"

# ---- Role fetch: its network, and of the files what apt needs ----

mkdir "$top/cache"
chown nobody: "$top/cache"
"$guesttool" "$state" fetch ping "{\"delay_ms\":60000,\"cache\":\"$top/cache\"}" 120000 >/dev/null 2>&1 &
tool=$!
keep_pid $tool
ok "role fetch runs" wait_for 30 locked_in
pid=$(inner $tool)
seen=("/proc/$pid/root/"*)
is "$(printf '%s\n' "${seen[@]##*/}" | grep -vxE 'bin|sbin|lib[0-9x]*|dev|etc|proc|run|tmp|usr|var')" "" \
    "of the file system it sees little too"
unlike "$(grep 'Max data size' "/proc/$pid/limits")" 'unlimited' "its memory has a limit"
is "$(ls -d "/proc/$pid/root/"{etc/shadow,etc/ssh,var/lib/imaged,root,home,srv} 2>/dev/null)" "" "nothing secret"
for file in etc/apt etc/resolv.conf run/cache; do
    ok "but /$file" test -e "/proc/$pid/root/$file"
done
kill -9 $tool
wait $tool 2>/dev/null
ok "then it is gone too" wait_for 10 gone

work=$top/fetched
mkdir "$work"
chown nobody: "$work"
IMAGED_TEST_FOLDER=$work fails_with 1 "cannot read the lists of packages" "a mirror that is not there" \
    run fetch fetch '{"suite":"bookworm","mirror":"http://127.0.0.1:9/debian","packages":["x"]}' 60000
is "$(ls -A "$work")" packages "of what was fetched the next helper sees the packages, not apt's files"
rm -rf "$work"

# ---- A folder that one helper hands on to the next, which may be hostile ----

IMAGED_TEST_FOLDER="make" "$guesttool" "$state" build ping '{"delay_ms":60000}' 120000 >/dev/null 2>&1 &
tool=$!
keep_pid $tool
ok "role build runs" wait_for 30 locked_in
pid=$(inner $tool)
folder=$(echo "$state"/guest/*/work)
folder=${folder%/work}
is "$(stat -c '%a %u' "$folder")" "710 0" "around its folder is one of root's, which nobody else enters"
is "$(stat -c '%a' "$folder/work")" 2770 "it writes to one in that"
is "$(stat -c %i "/proc/$pid/root/run/folder")" "$(stat -c %i "$folder/work")" "and sees that one alone"
is "$(ls "/proc/$pid/root/run")" "folder" "with nothing beside it"
unlike "$(grep 'Max data size' "/proc/$pid/limits")" 'unlimited' "its memory has a limit"
like "${folder##*/}" '^[0-9a-f]{24}$' "nobody guesses its name"
kill -9 $tool
wait $tool 2>/dev/null
ok "then it is gone too" wait_for 10 gone

json_ok "role build opens ordinary sockets only" \
    "$(IMAGED_TEST_FOLDER="make" run build ping '{}' 60000 2>/dev/null)" \
    '.no_new_privs and .may_use_netlink and .n_unusual_families == 0'
work=$top/work
mkdir "$work"
echo secret >"$top/victim"
chmod 600 "$top/victim"
mkdir -m 700 "$top/victims"
for victim in victim victims; do
    ln -sfn "$top/$victim" "$work/.view"
    ln -sfn "$top/$victim" "$work/root"
    chown -h nobody: "$work" "$work"/.view "$work/root"
    chmod 2770 "$work"
    before=$(stat -c '%u %g %a' "$top/$victim")
    IMAGED_TEST_FOLDER=$work run build clean '{}' 60000 >/dev/null 2>"$top/err" || diag "$(cat "$top/err")"
    is "$(stat -c '%u %g %a' "$top/$victim")" "$before" "a link in the folder gives nobody the $victim"
    is "$(ls -A "$work")" "" "the folder is emptied"
done
is "$(cat "$top/victim")" secret "nor is anything written"
rm -rf "$work"

# Deeper than a process has descriptors; and what only a link leads to.
deep()
{
    /usr/bin/python3 - "$1" <<'END'
import os, sys
os.chdir(sys.argv[1])
for _ in range(1200):
    os.mkdir("d")
    os.chdir("d")
END
}
mkdir -p "$state/guest/old/work"
deep "$state/guest/old/work"
mkdir -p "$state/guest/other/tmp"
deep "$state/guest/other/tmp"
mkdir -m 0 "$state/guest/old/work/closed"
ln -s "$top" "$state/guest/old/work/link"
chown -hR nobody: "$state"/guest/{old/work,other/tmp} 2>/dev/null
IMAGED_TEST_SWEEP=1 run fetch ping '{}' 60000 >/dev/null 2>&1
is "$(ls "$state/guest")" "" "a tree too deep to be removed from outside is removed by a helper"
ok "again without following links" test -e "$top/precious"

# ---- As an ordinary user, without root ----

mkdir -m 700 "$top/own"
chown nobody "$top/own"
chmod 666 "$top/a.qcow2"
as_nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups)
json_ok "an ordinary user's helper runs as that user" \
    "$("${as_nobody[@]}" "$guesttool" "$top/own" guest ping '{}' 60000 "r:$top/a.qcow2" 2>/dev/null)" \
    '.uid == 65534 and .no_new_privs and (.may_use_inet | not) and .n_disks_reached == 1'

# shellcheck disable=SC2016 # for the inner shell
"${as_nobody[@]}" unshare -U --map-user=65534 --map-group=65534 --keep-caps sh -c '
    echo 0 >/proc/sys/user/max_user_namespaces && exec setpriv --inh-caps=-all --ambient-caps=-all "$@"' \
    sh "$guesttool" "$top/own" fetch ping '{}' 60000 >/dev/null 2>"$top/err"
like "$(cat "$top/err")" '^warning the helper is not kept from imaged.s own files' \
    "where there are no namespaces either, that is said"

# ---- By a socket, as under systemd ----

sockets=$top/sockets
mkdir -m 755 "$sockets"
install -m 755 "$BUILD/imaged-guest" "$top/imaged-guest"
systemd-socket-activate -l "$sockets/guest" -a --inetd \
    setpriv --reuid=65534 --regid=65534 --clear-groups \
    "$top/imaged-guest" --role guest --service 2>"$top/activate.log" &
keep_pid $!
wait_for 10 test -S "$sockets/guest"
chmod 666 "$sockets/guest"
export IMAGED_TEST_GUEST_SOCKET=$sockets
json_ok "a unit's helper serves" "$(run guest ping '{}' 60000 "r:$top/a.qcow2" 2>"$top/err")" \
    '.uid == 65534 and .no_new_privs and (.may_use_inet | not) and .n_disks_reached == 1' ||
    diag "$(cat "$top/err" "$top/activate.log")"
fails_with 1 "it was killed after 1 s" "one that takes too long is hung up on" \
    run guest ping '{"delay_ms":60000}' 1000
unit_gone() { ! pgrep -f "^$top/imaged-guest --role guest" >/dev/null; }
ok "and then ends itself" wait_for 10 unit_gone
fails_with 1 "cannot reach the helper's unit at '$sockets/fetch'" "no unit" run fetch ping
rm "$sockets/guest"

# ---- Hostile ones ----

start_fake()
{
    rm -f "$sockets/guest" "$top/fake.out"
    /usr/bin/python3 "$here/guest_fake.py" "$sockets/guest" "$1" >"$top/fake.out" &
    fake=$!
    keep_pid $fake
    wait_for 10 grep -q ready "$top/fake.out"
}
fake()
{
    local name=$1 pattern=$2 limit=${3:-20000} fake
    start_fake "$name"
    fails_with 1 "$pattern" "a helper that is $name" run guest ping '{}' "$limit"
    kill $fake
    wait $fake 2>/dev/null
}
fake garbage "unavailable: the helper for 'the test': it said what makes no sense: a line that is not JSON"
fake silent "it was killed after 1 s" 1000
fake hangup "it ended without an answer"
fake endless "a line that is too long"
fake events "it was killed after 1 s" 1000
fake deep "a line that is not JSON"
fake rich "too many values"
fake liar "data of no possible length"
fake drip "it was killed after 1 s" 1000 3>/dev/null
export IMAGED_TEST_STREAM=1
fake silent "it was killed after 1 s of silence" 1000
fake events "it was killed after 1 s of silence" 1000
start_fake drip
is "$(run guest ping '{}' 1000 3>&1 >/dev/null)" abababababab "a stream may take longer than its limit, if it moves"
kill $fake
wait $fake 2>/dev/null
unset IMAGED_TEST_STREAM
is "$(ls "$state/guest")" "" "no folder is left of any"

# ---- A file of which some was sent is not sent again by the appliance ----

mkdir "$top/appliance"
touch "$top/appliance"/{README.fixed,initrd,kernel,root}
start_fake unable
IMAGED_TEST_AUTO=1 IMAGED_TEST_APPLIANCE=$top/appliance run guest ping >/dev/null 2>"$top/err"
like "$(cat "$top/err")" 'only the appliance can tell' "one whose probe of KVM fails runs without it"
is "$(grep -c asked "$top/fake.out")" $((1 + $(find /dev -maxdepth 1 -name kvm | grep -c .))) "... after it was asked"
not_ok "... and that it failed is not kept" test -e "$state/accelerator"
kill $fake
wait $fake 2>/dev/null
configure "guest_socket_dir = $sockets" "appliance = $top/appliance" "accelerator = tcg"
start_daemon || diag "$(cat "$log")"
ctl template import a "$top/a.qcow2" --format qcow2 >/dev/null
start_fake late
not_ok "a file that breaks off is an error" ctl desktop files get a:1 /x "$top/got"
is "$(grep -c asked "$top/fake.out")" 1 "... and not begun again behind what was sent"
kill $fake
wait $fake 2>/dev/null
start_fake unable
not_ok "one that cannot be begun is an error" ctl desktop files get a:1 /x "$top/got"
is "$(grep -c asked "$top/fake.out")" 2 "... only after the appliance was asked, too"
kill $fake
wait $fake 2>/dev/null
done_testing
