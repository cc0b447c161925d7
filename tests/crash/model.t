#!/bin/bash
# long: 47 s
# Random operations against a model; see model.py.  SEED repeats a run (up to the timing of kills),
# MODEL_SECONDS says how long.
set -u
cd "$(dirname "$0")" || exit 1
. ./lib.sh

SEED=${SEED:-1} # SEED=$RANDOM tries others
diag "SEED=$SEED"
check "random operations, the model agrees (SEED=$SEED)" \
    /usr/bin/python3 model.py "$BUILD" "$work" "$SEED" "${MODEL_SECONDS:-45}"
finish
