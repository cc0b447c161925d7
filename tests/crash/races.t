#!/bin/bash
# long: 30 s
# Two clients ask for two things about one desktop at the same moment; see races.py.
set -u
cd "$(dirname "$0")" || exit 1
. ./lib.sh
/usr/bin/python3 races.py "$BUILD" "$work"
