#!/usr/bin/env bash
# heavy: a domain controller.
# directory_ad.t: users and groups of a real Active Directory (samba): nested groups by its matching
# rule, the primary group, objectGUID, disabled accounts.  The daemon runs in the directory's network.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
. "$repo/tests/guest/directory.sh"
trap 'directory_stop; cleanup' EXIT
cd "$top" || exit 1
ok "a domain controller" directory_start "$top/ad" || exit 1
user() { directory_samba user create "$1" "$2" "${@:3}" >/dev/null; }
group() { directory_samba group add "$1" >/dev/null; }
member() { directory_samba group addmembers "$1" "$2" >/dev/null; }
ok "users" eval 'user ann "Ann-secret(1)*" --given-name=Ann --surname=Ash --mail-address=ann@example.org &&
    user ben "Ben-secret-1" && user cat "Cat-secret-1" && user reader "Reader-secret-1"'
ok "groups in groups" eval 'group staff && group tutors && group night && member staff tutors &&
    member tutors night && member night ann && member staff ben'

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
ok "groups are added" eval 'for g in staff night "Domain Users"; do ctl group add "$g" --directory ad || exit 1; done'
is "$(login ben Ben-secret-1)" 200 "ben logs in"
members() { ctlj group show "$1" | jq -r '.members | join(" ")'; }
is "$(members staff)" "ann ben" "nested members"
is "$(members night)" ann "of the inner group"
is "$(members Domain_Users)" "ann ben" "the primary group, which is no member's attribute"
ok "what holds it holds them" eval 'member staff "Domain Users" && user dora "Dora-secret-1" && ctl user add dora --directory ad'
ctl directory refresh ad >/dev/null
is "$(members staff)" "ann ben dora" "by a look at all"
is "$(login cat Cat-secret-1)" 200 "and by a log-in"
is "$(members staff)" "ann ben cat dora" "likewise"
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
ok "cat is deleted" directory_samba user delete cat
ctl directory refresh ad >/dev/null
is "$(ctlj user show cat | jq .disabled)" true "she is kept out"
# More members than the server shows at once (1,500).
ok "1,600 users in a group" in_directory /usr/bin/python3 - "$top/ad/dc/private/sam.ldb" "$top/ad/dc/etc/smb.conf" <<'PY'
import sys
from samba.samdb import SamDB
from samba.auth import system_session
from samba.param import LoadParm
lp = LoadParm(); lp.load(sys.argv[2])
db = SamDB(url=sys.argv[1], session_info=system_session(), lp=lp)
db.transaction_start()
for i in range(1600):
    db.add({"dn": "CN=m%d,CN=Users,DC=ad,DC=example,DC=org" % i, "objectClass": "user", "sAMAccountName": "m%d" % i})
import ldb
m = ldb.Message(ldb.Dn(db, "CN=night,CN=Users,DC=ad,DC=example,DC=org"))
m["member"] = ldb.MessageElement(["CN=m%d,CN=Users,DC=ad,DC=example,DC=org" % i for i in range(1600)], ldb.FLAG_MOD_ADD, "member")
db.modify(m)
db.transaction_commit()
PY
ok "the last of them is added" ctl user add m1599 --directory ad
ctl directory refresh ad >/dev/null
like "$(members night)" 'm1599' "and found to be a member"
is "$(ctlj directory test ad | jq '.n_users > 1600')" true "all users are seen, page by page"
kill "$pid" && wait "$daemon" 2>/dev/null
daemon=
done_testing
