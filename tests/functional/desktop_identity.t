# heavy: boots two desktops at once under TCG
# long: 250 s
#
# Two clones of one template, booted side by side under libvirt: each is a machine of its own; it
# stays the same one when it boots again; and is a new one with its old name when it is re-imaged.
# The second has a data disk at /home, which the re-image does not touch.
# The template was not sealed: all clones begin with one machine id and one set of keys.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
. "$repo/tests/guest/libvirt.sh"

readonly BOOT_LIMIT=900 # seconds; about 30 on two free processors
# The image depends on what is installed in it alone: made once, for all runs with this build.
small=$BUILD/guest/small-$(cat "$repo"/templates/guest/* "$repo/tests/guest/small-debian.sh" | sha256sum | head -c 12)
ok "a small Debian" bash "$repo/tests/guest/small-debian.sh" "$small" || exit 1
start_daemon || exit 1
ctl template import small "$small/disk.qcow2" --format qcow2 --os 'Debian 12' >/dev/null
ctl desktop create lab_1 lab_2 --template small >/dev/null
ctl desktop data-disk add lab_2 --size 256M >/dev/null
echo "a 'secret'" >"$top/secret"
ctl template set small --auto-login alice >/dev/null
ctl desktop set lab_1 --user-password-file "$top/secret" >/dev/null
libvirt_start "$top/lv" || exit 1

boot()
{
    libvirt_define "$1" disk="$(path_of "$1")" config="$(ctl desktop config-disk "$1")" \
        mac="$(field .mac desktop show "$1")" uuid="$(field .uuid desktop show "$1")" \
        data="$(ctl desktop path "$1" --data 2>/dev/null)" \
        kernel="$small/vmlinuz" initrd="$small/initrd.img" net=none
}

# What a machine is, one line each.
# shellcheck disable=SC2016 # for the guest
readonly LOOK='systemctl is-system-running --wait >/dev/null
n=0; until who | grep -q . || [ $n -gt 100 ]; do sleep 0.5; n=$((n + 1)); done
hostname; cat /etc/machine-id; cut -d" " -f2 /etc/ssh/ssh_host_ed25519_key.pub
cut -d" " -f2 /etc/ssh/ssh_host_rsa_key.pub; echo "$(who | cut -d" " -f1)"; cat /var/lib/imaged/*.done | sort -u
systemctl --failed --plain --no-legend | cut -d" " -f1; echo "."'

# look NAME: into $hostname, $machine and so on
look()
{
    local said
    said=$(guest_run "$1" "$LOOK") || return
    {
        read -r hostname
        read -r machine
        read -r key
        read -r rsa
        read -r user
        read -r instance
        read -r failed
    } <<<"$said"
}

for name in lab_1 lab_2; do ok "$name starts" boot $name; done
for name in lab_1 lab_2; do ok "$name is up" guest_wait $name $BOOT_LIMIT; done
ok "what the first is" look lab_1
id1=$(field .id desktop show lab_1) id2=$(field .id desktop show lab_2)
is "$hostname" lab-1 "the first's host name"
is "$instance" "$id1-1" "... its instance"
is "$user" alice "... who is logged in by herself"
is "$failed" . "... no unit has failed"
machine1=$machine key1=$key rsa1=$rsa
like "$machine1" '^[0-9a-f]{32}$' "... its machine id"
isnt "$machine1" 0123456789abcdef0123456789abcdef "... is not the template's"
like "$(guest_run lab_1 'getent shadow alice')" '^alice:\$y\$' "... the password is set"
# What root can read, or denied would say nothing.
like "$(guest_run lab_1 'blkid -s LABEL -o value /dev/sr0; grep -c IMAGED_USER= /run/imaged/imaged.conf' | xargs)" '^cidata 1$' \
    "... the config disk is there, and what was read from it"
is "$(guest_run lab_1 'runuser -u alice -- head -c 1 /dev/sr0 2>&1 || echo denied' | tail -n 1)" denied \
    "... a user cannot read the config disk"
is "$(guest_run lab_1 'runuser -u alice -- cat /run/imaged/imaged.conf 2>&1 || echo denied' | tail -n 1)" denied \
    "... nor what was read from it"
is "$(guest_run lab_1 'ls /var/log/journal')" "$machine1" "... the journal is the new machine's"
ok "a SPICE client sees it" guest_screenshot lab_1 "$top/shot.ppm"
ok "... and more than one colour" picture_has_content "$top/shot.ppm"

ok "what the second is" look lab_2
is "$hostname" lab-2 "the second's host name"
is "$user" alice "... the template's user"
like "$(guest_run lab_2 'getent shadow alice')" '^alice:!' "... without a password"
isnt "$machine" "$machine1" "another machine id"
isnt "$key" "$key1" "another SSH key"
isnt "$rsa" "$rsa1" "of each kind"
machine2=$machine key2=$key
# shellcheck disable=SC2016 # for the guest
readonly HOME_DISK='findmnt -n -o SOURCE,FSTYPE /home; stat -c %U /home/alice'
is "$(guest_run lab_2 "$HOME_DISK")" "/dev/vdb ext4
alice" "a blank data disk is formatted, and is /home, where alice is at home"
ok "she writes a file" guest_run lab_2 'runuser -u alice -- sh -c "echo mine >/home/alice/file"; sync'
like "$(guest_run lab_1 'findmnt -n -o TARGET -T /home')" '^/$' "the first has none"

# The first boots again while the second is re-imaged and booted.
libvirt_destroy lab_2
ok "the second is re-imaged" ctl desktop reset lab_2 --yes
guest_reboot_start lab_1
ok "... and starts again" boot lab_2
ok "the first has booted again" guest_reboot_wait lab_1 $BOOT_LIMIT
ok "what it is" look lab_1
is "$hostname $machine $key $rsa $instance" "lab-1 $machine1 $key1 $rsa1 $id1-1" "the same as before"
ok "the second is up again" guest_wait lab_2 $BOOT_LIMIT
ok "what it is" look lab_2
is "$hostname $instance" "lab-2 $id2-2" "its old name, a new instance"
isnt "$machine" "$machine2" "a new machine id"
isnt "$key" "$key2" "new keys"
is "$(guest_run lab_2 "$HOME_DISK; runuser -u alice -- cat /home/alice/file")" "/dev/vdb ext4
alice
mine" "/home is what it was, and hers again"
libvirt_stop
ok "the store is as it should be" check_is_clean
done_testing
