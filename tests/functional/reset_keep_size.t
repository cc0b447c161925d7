#!/bin/bash
# reset_keep_size.t: a desktop whose disk is larger than its template's keeps that size through a
# reset that keeps files, as through any other.  The helper is the test's own, which copies nothing.
. "$(dirname "$0")/lib.sh"

python3 -B "$(dirname "$0")/../crash/fake_helper.py" "$top/helper" 0 0 >"$top/said" &
keep_pid $!
wait_for 10 test -s "$top/said" || diag 'no helper'
{ cat "$(cat "$top/said")"; echo 'inspect_imports = no'; } >"$top/conf"
start_daemon || diag "$(cat "$log")"
make_raw "$top/g.raw" 16M 0 0x11 1M
ctl template import win "$top/g.raw" --format raw >/dev/null 2>&1
ctl desktop create ann --template win --disk-size 48M >/dev/null
ctl desktop create bob --template win >/dev/null
ctl desktop set bob --disk-size 32M >/dev/null

size_of() { qemu-img info --output=json "$(ctl desktop path "$1")" | jq '."virtual-size"'; }
is "$(size_of ann) $(size_of bob)" "$((48 << 20)) $((32 << 20))" 'both are larger than the template'
ok 'a reset that keeps files' ctl desktop reset ann bob --keep /home --yes
is "$(size_of ann) $(size_of bob)" "$((48 << 20)) $((32 << 20))" '... leaves them as large'
ok '... and the catalog knows' ctl store check
ok 'a plain one' ctl desktop reset ann bob --yes
is "$(size_of ann) $(size_of bob)" "$((48 << 20)) $((32 << 20))" '... does so too'
done_testing
