#!/bin/bash
# inspect.t: what is inside of templates and desktops: read quickly where that is possible, taken from
# the template where nothing that tells has changed, and never mixed up between two clones.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/guest_disk.sh"

configure 'inspect_imports = yes'
make_root "$top/root" golden base=1.0 libssl3=3.0-1 qemu-guest-agent=7.2 spice-vdagent=0.22 office-suite=7.4
random_file "$top/root/home/alice/data" 3 7
make_ext "$top/ext.raw" 64M "$top/root"
make_gpt "$top/g.raw" "$top/ext.raw"
start_daemon || exit 1

inspected() { [ "$(field '.versions[-1].inspection.state' template show "$1")" = ok ]; }
apps() { field '.applications | map(.name + "=" + .version) | join(" ")' "$1" apps "$2"; }
method() { field '.items[0].method' desktop inspect "$1"; }

# ---- an import ----

ctl template import deb "$top/g.raw" --format raw >/dev/null
ok 'an import is looked into by itself' wait_for 20 inspected deb
seen=$(field '.versions[0].inspection' template show deb)
json_ok 'the system' "$seen" '.type == "linux" and .distribution == "debian" and .version == "12" and .product_name == "Debian GNU/Linux 12 (bookworm)" and .architecture == "x86_64" and .hostname == "golden" and .package_format == "deb" and .method == "fast" and .is_current and .n_applications == 5'
json_ok 'its disk' "$seen" '.partition_table == "gpt" and .boot == ["bios", "uefi"] and (.file_systems | map(.device + ":" + .type) == ["/dev/sda1:vfat", "/dev/sda3:ext4"])'
json_ok '... how full' "$seen" '.file_systems[1] | .label == "root" and .mount == "/" and .used == $used' --argjson used "$(dumpe2fs -h "$top/ext.raw" 2>/dev/null | awk '/^Block count/ { n = $3 } /^Free blocks/ { f = $3 } END { print (n - f) * 4096 }')"
json_ok 'its people and agents' "$seen" '(.users | map(.name) == ["root", "alice"]) and .agents == ["qemu-guest-agent", "spice-vdagent"]'
is "$(apps template deb)" 'base=1.0 libssl3=3.0-1 office-suite=7.4 qemu-guest-agent=7.2 spice-vdagent=0.22' 'its applications, and not what was removed'
is "$(field '.applications | map(.name) | join(" ")' template apps deb:1 --app 'LIB*')" libssl3 '... those that fit a pattern'
like "$(ctl template show deb)" 'Debian GNU/Linux 12' 'show tells'
is "$(field '.versions[0].firmware' template show deb)" bios 'how it starts'
cp --sparse=always "$top/g.raw" "$top/uefi.raw"
sfdisk -q --delete "$top/uefi.raw" 2
ctl template import uefi "$top/uefi.raw" --format raw >/dev/null 2>&1
ok 'one without a boot partition for a BIOS' wait_for 20 inspected uefi
is "$(field '.versions[0].firmware' template show uefi)" uefi '... starts with UEFI'
ctl template delete uefi --yes >/dev/null

# ---- desktops ----

ctl desktop create a b c same --template deb >/dev/null
json_ok 'a fresh desktop has what its template has' "$(ctlj desktop show c)" '.inspection | .of == "template" and .is_current and .n_applications == 5'
is "$(method c)" template '... and need not be read for that'

# Two clones go their own ways: the file systems have the same UUID, the applications differ.
new_status() { dpkg_status "$@" >"$top/status"; printf 'rm /var/lib/dpkg/status\nwrite %s /var/lib/dpkg/status\n' "$top/status" >"$top/script"; }
new_status base=1.0 libssl3=3.0-1 office-suite=7.4 only-in-a=1
change_disk a debug_write 10485760 "$top/script"
new_status base=2.0 libssl3=3.0-1 only-in-b=1
change_disk b debug_write 10485760 "$top/script"
printf 'write %s /home/alice/more\nset_inode_field / atime 20300101000000\n' "$top/root/home/alice/data" >"$top/script"
change_disk same debug_write 10485760 "$top/script"
json_ok 'a changed desktop is said to have changed' "$(ctlj desktop show a)" '.inspection | .of == "template" and (.is_current | not)'
said=$(ctlj desktop inspect a b c same)
json_ok 'each is looked into in its own way' "$said" '.n_done == 4 and (.items | map(.method) == ["fast", "fast", "template", "template"])'
is "$(apps desktop a)" 'base=1.0 libssl3=3.0-1 office-suite=7.4 only-in-a=1' "a's applications are a's"
is "$(apps desktop b)" 'base=2.0 libssl3=3.0-1 only-in-b=1' "b's are b's"
is "$(apps desktop same)" "$(apps template deb)" 'other files changed: still the applications of the template'
isnt "$(qemu-img map --output=json -f qcow2 "$(path_of same)" | jq '[.[] | select(.depth == 0 and .data)] | length')" 0 '... though its disk differs'
json_ok 'show tells of the last look' "$(ctlj desktop show a)" '.inspection | .of == "desktop" and .is_current and .method == "fast"'
is "$(sqlite3 -readonly "$state/catalog.db" 'SELECT count(*) FROM application_set')" 3 'sets that are the same are there once'
is "$(ctlj desktop list --app '*OFFICE*' | jq -c 'map(.name)')" '["a","c","same"]' 'desktops with an application'
is "$(ctlj desktop list --app only-in-b | jq -c 'map(.name)')" '["b"]' '... which one has'
is "$(ctlj desktop list --app 'no-such*')" '[]' '... which none has'
is "$(ctlj template list --app 'spice-*' | jq -c 'map(.name)')" '["deb"]' 'templates with an application'
ctl desktop create fresh --template deb >/dev/null
is "$(ctlj desktop list --app 'spice-*' | jq -c 'map(.name)')" '["c","fresh","same"]' 'one that nobody looked into counts as its template'

new_status base=1.0
change_disk a debug_write 10485760 "$top/script"
json_ok 'changed again: as of the last look' "$(ctlj desktop show a)" '.inspection | .of == "desktop" and (.is_current | not) and .n_applications == 4'
like "$(ctl desktop apps a 2>&1 >/dev/null)" 'has changed since' '... apps says so'
is "$(method a)" fast '... looked into again'
is "$(apps desktop a)" 'base=1.0' '... it is up to date'
ctl snapshot create a before >/dev/null
json_ok 'a snapshot changes nothing' "$(ctlj desktop show a)" '.inspection | .of == "desktop" and .is_current and .n_applications == 1'
ctl desktop reset a --yes >/dev/null
json_ok 'a reset brings back what the template has' "$(ctlj desktop show a)" '.inspection | .of == "template" and .is_current and .n_applications == 5'

# ---- versions ----

ctl template create-from b deb --unsealed >/dev/null
ok 'a version made of a desktop is looked into' wait_for 20 inspected deb
diff=$(ctlj template diff deb:1 deb:2)
json_ok 'diff: applications' "$diff" '.applications | (.added | map(.name)) == ["only-in-b"] and (.removed | map(.name)) == ["office-suite", "qemu-guest-agent", "spice-vdagent"] and .upgraded == [{name: "base", arch: "amd64", from: "1.0", to: "2.0"}]'
paths=$(field '.versions | map(.layer) | join(" ")' template show deb)
for v in $paths; do qemu-img convert -f qcow2 -O raw "$store/layers/$v" "$top/$v.raw"; done
is "$(jq .n_bytes <<<"$diff")" "$(python3 -c '
import sys
a, b = (open(n, "rb").read() for n in sys.argv[1:])
print(sum(4096 for i in range(0, len(a), 4096) if a[i:i + 4096] != b[i:i + 4096]))' "$top/${paths% *}.raw" "$top/${paths#* }.raw")" 'diff: bytes, as two raw files have them'
like "$(ctl template diff deb:1 deb:2)" 'upgraded +base +amd64 +1.0 +2.0' 'diff as a table'
is "$(ctlj template diff deb:1 2 | jq -c .applications)" "$(jq -c .applications <<<"$diff")" '... a number alone is a version of the same template'
is "$(ctl template versions deb; ctl template show deb)" "$(ctl template versions deb | cut -c1-120; ctl template show deb | cut -c1-120)" 'the tables fit a terminal'
like "$(ctl template versions deb | head -1)" '^NAME +STATE +DESKTOPS .* SYSTEM ' '... with what matters'
json_ok '... CSV has the rest' "$(ctl template versions deb -o csv | jq -Rs 'split("\n")[0] | split(",")')" 'contains(["data_bytes", "cpus", "memory_bytes", "os", "sealed_at", "inspection_n_applications", "stores"])'
said=$(ctl template show deb:1)
like "$said" 'NAME +deb:1' 'one version is shown'
like "$said" 'SYSTEM TYPE +linux' '... whether it is Linux or Windows'
like "$said" 'ARCHITECTURE +x86_64' '... for which processor'
like "$said" 'BOOTS WITH +bios, uefi' '... and how it starts'
like "$said" '/dev/sda3 +ext4' '... with its file systems'
like "$said" 'alice' '... and users'
json_ok '... as JSON, it alone' "$(ctlj template show deb:1)" '.name == "deb:1" and .version == 1'
fails_with 3 'no version 9' 'one that is not there' ctl template show deb:9

# ---- what cannot be read ----

qemu-io -f qcow2 -c 'sleep 100000' "$(path_of b)" >/dev/null 2>&1 & keep_pid $!
is_live() { [ "$(field .live desktop show b)" = true ]; }
ok 'QEMU has the disk open' wait_for 20 is_live
fails_with 4 'in use' 'a disk that QEMU writes' ctl desktop inspect b
kill -9 ${kept_pids[-1]}; wait ${kept_pids[-1]} 2>/dev/null
fails_with 3 'no such desktop' 'no such desktop' ctl desktop inspect nobody
fails_with 2 'stands alone' '--all and names' ctl desktop inspect a --all
fails_with 3 'template' 'no such template' ctl template inspect nothing

make_raw "$top/blank.raw" 8M 1M 0x33 64k
ctl template import blank "$top/blank.raw" --format raw >/dev/null
ok 'a disk with nothing known on it' wait_for 20 inspected blank
json_ok '... is that' "$(ctlj template show blank)" '.versions[0].inspection | .type == "unknown" and .n_applications == 0 and .partition_table == "none"'

fails_with 3 'no system' '... apps says so' ctl template apps blank
json_ok '... and a diff, not that all is new' "$(ctlj template diff blank:1 deb:1)" '.applications == null and .n_bytes > 0 and (.not_known | length == 1 and .[0].name == "blank:1" and (.[0].reason | test("no system")))'
like "$(ctl template diff deb:1 blank:1)" '^applications of blank:1 are not known: no system.*
.* differ$' '... in words'

# ---- after a stop, and gone with its layer ----

stop_daemon; start_daemon
json_ok 'after a stop it is still known' "$(ctlj desktop show c)" '.inspection | .of == "desktop" and .is_current'
ctl desktop delete a b c same fresh --yes >/dev/null; ctl trash empty --yes >/dev/null
ctl template delete deb --yes >/dev/null; ctl template delete blank --yes >/dev/null; ctl trash empty --yes >/dev/null
is "$(sqlite3 -readonly "$state/catalog.db" 'SELECT (SELECT count(*) FROM inspection) + (SELECT count(*) FROM application_set) + (SELECT count(*) FROM application_in) + (SELECT count(*) FROM application)')" 0 'it goes with the layers'
ok 'the store is whole' check_is_clean
configure; stop_daemon; start_daemon
ctl template import deb "$top/g.raw" --format raw >/dev/null
is "$(ctlj job list | jq '[.[] | select(.kind == "template.inspect" and .state != "done")] | length')" 0 'inspect_imports = no'
json_ok '... nothing is known then' "$(ctlj template show deb)" '.versions[0].inspection == {state: "none"}'
fails_with 3 'nobody has looked' '... apps says so' ctl template apps deb
json_ok '... until it is asked for' "$(ctlj template inspect deb)" '.n_done == 1'

done_testing
