#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# run_tests.t: how tests are run (tests/run.sh): side by side as they say, judged by prove, ended when
# they take too long; and nothing that they left is there afterwards.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

tree=$top/tree notes=$top/notes
mkdir -p "$tree/tests/functional" "$tree/build/tests"
cp "$repo/tests/run.sh" "$repo/tests/sweep.sh" "$tree/tests/"
cp "$repo/tests/functional/lib.sh" "$tree/tests/functional/"

# script NAME MARKER: a test that notes when it begins and ends; standard input is what it does between.
script()
{
    {
        printf '%s\n' "$2" '. "$(dirname "$0")/lib.sh"' "note() { echo \"\$1 $1\" >>'$notes'; }" \
            "begun() { [ \"\$(grep -c \"^begin \$1\" '$notes')\" -ge \"\$2\" ]; }" 'note begin'
        cat
        echo 'note end; done_testing'
    } >"$tree/tests/functional/$1.t"
}
# run NAME=VALUE...: all of them, with this in the environment.
run()
{
    rm -f "$notes"
    env -u TEST_FOLDERS SANITIZED=1 TEST_JOBS=3 TEST_LIMIT=60 TEST_GRACE=1 "$@" \
        bash "$tree/tests/run.sh" "$tree/build" >"$top/out" 2>&1 </dev/null
}
# most REGEX: how many of them were at work at once.
most()
{
    awk -v names="$1" '$2 ~ names { n += $1 == "begin" ? 1 : -1; if (n > most) most = n }
        END { print most + 0 }' "$notes"
}

# ---- Side by side ----

for name in heavy-1 heavy-2 heavy-3; do
    script $name '# heavy: so it says' <<<'ok two wait_for 40 begun heavy 2'
done
script alone '# serial: so it says' <<<'pass well'
script long '# long: 40 s' <<<'ok "there is room beside two heavy ones" wait_for 40 begun heavy 2'
script longer '# long: 50 s' <<<'ok "so does the next one" wait_for 40 begun long 2'
script other '' <<<'pass well'
ok 'all well' run || diag "$(cat "$top/out")"
like "$(cat "$top/out")" '^all well: 7 test programs' '... is said'
is "$(head -n 2 "$notes" | xargs)" 'begin alone end alone' 'one that wants to be alone is'
is "$(most heavy)" 2 'two heavy ones at once, and no more'
is "$(sed -n 's/begin //p' "$notes" | head -n 4 | sort | xargs)" 'alone heavy-1 long longer' 'the long ones begin first'

# ---- What is wrong is told ----

rm "$tree"/tests/functional/*.t
script good '' <<<'pass well'
script bad '' <<<'fail "this one" why'
not_ok 'one that fails' run
like "$(cat "$top/out")" '^not ok 1 - this one' '... says what'
like "$(cat "$top/out")" '^# why' '... and why'
rm "$tree/tests/functional/bad.t"
echo 'echo ok 1 - one; echo 1..2' >"$tree/tests/functional/short.t"
not_ok 'one that ends too early, and finds that well' run
echo 'exit 0' >"$tree/tests/functional/short.t"
not_ok 'one that says nothing' run
rm "$tree/tests/functional/short.t"
ok 'without them all is well' run

# ---- Nothing is left ----

# In namespaces of their own, without our environment, behind mounts and a loop device.
script hangs '' <<'E'
ip link add imtest77 type dummy && echo "ip link del imtest77" >>"$top/undo"
truncate -s 8M "$top/disk" && mkfs.ext4 -q "$top/disk" && mkdir "$top/m" "$top/m2" "$top/private" &&
    mount -o loop "$top/disk" "$top/m" && mount -t tmpfs none "$top/m2"
env -i unshare --mount --pid --fork bash -c "mount --bind '$top/private' /mnt; exec sleep 1000" &
sleep 1000 &
is_bound() { grep -qsF " /mnt " /proc/[0-9]*/mountinfo; }
wait_for 20 is_bound
echo "$top" >"$NOTE"
[ -z "${DEAF:-}" ] || trap '' TERM
note ready
while :; do wait -n; sleep 0.1; done
E
# What of the test that was ended is there.
left()
{
    local folder
    folder=$(cat "$NOTE") || { echo 'it did not begin'; return; }
    ls -d "$folder" 2>/dev/null
    grep -F "$folder" /proc/self/mountinfo
    grep -sF "$folder" /sys/block/loop*/loop/backing_file
    pgrep -f "${folder}/private"
    grep -lsF "/${folder##*/}/private" /proc/[0-9]*/mountinfo
    grep -lsaF "$folder" /proc/[0-9]*/environ
    ip -o link show imtest77 2>/dev/null
}
export NOTE=$top/note
not_ok 'one that hangs' run TEST_LIMIT=5
like "$(cat "$top/out")" 'ends within 5 s' '... is ended'
is "$(left)" '' '... and leaves nothing'
rm -f "$NOTE"
not_ok 'one that does not even listen' run TEST_LIMIT=5 DEAF=1
is "$(left)" '' '... nor does that'
rm -f "$NOTE"
(run DEAF=1) &
keep_pid $!
is_ready() { grep -q 'ready hangs' "$notes"; }
ok 'one that hangs' wait_for 20 is_ready
runner() { pgrep -f "bash $tree/tests/run.sh $tree/build"; }
kill "$(runner | head -n 1)"
has_ended() { ! runner; }
ok 'who ends the runner' wait_for 30 has_ended
is "$(left)" '' '... ends it, and all of it'
done_testing
