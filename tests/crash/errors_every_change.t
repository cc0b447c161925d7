#!/bin/bash
# One change to storage fails (IMAGED_FAULT=eio:N, enospc:N), each in turn.  The verb says "done" and
# was done, or fails with a reason; the same daemon goes on (or ends by itself, when it must open
# its catalog anew); nothing leaks.  Some points of each verb; SEED repeats a run, FULL=1 tries all.
set -u
cd "$(dirname "$0")" || exit 1
. ./lib.sh

SEED=${SEED:-1} # SEED=$RANDOM tries others
RANDOM=$SEED
POINTS=${POINTS:-4}
diag "SEED=$SEED, $([ -n "${FULL:-}" ] && echo all || echo "$POINTS") points of each verb and error"

# run_point ERROR N VERB...
run_point() {
    local kind=$1 at=$2 code now where
    shift 2
    where="$kind at change $at"
    load_state "$from"
    start_daemon "$kind:$at" || { diag "$where: no start: $(tail -2 "$work/log")"; return 1; }
    ctl_until_crash "$@" >"$work/out" 2>"$work/err"
    code=$?
    if [ $code != 0 ] && is_alive && ! grep -q '^imagectl: .*: .' "$work/err"; then
        diag "$where: exit $code without a reason: $(cat "$work/err" "$work/out")"
        return 1
    fi
    if [ $code -gt 5 ] && is_alive; then
        diag "$where: exit $code: $(cat "$work/err")"
        return 1
    fi
    if is_alive && wait_idle && is_alive; then
        n_alive=$((n_alive + 1))
        # The error may have hit the daemon's own work meanwhile, or still wait for its change.
        store_is_clean >"$work/said" || store_is_clean || {
            diag "$where (exit $code: $(head -1 "$work/err")), the same daemon: $(cat "$work/said")"
            return 1
        }
        check_state "$where, the same daemon" $code || return 1
        stop_daemon || { diag "$where: it does not stop"; return 1; }
    fi
    [ -z "$daemon" ] || kill_daemon
    start_daemon || { diag "$where: no start afterwards: $(tail -3 "$work/log")"; return 1; }
    wait_idle || { diag "$where: a job does not end"; return 1; }
    check_state "$where, started again" $code || return 1
    store_is_clean || { diag "$where (exit $code), started again"; return 1; }
    if [ "$now" != "$new" ]; then
        ctl "$@" >/dev/null 2>"$work/err" || {
            diag "$where: it can't be done any more: $(cat "$work/err")"
            return 1
        }
        wait_idle
        store_is_clean || { diag "$where, then done again"; return 1; }
    fi
    stop_daemon || { diag "$where: it does not stop"; return 1; }
    catalog_is_sound
}

# check_state WHERE EXIT: leaves the state in $now.  (A drain that fails has begun all the same: no new
# layers go to that store.)
check_state() {
    now=$(signature)
    if [ "$now" = "$new" ] || { [ "$2" != 0 ] && [ "${now//side draining/side online}" = "$old" ]; }; then
        return 0
    fi
    diag "$1 (exit $2; $(head -1 "$work/err")): between:
$(diff <(echo "$old") <(echo "$now"))
but the verb means:
$(diff <(echo "$old") <(echo "$new"))"
    return 1
}

each_point() {
    local from=$1 name=$2 base end point step kind at n=0 bad=0 n_alive=0 started
    shift 2
    [ -n "${ONLY:-}" ] && [[ ! $name =~ $ONLY ]] && return
    started=$(date +%s%N)
    load_state "$from"
    start_daemon || bail "no start: $(cat "$work/log")"
    wait_idle
    old=$(signature)
    base=$(n_changes)
    ctl "$@" >/dev/null 2>"$work/err" || bail "$name: fails without a fault: $(cat "$work/err")"
    wait_idle
    end=$(n_changes)
    new=$(signature)
    stop_daemon
    step=1
    [ -n "${FULL:-}" ] || step=$(((end - base + POINTS - 1) / POINTS))
    for kind in eio enospc; do
        for ((point = base + 1; point <= end; point += step)); do
            at=$((point + (step > 1 ? RANDOM % step : 0)))
            run_point $kind "$at" "$@" || bad=$((bad + 1))
            kill_daemon
            n=$((n + 1))
        done
    done
    what="$name: $n errors at $((end - base)) changes, $n_alive survived ($((($(date +%s%N) - started) / 1000000)) ms)"
    if [ $bad = 0 ]; then ok "$what"; else not_ok "$what: $bad wrong"; fi
}

make_situation
wait_idle
note_ids
disk=$(trash_id a disk)
stop_daemon
save_state one
start_daemon || bail "no start"
add_stores
wait_idle
note_ids
stop_daemon
save_state two

each_point one "template import" template import fresh "$work/golden4.raw" --format raw
each_point one "desktop create, 3" desktop create x y z --template win:1
each_point one "desktop reset" desktop reset b --yes
each_point one "desktop reset, 3" desktop reset a b c --yes
each_point one "desktop undo-reset" desktop undo-reset a --yes
each_point one "desktop delete, all" desktop delete --template win --yes
each_point one "desktop rename" desktop rename b bee
each_point one "trash restore, disk" trash restore "$disk"
each_point one "trash empty" trash empty --yes
each_point one "template delete" template delete lin --yes
each_point one "store add" store add more "$state/more"
each_point two "desktop move" desktop move b --to side
each_point two "store drain" store drain side --to default
finish
