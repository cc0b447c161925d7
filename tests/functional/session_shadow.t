#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# session_shadow.t: somebody looks at a user's screen, by VNC beside the user's own SPICE client: when
# he has allowed it, once, and without keys unless he has allowed those too; also where the host is
# reached by ssh.
. "$(dirname "$0")/lib.sh"
. "$repo/tests/guest/libvirt.sh"

chmod 755 "$top"
# An ssh that keeps away from the known hosts of whoever runs this, and leaves its process id.
mkdir "$top/bin" "$top/ssh"
cat >"$top/bin/ssh" <<E
#!/bin/sh
echo \$\$ >>"$top/ssh/pids"
exec /usr/bin/ssh -F /dev/null -oUserKnownHostsFile=$top/ssh/known_hosts "\$@"
E
chmod 755 "$top/bin/ssh"
PATH=$top/bin:$PATH
start_daemon || exit 1
truncate -s 64M "$top/g.raw"
ctl template import win "$top/g.raw" --format raw --memory 128M --cpus 1 >/dev/null 2>&1
ctl desktop create a --template win >/dev/null
ctl user add nobody >/dev/null
sqlite3 "$state/catalog.db" "INSERT INTO assignment (desktop_id, user_id, is_owner, may_take_over, created_at)
    SELECT d.id, u.id, 1, 0, 0 FROM desktop d, user u"
libvirt_start "$top/lv" || exit 1
libvirt_host vs-a --accelerator tcg
chmod 755 "$state"
chmod 666 "$state/imaged.sock"
as_nobody() { (cd / && setpriv --reuid=65534 --regid=65534 --clear-groups "$BUILD/imagectl" --state "$state" "$@"); }
session_is() { [ "$(field .state session show a)" = "$1" ]; }
look() { /usr/bin/python3 "$here/rfb_look.py" "$@"; }

fails_with 3 'no session' 'nobody is on it' ctl session shadow a
as_nobody connect --file - >"$top/his.vv" 2>"$top/said" || diag "$(cat "$top/said")"
mkfifo "$top/in"
"$BUILD/tests/spice_client" --vv "$top/his.vv" <"$top/in" >"$top/his.log" 2>&1 &
keep_pid $!
exec {hold}>"$top/in"
ok 'a user is on his desktop' wait_for 60 grep -qx up "$top/his.log"
ok 'the session is connected' wait_for 30 session_is connected
timeout 300 virsh -q -c "qemu+unix:///system?socket=$top/lv/run/libvirt-sock" event --event reboot --loop >"$top/reboots" 2>&1 &
keep_pid $!

# ---- Asked, and answered ----

json_ok 'somebody asks to look on' "$(ctlj session shadow a)" '.state == "asked" and .socket == null'
json_ok 'before he has answered nobody looks on' "$(ctlj session shadow a)" '.state == "asked" and .socket == null'
fails_with 5 'only its user' 'nobody answers for him' ctl session consent a
ok 'he does not want it' as_nobody session consent a --refuse
fails_with 5 'does not want it' 'so nobody looks on' ctl session shadow a
fails_with 3 'nobody has asked' 'there is nothing to answer then' as_nobody session consent a
ctl session shadow a >/dev/null
like "$(as_nobody session consent a)" 'root may look on' 'asked again, he allows it'
fails_with 5 'permission session.shadow' 'he himself may not ask' as_nobody session shadow a

# ---- Looking on ----

socket=$(ctl session shadow a)
ok 'there is a socket' test -S "$socket"
said=$(look "$socket" keys)
like "$said" '^picture [0-9]+ [0-9]+ True' 'it shows the screen'
like "$said" '^again' 'keys are passed over'
not_ok 'it is for one client' test -e "$socket"
json_ok 'and for once' "$(ctlj session shadow a)" '.state == "asked"'
is "$(grep -c reboot "$top/reboots")" 0 'the guest was not touched'

# ---- With keys ----

ctl session shadow a --control >/dev/null
like "$(as_nobody session consent a)" 'may look on' 'he allows more'
(look "$(ctl session shadow a --control)" keys stay >"$top/look.log" 2>&1; echo "$?" >>"$top/look.log") &
ok 'Ctrl-Alt-Del' wait_for 60 grep -q again "$top/look.log"
ok '... restarts the guest' wait_for 60 grep -q reboot "$top/reboots"
unlike "$(cat "$top/his.log")" '^(closed|refused)' 'his own client was never disturbed'
ok 'the session ends' ctl session end a --yes
ok '... and so does looking on' wait_for 60 grep -Eq '^(0|end)' "$top/look.log"
like "$(ctlj event list | jq -r '.[] | select(.name == "session.shadow") | .message')" 'allows root to look on and control' 'all of it is written down'
ok 'stop' ctl desktop stop a --force

# ---- A host by ssh ----

ok 'the host goes' ctl host remove vs-a
(cd "$top/ssh" && ssh-keygen -q -t ed25519 -N '' -f host && ssh-keygen -q -t ed25519 -N '' -f key && cp key.pub keys)
port=$(/usr/bin/python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >"$top/ssh/conf" <<E
ListenAddress 127.0.0.1
Port $port
HostKey $top/ssh/host
AuthorizedKeysFile $top/ssh/keys
StrictModes no
UsePAM no
PermitRootLogin prohibit-password
PidFile none
E
mkdir -p /run/sshd # where Debian's sshd looks for it
libvirt_inside /usr/sbin/sshd -D -e -f "$top/ssh/conf" >"$top/ssh/log" 2>&1 &
keep_pid $!
ok 'the same one, by ssh' ctl host add vs-b \
    "qemu+ssh://root@127.0.0.1:$port/system?socket=/run/libvirt/libvirt-sock&keyfile=$top/ssh/key&no_verify=1" \
    --accelerator tcg --store-path default="$store"
far_host_is() { [ "$(field .state host show vs-b)" = "$1" ]; }
ok '... is up' wait_for 60 far_host_is up
n_ssh() { wc -l <"$top/ssh/pids"; }
# All but the first N.
ssh_has_ended() { local p; for p in $(sed "1,${1}d" "$top/ssh/pids"); do [ ! -e "/proc/$p" ] || return 1; done; }
as_nobody connect a --file - >"$top/his.vv" 2>"$top/said" || diag "$(cat "$top/said" "$top/ssh/log")"
nc_is() { [ "$(libvirt_inside pgrep -cx nc)" = "$1" ]; }
n=$(n_ssh) n_nc=$(libvirt_inside pgrep -cx nc) # libvirt's own
ctl session shadow a >/dev/null
as_nobody session consent a >/dev/null
(look "$(ctl session shadow a)" keys stay >"$top/far.log" 2>&1; echo "$?" >>"$top/far.log") &
ok 'by ssh the screen is seen, too' wait_for 60 grep -q '^again' "$top/far.log"
is "$(($(n_ssh) - n))" 1 'one ssh is there for it'
ok '... and one nc there' nc_is $((n_nc + 1))
ok 'the session ends' ctl session end a --yes
ok '... so does looking on' wait_for 30 grep -Eq '^(0|end)' "$top/far.log"
ok '... and its ssh' wait_for 30 ssh_has_ended "$n"
ok '... and what that had started on the host' wait_for 30 nc_is "$n_nc"
as_nobody connect a --file - >"$top/his.vv"
n=$(n_ssh)
ctl session shadow a >/dev/null
as_nobody session consent a >/dev/null
mv "$top/ssh/keys" "$top/ssh/keys.not"
like "$(look "$(ctl session shadow a)" 2>&1)" '^refused: no way to its display by ssh: .*Permission denied.*needs a key there' \
    'the way is closed meanwhile: the client is told why'
ok '... no ssh is left' wait_for 30 ssh_has_ended "$n"
like "$(ctlj event list --kind session.shadow | jq -r '.[].message')" 'could not see the screen: no way to its display' \
    '... and so is the event log'
ok 'stop there' ctl desktop stop a --force
done_testing
