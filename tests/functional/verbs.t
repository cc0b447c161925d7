#!/bin/bash
# verbs.t: every verb as a user would use it: what it does, the shape of its JSON, its exit codes.
. "$(dirname "$0")/lib.sh"

T='test("^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]+)?Z$")'
named='all(.[]; (.id | type == "string" and length > 0) and (.name | type == "string" and length > 0))'
hex32='test("^[0-9a-f]{32}$")'

fails_with 1 'cannot|no daemon|connect' 'without a daemon every verb fails, and says so' ctl template list
ok 'the daemon starts on an empty folder and says ready' start_daemon

# ---- nothing there yet ----

is "$(ctlj template list)" '[]' 'an empty list is an empty array'
is "$(ctlj desktop list)" '[]' 'no desktops'
is "$(ctlj trash list)" '[]' 'no trash'
json_ok 'status' "$(ctlj status)" '.state == "ready" and .n_desktops == 0 and .expiry == "on"
    and (.id | '"$hex32"') and .name == "imaged" and .reason == null and (.started_at | '"$T"')'

# ---- template import ----

make_raw "$top/a.raw" 64M 0 0x11 1M 32M 0x22 1M
make_raw "$top/b.raw" 64M 0 0x33 2M
said=$(ctlj template import win "$top/a.raw" --format raw --cpus 4 --memory 3G --os 'Windows 11' \
    --description 'the class room')
json_ok 'import prints the version' "$said" '.name == "win:1" and .template == "win" and .version == 1
    and .cpus == 4 and .memory_bytes == 3221225472 and .os == "Windows 11" and .state == "published"
    and .description == "the class room" and .virtual_size == 67108864 and .n_desktops == 0
    and .stores == ["default"] and (.layer | '"$hex32"') and (.id | '"$hex32"')
    and (.created_at | '"$T"') and (.checksum | length > 0) and .disk_bytes < 4194304'
ok 'QEMU reads the same bytes from the layer' \
    qemu-img compare -q -f raw -F qcow2 "$top/a.raw" "$(template_path win)"
like "$(ctl template import win "$top/b.raw" --format raw)" 'win:2' 'import into the same name makes version 2'
fails_with 2 'format' '--format is mandatory for a file' ctl template import x "$top/a.raw"
fails_with 2 'raw\|qcow2' 'an unknown format is refused' ctl template import x "$top/a.raw" --format iso
fails_with '[13]' 'nosuch' 'a source that is not there' ctl template import x "$top/nosuch" --format raw
fails_with 2 'needs NAME SOURCE' 'import wants two arguments' ctl template import x

json_ok 'template list' "$(ctlj template list)" 'type == "array" and length == 1 and '"$named"'
    and .[0].name == "win" and .[0].n_versions == 2 and .[0].latest == 2 and .[0].n_desktops == 0
    and (.[0].virtual_size | type == "number") and (.[0].created_at | '"$T"')'
json_ok 'template show' "$(ctlj template show win)" 'type == "object" and .name == "win"
    and (.versions | length == 2) and (.versions | '"$named"')'
json_ok 'template versions' "$(ctlj template versions win)" \
    'type == "array" and map(.version) == [1, 2] and map(.name) == ["win:1", "win:2"]'
fails_with 3 "no template" 'a template that is not there' ctl template show nosuch
fails_with 3 "no template" 'nor its versions' ctl template versions nosuch

# ---- desktop create ----

said=$(ctlj desktop create alice --template win --owner ann)
json_ok 'creating one prints it' "$said" '.name == "alice" and .owner == "ann" and .template == "win"
    and .version == 2 and .generation == 1 and .store == "default" and .state == "ok"
    and .virtual_size == 67108864 and .live == false and .undo_available == false
    and (.mac | test("^[0-9a-f][26ae](:[0-9a-f]{2}){5}$")) and (.uuid | length == 36)
    and (.created_at | '"$T"') and (.disk_bytes | type == "number") and (.id | '"$hex32"')'
is "$(path_of alice)" "$store/layers/$(jq -r .layer <<<"$said")" 'path is the layer below the store'
json_ok 'path as JSON' "$(ctlj desktop path alice)" '.name == "alice" and .id != null and (.path | startswith("/"))'
ok 'qemu-img check likes it' qemu-img check -q "$(path_of alice)"
said=$(ctlj desktop create bob carol --template win:1)
json_ok 'creating several prints what became of each' "$said" '.n_done == 2 and .n_failed == 0
    and (.items | map(.name) | sort) == ["bob", "carol"] and all(.items[]; .ok)'
is "$(field .version desktop show bob)" 1 'NAME:VERSION is the version'
like "$(ctl desktop create --prefix lab --count 12 --template win)" 'created 12 desktops' 'a batch by prefix'
is "$(ctlj desktop list --prefix lab | jq -r 'map(.name) | join(" ")')" \
    "$(seq -f lab-%03g -s ' ' 12)" 'its names are numbered'
like "$(ctl desktop create --prefix lab --count 2 --template win)" 'created 2' 'the next batch of the same prefix'
is "$(ctlj desktop list --prefix lab- | jq -r '.[-1].name')" lab-014 '... goes on counting'
fails_with 1 "'alice' is taken" 'a name that is taken' ctl desktop create alice --template win
fails_with 1 "'win' is taken" 'a template has that name' ctl desktop create win --template win
said=$(ctlj desktop create dave alice --template win 2>"$top/err")
is $? 1 'a batch that failed in part exits 1'
json_ok '... does the rest' "$said" '.n_done == 1 and .n_failed == 1
    and (.items[] | select(.name == "alice") | .ok == false and .error.code == "exists")'
like "$(cat "$top/err")" "alice.* taken" '... and says why'
fails_with 3 'template' 'create from a template that is not there' ctl desktop create x --template nosuch
fails_with 3 'version' 'create from a version that is not there' ctl desktop create x --template win:9
fails_with 2 'template is missing' 'create wants a template' ctl desktop create x
fails_with 2 'either names' 'create wants names, or a prefix and a count' ctl desktop create --template win
fails_with 2 'either names' '... not both' ctl desktop create x --prefix y --count 2 --template win
fails_with 3 'store' 'create in a store that is not there' ctl desktop create x --template win --store nosuch

json_ok 'desktop list' "$(ctlj desktop list)" 'type == "array" and length == 18 and '"$named"'
    and (map(.name) | . == sort) and all(.[]; (.id | '"$hex32"') and (.generation | type == "number")
    and (.changed_at | '"$T"'))'
fails_with 3 "no template 'nix'" 'desktop list of a template that is not there' ctl desktop list --template nix
fails_with 3 "no template" '... nor its version' ctl desktop list --template win:9
fails_with 3 "no user 'nix'" 'session list of a user who is not there' ctl session list --user nix
fails_with 3 "no desktop 'nix'" '... of a desktop' ctl session list --desktop nix
json_ok 'desktop list of a template version' "$(ctlj desktop list --template win:1)" 'map(.name) == ["bob", "carol"]'
json_ok 'search takes words, of any field' "$(ctlj desktop list --search 'ANN ali')" 'map(.name) == ["alice"]'
json_ok '... or conditions' "$(ctlj desktop list --search 'name = AL*e and template = win')" 'map(.name) == ["alice"]'
json_ok '... which may ask for applications' "$(ctlj desktop list --search 'Apps = *office*')" '. == []'
fails_with 2 "no field 'a'" '... but not for fields that are not there' ctl desktop list --search 'a=b'
http GET '/v1/desktops?search=Apps%20%3D' >/dev/null
is "$(http_code)" 400 '... nor does the API take half of a condition'
like "$(ctl -o csv desktop list --template win:1 | head -1)" '^name,id,' 'csv has a header'
is "$(ctl -o csv desktop list --template win:1 | wc -l)" 3 '... and a line for each'
like "$(ctl desktop list)" '^NAME +TEMPLATE' 'a table has a heading'
unlike "$(ctl desktop list)" $'\033' 'no colour in a pipe'
fails_with 3 "no desktop|no such desktop" 'a desktop that is not there' ctl desktop show nosuch
fails_with 3 "no desktop|no such desktop" '... nor has it a path' ctl desktop path nosuch

# ---- rename ----

before=$(ctlj desktop show dave)
ok 'desktop rename' ctl desktop rename dave david
after=$(ctlj desktop show david)
is "$(jq -c '[.id, .mac, .uuid, .layer, .owner]' <<<"$after")" \
    "$(jq -c '[.id, .mac, .uuid, .layer, .owner]' <<<"$before")" 'a renamed desktop is the same desktop'
fails_with 3 dave 'its old name is gone' ctl desktop show dave
fails_with 1 taken 'rename to a name that is taken' ctl desktop rename david alice
fails_with 2 name 'rename to a name that is none' ctl desktop rename david a/b

# ---- reset and undo ----

id=$(field .id desktop show alice)
mark alice 0x41
fails_with 2 '--yes' 'reset without a terminal is refused and names --yes' ctl desktop reset alice
fails_with 2 '--yes' '... so is delete' ctl desktop delete alice
fails_with 2 '--yes' '... undo-reset' ctl desktop undo-reset alice
fails_with 2 '--yes' '... trash empty' ctl trash empty
fails_with 2 '--yes' '... template delete' ctl template delete win
fails_with 2 '--yes' '... store remove' ctl store remove default
ok '... and nothing was done' has alice 0x41

files=$(store_files)
dry=$(ctlj desktop reset alice --dry-run)
json_ok 'reset --dry-run tells what the trash will hold' "$dry" '.dry_run == true and .freed_now_bytes == 0
    and .freed_later_bytes >= 65536 and .freed_later_bytes < 2097152 and (.objects | length == 1)
    and .objects[0].name == "alice" and .objects[0].ok and (.breaks | length == 1)'
is "$(jq .freed_later_bytes <<<"$dry")" $(($(stat -c %b "$(path_of alice)") * 512)) '... the very blocks'
json_ok 'delete --dry-run' "$(ctlj desktop delete --all-of-prefix lab --dry-run)" '.objects | length == 14'
json_ok 'undo --dry-run where nothing can be undone' "$(ctlj desktop undo-reset alice --dry-run)" \
    '.objects[0].ok == false'
is "$(store_files)" "$files" '... and none of them touched a file'
is "$(field .generation desktop show alice)" 1 '... nor a generation'

ok 'reset' ctl desktop reset alice --yes
is "$(field .generation desktop show alice)" 2 'the generation went up'
is "$(field .id desktop show alice)" "$id" 'the identity stays'
is "$(field .undo_available desktop show alice)" true 'it can be undone'
not_ok 'the mark is gone' has alice 0x41
ok 'what the guest sees is the template' qemu-img compare -q -U "$(path_of alice)" "$(template_path win)"
mark alice 0x42
ok 'reset again' ctl desktop reset alice --yes
mark alice 0x43
ok 'undo' ctl desktop undo-reset alice --yes
ok 'the second disk is back' has alice 0x42
ok 'undo again' ctl desktop undo-reset alice --yes
ok 'the first disk is back' has alice 0x41
is "$(field .generation desktop show alice)" 5 'each of the four gave a new generation'
fails_with '[123]' 'no reset' 'a third undo has nothing to undo' ctl desktop undo-reset alice --yes
ok '... and leaves the disk alone' has alice 0x41

ok 'reset --to another version' ctl desktop reset alice --to 1 --yes
is "$(field .version desktop show alice)" 1 'it stands on version 1'
ok 'QEMU sees version 1' qemu-img compare -q -f qcow2 -F raw "$(path_of alice)" "$top/a.raw"
ok 'undo brings back the version as well' ctl desktop undo-reset alice --yes
is "$(field .version desktop show alice)" 2 '... version 2'
ok '... with the mark' has alice 0x41
fails_with 3 version 'reset to a version that is not there' ctl desktop reset alice --to 9 --yes
like "$(ctl desktop reset --all-of-prefix lab --yes)" 'reset 14 desktops' 'reset --all-of-prefix'
like "$(ctl desktop reset --template win:1 --yes)" 'reset 2 desktops' 'reset --template NAME:VERSION'
fails_with 2 'only one' 'names and a prefix together are refused' ctl desktop reset alice --all-of-prefix lab --yes
fails_with 2 'which desktops' 'none of them is refused' ctl desktop reset --yes
fails_with 3 'no desktop|nosuch' 'a prefix that nobody has' ctl desktop reset --all-of-prefix nosuch --yes
fails_with 2 'the prefix is empty' 'an empty prefix is not all there are' ctl desktop delete --all-of-prefix '' --yes
fails_with 2 'the search is empty' 'nor is an empty search' ctl desktop delete --search ' ' --yes
fails_with 2 'the prefix is empty' '... nor for a roll-out' ctl rollout start --prefix '' --template win --yes
fails_with 3 nosuch 'reset of a desktop that is not there' ctl desktop reset nosuch --yes
fails_with 1 nosuch 'one of two not there: the other is done, and exit 1' ctl desktop reset bob nosuch --yes
is "$(field .generation desktop show bob)" 3 '... it is'

# ---- a disk that QEMU has open ----

exec 9> >(exec qemu-io -f qcow2 "$(path_of carol)" >/dev/null 2>&1)
qemu=$!
keep_pid $qemu
is_live() { [ "$(field .live desktop show carol)" = true ]; }
ok 'an open disk is seen as live' wait_for 10 is_live
fails_with 4 'use|QEMU' 'reset of a live desktop: busy, exit 4' ctl desktop reset carol --yes
fails_with 4 'use|QEMU' 'delete of a live desktop: busy' ctl desktop delete carol --yes
json_ok 'a dry run says so too' "$(ctlj desktop reset carol --dry-run)" '.objects[0].ok == false'
json_ok 'a check passes over it' "$(ctlj store check)" '.ok and .stores[0].n_live == 1'
exec 9>&-
wait_for 10 eval '! kill -0 $qemu'
ok 'once QEMU has closed it, it can be reset' ctl desktop reset carol --yes

# ---- delete, trash ----

mark david 0x44
id=$(field .id desktop show david)
ok 'delete' ctl desktop delete david --yes
fails_with 3 david 'it is gone' ctl desktop show david
trash=$(ctlj trash list)
json_ok 'the trash lists it first' "$trash" 'type == "array" and '"$named"' and .[0].name == "david"
    and .[0].kind == "desktop" and .[0].reason == "deleted" and .[0].disk_bytes >= 65536
    and (.[0].trashed_at | '"$T"') and (.[0].expires_at | '"$T"') and (.[0].expires_at > .[0].trashed_at)'
entry=$(jq -r '.[0].id' <<<"$trash")
ok 'restore' ctl trash restore "$entry"
is "$(field .id desktop show david)" "$id" 'the same desktop is back'
ok '... with its disk' has david 0x44
fails_with 3 trash 'the entry is used up' ctl trash restore "$entry"
ok 'delete again' ctl desktop delete david --yes
ok 'take its name' ctl desktop create david --template win
entry=$(ctlj trash list | jq -r '.[] | select(.kind == "desktop") | .id')
fails_with 1 'taken' 'restore where the name is taken' ctl trash restore "$entry"
like "$(ctl trash restore "$entry" 2>&1)" '--as' '... and the way out is named'
ok 'restore --as' ctl trash restore "$entry" --as david-old
ok '... with its disk' has david-old 0x44
is "$(field .id desktop show david-old)" "$id" '... and its id'
isnt "$(field .id desktop show david)" "$id" 'an id is never used twice'

# A former disk from the trash.
mark bob 0x51
ok 'bob is reset' ctl desktop reset bob --yes
entry=$(ctlj trash list | jq -r 'map(select(.name == "bob" and .kind == "disk"))[0].id')
ok 'a former disk can be restored by its entry' ctl trash restore "$entry"
ok '... and is back' has bob 0x51

ok 'delete a whole prefix' ctl desktop delete --all-of-prefix lab --yes
is "$(ctlj desktop list --prefix lab)" '[]' 'they are gone'
dry=$(ctlj trash empty --dry-run)
json_ok 'trash empty --dry-run' "$dry" '.freed_now_bytes > 0 and .freed_later_bytes == 0 and (.objects | length > 14)'
n=$(ctlj trash list | jq length)
is "$(jq '.objects | length' <<<"$dry")" "$n" '... all entries'
one=$(ctlj trash list | jq -r 'map(select(.kind == "desktop"))[0].id')
dry=$(ctlj trash empty "$one" --dry-run | jq '.objects | length')
is "$dry" 2 'a deleted desktop takes its former disk along'
ok 'empty one entry' ctl trash empty "$one" --yes
is "$(ctlj trash list | jq length)" $((n - dry)) '... what the dry run said is gone'
before=$(disk_bytes "$store")
ok 'empty all' ctl trash empty --yes
is "$(ctlj trash list)" '[]' 'the trash is empty'
trash_is_gone() { [ -z "$(find "$store/trash" -type f)" ]; }
ok 'the files go too' wait_for 20 trash_is_gone
ok 'the space is given back' test "$(disk_bytes "$store")" -lt "$before"
fails_with '[123]' 'no reset' 'with the trash empty a reset cannot be undone' ctl desktop undo-reset alice --yes
ok 'check after all that' check_is_clean

# ---- publish, retire, delete of versions; rename of a template ----

ok 'import a draft' ctl template import win "$top/a.raw" --format raw --draft
is "$(field '.versions[-1].state' template show win)" draft 'it is a draft'
is "$(field .latest template show win)" 2 'it is not the latest published one'
fails_with '[12]' 'draft' 'no desktop from a draft' ctl desktop create x --template win:3
json_ok 'publish' "$(ctlj template publish win:3 --unsealed)" '.name == "win:3" and .state == "published"'
ok 'a desktop from it' ctl desktop create on3 --template win
is "$(field .version desktop show on3)" 3 'it is the latest now'
json_ok 'retire' "$(ctlj template retire win:3)" '.state == "retired"'
fails_with '[12]' 'retired' 'no new desktop from a retired version' ctl desktop create x --template win:3
ok 'what stands on it is still reset' ctl desktop reset on3 --yes
ok 'the newest published one is taken now' ctl desktop create on2 --template win
is "$(field .version desktop show on2)" 2 '... version 2'
fails_with 3 version 'publish what is not there' ctl template publish win:9

files=$(store_files)
json_ok 'delete --dry-run says that it is in use' "$(ctlj template delete win:3 --dry-run)" \
    '.objects[0].ok == false and (.breaks[0] | test("1 desktop"))'
fails_with '[124]' 'on3' 'delete of a version in use is refused with the list' ctl template delete win:3 --yes
said=$(ctl template delete win:3 --yes 2>&1)
like "$said" 'desktop reset --template win:3 --to' '... and the way out'
ok '... which works' ctl desktop reset --template win:3 --to 2 --yes
ok 'then it can be deleted' ctl template delete win:3 --yes
json_ok 'it is gone from the versions' "$(ctlj template versions win)" 'map(.version) == [1, 2]'
entry=$(ctlj trash list | jq -r '.[] | select(.kind == "template_version") | .id')
ok 'and back from the trash' ctl trash restore "$entry"
json_ok '... it is' "$(ctlj template versions win)" 'map(.version) == [1, 2, 3]'
ok 'deleted once more' ctl template delete win:3 --yes
ok 'a new import never takes a number that was used' ctl template import win "$top/a.raw" --format raw
json_ok '... it is version 4' "$(ctlj template versions win)" 'map(.version) == [1, 2, 4]'
json_ok 'template rename' "$(ctlj template rename win win11)" '.name == "win11"'
is "$(field .template desktop show alice)" win11 'desktops show the new name'
fails_with 3 win 'the old name is gone' ctl template show win
fails_with 1 taken 'rename to a name that is taken' ctl template rename win11 alice
ok 'delete a whole template that nobody uses' eval \
    'ctl template import other "$top/a.raw" --format raw && ctl template delete other --yes'
fails_with 3 other 'it is gone' ctl template show other
ok 'check' check_is_clean

# ---- jobs and events ----

json_ok 'job list' "$(ctlj job list)" 'type == "array" and length > 20 and '"$named"'
    and all(.[]; (.state | IN("queued", "running", "done", "failed", "cancelled")) and (.created_at | '"$T"'))'
json_ok 'job list in a state' "$(ctlj job list --in-state failed)" 'all(.[]; .state == "failed")'
first=$(ctlj desktop reset alice --yes --no-wait)
ctl job wait "$(jq -r .id <<<"$first")" >/dev/null 2>&1 # while it works, another reset is busy
json_ok '--no-wait prints the job' "$first" \
    '(.id | '"$hex32"') and .kind == "desktop.reset" and (.state | IN("queued", "running", "done"))'
job=$(ctlj desktop reset alice --yes --no-wait | jq -r .id)
json_ok 'job wait' "$(ctlj job wait "$job")" '.state == "done" and .result.n_done == 1 and .done == .total
    and .error == null and (.finished_at | '"$T"') and .owner != ""'
json_ok 'job show' "$(ctlj job show "$job")" '.state == "done"'
fails_with 3 job 'a job that is not there' ctl job show 00000000000000000000000000000000
fails_with '[124]' 'ended|done|over' 'a job that has ended cannot be cancelled' ctl job cancel "$job"

serve slow --size 1073741824 --per-second 33554432
ctl template import cancelled "$(uri slow)" >"$top/out" 2>&1 &
importer=$!
keep_pid $importer
running_import() { job=$(ctlj job list --in-state running | jq -er 'map(select(.kind == "template.import"))[0].id // empty'); }
ok 'an import is under way' wait_for 20 running_import
ok 'cancel it' ctl job cancel "$job"
wait $importer
isnt $? 0 'a cancelled import fails'
is "$(field .state job show "$job")" cancelled 'the job says cancelled'
fails_with 3 cancelled 'no template was made' ctl template show cancelled
is "$(find "$store/tmp" -type f)" '' 'its space is given back'

events=$(ctlj event list)
json_ok 'event list, newest first' "$events" 'type == "array" and '"$named"' and all(.[]; (.time | '"$T"'))
    and (map(.id | tonumber) | . == (sort | reverse))'
json_ok 'events tell who did what' "$events" 'any(.[]; .name == "desktop.reset" and .who != "" and .object == "alice")'
json_ok 'event list --limit' "$(ctlj event list --limit 3)" 'length == 3'
json_ok 'event list --search' "$(ctlj event list --search template.import)" 'length >= 4 and all(.[]; .name == "template.import")'

# ---- store, catalog ----

json_ok 'store list' "$(ctlj store list)" 'type == "array" and length == 1 and '"$named"'
    and .[0].name == "default" and .[0].state == "online" and .[0].is_default and .[0].free_bytes > 0
    and .[0].layer_format == "extended" and (.[0].features.locks | type == "boolean")'
json_ok 'store show' "$(ctlj store show)" 'type == "object" and .name == "default" and .location == $s' --arg s "$store"
check=$(ctlj store check)
json_ok 'store check' "$check" '.ok and .stores[0].used_bytes == .stores[0].accounted_bytes
    and (.stores[0].rows | map(.bytes) | add) == .stores[0].used_bytes'
is "$(jq '.stores[0].used_bytes' <<<"$check")" "$(disk_bytes "$store")" 'the check counts what du counts'
json_ok 'store check --data' "$(ctlj store check --data)" .ok
json_ok 'store check --repair' "$(ctlj store check --repair)" .ok
fails_with 3 store 'check of a store that is not there' ctl store check nosuch
fails_with '[12]' default 'the default store cannot be removed' ctl store remove default --yes
json_ok 'catalog backup' "$(ctlj catalog backup)" '.bytes > 0 and .id != null and .name != null'
is "$(sqlite3 "$store/catalog.backup" 'pragma integrity_check')" ok 'the backup is a sound database'
fails_with 2 'force' 'catalog rebuild is refused where there is a catalog' ctl catalog rebuild
inode=$(stat -c %i "$state/catalog.db-wal")
is "$(sqlite3 "$state/catalog.db" 'pragma integrity_check')" ok 'the catalog is sound'
is "$(stat -c %i "$state/catalog.db-wal")" "$inode" 'another program that reads it does not take the log away: our locks hold'

# ---- HTTP ----

is "$(post /v1/desktops '{"names":["h1"],"template":"win11"}' -H 'Idempotency-Key: k1' | jq -r .id)" \
    "$(post /v1/desktops '{"names":["h1"],"template":"win11"}' -H 'Idempotency-Key: k1' | jq -r .id)" \
    'the same request with the same key is the same job'
post /v1/desktops '{"names":["h2"],"template":"win11"}' -H 'Idempotency-Key: k1' >/dev/null
is "$(http_code)" 409 'another request with the same key: 409'
fails_with 3 h2 '... and is not done' ctl desktop show h2
post '/v1/desktops?wait=20' '{"names":["h3"],"template":"win11"}' >"$top/job"
is "$(http_code)" 200 'with wait the answer comes with the end'
json_ok '... of the job' "$(cat "$top/job")" '.state == "done" and .result.n_done == 1'
json_ok 'an unknown field is refused by name' \
    "$(post /v1/desktops '{"names":["h4"],"template":"win11","colour":1}')" \
    '.code == "invalid" and (.message | test("colour")) and has("hint")'
is "$(http_code)" 400 '... 400'
http GET '/v1/desktops?colour=1' >/dev/null
is "$(http_code)" 400 'an unknown parameter is refused'
http GET '/v1/desktops?limit=x' >/dev/null
is "$(http_code)" 400 'a limit that is no number is refused'
post /v1/desktops '{"names":["h4"], "template": 3}' >/dev/null
is "$(http_code)" 400 'a field of another type is refused'
post /v1/desktops '{"names":[' >/dev/null
is "$(http_code)" 400 'what is not JSON is refused'
post /v1/desktops '[]' >/dev/null
is "$(http_code)" 400 '... or is no object'
http GET /v1/desktops/nosuch >/dev/null
is "$(http_code)" 404 'not found: 404'
http GET /v1/nosuch >/dev/null
is "$(http_code)" 404 'no such path: 404'
http DELETE /v1/status >/dev/null
is "$(http_code)" 405 'not with this method: 405'
head -c 9000000 /dev/zero | tr '\0' x >"$top/large"
http POST /v1/desktops --data-binary @"$top/large" >/dev/null
is "$(http_code)" 413 'a body of 9 MB is refused'

for i in $(seq 5); do names="${names:-}${names:+,}\"p-$i\""; done
post '/v1/desktops?wait=20' "{\"names\":[$names],\"template\":\"win11\"}" >/dev/null
is "$(http GET '/v1/desktops?prefix=p-&limit=2' | jq -c 'map(.name)')" '["p-1","p-2"]' 'the first page'
is "$(http GET '/v1/desktops?prefix=p-&limit=2&after=p-2' | jq -c 'map(.name)')" '["p-3","p-4"]' 'the next one'
is "$(http GET '/v1/desktops?prefix=p-&limit=2&after=p-4' | jq -c 'map(.name)')" '["p-5"]' 'the last one'
is "$(http GET '/v1/desktops?prefix=p-&limit=2&after=p-5')" '[]' 'nothing after it'
# Every list walks through all of its objects once, whatever the page's size.
for list in events jobs trash templates; do
    whole=$(http GET /v1/$list | jq -r '.[].id')
    key=id
    [ $list = templates ] && key=name
    after='' walked=''
    while :; do
        page=$(http GET "/v1/$list?limit=7${after:+&after=$after}")
        [ "$(jq length <<<"$page")" -gt 0 ] || break
        walked+=$(jq -r '.[].id' <<<"$page")$'\n'
        after=$(jq -r ".[-1].$key" <<<"$page")
    done
    is "${walked%$'\n'}" "$whole" "paging through $list"
done

metrics=$(http GET /metrics)
like "$metrics" '^imaged_desktops [0-9]+$' 'metrics'
is "$(sed -n 's/^imaged_desktops //p' <<<"$metrics")" "$(ctlj desktop list | jq length)" '... are right'
like "$metrics" '^imaged_store_online\{store="default"\} 1$' '... with the stores'
is "$(grep -vE '^(#|[a-z_]+(\{[^}]*\})? [0-9.e+]+$)' <<<"$metrics")" '' '... and nothing but metrics'
curl -sN --max-time 120 --unix-socket "$state/imaged.sock" http://localhost/v1/events/stream >"$top/stream" &
listener=$!
keep_pid $listener
streams() { post /v1/desktops/p-1/rename '{"new_name":"p-x"}' >/dev/null; post /v1/desktops/p-x/rename '{"new_name":"p-1"}' >/dev/null; grep -q '^data: {.*desktop.rename' "$top/stream"; }
ok 'the event stream brings events as they happen' wait_for 3 streams
kill $listener

# ---- the API against its description ----

routes=$(sed -n 's/^ *{ "\([A-Z]*\)", "\([^"]*\)".*/\1 \2/p' "$repo/imaged/http/routes.c" | sort)
described=$(/usr/bin/python3 -c 'import sys, yaml
for path, item in yaml.safe_load(open(sys.argv[1]))["paths"].items():
    for method in item:
        if method in ("get", "post", "put", "delete", "patch"):
            print(method.upper(), path)' "$repo/docs/openapi.yaml" | sort)
is "$routes" "$described" 'the route table and openapi.yaml name the same routes'
mkdir "$top/archive"
ok 'a snapshot, an archive with a point and a schedule, an export' eval \
    'ctl snapshot create alice now && ctl archive target add nas "$top/archive" &&
    ctl archive create alice --to nas && ctl archive schedule add nightly "every day 02:00" alice --to nas &&
    ctl export start alice@now'
ok 'a host' ctl host add gone qemu+tcp://127.0.0.1:9/system
ok 'an alert' ctl alert add oncall --mail admin@example.org
ok 'and a roll-out' ctl rollout start --yes --template win11 carol
rollout=$(ctlj rollout list | jq -r '.[0].id')
point=$(ctlj archive list | jq -r '.[0].id')
export=$(ctlj export list | jq -r '.[0].id')
ok 'a user in a group, with a role and a token' eval \
    'ctl user add dora --max-desktops 2 && ctl group add pupils && ctl group add-member pupils dora &&
    ctl role grant helpdesk dora && ctl token create test --user dora &&
    ctl directory add corp --kind ldap --server ldaps://localhost:1 --base dc=corp'
token=$(ctlj token list | jq -r '.[0].id')
ok 'a group for it, a network' eval 'ctl host-group add rack && ctl host set gone --host-group rack --accelerator tcg &&
    ctl network add office --bridge br0 && ctl desktop set bob --network office --heads 2'
ok 'a pool' ctl pool create crowd --template win11 --size 0
# No host is up here that a session could be on.
session=0123456789abcdef0123456789abcdef
sqlite3 -cmd '.timeout 5000' "$state/catalog.db" "INSERT INTO session (id, user_id, desktop_id, generation, protocol,
    state, created_at, ended_at) SELECT '$session', u.id, d.id, 1, 'spice', 'ended', 1, 2 FROM user u, desktop d
    WHERE u.name = 'dora' AND d.name = 'alice'" >/dev/null
bad=
while read -r method path; do
    url=$(sed 's/{template}/win11/; s/{desktop}/alice/; s/{store}/default/; s/{job}/'"$job"'/
        s/{snapshot}/now/; s/{target}/nas/; s/{schedule}/nightly/; s/{point}/'"$point"'/; s/{export}/'"$export"'/
        s/{alert}/oncall/; s/{host}/gone/; s/{rollout}/'"$rollout"'/; s/{user}/dora/; s/{group}/pupils/; s/{role}/helpdesk/
        s/{token}/'"$token"'/; s/{directory}/corp/; s/{pool}/crowd/; s/{session}/'"$session"'/' <<<"$path")
    body='{"no_such_field":1}'
    if [ "$method" = GET ]; then http GET "$url" -m 1 >/dev/null 2>&1; else http "$method" "$url?no_such_param=1" -d "$body" >/dev/null; fi
    case "$(http_code) $url" in
    404* | 405* | 5*) bad+=" $method $url: $(http_code)" ;;
    esac
done <<<"$described"
is "$bad" '' 'each of them answers'
/usr/bin/python3 - "$repo/docs/openapi.yaml" "$state/imaged.sock" >"$top/shapes" 2>&1 <<'PY'
# Every key that the lists and single objects have is in the schema, with the type it says.
import http.client, json, socket, sys, yaml
api = yaml.safe_load(open(sys.argv[1]))
schemas = api["components"]["schemas"]
class Connection(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(sys.argv[2])
def get(path):
    c = Connection("localhost"); c.request("GET", path); return json.loads(c.getresponse().read())
types = {"string": str, "integer": int, "boolean": bool, "number": (int, float), "array": list, "object": dict}
def check(value, schema, where):
    if "$ref" in schema: schema = schemas[schema["$ref"].rsplit("/", 1)[1]]
    if "type" in schema and value is not None:
        good = isinstance(value, types[schema["type"]])
        if schema["type"] in ("integer", "number") and isinstance(value, bool): good = False
        if not good: print(where, "is", value, "not", schema["type"])
    if isinstance(value, dict):
        for key in value:
            if "properties" in schema and key not in schema["properties"]: print(where + "." + key, "is not described")
            check(value[key], schema.get("properties", {}).get(key, {}), where + "." + key)
    if isinstance(value, list) and "items" in schema:
        for item in value: check(item, schema["items"], where + "[]")
for path, name in [("templates", "Template"), ("desktops", "Desktop"), ("trash", "TrashEntry"), ("stores", "Store"), ("jobs", "Job"), ("events", "Event"),
                   ("snapshots", "Snapshot"), ("archive/targets", "ArchiveTarget"), ("archive/points", "ArchivePoint"),
                   ("archive/schedules", "ArchiveSchedule"), ("exports", "Export"),
                   ("rollouts", "Rollout"), ("alerts", "Alert"), ("hosts", "Host"), ("host-groups", "HostGroup"), ("networks", "Network"),
                   ("users", "User"), ("groups", "Group"), ("roles", "Role"), ("tokens", "Token"), ("directories", "Directory"),
                   ("rollouts/%s/desktops" % get("/v1/rollouts")[0]["id"], "RolloutDesktop")]:
    if not get("/v1/" + path): print(path, "has nothing to look at")
    for item in get("/v1/" + path): check(item, schemas[name], name)
check(get("/v1/templates/win11"), schemas["Template"], "Template")
check(get("/v1/desktops/alice"), schemas["Desktop"], "Desktop")
check(get("/v1/stores/default"), schemas["Store"], "Store")
check(get("/v1/desktops/alice/snapshots/now"), schemas["Snapshot"], "Snapshot")
check(get("/v1/archive/points/" + get("/v1/archive/points")[0]["id"]), schemas["ArchivePoint"], "ArchivePoint")
check(get("/v1/exports/" + get("/v1/exports")[0]["id"]), schemas["Export"], "Export")
check(get("/v1/rollouts/" + get("/v1/rollouts")[0]["id"]), schemas["Rollout"], "Rollout")
check(get("/v1/groups/pupils"), schemas["Group"], "Group")
check(get("/v1/roles/helpdesk"), schemas["Role"], "Role")
check(get("/v1/whoami"), schemas["Whoami"], "Whoami")
check(get("/v1/status"), schemas["Status"], "Status")
check(get("/v1/reports/savings?largest=2"), schemas["SavingsReport"], "SavingsReport")
check(get("/v1/jobs/" + get("/v1/jobs?limit=1")[0]["id"]), schemas["Job"], "Job")
PY
is "$(sort -u "$top/shapes")" '' 'what is answered is what openapi.yaml describes'

# ---- the CLI itself ----

like "$(ctl version)" '^imagectl [0-9.]+' 'version'
like "$(ctl --help)" 'nouns:' 'help'
like "$(ctl desktop reset --help)" 'undo-reset' 'help of a verb'
like "$(ctl desktop set --help)" '^      --join-password-file' 'an example that goes on is not begun again'
fails_with 2 'or --all$' 'what looks into all says so' ctl desktop inspect
fails_with 2 "'--data-disk'" 'an option is called what was typed' ctl desktop create x --template win --data-disk 1
fails_with 2 "did you mean 'desktop'" 'a slip gets a hint' ctl destkop list
fails_with 2 "did you mean 'reset'" '... of the verb too' ctl desktop resett alice
fails_with 2 '--yes' '... and the option' ctl desktop reset alice --yess
fails_with 2 'table\|json\|csv' 'an unknown output' ctl -o xml desktop list
ctl completion bash >"$top/completion"
ok 'completion is good bash' bash -n "$top/completion"
complete_line()
{
    bash -c '. "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
        f=$(complete -p imagectl | sed "s/.*-F \([^ ]*\).*/\1/"); $f; printf "%s\n" "${COMPREPLY[@]}"' - "$top/completion" "$@" 2>/dev/null
}
like "$(complete_line "$BUILD/imagectl" desktop re)" '^reset' 'completion of a verb'
like "$(complete_line "$BUILD/imagectl" --state "$state" desktop show ali)" '^alice' 'completion of a name asks the daemon'
ok 'the daemon ends with 0 on SIGTERM' stop_daemon
ok 'and starts again' start_daemon
is "$(field .generation desktop show alice)" 9 'with everything there'
IMAGED_STATE=$state "$BUILD/imagectl" -o json status >"$top/out"
is "$(jq -r .state "$top/out")" ready 'IMAGED_STATE finds the daemon'
is "$("$BUILD/imagectl" --socket "$state/imaged.sock" -o json status | jq -r .state)" ready '--socket finds it'
done_testing
