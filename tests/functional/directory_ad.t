#!/usr/bin/env bash
# heavy: a domain controller.
# directory_ad.t: users and groups of a real Active Directory (samba): LDAPS and StartTLS, nested groups
# by its matching rule, the primary group, ranges and pages, objectGUID, accounts that are disabled,
# have expired, or whose password has to be changed.  The daemon runs in the directory's network.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
. "$repo/tests/guest/directory.sh"
cd "$top" || exit 1
ok "a domain controller" directory_start "$top/ad" || exit 1
# samdb CODE: on db, the controller's own database
samdb()
{
    in_directory /usr/bin/python3 -c '
import sys, ldb
from samba.samdb import SamDB
from samba.auth import system_session
from samba.param import LoadParm
lp = LoadParm()
lp.load(sys.argv[1] + "/etc/smb.conf")
db = SamDB(url=sys.argv[1] + "/private/sam.ldb", session_info=system_session(), lp=lp)
base = "CN=Users,DC=ad,DC=example,DC=org"
def set(name, **values):
    found = db.search(base, expression="(sAMAccountName=%s)" % name, attrs=[])[0].dn
    db.modify(ldb.Message.from_dict(db, {"dn": found, **values}, ldb.FLAG_MOD_REPLACE))
'"$1" "$top/ad/dc"
}
ok "users, and groups in groups" samdb '
db.newuser("ann", "Ann-secret(1)*", givenname="Ann", surname="Ash", mailaddress="ann@example.org")
for name, password in (("ben", "Ben-secret-1"), ("cat", "Cat-secret-1"), ("reader", "Reader-secret-1")):
    db.newuser(name, password)
for group, member in (("night", "ann"), ("tutors", "night"), ("staff", "tutors")):
    db.newgroup(group)
    db.add_remove_group_members(group, [member])
db.add_remove_group_members("staff", ["ben"])'

# The daemon asks on loopback of that network.
configure
nsenter -t "$(pgrep -P "$directory_pid")" -m -n -u -p -- "$BUILD/imaged" --state "$state" --config "$top/conf" >"$log.out" 2>>"$log" &
daemon=$!
keep_pid $daemon
ok "a daemon in its network" wait_for 60 grep -q '^ready' "$log.out"
pid=$(pgrep -P "$daemon" imaged || echo "$daemon")
keep_pid "$pid"
ca=$(find "$top/ad/dc" -name ca.pem | head -n 1)
isnt "$ca" '' "the controller has made itself an authority"
echo Reader-secret-1 >secret
ok "the directory" ctl directory add ad --kind ad --server ldaps://dc.ad.example.org --base DC=ad,DC=example,DC=org \
    --authorities "$ca" --bind-dn reader@ad.example.org --bind-password-file secret
said=$(ctlj directory test ad --user ann)
json_ok "knows ann" "$said" '.user.name == "ann" and .user.full_name == "Ann Ash" and .user.email == "ann@example.org" and (.user.disabled | not)'
guid=$(directory_samba user show ann --attributes=objectGUID | sed -n 's/^objectGUID: //p')
hex=$(/usr/bin/python3 -c 'import sys, uuid; print(uuid.UUID(sys.argv[1]).bytes_le.hex())' "$guid")
is "$(jq -r .user.id <<<"$said")" "$hex" "by her objectGUID"
login()
{
    curl -sS --unix-socket "$state/imaged.sock" -o "$top/body" -w '%{http_code}' http://localhost/v1/login \
        -d "$(jq -n --arg n "$1" --arg p "$2" '{name: $n, password: $p}')"
}
is "$(login ann 'Ann-secret(1)*')" 200 "she logs in"
is "$(login ann@ad.example.org 'Ann-secret(1)*')" 200 "also by her principal's name"
is "$(login ann wrong-one)" 403 "not with a wrong password"
is "$(login ann '')" 403 "nor without one"
is "$(login 'an*' 'Ann-secret(1)*')" 403 "a star finds nobody"
is "$(login 'ann)(objectClass=*' 'Ann-secret(1)*')" 403 "nor does a filter"
is "$(login 'AD\ann' 'Ann-secret(1)*')" 403 "nor Windows' names with a backslash"
ok "it is asked by StartTLS too" ctl directory set ad --server ldap://dc.ad.example.org
like "$(ctlj directory test ad | jq -r .server)" '^ldap://' "and answers"
is "$(login ann 'Ann-secret(1)*')" 200 "ann logs in that way"
ok "once more by LDAPS" ctl directory set ad --server ldaps://dc.ad.example.org
ok "as a server of another name" ctl directory set ad --server ldaps://127.0.0.1
fails_with 1 "LDAP server" "its certificate is not believed" ctl directory test ad
ok "its own" ctl directory set ad --server ldaps://dc.ad.example.org
ok "groups are added" eval 'for g in staff night "Domain Users"; do ctl group add "$g" --directory ad || exit 1; done'
is "$(login ben Ben-secret-1)" 200 "ben logs in"
members() { ctlj group show "$1" | jq -r '.members | join(" ")'; }
is "$(members staff)" "ann ben" "nested members"
is "$(members night)" ann "of the inner group"
is "$(members Domain_Users)" "ann ben" "the primary group, which is no member's attribute"
ok "what holds it holds them" eval 'samdb "db.add_remove_group_members(\"staff\", [\"Domain Users\"]); db.newuser(\"dora\", \"Dora-secret-1\")" &&
    ctl user add dora --directory ad'
ctl directory refresh ad >/dev/null
is "$(members staff)" "ann ben dora" "by a look at all"
is "$(login cat Cat-secret-1)" 200 "and by a log-in"
is "$(members staff)" "ann ben cat dora" "likewise"

# ---- names that mean something in filters and in entries' names ----

ok "a user and a group with odd names" samdb '
db.newuser("fay", "Fay-secret-1")
fay = "CN=Fay (IT)* O\x27Ash\\, \\\\ Jr.,%s" % base
odd = "CN=Odd (x)\\, \\\\ y*,%s" % base
db.rename("CN=fay,%s" % base, fay)
db.add({"dn": odd, "objectClass": "group", "sAMAccountName": "odd", "member": fay})
db.modify(ldb.Message.from_dict(db, {"dn": "CN=night,%s" % base, "member": odd}, ldb.FLAG_MOD_ADD))'
is "$(login fay Fay-secret-1)" 200 "she logs in"
like "$(members night)" 'fay' "and is in a group through that one"
ctl directory refresh ad >/dev/null
like "$(members staff)" 'fay' "also by a look at all"
json_ok "that is told" "$(ctlj event list --kind group.member)" '[.[] | select(.object == "night" and (.message | test("fay is in it")))] | length == 1'
ok "night has another name there" directory_samba group rename night --samaccountname="Late Shift"
ctl directory refresh ad >/dev/null
like "$(members Late_Shift)" 'fay' "and here"

# ---- who is let in ----

id=$(ctlj user show ann | jq -r .id)
ok "ann marries" directory_samba user rename ann --samaccountname=ann.berg
ctl directory refresh ad >/dev/null
is "$(ctlj user show ann.berg | jq -r .id)" "$id" "and is the same"
ok "ben is disabled" directory_samba user disable ben
is "$(login ben Ben-secret-1)" 403 "he is refused"
ctl directory refresh ad >/dev/null
is "$(ctlj user show ben | jq .disabled)" true "and disabled here"
ok "again enabled" directory_samba user enable ben
is "$(login ben Ben-secret-1)" 200 "he gets in"
ctl token create long --user ben >ben.token
says() { login "$@" >/dev/null; jq -r .message "$top/body"; }
ok "ben's password has to be changed" samdb 'set("ben", pwdLastSet="0")'
is "$(login ben Ben-secret-1)" 403 "he is refused"
like "$(says ben Ben-secret-1)" 'password has to be changed' "and hears why"
like "$(says ben wrong-one)" 'name or the password' "who has not even the old one does not"
ok "it is changed" directory_samba user setpassword ben --newpassword=Ben-secret-2
# After a wrong password his next try has to wait.
gets() { [ "$(login "$2" "$3")" = "$1" ]; }
ok "then he gets in" wait_for 60 gets 200 ben Ben-secret-2
ok "his account has expired" samdb 'set("ben", accountExpires="132000000000000000")'
ok "he is refused" wait_for 60 gets 403 ben Ben-secret-2
ctl directory refresh ad >/dev/null
is "$(ctlj user show ben | jq .disabled)" true "and disabled here"
json_ok "that is told" "$(ctlj event list --kind user.set)" '[.[] | select(.object == "ben" and (.message | test("disabled by the directory")))] | length > 0'
ok "it has not" samdb 'set("ben", accountExpires="0")'
ok "he gets in again" wait_for 60 gets 200 ben Ben-secret-2
ok "cat is deleted" directory_samba user delete cat
ctl directory refresh ad >/dev/null
is "$(ctlj user show cat | jq .disabled)" true "she is kept out"

# ---- more members than one range (1,000), more users than a page (500) ----

ok "1,600 users in a group" samdb '
db.transaction_start()
names = ["m%d" % i for i in range(1600)]
for n in names:
    db.add({"dn": "CN=%s,%s" % (n, base), "objectClass": "user", "sAMAccountName": n})
group = db.search(base, expression="(sAMAccountName=Late Shift)", attrs=[])[0].dn
db.modify(ldb.Message.from_dict(db, {"dn": group, "member": ["CN=%s,%s" % (n, base) for n in names]}, ldb.FLAG_MOD_ADD))
db.transaction_commit()'
asked() { LDAPTLS_CACERT=$ca in_directory ldapsearch -x -LLL -o ldif-wrap=no -H ldaps://dc.ad.example.org -D reader@ad.example.org -w Reader-secret-1 "$@"; }
asked -b CN=Users,DC=ad,DC=example,DC=org '(sAMAccountName=Late Shift)' 'member;range=0-999' | cut -d: -f1 | sort | uniq -c >ranges
like "$(cat ranges)" '1000 member;range=0-999' "the server shows them range by range"
ok "some of them are added" eval 'for i in 0 999 1000 1599; do ctl user add m$i --directory ad || exit 1; done'
ctl directory refresh ad >/dev/null
for i in 0 999 1000 1599; do like "$(members Late_Shift) " "m$i " "m$i is found to be a member"; done
like "$(members staff) " 'm1599 ' "also of the group above"
start=$(date +%s%N)
ctl directory refresh ad >/dev/null
diag "a look at all took $((($(date +%s%N) - start) / 1000000)) ms"
is "$(ctlj directory test ad | jq '.n_users > 1600')" true "all users are seen, page by page"
kill "$pid" && wait "$daemon" 2>/dev/null
daemon=
done_testing
