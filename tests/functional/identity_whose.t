# Whose a password is: no user and no domain is given another's, on whichever level one of them is
# changed; and who changes it is told so.  The config disk is read by xorriso.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

start_daemon || exit 1
make_raw "$top/deb.raw" 16M 0 0x11 1M
ctl template import deb "$top/deb.raw" --format raw --os 'Debian 12' >/dev/null
ctl desktop create d1 d2 --template deb >/dev/null
echo "alice's" >"$top/alice"
echo "joiner's" >"$top/join"
: >"$top/empty"

# conf NAME: its imaged.conf
conf()
{
    local path
    path=$(ctl desktop config-disk "$1") || return
    xorriso -osirrox on -indev "$path" -read_fs norock -extract /imaged.conf "$top/read.conf" >/dev/null 2>&1
    cat "$top/read.conf"
    rm -f "$top/read.conf"
}
identity() { ctlj template show "${1:-deb}" | jq -c '.versions[-1].identity'; }

# ---- Users ----
ctl template set deb --user alice --user-password-file "$top/alice" >/dev/null
like "$(conf d1)" "PASSWORD_HASH='\\\$y\\\$" "alice has her password"
said=$(ctl desktop set d1 --user Bob 2>&1)
like "$said" "warning: 'd1': '--user-password-file' of the template does not count here: it is for 'alice'" \
    "a desktop's own user is not given the template's password, and that is told"
bobs=$(conf d1)
like "$bobs" "^IMAGED_USER='Bob'$" "Bob is the desktop's user"
unlike "$bobs" 'PASSWORD' "... without alice's password"
like "$(conf d2)" "PASSWORD_HASH='\\\$y\\\$" "alice has it on the other desktop"

said=$(ctl template set deb --auto-login bob 2>&1)
like "$said" "warning: 'deb:1': '--user-password-file' was dropped: it was for 'alice'" "the template's next user: told"
is "$(identity)" '{"auto_login":true,"user":"bob"}' "... has no password of hers"
unlike "$(conf d2)" 'PASSWORD' "... nor on a config disk"
json_ok "the answer tells it, too" \
    "$(ctl template set deb --user alice --user-password-file "$top/alice" >/dev/null
       ctlj template set deb --user bob 2>/dev/null)" '.warnings | length == 1'

# A desktop's password for the template's user, when that one changes.
ctl template set deb --user alice >/dev/null
ctl desktop set d2 --user-password-file "$top/alice" >/dev/null
like "$(conf d2)" "PASSWORD_HASH='\\\$y\\\$" "a desktop's password for the template's user"
ctl template set deb --user carl >/dev/null
like "$(conf d2)" "^IMAGED_USER='carl'$" "another user of the template"
unlike "$(conf d2)" 'PASSWORD' "... is not given it"

fails_with 2 "without a '--user'" "a password for nobody" \
    ctl desktop set d1 --unset user --user '' --user-password-file "$top/alice"
fails_with 2 "'--user-password-file' is empty" "an empty file" \
    ctl desktop set d1 --user-password-file "$top/empty"

# ---- Domains ----
said=$(ctl template set deb --domain ad.example.org --join-user joiner 2>&1)
like "$said" "nothing will join 'ad.example.org'" "a joining user without a password: told"
said=$(ctl template set deb --join-password-file "$top/join" 2>&1)
unlike "$said" 'warning' "with one: fine"
like "$(conf d2)" "JOIN_PASSWORD='joiner'" "it joins"
shown=$(ctl template show deb:1)
like "$shown" '^USER +carl$' "a table shows what was set"
like "$shown" '^AUTO-LOGIN +no$' "... log-in"
like "$shown" '^DOMAIN +ad.example.org$' "... domain"
like "$shown" '^JOIN PASSWORD +set$' "... that there is a password"
unlike "$shown" "joiner's" "... and not which"
fails_with 2 'two ways to join' "both passwords" ctl template set deb \
    --join-password-file "$top/join" --one-time-password-file "$top/join"
said=$(ctl desktop set d1 d2 --domain other.example.org 2>&1)
like "$said" "'d1' and 1 more: '--join-password-file' of the template" "another domain: told, once"
is "$(grep -c "join-password-file" <<<"$said")" 1 "... once"
unlike "$(conf d2)" 'JOIN|joiner' "... and it is told neither who joins the former one nor how"
said=$(ctl template set deb --domain third.example.org 2>&1)
like "$said" "'--join-password-file' was dropped: it was for 'joiner@ad.example.org'" "the template's domain"
is "$(identity)" '{"auto_login":false,"domain":"third.example.org","user":"carl"}' "... goes without the former's"
ctl template set deb --one-time-password-file "$top/join" >/dev/null
said=$(ctl template set deb --join-password-file "$top/join" 2>&1)
like "$said" "'--one-time-password-file' counts no more" "the other way to join takes its place"

# ---- A draft becomes a version: it is told a host name, and nothing else ----
ctl template edit deb --name draft >/dev/null
like "$(conf d2)" "IMAGED_USER='carl'" "the template's desktops have a user"
is "$(conf draft | sed "s/'.*//; /^#/d" | xargs)" 'IMAGED_INSTANCE= IMAGED_HOSTNAME= IMAGED_COMPUTER_NAME=' "its draft has none"
json_ok "... and says so" "$(ctlj desktop show draft)" '.hostname == "draft" and .identity == {}'
like "$(ctl desktop set draft --hostname golden --user eve 2>&1)" "'draft': it is a draft" "what it is told is in vain: told"
like "$(conf draft)" "HOSTNAME='golden'" "... but for the host name"
unlike "$(conf draft)" 'eve|carl|DOMAIN' "... alone"

# ---- What was dropped goes the usual way ----
is "$(sqlite3 "$state/catalog.db" "SELECT group_concat(j.key) FROM (SELECT identity FROM version UNION ALL
    SELECT identity FROM desktop) r, json_each(r.identity) j WHERE j.key GLOB '*password'")" join_password \
    "one secret is named"
find "$state/secrets" -type f -exec touch -d '2 hours ago' {} +
n=$(find "$state/secrets" -maxdepth 1 -type f | wc -l)
stop_daemon
start_daemon
is_kept() { [ "$(find "$state/secrets" -maxdepth 1 -type f | wc -l)" = "$1" ]; }
ok "what is not named any more is put away" wait_for 10 is_kept 1
is "$(find "$state/secrets/unused" -type f | wc -l)" $((n - 1)) "... and kept there"
ok "the store is as it should be" check_is_clean
done_testing
