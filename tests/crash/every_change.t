#!/bin/bash
# long: 260 s
# At each single change that a verb makes to storage the service is killed, or the change fails; see
# every_change.py, and verbs.py for the verbs.  By default some changes of each verb, as many as four
# minutes allow (CHANGE_SECONDS), in the same order each time (SEED=N chooses another); FULL=1 (make
# crash) tries all.
set -u
cd "$(dirname "$0")" || exit 1
. ./lib.sh
/usr/bin/python3 every_change.py "$BUILD" "$work" kill eio enospc
