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

# Where names are taken
ok "set by a search" ctl desktop set --search 'name = DESK-002' --hostname here
fails_with 3 'finds nothing' "a search that finds nothing" ctl desktop delete --yes --search 'name = nosuch'
fails_with 2 'give only one' "names and a search" ctl desktop delete --yes desk-002 --search 'name = x'
json_ok "what would be deleted" "$(ctlj desktop delete --search 'name = desk-002' --dry-run)" \
    '[.. | .name? // empty] | index("desk-002") != null'
post /v1/desktops/delete '{"search": "name = a", "names": ["b"]}' >/dev/null
is "$(http_code)" 400 "... nor both by the API"

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
json_ok "quotes and signs are no SQL" "$(ctlj search "name = \"x' OR 1=1 --\"")" '. == []'
json_ok "... nor in events" "$(ctlj search "Events: '\"it\"' LIMIT 500")" 'length == 75'
json_ok "percent signs and underscores are themselves" "$(ctlj search 'Events: message = 100%* LIMIT 500')" 'length == 75'
is "$(ctl search 'name = desk_00* COUNT')" 0 "... in prefixes, too"

stop_daemon
done_testing
