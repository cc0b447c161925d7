# heavy: builds Debians and boots one; minutes on a busy machine.
# long: 400 s
#
# Recipes: what is wrong is told, what is right becomes a disk that boots, nothing that runs meanwhile
# gets out, and whatever ends a build leaves nothing behind.  Second opinions: sfdisk, e2fsck and
# debugfs on the disk, libvirt with BIOS and UEFI, the guest's agent, a SPICE client.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
. "$repo/tests/guest/libvirt.sh"
. "$repo/tests/guest/packages.sh"

limit=${BUILD_LIMIT:-1500} # seconds; 40 are enough where nothing else runs
cd "$top" || exit 1
chmod 711 "$top" # builds run as another user, who must get to the state folder

packages_take
start_daemon || exit 1

# What a failed build may leave: its log and the cache.
leftovers()
{
    (cd "$state" && find . ! -path './job-logs*' ! -path './guest-cache*' ! -name 'catalog.db*' \
        ! -path ./guest ! -name journal ! -name 'catalog.backup*' ! -path './appliance*' | sort)
}
job_state()
{
    field .state job show "$1"
}
has_ended()
{
    case $(job_state "$1") in 'done' | failed | cancelled) ;; *) return 1 ;; esac
}
log_has()
{
    ctl job log "$1" | grep -q "$2"
}

# ---- Recipes that are wrong, which only the archive knows (the rest: recipe_check.t) ----
before=$(leftovers)
printf 'version: 1\nname: x\nbase: {suite: nosuchsuite}\nsize: 2G\n' >suite.yaml
fails_with 3 "don't have the suite 'nosuchsuite'" "no such suite" ctl template build suite.yaml --quiet
printf 'version: 1\nname: x\nbase: {suite: bookworm}\nsize: 2G\npackages: [no-such-package-xyz]\n' \
    >package.yaml
fails_with 3 "there is no package 'no-such-package-xyz'" "a missing package is named" \
    ctl template build package.yaml --quiet
is "$(leftovers)" "$before" "nothing is left of these"

# ---- A build, killed in the middle; its commands try to get out ----
python3 -m http.server --bind 127.0.0.1 0 >http.log 2>&1 &
keep_pid $!
wait_for 20 grep -q 'port [0-9]' http.log
port=$(grep -o 'port [0-9]*' http.log | cut -d' ' -f2)
echo HOST-MARK >"$state/secret"
chmod 600 "$state/secret"
echo 'from the client' >note.txt
cat >good.yaml <<E1
version: 1
name: good
description: built by a test
base: {suite: bookworm}
size: 2G
locale: C.UTF-8
timezone: Europe/Berlin
hostname: testhost
hardware: {cpus: 1, memory: 512M, firmware: uefi}
packages: [openssh-server]
users:
  - name: alice
    groups: [audio]
    password: \$6\$saltsalt\$abcdefgh
  - {name: bob, shell: /bin/sh}
files:
  - path: /etc/note
    source: note.txt
    owner: alice
    mode: 0640
  - path: /usr/local/bin/hello
    content: |
      #!/bin/sh
      echo hello
    mode: 0755
commands:
  - test "\$(hello)" = hello
  - bash -c 'exec 3<>/dev/tcp/127.0.0.1/$port' && echo OUT-host || true
  - test "\$(grep -c ':' /proc/net/dev)" = 1 || echo OUT-net
  - ls '$state' && echo OUT-state || true
  - ls /proc/1/root$state && echo OUT-state || true
  - |
    mkdir -p /jail
    perl -e 'chroot "/jail"; chdir ".." for 1..50; chroot "."; print "OUT-root\n" if -e "$state/secret"; print "OUT-secret\n" if open(F, "$state/secret") and grep /HOST-MARK/, <F>'
  - grep -rqs HOST-MARK /proc/1/root$state /proc/*/root$state /proc/*/cwd/state && echo OUT-secret || true
  - if mount -t tmpfs x /mnt && umount /mnt; then echo mounts are its own; fi
  - if unshare -Ur true 2>/dev/null; then echo nested; fi
  - cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' >/run/seen; grep -q 'bin/bash\|sh -c' /run/seen && echo sees its own; grep -q 'imaged --st[a]te\|http[.]serv[e]r' /run/seen && echo OUT-ps || true
  - mkdir -p /var/lib/imaged /var/lib/NetworkManager /var/crash /var/log/old
  - cd / && for f in var/lib/imaged/user.done var/lib/NetworkManager/secret_key var/crash/core var/mail/root root/.python_history home/alice/.lesshst etc/krb5.keytab var/log/old/a.gz var/tmp/.hidden; do echo x >\$f; done
  - echo tried everything
E1
id=$(ctl template build good.yaml --no-wait -o json | jq -r .id)
ok "a build begins" wait_for "$limit" log_has "$id" 'installing essential'
# halfway JOB: its packages are being installed
halfway() { ctlj job show "$1" | jq -e '.unit == "percent" and .total == 100 and .done > 25 and .done < 98 and (.message | test("packages \\([0-9]+ of [0-9]+\\)"))'; }
ok "its progress is told" wait_for "$limit" halfway "$id"
kill -9 "$daemon"
wait "$daemon" 2>/dev/null
daemon=
ok "the daemon is killed; it starts again" start_daemon
ok "and the build ends" wait_for "$limit" has_ended "$id"
is "$(job_state "$id")" 'done' "well"
[ "$(job_state "$id")" = 'done' ] || ctl job log "$id" | tail -n 20 >&2
ctl job log "$id" >said.log
json_ok "all of it was done" "$(ctlj job show "$id")" '.done == 100 and .total == 100'
ok "its commands ran" grep -q '^tried everything' said.log
ok "... and saw processes: their own" grep -q '^sees its own' said.log
json_ok "what sealing removed is told" "$(ctlj template show good)" '.versions[0].notes | map(select(test("^sealed: [0-9]+ things removed"))) | length == 1'
unlike "$(cat said.log)" '^OUT-' "none got out: no network, no state folder, no process, no root"
all_ended() { ! ctl job list -o json | jq -e '.[] | select(.state == "running" or .state == "queued")'; }
ok "the look into the new version ends, too" wait_for "$limit" all_ended
is_swept() { ls -A "$state/guest" >left && [ ! -s left ]; } # what was killed is removed meanwhile
ok "no folder of it is left" wait_for 60 is_swept
packages_keep

# ---- The disk ----
json_ok "hardware, firmware and sealing are known" "$(ctlj template show good)" \
    '.versions[0] | .firmware == "uefi" and .video == "qxl" and .sealed_at != null and .cpus == 1'
id=$(ctlj job list | jq -r 'map(select(.kind == "template.build" and .state == "done")) | .[0].id')
json_ok "the job's result says what sealing removed" "$(ctlj job show "$id")" \
    '.result.sealed | (.operations | length) > 0 and (.n_removed | type) == "number"'
layer=$(template_path good)
ok "qemu-img finds it sound" qemu-img check -q "$layer"
qemu-img convert -O raw "$layer" disk.raw
partitions=$(sfdisk -d disk.raw)
like "$partitions" 'start= *2048, size= *2048, type=21686148' "a BIOS boot partition"
like "$partitions" 'start= *4096, .*type=C12A7328' "an EFI system partition"
like "$partitions" 'start= *135168, .*type=4F68BCE3' "root is the last"
dd if=disk.raw of=root.raw bs=1M skip=66 conv=sparse status=none
truncate -s $(($(stat -c %s root.raw) - 1048576)) root.raw
ok "e2fsck finds the file system sound" e2fsck -fn root.raw
in_root() { debugfs -R "$1" root.raw 2>/dev/null; }
is "$(in_root 'cat /etc/note')" "from the client" "a file of the client's"
like "$(in_root 'stat /etc/note')" 'Mode: *0640' "with its mode"
like "$(in_root 'stat /etc/note')" 'User: *1000 ' "and owner"
like "$(in_root 'cat /etc/passwd')" '^bob:x:1001:.*:/bin/sh$' "users"
like "$(in_root 'cat /etc/shadow')" '^alice:\$6\$saltsalt\$abcdefgh:' "with passwords"
like "$(in_root 'cat /etc/shadow')" '^root:\*:' "root's is locked"
is "$(in_root 'cat /etc/hostname')" testhost "host name"
like "$(in_root 'stat /etc/localtime')" 'Europe/Berlin' "time zone"
like "$(in_root 'cat /etc/apt/sources.list')" '^deb http.* bookworm main' "sources for later"
like "$(in_root 'stat /etc/machine-id')" 'Project: .* Size: 0$' "no machine-id"
for path in var/lib/imaged/user.done var/lib/NetworkManager/secret_key var/crash/core var/mail/root \
    root/.python_history home/alice/.lesshst etc/krb5.keytab var/log/old/a.gz var/tmp/.hidden; do
    like "$(debugfs -R "stat $path" root.raw 2>&1)" 'File not found by ext2_lookup' "sealed: no $path"
done
like "$(debugfs -R 'stat /usr/sbin/policy-rc.d' root.raw 2>&1)" 'File not found by ext2_lookup' "nothing of the build is left"

# ---- It boots: two clones side by side, each a machine of its own ----
libvirt_start "$top/v" || fail "libvirtd starts"
ctl desktop create bios uefi --template good --disk-size 3G --data-disk 1G >/dev/null
ok "boots with a BIOS" libvirt_define bios disk="$(path_of bios)" \
    config="$(ctl desktop config-disk bios)" data="$(ctl desktop path bios --data)" firmware=bios
ok "another beside it with UEFI" libvirt_define uefi disk="$(path_of uefi)" \
    config="$(ctl desktop config-disk uefi)" firmware=uefi
ok "until its agent answers" guest_wait bios 900
ok "and the other's" guest_wait uefi 900
# look NAME: what a machine is, into $hostname, $machine, $key, $instance
look()
{
    local said
    # shellcheck disable=SC2016 # for the guest
    said=$(guest_run "$1" 'systemctl is-system-running --wait >/dev/null
        hostname; cat /etc/machine-id; cut -d" " -f2 /etc/ssh/ssh_host_ed25519_key.pub
        cat /var/lib/imaged/*.done | sort -u') || return
    {
        read -r hostname
        read -r machine
        read -r key
        read -r instance
    } <<<"$said"
}
ok "what the first is" look bios
is "$hostname $instance" "bios $(field .id desktop show bios)-1" "its own name, and not the recipe's"
like "$machine" '^[0-9a-f]{32}$' "a machine id"
like "$key" '^AAAA' "an SSH host key"
machine1=$machine key1=$key
ok "what the second is" look uefi
is "$hostname $instance" "uefi $(field .id desktop show uefi)-1" "its own name, too"
like "$machine $key" '^[0-9a-f]{32} AAAA' "a machine id and a key"
isnt "$machine" "$machine1" "another machine id"
isnt "$key" "$key1" "another SSH host key"
libvirt_destroy uefi
root_bytes=$(guest_run bios 'df -B1 --output=size / | tail -n 1')
if [ "${root_bytes:-0}" -gt 2500000000 ]; then
    pass "the root file system has grown with the disk"
else
    fail "the root file system has grown with the disk" "$root_bytes" "$(guest_run bios 'lsblk; systemctl status systemd-repart --no-pager' 2>&1)"
fi
is "$(guest_run bios 'systemctl --failed --no-legend --plain | cut -d" " -f1; echo asked' | tr '\n' ' ')" "asked " \
    "no unit has failed"
is "$(guest_run bios 'findmnt -n -o SOURCE /home')" /dev/vdb "the blank data disk is mounted at /home"
like "$(guest_run bios 'stat -c "%U %a" /home/alice')" '^alice 7' "with what the template has there"
isnt "$(guest_run bios 'cat /etc/machine-id')" "" "it has a machine-id now"
ok "a SPICE client sees it" guest_screenshot bios "$top/bios.ppm"
ok "and its picture is no blank" picture_has_content "$top/bios.ppm"
libvirt_destroy bios

# ---- On a version, on an image file: what the recipe says, in the appliance ----
on() { printf 'version: 1\nname: %s\nbase: {%s}\nfiles:\n  - {path: /etc/on, content: %s}\ncommands:\n  - cat /etc/on >/etc/twice\n' "$1" "$2" "$1"; }
text_of() { ctl desktop files get "$1" "$2"; }
on over 'template: good' >over.yaml
json_ok "a build on a version" "$(ctlj template build over.yaml --quiet 2>said)" '.name == "over:1" and .sealed_at != null and (.notes | map(select(test("stands on good"))) | length == 1) and (.sealed.operations | length) > 0'
is "$(cat said)" "" "quiet is quiet"
is "$(text_of over /etc/twice)" over "what the recipe says is in it"
is "$(text_of over /etc/hostname)" "$(text_of good /etc/hostname)" "and what the base has"
qemu-img convert -f qcow2 -O qcow2 "$(template_path good)" image.qcow2
{ on image 'image: image.qcow2, format: qcow2'; echo 'seal: no'; } >image.yaml
json_ok "a build on an image file beside the recipe" "$(ctlj template build image.yaml --quiet)" '.name == "image:1" and .sealed_at == null and .state == "draft" and .source == "image.qcow2"'
is "$(text_of image:1 /etc/twice)" image "what the recipe says is in that, too"
sed 's/, format: qcow2//' image.yaml >bad.yaml
fails_with 2 "format.*missing" "a format is never guessed" ctl template build bad.yaml --quiet
sed 's/image.qcow2/none.qcow2/' image.yaml >bad.yaml
fails_with '[13]' none.qcow2 "an image that is not there" ctl template build bad.yaml --quiet
ctl template delete over --yes >/dev/null
ctl template delete image --yes >/dev/null
ctl trash empty --yes >/dev/null

# ---- A command that fails, a build that is cancelled ----
before=$(leftovers)
sed -e '/^commands:/,$d' -e 's/^name: good/name: bad/' -e '/^files:/,$d' good.yaml >bad.yaml
printf 'commands:\n  - echo so far so good\n  - echo the reason >&2; exit 7\n  - echo never\n' >>bad.yaml
fails_with 1 "'echo the reason.*ended with exit code 7" "a command that fails is shown" \
    ctl template build bad.yaml --quiet
id=$(ctl job list -o json | jq -r '[.[] | select(.kind == "template.build")][0].id')
like "$(field .error.hint job show "$id")" 'the reason' "with what it said"
unlike "$(ctl job log "$id")" '^never' "and ends the build"
like "$(ctl job log "$id")" 'of which 0 B are fetched' "what was fetched once is not fetched again"
is "$(leftovers)" "$before" "nothing is left of it"
id=$(ctl template build bad.yaml --no-wait -o json | jq -r .id)
wait_for "$limit" log_has "$id" extracting
ok "a build is cancelled" ctl job cancel "$id"
ok "and ends soon" wait_for 60 has_ended "$id"
is "$(job_state "$id")" cancelled "as cancelled"
is "$(leftovers)" "$before" "nothing is left of that"
ok "the store accounts for all" check_is_clean
stop_daemon

# ---- No space ----
mkdir small
if mount -t tmpfs -o size=120m tmpfs small; then
    small_daemon() { "$BUILD/imaged" --state "$top/small/s" >small.log 2>&1 & keep_pid $!; }
    small_daemon
    wait_for 20 grep -q ready small.log
    said=$("$BUILD/imagectl" --state "$top/small/s" template build minimal --quiet 2>&1)
    code=$?
    is "$code" 1 "no space: the build fails"
    like "$said" 'need .* free|space|full|watermark' "and says so"
    is "$(find small/s/store/layers small/s/store/tmp small/s/guest -mindepth 1 2>/dev/null)" "" \
        "nothing is left there"
    kill "${kept_pids[-1]}"
    wait "${kept_pids[-1]}"
    umount small
else
    fail "a small file system"
fi
done_testing
