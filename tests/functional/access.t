#!/usr/bin/env bash
# access.t: who may do what: users of the unix socket, TLS with tokens and log-ins, roles and their
# scopes, quotas.  access_roles.py goes through every role and every endpoint.
. "$(dirname "$0")/lib.sh"
cd "$top" || exit 1

# An authority of our own, and a certificate for localhost.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 30 \
    -subj "/CN=test authority" >/dev/null 2>&1
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout tls.key -out tls.csr \
    -subj /CN=localhost >/dev/null 2>&1
openssl x509 -req -in tls.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -out tls.pem \
    -extfile <(echo "subjectAltName=DNS:localhost,IP:127.0.0.1") >/dev/null 2>&1
port=$(/usr/bin/python3 -c 'import socket
s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
url=https://localhost:$port
configure "listen = 127.0.0.1:$port" "tls_cert = $top/tls.pem" "tls_key = $top/tls.key"
ok "a daemon that serves TCP with TLS" start_daemon
export XDG_CONFIG_HOME=$top/config IMAGED_CA_FILE=$top/ca.pem
remote() { "$BUILD/imagectl" --url "$url" "$@"; }
with() { local token=$1; shift; "$BUILD/imagectl" --url "$url" --token-file "$token" "$@"; }

# ---- the unix socket: the uid decides ----

as_nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups "$BUILD/imagectl" --state "$state")
chmod 755 "$top"
chmod 666 "$state/imaged.sock"
fails_with 5 "'nobody' is no user of imaged" "who is no user of imaged gets nowhere" "${as_nobody[@]}" desktop list
fails_with 5 "imagectl user add nobody; .*imagectl role grant admin nobody" "and hears what lets him in" "${as_nobody[@]}" desktop list
ok "he is made one" ctl user add nobody
ok "and gets in" "${as_nobody[@]}" desktop list
is "$("${as_nobody[@]}" -o json whoami | jq -r '.name + " " + (.admin | tostring)')" "nobody false" "as himself"
fails_with 5 "permission desktop.create" "with no more than his rights" "${as_nobody[@]}" desktop create x --template y
ok "he is disabled" ctl user set nobody --disabled yes
fails_with 5 "'nobody' is disabled" "and kept out" "${as_nobody[@]}" desktop list
is "$(ctlj whoami | jq -r '.name + " " + (.admin | tostring)')" "root true" "root is an admin"

# ---- passwords, log-ins ----

echo 'correct horse' >pw
echo 'wrong horse' >bad
ok "a user with a password" ctl user add alice --full-name 'Alice Ames' --email alice@example.org --password-file pw
is "$(sqlite3 "$state/catalog.db" "SELECT substr(password_hash, 1, 9) FROM user WHERE name = 'alice'")" \
    '$argon2id' "kept as argon2id"
fails_with 1 "there is a user 'ALICE' already" "names don't differ by case" ctl user add ALICE
fails_with 2 "8 to 1024" "a short password is refused" ctl user add eve --password-file <(echo short)
fails_with 2 "cannot be the name" "so is an odd name" ctl user add "eve; x"
fails_with 2 "takes a whole number or none, not '-1'" "and a limit that is none" ctl user add eve --max-desktops -1
fails_with 5 "nobody has logged in" "over TCP nobody is let in without a token" remote desktop list
is "$(curl -sS --cacert ca.pem -o /dev/null -w '%{http_code}' "$url/v1/desktops")" 401 "that is HTTP's 401"
fails_with 5 "token is not valid" "nor with one that is none" with pw desktop list
fails_with 1 "certificate" "a daemon that nobody vouches for is not talked to" \
    env IMAGED_CA_FILE=/etc/ssl/certs/ca-certificates.crt "$BUILD/imagectl" --url "$url" desktop list
not_ok "there is no HTTP without TLS" curl -sS -m 5 "http://localhost:$port/v1/status"
not_ok "nor TLS 1.1" curl -sS --cacert ca.pem --tls-max 1.1 "$url/v1/status"
fails_with 5 "name or the password is not right" "a wrong password" remote login alice --password-file bad
fails_with 5 "name or the password is not right" "a name that is nobody's, in the same words" remote login mallory --password-file bad
ok "the right one" remote login Alice --password-file pw
is "$(remote -o json whoami | jq -r '.name + " " + .address')" "alice 127.0.0.1" "from then on she is known"
is "$(stat -c %a "$top"/config/imaged/tokens/*)" 600 "her token is hers to read"
is "$(sqlite3 "$state/catalog.db" "SELECT count(*) FROM token WHERE hash LIKE 'imgd%'")" 0 "the catalog has no token, only hashes"
json_ok "the event says who and from where" "$(ctlj event list --limit 20)" \
    '[.[] | select(.name == "user.login" and .who == "alice" and .address == "127.0.0.1")] | length == 1'
json_ok "failures too" "$(ctlj event list --limit 20)" \
    '[.[] | select(.name == "user.login-failed" and .who == "mallory" and .severity == "warning")] | length == 1'
echo 'battery staple' >pw2
ok "she changes her password" remote user passwd alice --old-password-file pw --password-file pw2
fails_with 5 "token is not valid" "her log-ins are over" remote whoami
ok "the new one works" remote login alice --password-file pw2
fails_with 5 "old password is not right" "without the old one she can't" remote user passwd alice --password-file pw
fails_with 5 "needs the permission user.change" "nor another's" remote user passwd nobody --password-file pw
ok "she logs out" remote logout
fails_with 5 "nobody has logged in" "and is nobody again" remote whoami
# try NAME ADDRESS: the status and how long the answer took
try() {
    curl -sS --interface "$2" --cacert ca.pem -o /dev/null -w '%{http_code} %{time_total}\n' "$url/v1/login" \
        -d "{\"name\":\"$1\",\"password\":\"no-such-one\"}"
}
for i in 1 2 3 4 5 6 7; do
    try alice "127.0.0.1$i" >>known
    try "walter$i" "127.0.0.1$i" >>unknown
done
is "$(cut -d' ' -f1 known unknown | sort -u)" 403 "known or not, the answer is the same"
ok "no failure is told before 0.4 s" awk '$2 < 0.4 { bad = 1 } END { exit bad }' known unknown
median() { cut -d' ' -f2 "$1" | sort -n | sed -n 4p; }
ok "and they take as long ($(median known) s, $(median unknown) s)" \
    awk "BEGIN { a = $(median known); b = $(median unknown); d = a < b ? b - a : a - b; exit !(d < 0.1 + 0.3 * (a < b ? a : b)) }"
has_to_wait() { [ "$(try walter 127.0.0.1 | cut -d' ' -f1)" = 409 ]; }
ok "after some failures one has to wait" wait_for 90 has_to_wait
ok "others need not" remote login alice --password-file pw2
fails_with 5 "name or the password" "an empty password is refused" \
    bash -c "curl -sS --cacert ca.pem '$url/v1/login' -d '{\"name\":\"olga\",\"password\":\"\"}' >out; jq -r .message out >&2; exit 5"

# ---- roles and scopes ----

"$cowtool" create base.qcow2 --size 8M >/dev/null 2>&1 || qemu-img create -q -f qcow2 base.qcow2 8M
ok "two templates" eval 'ctl template import gold base.qcow2 --format qcow2 && ctl template publish gold &&
    ctl template import tin base.qcow2 --format qcow2 && ctl template publish tin'
ok "with desktops" eval 'ctl desktop create g1 g2 --template gold && ctl desktop create t1 --template tin'
ok "a group with a role in a scope" eval 'ctl group add tutors && ctl group add-member tutors alice &&
    ctl role grant helpdesk tutors --group --template gold'
is "$(remote -o json desktop list | jq -r '[.[].name] | join(" ")')" "g1 g2" "she sees the scope's desktops alone"
is "$(remote -o json template list | jq -r '[.[].name] | join(" ")')" gold "... and templates"
fails_with 3 "there is no desktop 't1'" "what she can't see is not there" remote desktop show t1
ok "she may re-image" remote desktop reset g1 --yes
fails_with 3 "there is no desktop 't1'" "not elsewhere" remote desktop reset t1 --yes
fails_with 5 "permission desktop.delete" "nor delete" remote desktop delete g1 --yes
json_ok "what she did is in her jobs" "$(remote -o json job list)" 'length > 0 and all(.[]; .owner == "alice from 127.0.0.1")'
json_ok "and events, with her address" "$(ctlj event list)" \
    '[.[] | select(.name == "desktop.reset" and .who == "alice" and .address == "127.0.0.1")] | length == 1'
json_ok "she sees those of her scope" "$(remote -o json event list)" 'length > 0 and all(.[]; .object != "t1" and .object != "tin")'
job=$(ctlj job list | jq -r '[.[] | select(.owner == "root")][0].id')
fails_with 3 "there is no job" "others' jobs are not hers" remote job show "$job"
ok "a role is taken back" ctl role revoke helpdesk tutors --group --template gold
is "$(remote -o json desktop list)" "[]" "at once"
fails_with 3 "not granted" "what is not there can't be taken back" ctl role revoke helpdesk tutors --group

# ---- one's own; no way up ----

id() { sqlite3 "$state/catalog.db" "SELECT id FROM $1 WHERE name = '$2'"; }
assign() {
    sqlite3 "$state/catalog.db" ".timeout 5000" "INSERT INTO assignment (desktop_id, user_id, is_owner, may_take_over, created_at)
        VALUES ('$(id desktop "$1")', '$(id user "$2")', 1, 0, 0)"
}
assign t1 alice
is "$(remote -o json desktop list | jq -r '[.[].name] | join(" ")')" t1 "one's own desktop is seen"
fails_with 5 "permission desktop.reset" "but re-imaged only if allowed" remote desktop reset t1 --yes
ok "as it is now" ctl role grant user-reset alice
ok "so she can" remote desktop reset t1 --yes
fails_with 3 "no desktop" "no other's" remote desktop reset g1 --yes
ok "somebody keeps users" eval 'ctl role create user-keeper user.see user.change role.change && ctl user add bert --password-file pw && ctl role grant user-keeper bert'
ok "a token for him" eval 'ctl token create work --user bert >bert.token'
ok "he adds users" with bert.token user add carla
fails_with 5 "not everywhere the permission" "but gives nobody what he has not" with bert.token role grant admin bert
fails_with 5 "not everywhere the permission" "nor makes such a role" with bert.token role create mighty '*'
ctl user add root2 --password-file pw && ctl role grant admin root2
fails_with 5 "not everywhere the permission" "nor takes over who has more" with bert.token user passwd root2 --password-file pw2
ctl group add admins && ctl role grant admin admins --group
fails_with 5 "not everywhere the permission" "nor joins a group that has more" with bert.token group add-member admins bert
fails_with 5 "permission token.change" "nor makes a token of another" with bert.token token create t --user root2

# ---- roles and tokens in a template, a pool, a desktop ----

ok "a pool" ctl pool create hall --template tin --size 1
has_hall() { ctl desktop show hall-001; }
ok "has its desktop" wait_for 60 has_hall
/usr/bin/python3 "$here/access_scopes.py" "$state/catalog.db" "$url" ca.pem "$BUILD/imagectl" "$state" >scopes.out 2>&1
is "$(cat scopes.out)" '' 'each role in each scope may do inside what it says, and outside nothing'

# ---- tokens ----

ok "a token that is good for little" eval 'ctl token create look --user root2 --permission desktop.see --template gold >look.token'
is "$(with look.token -o json desktop list | jq -r '[.[].name] | join(" ")')" "g1 g2" "shows its scope"
fails_with 5 "which the token is not good for" "and does no more" with look.token desktop reset g1 --yes
fails_with 5 "not good for as much" "and makes none that does" with look.token token create more
ok "one that ends soon" eval 'ctl token create brief --user root2 --expires 1s >brief.token'
expired() { ! with brief.token whoami; }
ok "is over then" wait_for 20 expired
token=$(ctlj token list | jq -r '.[] | select(.name == "look").id')
ok "one is revoked" ctl token revoke "$token"
fails_with 5 "token is not valid" "and worth nothing" with look.token desktop list
ok "root2 is disabled" ctl user set root2 --disabled yes
ctl token create again --user root2 >again.token
fails_with 5 "disabled" "then no token of his works" with again.token whoami

# ---- quotas ----

ok "a quota" ctl user set alice --max-snapshots 1
ok "is not reached" ctl snapshot create t1 one
fails_with '[15]' "quota of the user 'alice' is reached: 1 of 1 snapshots" "is reached, for whoever makes them" ctl snapshot create t1 two
ok "is lifted" ctl user set alice --max-snapshots none
ok "then one more" ctl snapshot create t1 two
ok "a group's is for all its members together" ctl group set tutors --max-snapshots 2
fails_with '[15]' "quota of the group 'tutors'" "is reached" ctl snapshot create t1 three
# at_once NAMES COMMAND...: for each name at the same moment, {} is the name; prints how many got through
at_once() {
    local i pids=() n=0 names=$1
    shift
    for i in $names; do
        "$BUILD/imagectl" --state "$state" "${@//\{\}/$i}" >"once.$i" 2>&1 &
        pids+=($!)
    done
    for i in "${pids[@]}"; do wait "$i" && n=$((n + 1)); done
    echo $n
}
ok "eight desktops, and a user who may have three" eval 'ctl desktop create q{1..8} --template gold &&
    ctl user add quentin --max-desktops 3 --max-snapshots 2'
is "$(at_once "$(echo q{1..8})" desktop assign {} quentin)" 3 "of eight at once he is given three"
is "$(ctlj user show quentin | jq .n_desktops)" 3 "and has three"
like "$(cat once.*)" "quota of the user 'quentin' is reached: 3 of 3 desktops" "the others are told why"
mapfile -t his < <(ctlj desktop assignments | jq -r '.[] | select(.user == "quentin").name')
is "$(at_once "${his[*]}" snapshot create {} s)" 2 "of three snapshots at once there are two"
is "$(ctlj user show quentin | jq .used_snapshots)" 2 "no more"
for i in "${his[@]}"; do ctl snapshot delete "$i" s --yes >/dev/null 2>&1; done
ok "one may be" ctl snapshot create "${his[0]}" one
json_ok "of a batch, as many as may be" "$(ctlj snapshot create --all-of-prefix q late 2>/dev/null)" '.n_done == 6 and .n_failed == 2 and ([.items[] | select(.ok | not).error.code] | unique == ["denied"])'
ok "he may have no more bytes" ctl user set quentin --max-snapshots none --max-disk 1
fails_with '[15]' "quota of the user 'quentin' is reached: [0-9]+ of 1 bytes on disk" "then no snapshots" ctl snapshot create "${his[0]}" more
fails_with '[15]' "bytes on disk" "no data disk" ctl desktop data-disk add "${his[0]}" --size 16M
fails_with '[15]' "bytes on disk" "nor a larger disk" ctl desktop set "${his[0]}" --disk-size 64M
json_ok "he sees what he has" "$(ctlj user show quentin)" '.used_desktops == 3 and .used_snapshots == 2 and .used_running == 0 and .used_disk_bytes > 1'
is "$(sqlite3 -readonly "$state/catalog.db" 'SELECT count(*) FROM quota_hold')" 0 "no job holds anything any more"

# ---- every role, every endpoint ----

ok "a pool of the other template" ctl pool create annex --template gold --size 1
/usr/bin/python3 "$here/access_roles.py" "$repo" "$state/catalog.db" "$url" ca.pem "$BUILD/imagectl" "$state" >roles.out 2>&1
is "$(cat roles.out)" '' 'each role may do at each endpoint what the table says'

fails_with 4 "has desktops" "a user with desktops is not deleted" ctl user delete alice --yes
ok "another is" ctl user delete carla --yes
fails_with 3 "no user 'carla'" "what is not there is not asked about" ctl user delete carla
fails_with 3 "no role" "nor a role" ctl role delete nosuch
fails_with 2 "no e-mail address" "an e-mail address is one" ctl user add zoe --email notamail
fails_with 2 "no entry of a directory" "a directory's base is a name" ctl directory add x --kind ldap --server ldaps://localhost --base notadn
ok "a group too" ctl group delete tutors --yes
fails_with 2 "built in" "a built-in role is not" ctl role delete helpdesk --yes
# ---- what changes something is told of ----

ok "an admin from elsewhere" eval 'ctl user add op && ctl role grant admin op && ctl token create work --user op >op.token && mkdir work'
/usr/bin/python3 "$here/event_actors.py" "$repo" "$state/catalog.db" "$url" ca.pem op.token op "$top/work" >actors.out 2>&1
is "$(cat actors.out)" '' 'each changing route leaves an event with who did it, and from where'

# ---- a certificate is renewed while it runs ----

served() { openssl s_client -connect "localhost:$port" </dev/null 2>/dev/null | openssl x509 -noout -serial; }
renew() {
    openssl x509 -req -in tls.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -out tls.new \
        -extfile <(echo "subjectAltName=DNS:localhost,IP:127.0.0.1") >/dev/null 2>&1 && mv tls.new tls.pem
}
reloaded() { [ "$(ctlj event list --kind imaged.reload | jq length)" -ge "$1" ]; }
curl -sN --cacert ca.pem -D opened -H "Authorization: Bearer $(cat bert.token)" "$url/v1/events/stream" >stream 2>/dev/null &
watching=$!
keep_pid $watching
ok "a stream is open" wait_for 20 grep -q ' 200' opened
ok "a role that is given then" ctl role grant auditor bert
exec 7<>"/dev/tcp/127.0.0.1/$port" # one that has not said anything yet
before=$(served)
renew
kill -HUP "$daemon"
other() { [ "$(served)" = "$(openssl x509 -in tls.pem -noout -serial)" ]; }
ok "a renewed certificate is served after SIGHUP" wait_for 30 other
isnt "$(served)" "$before" "it is another one"
ok "it is told of" wait_for 20 reloaded 1
ok "log-ins go on" remote whoami
ctl user add dora >/dev/null
ok "a stream that was there goes on, with what the role shows" wait_for 20 grep -q '"user.add"' stream
ok "it is taken back" eval 'ctl role revoke auditor bert && ctl user add nina && with bert.token user add odo'
ok "what is his own goes on" wait_for 20 grep -q '"odo"' stream
not_ok "the rest does not" grep -q '"nina"' stream
ctl user set bert --disabled yes >/dev/null
ended() { ! kill -0 "$watching" 2>/dev/null; }
ok "who is disabled is at its end" wait_for 20 ended
exec 7>&-
before=$(served)
cp tls.pem good.pem
echo 'no certificate' >tls.pem
kill -HUP "$daemon"
ok "one that is broken" wait_for 20 reloaded 2
json_ok "is told of" "$(ctlj event list --kind imaged.reload)" '.[0].severity == "warning"'
is "$(served)" "$before" "and the former one stays"
cp ca.pem tls.pem
kill -HUP "$daemon"
ok "one that the key is not of" wait_for 20 reloaded 3
is "$(served)" "$before" "is not taken either"
cp good.pem tls.pem
kill -HUP "$daemon"
ok "the same again" wait_for 20 reloaded 4
json_ok "is nothing new" "$(ctlj event list --kind imaged.reload)" '.[0].message == "nothing has changed"'

ok "restart" eval 'stop_daemon && start_daemon'
ok "log-ins outlive it" remote whoami

# ---- time goes by ----

ok "a token for a month" eval 'ctl token create month --user op --expires 30d >month.token'
ok "the clock is ours" eval 'stop_daemon && run_by_fake_clock && start_daemon'
ok "she is logged in" remote whoami
echo +11h >"$top/clock"
ok "for some hours" remote whoami
echo +13h >"$top/clock"
fails_with 5 "token is not valid" "not for a day" remote whoami
echo +29d >"$top/clock"
ok "a token lasts for its month" with month.token whoami
is "$(with month.token -o json token list | jq '[.[] | select(.name == "month")] | length')" 1 "and is listed"
echo +31d >"$top/clock"
fails_with 5 "token is not valid" "then it is over" with month.token whoami
ok "one of which nothing was said lasts for ninety days" with op.token whoami
echo +91d >"$top/clock"
fails_with 5 "token is not valid" "and then it is" with op.token whoami
done_testing
