#!/usr/bin/env bash
# directory.t: users and groups of a real LDAP server: log-ins, nested groups, renames, disabled and
# deleted users, a server that is down or hangs.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/ldap_server.sh"
cd "$top" || exit 1
ok "a directory" ldap_start "$top/ldap"
ldap_certificates "$top" >/dev/null 2>&1 # the daemon's own
port=$(ldap_ports | cut -d' ' -f1)
url=https://localhost:$port
configure "listen = 127.0.0.1:$port" "tls_cert = $top/tls.pem" "tls_key = $top/tls.key"
ok "a daemon" start_daemon
export XDG_CONFIG_HOME=$top/config IMAGED_CA_FILE=$top/ca.pem
remote() { "$BUILD/imagectl" --url "$url" "$@"; }
login() { printf '%s\n' "$2" | "$BUILD/imagectl" --url "$url" login "$1"; }
printf '%s\n' "$ldap_secret" >secret

# ---- adding ----

fails_with 2 "no server of a directory" "only ldap and ldaps" ctl directory add x --kind ldap --server http://localhost --base dc=corp
fails_with 2 "is no filter" "a filter that is none" ctl directory add x --kind ldap --server ldaps://localhost --base dc=corp --user-filter '(uid=*'
add() { ctl directory add "$1" --kind ldap --base dc=corp,dc=test --authorities "$top/ldap/ca.pem" "${@:2}"; }
ok "a directory whose first server is down" add corp --server "ldaps://localhost:1" --server "ldap://127.0.0.1:$ldap_port" \
    --bind-dn "$ldap_root" --bind-password-file secret
json_ok "its settings are shown, its password is not" "$(ctlj directory list)" \
    '.[0] | .has_password and .has_ca and (tostring | contains("ad(min)") | not)'
not_ok "no catalog has it, nor a backup of one" grep -raqF "$ldap_secret" "$state" --exclude-dir=directory-secrets
is "$(cd "$state/directory-secrets" && stat -c '%a %U' . && stat -c '%a %U' -- * && cat -- *)" "700 root
600 root
$ldap_secret" "it is in a file that only the daemon reads"
printf 'wrong\n' >wrong
ok "another password" ctl directory set corp --bind-password-file wrong
fails_with 1 "credentials|refused" "is used" ctl directory test corp
ok "the right one again" ctl directory set corp --bind-password-file secret
fails_with 2 "say what to set" "nothing to set" ctl directory set corp
fails_with 2 "is no filter" "a filter that is none can't be set either" ctl directory set corp --user-filter '(uid=*'
mv "$state/directory-secrets" "$state/away"
fails_with 1 "directory set corp --bind-password-file" "one that was lost is asked for" ctl directory test corp
mv "$state/away" "$state/directory-secrets"
: >"$state/directory-secrets/$(printf '0%.0s' {1..32})"
ok "restart" eval 'stop_daemon && start_daemon'
is "$(ls "$state/directory-secrets" | wc -l)" 1 "what nobody needs is deleted at a start"
json_ok "the second one answers (StartTLS)" "$(ctlj directory test corp)" '.server | startswith("ldap://127.0.0.1")'
is "$(ctlj directory test corp | jq .n_users)" 4 "it has users"
ok "a directory with a certificate that nobody vouches for" ctl directory add liar --kind ldap --base dc=corp,dc=test \
    --server "ldaps://127.0.0.1:$ldaps_port"
fails_with 1 "ldaps://127.0.0.1:.*LDAP server" "is not believed" ctl directory test liar
ok "it is removed" ctl directory remove liar --yes
ok "one whose name is not in the certificate" add other --server "ldaps://127.0.0.2:$ldaps_port"
fails_with 1 "ldaps://127.0.0.2:.*LDAP server" "is not believed either" ctl directory test other
ok "it is removed too" ctl directory remove other --yes

# ---- logging in ----

ok "alice logs in" login alice 'alice secret'
json_ok "and is somebody" "$(ctlj user show alice)" \
    '.full_name == "Alice Ames" and .email == "alice@corp.test" and .directory == "corp" and (.has_password | not)'
is "$(ctlj user show alice | jq -r .id)" "$(remote -o json whoami | jq -r .id)" "herself"
fails_with 5 "name or the password is not right" "not with a wrong password" login bob 'alice secret'
fails_with 5 "name or the password is not right" "nor as nobody" login zed 'alice secret'
fails_with 5 "name or the password is not right" "a star finds nobody" login '*' 'alice secret'
fails_with 5 "name or the password is not right" "nor does a filter" login 'alice)(uid=bob' 'alice secret'
fails_with 5 "name or the password is not right" "nor an entry's name" login 'uid=alice,ou=people,dc=corp,dc=test' 'alice secret'
is "$(curl -sS --cacert ca.pem "$url/v1/login" -d '{"name":"alice","password":""}' | jq -r .code)" denied "an empty password is refused"
ok "a password with brackets and a star" login bob 'bob (secret)*'
fails_with 2 "cannot be the name of a user|kept by" "his password is not kept here" ctl user passwd bob --password-file secret
fails_with 2 "said by its directory" "nor his name" ctl user set bob --full-name x
ok "a quota is" ctl user set bob --max-desktops 1
is "$(ctlj user list | jq -r '[.[].name] | join(" ")')" "alice bob" "only who came has a row"

# ---- before the first log-in ----

ok "carol is added before she comes" ctl user add carol --directory corp
fails_with 3 "no user of that name" "somebody else is not there" ctl user add zed --directory corp
ok "she gets a role" ctl role grant auditor carol
ok "she comes" login carol 'carol secret'
json_ok "and has it" "$(remote -o json whoami)" '.permissions | index("host.see") != null'

# ---- groups ----

ok "groups are added" eval 'for g in staff night posix; do ctl group add $g --directory corp || exit 1; done'
fails_with 3 "there is no group" "one that is not there" ctl group add zombies --directory corp
members() { ctlj group show "$1" | jq -r '.members | join(" ")'; }
is "$(members staff)" "alice bob" "members through groups, in spite of a circle"
is "$(members night)" "alice bob" "likewise"
is "$(members posix)" carol "by name"
ok "a role for a group" ctl role grant helpdesk staff --group
login bob 'bob (secret)*' >/dev/null
json_ok "is its members'" "$(remote -o json whoami)" '.permissions | index("session.shadow") != null'
fails_with 2 "said by its directory" "nobody is put into it here" ctl group add-member staff carol

# A directory's group says more than who may help: pools, and what goes through clients.
qemu-img create -q -f qcow2 base.qcow2 8M
ok "desktops" eval 'ctl template import gold base.qcow2 --format qcow2 && ctl template publish gold &&
    ctl desktop create hers his --template gold && ctl pool create hall --template gold --size 1'
ok "alice and carol have one each" eval 'ctl desktop assign hers alice && ctl desktop assign his carol'
ok "no clipboard for a group of the directory" ctl group channels staff --clipboard off
is "$(ctlj desktop show hers | jq .hardware.clipboard)" false "holds for who is in it by another group"
json_ok "for nobody else" "$(ctlj desktop show his)" '.hardware.clipboard != false'
has_hall() { pooled=$(ctlj pool show hall --desktops | jq -r '.[] | select(.state == "free") | .name'); [ "$pooled" ]; }
ok "a pool" wait_for 60 has_hall
ok "is granted to the group" ctl pool grant hall --group staff
is "$(ctlj desktop show "$pooled" | jq .hardware.clipboard)" false "its desktops may become theirs"
login alice 'alice secret' >/dev/null
is "$(remote -o json pool list | jq -r '[.[].name] | join(" ")')" hall "its members see it"
login carol 'carol secret' >/dev/null
fails_with 3 "no desktop or pool 'hall' for this user" "others, even who see it, are given nothing" remote connect hall --file "$top/hall.vv"

# What a group gives goes as somebody leaves it there, and comes back: by a look at all, and by itself.
ctl token create t --user alice >alice.token
with_token() { "$BUILD/imagectl" --url "$url" --token-file alice.token "$@"; }
alice_is() # add|delete: in what makes her a member of staff
{
    ldap_change <<E
dn: cn=tutors,ou=groups,dc=corp,dc=test
changetype: modify
$1: member
member: uid=alice,ou=people,dc=corp,dc=test
E
}
has_all()
{
    [ "$(with_token -o json pool list | jq -r '[.[].name] | join(" ")')" = hall ] &&
        [ "$(ctlj desktop show hers | jq .hardware.clipboard)" = false ] &&
        with_token -o json whoami | jq -e '.permissions | index("session.shadow") != null' >/dev/null
}
ok "alice has pool, channels and role by her group" has_all
ok "she leaves it" alice_is delete
ok "... and it is looked at" ctl directory refresh corp
is "$(with_token -o json pool list)" '[]' "she has no pool"
json_ok "what goes through her client is not the group's to say" "$(ctlj desktop show hers)" '.hardware.clipboard != false'
json_ok "she has no role" "$(with_token -o json whoami)" '.permissions | index("session.shadow") == null'
json_ok "that is an event" "$(ctlj event list --kind group.member)" \
    '[.[] | select(.object == "staff" and (.message | test("alice not in it any more")))] | length == 1'
configure "listen = 127.0.0.1:$port" "tls_cert = $top/tls.pem" "tls_key = $top/tls.key" "directory_interval = 1s"
ok "a daemon that looks each second" eval 'stop_daemon && start_daemon'
ok "she comes back there" alice_is add
ok "... and has all again, by itself" wait_for 60 has_all
configure "listen = 127.0.0.1:$port" "tls_cert = $top/tls.pem" "tls_key = $top/tls.key"
ok "as before" eval 'stop_daemon && start_daemon'
ok "no more" eval 'ctl pool delete hall --yes && ctl desktop unassign hers --yes && ctl desktop unassign his --yes'

# ---- changes there ----

id=$(ctlj user show alice | jq -r .id)
ok "alice is renamed there" ldap_change <<E
dn: uid=alice,ou=people,dc=corp,dc=test
changetype: modrdn
newrdn: uid=alice.bell
deleteoldrdn: 1

dn: cn=tutors,ou=groups,dc=corp,dc=test
changetype: modify
add: member
member: uid=alice.bell,ou=people,dc=corp,dc=test
E
ok "it is looked at" ctl directory refresh corp
is "$(ctlj user show alice.bell | jq -r .id)" "$id" "she is the same"
fails_with 3 "no user 'alice'" "under her new name alone" ctl user show alice
ok "she logs in" login alice.bell 'alice secret'
is "$(ctlj user show alice.bell | jq -r .id)" "$id" "and still is"
is "$(members staff)" "alice.bell bob" "in her groups"
ok "bob leaves a group there" ldap_change <<E
dn: cn=night,ou=groups,dc=corp,dc=test
changetype: modify
delete: member
member: uid=bob,ou=people,dc=corp,dc=test
E
login bob 'bob (secret)*' >/dev/null
is "$(members staff)" alice.bell "his log-in says so at once"
json_ok "his role is gone" "$(remote -o json whoami)" '.permissions | index("session.shadow") == null'
ok "a local user of bob's name is refused" eval '! ctl user add Bob'
ok "bob is deleted there" ldap_change <<E
dn: uid=bob,ou=people,dc=corp,dc=test
changetype: delete
E
ctl directory refresh corp >/dev/null
is "$(ctlj user show bob | jq .disabled)" true "he is kept out here"
fails_with 5 "token is not valid" "his log-in is over" remote whoami
json_ok "that is an event" "$(ctlj event list --limit 20)" '[.[] | select(.name == "user.set" and .object == "bob" and (.message | contains("knows him no more")))] | length == 1'

# ---- many ----

many() { for i in $(seq 300); do ldap_person "u$i" "User $i" "pw $i"; done | sed 's/^\(dn: .*\)$/\1\nchangetype: add/'; }
ok "300 more users, in pages of at most 20" eval 'many | ldap_change'
is "$(ctlj directory test corp | jq .n_users)" 303 "are all seen"

nobodies() # and, behind all of them, a group
{
    printf 'dn: cn=%s,ou=groups,dc=corp,dc=test\nchangetype: add\nobjectClass: groupOfNames\ncn: %s\n' late late crowd crowd |
        sed 's/^cn: late$/&\nmember: uid=carol,ou=people,dc=corp,dc=test\n/'
    seq -f 'member: uid=nobody%.0f,ou=people,dc=corp,dc=test' 12000
    printf 'member: cn=late,ou=groups,dc=corp,dc=test\n'
}
ok "a group with 12,000 members that are nobody, and one that is a group" eval 'nobodies | ldap_change'
ok "is added" ctl group add crowd --directory corp
is "$(members crowd)" carol "and has who is in that group"

# ---- down, and hanging ----

kill -STOP "$ldap_pid"
start=$(date +%s)
fails_with 1 "does not answer|Can't contact|Timed out|StartTLS|imed out" "a directory that hangs" login carol 'carol secret'
ok "is waited for not too long" test $(($(date +%s) - start)) -lt 40
start=$(date +%s%N)
fails_with 1 "does not answer" "and then not at all for a while" login carol 'carol secret'
ok "at once" test $((($(date +%s%N) - start) / 1000000)) -lt 5000
ok "others go on" ctl user add local --password-file <(echo 'local secret')
ok "local users log in" login local 'local secret'
kill -CONT "$ldap_pid"
back() { login carol 'carol secret'; }
ok "when it is back, so do its users" wait_for 60 back
ldap_stop
fails_with 1 "directory 'corp'" "one that is down" ctl directory refresh corp
is "$(ctlj user show carol | jq .disabled)" false "disables nobody"
ok "its users' log-ins go on" remote whoami

ok "it is removed with its users" ctl directory remove corp --yes
is "$(ls "$state/directory-secrets")" "" "and with its password"
is "$(ctlj user list | jq -r '[.[].name] | join(" ")')" local "only local ones are left"
is "$(ctlj group list)" '[]' "no groups"
done_testing
