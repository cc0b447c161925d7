#!/bin/bash
# The service is killed at each single change that a verb makes to storage; see every_change.py, and
# verbs.py for the verbs.  By default a few points of each verb, the same ones each time (SEED=N
# chooses others); FULL=1 (make crash) tries all.
set -u
cd "$(dirname "$0")" || exit 1
. ./lib.sh
/usr/bin/python3 every_change.py "$BUILD" "$work" kill
