#!/bin/bash
# files.t: files out of disks: of desktops, snapshots, versions and archive points, byte for byte as
# debugfs has them; names of any bytes; links that lead out; disks made to do harm.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/guest_disk.sh"

make_root "$top/root" golden base=1.0
h=$top/root/home/alice
random_file "$h/big" 5 3
truncate -s 20M "$h/sparse"; printf 'end' >>"$h/sparse"
: >"$h/empty"
printf 'latin' >"$h/$(printf 'caf\xe9')"; printf 'line' >"$h/$(printf 'two\nlines')"; printf 'slash' >"$h/back\\slash"; printf 'utf' >"$h/grün"
mkdir "$h/deep" && ln -s ../../../etc "$h/deep/to-etc"
ln -s /etc/shadow "$h/shadow"; ln -s loop-b "$h/loop-a"; ln -s loop-a "$h/loop-b"; ln -s ../../../../../../../../../../etc/passwd "$h/out"
mkfifo "$h/pipe"; chown -hR 1000:1000 "$h"; chmod 4750 "$h/big"; chmod 1777 "$top/root/tmp"
for i in $(seq 300); do : >"$top/root/tmp/file-$i"; done
echo golden-secret >"$top/root/etc/shadow"
make_ext "$top/ext.raw" 64M "$top/root"
make_gpt "$top/g.raw" "$top/ext.raw"
start_daemon || exit 1
ctl template import deb "$top/g.raw" --format raw >/dev/null
ctl desktop create d --template deb >/dev/null

dump() { debugfs -R "dump \"$2\" $top/dumped" "$1" >/dev/null 2>&1; }
# same_as IMAGE REF PATH: as debugfs reads it.
same_as() { dump "$1" "$3" && ctl desktop files get "$2" "$3" "$top/got" && cmp "$top/dumped" "$top/got"; }
entry() { ctlj desktop files ls "$1" "$2" | jq -c ".[] | select(.name == \"$3\")"; }

# ---- lists ----

json_ok 'a folder' "$(ctlj desktop files ls d /)" 'map(.name) == ["bin", "etc", "home", "lost+found", "tmp", "usr", "var"] and all(.type == "folder" and .owner == "root")'
is "$(ctlj desktop files ls d | jq length)" 7 '... the root is the default'
names=$(ctlj desktop files ls d /home/alice)
json_ok 'an entry' "$(entry d /home/alice big)" '.type == "file" and .mode == 2536 and .uid == 1000 and .owner == "alice" and .group == "alice" and .size == 5242880 and (.mtime | test("Z$")) and .target == null'
is "$(jq -r '.[] | select(.type == "link") | .name + ">" + .target' <<<"$names" | sort | tr '\n' ' ')" 'loop-a>loop-b loop-b>loop-a out>../../../../../../../../../../etc/passwd shadow>/etc/shadow ' 'links are shown as links'
is "$(jq -c 'map(.name) | map(select(test("\\\\|ü")))' <<<"$names")" '["back\\\\slash","caf\\xe9","grün","two\\x0alines"]' 'names that are no text are escaped'
is "$(jq -r 'length' <<<"$(ctlj desktop files ls d /tmp)")" 300 'a folder of many'
is "$(debugfs -R 'ls -p /home/alice' "$top/ext.raw" 2>/dev/null | awk -F/ 'NF > 5 && $6 != "." && $6 != ".." { n++ } END { print n }')" "$(jq length <<<"$names")" 'as many as debugfs sees'
table=$(ctl desktop files ls d /home/alice)
like "$table" '^-rwsr-x--- +alice +alice +5\.0 MiB .* big' 'a table for people'
like "$table" '^lrwxrwxrwx .* shadow +/etc/shadow' '... with links'
is "$(ctlj desktop files ls d /home/alice/big | jq -r '.[].name')" big 'a file is its own list'

is "$(ctl desktop files ls d /home/alice/big -o csv | sed 's/Z,/,/; s/,20[0-9T:-]*,/,TIME,/')" $'type,mode,uid,owner,gid,group,size,mtime,name,target\nfile,2536,1000,alice,1000,alice,5242880,TIME,big,' 'CSV has the numbers, by the names that JSON has'
is "$(ctlj desktop files ls d /home/alice/deep/to-etc | jq -r '.[].name')" to-etc 'a link is its own list'
is "$(ctlj desktop files ls d /home/alice/deep/to-etc/ | jq -c 'map(.name)')" "$(ctlj desktop files ls d /etc | jq -c 'map(.name)')" '... with a slash behind it, the folder that it points to'
fails_with 3 'no such folder' 'a file with a slash behind it' ctl desktop files ls d /home/alice/big/
fails_with 3 'no such folder' '... nor can that be got' ctl desktop files get d /home/alice/shadow/

# ---- bytes ----

for f in big sparse empty grün; do ok "$f comes out as it is" same_as "$top/ext.raw" d "/home/alice/$f"; done
is "$(ctl desktop files get d "$(printf '/home/alice/caf\xe9')")" latin 'a name that is no UTF-8'
is "$(ctl desktop files get d "$(printf '/home/alice/two\nlines')")" line '... with a newline'
is "$(ctl desktop files get d '/home/alice/back\slash')" slash '... with a backslash'
is "$(http GET '/v1/files/content?ref=d&path=/home/alice/caf%5Cxe9')" latin '... as the API writes it'
is "$(ctl desktop files get d home/alice/deep/to-etc/hostname)" golden 'a link on the way leads about inside of the guest'
is "$(ctl desktop files get d /home/alice/../../../../etc/shadow)" golden-secret '.. at the top is the top'
fails_with 2 'is a link to .*/etc/shadow' 'a link at the end is not followed' ctl desktop files get d /home/alice/shadow
fails_with 2 'is a link' '... nor one that climbs' ctl desktop files get d /home/alice/out
fails_with '[12]' 'too many symbolic links' 'links in a circle' ctl desktop files get d /home/alice/loop-a/x
fails_with 2 'is a folder' 'a folder is no file' ctl desktop files get d /home
fails_with 2 'is a pipe' 'nor is a pipe' ctl desktop files get d /home/alice/pipe
fails_with 3 'no such file' 'no such file' ctl desktop files get d /home/bob "$top/none"
is "$(ls "$top"/none* 2>/dev/null)" '' '... and nothing is written'
fails_with 3 'no such file' 'a file is no folder' ctl desktop files ls d /home/alice/big/x
fails_with 3 'no desktop or template' 'no such disk' ctl desktop files ls nobody /
fails_with 2 'backslash' 'a bad escape' eval 'http GET "/v1/files?ref=d&path=%5Cq" >/dev/null; jq -r .message "$top/body" >&2; exit 2'
fails_with 2 'files ls DISK' 'bad words' ctl desktop files rm d /etc
echo old >"$top/target"
ok 'over a file that is there' ctl desktop files get d /etc/hostname "$top/target"
is "$(cat "$top/target")" golden '... it is replaced'

# ---- FILE is more than a name ----

get() { ctl desktop files get d "$1" "$2"; }
kind_of() { stat -c '%F %a' "$1"; }
out=$top/out
mkdir "$out" "$out/folder"
mknod "$out/full" c 1 7 && chmod 640 "$out/full"
fails_with 1 'No space' 'to a device that is full' get /home/alice/big "$out/full"
is "$(kind_of "$out/full")" 'character special file 640' '... it is the device that it was'
mkfifo "$out/pipe"
timeout 20 cat "$out/pipe" >"$out/read" & keep_pid $!
ok 'into a pipe' timeout 20 "$BUILD/imagectl" --state "$state" desktop files get d /home/alice/big "$out/pipe"
wait "${kept_pids[-1]}"
dump "$top/ext.raw" /home/alice/big
ok '... whose reader has all of it' cmp "$out/read" "$top/dumped"
is "$(kind_of "$out/pipe")" 'fifo 644' '... and it is still a pipe'
echo old >"$out/real"; chown 12:34 "$out/real"; chmod 4751 "$out/real"; ln -s real "$out/link"
ok 'through a link' get /etc/hostname "$out/link"
is "$(kind_of "$out/link" | cut -c1-13):$(cat "$out/real")" 'symbolic link:golden' '... to the file that it points to'
is "$(stat -c '%a %u %g' "$out/real")" '751 12 34' '... which keeps its owner and mode, and runs as nobody else'
fails_with 3 'no such file' 'nothing to get' get /home/bob "$out/real"
is "$(cat "$out/real")" golden '... the file is what it was'
ln -s nowhere "$out/dangling"
fails_with 2 'link to what is not there' 'a link to nothing' get /etc/hostname "$out/dangling"
ok 'a new file' eval '(umask 027; get /etc/hostname "$out/new")'
is "$(kind_of "$out/new")" 'regular file 640' '... has the mode that the umask leaves'
ok 'into a folder' get /etc/hostname "$out/folder"
is "$(cat "$out/folder/hostname")" golden '... by its own name'
mkdir "$out/folder/big"
fails_with 2 'is a folder' '... unless that is a folder' get /home/alice/big "$out/folder"
is "$(find "$out" -maxdepth 2 -name '*imagectl*')" "" 'nothing else is left'

# ---- a lost file: out of a snapshot, out of an archive ----

ctl snapshot create d monday >/dev/null
mkdir "$top/nas"; ctl archive target add nas "$top/nas" >/dev/null
ctl archive create d@monday --to nas >/dev/null
point=$(ctlj archive list | jq -r '.[0].id')
printf 'rm /home/alice/big\n' >"$top/script"
change_disk d debug_write 10485760 "$top/script"
fails_with 3 'no such file' 'a file that was deleted' ctl desktop files get d /home/alice/big
ok '... comes out of the snapshot' same_as "$top/ext.raw" d@monday /home/alice/big
ok '... and out of the archive' same_as "$top/ext.raw" "archive:$point" /home/alice/big
ok 'a template version is read alike' same_as "$top/ext.raw" deb:1 /home/alice/big
qemu-io -f qcow2 -c 'sleep 100000' "$(path_of d)" >/dev/null 2>&1 & keep_pid $!
is_live() { [ "$(field .live desktop show d)" = true ]; }
ok 'QEMU has the disk open' wait_for 20 is_live
fails_with 4 'd@SNAPSHOT' 'a disk in use is busy, its snapshots are not' ctl desktop files ls d /
ok '...' same_as "$top/ext.raw" d@monday /home/alice/big
kill -9 "${kept_pids[-1]}"; wait "${kept_pids[-1]}" 2>/dev/null
ok 'nothing is claimed afterwards' ctl desktop delete d --yes

# ---- a data disk ----

make_ext "$top/data.raw" 64M "$top/root/home"
ctl desktop create e --template deb --data-disk 64M >/dev/null
ok 'a data disk with files' qemu-img convert -n -f raw -O qcow2 "$top/data.raw" "$(ctl desktop path e --data)"
ctl snapshot create e monday >/dev/null
ctl archive create e@monday --to nas >/dev/null
point_of() { ctlj archive list | jq -r --arg n "$1" 'map(select(.name == $n))[0].id'; }
e=archive:$(point_of e@monday)
for from in e e@monday "$e"; do
    is "$(ctlj desktop files ls "$from/data" /alice | jq length)" "$(jq length <<<"$names")" "$from: a folder of its data disk"
    ok '... a file of it' same_as "$top/data.raw" "$from/data" /alice/big
done
fails_with 3 'no such file' '... and its other disk is another one' ctl desktop files ls "$e" /alice
fails_with 3 "archive:$point' has no data disk" 'a point without a data disk' ctl desktop files ls "archive:$point/data" /
fails_with 3 "no archive point 'beef00'" 'no such point' ctl desktop files ls archive:beef00/data /

# A client that goes away in the middle ends the helper.
helpers() { pgrep -P "$daemon" | wc -l; }
curl -sS --limit-rate 100k --max-time 1 --unix-socket "$state/imaged.sock" "http://x/v1/files/content?ref=deb&path=/home/alice/big" >/dev/null 2>&1
ok 'a client that goes away leaves no helper' wait_for 10 eval '[ "$(helpers)" = 0 ]'

# ---- disks made to do harm ----

# hostile NAME COMMAND: an image that the command changed is looked into; the daemon lives on.
hostile()
{
    local name=$1 raw=$top/hostile.raw
    shift
    cp --sparse=always "$top/ext.raw" "$raw"
    "$@" "$raw" >/dev/null 2>&1
    ctl template import "$name" "$raw" --format raw >/dev/null 2>&1
    timeout 60 "$BUILD/imagectl" --state "$state" template inspect "$name" >"$top/said" 2>&1
}
super() { printf "$2" | dd of="$3" bs=1 seek=$((1024 + $1)) conv=notrunc status=none; }
debug() { printf '%s\n' "$1" >"$top/script"; debugfs -w -f "$top/script" "$2"; }

not_ok 'more blocks than the disk has' hostile h1 super 4 '\377\377\377\377'
like "$(cat "$top/said")" 'superblock is not sound' '... is told'
not_ok 'inodes of an odd size' hostile h2 super 0x58 '\003\000'
not_ok 'blocks of 2^60 bytes' hostile h3 super 0x18 '\062\000\000\000'
not_ok 'group descriptors that point nowhere' hostile h4 sh -c 'for i in 4 8 12 40; do printf "\377\377\377\177" | dd of="$0" bs=1 seek=$((4096 + i)) conv=notrunc status=none; done'
not_ok 'a passwd of many terabytes' hostile h5 debug 'set_inode_field /etc/passwd size 0x7ffffffffff'
like "$(cat "$top/said")" 'larger than' '... is told'
ok 'a root that is a file is no system' hostile h6 debug 'set_inode_field / mode 0100644'
hostile h7 debug $'link / /etc/up\nunlink /etc/passwd\nsymlink /etc/passwd /etc/passwd'
json_ok 'folders in a circle end' "$(ctlj job list)" '.[0].kind == "template.inspect" and (.[0].state | test("done|failed"))'
fails_with '[123]' 'symbolic links|no such file' '... a file that is a link to itself' ctl desktop files get h7 /etc/passwd/x
crash=0
for seed in 1 2 3 4; do
    hostile "fuzz$seed" python3 -c '
import random, sys
random.seed(int(sys.argv[1]))
with open(sys.argv[2], "r+b") as f:
    for _ in range(200):
        f.seek(1024 + random.randrange(600000)); f.write(bytes([random.randrange(256)]))' "$seed"
    ctl desktop files ls "fuzz$seed" /home/alice >/dev/null 2>&1
    ctl status >/dev/null 2>&1 || crash=1
done
is $crash 0 'random damage: the daemon lives on'
json_ok '... every job has ended' "$(ctlj job list)" 'all(.state == "done" or .state == "failed")'
ok 'the store is whole' check_is_clean
done_testing
