#!/bin/bash
# snapshot_model.t: random snapshots, merges and trash against a model (snapshot_model.py), with a
# fixed seed.  SEED and STEPS change that.
. "$(dirname "$0")/lib.sh"

configure 'trash_keep = 7d'
mv "$top/conf" "$state.conf"
exec 3>&1
/usr/bin/python3 "$here/snapshot_model.py" "$BUILD" "$state" "${SEED:-7}" "${STEPS:-100}" >&3
exit $?
