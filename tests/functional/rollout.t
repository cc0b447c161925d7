#!/bin/bash
# rollout.t: desktops moved to another version: canary, health, batches; what stops it, how it goes
# on, how it goes back; stops of the daemon in the middle.
. "$(dirname "$0")/lib.sh"

# ---- what it is tried with ----

# A health command that does as $top/health/NAME says for a desktop, or $top/health/all.
make_health()
{
    mkdir -p "$state/health" "$top/health"
    chmod 711 "$top"
    chmod 777 "$top/health" # nobody writes what it saw
    cat >"$state/health/$1" <<END
#!/bin/bash
echo \$\$ >>$top/health/pids
echo "\$IMAGED_DESKTOP \$IMAGED_TEMPLATE \$IMAGED_VERSION \$IMAGED_ROLLOUT \$(id -un) \$#" >>$top/health/seen
for f in "$top/health/\$IMAGED_DESKTOP" "$top/health/all"; do
    [ -r "\$f" ] && . "\$f"
done
exit 0
END
    chmod 755 "$state/health/$1"
}

# Is no health command at work?
none_runs()
{
    local pid
    while read -r pid; do
        kill -0 "$pid" 2>/dev/null && return 1
    done <"$top/health/pids"
    ! pgrep -u nobody -f 'sleep 1000' >/dev/null
}

# The health of a desktop (or all) from now on: a line of shell.
health_is()
{
    echo "$2" >"$top/health/$1"
    chmod 644 "$top/health/$1"
}

# What a guest would read of a desktop's disk.
digest()
{
    qemu-img convert -q -U -O raw "$(path_of "$1")" "$top/digest.raw" && sha256sum <"$top/digest.raw"
}

version_of()
{
    field .version desktop show "$1"
}

versions_of()
{
    ctlj desktop list --prefix "$1" | jq -r 'map(.version) | join(" ")'
}

state_of()
{
    field .state rollout show "$1"
}

state_is()
{
    [ "$(state_of "$1")" = "$2" ]
}

desktops_of()
{
    ctlj rollout show "$1" --desktops
}

identity_of()
{
    ctlj desktop show "$1" | jq -c '[.id, .name, .mac, .uuid, .owner, .created_at]'
}

# Nothing is held, lost or left.
is_sound()
{
    ok "$1: every byte is accounted for" check_is_clean
}

mkdir -p "$state/health"
printf '#!/bin/sh\n' >"$state/health/any"
chmod 755 "$state/health/any"
if [ "$(id -u)" = 0 ]; then
    configure 'guest_user = nobody' 'health_user = nobody'
    ok 'a daemon whose health commands are the user that reads disks' start_daemon
    fails_with 5 'guest helper' '... runs none' ctl rollout start --yes --template win --all --health any
    stop_daemon
fi
configure 'guest_user = daemon' 'health_user = nobody'
ok 'the daemon starts' start_daemon
make_raw "$top/a.raw" 16M 0 0x11 1M 8M 0x22 1M
make_raw "$top/b.raw" 16M 0 0x33 2M
make_raw "$top/c.raw" 16M 0 0x44 1M
ctl template import win "$top/a.raw" --format raw >"$top/said"
ctl desktop create --prefix lab --count 8 --template win --owner ann >"$top/said"
ctl template import win "$top/b.raw" --format raw >"$top/said"
ctl desktop create new --template win >"$top/said"
ctl template import other "$top/c.raw" --format raw >"$top/said"
ctl desktop create stranger --template other >"$top/said"
make_health boots
for i in 1 2 3 4 5 6 7 8; do mark lab-00$i 0x5$i; done

# ---- what is refused ----

fails_with 2 template 'whose desktops?' ctl rollout start --yes --all
fails_with 2 'which desktops' 'which of them?' ctl rollout start --yes --template win
fails_with 2 'which desktops' '... in one way' ctl rollout start --yes --template win --all --prefix lab
fails_with 3 'hint:.*--to 1' 'a template with its version' ctl rollout start --yes --template win:1 --all
fails_with 3 version 'a version that is not there' ctl rollout start --yes --template win --to 9 --all
fails_with 3 nosuch 'a name that is not there: nothing is begun' ctl rollout start --yes --template win lab-001 nosuch
fails_with 2 "does not stand" "another template's desktop" ctl rollout start --yes --template win lab-001 stranger
fails_with 3 selected 'a prefix that nobody has' ctl rollout start --yes --template win --prefix x
fails_with 2 'without a path' 'a health command with a path' \
    ctl rollout start --yes --template win --all --health /bin/true
fails_with 2 'without a path' 'a health command with words' ctl rollout start --yes --template win --all --health 'boots now'
fails_with 3 'no health command' 'one that is not there' ctl rollout start --yes --template win --all --health nosuch
cp "$state/health/boots" "$state/health/loose"
chmod 777 "$state/health/loose"
fails_with 5 'changed by others' 'one that others can write' ctl rollout start --yes --template win --all --health loose
ln -s /bin/true "$state/health/link"
fails_with '[135]' link 'one that is a link' ctl rollout start --yes --template win --all --health link
fails_with 2 'no time' 'a deadline that is none' ctl rollout start --yes --template win --all --deadline soon
fails_with 2 over 'a deadline that is over' ctl rollout start --yes --template win --all --deadline 2020-01-01T00:00:00Z
fails_with 3 'no roll-out' 'a roll-out that is not there' ctl rollout show nosuch
fails_with 3 'no roll-out' '... is not asked about' ctl rollout rollback nosuch </dev/null
ctl template import win "$top/c.raw" --format raw --draft >"$top/said"
fails_with 2 draft 'a draft is rolled out to nobody' ctl rollout start --yes --template win --to 3 --all
fails_with 2 'draft, not published' '... nor is anybody reset to it' ctl desktop reset lab-001 --to 3 --yes
ctl template publish win:3 --unsealed >/dev/null
ctl template retire win:3 >/dev/null
fails_with 2 retired 'a retired one is rolled out to nobody' ctl rollout start --yes --template win --to 3 --all
fails_with 2 'retired, not published' '... nor is anybody reset to it' ctl desktop reset lab-001 --to 3 --yes
fails_with 2 'hint: --yes' 'nobody to ask and no --yes' ctl rollout start --template win --all </dev/null
is "$(ctlj rollout list)" '[]' 'none of them is a roll-out'
is "$(versions_of lab)" '1 1 1 1 1 1 1 1' '... and nothing was moved'

# ---- dry run ----

files=$(store_files)
dry=$(ctlj rollout start --template win --to 2 --all --canary 2 --batch 4 --dry-run)
json_ok 'a dry run says who moves when, and who does not' "$dry" '.dry_run and .n_move == 8
    and .n_skipped == 1 and .n_unavailable == 0 and .version == 2
    and (.desktops | map(select(.stage == "canary").name)) == ["lab-001", "lab-002"]
    and (.desktops | map(select(.stage == "batch 1")) | length) == 4
    and (.desktops | map(select(.stage == "batch 2")) | length) == 2
    and (.desktops[] | select(.name == "new") | .action == "skip" and (.reason | test("already")))'
over=$(date -d '-1 minute' '+%F %H:%M')
like "$(ctl rollout start --template win --to 2 --all --deadline "${over#* }" --dry-run)" \
    "nothing more after $(date -d "$over 1 day" '+%F %H:%M'):00" 'a time without its day: the day is told'
fails_with 2 'must be from 1 to 2147483647' 'a number out of range: the range' \
    ctl rollout start --yes --template win --to 2 --all --batch 99999999999
is "$(store_files)" "$files" '... and changes nothing'
is "$(ctlj rollout list)" '[]' '... nor is it kept'

# ---- a canary that fails, and back ----

for i in 1 2 3; do before[i]=$(digest lab-00$i); done
ids=$(identity_of lab-001)
health_is lab-002 'echo "no network"; echo "gave up" >&2; exit 7'
fails_with 1 "stopped.*boots.*lab-002.*exit code 7: no network \| gave up" 'a canary that is not well stops it, and says why' \
    ctl rollout start --yes --template win --to 2 --all --canary 2 --batch 4 --health boots
json_ok 'show says where it is' "$(ctlj rollout show win-2)" '.state == "stopped" and .n_moved == 2
    and .n_unhealthy == 1 and .n_waiting == 6 and .n_skipped == 1 and (.reason | test("exit code 7"))
    and .template == "win" and .version == 2 and .canary == 2 and .health == "boots"'
is "$(versions_of lab)" '2 2 1 1 1 1 1 1' 'nothing else was moved'
json_ok 'it has no speed while it stands' "$(ctlj rollout show win-2)" '.desktops_per_s == null and .eta_s == null'
unlike "$(ctl rollout show win-2)" 'DESKTOPS/S +[0-9]' '... nor says that it is 0'
json_ok '--in-state lists those' "$(ctlj rollout show win-2 --in-state moved)" 'map(.name) == ["lab-001", "lab-002"]'
like "$(cat "$top/health/seen")" '^lab-001 win 2 win-2 nobody 0$' 'the command had the words it needs, few rights, no arguments'
is "$(field '[.[] | select(.reason == "rollout")] | length' trash list)" 2 'the former disks are in the trash'
entry=$(field '[.[] | select(.reason == "rollout")][0].id' trash list)
fails_with 4 'roll-out' '... and are held there' ctl trash empty "$entry" --yes
ctl trash empty --yes >"$top/said" 2>&1
is "$(field '[.[] | select(.reason == "rollout")] | length' trash list)" 2 '... whatever else goes'
fails_with 4 "lab-00.* is part of roll-out 'win-2'" 'a second roll-out over the same desktops is refused' \
    ctl rollout start --yes --template win --to 2 lab-005
like "$(http GET /metrics)" '^imaged_rollouts_stopped 1$' 'metrics count it'
fails_with 2 'not over' 'it is not over, so not forgotten' ctl rollout delete win-2
generation=$(field .generation desktop show lab-001)
fails_with 2 'hint: --yes' 'a rollback with nobody to ask' ctl rollout rollback win-2 </dev/null
ok 'rollback' ctl rollout rollback --yes win-2
is "$(state_of win-2)" rolled-back 'it is rolled back'
is "$(versions_of lab)" '1 1 1 1 1 1 1 1' 'all stand where they stood'
is "$(digest lab-001) $(digest lab-002) $(digest lab-003)" "${before[1]} ${before[2]} ${before[3]}" \
    'with the very bytes they had'
ok '... as QEMU sees them' has lab-001 0x51
is "$(identity_of lab-001)" "$ids" 'a desktop keeps id, name, MAC, owner'
is "$(field .generation desktop show lab-001)" $((generation + 1)) '... with a new generation'
is "$(field .generation desktop show lab-003)" 1 'one that was not moved has its own'
fails_with 2 'no desktop' 'there is nothing more to bring back' ctl rollout rollback --yes win-2
is_sound 'after a rollback'

# ---- one that passes ----

rm "$top/health/lab-002"
said=$(ctl rollout start --yes --template win --to 2 --all --canary 1 --batch 3 --health boots 2>&1)
is $? 0 'a roll-out that passes'
like "$said" 'STATE +done' '... shows itself'
json_ok '... all of it' "$(ctlj rollout show)" '.name == "win-2-2" and .state == "done" and .n_moved == 8
    and .n_waiting == 0 and .n_unchecked == 0 and .n_skipped == 1 and .finished_at != null'
is "$(versions_of lab)" '2 2 2 2 2 2 2 2' 'all moved'
ok 'QEMU sees the new version' qemu-img compare -q -f qcow2 -F raw "$(path_of lab-008)" "$top/b.raw"
ok '... and likes the layer' qemu-img check -q "$(path_of lab-001)"
json_ok 'each was looked at once' "$(desktops_of win-2-2)" '(map(select(.state == "moved" and .health == "ok")) | length) == 8
    and (.[] | select(.name == "new") | .state == "skipped")'
is "$(grep -c 'win-2-2' "$top/health/seen")" 8 '... by the command'
like "$(ctl event list)" 'rollout.done .*win-2-2' 'an event tells its end'
is "$(field .undo_available desktop show lab-004)" true 'one of them alone can be undone'
ok '... by undo-reset' ctl desktop undo-reset lab-004 --yes
ok '... with its mark' has lab-004 0x54
ok 'one is re-imaged since' ctl desktop reset lab-005 --yes
ok 'one is deleted since' ctl desktop delete lab-006 --yes
fails_with 1 '2 desktops could not be brought back' 'rollback of what is over' ctl rollout rollback --yes win-2-2
json_ok 'what was changed since by somebody else is left, with a word' "$(desktops_of win-2-2)" '
    (.[] | select(.name == "lab-004") | .state == "returned")
    and (.[] | select(.name == "lab-005") | .state == "kept" and (.reason | test("replaced since")))
    and (.[] | select(.name == "lab-006") | .state == "kept" and (.reason | test("deleted")))
    and (map(select(.state == "returned")) | length) == 6'
is "$(versions_of lab)" '1 1 1 1 2 1 1' 'the others are back'
ok '... with their marks' has lab-008 0x58
like "$(ctl rollout show win-2-2)" 'lab-005 .*kept' 'show lists what needs a look'
ok 'undo of the re-image, and of the move' eval 'for i in 1 2; do ctl desktop undo-reset lab-005 --yes; done'
is_sound 'after the second rollback'

# ---- desktops that are in use ----

exec 9> >(exec qemu-io -f qcow2 "$(path_of lab-002)" >/dev/null 2>&1)
qemu=$!
keep_pid $qemu
is_live() { [ "$(field .live desktop show lab-002)" = true ]; }
ok 'QEMU has a disk open' wait_for 10 is_live
json_ok 'a dry run sees it' "$(ctlj rollout start --template win --to 2 --prefix lab --dry-run)" \
    '.n_unavailable == 1 and (.desktops[] | select(.name == "lab-002") | .action == "unavailable")'
fails_with 1 'could not be moved now, more than 0.*lab-002.*QEMU' 'one more than --max-unavailable stops it' \
    ctl rollout start --yes --template win --to 2 lab-001 lab-002 lab-003 --max-unavailable 0 --canary 0
json_ok '... what could be moved was' "$(ctlj rollout show)" '.n_moved == 2 and .n_unavailable == 1'
fails_with 1 'could not be moved now' 'resume tries it again' ctl rollout resume win-2-3
ok 'resume --skip-failed leaves it' ctl rollout resume win-2-3 --skip-failed
is "$(state_of win-2-3)" 'done' 'and is over'
ok 'back' ctl rollout rollback --yes win-2-3
ok 'one that is over can be forgotten' ctl rollout delete win-2-3
said=$(ctlj rollout start --yes --template win --to 2 lab-002 lab-007 lab-008 --canary 0 2>&1)
json_ok 'one that is in use is left, and counted' "$said" '.state == "done" and .n_moved == 2 and .n_unavailable == 1'
is "$(version_of lab-002)" 1 '... as it was'
ok '... with QEMU on it' is_live
exec 9>&-
wait_for 10 eval '! kill -0 $qemu'
ok 'rollback' ctl rollout rollback --yes "$(field '.name' rollout show)"
ok 'its turn comes with the next one' ctl rollout start --yes --template win --to 2 lab-002
ok '... and back' ctl rollout rollback --yes "$(field '.name' rollout show)"
is_sound 'after those in use'

# ---- another store ----

mkdir "$top/side"
ctl store add side "$top/side" >"$top/said"
ctl desktop create far-1 far-2 --template win:1 --store side >"$top/said"
mark far-1 0x61
ok 'desktops of two stores' ctl rollout start --yes --template win --to 2 lab-001 far-1
is "$(field '[.[] | select(.name == "template.copy" and .object == "win")] | length' event list)" 2 \
    'the version was copied there once (as the one before was)'
ok 'QEMU reads it there' qemu-img compare -q -f qcow2 -F raw "$(path_of far-1)" "$top/b.raw"
ok 'back' ctl rollout rollback --yes "$(field '.name' rollout show)"
ok '... with its mark' has far-1 0x61
mv "$top/side" "$top/unplugged"
is_offline() { [ "$(field .state store show side)" = offline ]; }
ok 'that store goes away' wait_for 20 is_offline
said=$(ctlj rollout start --yes --template win --to 2 lab-001 far-1 far-2 --max-unavailable 2 2>&1)
json_ok 'its desktops are unavailable' "$said" '.state == "done" and .n_moved == 1 and .n_unavailable == 2'
ok 'back' ctl rollout rollback --yes "$(field '.name' rollout show)"
mv "$top/unplugged" "$top/side"
is_online() { [ "$(field .state store show side)" = online ]; }
ok 'the store is there again' wait_for 20 is_online
ok 'and they are moved' ctl rollout start --yes --template win --to 2 --prefix far-
is "$(version_of far-1) $(version_of far-2)" '2 2' '... both'
ctl template import away "$top/a.raw" --format raw >"$top/said"
ctl desktop create away-1 --template away >"$top/said"
ctl template import away "$top/b.raw" --format raw --store side >"$top/said"
mv "$top/side" "$top/unplugged"
ok 'a store goes away with a version that is nowhere else' wait_for 20 is_offline
fails_with 1 '1 desktop could not be moved now, more than 0.*away-1.*the version is not in its store' 'its desktops wait' \
    ctl rollout start --yes --template away --all --max-unavailable 0
json_ok '... as unavailable' "$(ctlj rollout show away-2)" '.state == "stopped" and .n_unavailable == 1 and .n_failed == 0'
fails_with 1 'could not be moved now' '... also when it is tried again' ctl rollout resume away-2
mv "$top/unplugged" "$top/side"
ok 'the store is there again' wait_for 20 is_online
ok 'then they move' ctl rollout resume away-2
is "$(version_of away-1) $(state_of away-2)" '2 done' '... to the version that was copied'
ctl desktop delete away-1 --yes >"$top/said"
ok 'they are not needed any more' ctl desktop delete --all-of-prefix far- --yes

# ---- time limits ----

cp "$top/b.raw" "$top/health/new.raw"
health_is all "[ \"\$(nbdinfo --size \"\$IMAGED_DISK_URI\")\" = 16777216 ] || exit 8; nbdcopy \"\$IMAGED_DISK_URI\" - | cmp - $top/health/new.raw || exit 9"
ok 'a health command reads the disk it is about' ctl rollout start --yes --template win --to 2 lab-001 lab-003 --health boots
ok 'back' ctl rollout rollback --yes "$(field '.name' rollout show)"
is "$(ls "$state/guest")" '' '... of which nothing is left'
rm "$top/health/all"
health_is lab-001 'sleep 1000 & sleep 1000'
start=$(date +%s)
fails_with 1 "lab-001.*no answer within 1 s" 'a health command that hangs' \
    ctl rollout start --yes --template win --to 2 lab-001 lab-003 --health boots --health-timeout 1s
ok '... is ended in time' [ $(($(date +%s) - start)) -lt 30 ]
ok '... with all that it started' none_runs
rm "$top/health/lab-001"
ok 'once it is well the roll-out goes on' ctl rollout resume "$(field .name rollout show)"
is "$(version_of lab-003) $(field .state rollout show)" '2 done' '... to its end'
ok 'back' ctl rollout rollback --yes "$(field .name rollout show)"

health_is all 'sleep 3'
fails_with 1 'deadline is over, with 1 ' 'a deadline: nothing more is moved after it' \
    ctl rollout start --yes --template win --to 2 lab-001 lab-003 --health boots --deadline 2s
rm "$top/health/all"
is "$(version_of lab-001) $(version_of lab-003)" '2 1' '... what was moved before stays'
fails_with 1 'deadline is over' 'it goes on only with another one' ctl rollout resume "$(field .name rollout show)"
ok '... or none' ctl rollout resume "$(field .name rollout show)" --deadline none
is "$(version_of lab-001) $(version_of lab-003)" '2 2' 'then it does'
ok 'back' ctl rollout rollback --yes "$(field .name rollout show)"

rm -f "$top/health/go"
health_is all "while [ ! -e $top/health/go ]; do sleep 0.05; done"
health_is lab-001 'exit 0'
ctl rollout start --yes --template win --to 2 lab-001 lab-003 lab-004 --canary 1 --batch 1 --health boots --no-wait >"$top/said"
rollout=$(field .name rollout show)
at_second_gate() { [ "$(field '"\(.state) \(.n_moved) \(.n_unchecked)"' rollout show "$rollout")" = 'gate 2 1' ]; }
ok 'one is through its gate, the next one is in it' wait_for 20 at_second_gate
json_ok 'the time left is that of the gates, too' "$(ctlj rollout show "$rollout")" \
    '(.n_waiting + .n_unchecked) / .desktops_per_s - .eta_s | . >= 0 and . < 1.01'
touch "$top/health/go"
ctl job wait "$(field .job rollout show "$rollout")" >"$top/said" 2>&1
rm "$top/health/all" "$top/health/lab-001"
ok 'back' ctl rollout rollback --yes "$rollout"

# ---- put elsewhere by hand while it stood ----

health_is lab-001 'exit 3'
fails_with 1 'exit code 3' 'it stops at its canary' \
    ctl rollout start --yes --template win --to 2 lab-001 lab-003 lab-004 --canary 1 --health boots
ok 'that is put back by hand' ctl desktop undo-reset lab-001 --yes
rm "$top/health/lab-001"
ok '... and the others go on' ctl rollout resume "$(field .name rollout show)" --skip-failed
json_ok 'at the end it says that one has left' "$(ctlj rollout show)" '.state == "done" and .n_moved == 3
    and (.reason | test("no longer on its version: 1 desktop; .*--in-state moved"))'
json_ok '... and which' "$(ctlj rollout show --in-state moved)" '(.[] | select(.name == "lab-001") | .reason == "it was put on win:1 since")
    and (map(select(.reason == null)) | length) == 2'
like "$(ctl event list)" 'rollout.done .*no longer on its version: 1 desktop' '... as does its event'
ok 'back' ctl rollout rollback --yes "$(field .name rollout show)"
is "$(version_of lab-001) $(version_of lab-003) $(version_of lab-004)" '1 1 1' '... all of them'

# ---- pause, and what others do meanwhile ----

# Hold it in the gate behind the canary: its health command waits for a file.
hold()
{
    rm -f "$top/health/go"
    health_is all "while [ ! -e $top/health/go ]; do sleep 0.05; done"
}
let_go()
{
    touch "$top/health/go"
}

hold
ctl rollout start --yes --template win --to 2 --prefix lab --canary 1 --batch 2 --health boots --no-wait >"$top/said"
rollout=$(field .name rollout show)
ok 'it stands at the gate behind its canary' wait_for 20 state_is "$rollout" gate
json_ok 'what no gate has let through yet tells no time' "$(ctlj rollout show "$rollout")" '.desktops_per_s == 0 and .eta_s == null'
fails_with 4 'the roll-out is busy' 'its job has it' ctl rollout delete "$rollout"
ok 'pause' ctl rollout pause "$rollout"
json_ok '... is quick, and nothing more moves' "$(ctlj rollout show "$rollout")" '.state == "paused" and .n_moved == 1'
ok '... nor does its command run on' none_runs
fails_with 2 'not at work' 'it is paused' ctl rollout pause "$rollout"
canary=$(desktops_of "$rollout" | jq -r '.[] | select(.state == "moved").name')
ok 'users work on: one is renamed' ctl desktop rename lab-002 room
ok '... one deleted' ctl desktop delete lab-003 --yes
ok '... one moved over by hand' ctl desktop reset lab-005 --to 2 --yes
ok '... one re-imaged' ctl desktop reset lab-007 --yes
let_go
ok 'resume' ctl rollout resume "$rollout"
json_ok 'what was changed meanwhile is seen' "$(desktops_of "$rollout")" '
    (.[] | select(.name == "room") | .state == "moved")
    and (.[] | select(.name == "lab-003") | .state == "skipped" and (.reason | test("deleted")))
    and (.[] | select(.name == "lab-005") | .state == "skipped" and (.reason | test("already")))
    and (.[] | select(.name == "lab-007") | .state == "moved")'
ok 'back' ctl rollout rollback --yes "$rollout"
is "$(version_of room) $(version_of lab-005) $(version_of "$canary")" '1 2 1' '... but for what it had not moved'
ok 'the renamed one has its disk' has room 0x52
ok 'the other one, too' ctl desktop undo-reset lab-005 --yes

hold
ctl rollout start --yes --template win --to 2 lab-001 room --health boots --no-wait >"$top/said"
rollout=$(field .name rollout show)
ok 'one is at its gate' wait_for 20 state_is "$rollout" gate
ctl rollout resume "$rollout" --no-wait >"$top/one" 2>&1
is $? 4 'a second run of it is refused: busy'
like "$(cat "$top/one")" 'busy' '... and says so'
ok 'cancel ends it as it is' ctl rollout cancel "$rollout"
is "$(state_of "$rollout") $(version_of lab-001) $(version_of room)" 'cancelled 2 1' '... in the middle'
fails_with 2 'is over' 'it does not go on' ctl rollout resume "$rollout"
ok '... but back' ctl rollout rollback --yes "$rollout"
is "$(version_of lab-001)" 1 '... it does'
let_go
ok 'it can be forgotten' ctl rollout delete "$rollout"

# ---- two at once ----

for i in 1 2 3 4; do
    ctl rollout start --yes --template win --to 2 lab-001 lab-007 room >"$top/race$i" 2>&1 &
    races[i]=$!
done
codes=
for i in 1 2 3 4; do wait "${races[i]}"; codes+="$? "; done
is "$(field '[.[] | select(.state == "done" and .n_moved == 3)] | length' rollout list)" 1 "of four at once one moves them ($codes)"
rollout=$(field '[.[] | select(.state == "done" and .n_moved == 3)][0].name' rollout list)
(ctl rollout rollback --yes "$rollout" >"$top/race1" 2>&1) & one=$!
(ctl rollout rollback --yes "$rollout" >"$top/race2" 2>&1) & two=$!
wait $one; first=$?
wait $two; second=$?
like "$first $second" '^0 [024]$|^[024] 0$' 'of two rollbacks one does it'
is "$(field "[.[] | select(.name == \"$rollout\")][0].n_returned" rollout list)" 3 '... all of it'
is "$(version_of lab-001)" 1 '... once'
is_sound 'after all that'

# ---- the daemon is killed ----

hold
ctl rollout start --yes --template win --to 2 --prefix lab --canary 1 --batch 2 --health boots --no-wait >"$top/said"
rollout=$(field .name rollout show)
ok 'a roll-out is at its gate' wait_for 20 state_is "$rollout" gate
stop_daemon KILL
ok 'its health command died with the daemon' wait_for 10 none_runs
let_go
ok 'the daemon starts again' start_daemon
ok 'and the roll-out goes on by itself' wait_for 60 state_is "$rollout" "done"
is "$(versions_of lab | tr ' ' '\n' | sort -u)" 2 '... all of it moved'
ok 'a stop by SIGTERM in the middle' eval 'ctl rollout rollback --yes "$rollout" --no-wait >"$top/said" && stop_daemon'
ok '... and again' start_daemon
ok 'the rollback is done' wait_for 60 state_is "$rollout" rolled-back
is "$(versions_of lab | tr ' ' '\n' | sort -u)" 1 '... all are back'
ok '... with their marks' eval 'has lab-001 0x51 && has lab-008 0x58'

hold
ctl rollout start --yes --template win --to 2 --prefix lab --canary 1 --health boots --no-wait >"$top/said"
rollout=$(field .name rollout show)
ok 'another one is at its gate' wait_for 20 state_is "$rollout" gate
ok 'paused' ctl rollout pause "$rollout"
stop_daemon KILL
ok 'a start' start_daemon
is "$(state_of "$rollout")" paused 'paused it stays'
let_go
rm "$state/health/boots"
fails_with 3 "stopped: there is no health command" 'a command that is gone' ctl rollout resume "$rollout"
make_health boots
ok 'and is there again' ctl rollout resume "$rollout"
is_sound 'after the kills'

# ---- the catalog is lost in the middle of one ----

ok 'back' ctl rollout rollback --yes "$rollout"
hold
ctl rollout start --yes --template win --to 2 --prefix lab --canary 2 --health boots --no-wait >"$top/said"
ok 'one more' wait_for 20 state_is "$(field .name rollout show)" gate
stop_daemon KILL
rm "$state"/catalog.db*
ok 'without its catalog the daemon starts for a rebuild' start_daemon
ok 'rebuild' ctl catalog rebuild
is "$(ctlj rollout list)" '[]' 'the roll-out is forgotten'
is "$(versions_of lab)" '2 2 1 1 1' 'the desktops are where they were'
ok 'what it replaced can be undone' ctl desktop undo-reset lab-001 --yes
ok '... with its mark' has lab-001 0x51
let_go
ok 'and another one begun' ctl rollout start --yes --template win --to 2 --prefix lab
is "$(versions_of lab)" '2 2 2 2 2' '... done'
is_sound 'after the rebuild'
done_testing
