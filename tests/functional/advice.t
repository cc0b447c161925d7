#!/bin/bash
# advice.t: what 50 diffs have in common, against a count by other means; compact and a stand-in base
# on them, every desktop compared bit by bit; what becomes of a stand-in afterwards.
. "$(dirname "$0")/lib.sh"

n=50
make_raw "$top/a.raw" 64M 0 0x11 8M 32M 0x22 4M
random_file "$top/r.raw" 3 5
dd if="$top/r.raw" of="$top/a.raw" bs=1M seek=10 conv=notrunc status=none
start_daemon || exit 1
ctl template import win "$top/a.raw" --format raw >/dev/null
ctl desktop create --prefix d --count $n --template win >/dev/null
mapfile -t names < <(printf 'd-%03d\n' $(seq $n))

paths() { local name; for name in "${names[@]}"; do path_of "$name"; done; }
count() { mapfile -t found < <(paths); "$here/advice_count.py" 50 "$(template_path win)" "${found[@]}"; }
advice() { ctlj report advice --template win; }
read_again() { advice | jq -c '{n_digests_made, digested_bytes}'; }

# figures REPORT: those that count also gives, with the stand-in's
figures()
{
    jq -cS '.rows[0] | . + .actions[1] | {data_bytes, zero_bytes, below_bytes, own_bytes, same_offset_bytes,
        same_offset_saves_bytes, anywhere_bytes, anywhere_saves_bytes, diffs_bytes, added_bytes, layer_bytes}' <<<"$1"
}

counted()
{
    jq -cS '{data_bytes, zero_bytes: (.zero_bytes // 0), below_bytes: (.below_bytes // 0), own_bytes, same_offset_bytes,
        same_offset_saves_bytes, anywhere_bytes, anywhere_saves_bytes, diffs_bytes: (.diffs_bytes // 0),
        added_bytes: (.added_bytes // 0), layer_bytes: (.layer_bytes // 0)}' <<<"$1"
}

# Of each desktop: what all have at one place; what most have, over the template's data and where it has
# none; what all have at a place of their own; its own; zeros; the template's own bytes again.
for i in $(seq $n); do
    cmd=("write -q -P 0x31 16M 512k" "write -q -P 0x$(printf %02x $((i + 64))) 24M 64k")
    for k in 0 1 2 3; do cmd+=("write -q -P 0x$((41 + k)) $((20480 + 256 * k + 4 * i))k 4k"); done
    [ $((i % 5)) = 0 ] || cmd+=("write -q -P 0x61 1M 128k" "write -q -P 0x62 48M 256k")
    [ $((i % 7)) = 1 ] && cmd+=("write -q -P 0x63 50M 64k")
    [ $((i % 3)) = 0 ] && cmd+=("write -q -P 0 40M 64k" "write -q -P 0x11 4M 32k")
    [ $((i % 10)) = 3 ] && cmd+=("write -q -z 1M 16k" "write -q -z 17M 8k")
    qio "$(path_of "${names[i - 1]}")" "${cmd[@]}" >/dev/null
done
keep_raws() { local name; for name in "${names[@]}"; do qemu-img convert -O qcow2 "$(path_of "$name")" "$top/$name.was"; done; }
# same NAME...: they read as they did, and QEMU finds them sound
same()
{
    local name
    for name; do
        qemu-img compare -q "$top/$name.was" "$(path_of "$name")" && qemu-img check -q "$(path_of "$name")" || return
    done
}
all_same() { for name in "${names[@]}"; do qemu-img compare -q "$top/$name.was" "$(path_of "$name")" || return; done; }
some_same() { same d-001 d-003 d-004 d-005 d-009; }
keep_raws

ctl template import lone "$top/a.raw" --format raw >/dev/null
like "$(ctl template stand-in lone 2>&1)" 'no desktop stands on this version' 'a stand-in for nobody says so'
ctl template delete lone --yes >/dev/null
ctl trash empty --yes >/dev/null

# ---- the figures ----

said=$(advice)
counts=$(count)
is "$(figures "$said")" "$(counted "$counts")" 'the figures are those that another count gives'
json_ok '... zeros and the template'"'"'s own bytes are what compact frees' "$said" \
    '.rows[0] | .actions[0].frees_bytes == .zero_bytes + .below_bytes and .actions[0].n_desktops == 16'
json_ok '... both figures differ' "$said" '.rows[0] | .anywhere_saves_bytes > .same_offset_saves_bytes'
json_ok '... each action has its command' "$said" '[.rows[0].actions[].command | startswith("imagectl ")] | all'
json_ok '... a next version frees all diffs but the one it keeps' "$said" \
    '.rows[0].actions[] | select(.action == "propose") | .n_desktops == 50 and .layer_bytes > 0 and .frees_bytes > .layer_bytes'
like "$(ctl report advice)" 'a roll-out of it to 50 desktops frees' '... which is said, too'
like "$(ctl report advice)" 'stand-in base under 50 desktops: frees 39\.3 MiB' 'a table for people says it plainly'
like "$(ctl report advice -o csv)" '^win:1,default,50,0,48054272,' 'CSV'
# What changed a moment ago may change again in the same tick of the clock: its digest is not kept.
is_past() { [ "$(date +%s%N)" -gt "$1" ]; }
settle() { wait_for 5 is_past $(($(date +%s%N) + 300000000)); }
settle; advice >/dev/null
is "$(read_again)" '{"n_digests_made":0,"digested_bytes":0}' 'a second report reads no layer again'
qio "$(path_of d-001)" 'write -q -P 0x7f 60M 4k' >/dev/null
settle
is "$(read_again)" '{"n_digests_made":1,"digested_bytes":1069056}' '... and the one that changed, if one did'
qio "$(path_of d-001)" 'write -q -z 60M 4k' >/dev/null
is "$(figures "$(advice)")" "$(counted "$counts")" '... and the figures are right'
fails_with 3 'no template' 'a template that is not there' ctl report advice --template lin
fails_with 2 'percent' 'a share that is none' ctl report advice --share 0%

# ---- digests are hints ----

digest=$state/digests/$(field .layer desktop show d-007)
settle; advice >/dev/null
ok 'a digest is kept per layer' test -f "$digest"
printf 'x' | dd of="$digest" bs=1 seek=500 conv=notrunc status=none
is "$(read_again | jq .n_digests_made)" 1 'a damaged digest is made again'
is "$(figures "$(advice)")" "$(counted "$counts")" '... and the figures are right'
for name in d-007 d-008 d-009; do "$BUILD/tests/digesttool" same "$state/digests/$(field .layer desktop show $name)"; done
said=$(advice)
json_ok 'equal digests of blocks that are not equal' "$said" '.n_digests_made == 0 and .rows[0].mismatch_bytes > 0'
json_ok '... are never counted as equal' "$said" '.rows[0] | .same_offset_bytes <= $c.same_offset_bytes and .anywhere_bytes <= $c.anywhere_bytes and .own_bytes == $c.own_bytes + $c.below_bytes - .below_bytes' --argjson c "$counts"
rm -r "$state/digests"
is "$(figures "$(advice)")" "$(counted "$counts")" 'without any digest all are made again'
qemu-storage-daemon --blockdev "driver=qcow2,node-name=a,file.driver=file,file.filename=$(path_of d-050)" \
    --nbd-server "addr.type=unix,addr.path=$top/nbd" --export type=nbd,id=e,node-name=a,writable=on &
running=$!; keep_pid $running
ok '(a desktop that runs)' wait_for 10 test -S "$top/nbd"
json_ok 'a desktop that runs is not read, and is named' "$(advice)" '.rows[0] | .n_desktops == 49 and .left_out[0].name == "d-050"'
said=$(ctlj template stand-in win --share 50% 2>/dev/null)
json_ok '... nor does it stop a stand-in under the others' "$said" '.n_done == 49 and .n_failed == 1'
kill $running; wait $running 2>/dev/null
ok '... all read the same' all_same
json_ok 'what is on a stand-in already is left alone' "$(ctlj template stand-in win)" '.n_done == 0 and (.reason | test("fewer than two"))'
standing=$(field .stand_in desktop show d-001)
json_ok 'template show lists the stand-in' "$(ctlj template show win)" '.versions[0].stand_ins | length == 1 and .[0].id == $s
    and .[0].n_desktops == 49 and .[0].disk_bytes > 0 and .[0].store == "default"' --arg s "$standing"
like "$(ctl template show win | tr "\n" " ")" "stand-in bases under desktops of win:1.*$standing +default +49 " '... for people too'
like "$(ctl desktop show d-001)" "STAND-IN +$standing" 'desktop show says which one it stands on'
is "$(field .stand_in desktop show d-050)" null '... and of one that does not, none'
ctl desktop undo-reset d-001 --yes >/dev/null 2>&1 # a compacted disk is no reset
ok 'flatten of one on a stand-in reads the same' ctl desktop flatten d-002
ok '... all read the same' some_same
ctl desktop reset --template win --yes >/dev/null
ctl trash empty --yes >/dev/null
json_ok 'when nothing stands on it, a stand-in is in the trash' "$(ctlj trash list)" 'length == 1 and .[0].kind == "stand_in" and .[0].reason == "unused" and .[0].name == "win:1"'
fails_with 2 'no use' '... from where nobody needs it back' ctl trash restore "$(ctlj trash list | jq -r '.[0].id')"
ctl trash empty --yes >/dev/null
is "$(ctlj trash list)$(ls "$store/trash")" '[]' '... and it goes for good'
ok '... the check is clean' check_is_clean --data
is "$(find "$state/digests" -type f | wc -l)" 1 "... digests go with their layers: the template's is left"

# ---- Larger disks: what is behind the version's end is on no stand-in ----

ctl template import short "$top/a.raw" --format raw >/dev/null
end=$(field '.versions[0].virtual_size' template show short)
for i in 1 2 3; do
    ctl desktop create "long-$i" --template short --disk-size "$((end + (16 << 20)))" >/dev/null
    qio "$(path_of "long-$i")" "write -q -P 0x5a 1M 256k" >/dev/null
    qio "$(path_of "long-$i")" "write -q -P 0x5b $end 256k" >/dev/null
done
json_ok 'blocks there count as equal' "$(ctlj report advice --template short)" '.rows[0].same_offset_bytes == 3 * 2 * 262144'
json_ok '... and those before the end make a stand-in' "$(ctlj template stand-in short)" '.n_done == 3 and .n_failed == 0'
like "$(qio "$(path_of long-2)" "read -P 0x5b $end 256k" 2>&1)" '^read 262144/262144[^!]*$' '... under which nothing is lost'
like "$(qio "$(path_of long-2)" "read -P 0x5a 1M 256k" 2>&1)" '^read 262144/262144[^!]*$' '... on either side'
ok '... which the check confirms' ctl store check
ctl desktop delete long-1 long-2 long-3 --yes >/dev/null

# ---- compact, then a stand-in: what was promised, to the byte ----

for i in $(seq $n); do
    qemu-img convert -n -t unsafe -O qcow2 "$top/${names[i - 1]}.was" "$(path_of "${names[i - 1]}")"
done
diffs() { field '.rows[0].diff_bytes' report savings --template win; }
ok 'the desktops have their bytes again' some_same
said=$(advice); before=$(diffs)
promised=$(jq '.rows[0].actions[0].frees_bytes' <<<"$said")
isnt "$promised" 0 '... and much to compact: all that was written again'
like "$(ctl desktop compact --template win)" 'compacted 50 desktops' 'compact'
is "$((before - $(diffs)))" "$promised" '... frees what was promised'
ok '... all read the same' all_same
layers=$(ctlj desktop list | jq -c 'map(.layer) | sort')
like "$(ctl desktop compact --template win)" 'nothing to free in 50 of them' 'compact again does nothing, and says so'
is "$(ctlj desktop list | jq -c 'map(.layer) | sort')" "$layers" '... no new layer'
qemu-img create -q -f raw "$top/probe.raw" 64M
ctl snapshot create d-050 now >/dev/null
said=$(advice); before=$(diffs)
json_ok 'a desktop with snapshots is told' "$said" '.rows[0] | .n_with_snapshots == 1 and .actions[1].n_desktops == 49'
like "$(ctl template stand-in win --dry-run)" 'stand-in base under 49 desktops' '--dry-run tells and does nothing'
is "$(diffs)" "$before" '... and frees nothing'
made=$(ctlj template stand-in win)
json_ok 'template stand-in' "$made" '.n_done == 49 and .n_failed == 0'
# its own layer counts with the template's data
promised=$(jq '.rows[0].actions[1] | .diffs_bytes + .compact_bytes - .added_bytes' <<<"$said")
is "$((before - $(diffs)))" "$promised" '... frees what was promised, to the byte'
is "$(jq '[.items[] | select(.ok)] | (map(.after_bytes) | add) <= (map(.before_bytes) | add)' <<<"$made")" true '... on disk too'
ok '... all read the same' all_same
ok '... the check is clean' check_is_clean --data
fails_with 4 'stand' 'the version can not be deleted' ctl template delete win --yes
onto=$(qemu-img info --output json "$(path_of d-001)" | jq -r '.["backing-filename"]')
isnt "$onto" "../layers/$(field '.versions[0].layer' template show win)" '... they stand on another layer'
before=$(ctlj desktop list | jq -cS 'map({id, layer, generation, version})')
ok 'catalog rebuild from the journal' ctl catalog rebuild --force
is "$(ctlj desktop list | jq -cS 'map({id, layer, generation, version})')" "$before" '... gives the same'

# ---- elsewhere ----

ctl store add side "$top/side" >/dev/null
ok 'two of them move to another store' ctl desktop move d-003 d-004 --to side
is "$(ls "$top/side/layers" | wc -l)" 4 '... with one copy of the stand-in, and one of the version'
ok '... all read the same' some_same
json_ok 'store check' "$(ctlj store check)" '.ok'
mkdir "$top/arch"
ctl archive target add t "$top/arch" --kind dir >/dev/null
ok 'archived' ctl archive create d-005 --to t
ok '... and restored in place' ctl archive restore "$(field '.[0].id' archive list)" --in-place --yes
is "$(qemu-img info --output json "$(path_of d-005)" | jq -r '.["backing-filename"]')" \
    "../layers/$(field '.versions[0].layer' template show win)" '... on the version'
ok '... all read the same' some_same
ok 'a version made of one of them' ctl template create-from d-006 win --draft
path=$(template_path win)
is "$(qemu-img info --output json "$path" | jq -r '.["backing-filename"]')" "../layers/$(field '.versions[0].layer' template show win)" '... stands on the version, not on the stand-in'
ok '... and reads as it does' qemu-img compare -q "$top/d-006.was" "$path"
said=$(ctl template propose win --donor d-007 --unsealed)
like "$said" 'made win:3, a draft, not sealed' 'a next version proposed from a donor'
like "$said" 'imagectl rollout start --template win --to 3' '... with the commands that follow'
fails_with 2 'donor' '... which has to be named' ctl template propose win
ctl template import lin "$top/probe.raw" --format raw >/dev/null
fails_with 2 'no desktop of' '... and stand on the template' ctl template propose lin --donor d-007 --unsealed
ctl snapshot create d-008 s >/dev/null
ok 'an export reads through it' eval 'ctl export start d-008@s >/dev/null && qemu-img compare -q -F raw "$top/d-008.was" "$(field ".[0].uri" export list)" && ctl export stop d-008@s'
ok 'a reset goes to the version' ctl desktop reset d-009 --yes
is "$(qemu-img info --output json "$(path_of d-009)" | jq -r '.["backing-filename"]')" "../layers/$(field '.versions[0].layer' template show win)" '... not to the stand-in'
ok '... and back' ctl desktop undo-reset d-009 --yes
ok '... all read the same' some_same
# What a proposal prints is run as it stands.
ctl desktop create lin-1 lin-2 --template lin >/dev/null
ctl template propose lin --donor lin-1 --unsealed | sed -n 's/^  imagectl //p' >"$top/follow"
is "$(wc -l <"$top/follow")" 3 'a proposal tells three commands'
while read -r -a words; do
    [ "${words[0]}" != rollout ] || words+=(--yes) # it asks, and nobody is there
    ok "... imagectl ${words[*]}" ctl "${words[@]}"
done <"$top/follow"
is "$(field .version desktop show NAME)" 2 '... of which the first makes a desktop to look at it'
is "$(ctlj desktop list | jq -c '[.[] | select(.name | test("^lin-")).version]')" '[2,2]' '... and the last rolls it out'
ok 'store drain' ctl store drain side --to default
ok '... all read the same' some_same

# ---- no catalog, no journal: the headers alone ----

ctl trash empty --yes >/dev/null # former files of merges have names that no header tells
stop_daemon
rm -f "$state"/catalog.db* "$store/journal" "$store/catalog.backup"
start_daemon
ctl catalog rebuild >/dev/null
ok 'from the headers alone' some_same
json_ok '... the check is clean' "$(ctlj store check)" '.ok'
ctl desktop reset d-010 --yes >/dev/null
is "$(qemu-img info --output json "$(path_of d-010)" | jq -r '.["backing-filename"]')" "../layers/$(field '.versions[0].layer' template show win)" '... a reset goes to the version'

done_testing
