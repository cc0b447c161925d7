#!/bin/bash
# One change to storage fails, each in turn; see every_change.py, and verbs.py for the verbs.  Some points
# of each verb; SEED chooses others, FULL=1 (make crash) tries all.
set -u
cd "$(dirname "$0")" || exit 1
. ./lib.sh
POINTS=${POINTS:-3} /usr/bin/python3 every_change.py "$BUILD" "$work" eio enospc
