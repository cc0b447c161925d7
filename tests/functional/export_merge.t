#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# export_merge.t: a snapshot is opened while a merge has given its slot another file and the catalog
# does not know of it yet.  strace makes that moment a long one.
. "$(dirname "$0")/lib.sh"

configure 'max_chain_depth = 0'
make_raw "$top/g.raw" 4M 0 0x11 1M
start_daemon || exit 1
ctl template import win "$top/g.raw" --format raw >/dev/null
ctl desktop create ann --template win >/dev/null
mkdir "$top/arch"
ctl archive target add t "$top/arch" --kind dir >/dev/null

# Two layers below the snapshot: 0x22, and on it again what the template has there.
qio "$(path_of ann)" 'write -q -P 0x22 0 1M' >/dev/null
ctl archive create ann --to t >/dev/null
qio "$(path_of ann)" 'write -q -P 0x11 0 1M' >/dev/null
ctl snapshot create ann s >/dev/null

# An image for what is read is compared, since qemu-io succeeds whatever the pattern says.
reads_right() { qemu-img compare -q -f raw -F raw "$uri" "$top/g.raw"; }
is_traced() { grep -q "^TracerPid:[[:space:]]*[1-9]" "/proc/$daemon/status"; }
slot=$store/layers/$(sqlite3 -readonly "$state/catalog.db" 'SELECT l.slot FROM snapshot s JOIN layer l ON l.id = s.layer_id')
inode=$(stat -c %i "$slot")
is_switched() { [ "$(stat -c %i "$slot")" != "$inode" ]; }

# Renames of the daemon end 3 s late.
strace -f -qq -p "$daemon" -o "$top/trace" -e trace=renameat \
    -e inject=renameat:delay_exit=3000000 2>"$top/strace.err" &
tracer=$!
keep_pid "$tracer"
wait_for 10 is_traced || { diag "$(cat "$top/strace.err")"; exit 1; }
ctl desktop compact ann >/dev/null 2>&1 &
compact=$!
ok 'compact gives the slot its new file' wait_for 20 is_switched
uri=$(ctl export start ann@s)
ok '... in that moment the snapshot is exported' test -n "$uri"
ok '... as what it is' reads_right
kill -INT "$tracer"
wait "$tracer" 2>/dev/null
ok 'compact is done' wait "$compact"
ok 'it still reads as that' reads_right
ok 'the check is clean' check_is_clean
done_testing
