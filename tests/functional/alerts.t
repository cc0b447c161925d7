#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# alerts.t: events told by webhook and by mail: in order, at least once, over stops of imaged and of the
# receiver, signed, verified; what is hostile in an event stays text.
. "$(dirname "$0")/lib.sh"

# receiver NAME [CERT KEY]: its folder is $top/NAME, its port $port.
receiver()
{
    local dir=$top/$1
    shift
    mkdir -p "$dir"
    /usr/bin/python3 "$here/alert_receiver.py" "$dir" "$@" 2>"$dir/said" &
    keep_pid $!
    wait_for 30 test -f "$dir/port" || return 1
    port=$(cat "$dir/port")
}
# The ids, or another field, of the events that a receiver took.
taken() { jq -r 'select(.answer == "ok") | .body | fromjson | .events[] | '"${2:-.id}" "$top/$1/log" 2>/dev/null; }
has_taken() { taken "$1" .name | grep -qx "$2"; }
alert_is() { [ "$(field ".$2" alert show "$1")" = "$3" ]; }
make_event() { ctl desktop rename d e >/dev/null && ctl desktop rename e d >/dev/null; } # two, of kind desktop.rename

cat >"$top/sendmail" <<E
#!/bin/sh
echo "\$*" >>"$top/sendmail.args"
case \$(cat "$top/mail.mode" 2>/dev/null) in
fail) echo 'the mail   system is down' >&2; exit 75 ;;
hang) exec sleep 3600 ;;
esac
n=\$(ls "$top/mails" | wc -l)
cat >"$top/mails/.new" && mv "$top/mails/.new" "$top/mails/\$n"
E
chmod +x "$top/sendmail"
mkdir "$top/mails"
configure "sendmail = $top/sendmail" 'mail_from = imaged@site.example' 'mail_interval = 1s' 'alert_timeout = 5s' \
    "alert_ca = $top/ca.pem"
openssl req -x509 -newkey rsa:2048 -nodes -keyout "$top/ca.key" -out "$top/ca.pem" -subj /CN=ours -days 2 \
    -addext 'subjectAltName=IP:127.0.0.1' 2>/dev/null
openssl req -x509 -newkey rsa:2048 -nodes -keyout "$top/bad.key" -out "$top/bad.pem" -subj /CN=other -days 2 \
    -addext 'subjectAltName=IP:127.0.0.1' 2>/dev/null
start_daemon || exit 1
truncate -s 8M "$top/g.raw"
ctl template import win "$top/g.raw" --format raw >/dev/null 2>&1
ctl desktop create d --template win >/dev/null

# ---- What is refused ----

fails_with 2 'webhook URL or --mail' 'neither' ctl alert add x
fails_with 2 'no URL|neither http nor https' 'a file is no webhook' ctl alert add x --webhook file:///etc/passwd
fails_with 2 'neither http nor https' 'nor another protocol' ctl alert add x --webhook gopher://127.0.0.1:25/x
fails_with 2 'user or a password' 'nor one with a password' ctl alert add x --webhook http://a:b@127.0.0.1/
fails_with 2 'blank or a character' 'nor one with a line in it' ctl alert add x --webhook $'http://127.0.0.1/\r\nX: y'
fails_with 2 'no address of a mailbox' 'an address with a header' ctl alert add x --mail $'a@b\nBcc: c@d'
fails_with 2 'no address of a mailbox' '... with two' ctl alert add x --mail 'a@b,c@d'
fails_with 2 'no address of a mailbox' '... that is an option' ctl alert add x --mail=-oQ/tmp
fails_with 2 'no kinds of events' 'no kind' ctl alert add x --mail a@b --kind 'a b'
echo short >"$top/short"
fails_with 2 '8 to' 'a secret that is none' ctl alert add x --webhook http://127.0.0.1/ --secret-file "$top/short"
fails_with 2 'not signed' 'mail has none' ctl alert add x --mail a@b --secret-file "$top/conf"
is "$(ctlj alert list)" '[]' 'nothing of it is there'

# ---- A webhook ----

receiver hook || exit 1
hook_port=$port
echo 'a secret of ours' >"$top/secret"
ok 'add' ctl alert add hook --webhook "http://127.0.0.1:$hook_port/in?x=1" --secret-file "$top/secret" \
    --severity info --kind 'desktop.*,alert.*'
fails_with 1 'already' 'the same name again' ctl alert add hook --mail a@b
ok 'a test' ctl alert test hook
ok '... is there' wait_for 10 has_taken hook alert.test
ok 'something happens' make_event
idle() { alert_is hook backlog 0 && alert_is hook state idle; }
ok '... and is told' wait_for 20 has_taken hook desktop.rename
wait_for 20 idle
json_ok 'list' "$(ctlj alert list)" '.[0] | .name == "hook" and .signed and .enabled and .kind == "webhook" and .backlog == 0
    and .last_error == null and .n_sent >= 2 and (.last_sent_at | length) > 0'
is "$(cat "$state"/catalog.db* | grep -c 'a secret of ours'; ctlj alert list | grep -c 'a secret of ours')" $'0\n0' \
    'the secret is in no catalog and no list'
is "$(stat -c %a "$state"/alert-secrets/*)" 600 '... but in a file of its own'
jq -r 'select(.answer == "ok") | .signature + " " + (.body | @base64)' "$top/hook/log" >"$top/signed"
bad=0 n=0
while read -r signature body; do
    n=$((n + 1))
    ours=sha256=$(base64 -d <<<"$body" | openssl dgst -sha256 -hmac 'a secret of ours' | sed 's/.* //')
    [ "$signature" = "$ours" ] || bad=$((bad + 1))
done <"$top/signed"
is "$bad $((n > 1))" '0 1' 'openssl finds every signature right'
json_ok 'the body' "$(tail -1 "$top/hook/log" | jq '.body | fromjson')" '.alert == "hook" and .n_lost == 0 and (.manager | length == 32)
    and (.events[-1] | .name == "desktop.rename" and .severity == "info" and .object == "d" and .who == "root")'
is "$(tail -1 "$top/hook/log" | jq -r '.path + " " + .type')" '/in?x=1 application/json' 'goes where it was said'
unlike "$(taken hook .name)" 'template' 'only the kinds that were asked for'

# ---- A receiver that fails; the others go on ----

receiver two || exit 1
ok 'a second one' ctl alert add two --webhook "http://127.0.0.1:$port/" --severity info --kind 'desktop.*,alert.*'
wait_for 20 idle
echo hang >"$top/hook/mode"
make_event
hangs() { grep -q '"answer": "hang"' "$top/hook/log"; }
ok 'the first hangs' wait_for 20 hangs
ok '... the second is told all the same' wait_for 4 has_taken two desktop.rename
json_ok 'while the first is' "$(ctlj alert show hook)" '.state != "idle" and .backlog == 2'
echo redirect >"$top/hook/mode"
failing() { field .last_error alert show hook | grep -q "$1"; }
ok 'it gives up after its time' wait_for 20 failing 'redirect, which is not followed'
echo fail >"$top/hook/mode"
ok 'and tries again' wait_for 30 failing 'status 500'
unlike "$(jq -r .path "$top/hook/log")" elsewhere 'a redirect is not followed'
ok 'who fails again and again is told of to the others' wait_for 60 has_taken two alert.failing
for ((i = 0; i < 60; i++)); do make_event; done
json_ok 'what waits' "$(ctlj alert show hook)" '.state == "failing" and .backlog >= 120 and .last_sent_at != null'
before=$(grep -c '"answer": "ok"' "$top/hook/log")

# ---- imaged is killed meanwhile ----

kill -9 "$daemon"
wait "$daemon" 2>/dev/null
daemon=
start_daemon || exit 1
json_ok 'it waits still' "$(ctlj alert show hook)" '.backlog >= 120'
echo ok >"$top/hook/mode"
ok 'the receiver is back, and a test says so' ctl alert test hook
ok 'all comes' wait_for 60 idle
is "$(taken hook | grep -vx 0 | awk '!seen[$1]++' | tr '\n' ' ')" \
    "$(taken hook | grep -vx 0 | awk '!seen[$1]++' | sort -n | tr '\n' ' ')" 'in order'
first=$(taken hook | grep -vx 0 | head -1)
want=$(ctlj event list --kind 'desktop.*,alert.*' --since $((first - 1)) | jq -r 'reverse | .[].id' | tr '\n' ' ')
is "$(taken hook | grep -vx 0 | sort -nu | tr '\n' ' ')" "$want" 'and none is missing'
ok 'many in one' [ $(($(grep -c '"answer": "ok"' "$top/hook/log") - before)) -lt 20 ]
ok 'off' ctl alert set two --off
make_event
json_ok '... tells nothing' "$(ctlj alert show two)" '.state == "off" and (.enabled | not)'
n=$(taken two | wc -l)
ok 'on, without what waits' ctl alert set two --on --skip --kind desktop.create
ctl desktop create f --template win >/dev/null
ok '... tells of what it is now for' wait_for 20 has_taken two desktop.create
is "$(taken two | wc -l)" $((n + 1)) '... alone'
ok 'remove' ctl alert remove two
fails_with 3 'no alert' '... it is gone' ctl alert show two

# ---- TLS ----

receiver good "$top/ca.pem" "$top/ca.key" || exit 1
ok 'https' ctl alert add good --webhook "https://127.0.0.1:$port/"
ok '... is verified with our authority' ctl alert test good
receiver bad "$top/bad.pem" "$top/bad.key" || exit 1
ctl alert add bad --webhook "https://127.0.0.1:$port/" >/dev/null
fails_with 1 'certificate' 'a stranger is not told' ctl alert test bad
is "$(cat "$top/bad/log" 2>/dev/null)" '' '... nothing at all'

# ---- Mail ----

fails_with 2 'no secret' 'mail is not signed' ctl alert set hook --mail a@b --secret-file "$top/secret"
ok 'a webhook becomes mail' ctl alert set hook --mail admin@site.example
is "$(field .signed alert show hook)$(ls "$state/alert-secrets")" false '... and its secret is gone'
ok 'a test' ctl alert test hook
is "$(sort -u "$top/sendmail.args")" '-t -i' 'sendmail gets no address as an argument'
mailed() { grep -lE "^Subject:.*$1" "$top"/mails/*; }
make_event
ok 'events come' wait_for 20 mailed desktop.rename
wait_for 20 idle
stop_daemon
sqlite3 "$state/catalog.db" "INSERT INTO event (time, kind, severity, object, who, message) VALUES
    (1700000000000, 'desktop.stuck', 'alarm', 'x' || char(10) || 'Bcc: victim@example.org' || char(13, 10, 10) || 'body',
     'me' || char(10) || '.', char(10) || '.' || char(10) || 'From: Gr' || char(252) || 'n')"
start_daemon || exit 1
ok 'a hostile one comes, too' wait_for 20 mailed desktop.stuck
/usr/bin/python3 - "$(mailed desktop.stuck | head -1)" >"$top/parsed" <<'PY'
import email, email.policy, sys
m = email.message_from_binary_file(open(sys.argv[1], "rb"), policy=email.policy.default)
print(sorted(m.keys()))
print(m["To"], m["From"], m["Bcc"], m["Auto-Submitted"], len(m.defects))
print(m["Subject"])
print("From: Grün" in m.get_content(), "Bcc: victim" in m.get_content(), m["Date"].datetime is not None)
print(max(len(line) for line in open(sys.argv[1])) < 200)
PY
is "$(sed -n 1p "$top/parsed")" "['Auto-Submitted', 'Content-Transfer-Encoding', 'Content-Type', 'Date', 'From', 'MIME-Version', 'Message-ID', 'Subject', 'To']" \
    'it has our headers alone'
is "$(sed -n 2p "$top/parsed")" 'admin@site.example imaged@site.example None auto-generated 0' 'as we wrote them'
like "$(sed -n 3p "$top/parsed")" '^imaged: alarm: desktop.stuck x.Bcc: victim@example.org' 'what it says is one line'
is "$(sed -n 4,5p "$top/parsed" | tr '\n' ' ')" 'True True True True ' 'the text is text'
echo fail >"$top/mail.mode"
make_event
ok 'a mail system that is down' wait_for 20 failing 'exit code 75: the mail   system is down'
echo hang >"$top/mail.mode"
ok 'one that hangs' wait_for 30 failing 'not take it within 5 s'
n=$(find "$top/mails" -type f | wc -l)
echo ok >"$top/mail.mode"
ok 'it is back' wait_for 60 idle
mails() { [ "$(find "$top/mails" -type f | wc -l)" -ge "$1" ]; }
ok '... with what waited' mails $((n + 1))
echo hang >"$top/mail.mode"
make_event
sending() { alert_is hook state sending; }
ok 'a receiver that hangs' wait_for 20 sending
before=$SECONDS
ok '... does not hold up the end of imaged' stop_daemon
ok '... by more than a moment' [ $((SECONDS - before)) -le 4 ]
done_testing
