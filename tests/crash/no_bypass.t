#!/bin/bash
# long: 60 s
# Nothing that the daemon changes in storage passes by durable.c and SQLite's shim, seen by strace; see
# tests/crash/no_bypass.py.  Some verbs; FULL=1 (make crash) all.
set -u
cd "$(dirname "$0")" || exit 1
. ./lib.sh

[ -n "${FULL:-}" ] || export ONLY=${ONLY:-'^(first start|template import|desktop reset|desktop move|trash empty|catalog rebuild|snapshot create|desktop flatten|archive create)$'}
/usr/bin/python3 no_bypass.py "$BUILD" "$work"
