#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# heavy: boots libguestfs' appliance under TCG
# long: 140 s
# reset_keep.t: files carried through a reset.  What came over is judged by debugfs and e2fsck; the
# daemon is killed in the middle of it.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/guest_lib.sh"

configure_guest
start_daemon || { diag "$(cat "$log")"; exit 1; }

# ---- The template, and three desktops whose users have been at work ----

tree=$top/tree
make_tree "$tree"
echo skeleton >"$tree/home/alice/from-template"
make_fs "$tree" "$top/golden.raw"
ctl template import golden "$top/golden.raw" --format raw >/dev/null
for name in lab-1 lab-2 lab-3; do ctl desktop create $name --template golden >/dev/null; done

work=$top/work
cp -a "$tree" "$work"
rm "$work/home/alice/from-template"
mkdir -p "$work/home/alice/docs" "$work/srv/share/deep"
echo hello >"$work/home/alice/docs/a"
ln "$work/home/alice/docs/a" "$work/home/alice/docs/hard"
ln -s /etc/hostname "$work/home/alice/way-out"
chown -R -h 1000:1000 "$work/home/alice"
chmod 640 "$work/home/alice/docs/a"
chmod 750 "$work/home/alice/docs"
setfattr -n user.tag -v blue "$work/home/alice/docs/a"
setfacl -m u:1234:r "$work/home/alice/docs/a"
truncate -s 8M "$work/home/alice/docs/sparse"
chown 33:44 "$work/srv/share"
chmod 2771 "$work/srv/share"
echo one >"$work/srv/share/deep/kept"
echo two >"$work/srv/share/deep/not"
echo hacked >"$work/etc/hostname"
make_fs "$work" "$top/work.raw"
fill lab-1 "$top/work.raw"

# lab-2's alice has no docs; lab-3's is a link out of her home.
ln -s ../etc "$tree/home/mallory"
rm -r "$tree/home/alice"
ln -s ../etc "$tree/home/alice"
make_fs "$tree" "$top/hostile.raw"
fill lab-3 "$top/hostile.raw"

# ---- What is refused before anything begins ----

fails_with 2 "no absolute path" "a relative path" ctl desktop reset lab-1 --keep home/alice --yes
fails_with 2 "no absolute path" "the whole disk" ctl desktop reset lab-1 --keep / --yes
fails_with 2 "without . and .." "a path that climbs" ctl desktop reset lab-1 --keep /home/../etc --yes
fails_with 2 "'/srv/.' cannot" "two paths, the second is none" ctl desktop reset lab-1 --keep /home,/srv/. --yes
like "$(ctl desktop reset lab-1 --keep /home,/srv --dry-run)" 'carries over: /home, /srv' "a dry run says what is kept"
before=$(field .layer desktop show lab-1)

# ---- One reset, in the middle of which the daemon is killed ----

job=$(ctlj desktop reset lab-1 --keep /home/alice --keep /home/alice/docs,/srv/share/deep/kept --yes --no-wait | jq -r .id)
appliance_runs() { run_processes | xargs -r ps -o comm= -p | grep -q qemu-system; }
ok "the helper starts an appliance" wait_for 200 appliance_runs
helper=$(helpers "$daemon")
isnt "$helper" "" "it is a child of the daemon"
fails_with 4 "." "the desktop is busy meanwhile" ctl desktop delete lab-1 --yes
not_ok "QEMU cannot write to the disk that is read" qemu-io -f qcow2 -c 'write 0 4k' "$(path_of lab-1)"
kill -9 "$daemon"
wait "$daemon" 2>/dev/null
daemon=
gone() { [ -z "$(run_processes)" ]; }
ok "its helper dies with it, and the appliance" wait_for 10 gone
start_daemon || diag "$(cat "$log")"
is "$(field .layer desktop show lab-1)" "$before" "after the restart the desktop has its former disk"
done_job() { [ "$(field .state job show "$job")" = "done" ]; }
ok "the job goes on by itself and is done" wait_for 600 done_job || diag "$(ctlj job show "$job")"
result=$(field '.result.items[0] | tojson' job show "$job")
json_ok "it reports files, bytes and rate" "$result" \
    '.ok and .n_files > 5 and .bytes > 0 and .elapsed_ms > 0 and .bytes_per_second > 0'
json_ok "its progress is all of it" "$(ctlj job show "$job")" '.done == .total'

# ---- What came over ----

qemu-img convert -f qcow2 -O raw "$(path_of lab-1)" "$top/after.raw"
fs=$top/after.raw
ok "the new file system is sound" e2fsck -fn "$fs"
stat=$(in_fs "$fs" 'stat /home/alice/docs/a')
like "$stat" 'Mode: +0640' "modes"
like "$stat" 'User: +1000 +Group: +1000' "owners"
like "$stat" 'Links: 2' "hard links"
eas=$(in_fs "$fs" 'ea_list /home/alice/docs/a')
like "$eas" 'user.tag \(4\) = "blue"' "extended attributes"
like "$eas" 'posix_acl_access' "ACLs"
like "$(in_fs "$fs" 'stat /home/alice/way-out')" 'Type: symlink' "a link is a link"
like "$(in_fs "$fs" 'stat /home/alice/docs/sparse')" 'Blockcount: 0' "a hole is a hole"
is "$(in_fs "$fs" 'cat /etc/hostname')" guest "what was not named is the template's"
ok "a file that its user deleted stays deleted" lacks "$fs" /home/alice/from-template
is "$(in_fs "$fs" 'cat /srv/share/deep/kept')" one "a single file"
ok "and not its neighbour" lacks "$fs" /srv/share/deep/not
stat=$(in_fs "$fs" 'stat /srv/share')
like "$stat" 'Mode: +02771' "folders on the way are made as they were"
like "$stat" 'User: +33 +Group: +44' "with their owners"
is "$(field .generation desktop show lab-1)" 2 "the generation went up by one"
ok "qemu-img finds nothing wrong" qemu-img check -q "$(path_of lab-1)"

# ---- Two that fail keep what they have ----

layers=$(field '[.[].layer] | tojson' desktop list)
out=$(ctlj desktop reset lab-2 lab-3 --keep /home/alice/docs --yes 2>"$top/err")
json_ok "both fail, each for its own reason" "$out" '.n_done == 0 and .n_failed == 2'
like "$(cat "$top/err")" "lab-2: it has no '/home/alice/docs'" "what is not there is not kept in silence"
like "$(cat "$top/err")" "lab-3: '/home/alice' is a symbolic link" "a link on the way is not followed"
is "$(field '[.[].layer] | tojson' desktop list)" "$layers" "they have their former disks"

# ---- A Windows that sleeps: its files are not all on the disk ----

truncate -s 64M "$top/asleep.raw"
mkntfs -q -F "$top/asleep.raw" >/dev/null 2>&1
{ printf hibr; head -c 8188 /dev/zero; } >"$top/hiberfil"
ntfscp -f "$top/asleep.raw" "$top/hiberfil" hiberfil.sys >/dev/null 2>&1
ntfs-3g.probe --readwrite "$top/asleep.raw" 2>/dev/null
is $? 14 "an NTFS that ntfs-3g calls hibernated"
ctl template import asleep "$top/asleep.raw" --format raw >/dev/null
ctl desktop create w-1 --template asleep >/dev/null
before_w=$(field .layer desktop show w-1)
fails_with '[0-9]' "Windows on it is hibernated" "a hibernated Windows is refused" \
    ctl desktop reset w-1 --keep '/Users/alice' --yes
is "$(field .layer desktop show w-1)" "$before_w" "... and has its disk"

# ---- Undone, and nothing left ----

ok "undo-reset brings the former disk back" ctl desktop undo-reset lab-1 --yes
is "$(field .layer desktop show lab-1)" "$before" "it is the very same"
qemu-img convert -f qcow2 -O raw "$(path_of lab-1)" "$top/after.raw"
is "$(in_fs "$top/after.raw" 'cat /etc/hostname')" hacked "with all that was on it"
is "$(ls -A "$state/guest")" "" "no run's folder is left"
is "$(ls -A "$store/tmp")" "" "nor anything in tmp"
ok "every byte is accounted for" ctl store check
done_testing
