#!/bin/bash
# bad_input.t: what strangers, broken storage and impatient people do: each gets a clear error, and
# nothing is half done.
. "$(dirname "$0")/lib.sh"

# patch FILE OFFSET HEX: overwrite bytes in place.
patch()
{
    printf '%s' "$3" | sed 's/../\\x&/g' | xargs -0 printf '%b' | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

be64() # FILE OFFSET
{
    echo $((16#$(od -An -tx1 -j "$2" -N 8 "$1" | tr -d ' \n')))
}

make_raw "$top/good.raw" 8M 0 0x11 1M 4M 0x22 1M
qemu-img convert -O qcow2 "$top/good.raw" "$top/good.qcow2"
start_daemon || exit 1
ctl template import win "$top/good.raw" --format raw >/dev/null
ctl desktop create one two three --template win >/dev/null
files=$(store_files)
templates=$(ctlj template list)

nothing_happened()
{
    is "$(store_files)" "$files" "... no file was made ($1)"
    is "$(ctlj template list)" "$templates" "... no template either ($1)"
}

# ---- images ----

refused() # NAME PATTERN FILE FORMAT [EXIT-CODES]
{
    fails_with "${5:-[12]}" "$2" "$1" ctl template import bad "$3" --format "$4"
}

cp "$top/good.qcow2" "$top/x.qcow2"
truncate -s 60 "$top/x.qcow2"
refused 'a qcow2 of 60 bytes' 'x.qcow2.*(short|truncated|header)' "$top/x.qcow2" qcow2
: >"$top/empty"
refused 'an empty qcow2' empty "$top/empty" qcow2
refused 'an empty raw image' 'size|empty|0 bytes|512' "$top/empty" raw
cp "$top/good.qcow2" "$top/x.qcow2"
truncate -s 900K "$top/x.qcow2"
refused 'a qcow2 that was cut off' 'corrupt|end of the file|truncated|beyond' "$top/x.qcow2" qcow2
cp "$top/good.qcow2" "$top/x.qcow2"
patch "$top/x.qcow2" 0 00000000
refused 'no magic' 'not a qcow2|magic' "$top/x.qcow2" qcow2
refused 'a raw image called qcow2' 'not a qcow2|magic' "$top/good.raw" qcow2
refused 'a raw image called vmdk' vmdk "$top/good.raw" vmdk
refused 'a raw image called vhdx' vhdx "$top/good.raw" vhdx
refused 'a raw image called vdi' vdi "$top/good.raw" vdi
cp "$top/good.qcow2" "$top/x.qcow2"
l1=$(be64 "$top/x.qcow2" 40)
patch "$top/x.qcow2" "$l1" 80007fffffff0000
refused 'an L1 entry beyond the file' corrupt "$top/x.qcow2" qcow2
cp "$top/good.qcow2" "$top/x.qcow2"
l2=$(($(be64 "$top/x.qcow2" "$l1") & 0x00fffffffffffe00))
patch "$top/x.qcow2" $((l2 + 8)) "$(od -An -tx1 -j $l2 -N 8 "$top/x.qcow2" | tr -d ' \n')"
refused 'two guest clusters in one host cluster' corrupt "$top/x.qcow2" qcow2
cp "$top/good.qcow2" "$top/x.qcow2"
patch "$top/x.qcow2" "$l2" 8000000000000000
refused 'data over the header' corrupt "$top/x.qcow2" qcow2
cp "$top/good.qcow2" "$top/x.qcow2"
patch "$top/x.qcow2" 72 0000000000000002
refused 'marked corrupt' corrupt "$top/x.qcow2" qcow2
patch "$top/x.qcow2" 72 0000000000001000
refused 'an unknown incompatible feature' 'feature' "$top/x.qcow2" qcow2
cp "$top/good.qcow2" "$top/x.qcow2"
patch "$top/x.qcow2" 20 0000003f
refused 'clusters of 2^63 bytes' 'cluster' "$top/x.qcow2" qcow2
cp "$top/good.qcow2" "$top/x.qcow2"
patch "$top/x.qcow2" 24 fffffffffffffe00
refused 'a virtual size of 16 EiB' 'size' "$top/x.qcow2" qcow2
patch "$top/x.qcow2" 24 7ffffffffffffe00
refused 'a virtual size of 8 EiB' 'size' "$top/x.qcow2" qcow2
cp "$top/good.qcow2" "$top/x.qcow2"
patch "$top/x.qcow2" 36 ffffffff
refused 'an L1 table of 4 billion entries' 'L1' "$top/x.qcow2" qcow2
# qemu-img times its key derivation and gives up when the machine is busy: ask until it is made
for _ in $(seq 50); do
    qemu-img create -q -f qcow2 --object secret,id=s,data=x \
        -o encrypt.format=luks,encrypt.key-secret=s "$top/x.qcow2" 1M 2>/dev/null && break
done
refused 'encrypted with LUKS' 'encrypted' "$top/x.qcow2" qcow2
cp "$top/good.qcow2" "$top/x.qcow2"
patch "$top/x.qcow2" 32 00000001
refused 'encrypted with AES' 'encrypted' "$top/x.qcow2" qcow2
qemu-img create -q -f vmdk -o subformat=monolithicFlat "$top/flat.vmdk" 1M
refused 'a VMDK whose data is in another file' 'other files|one file' "$top/flat.vmdk" vmdk
mkdir "$top/folder"
mkfifo "$top/fifo"
refused 'a folder' 'folder' "$top/folder" raw
refused 'a FIFO' 'regular' "$top/fifo" raw
exec 9> >(exec qemu-io -f raw "$top/good.raw" >"$top/qemu-said" 2>&1)
qemu=$!
echo 'read 0 512' >&9
ok 'QEMU has the image' wait_for 10 grep -q 'read 512' "$top/qemu-said"
refused 'an image that QEMU writes' 'in use' "$top/good.raw" raw 4
exec 9>&-
wait_for 10 eval '! kill -0 $qemu'
fails_with 3 bad 'none of them became a template' ctl template show bad
nothing_happened images

# ---- names of other files inside ----

head -c 65536 /dev/zero | tr '\0' C >"$top/canary"
secret=CANARYCANARYCANARY
printf '%s' "$secret" | dd of="$top/canary" conv=notrunc status=none
qemu-img create -q -f qcow2 -u -b "$top/canary" -F raw "$top/c1" 64K
qemu-img create -q -f qcow2 -u -b "json:{\"driver\":\"raw\",\"file\":{\"driver\":\"file\",\"filename\":\"$top/canary\"}}" -F raw "$top/c2" 64K
qemu-img create -q -f qcow2 -o data_file="$top/canary2",data_file_raw=on "$top/c3" 64K
cp "$top/canary" "$top/canary2"
cp "$top/c3" "$top/c4"
qemu-img create -q -f qcow2 -u -b /etc/passwd "$top/c5" -F raw 64K
printf '%s\n' '# Disk DescriptorFile' version=1 CID=12345678 parentCID=ffffffff createType=\"monolithicFlat\" \
    "RW 128 FLAT \"$top/canary\" 0" ddb.adapterType=\"ide\" >"$top/c6"
qemu-img create -q -f vmdk "$top/base.vmdk" 64K
qemu-img create -q -f vmdk -b "$top/base.vmdk" -F vmdk "$top/c7"
ln -s "$top/canary" "$top/c8"
refused 'an absolute backing file' 'backing' "$top/c1" qcow2
refused 'a json: backing file' 'backing' "$top/c2" qcow2
refused 'a raw data file' 'data in another file' "$top/c3" qcow2
refused 'a backing file in /etc' 'backing' "$top/c5" qcow2
refused 'a VMDK that points to another file' 'other files|one file' "$top/c6" vmdk
refused 'a VMDK with a parent' 'backing' "$top/c7" vmdk
fails_with '[123]' 'canary|json|URI|begins with|no such|No such' 'a json: source is a name, not a command' \
    ctl template import bad "json:{\"driver\":\"raw\",\"file\":{\"driver\":\"file\",\"filename\":\"$top/canary\"}}" --format raw
ok 'what is a raw image to its owner may name whatever it likes' ctl template import named "$top/c1" --format raw
like "$(qemu-img info --output=json -U "$(template_path named)" | jq -r '."backing-filename" // "none"')" '^none$' \
    '... the layer made of it names nothing'
is "$(grep -rlF "$secret" "$store" "$state/catalog.db" 2>/dev/null)" '' "the canary's bytes are nowhere below the store"
post '/v1/templates/import?wait=20' "{\"name\":\"bad\",\"source\":\"$top/canary\"}" >/dev/null
is "$(http_code)" 400 'over HTTP a path is no source'
post '/v1/templates/import?wait=20' "{\"name\":\"bad\",\"source\":\"file://$top/canary\"}" >/dev/null
is "$(http_code)" 400 '... nor is a file: URI'
post '/v1/templates/import?wait=20' "{\"name\":\"bad\",\"source\":\"nbd+ssh://localhost/?socket=$top/canary\"}" >/dev/null
is "$(http_code)" 400 '... nor any other scheme'
ok 'that one away again' ctl template delete named --yes
ctl trash empty --yes >/dev/null
templates=$(ctlj template list)
same_files() { [ "$(store_files)" = "$files" ]; }
wait_for 10 same_files

# ---- names ----

long=$(head -c 10240 /dev/zero | tr '\0' n)
for name in a/b ../../etc/passwd . .. .hidden -x 'a b' $'a\nb' $'a\tb' $'\033[31mred' 'ümlaut' "$long" \
    "$(head -c 64 /dev/zero | tr '\0' n)" 'a%2fb' "a';DROP TABLE desktop;--"; do
    shown=$(printf '%.20s' "$name" | tr -c '[:print:]' '?')
    fails_with 2 name "a desktop's name: $shown" ctl desktop create --template win -- "$name"
    said=$(ctl desktop create --template win -- "$name" 2>&1)
    is "$(grep -c $'\033' <<<"$said") $((${#said} < 600))" '0 1' '... the message is short and has no control character'
    fails_with 2 name "... or a template's" ctl template import --format raw -- "$name" "$top/good.raw"
    fails_with 2 name '... or a new name' ctl desktop rename -- one "$name"
done
fails_with 2 name 'an empty name' ctl desktop create '' --template win
fails_with 2 'UTF-8|name' 'a name that is not UTF-8' ctl desktop create $'\xff\xfe' --template win
fails_with 2 name 'a prefix with a slash' ctl desktop create --prefix a/b --count 2 --template win
fails_with 2 . 'a prefix too long for its numbers' ctl desktop create --prefix "$(head -c 62 /dev/zero | tr '\0' n)" --count 2 --template win
fails_with 2 . 'a batch of 10 million' ctl desktop create --prefix x --count 10000000 --template win
fails_with 2 . 'a batch of none' ctl desktop create --prefix x --count 0 --template win
fails_with '[23]' . 'a show of ../..' ctl desktop show ../../etc
for body in '{"names":["a\u0000b"],"template":"win"}' '{"names":["a/b"],"template":"win"}' \
    '{"names":["x",3],"template":"win"}' '{"names":{},"template":"win"}' '{"names":[],"template":"win"}' \
    '{"names":["x"],"template":"win\u0000"}' '{"names":["x"],"template":"win","owner":7}' \
    '{"names":["x"],"template":"win","cluster_size":12345}' '{"names":["x"],"template":"win","cluster_size":-1}' \
    '{"names":["x"],"template":"win","names":["y"]}' '{"prefix":"x","count":1e3,"template":"win"}'; do
    post '/v1/desktops?wait=10' "$body" >"$top/out"
    is "$(http_code)" 400 "over HTTP: $body"
done
http GET '/v1/desktops/..%2f..%2fetc%2fpasswd' >/dev/null
like "$(http_code)" '^40[04]$' 'over HTTP: a path with encoded slashes'
http GET '/v1/desktops/%00' >/dev/null
like "$(http_code)" '^40[04]$' '... or a NUL'
http GET '/v1/desktops/%ff' >/dev/null
like "$(http_code)" '^40[04]$' '... or no UTF-8'
ok 'an owner may be any text' ctl desktop create owned --template win --owner "O'Brien <ö> \"x\""
is "$(field .owner desktop show owned)" "O'Brien <ö> \"x\"" '... and stays as it is'
ctl desktop delete owned --yes >/dev/null
ctl trash empty --yes >/dev/null
wait_for 10 same_files
nothing_happened names

# ---- sources that vanish ----

tmp_is_empty() { [ -z "$(find "$store/tmp" -type f)" ]; }

serve good --size 2097152 --byte 90
ok 'an import over NBD works' ctl template import nbd "$(uri good)"
ok '... and gives the bytes' qemu-io -r -f qcow2 -c 'read -P 0x5a 0 2M' "$(template_path nbd)"
ok '... also asked of the daemon itself' eval 'post "/v1/templates/import?wait=20" "{\"name\":\"nbd\",\"source\":\"$(uri good)\"}" | jq -e ".state == \"done\""'
files=$(store_files)
templates=$(ctlj template list)
serve dies --size 268435456 --die-after 100000000
fails_with 1 'source|read|NBD|I/O' 'a source that dies midway' ctl template import bad "$(uri dies)"
serve dies2 --size 268435456 --die-after 100000000
json_ok '... asked of the daemon itself' "$(post '/v1/templates/import?wait=30' "{\"name\":\"bad\",\"source\":\"$(uri dies2)\"}")" \
    '.state == "failed" and (.error.message | test("source"))'
serve fails --size 268435456 --fail-after 100000000
fails_with 1 'source|read|I/O' 'a source that cannot be read to its end' ctl template import bad "$(uri fails)"
serve huge --size 18446744073709551104
fails_with '[12]' 'size|large|big|range|cannot' 'a source of 16 EiB' ctl template import bad "$(uri huge)"
serve huge2 --size 18446744073709551104
json_ok '... asked of the daemon itself' "$(post '/v1/templates/import?wait=30' "{\"name\":\"bad\",\"source\":\"$(uri huge2)\"}")" \
    '.state == "failed" or .code != null'
fails_with 1 . 'nobody listens there' ctl template import bad "$(uri nobody)"
ok 'nothing is left in tmp' wait_for 10 tmp_is_empty
wait_for 10 same_files
nothing_happened sources

# The child of imagectl is killed, then imagectl itself; the space is given back.
random_file "$top/big.raw" 400 7
import_runs() { job=$(ctlj job list --in-state running | jq -er 'map(select(.kind == "template.import" and .done > 0))[0].id // empty'); }
job_ended() { [[ $(field .state job show "$job") == @(failed|cancelled|done) ]]; }
serve slow --size 268435456 --per-second 67108864
"$BUILD/imagectl" --state "$state" template import bad "$(uri slow)" >"$top/out" 2>&1 &
importer=$!
keep_pid $importer
ok 'a slow import is under way' wait_for 20 import_runs
child=$(pgrep -P $importer qemu-nbd)
ok 'kill -9 its qemu-nbd' kill -9 "$child"
wait $importer
isnt $? 0 'imagectl fails'
like "$(cat "$top/out")" 'source|gone|ended|read' '... and says why'
ok '... so does the job' wait_for 20 job_ended
is "$(field .state job show "$job")" failed '... it says failed'
ok 'the space is given back' wait_for 10 tmp_is_empty

serve slow2 --size 268435456 --per-second 67108864
"$BUILD/imagectl" --state "$state" template import bad "$(uri slow2)" >"$top/out" 2>&1 &
importer=$!
ok 'another one is under way' wait_for 20 import_runs
kill -9 $importer
wait $importer 2>/dev/null
ok 'kill -9 imagectl: the job ends' wait_for 20 job_ended
is "$(field .state job show "$job")" failed '... as failed'
ok 'the space is given back' wait_for 10 tmp_is_empty

doors=$(find "$TMPDIR" -mindepth 1 -maxdepth 1 | sort) # kill -9 left one
serve slow3 --size 268435456 --per-second 67108864
env --default-signal=INT "$BUILD/imagectl" --state "$state" template import bad "$(uri slow3)" >"$top/out" 2>&1 &
importer=$!
ok 'a third one is under way' wait_for 20 import_runs
kill -INT $importer
wait $importer
isnt $? 0 'Ctrl-C: imagectl fails'
ok '... the job ends' wait_for 20 job_ended
like "$(field .state job show "$job")" 'cancelled|failed' '... cancelled'
ok 'the space is given back' wait_for 10 tmp_is_empty
is "$(find "$TMPDIR" -mindepth 1 -maxdepth 1 | sort)" "$doors" 'its private folder is gone'
fails_with 3 bad 'no template came of it' ctl template show bad

# A client that hangs up: the job goes on without it.
serve slow4 --size 33554432 --per-second 33554432
post '/v1/templates/import?wait=60' "{\"name\":\"patient\",\"source\":\"$(uri slow4)\"}" -m 0.4 >/dev/null 2>&1
is $? 28 'a client hangs up midway'
ok '... the import goes on to its end' wait_for 20 ctl template show patient
names=$(seq -f '"h-%g"' -s, 400)
curl -s -m 0.02 --unix-socket "$state/imaged.sock" -d "{\"names\":[$names],\"template\":\"win\"}" \
    'http://localhost/v1/desktops?wait=60' >/dev/null
hung_up() { [ "$(http GET /v1/status | jq .n_jobs_running)" = 0 ]; }
ok '... likewise while desktops are made' wait_for 20 hung_up
n=$(ctlj desktop list --prefix h- | jq length)
ok "... all of them or, if it hung up before, none ($n)" test "$n" = 400 -o "$n" = 0
for _ in 1 2 3 4 5; do
    curl -s --unix-socket "$state/imaged.sock" -H 'Idempotency-Key: once' -d '{"prefix":"same","count":5,"template":"win"}' \
        'http://localhost/v1/desktops?wait=20' >"$top/same.$_" &
    pids[_]=$!
done
wait "${pids[@]}"
is "$(ctlj desktop list --prefix same- | jq length)" 5 'the same request five times at once is done once'
is "$(cat "$top"/same.* | jq -r .id | sort -u | wc -l)" 1 '... and all get the same job'
ok 'check after all that' check_is_clean
rm -f "$top/big.raw"

# ---- the disk is full ----

mkdir "$top/small"
if mount -t tmpfs -o size=48m none "$top/small" 2>/dev/null; then
    configure 'low_space_bytes = 0'
    stop_daemon
    ok 'the daemon starts' start_daemon
    ok 'a small store' ctl store add small "$top/small/store"
    free=$(df --output=avail -B1 "$top/small" | tail -1)
    random_file "$top/big.raw" 64 3
    fails_with 1 'space' 'an import that does not fit' ctl template import full "$top/big.raw" --format raw --store small
    fails_with 3 full '... gives no template' ctl template show full
    space_is_back() { [ "$(df --output=avail -B1 "$top/small" | tail -1)" -ge $((free - 65536)) ]; }
    ok '... and all of the space back' wait_for 10 space_is_back
    ok 'a small one fits' ctl template import fits "$top/good.raw" --format raw --store small
    ok '... with desktops' ctl desktop create --prefix f --count 20 --template fits
    head -c 100M /dev/zero >"$top/small/filler" 2>/dev/null
    is "$(df --output=avail -B1 "$top/small" | tail -1 | tr -d ' ')" 0 'no byte is free now'
    fails_with 1 'space' 'no desktop can be made' ctl desktop create f-x --template fits
    fails_with 3 f-x '... and none is' ctl desktop show f-x
    ok 'but deleting works' ctl desktop delete --all-of-prefix f- --yes
    ok '... and emptying the trash' ctl trash empty --yes
    rm "$top/small/filler"
    json_ok 'the store is as it should be' "$(ctlj store check small)" '.ok'
    ok 'the template can go' eval 'ctl template delete fits --yes && ctl trash empty --yes'
    gone() { [ "$(field .n_layers store show small)" = 0 ] && ctl store remove small --yes; }
    ok '... and the store' wait_for 10 gone
    stop_daemon
    umount "$top/small" || umount -l "$top/small"
    configure
    start_daemon
else
    fail 'a full disk: mounting is not allowed here'
fi

# ---- two daemons, a newer version ----

said=$("$BUILD/imaged" --state "$state" --config "$top/conf" 2>&1)
isnt $? 0 'a second daemon on the same state folder ends'
like "$said" 'another imaged is running' '... and says why'
ok '... the first one goes on' ctl status
said=$("$BUILD/imaged" --state "$top/other" --store "$store" --config "$top/conf" 2>&1)
isnt $? 0 'a daemon of another state folder on the same store ends'
like "$said" 'open|belongs|manager|offline' '... and says why'
ok '... the first one still goes on' check_is_clean
stop_daemon
cp "$state/catalog.db" "$top/catalog.kept"
sqlite3 "$state/catalog.db" 'PRAGMA user_version = 99' >/dev/null
before=$(sqlite3 "$state/catalog.db" .dump | md5sum)
not_ok 'a catalog made by a newer version is refused' start_daemon
like "$(tail -2 "$log")" 'newer' '... which is said'
is "$(sqlite3 "$state/catalog.db" .dump | md5sum)" "$before" '... and it is left alone'
cp "$top/catalog.kept" "$state/catalog.db"
rm -f "$state"/catalog.db-*
ok 'put right, it starts' start_daemon
ok '... with all there' check_is_clean
stop_daemon
like "$("$BUILD/imaged" --state "$top/$(head -c 120 /dev/zero | tr '\0' d)" --config "$top/conf" 2>&1)" 'too long' \
    'a state folder too deep for a socket is refused by name'
said=$("$BUILD/imaged" --state "$top/good.raw" --config "$top/conf" 2>&1)
isnt $? 0 'a state folder that is a file is refused'

# ---- stores that are not there, or are another ----

verbs_fail() # WHY
{
    fails_with 1 'offline' "$1: create fails" ctl desktop create new --template win
    fails_with 1 'offline' "$1: reset fails" ctl desktop reset one --yes
    fails_with 1 'offline' "$1: delete fails" ctl desktop delete one --yes
    fails_with 1 'offline' "$1: import fails" ctl template import win "$top/good.raw" --format raw
    json_ok "$1: a check fails" "$(ctlj store check)" '.ok == false and .stores[0].findings[0].kind == "offline"'
    json_ok "$1: the store says so" "$(ctlj store show)" '.state == "offline" and (.reason | length > 10)'
    json_ok "$1: what is known can still be read" "$(ctlj desktop show one)" '.name == "one" and .state == "ok"'
    json_ok "$1: nothing is called lost" "$(ctlj desktop list --search missing)" 'length == 0'
    json_ok "$1: nothing went to the trash" "$(ctlj trash list)" 'length == 0'
}
back_online() { [ "$(field .state store show)" = online ]; }

ctl_before=$(sqlite3 "$state/catalog.db" 'select count(*) from layer')
mv "$store" "$top/away"
ok 'the daemon starts without its store' start_daemon
verbs_fail 'no folder'
ok '... nothing was created in its place' test ! -e "$store"
mkdir "$store"
verbs_fail 'an empty folder'
is "$(ls -A "$store")" '' '... nothing was created in it'
stop_daemon
ok 'the daemon starts on an empty folder in place of its store' start_daemon
verbs_fail 'started so'
is "$(ls -A "$store")" '' '... nothing was created in it either'
rmdir "$store"
mv "$top/away" "$store"
ok 'back again, it works by itself within seconds' wait_for 10 back_online
ok '... nothing is lost' check_is_clean
is "$(sqlite3 "$state/catalog.db" 'select count(*) from layer')" "$ctl_before" '... not a layer'
ok 'reset works again' ctl desktop reset one --yes

ctl trash empty --yes >/dev/null
mv "$store" "$top/away"
verbs_fail 'vanished while running'
"$BUILD/imaged" --state "$top/stranger" --config "$top/conf" >"$top/stranger.out" 2>&1 &
stranger=$!
keep_pid $stranger
wait_for 20 grep -q ready "$top/stranger.out"
kill $stranger
wait $stranger 2>/dev/null
mv "$top/stranger/store" "$store"
before=$(cd "$store" && find . -type f -exec md5sum {} + | sort)
verbs_fail "another store's disk"
is "$(cd "$store" && find . -type f -exec md5sum {} + | sort)" "$before" '... not a byte of it was touched'
stop_daemon
ok "the daemon starts with another store's disk" start_daemon
verbs_fail "another store's disk at start"
is "$(cd "$store" && find . -type f -exec md5sum {} + | sort)" "$before" '... not a byte of it was touched either'
fails_with '[12]' 'belongs|owner|manager' "another manager's store is not added" ctl store add theirs "$store"
mv "$store" "$top/stranger/store"
mv "$top/away" "$store"
ok 'the right one is back' wait_for 10 back_online
json_ok 'events tell of both' "$(ctlj event list)" 'any(.[]; .name == "store.offline" and .severity == "alarm") and any(.[]; .name == "store.online")'
fails_with '[12]' 'empty' 'a folder with other things in it becomes no store' ctl store add odd "$here"
like "$(post /v1/stores '{"name":"odd","location":"relative/path"}')" 'absolute' 'nor does a relative path over HTTP'
ok 'check' check_is_clean

# ---- copies and forgeries in the store ----

victim=$(path_of two)
qio "$victim" 'write -q -P 0x77 0 64k' >/dev/null
cp "$victim" "$store/layers/0123456789abcdef0123456789abcdef"
cp "$victim" "$store/layers/copy-of-two.qcow2"
mkdir "$store/somebody"
touch "$store/notes.txt"
said=$(ctlj store check)
is $? 1 'a check that finds something exits 1'
json_ok 'the copies are reported as duplicates' "$said" '[.stores[0].findings[] | select(.kind == "duplicate")] | length == 2'
json_ok 'foreign things are reported' "$said" '[.stores[0].findings[] | select(.kind == "unknown_file") | .layer] | sort == ["notes.txt", "somebody"]'
is "$(find "$store/layers" -name '0123456789*' -o -name 'copy*')" '' 'the copies are out of the way'
is "$(find "$store/quarantine" -type f | wc -l)" 2 '... in quarantine, not deleted'
ok 'what was copied is as it was' qio "$victim" 'read -P 0x77 0 64k'
ok 'foreign things were left alone' test -e "$store/notes.txt" -a -d "$store/somebody"
rm -r "$store/notes.txt" "$store/somebody"
json_ok 'then all is well, with a note' "$(ctlj store check)" '.ok and ([.stores[0].findings[] | select(.kind == "quarantined")] | length == 2)'
is "$(ctlj desktop list | jq 'map(.layer) | length == (unique | length)')" true 'no copy was adopted'
rm "$store"/quarantine/*

cp "$(path_of one)" "$top/kept.qcow2"
cat "$victim" >"$(path_of one)"
said=$(ctlj store check)
is $? 1 'a forged layer: the check exits 1'
json_ok '... names the desktop' "$said" '[.stores[0].findings[] | select(.kind == "forged")] | length == 1 and .[0].name == "one" and .[0].affects == ["one"]'
json_ok '... and only that' "$said" '[.stores[0].findings[] | select(.severity == "error")] | length == 1'
ok 'the desktop can be re-imaged out of it' ctl desktop reset one --yes
json_ok 'the forged disk in the trash is still reported' "$(ctlj store check)" \
    '.ok == false and .stores[0].findings[0].kind == "forged"'
ok 'once the trash is empty' ctl trash empty --yes
ok '... all is well' wait_for 10 check_is_clean

# ---- the clock ----

stop_daemon
if run_by_fake_clock; then
    expiry_is() { [ "$(field .expiry status)" = "$1" ]; }
    ok 'the daemon runs under a clock of ours' start_daemon
    ok 'a desktop goes to the trash' ctl desktop delete three --yes
    echo +365d >"$top/clock"
    ok 'the clock jumps a year: expiry is held' wait_for 20 expiry_is held
    like "$(field .[0].time event list --limit 1)" "^$(($(date -u +%Y) + 1))-" 'the daemon does see that year'
    json_ok 'an alarm says so' "$(ctlj event list)" 'any(.[]; .name == "clock.jump" and .severity == "alarm")'
    is "$(ctlj trash list | jq length)" 1 'nothing expired'
    echo +0 >"$top/clock"
    ok 'the clock is back: expiry goes on' wait_for 20 expiry_is on
    is "$(ctlj trash list | jq length)" 1 'nothing expired'
    stop_daemon
    echo +400d >"$top/clock"
    ok 'the clock jumps while the daemon is off' start_daemon
    ok '... expiry is held' wait_for 20 expiry_is held
    is "$(ctlj trash list | jq length)" 1 '... nothing expired'
    ok 'resume-expiry' ctl trash resume-expiry
    is "$(field .expiry status)" on '... it goes on'
    stop_daemon
    ok 'restart' start_daemon
    expired() { [ "$(ctlj trash list)" = '[]' ]; }
    ok 'and now the entry, a year old, expires' wait_for 40 expired
    stop_daemon
    RUN_WITH=
else
    fail 'a clock that jumps: faketime is not installed'
fi
start_daemon
# The daemon's own yearly check of the data may be at work.
ok 'a last check' wait_for 20 check_is_clean
done_testing
