#!/bin/bash
# long: 100 s
# Random verbs from 8 clients on 200 desktops, with kills in between; see soak.py.  SEED repeats a run up to
# its timing; SOAK_SECONDS says how long (make soak: half an hour).
set -u
cd "$(dirname "$0")" || exit 1
. ./lib.sh
/usr/bin/python3 soak.py "$BUILD" "$work" "${SEED:-$RANDOM}" "${SOAK_SECONDS:-60}"
