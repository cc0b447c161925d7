# What desktops are told at their first boot: settings, secrets, and the config disk as others read
# it: xorriso (the disk), four shells (imaged.conf), python's YAML (cloud-init's files) and XML.
# Then the guest's program itself in a folder instead of a machine.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

program=$repo/templates/guest/imaged-firstboot
start_daemon || exit 1
make_raw "$top/linux.raw" 64M 0 0x11 1M
ctl template import linux "$top/linux.raw" --format raw --os 'Debian 12' >/dev/null
ctl template import win "$top/linux.raw" --format raw --os 'Windows 11 Pro' >/dev/null
ctl desktop create Lab_1 lab-2 lab.2 a-desktop-with-a-long-name --template linux >/dev/null
ctl desktop create seven --template win >/dev/null

# Each character that one of the formats treats as its own.
hostile="it's \"q\" \$(reboot) \`id\` \\n &lt; <b> ]]> & #x : - {a} [b] %s ; | ü 😀 !  "
printf '%s\n' "$hostile" >"$top/secret"

# look NAME: make the disk and take it apart into $top/NAME
look()
{
    local path
    path=$(ctl desktop config-disk "$1") || return
    rm -rf "${top:?}/$1"
    xorriso -osirrox on -indev "$path" -read_fs norock -extract / "$top/$1" >/dev/null 2>&1
    chmod -R u+rwX "$top/$1"
}

# ---- Settings ----
ok "a template version's settings" ctl template set linux --domain ad.example.org \
    --join-user "$hostile" --join-password-file "$top/secret" --ou "OU=$hostile" --account renew
ok "a desktop's" ctl desktop set Lab_1 --auto-login alice --user-password-file "$top/secret"
fails_with 2 'not both' "one user" ctl desktop set Lab_1 --user a --auto-login b
fails_with 2 'nothing is to be set' "no change" ctl desktop set Lab_1
fails_with 2 "no key 'usr'" "an unknown key" ctl desktop set Lab_1 --unset usr
fails_with 2 "'--hostname' is not sound" "a bad host name" ctl desktop set Lab_1 --hostname a.b
fails_with 2 'cannot have one host name' "one name for two" \
    ctl desktop set Lab_1 lab.2 --hostname pc
fails_with 3 "no desktop 'nobody'" "all or none" ctl desktop set lab.2 nobody --user bob
is "$(field .identity.user desktop show lab.2)" null "then nothing was set"
shown=$(ctlj desktop show Lab_1)
json_ok "what counts for a desktop is shown" "$shown" \
    '.hostname == "Lab-1" and .identity.user == "alice" and .identity.domain == "ad.example.org"'
json_ok "but no secret" "$shown" '.identity.join_password == true and .identity.user_password == true'
post /v1/desktops/set '{"names":["Lab_1"],"identity":{"user_password":"a\u0000b"}}' >/dev/null
is "$(http_code)" 400 "a zero byte in a password is refused"
post /v1/desktops/set '{"names":["Lab_1"],"identity":"x"}' >/dev/null
is "$(http_code)" 400 "an identity that is no object"

printf 'version: 1\nbase: {suite: bookworm}\nsize: 2G\nidentity:\n  domian: x.org\n  user: a b\n  user_password: x\n' \
    >"$top/r.yaml"
fails_with 2 '3 problems' "a recipe's settings are checked" ctl template build "$top/r.yaml" --check
said=$(ctl template build "$top/r.yaml" --check 2>&1)
like "$said" "r.yaml:5: identity has no key 'domian': is 'domain' meant" "the line, the nearest key"
like "$said" "r.yaml:6: identity: 'user' is not sound" "each problem"
like "$said" "r.yaml:7: identity: 'user_password' is a secret" "no secrets"

# ---- The disk ----
ok "the config disk is made" look Lab_1
path=$(ctl desktop config-disk Lab_1)
id=$(field .id desktop show Lab_1)
is "$path" "$store/config/$id-1.iso" "where it lies"
is "$(stat -c %a "$path")" 640 "not for everybody"
is "$(blkid -p -o value -s LABEL "$path") $(blkid -p -o value -s TYPE "$path")" "cidata iso9660" \
    "blkid finds it by its label"
inode=$(stat -c %i "$path")
look Lab_1
is "$(stat -c %i "$path")" "$inode" "it is not written again if it says the same"
is "$(cd "$top/Lab_1" && echo *)" "imaged.conf meta-data user-data" "files for Linux"

# shellcheck disable=SC2016 # for the other shell
show='. "$0"; printf "%s|" "$IMAGED_HOSTNAME" "$IMAGED_JOIN_PASSWORD" "$IMAGED_JOIN_USER" "$IMAGED_OU" "$IMAGED_USER"'
for shell in dash bash 'busybox sh' 'bash --posix'; do
    # shellcheck disable=SC2086 # two words
    is "$($shell -c "$show" "$top/Lab_1/imaged.conf")" \
        "Lab-1|$hostile|$hostile|OU=$hostile|alice|" "$shell reads imaged.conf"
done
is "$(/usr/bin/python3 -c 'import sys, yaml
d = yaml.safe_load(open(sys.argv[1])); u = yaml.safe_load(open(sys.argv[2]))
print(d["instance-id"], d["local-hostname"], u["fqdn"], u["users"][0]["name"])' \
    "$top/Lab_1/meta-data" "$top/Lab_1/user-data")" \
    "$id-1 Lab-1 Lab-1.ad.example.org alice" "YAML as python reads it"
is "$(head -n 1 "$top/Lab_1/user-data")" "#cloud-config" "cloud-init's first line"
# Perl's crypt() is libcrypt's.
is "$(perl -e 'open F, $ARGV[0]; $_ = join "", <F>; /HASH=\x27([^\x27]*)/; my $s = $ARGV[1];
    print crypt($s, $1) eq $1 ? "same" : "other"' "$top/Lab_1/imaged.conf" "$hostile")" same \
    "the hash is that of the password"
is "$(grep -c 'USER_PASSWORD' "$top/Lab_1/imaged.conf")" 0 "and the password is not there"

ok "two names that become one" look lab.2
is "$(sed -n "s/IMAGED_HOSTNAME='\(.*\)'/\1/p" "$top/lab.2/imaged.conf")" lab-2-"$(field .id desktop show lab.2 | tail -c 5)" \
    "are told apart"
look a-desktop-with-a-long-name
like "$(cat "$top/a-desktop-with-a-long-name/imaged.conf")" "COMPUTER_NAME='A-DESKTOP--[0-9A-F]{4}'" \
    "a computer's name has 15 characters"

ctl desktop set seven --auto-login bob --user-password-file "$top/secret" --domain ad.example.org \
    --join-user "$hostile" --join-password-file "$top/secret" >/dev/null
ok "a disk for Windows" look seven
is "$(cd "$top/seven" && echo *)" "autounattend.xml meta-data unattend.xml" "has an answer file"
cat >"$top/answers.py" <<'E'
import sys, xml.etree.ElementTree as tree
n = {"u": "urn:schemas-microsoft-com:unattend"}
r = tree.parse(sys.argv[1]).getroot()
for p in ("ComputerName", "Identification/u:JoinDomain", "Identification/u:Credentials/u:Password",
          "Identification/u:Credentials/u:Username", "AutoLogon/u:Password/u:Value",
          "AutoLogon/u:Username", "UserAccounts/u:LocalAccounts/u:LocalAccount/u:Name"):
    print(r.find("u:settings/u:component/u:" + p, n).text, end="|")
E
is "$(/usr/bin/python3 "$top/answers.py" "$top/seven/unattend.xml")" \
    "SEVEN|ad.example.org|$hostile|$hostile|$hostile|bob|bob|" "XML as python reads it"
# Nobody wrote down what is in it, nobody is to be logged in; it was looked into.
ctl template import seen "$top/linux.raw" --format raw >/dev/null
ctl desktop create eight --template seen >/dev/null
look eight
is "$(cd "$top/eight" && echo *)" "imaged.conf meta-data user-data" "a system that nobody knows: Linux"
sqlite3 "$state/catalog.db" "INSERT OR REPLACE INTO inspection (layer_id, inode, length, mtime_ns,
    disk_bytes, inspected_at, method, result) SELECT v.layer_id, 1, 1, 1, 1, 1, 'appliance',
    '{\"type\":\"windows\"}' FROM version v JOIN desktop d ON d.version_id = v.id WHERE d.name = 'eight'"
look eight
is "$(cd "$top/eight" && echo *)" "autounattend.xml meta-data unattend.xml" "Windows, if that was found in it"
is "$(/usr/bin/python3 -c 'import sys, xml.etree.ElementTree as t
n = {"u": "urn:schemas-microsoft-com:unattend"}
o = t.parse(sys.argv[1]).getroot().find("u:settings[@pass=\"oobeSystem\"]/u:component/u:OOBE", n)
print(*(e.tag.split("}")[1] + "=" + e.text for e in o))' "$top/eight/unattend.xml")" \
    "HideEULAPage=true HideLocalAccountScreen=true HideOEMRegistrationScreen=true HideOnlineAccountScreens=true HideWirelessSetupInOOBE=true ProtectYourPC=3" \
    "Setup's questions are answered, with no user, too"

# ---- Where secrets are ----
is "$(stat -c %a "$state/secrets") $(find "$state/secrets" -type f -exec stat -c %a {} + | sort -u)" "700 600" \
    "secrets are the daemon's alone"
ctl catalog backup >/dev/null
is "$(cd "$state" && grep -rlF "it's \"q\"" . | grep -vE '^./(secrets/|store/config/)' | sort)" \
    "" "no secret anywhere else: catalog, journal, backup, log"
is "$(grep -cF "it's" "$log")" 0 "nor in the log"
is "$(ctlj event list | grep -cF "it's")" 0 "nor in events"

# ---- Accounting, tidying ----
ok "all bytes are accounted for" check_is_clean
ok "a reset" ctl desktop reset Lab_1 --yes
look Lab_1
is "$(grep -c "IMAGED_INSTANCE='$id-2'" "$top/Lab_1/imaged.conf")" 1 "the next generation has its own"
ctl desktop delete lab.2 --yes >/dev/null
rm "$store/config/$(field .id desktop show seven)-1.iso"
ok "one that is lost" look seven
echo x >"$store/config/stranger"
like "$(ctlj store check 2>/dev/null)" 'config/stranger' "a stranger in that folder is reported"
rm "$store/config/stranger"
touch "$store/config/$id-"{1,2,9}.nvram # what UEFI keeps: of a disk in the trash, of today's, of none
stop_daemon
start_daemon
wait_for 10 test ! -e "$store/config/$id-1.iso"
is "$(cd "$store/config" && echo -- *-1.iso | wc -w)" 4 "stale ones are removed"
ok "the present one is not" test -e "$store/config/$id-2.iso"
wait_for 10 test ! -e "$store/config/$id-9.nvram"
is "$(cd "$store/config" && echo -- "$id"-*.nvram)" "-- $id-1.nvram $id-2.nvram" "what UEFI keeps stays as long as the disk"
ok "still all accounted for" check_is_clean

# ---- Taking away; secrets that are gone ----
ctl desktop set Lab_1 --domain '' --unset user,auto_login,user_password >/dev/null
look Lab_1
unlike "$(cat "$top/Lab_1/imaged.conf")" 'DOMAIN|USER|JOIN' "an empty text means none"
ctl desktop create away --template linux >/dev/null
ctl store add two "$top/two" >/dev/null
ctl desktop set away --user carl --user-password-file "$top/secret" >/dev/null
away=$(field .id desktop show away)
echo kept >"$store/config/$away-1.nvram"
ctl desktop move away --to two >/dev/null
is "$(cat "$top/two/config/$away-2.nvram")" kept "what UEFI keeps goes along to another store"
secret_of() { sqlite3 "$state/catalog.db" "SELECT json_extract(identity, '\$.user_password') FROM desktop WHERE name = '$1'"; }
aways=$(secret_of away)
old() { find "$state/secrets" -type f -exec touch -d "$1" {} +; }
n_in() { find "$1" -maxdepth 1 -type f | wc -l; }
is_in() { [ "$(n_in "$1")" = "$2" ]; }
old '2 hours ago'
n=$(n_in "$state/secrets")
stop_daemon
# A store that is away may name any of them: and this catalog knows nothing of it.
mv "$top/two" "$top/two.away"
sqlite3 "$state/catalog.db" "UPDATE desktop SET identity = NULL WHERE name = 'away'"
touch "$store/config/0123456789abcdef0123456789abcdef-1.iso"
start_daemon
ok "a tidy while a store is away" wait_for 10 test ! -e "$store/config/0123456789abcdef0123456789abcdef-1.iso"
stop_daemon
is "$(n_in "$state/secrets")" "$n" "leaves all secrets"
mv "$top/two.away" "$top/two"
start_daemon
ok "secrets that nothing names are put away" wait_for 10 is_in "$state/secrets" $((n - 2))
is "$(n_in "$state/secrets/unused") $(stat -c %a "$state"/secrets/unused/* | sort -u)" '2 600' "for as long as the trash keeps things"
stop_daemon
sqlite3 "$state/catalog.db" "UPDATE desktop SET identity = json_object('user', 'carl', 'user_password', '$aways', 'user_password_of', 'carl') WHERE name = 'away'"
old '2 years ago'
start_daemon
ok "one that is named again comes back" wait_for 10 is_in "$state/secrets" $((n - 1))
ok "... as the very one" test -e "$state/secrets/$aways"
ok "... the other is removed in the end" wait_for 10 is_in "$state/secrets/unused" 0
ok "... and its desktop is told it" look away
find "$state/secrets" -type f -delete
fails_with 3 'password of its identity is not on this machine' "a lost secret is told" \
    ctl desktop config-disk seven
ctl template import linux "$top/linux.raw" --format raw >/dev/null
is "$(ctlj template show linux | jq -r '.versions[1].identity.domain')" ad.example.org \
    "a next version takes the settings over"
stop_daemon

# ---- The guest's program ----
# Which disk it reads: what is called so and is no CD-ROM may be of whoever was root before a reset.
mkdir "$top/dev"
found_disk()
{
    IMAGED_DEV=$top/dev ${1:-sh} -c "$(sed -n '/^find_disk()/,/^}/p' "$program"); find_disk"
}
cp "$store/config/$id-2.iso" "$top/dev/vdb1"
printf x >"$top/dev/sr0"
is "$(found_disk)" "" "a disk with the label alone is not read"
cp "$top/dev/vdb1" "$top/dev/sr1"
is "$(found_disk)" "$top/dev/sr1" "a CD-ROM is"
is "$(found_disk 'busybox sh')" "$top/dev/sr1" "with busybox, too"

guest=$top/guest
firstboot()
{
    PATH=$top/bin:$PATH IMAGED_ROOT=$guest IMAGED_CONFIG=$top/conf.d ${SHELL_UNDER_TEST:-sh} "$program" "$@"
}
mkdir -p "$guest"/{etc/ssh,etc/lightdm,etc/sssd,var/lib/dbus,home/alice} "$top/conf.d" "$top/bin"
chown 1234 "$guest/home/alice"
echo template >"$guest/etc/hostname"
printf '127.0.0.1\tlocalhost\n127.0.1.1\ttemplate\n' >"$guest/etc/hosts"
echo 0123456789abcdef0123456789abcdef | tee "$guest/var/lib/dbus/machine-id" >"$guest/etc/machine-id"
echo 'root:x:0:0:root:/root:/bin/sh' >"$guest/etc/passwd"
printf 'root:x:0:\nvideo:x:44:\n' >"$guest/etc/group"
echo old >"$guest/etc/ssh/ssh_host_rsa_key"
# What changes accounts, and what joins, tell what they were called with.
for tool in useradd usermod chpasswd adcli; do
    cat >"$top/bin/$tool" <<E
#!/bin/sh
printf '%s' "$tool" >>"$top/calls"
printf ' <%s>' "\$@" >>"$top/calls"
case $tool in chpasswd|adcli) printf ' reads <%s>' "\$(cat)" >>"$top/calls" ;; esac
echo >>"$top/calls"
[ ! -e "$top/$tool.fails" ]
E
    chmod 755 "$top/bin/$tool"
done
cat >"$top/bin/ssh-keygen" <<'E'
#!/bin/sh
echo new >"$4/etc/ssh/ssh_host_rsa_key"
E
chmod 755 "$top/bin/ssh-keygen"
cat >"$top/conf.d/imaged.conf" <<'E'
IMAGED_INSTANCE='d1-1'
IMAGED_HOSTNAME='desk'
IMAGED_COMPUTER_NAME='desk'
IMAGED_DOMAIN='ad.example.org'
IMAGED_JOIN='yes'
IMAGED_OU='OU=A b,DC=x'
IMAGED_ACCOUNT='renew'
IMAGED_JOIN_USER='joiner'
IMAGED_JOIN_PASSWORD='it'\''s $(a)'
IMAGED_USER='alice'
IMAGED_USER_IS_LOCAL='yes'
IMAGED_AUTO_LOGIN='yes'
IMAGED_PASSWORD_HASH='$y$x'
E
for step in system keys user; do ok "step $step" firstboot $step; done
is "$(cat "$guest/etc/hostname")" desk "host name"
is "$(cat "$guest/etc/hosts")" "$(printf '127.0.0.1\tlocalhost\n127.0.1.1\tdesk.ad.example.org desk')" hosts
id1=$(cat "$guest/etc/machine-id")
like "$id1" '^[0-9a-f]{32}$' "a machine id"
isnt "$id1" 0123456789abcdef0123456789abcdef "another than the template's"
is "$(cat "$guest/var/lib/dbus/machine-id")" "$id1" "D-Bus has the same"
is "$(cat "$guest/etc/ssh/ssh_host_rsa_key")" new "SSH host keys are new"
like "$(cat "$guest/etc/lightdm/lightdm.conf.d/50-imaged.conf")" '^autologin-user=alice$' "lightdm"
is "$(cat "$guest/etc/imaged/login.env")" 'IMAGED_AGETTY=--autologin alice' "agetty"
is "$(cat "$top/calls")" "useradd <-R> <$guest> <-m> <-s> </bin/bash> <-u> <1234> <alice>
usermod <-R> <$guest> <-a> <-G> <video> <alice>
chpasswd <-R> <$guest> <-e> reads <alice:\$y\$x>" "the user, with the number that the home has; no hash in arguments"
rm "$top/calls"
touch "$top/adcli.fails"
not_ok "a join that fails" firstboot join
rm "$top/adcli.fails" "$top/calls"
ok "is tried again" firstboot join
# shellcheck disable=SC2016 # not to be expanded, that is the point
is "$(cat "$top/calls")" 'adcli <delete-computer> <--domain=ad.example.org> <--login-user=joiner> <--stdin-password> <desk> reads <it'\''s $(a)>
adcli <join> <--domain=ad.example.org> <--login-user=joiner> <--stdin-password> <--login-type=user> <--computer-name=desk> <--host-fqdn=desk.ad.example.org> <--domain-ou=OU=A b,DC=x> <--host-keytab='"$guest"'/etc/krb5.keytab> reads <it'\''s $(a)>' \
    "renew: deleted, then joined; the password is no argument"
like "$(cat "$guest/etc/sssd/sssd.conf")" '^ad_hostname = desk.ad.example.org$' "sssd is told"
is "$(stat -c %a "$guest/etc/sssd/sssd.conf")" 600 "sssd.conf is root's"

rm "$top/calls"
for step in system keys user join; do firstboot $step >/dev/null; done
is "$(cat "$guest/etc/machine-id")" "$id1" "another boot changes nothing"
not_ok "and calls nothing" test -e "$top/calls"
sed -i "s/d1-1/d1-2/; /JOIN_USER/d; s/IMAGED_JOIN_PASSWORD/IMAGED_ONE_TIME_PASSWORD/; s/AUTO_LOGIN='yes'/AUTO_LOGIN='no'/" \
    "$top/conf.d/imaged.conf"
SHELL_UNDER_TEST='busybox sh'
for step in system keys user join; do ok "next generation under busybox: $step" firstboot $step; done
isnt "$(cat "$guest/etc/machine-id")" "$id1" "its machine id is another"
like "$(cat "$top/calls")" '^adcli <join> .*<--login-type=computer> <--stdin-password>.*reads' "a one-time password"
unlike "$(cat "$top/calls")" 'delete-computer' "deletes nothing"
not_ok "nobody is logged in by himself any more" test -e "$guest/etc/imaged/login.env"
# A power failure before the stamp: the step runs again as a whole.
rm "$guest/var/lib/imaged/system.done"
id2=$(cat "$guest/etc/machine-id")
firstboot system >/dev/null
isnt "$(cat "$guest/etc/machine-id")" "$id2" "without its stamp a step runs again"
rm "$top/conf.d/imaged.conf"
like "$(firstboot system)" 'nothing to do' "without a config disk it does nothing"
like "$(rm "$guest"/etc/ssh/ssh_host_*; firstboot keys)" 'host keys are there' \
    "but keys that a sealed template lacks are made"
is "$(cat "$guest/etc/ssh/ssh_host_rsa_key")" new "so that sshd starts"
fails_with 2 usage "an unknown step" firstboot other
printf "IMAGED_INSTANCE='d2-1'\nIMAGED_DOMAIN=ad.example.org\nIMAGED_JOIN=no\n" >"$top/conf.d/imaged.conf"
# A PATH without adcli.
mkdir "$top/few"
for tool in sh cat mkdir mv chmod rm sync; do ln -s "$(command -v $tool)" "$top/few/"; done
firstboot_few() { PATH=$top/few IMAGED_ROOT=$guest IMAGED_CONFIG=$top/conf.d sh "$program" join; }
ok "no adcli, no join: no failure" firstboot_few
sed -i 's/JOIN=no/JOIN=yes/' "$top/conf.d/imaged.conf"
fails_with 78 'lacks the packages adcli, sssd-ad' "a join without adcli fails aloud" firstboot_few

# ---- Which data disk is blank ----
# A file instead of a disk: blockdev knows disks alone.  blkid is a stub only where it has to err.
is_blank()
{
    PATH=$top/bin:$PATH sh "$repo/templates/guest/imaged-data-disk" is-blank "$1" >/dev/null 2>&1
    echo $?
}
cat >"$top/bin/blockdev" <<E
#!/bin/sh
[ "\$1" = --getro ] && cat "$top/readonly" || cat "$top/size"
E
chmod 755 "$top/bin/blockdev"
echo 0 >"$top/readonly"
echo $((64 << 20)) >"$top/size"
truncate -s 64M "$top/disk"
is "$(is_blank "$top/disk")" 0 "zeros are blank"
echo 1 >"$top/readonly"
is "$(is_blank "$top/disk")" 1 "not if it cannot be written"
echo 0 >"$top/readonly"
is "$(is_blank "$top/none")" 2 "one that cannot be opened: not known"
is "$(is_blank /proc/self/mem)" 2 "the first read fails (EIO): not known"
echo $((65 << 20)) >"$top/size"
is "$(is_blank "$top/disk")" 1 "one that is shorter than it says is not blank"
echo $((64 << 20)) >"$top/size"
printf x | dd of="$top/disk" bs=1 seek=$(((64 << 20) - 1)) conv=notrunc status=none
is "$(is_blank "$top/disk")" 1 "a byte in the last MiB"
truncate -s 63M "$top/disk"
truncate -s 64M "$top/disk"
printf x | dd of="$top/disk" bs=1 seek=1048575 conv=notrunc status=none
is "$(is_blank "$top/disk")" 1 "a byte in the first MiB"
mke2fs -q -F "$top/disk"
is "$(is_blank "$top/disk")" 1 "a file system"
rm "$top/disk"
truncate -s 64M "$top/disk"
for code in 0:1 8:1 4:2 1:2 127:2; do
    printf '#!/bin/sh\nexit %s\n' "${code%:*}" >"$top/bin/blkid"
    chmod 755 "$top/bin/blkid"
    is "$(is_blank "$top/disk")" "${code#*:}" "zeros, and blkid says ${code%:*}"
done
printf '#!/bin/sh\nexit 2\n' >"$top/bin/blkid"
is "$(is_blank /proc/self/mem)" 2 "blkid finds nothing since nothing can be read: not known"
printf '#!/bin/sh\nexit 1\n' >"$top/bin/blockdev"
is "$(is_blank "$top/disk")" 2 "its size cannot be told"
rm "$top/bin/blkid" "$top/bin/blockdev"

ok "the guest's half is installed by files and links alone" \
    bash "$repo/templates/guest/install-firstboot.sh" "$top/tree"
is "$(cd "$top/tree" && find etc -type l | wc -l)" 4 "four units are enabled"
done_testing
