#!/bin/bash
# guest_space.t: while a helper writes into a store, the space there is watched.  A helper of the
# test's own that goes on for minutes is ended when the store falls below its watermark; and one
# that says it will write more than there is does not get to it.
. "$(dirname "$0")/lib.sh"

mkdir "$state"
mount -t tmpfs -o size=256m small "$state" || exit 1

# use_helper FOLDER TOTAL: its tasks take 100 s, and are to write so many bytes.
use_helper()
{
    stop_daemon
    python3 "$(dirname "$0")/../crash/fake_helper.py" "$top/$1" 100 "$2" >"$top/$1.said" &
    keep_pid $!
    wait_for 10 test -s "$top/$1.said" || diag 'no helper'
    { cat "$(cat "$top/$1.said")"; printf '%s\n' 'low_space_bytes = 32M' 'low_space_percent = 50' 'inspect_imports = no'; } >"$top/conf"
    start_daemon || diag "$(cat "$log")"
}
is_over() { ctlj job show "$1" | jq -e '.state != "queued" and .state != "running"'; }
at_work() { ctlj job show "$1" | jq -e '.message | test("at work")'; }
leftovers() { ls "$store/tmp" "$store/layers"; }

use_helper one 0
make_raw "$top/g.raw" 16M 0 0x11 1M
ctl template import win "$top/g.raw" --format raw >/dev/null 2>&1
ctl template edit win >/dev/null
ctl desktop create ann --template win >/dev/null
before=$(leftovers)

# full_meanwhile WHAT COMMAND...: the store is filled while its helper is at work.
full_meanwhile()
{
    local what=$1 id
    shift
    id=$(ctlj "$@" --no-wait | jq -r .id)
    ok "$what: the helper is at work" wait_for 20 at_work "$id" || diag "$(ctlj job show "$id")"
    fallocate -l 230M "$state/other"
    ok "... and is ended when the space is gone" wait_for 15 is_over "$id"
    like "$(ctlj job show "$id" | jq -c '[.. | .code? // empty]')" no_space '... which is said'
    rm "$state/other"
    is "$(leftovers)" "$before" '... and nothing of it is left'
}
full_meanwhile 'sealing' template publish win-draft
full_meanwhile 'a reset that keeps files' desktop reset ann --keep /home --yes

use_helper two 1000000000
fails_with 1 'short of space' 'files larger than the space are not begun with' ctl desktop reset ann --keep /home --yes
is "$(leftovers)" "$before" '... and nothing of it is left'
ok 'store check' ctl store check
done_testing
