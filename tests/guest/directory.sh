# directory.sh: a real Active Directory domain controller (samba) for tests of joining it.
#
# Read by bash.  It lives in network, mount and process namespaces of its own, so that it has all
# its ports, its own DNS and no way out, and is gone when its first process is ended.  Needs root.
#
#   directory_start DIR    the domain ad.example.org, with OU=Lab; Administrator's password is
#                          $directory_password; about 10 s
#   in_directory COMMAND   what a machine of that network would run
#   directory_samba ARGS   samba-tool there
#
# The end of the test ends it (sweep.sh).

directory_dir=
directory_pid=
readonly directory_password='Adm1n <&> "pass'

directory_write_init()
{
    cat >"$directory_dir/init.sh" <<E
mount --make-rprivate /
ip link set lo up
hostname dc
mount --bind "$directory_dir/resolv.conf" /etc/resolv.conf
mount --bind "$directory_dir/hosts" /etc/hosts
samba-tool domain provision --realm=AD.EXAMPLE.ORG --domain=AD --server-role=dc \\
    --dns-backend=SAMBA_INTERNAL --adminpass="\$(cat "$directory_dir/password")" \\
    --targetdir="$directory_dir/dc" --host-name=dc --host-ip=127.0.0.1 \\
    --option='interfaces = lo' >"$directory_dir/provision.log" 2>&1 || exit 1
samba -F --no-process-group -s "$directory_dir/dc/etc/smb.conf" >"$directory_dir/samba.log" 2>&1 &
trap : CHLD
while :; do sleep 1000 & wait; done
E
}

in_directory()
{
    nsenter -t "$(pgrep -P "$directory_pid")" -m -n -u -- \
        env KRB5_CONFIG="$directory_dir/krb5.conf" "$@"
}

directory_samba()
{
    in_directory samba-tool "$@" -s "$directory_dir/dc/etc/smb.conf"
}

directory_answers()
{
    in_directory bash -c 'adcli info ad.example.org && : </dev/tcp/127.0.0.1/389 &&
        kinit Administrator && kdestroy' \
        <"$directory_dir/password" >"$directory_dir/answer" 2>&1
}

directory_start()
{
    directory_dir=$1
    mkdir -p "$directory_dir"
    printf 'nameserver 127.0.0.1\nsearch ad.example.org\n' >"$directory_dir/resolv.conf"
    printf '127.0.0.1 dc.ad.example.org dc localhost\n' >"$directory_dir/hosts"
    printf '%s' "$directory_password" >"$directory_dir/password"
    cat >"$directory_dir/krb5.conf" <<E
[libdefaults]
default_realm = AD.EXAMPLE.ORG
default_ccache_name = FILE:$directory_dir/ccache
dns_canonicalize_hostname = false
[realms]
AD.EXAMPLE.ORG = {
    kdc = 127.0.0.1
}
E
    directory_write_init
    unshare --net --mount --uts --pid --fork --kill-child --mount-proc \
        bash "$directory_dir/init.sh" </dev/null >"$directory_dir/log" 2>&1 &
    directory_pid=$!
    local end=$((SECONDS + 240))
    until directory_answers && directory_samba ou create OU=Lab >/dev/null 2>&1; do
        if [ $SECONDS -gt $end ] || ! kill -0 "$directory_pid" 2>/dev/null; then
            tail -n 20 "$directory_dir/log" "$directory_dir/provision.log" "$directory_dir/answer" >&2
            return 1
        fi
        sleep 0.3
    done
}
