#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# search.t: searches over rows that were put into the catalog: against an oracle that knows no SQL, and
# one by one what a user does with them.
. "$(dirname "$0")/lib.sh"

oracle=$here/search_oracle.py

start_daemon
stop_daemon
ok "rows are there" /usr/bin/python3 "$oracle" fill "$state/catalog.db"
# What the oracle does not look at: figures of layers, archives, machines.
ok "and some more" sqlite3 "$state/catalog.db" "
INSERT INTO layer_counts (layer_id, inode, length, mtime_ns, ctime_ns, disk_bytes, data_bytes, zero_bytes, flattened_bytes)
    SELECT layer_id, 1, 1, 1, 1, 5 << 30, 5 << 30, 0, 12 << 30 FROM desktop WHERE name = 'desk-002';
INSERT INTO archive_target (id, name, kind, location, store_id, created_at) VALUES ('t1', 'nas', 'folder', '/nowhere', '', 1);
INSERT INTO archive_point (id, target_id, name, kind, state, desktop_id, version_id, manifest, bytes, new_bytes, created_at)
    SELECT 'p1', 't1', 'desk-004', 'desktop', 'ok', id, version_id, '', 10, 10, unixepoch() * 1000 - 3600000 FROM desktop WHERE name = 'desk-004';
INSERT INTO archive_point (id, target_id, name, kind, state, desktop_id, version_id, manifest, bytes, new_bytes, created_at)
    SELECT 'p2', 't1', 'desk-006', 'desktop', 'damaged', id, version_id, '', 10, 10, 1 FROM desktop WHERE name = 'desk-006';
INSERT INTO network (id, name, kind, bridge, vlan, created_at) VALUES ('n1', 'lab', 'bridge', 'br0', 20, 1), ('n2', 'office', 'isolated', NULL, NULL, 1);
UPDATE version SET hardware = '{\"networks\": [\"office\"], \"usb\": \"none\"}' WHERE version = 2;
UPDATE desktop SET hardware = '{\"networks\": [\"lab\"], \"clipboard\": false, \"cpus\": 16}' WHERE name IN ('desk-002', 'desk-008');
UPDATE desktop SET hardware = 'torn' WHERE name = 'desk-004';"
start_daemon

said=$(/usr/bin/python3 "$oracle" ask "$state/catalog.db" "$state/imaged.sock" "${SEARCHES:-400}" 3)
is $? 0 "random searches find what a look at every row finds" || diag "$said"
diag "$(tail -n 1 <<<"$said")"

names() { ctlj search "$@" | jq -c 'map(.name)'; }

# The issue's own two, as they stand.
json_ok "three cross references" \
    "$(ctlj search 'Vms: user.username = *John* AND template.name = *xp* AND Apps = *office*')" 'type == "array"'
json_ok "a live figure and a host" "$(ctlj search 'Vms: CPU_Usage > 90 AND Hosts.Name = vs-a')" '. == []'
is "$(names 'Vms: host = vs-a SORTBY name LIMIT 2')" "$(names 'desktops: HOSTS.NAME = VS-A sortby NAME limit 2')" \
    "case does not count"
isnt "$(names 'Vms: host = vs-a')" '[]' "... and there are some"

json_ok "sorted by several keys" "$(ctlj search 'Vms: SORTBY generation DESC, name LIMIT 50')" \
    '. == sort_by(-.generation, (.name | ascii_downcase))'
json_ok "pages do not overlap" \
    "$(jq -s 'add' <(ctlj search 'Vms: LIMIT 7') <(ctlj search 'Vms: LIMIT 7 PAGE 2'))" \
    'length == 14 and (map(.id) | unique | length == 14)'
like "$(ctl search 'Vms: LIMIT 7' 2>&1 >/dev/null)" 'PAGE 2' "that there are more is told"
n=$(ctl search 'Vms: COUNT')
is "$n" "$(ctlj search 'Vms: LIMIT 1000' | jq length)" "COUNT counts"
is "$(ctlj search 'Vms: GROUP BY template' | jq 'map(.count) | add')" "$n" "GROUP BY: each is in one group"
is "$(ctlj search 'Vms: GROUP BY status' | jq 'map(.count) | add')" "$n" "... of a field of its own"
json_ok "... of what has several" "$(ctlj search 'Vms: GROUP BY user.groups')" 'length == 7 and any(.[]; .value == null)'
json_ok "fields are chosen" "$(ctlj search 'Vms: LIMIT 1' --fields name,user.email,host)" \
    '.[0] | keys == ["host", "name", "user.email"]'
like "$(ctl search 'Vms: LIMIT 1')" '^NAME +VERSION' "a table has a heading"
like "$(ctl -o csv search 'Vms: LIMIT 1' | head -n 1)" '^name,id,version' "csv has one, too"
json_ok "free text, of what it belongs to as well" "$(ctlj search 'lab winxp')" 'length > 0 and all(.[]; .template == "winxp")'
json_ok "of events" "$(ctlj search 'Events: störung LIMIT 500')" 'length == 75'
json_ok "times" "$(ctlj search 'Events: time > now-1h and time <= today LIMIT 1000')" 'length > 0'
is "$(ctl search 'Events: time > now+1h COUNT')" 0 "... that are to come"

fails_with 2 "column 6: desktops have no field 'nmae'" "an unknown field" ctl search 'Vms: nmae = x'
like "$(ctl search 'Vms: nmae = x' 2>&1)" "did you mean 'name'" "... with what was meant"
fails_with 2 "column 6: desktops have no field 'username'" "a field of something else" ctl search 'Vms: username = x'
like "$(ctl search 'Vms: username = x' 2>&1)" "user.name" "... with where it is"
fails_with 2 "column 8: 'x' is not a size" "a wrong value" ctl search 'size > x'
fails_with 2 "nothing called 'Wms'" "a wrong object" ctl search 'Wms: name = x'
fails_with 2 "can only be compared" "no order of patterns" ctl search 'name > a*'

# The image world, and machines: each against the rows themselves
among() # CONDITION SQL: the desktops of both are the same, and there are some
{
    local wanted
    wanted=$(sqlite3 "$state/catalog.db" "SELECT coalesce(json_group_array(name), '[]') FROM (SELECT d.name FROM desktop d
        WHERE d.is_trashed = 0 AND ($2) ORDER BY d.name COLLATE NOCASE)")
    isnt "$wanted" '[]' "there are some: $1"
    is "$(names "Vms: $1 LIMIT 1000")" "$wanted" "$1"
}
among 'diff_size > 4G AND diff_size <= 5G' "d.name = 'desk-002'"
among 'saved_bytes = 7G' "d.name = 'desk-002'"
among 'chain_depth = 2' "d.layer_id IN (SELECT id FROM layer WHERE parent_id IS NOT NULL)"
among 'version = 2 AND generation IN (1, 3)' "d.version_id IN (SELECT id FROM version WHERE version = 2) AND d.generation IN (1, 3)"
among 'last_archive > now-2h' "d.name = 'desk-004'"
among 'last_archive IS NONE' "d.name <> 'desk-004'"
among 'archives.state = damaged' "d.name = 'desk-006'"
among 'snapshot.age > 30d' "d.id IN (SELECT desktop_id FROM snapshot WHERE is_trashed = 0 AND created_at < unixepoch() * 1000 - 30 * 86400000)"
among 'n_snapshots >= 2' "(SELECT count(*) FROM snapshot n WHERE n.desktop_id = d.id AND n.is_trashed = 0) >= 2"
among 'orphan = yes' "d.id NOT IN (SELECT desktop_id FROM assignment UNION SELECT desktop_id FROM pool_desktop) AND NOT EXISTS
    (SELECT 1 FROM user u WHERE d.owner <> '' AND u.name_key = d.owner COLLATE NOCASE)"
among 'network = lab' "d.name IN ('desk-002', 'desk-008')"
among 'network.vlan = 20 AND cpus > 8' "d.name IN ('desk-002', 'desk-008')"
among 'network = office' "d.version_id IN (SELECT id FROM version WHERE version = 2) AND d.name NOT IN ('desk-002', 'desk-008')"
among 'network IS NONE' "d.version_id IN (SELECT id FROM version WHERE version = 1) AND d.name NOT IN ('desk-002', 'desk-008')"
among 'clipboard = no' "d.name IN ('desk-002', 'desk-008')"
among 'usb = none' "d.version_id IN (SELECT id FROM version WHERE version = 2)"
among 'mac = 52:54:00:00:00:0?' "d.mac LIKE '52:54:00:00:00:0%'"
is "$(ctl search 'Networks: desktops.name = desk-002')" "$(ctl search 'Networks: name = lab')" "networks, by what is plugged in"
is "$(ctl search 'Vms: ip = 10.* COUNT')" 0 "no address is known of what does not run"
is "$(ctl search 'Layers: orphan = yes AND state = frozen COUNT')" 0 "no version's layer is an orphan"
is "$(ctl search 'Archives: orphan = no COUNT')" 2 "nor are archives of desktops"

# Saved ones
ok "save" ctl search save running-a 'Vms: status = running AND host = vs-a SORTBY name DESC'
is "$(names @running-a)" "$(names 'Vms: status = running AND host = vs-a SORTBY name DESC')" "use"
is "$(names 'vms: @running-a AND generation = 0 SORTBY name')" \
    "$(names 'status = running AND host = vs-a AND generation = 0 sortby name')" "... in another"
fails_with 1 "another saved search" "a name that is taken" ctl search save Running-A 'Vms: name = x'
ok "... but for --replace" ctl search save running-a 'Vms: host = vs-a' --replace
fails_with 2 "column 1: " "one that is wrong" ctl search save bad 'nmae = 3'
fails_with 2 "names itself" "one that names itself" ctl search save loop 'a and @loop'
fails_with 2 "search for desktops, not for users" "in another object" ctl search 'Users: @running-a'
json_ok "list" "$(ctlj search list)" 'map(.name) == ["running-a"]'
ok "delete" ctl search delete running-a
fails_with 3 "no saved search" "it is gone" ctl search @running-a

# Completion
like "$(ctl search --complete 'Vms: user.na')" '^user.name$' "completion of a field"
like "$(ctl search --complete 'Vms: na = x' --cursor 7)" '^name$' "... at the cursor"

like "$(ctl search --complete 'Vms: host = vs-')" '^vs-b$' "completion of a value"
is "$(ctl search --complete 'Vms: template = WIN' | tr '\n' ' ')" 'win10 winxp ' "... in any case"
is "$(ctl search --complete 'Users: name = "anna b' | head -n 1)" '"anna b13"' "... in quotes where it must be"
is "$(ctl search --complete 'Vms: status = ' | tr '\n' ' ')" 'off paused running ' "... all that there are"
is "$(ctl search --complete 'Vms: user.name = ' | wc -l)" 40 "... of what hangs on it"
is "$(ctl search --complete --whole 'Vms: name = x AND poo' | head -n 1)" 'Vms: name = x AND pool' "... or the whole text"
ctl completion bash >"$top/completion"
tab() # WORD...: what bash offers behind these
{
    bash -c '. "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
        _imagectl; printf "%s\n" "${COMPREPLY[@]}"' - "$top/completion" "$BUILD/imagectl" --state "$state" "$@" 2>/dev/null
}
is "$(tab search "'Vms: status = run")" 'Vms: status = running' "bash completes a quoted search"
is "$(tab search Vms : status = run)" 'running' "... and a bare one"
is "$(tab desktop stop --search "'host = vs-e AND templ")" 'host = vs-e AND template' "... behind --search"
is "$(tab host list --search "'mainte")" 'maintenance' "... of what is listed"
is "$(tab host maintenance --search "'mainte")" '' "... desktops where names are taken"

# Where names are taken
ok "set by a search" ctl desktop set --search 'name = DESK-002' --hostname here
fails_with 3 'finds nothing' "a search that finds nothing" ctl desktop delete --yes --search 'name = nosuch'
fails_with 2 'give only one' "names and a search" ctl desktop delete --yes desk-002 --search 'name = x'
json_ok "what would be deleted" "$(ctlj desktop delete --search 'name = desk-002' --dry-run)" \
    '[.. | .name? // empty] | index("desk-002") != null'
post /v1/desktops/delete '{"search": "name = a", "names": ["b"]}' >/dev/null
is "$(http_code)" 400 "... nor both by the API"

# ... one at a time
ok "users by a search" ctl user set --yes --search 'name = john*' --max-desktops 7
is "$(sqlite3 "$state/catalog.db" "SELECT count(*) FROM quota WHERE n_desktops = 7")" 5 "... each of them"
fails_with 2 "nobody can be asked 'user set: 5 users.'" "the question has their number" ctl user set --search 'name = john*' --max-desktops 8
ok "into a group by a search" ctl group add-member Group-0 --yes --search 'name = mary*'
is "$(ctl search 'Users: name = mary* AND groups = Group-0 COUNT')" 5 "... all at once"
json_ok "as one array" "$(ctlj user set --yes --search 'name = john*' --max-desktops 7)" \
    'length == 5 and all(.[]; .max_desktops == 7)'
json_ok "... of those that are shown" "$(ctlj host show --search 'desktops.template = winxp')" 'length > 1 and all(.[]; .name)'
json_ok "... be it one" "$(ctlj group show --search 'name = Group-0')" 'map(.name) == ["Group-0"]'
json_ok "... and what was done where something fails" \
    "$(ctlj pool resize --yes --search 'name = floor' 99999999 2>/dev/null)" 'type == "array"'
is "$(ctl desktop show --search 'name IN (desk-002, desk-004)' | grep -c '^NAME\|^name')" 2 "... to people, too"
john=$(ctlj search 'Users: name = john* LIMIT 1' | jq -r '.[0].name')
ok "tokens" eval 'for i in 1 2 3; do ctl token create zz-$i --user "$john" || exit 1; done'
fails_with 2 "token revoke: 3 tokens" "... by their words, after a question" ctl token revoke --search zz-
ok "... are revoked" ctl token revoke --yes --search zz-
is "$(ctlj token list --search zz- | jq length)" 0 "... all of them"
fails_with 2 "not for conditions" "... not by conditions" ctl token revoke --yes --search 'name = zz-1'
fails_with 3 "finds nothing" "what is in the trash" ctl trash empty --yes --search no-such-thing
ok "hosts" ctl host maintenance --yes --search 'desktops.template = winxp'
is "$(ctl search 'Hosts: desktops.template = winxp AND maintenance = no COUNT')" 0 "... are in maintenance"
ok "versions" ctl template retire --yes --search 'Versions: template = rhel AND version = 1'
is "$(ctl search 'Versions: state = retired COUNT')" 1 "... one of them"
fails_with 3 "finds nothing" "sessions that have ended are not ended again" ctl session end --yes --search 'user = li*'
fails_with 2 "the search is empty" "an empty search is not all there are" ctl user delete --yes --search ' '
fails_with 3 "no desktop 'desk-002' in the pool" "what fails is told by its name" ctl pool return floor --yes --search 'name = desk-002'
fails_with 2 "only hosts can be searched" "another object" ctl host remove --yes --search 'Users: name = x'
fails_with 2 "select nothing" "COUNT selects nothing" ctl host remove --yes --search 'COUNT'
fails_with 3 "finds nothing" "nor what is not there" ctl job cancel --yes --search 'kind = nosuch'
fails_with 2 "column 1: " "mistakes have their column" ctl job cancel --yes --search 'knd = x'

# Lists
is "$(ctlj desktop list --search 'host = vs-a' | jq -c 'map(.name)')" \
    "$(ctlj desktop list | jq -c 'map(select(.host == "vs-a") | .name)')" "a list with a condition"
json_ok "... in its order" "$(ctlj desktop list --search 'SORTBY generation DESC, name')" \
    '(length == '"$n"') and . == sort_by(-.generation, (.name | ascii_downcase))'
json_ok "of hosts" "$(ctlj host list --search 'desktops.template = winxp')" 'length > 0'
json_ok "of events" "$(ctlj event list --search 'kind = job.end' --limit 5)" 'length == 5 and all(.[]; .name == "job.end")'
json_ok "of snapshots" "$(ctlj snapshot list --search 'description = *update* AND age > 3d')" 'length > 0'
fails_with 2 "only hosts can be searched" "another object in a list" ctl host list --search 'Users: name = x'

# Hostile
long=$(head -c 9000 /dev/zero | tr '\0' x)
fails_with 2 "at most" "a search that is too long" ctl search "$long"
fails_with 2 "nested" "one that is too deep" ctl search "$(printf '(%.0s' {1..100})"
json_ok "many stars" "$(ctlj search 'Events: message = *d*d*d*d*d*d*d*d*d*z OR message = *a*a*a*a*a*a*b LIMIT 5')" 'type == "array"'
fails_with 2 "LIMIT wants a number from 1 to 100000" "a page without end" ctl search 'Vms: LIMIT 100001'
json_ok "quotes and signs are no SQL" "$(ctlj search "name = \"x' OR 1=1 --\"")" '. == []'
json_ok "... nor in events" "$(ctlj search "Events: '\"it\"' LIMIT 500")" 'length == 75'
json_ok "percent signs and underscores are themselves" "$(ctlj search 'Events: message = 100%* LIMIT 500')" 'length == 75'
is "$(ctl search 'name = desk_00* COUNT')" 0 "... in prefixes, too"

# What others may see: three accounts of this machine are users
for name in games mail news; do ok "$name is a user" ctl user add $name; done
ok "a helpdesk of one template" ctl role grant helpdesk mail --template winxp
ok "an auditor" ctl role grant auditor news
ok "in a group" ctl group add-member Group-2 games mail
stop_daemon
sqlite3 "$state/catalog.db" "
INSERT INTO assignment (desktop_id, user_id, is_owner, may_take_over, created_at) SELECT d.id, u.id, 0, 0, 1
    FROM desktop d, user u WHERE u.name = 'games' AND d.name IN ('desk-006', 'Lab-001', 'desk-030', 'desk-018', 'desk-022');
INSERT INTO pool_grant (pool_id, subject_kind, subject_id, created_at) SELECT p.id, 'user', u.id, 1 FROM pool p, user u WHERE u.name = 'games';
UPDATE session SET user_id = (SELECT id FROM user WHERE name = 'games') WHERE id = (SELECT min(id) FROM session);
UPDATE event SET object = 'desk-006', time = (SELECT max(time) FROM event) WHERE id % 40 = 1;"
start_daemon
chmod 755 "$top"
chmod 666 "$state/imaged.sock"
said=$(/usr/bin/python3 "$here/search_eyes.py" "$state/imaged.sock" "$state/catalog.db")
is $? 0 "nobody finds, counts or is offered what he does not see" || diag "$said"
diag "$(tail -n 1 <<<"$said")"

# Saved ones are whose they are
as() { local name=$1; shift; setpriv --reuid="$name" --clear-groups --regid="$(id -g "$name")" "$BUILD/imagectl" --state "$state" "$@"; }
ok "his own" as games search save mine 'Vms: name = desk*'
is "$(as games search @mine COUNT)" 4 "... finds what he sees"
fails_with 3 "no saved search 'mine'" "another has it not" as mail search @mine
fails_with 3 "no saved search 'mine'" "nor root" ctl search @mine
fails_with 3 "no saved search 'mine'" "nor deletes it" as mail search delete mine
fails_with 5 "search.share" "for all needs a permission" as games search save all 'Vms: name = x' --shared
ok "for all" ctl search save all 'Vms: name = desk*'
ok "his own goes before" as games search save all 'Vms: name = Lab*'
is "$(as games search @all COUNT)" 1 "... for him"
is "$(as mail search @all COUNT)" "$(as mail search 'Vms: name = desk* COUNT')" "others have everybody's"
fails_with 5 "search.share" "and don't delete it" as mail search delete all
is "$(as mail search list -o json | jq -c 'map(.name)')" '["all"]' "the list has no others' "
is "$(as games search --complete @ | tr '\n' ' ')" '@all @all @mine ' "nor are they completed"

stop_daemon
done_testing
