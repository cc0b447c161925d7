# A desktop joins a real Active Directory (samba), from its settings in imaged to its account in the
# domain: the guest's own program runs with what its config disk says, in a folder instead of a
# machine.  What becomes of the account at a re-image: kept, or made anew.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
. "$repo/tests/guest/directory.sh"

start_daemon || exit 1
make_raw "$top/r.raw" 16M
ctl template import small "$top/r.raw" --format raw --os 'Debian 12' >/dev/null
ctl desktop create pc_1 pc-with-one-time-password --template small >/dev/null
ok "a domain controller" directory_start "$top/ad" || exit 1

# join NAME: as the guest does it at the first boot of the present generation.
join()
{
    mkdir -p "$top/$1/etc/sssd" "$top/$1.conf"
    xorriso -osirrox on -indev "$(ctl desktop config-disk "$1")" -read_fs norock \
        -extract /imaged.conf "$top/$1.conf/imaged.conf" >/dev/null 2>&1 || return
    chmod u+rw "$top/$1.conf/imaged.conf"
    in_directory env IMAGED_ROOT="$top/$1" IMAGED_CONFIG="$top/$1.conf" \
        sh "$repo/templates/guest/imaged-firstboot" join
}

account()
{
    directory_samba computer show "$1" | sed -n "s/^$2: //p"
}

# Does the key that a join left let the machine log in?
log_in()
{
    in_directory kinit -k -t "$1" "$2" && in_directory kdestroy
}

printf '%s\n' "$directory_password" >"$top/password"
echo wrong >"$top/wrong"
ctl template set small --domain ad.example.org --ou 'OU=Lab,DC=ad,DC=example,DC=org' \
    --join-password-file "$top/wrong" >/dev/null
like "$(join pc_1 2>&1)" 'Preauthentication failed|[Pp]assword incorrect' "a wrong password"
not_ok "... leaves no stamp" test -e "$top/pc_1/var/lib/imaged/join.done"
ctl template set small --join-user Administrator --join-password-file "$top/password" >/dev/null
ok "the next try joins" join pc_1
is "$(account PC-1 dn)" "CN=PC-1,OU=Lab,DC=ad,DC=example,DC=org" "the account, and where it is"
is "$(account PC-1 dNSHostName)" pc-1.ad.example.org "its name"
ok "the machine can log in" log_in "$top/pc_1/etc/krb5.keytab" 'PC-1$'
first=$(account PC-1 objectGUID)
like "$first" '^[0-9a-f-]{36}$' "the account has an id"
cp "$top/pc_1/etc/krb5.keytab" "$top/old.keytab"

# keep, the default
ctl desktop reset pc_1 --yes >/dev/null
rm -rf "$top/pc_1"
ok "after a re-image it joins again" join pc_1
is "$(account PC-1 objectGUID)" "$first" "keep: with the same account"
ok "the machine can log in" log_in "$top/pc_1/etc/krb5.keytab" 'PC-1$'
isnt "$(cksum <"$top/old.keytab")" "$(cksum <"$top/pc_1/etc/krb5.keytab")" "with another key"

ctl desktop set pc_1 --account renew >/dev/null
ctl desktop reset pc_1 --yes >/dev/null
rm -rf "$top/pc_1"
ok "after another it joins" join pc_1
second=$(account PC-1 objectGUID)
like "$second" '^[0-9a-f-]{36}$' "there is an account"
isnt "$second" "$first" "renew: it is another"
ok "the machine can log in" log_in "$top/pc_1/etc/krb5.keytab" 'PC-1$'

# A password that was put on the account beforehand, by somebody with the right to; the name is cut
# to what a directory takes.
name=$(printf 'PC-WITH-ON-%s' "$(field .id desktop show pc-with-one-time-password | tail -c 5)")
name=${name^^}
ok "an account is prepared" in_directory sh -c "printf '%s' \"\$1\" | adcli preset-computer \
    --domain=ad.example.org --login-user=Administrator --stdin-password \
    --one-time-password='once 0nly!' --domain-ou=OU=Lab,DC=ad,DC=example,DC=org \"\$2\"" \
    sh "$directory_password" "$name"
echo 'once 0nly!' >"$top/once"
ctl desktop set pc-with-one-time-password --one-time-password-file "$top/once" >/dev/null
prepared=$(account "$name" objectGUID)
ok "it joins with a one-time password" join pc-with-one-time-password
is "$(grep -c "$directory_password" "$top/pc-with-one-time-password.conf/imaged.conf")" 0 \
    "... and is not told the other"
is "$(account "$name" objectGUID)" "$prepared" "... the account that was prepared"
ok "... the machine can log in" log_in "$top/pc-with-one-time-password/etc/krb5.keytab" "$name\$"
rm -rf "$top/pc-with-one-time-password"
not_ok "... once only" join pc-with-one-time-password
done_testing
