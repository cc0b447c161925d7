#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# archive.t: archives of kind dir: what is stored once, what a second archive costs, restoring into
# the same imaged, into another one, and with qemu-img alone; deleting, garbage, retention.
set -u
. "$(dirname "$0")/lib.sh"

arc=$top/arc
mkdir "$arc"

# new_point NAME: archive it, and print the point's id.
new_point()
{
    ctlj archive create "$1" --to nas | jq -r '.items[0].id'
}

objects()
{
    find "$arc/layers" -name '*.qcow2' | wc -l
}

fresh_bytes()
{
    ctlj archive show "$1" | jq .new_bytes
}

same_as_point()
{
    qemu-img compare -f qcow2 -F qcow2 "$(field .file archive show "$1")" "$(path_of "$2")"
}

start_daemon || exit 1
make_raw "$top/golden.raw" 256M 0 17 3M 100M 42 2M
ctl template import golden "$top/golden.raw" --format raw >/dev/null
ctl desktop create a b c --template golden >/dev/null
mark a 7

# ---- Targets ----

fails_with 3 'no archive target' 'an unknown target' ctl archive create a --to nas
mkdir "$top/full-of-things"
touch "$top/full-of-things/x"
fails_with '*' 'not empty' 'a folder with other things is no target' \
    ctl archive target add no "$top/full-of-things"
is "$(ls "$top/full-of-things")" x '... and nothing was written there'
ok 'a target is added' ctl archive target add nas "$arc"
fails_with 3 "cannot open '.*/nowhere': No such file" 'a passphrase that is not there' \
    ctl archive target add vault "$top/vault" --kind borg --passphrase-file "$top/nowhere"
fails_with 1 'already' 'the same name twice' ctl archive target add nas "$arc"
fails_with 1 "target 'nas' already" 'the same place twice' ctl archive target add again "$arc"

# ---- The first archive, the second ----

before=$(sha256sum <"$(path_of a)")
ok 'two desktops of one template are archived' ctl archive create a b --to nas
is "$(objects)" 2 'the template is stored once, a desktop without changes not at all'
a1=$(field '.[0].id' archive list --of a)
b1=$(field '.[0].id' archive list --of b)
is "$(fresh_bytes "$b1")" 0 'the second desktop cost nothing'
is "$(sha256sum <"$store/layers/$(jq -r '.chain[1].layer_id' "$arc/points/$a1.json")")" "$before" \
    'the frozen layer has the bytes that the active one had'
ok 'what was archived reads as the desktop does (qemu-img)' same_as_point "$a1" a
json_ok 'a point says what it is' "$(ctlj archive show "$a1")" \
    '.name == "a" and .state == "ok" and .version == "golden:1" and .n_layers == 2 and
     .manifest.hardware.cpus == 2 and .manifest.desktop.generation == 1'
is "$(jq -S --indent 1 'del(.checksum)' "$arc/points/$a1.json" | b2sum -l 256 | cut -d' ' -f1)" \
    "$(jq -r .checksum "$arc/points/$a1.json")" 'jq and b2sum agree with the checksum'
good=0
for file in "$arc"/layers/*.qcow2; do
    qemu-img check -q "$file" && [ "$( (tail -c +4097 "$file"; head -c 4096 "$file") | b2sum -l 256 | cut -d' ' -f1).qcow2" = "${file##*/}" ] &&
        good=$((good + 1))
done
is $good 2 'objects are sound to qemu-img, and named by their own digests'
json_ok 'they are compressed with zstd' "$(qemu-img info --output=json "$(field .file archive show "$a1")")" \
    '."format-specific".data."compression-type" == "zstd"'

json_ok 'a desktop tells when it was archived' "$(ctlj desktop show a)" '.last_archive_at | fromdate > now - 600'
mark a 8
a2=$(new_point a)
is "$(objects)" 3 'a second archive stores one more layer'
ok 'it reads as the desktop does now' same_as_point "$a2" a
a3=$(new_point a)
is "$(objects)" 3 'nothing changed, nothing stored'
is "$(fresh_bytes "$a3")" 0 '... and it says so'
ok 'by prefix' ctl archive create --prefix c --to nas
t1=$(new_point golden)
is "$(objects)" 3 'the template itself is there already'
fails_with 1 'zz: there is no such' 'one that is not there fails by itself' ctl archive create b zz --to nas
is "$(field 'length' archive list --of b)" 2 '... and the other one was archived'

# ---- With qemu-img alone ----

qemu-img convert -O raw "$(field .file archive show "$a1")" "$top/plain.raw"
ok 'plain qemu-img brings the disk back' finds raw "$top/plain.raw" 'read -P 7 4M 64k'
cp -r "$arc" "$top/elsewhere"
ok 'also from a copy of the folder elsewhere' qemu-img compare -f raw -F qcow2 "$top/plain.raw" \
    "$top/elsewhere/layers/$(jq -r '.chain[-1].object' "$arc/points/$a1.json").qcow2"

# ---- A running desktop ----

exec {qemu}> >(qemu-io -f qcow2 "$(path_of c)" >"$top/qemu-said" 2>&1)
qemu_pid=$!
keep_pid $qemu_pid
echo 'write -P 1 0 4k' >&$qemu
wait_for 10 grep -q wrote "$top/qemu-said"
fails_with 4 'in use|runs|QEMU' 'a desktop that runs is busy' ctl archive create c --to nas
exec {qemu}>&-
wait $qemu_pid

# ---- Restoring here ----

mark a 9
ok 'as a new desktop' ctl archive restore "$a1" --as a-old
ok '... which has the old state' has a-old 7
isnt "$(field .id desktop show a-old)" "$(field .id desktop show a)" '... and an id of its own'
isnt "$(field .mac desktop show a-old)" "$(field .mac desktop show a)" '... and a MAC of its own'
ok 'the present one is what it was' has a 9
fails_with 1 'taken|exists' 'a name that is taken' ctl archive restore "$a1" --as b
fails_with 2 'terminal' 'in place asks first' ctl archive restore "$a1" --in-place
fails_with 2 'only one of --as and --in-place' 'but not when it makes no sense' \
    ctl archive restore "$a1" --in-place --as never
json_ok 'a dry run says what it replaces' "$(ctlj archive restore "$a1" --in-place --dry-run)" \
    '.objects[0].name == "a" and (.breaks | length) == 1'
id=$(field .id desktop show a)
generation=$(field .generation desktop show a)
ok 'in place' ctl archive restore "$a1" --in-place --yes
ok '... has the old state' has a 7
is "$(field '"\(.id) \(.generation)"' desktop show a)" "$id $((generation + 1))" \
    '... the same id, one generation on'
ok 'undo' ctl desktop undo-reset a --yes
ok '... brings the replaced disk back' has a 9
fails_with 1 'still there' 'a version that is there' ctl archive restore "$t1"
ok 'a template under another name' ctl archive restore "$t1" --as golden2
ok '... has the same bytes' qemu-img compare -f qcow2 -F qcow2 "$(template_path golden)" "$(template_path golden2)"
ok 'the store is clean' check_is_clean

# ---- Restoring in another imaged ----

first=$state
stop_daemon
state=$top/s2 store=$top/s2/store
start_daemon || exit 1
ok 'another imaged takes the archive' ctl archive target add nas "$arc"
is "$(field 'length' archive list --of a)" 3 'and sees the points'
ok 'it restores one' ctl archive restore "$a2" --as a-here
ok '... with the state' has a-here 8
is "$(field '.versions[0].state' template show golden)" retired '... and the template came along, retired'
ok 'a second one uses that' ctl archive restore "$a1" --as a-too
is "$(field 'length' template list)" 1 '... without another template'
ok '... has the state' has a-too 7
ok 'it can be re-imaged' ctl desktop reset a-too --yes
here=$(ctlj archive create a-here --to nas)
json_ok 'archived from here, the template is not stored again' "$here" '.n_done == 1'
is "$(find "$arc/layers" -name '*.qcow2' | wc -l)" 4 '... only the restored layer'
fails_with 3 'no desktop' 'in place needs the desktop' ctl archive restore "$a1" --in-place --yes
ok 'the store is clean' check_is_clean
stop_daemon
state=$first store=$first/store
start_daemon || exit 1
is "$(field 'length' archive list --of a-here)" 0 'the first one has not looked yet'
is "$(field 'length' archive list --of a-here --refresh)" 1 'with --refresh it sees what the other made'

# A flattened desktop comes first: what it stood on must not be taken for what it holds.
ctl desktop create f g --template golden >/dev/null
mark f 5
mark g 6
ctl desktop flatten f >/dev/null
f1=$(new_point f)
g1=$(new_point g)
stop_daemon
state=$top/s3 store=$top/s3/store
start_daemon || exit 1
ctl archive target add nas "$arc" >/dev/null
ok 'a flattened desktop, restored where nothing is known' ctl archive restore "$f1" --as f-archive
ok '... has its state' has f-archive 5
is "$(field '"\(.template):\(.version)"' desktop show f-archive)" f-archive-2:1 '... on a template of its own'
ok 'restored again' ctl archive restore "$f1" --as f-too
is "$(field 'length' template list)" 1 '... it needs no other'
ok '... has its state' has f-too 5
ok 'one that stands on the version, under the name of its template' ctl archive restore "$g1" --as golden
ok '... has its state' has golden 6
ok '... and reads as archived' same_as_point "$g1" golden
is "$(field '"\(.template):\(.version)"' desktop show golden)" golden-archive:1 '... the template gives way'
ok 'the store is clean' check_is_clean
stop_daemon
state=$first store=$first/store
start_daemon || exit 1
for id in "$f1" "$g1"; do ctl archive delete "$id" --now --yes >/dev/null; done
ctl archive gc nas >/dev/null

# ---- Deleting, garbage ----

fails_with 2 'terminal' 'deleting asks first' ctl archive delete "$a2"
ok 'a point is deleted' ctl archive delete "$a2" --yes
is "$(field 'length' archive list --of a)" 2 '... and not listed'
is "$(field '.[0].id' archive list --deleted)" "$a2" '... but among the deleted ones'
fails_with 2 'undelete' 'it is not restored' ctl archive restore "$a2" --as x
n=$(objects)
ok 'garbage is collected' ctl archive gc nas
is "$(objects)" "$n" 'what a deleted point names stays while it can be brought back'
ok 'it is brought back' ctl archive undelete "$a2"
ok '... and restores' ctl archive restore "$a2" --as a-back
ok '... with its state' has a-back 8
here=$(field '.[0].id' archive list --of a-here)
ok 'another goes for good' ctl archive delete "$here" --now --yes
json_ok 'a dry run tells what a collection would free' "$(ctlj archive gc nas --dry-run)" \
    '.n_objects == 1 and .freed_bytes > 0 and .dry_run'
is "$(objects)" "$n" '... and frees nothing'
json_ok 'its layer is freed' "$(ctlj archive gc nas)" '.n_objects == 1 and .freed_bytes > 0'
is "$(objects)" $((n - 1)) '... from the folder'
fails_with 3 'no archive point' 'it cannot be brought back' ctl archive undelete "$here"
ok 'all is well' ctl archive verify --target nas
exec {held}<>"$arc/lock"
python3 - "$held" <<'P'
import fcntl, struct, sys
fcntl.fcntl(int(sys.argv[1]), 37, struct.pack('hhqqi4x', fcntl.F_RDLCK, 0, 0, 0, 0))
P
fails_with 4 'in use' 'no collection while somebody archives' ctl archive gc nas
exec {held}>&-

# ---- Retention ----

json_ok 'a dry run says why each stays or goes' \
    "$(ctlj archive prune --target nas --of a --keep-last 1 --dry-run)" \
    '[.points[] | select(.keep)] | length == 1 and (.[0].why | length > 0)'
is "$(field 'length' archive list --of a)" 3 '... and deletes nothing'
ok 'prune' ctl archive prune --target nas --of a --keep-last 1 --yes
is "$(field '.[].id' archive list --of a)" "$a3" '... leaves the newest'
is "$(field 'length' archive list --of b)" 2 '... and others alone'
fails_with 2 'nothing is kept' 'a policy that keeps nothing' ctl archive prune --target nas --yes

# ---- Schedules, and the catalog made anew ----

ok 'a schedule' ctl archive schedule add nightly 'every day 02:00, keep last 3' --prefix a --to nas
json_ok 'it says when it is due' "$(ctlj archive schedule list)" \
    '.[0].next_run > "2026" and .[0].what == {"prefix": "a"}'
fails_with 4 'schedules' 'its target is not removed' ctl archive target remove nas --yes
stop_daemon
rm "$state"/catalog.db*
start_daemon || exit 1
ok 'the catalog is rebuilt' ctl catalog rebuild
is "$(field '.[0].name' archive target list)" nas 'targets are facts'
is "$(field '.[0].name' archive schedule list)" nightly 'schedules too'
is "$(field '.[].id' archive list --of a)" "$a3" 'points come from the target'
ok 'the schedule is removed' ctl archive schedule remove nightly
ok 'the target is forgotten' ctl archive target remove nas --yes
is "$(field 'length' archive list)" 0 '... with its points'
ok 'and taken back' ctl archive target add nas "$arc"
is "$(field '.[].id' archive list --of a)" "$a3" '... with its points'

# ---- Schedules that run ----

# Missed for three days: it runs once, and then waits for its time again.
ctl archive schedule add nightly 'every day 02:00, keep last 3' --prefix a --to nas >/dev/null
stop_daemon
sqlite3 "$state/catalog.db" \
    'UPDATE archive_schedule SET last_run = last_run - 259200000, created_at = created_at - 259200000'
start_daemon || exit 1
has_run() { json_true '.[0].last_run != null' archive schedule list; }
json_true() { [ "$(field "$1" "${@:2}")" = true ]; }
ok 'a run that was missed is caught up' wait_for 45 has_run
json_ok '... and noted, so that it is not due again' "$(ctlj archive schedule list)" \
    '.[0] | (.next_run | fromdate) > now and (.last_run | fromdate) > now - 600'
n_nightly() { field 'map(select(.description == "schedule nightly").name) | unique | length' archive list --target nas; }
n_desktops=$(field 'map(select(.name | startswith("a"))) | length' desktop list)
all_archived() { [ "$(n_nightly)" = "$n_desktops" ]; }
ok '... each desktop of the prefix is archived' wait_for 20 all_archived

# What a schedule keeps says nothing about the points of others.
fails_with 3 "no such desktop" 'a schedule of what is not there' \
    ctl archive schedule add none 'every day 02:00' nobody --to nas
ok 'a snapshot of it' ctl snapshot create a stays
ok '... archived' ctl archive create a@stays --to nas
json_ok 'the newest point of a desktop is not its snapshot' \
    "$(ctlj archive prune --target nas --of a --keep-last 1 --dry-run)" \
    '[.points[] | select(.keep) | .name] | sort == ["a", "a@stays"]'
ok 'another schedule' ctl archive schedule add hourly 'every hour, keep last 1' a --to nas
is "$(field '.[] | select(.name == "hourly").selection' archive schedule list)" a '... tells what it archives'
others() { field 'map(select(.description != "schedule hourly").id) | sort | join(" ")' archive list --target nas; }
n_hourly() { field 'map(select(.description == "schedule hourly")) | length' archive list --target nas "$@"; }
before=$(others)
for n in 1 2 3; do
    stop_daemon
    sqlite3 "$state/catalog.db" \
        "UPDATE archive_schedule SET last_run = last_run - 7200000, created_at = 0 WHERE name = 'hourly'"
    start_daemon || exit 1
    has_made() { [ $(($(n_hourly) + $(n_hourly --deleted))) = "$n" ] && [ "$(field .n_jobs_running status)" = 0 ]; }
    ok "run $n" wait_for 45 has_made
done
is "$(n_hourly)" 1 '... keeps its newest'
is "$(others)" "$before" '... and all of the others'
ok 'the store is clean' check_is_clean
stop_daemon
done_testing
