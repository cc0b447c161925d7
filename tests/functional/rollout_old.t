#!/bin/bash
# rollout_old.t: an old catalog was put back: the desktops were moved, as the store's journal told,
# but the roll-out's rows, which are in no journal, say that they wait.
. "$(dirname "$0")/lib.sh"

sql() { sqlite3 -cmd '.timeout 5000' "$state/catalog.db" "$1" >/dev/null || diag "sql: $1"; }
version_of() { ctlj desktop show "$1" | jq .version; }
row_of() { ctlj rollout show win-2 --desktops | jq -r --arg name "$1" '.[] | select(.name == $name) | .state, .reason'; }
entry_of() { ctlj trash list | jq -r --arg name "$1" '.[] | select(.name == $name) | .id'; }

start_daemon || diag "$(cat "$log")"
make_raw "$top/g.raw" 16M 0 0x11 1M
ctl template import win "$top/g.raw" --format raw >/dev/null 2>&1
ctl template import win "$top/g.raw" --format raw >/dev/null 2>&1
ctl desktop create pc-1 pc-2 --template win:1 >/dev/null
ctl rollout start --template win --to 2 --all --canary 0 --yes >/dev/null
qemu-io -f qcow2 -c 'write -P 0x77 0 64k' "$(ctl desktop path pc-1)" >/dev/null
ctl desktop undo-reset pc-1 --yes >/dev/null
kept=$(entry_of pc-1)
stop_daemon
sql "UPDATE rollout SET state = 'stopped', finished_at = NULL"
sql "UPDATE rollout_desktop SET state = 'waiting', is_open = 1, former_layer_id = NULL, generation = NULL"
start_daemon

fails_with 4 'may bring it back' 'the disk that the roll-out replaced is kept' ctl trash empty "$(entry_of pc-2)" --yes
ok 'the roll-out goes on' ctl rollout resume win-2
is "$(version_of pc-1) $(version_of pc-2)" '1 2' 'who was brought back since is not moved again'
is "$(row_of pc-1)" $'skipped\nit was moved, and brought back since' '... which is said'
is "$(row_of pc-2 | head -1)" moved '... and the other one is known as moved'
ok '... nobody has an id twice' ctl store check
ok 'what was written in between is in the trash' ctl trash restore "$kept"
ok '... as it was' qemu-io -r -f qcow2 -c 'read -P 0x77 0 64k' "$(ctl desktop path pc-1)"

# ---- rows that somebody changed ----

stop_daemon
sql "UPDATE rollout SET state = 'stopped', is_backward = 1, finished_at = NULL"
sql "UPDATE rollout_desktop SET state = 'moved', is_open = 1, back_id = NULL, generation = (SELECT d.generation FROM desktop d WHERE d.id = desktop_id)"
start_daemon
ctl desktop create pc-3 --template win --data-disk 16M >/dev/null
ctl desktop data-disk detach pc-3 --yes >/dev/null
data=$(ctlj trash list | jq -r '.[] | select(.kind == "data") | .id')
sql "UPDATE trash SET desktop_id = NULL WHERE id = '$data'"
fails_with 2 'not a data disk' 'a data disk that was nobody'"'"'s' ctl desktop data-disk add pc-3 --disk "$data"
fails_with 1 'could not be brought back' 'a roll-out with a row that lacks an id comes to an end' ctl rollout resume win-2
is "$(row_of pc-2)" $'failed\nits row in the roll-out is not whole' '... and says which it is'
ok 'the daemon is there still' ctl status
done_testing
