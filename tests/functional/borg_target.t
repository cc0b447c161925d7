#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# long: 110 s
#
# Archive targets of kind borg, by themselves: objects, points, what borg's own tools see and
# restore, damage, cancelled and killed transfers, collecting beside other managers.
. "$(dirname "$0")/lib.sh"

archtool=$BUILD/tests/archtool
mkdir "$top/a" "$top/b" "$top/out" "$top/img"
repo=$top/repo
B=00000000000000000000000000000001 L=00000000000000000000000000000002
M=00000000000000000000000000000003
P=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa Q=bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
size=$((64 * 1048576))

# Two managers, told apart by their state folders.
at() { "$archtool" --state-dir "$top/a" borg "$repo" "$@"; }
at_b() { "$archtool" --state-dir "$top/b" borg "$repo" "$@"; }

# borg itself, as an administrator would use it.
borg_()
{
    BORG_BASE_DIR=$top/admin BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes \
        BORG_RELOCATED_REPO_ACCESS_IS_OK=yes borg "$@" 2>>"$top/borg.log"
}
archives() { borg_ list --consider-checkpoints --format '{archive}{NL}' "$repo" | sort; }

# ---- images: a base and two overlays, one above the other ----

cd "$top/img" || exit 1
random() { head -c "$1" /dev/zero | openssl enc -aes-128-ctr -nosalt -K "$2" -iv 0 2>/dev/null; }
truncate -s "$size" base.raw
random 6000000 2a | dd of=base.raw bs=1M conv=notrunc status=none
random 3000000 2b | dd of=base.raw bs=1M seek=40 conv=notrunc status=none
qemu-img convert -O qcow2 base.raw base.qcow2
qemu-img create -q -f qcow2 -o cluster_size=128k,extended_l2=on -b base.qcow2 -F qcow2 one.qcow2
qemu-io -c 'write -P 17 5m 2m' -c 'write -P 18 41000k 36k' -c 'write -z 1m 1m' one.qcow2 >/dev/null
qemu-img create -q -f qcow2 -o cluster_size=128k,extended_l2=on -b one.qcow2 -F qcow2 two.qcow2
qemu-io -c 'write -P 19 5100k 100k' -c 'write -P 20 63m 4k' two.qcow2 >/dev/null
chmod 440 ./*.qcow2

# ---- making and opening ----

fails_with 1 '^unavailable: .*no borg repository' "a repository that is not there" at open
mkdir "$top/other"; touch "$top/other/file"
fails_with 1 '^unavailable: ' "a folder that is used otherwise is not made one" \
    "$archtool" --create --state-dir "$top/a" borg "$top/other" open
is "$(ls "$top/other")" file "and nothing was put there"
fails_with 1 '^invalid: .*neither an absolute path' "a relative path" \
    "$archtool" --state-dir "$top/a" borg repo open
fails_with 1 '^invalid: .*braces' "a location that borg would change" \
    "$archtool" --state-dir "$top/a" borg "/x/{hostname}" open
fails_with 1 '^invalid: .*passphrase' "encryption without a passphrase" \
    "$archtool" --create --encryption repokey-blake2 --state-dir "$top/a" borg "$top/e" open
id=$("$archtool" --create --state-dir "$top/a" borg "$repo" open)
like "$id" '^[0-9a-f]{32}$' "a repository is made"
is "$(at open)" "$id" "and opened again"
is "$(at_b --expect "$id" open)" "$id" "by another manager too"
fails_with 1 '^unavailable: .*another repository' "the one that is not meant" \
    "$archtool" --state-dir "$top/b" --expect "$P" borg "$repo" open
isnt "$(env BORG_REPO=/nowhere BORG_PASSPHRASE=x "$archtool" --state-dir "$top/a" borg "$repo" open)" \
    "" "what is in the daemon's environment does not reach borg"

# ---- objects ----

like "$(at put $B base.qcow2)" "^layer-$B [0-9]+$" "the base is stored"
like "$(at put $L one.qcow2 $B=base.qcow2)" "^layer-$L [0-9]+$" "and what stands on it"
added=$(at put $M two.qcow2 $B=base.qcow2 $L=one.qcow2 | cut -d ' ' -f 2)
ok "an object costs what is new in it" test "$added" -lt 100000
is "$(at has layer-$M) $(at has layer-$Q)" "yes no" "has"
is "$(at objects | sort | tr '\n' ' ')" "layer-$B layer-$L layer-$M " "they are listed"
like "$(archives)" "^manager-" "the manager has noted itself"
unlike "$(archives)" "^put-" "nothing is left half stored"
fails_with 1 '^not_found' "an object that is not there" at get layer-$Q "$top/out/x"
fails_with 1 '^not_found' "a name that is none" at verify "../x"
ok "verify" at verify layer-$M
for x in $B $L $M; do
    at get layer-$x "$top/out/$x.qcow2" || fail "get $x"
done
is "$(find "$top/out" -type f | wc -l)" 3 "what was spooled has no name"
ok "qemu-img finds an object sound" qemu-img check -q "$top/out/$M.qcow2"
chmod 644 "$top"/out/*
ok "the chain of objects reads as the layers" qemu-img compare -q "$top/out/$M.qcow2" two.qcow2
is "$(qemu-img info --output json "$top/out/$M.qcow2" | jq -r '."backing-filename"')" "$L.qcow2" \
    "an object names its parent's file"

# ---- points ----

ok "a point" at put-point $P gold $size layer-$B layer-$L layer-$M
ok "put again after a stop" at put-point $P gold $size layer-$B layer-$L layer-$M
fails_with 1 '^exists' "another one of that name" at put-point $P gold $size layer-$B
fails_with 1 '^unavailable: .*layer-.*collected' "a point with an object that is not there" \
    at put-point $Q gold $size layer-$B layer-$Q
is "$(at points)" $P "which is then not there"
at get-point $P >"$top/p.json"
json_ok "its manifest" "$(cat "$top/p.json")" '.id == $p and (.chain | length) == 3' --arg p $P
at_b get-point $P >"$top/p2.json"
ok "read by another manager, it is the same" cmp "$top/p.json" "$top/p2.json"
for cached in "$top"/a/borg-*/points/*; do echo broken >"$cached"; done
at get-point $P >"$top/p2.json"
ok "a broken copy in our cache does not count" cmp "$top/p.json" "$top/p2.json"
ok "delete" at delete-point $P
is "$(at points)/$(at deleted)" "/$P" "it is aside"
ok "again, after a stop" at delete-point $P
at get-deleted $P >"$top/p2.json"
ok "and can still be read" cmp "$top/p.json" "$top/p2.json"
ok "purge what is older: not yet" at purge 1000
ok "undelete" at undelete-point $P
ok "again, after a stop" at undelete-point $P
is "$(at points)/$(at deleted)" "$P/" "it is back"
fails_with 1 '^not_found' "no such point" at delete-point $Q

# ---- without imaged: borg and qemu-img alone (docs/restore-without-imaged.md) ----

mkdir "$top/plain" && cd "$top/plain" || exit 1
borg_ extract --stdout "$repo::point-$P" manifest.json >manifest.json
for object in $(jq -r '.chain[].object' manifest.json); do borg_ extract "$repo::$object"; done
top_layer=$(jq -r '.chain[-1].layer_id' manifest.json)
ok "restored by borg and qemu-img" qemu-img convert -O qcow2 "$top_layer.qcow2" disk.qcow2
chmod u+w ./*.qcow2
ok "it is the disk" qemu-img compare -q disk.qcow2 "$top/img/two.qcow2"
cd "$top/img" || exit 1

# ---- a transfer that is cancelled, one whose sender is killed ----

before=$(archives)
fails_with 1 '^cancelled' "a transfer is cancelled" at --cancel-after 2000000 put $Q base.qcow2
is "$(archives)" "$before" "nothing of it is there"
ok "the repository is not locked" at verify layer-$L
strace -f -qq -o /dev/null -e trace=sendto -e inject=sendto:signal=KILL:when=5 \
    "$archtool" --state-dir "$top/a" borg "$repo" put $Q base.qcow2 >/dev/null 2>&1
ok "borg has given its lock back" wait_for 30 borg_ list "$repo"
is "$(at has layer-$Q)" no "a sender that is killed leaves no object"
ok "its name is free" at put $Q base.qcow2
is "$(at has layer-$Q)" yes "it is stored in the end"

# ---- collecting ----

exec {hold}> >("$archtool" --state-dir "$top/a" borg "$repo" hold >"$top/held")
keep_pid $!
ok "somebody uses it" wait_for 20 grep -q held "$top/held"
fails_with 1 '^busy' "no collecting meanwhile" at collect layer-$Q
exec {hold}>&-
ok "now it is free" wait_for 20 at collect
freed=$(at collect layer-$Q layer-$B-x)
is "$(at objects | sort | tr '\n' ' ')" "layer-$B layer-$L layer-$M " "collected"
unlike "$(archives)" "^put-" "with what was half stored"
ok "shared chunks stay: $freed bytes are freed" test "$freed" -lt 100000
ok "again is no error" at collect layer-$Q
ok "the rest is whole" at verify layer-$B

# Another manager: what is collected can come back for a day.
ok "another manager writes" at_b put $Q two.qcow2 $B=base.qcow2 $L=one.qcow2
ok "collect" at collect layer-$M
is "$(at has layer-$M) $(archives | grep -c "^gone-$M-")" "no 1" "it is only on its way out"
ok "who named it meanwhile can read it" at_b verify layer-$M
is "$(at_b objects | grep -c layer-$M)" 1 "and it is listed"
ok "collect, when a point names it again" at collect layer-$Q
is "$(at has layer-$M)" yes "it is back"
at collect layer-$M && at put $M two.qcow2 $B=base.qcow2 $L=one.qcow2 >/dev/null && at collect
is "$(archives | grep -c "$M")" 1 "stored again meanwhile: once"

# ---- damage ----

ok "verify before" at verify layer-$B
segment=$(find "$repo/data" -type f -size +4M | head -n 1)
python3 - "$segment" <<'END'
import sys
with open(sys.argv[1], "r+b") as f:
    f.seek(3000000)
    byte = f.read(1)
    f.seek(3000000)
    f.write(bytes([byte[0] ^ 4]))
END
fails_with 1 '^corrupt: ' "one flipped bit is found" at verify layer-$B
fails_with 1 '^corrupt: ' "and not restored" at get layer-$B "$top/out/bad"
fails_with 1 '^corrupt: ' "stored again, borg would count on the same chunk: refused" \
    at put $B base.qcow2
BORG_CHECK_I_KNOW_WHAT_I_AM_DOING=YES borg_ check --repair "$repo"
ok "after borg check --repair it is stored again" at put $B base.qcow2
ok "and is whole" at verify layer-$B
chmod 644 "$top"/out/*
at get layer-$B "$top/out/good" && chmod 644 "$top/out/good"
ok "as it was" qemu-img compare -q "$top/out/good" base.qcow2

# ---- encrypted; gone; full ----

enc() { "$archtool" --state-dir "$top/a" --passphrase "$1" borg "$top/enc" "${@:2}"; }
ok "an encrypted repository" "$archtool" --create --encryption repokey-blake2 --passphrase secret \
    --state-dir "$top/a" borg "$top/enc" open
like "$(enc secret put $B base.qcow2)" "^layer-$B " "an object in it"
ok "verify" enc secret verify layer-$B
fails_with 1 '^denied: .*passphrase is wrong' "a wrong passphrase" enc wrong objects
fails_with 1 '^denied' "none" "$archtool" --state-dir "$top/a" borg "$top/enc" objects
is "$(BORG_PASSPHRASE=secret borg_ info --json "$top/enc" | jq -r .encryption.mode)" \
    repokey-blake2 "borg says that it is encrypted"

mv "$repo" "$repo.away"
fails_with 1 '^unavailable: .*no borg repository' "the disk is not mounted" at objects
mkdir "$repo"
fails_with 1 '^unavailable: ' "an empty mount point" at put $B base.qcow2
is "$(ls -A "$repo")" "" "nothing was put there"

# borg wants half a gigabyte to be free beyond what it writes.
truncate -s 800M "$top/small.img" && mkfs.ext4 -q -F -m 0 "$top/small.img" && mkdir "$top/small"
if mount -o loop "$top/small.img" "$top/small" 2>/dev/null; then
    full() { "$archtool" --state-dir "$top/a" borg "$top/small/repo" "$@"; }
    "$archtool" --create --state-dir "$top/a" borg "$top/small/repo" open >/dev/null
    full put $L one.qcow2 $B=base.qcow2 >/dev/null
    fallocate -l 300M "$top/small/filler"
    fails_with 1 '^no_space: .*is full' "a target that is nearly full says so" \
        full put $B base.qcow2
    dd if=/dev/zero of="$top/small/more" bs=1M status=none 2>/dev/null
    fails_with 1 '^no_space: .*is full' "a full one too" full put $B base.qcow2
    rm "$top/small/more" "$top/small/filler"
    ok "what was there is untouched" full verify layer-$L
    is "$(full objects)" "layer-$L" "and nothing else is"
    ok "with room again" full put $B base.qcow2
    umount "$top/small"
else
    fail "cannot mount: this test needs root"
fi
done_testing
