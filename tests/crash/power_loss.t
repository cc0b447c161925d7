#!/bin/bash
# The states that a power failure can leave: recorded block writes, replayed; see power_loss.py.  A sample
# on ext4 (STATES, SEED); FULL=1 (make crash) all of them, on XFS too, and shows that the check can fail.
set -u
cd "$(dirname "$0")" || exit 1
. ./lib.sh

n=0
power_loss() {
    n=$((n + 1))
    mkdir "$work/$n"
    if /usr/bin/python3 power_loss.py "$BUILD" "$work/$n" "$1" "$2" "${SEED:-1}" ${3:+"$3"} >"$work/said"; then
        ok "$(sed -n 's/^ok 1 - //p' "$work/said")"
    else
        not_ok "$1 ${3:-}"
        diag "$(cat "$work/said")"
    fi
    rm -rf "${work:?}/$n"
}

if [ -n "${FULL:-}" ]; then
    power_loss ext4 0
    power_loss xfs 0
    power_loss ext4 60 lie
else
    power_loss ext4 "${STATES:-25}"
fi
finish
