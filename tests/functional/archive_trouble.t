#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# archive_trouble.t: archives when things go wrong: flipped bits, a full target, one that goes away,
# kills in the middle, cancelling, a desktop that is re-imaged meanwhile.
set -u
. "$(dirname "$0")/lib.sh"

arc=$top/arc
mkdir "$arc"

start_daemon || exit 1
make_raw "$top/golden.raw" 256M 0 17 3M 100M 42 2M
ctl template import golden "$top/golden.raw" --format raw >/dev/null
ctl desktop create a b slow --template golden >/dev/null
mark a 7
mark b 8
ctl archive target add nas "$arc" >/dev/null

new_point()
{
    ctlj archive create "$1" --to "${2:-nas}" | jq -r '.items[0].id'
}

object_of()
{
    jq -r ".chain[$2].object" "$arc/points/$1.json"
}

# flip FILE OFFSET: one bit of it.
flip()
{
    chmod u+w "$1"
    python3 - "$1" "$2" <<'P'
import sys
with open(sys.argv[1], 'r+b') as f:
    f.seek(int(sys.argv[2]))
    byte = f.read(1)[0]
    f.seek(int(sys.argv[2]))
    f.write(bytes([byte ^ 4]))
P
}

n_tmp()
{
    find "$1/tmp" -type f | wc -l
}

# ---- Flipped bits ----

pa=$(new_point a)
pb=$(new_point b)
own=$arc/layers/$(object_of "$pa" 1).qcow2
flip "$own" $(($(stat -c %s "$own") / 2))
said=$(ctl archive verify --target nas 2>&1)
is $? 1 'verify finds a flipped bit of an own layer'
like "$said" "damaged object.*touches a of .*$pa" '... and names the point'
unlike "$said" "touches.*$pb" '... and no other'
is "$(field .state archive show "$pa")" damaged '... which is marked'
is "$(field .state archive show "$pb")" ok '... the other one not'
fails_with 1 'damaged' 'it is not restored' ctl archive restore "$pa" --as never
fails_with 3 'no desktop' '... and left nothing' ctl desktop show never
ok 'the point that is whole restores' ctl archive restore "$pb" --as b2
ok '... with its state' has b2 8
ok 'the next archive of that layer stores it again' ctl archive create a --to nas
ok 'which makes the old point good' ctl archive verify --target nas
is "$(field .state archive show "$pa")" ok '... and it is marked so'
base=$arc/layers/$(object_of "$pa" 0).qcow2
flip "$base" 200000
said=$(ctl archive verify "$pb" 2>&1)
is $? 1 'a flipped bit of the template is found from one point'
like "$said" "$pb" '... which it touches'
said=$(ctlj archive verify --target nas 2>/dev/null)
json_ok 'verifying all names all that stand on it' "$said" '.n_damaged == 3 and (.findings | length) == 1'
flip "$base" 200000
ok 'flipped back, all is well' ctl archive verify --target nas

cp "$arc/points/$pb.json" "$top/kept"
found=0
for at in 3 60 250 400 700 1000; do
    flip "$arc/points/$pb.json" $at
    ctl archive verify "$pb" >/dev/null 2>&1 || found=$((found + 1))
    cp "$top/kept" "$arc/points/$pb.json"
done
is $found 6 'every flipped bit of a manifest is found'
flip "$arc/points/$pb.json" 250
fails_with 1 "$pb" 'with a manifest that cannot be read nothing is collected' ctl archive gc nas
is "$(find "$arc/layers" -type f | wc -l)" 3 '... no layer is gone'
cp "$top/kept" "$arc/points/$pb.json"
ok 'whole again' ctl archive verify "$pb"
rm "$arc/layers/$(object_of "$pb" 1).qcow2"
fails_with 1 'damaged' 'a missing object is found' ctl archive verify --target nas
ok 'and stored again' ctl archive create b --to nas
ok 'all is well' ctl archive verify --target nas
echo '{"format": 1}' >"$arc/points/$(printf '%032d' 1).json"
ok 'rubbish among the points harms no list' ctl archive list --refresh
is "$(field '.[] | select(.name == "(unreadable)") | .state' archive list)" damaged '... and is shown as such'
ok 'it can be deleted' ctl archive delete "$(printf '%032d' 1)" --now --yes

# ---- A target that is not there ----

mv "$arc" "$top/away"
fails_with 1 'not there' 'a target that is gone' ctl archive create a --to nas
said=$(ctl archive prune --target nas --keep-last 1 --yes 2>&1)
is $? 1 '... cannot be pruned'
is "$(grep -c 'not there' <<<"$said")/$(wc -l <<<"$said")" 1/1 '... which is said once'
json_ok 'no point of it is gone' "$(ctlj archive list --target nas --of a)" 'length > 1'
mkdir "$arc"
fails_with 1 'empty mount point' 'an empty folder in its place' ctl archive create a --to nas
is "$(ls -A "$arc")" '' '... gets nothing written'
rmdir "$arc"
mkdir "$top/other"
ctl archive target add other "$top/other" >/dev/null
mv "$top/other" "$arc"
fails_with 1 'another archive' "another archive's disk in its place" ctl archive create a --to nas
is "$(find "$arc/layers" "$arc/points" -type f | wc -l)" 0 '... gets nothing written'
mv "$arc" "$top/other"
mv "$top/away" "$arc"
ok 'back again' ctl archive create a --to nas

# ---- A full target ----

small=$top/small
mkdir "$small"
mount -t tmpfs -o size=1536k imgd-test "$small" || exit 1
ctl archive target add small "$small" >/dev/null
good=$(new_point b small)
random_file "$top/noise" 8 5
qemu-img convert -n -f raw -O qcow2 -S 0 "$top/noise" "$(path_of a)" 2>/dev/null ||
    qio "$(path_of a)" "write -q -s $top/noise 16M 8M"
fails_with 1 "no space|No space|full" 'a full target says so' ctl archive create a --to small
is "$(n_tmp "$small")" 0 '... leaves nothing half written'
ok 'the last good point is untouched' ctl archive verify --target small
is "$(field '.[].id' archive list --target small)" "$good" '... and the only one'
ok '... it restores' ctl archive restore "$good" --as from-small
ok 'a job of many stops at once, and says what it did' \
    grep -q '"n_done"' <(ctlj archive create b a slow --to small 2>/dev/null)

# ---- Killed, resumed, cancelled ----

random_file "$top/noise" 96 6
qio "$(path_of slow)" "write -q -s $top/noise 32M 96M" >/dev/null
# hold FOLDER N: who opens or makes the N-th thing in it stops there, until release.
hold()
{
    strace -f -qq -p "$daemon" -o /dev/null -P "$1" -e trace=openat \
        -e "inject=openat:delay_exit=60000000:when=$2" 2>"$top/strace.err" &
    tracer=$!
    keep_pid "$tracer"
    wait_for 10 is_traced || { diag "$(cat "$top/strace.err")"; exit 1; }
}

is_traced()
{
    grep -q "^TracerPid:[[:space:]]*[1-9]" "/proc/$daemon/status"
}

release()
{
    kill -INT "$tracer"
    wait "$tracer" 2>/dev/null
}

packing()
{
    [ "$(n_tmp "$arc")" -gt 0 ]
}
job=$(ctlj archive create slow --to nas --no-wait | jq -r .id)
wait_for 20 packing || diag "never saw it packing"
stop_daemon KILL
is "$(grep -l '"slow"' "$arc"/points/*.json | wc -l)" 0 'killed in the middle: no point'
start_daemon || exit 1
ok 'the job goes on after the restart' ctl job wait "$job"
slow=$(field '.[0].id' archive list --of slow)
ok 'its point is whole' ctl archive verify "$slow"
is "$(n_tmp "$arc")" 0 '... and nothing is left half written'
ok '... and reads as the desktop does' qemu-img compare -f qcow2 -F qcow2 \
    "$(field .file archive show "$slow")" "$(path_of slow)"

random_file "$top/noise" 96 7
qio "$(path_of slow)" "write -q -s $top/noise 32M 96M" >/dev/null
n=$(find "$arc/points" -type f | wc -l)
hold "$arc/tmp" 2 # the first is its listing
job=$(ctlj archive create slow --to nas --no-wait | jq -r .id)
wait_for 20 packing || diag "never saw it packing"
ok 'while its frozen layer is stored, the desktop can be re-imaged' ctl desktop reset slow --yes
is "$(field .state job show "$job")/$(n_tmp "$arc")" running/1 'the archive is still at it'
ctl job cancel "$job" >/dev/null
release
ctl job wait "$job" >/dev/null 2>&1
is "$(field .state job show "$job")" cancelled 'it is cancelled'
is "$(n_tmp "$arc")" 0 '... and left nothing half written'
is "$(find "$arc/points" -type f | wc -l)" "$n" '... and no point'
ok 'all is well' ctl archive verify --target nas

job=$(ctlj archive restore "$slow" --as slow2 --no-wait | jq -r .id)
restoring()
{
    [ "$(find "$store/tmp" -type f | wc -l)" -gt 0 ]
}
wait_for 20 restoring || diag "never saw it restoring"
stop_daemon KILL
start_daemon || exit 1
ok 'a restore goes on after the restart' ctl job wait "$job"
ok '... to the state that was archived' qemu-img compare -f qcow2 -F qcow2 \
    "$(field .file archive show "$slow")" "$(path_of slow2)"
hold "$store/tmp" 1
job=$(ctlj archive restore "$slow" --in-place --yes --no-wait | jq -r .id)
wait_for 20 restoring || diag "never saw it restoring"
fails_with 4 busy 'while it is restored in place it is busy' ctl desktop reset slow --yes
ctl job cancel "$job" >/dev/null
release
ctl job wait "$job" >/dev/null 2>&1
is "$(field .state job show "$job")" cancelled 'cancelled'
is "$(find "$store/tmp" -type f | wc -l)" 0 '... it leaves nothing'
ok 'the store is clean' check_is_clean

# ---- It goes away midway ----

qio "$(path_of slow)" "write -q -s $top/noise 32M 96M" >/dev/null
job=$(ctlj archive create slow --to nas --no-wait | jq -r .id)
wait_for 20 packing || diag "never saw it packing"
mv "$arc" "$top/away"
ctl job wait "$job" >/dev/null 2>&1
is "$(field .state job show "$job")" failed 'a target that goes away midway ends the job'
like "$(field .error.message job show "$job")" "not there" '... and says why'
mv "$top/away" "$arc"
ok 'all that it held is well' ctl archive verify --target nas
ok 'and the archive is made then' ctl archive create slow --to nas
ok 'all is well' ctl archive verify --target nas
stop_daemon
umount "$small"
done_testing
