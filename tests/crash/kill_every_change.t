#!/bin/bash
# The service is killed at each single change that a verb makes to storage (IMAGED_FAULT), and now
# and then again while it recovers.  Afterwards it starts by itself; a verb that said "done" was
# done, any other was done or not at all, and can be done then; nothing leaks; and the stores alone
# give the same catalog again.
#
# By default a few points of each verb, the same ones each time (SEED=N chooses others); FULL=1 tries all.
set -u
cd "$(dirname "$0")" || exit 1
. ./lib.sh

SEED=${SEED:-1} # SEED=$RANDOM tries others
RANDOM=$SEED
POINTS=${POINTS:-4} # of each verb
diag "SEED=$SEED, $([ -n "${FULL:-}" ] && echo all || echo "$POINTS") points of each verb"

# run_point N VERB...: one crash; the situation is $from, its states before and after $old and $new.
run_point() {
    local at=$1 acked=1 now second=
    shift
    load_state "$from"
    if start_daemon "kill:$at"; then
        ctl_until_crash "$@" >/dev/null 2>&1
        acked=$?
        wait_idle
    fi
    kill_daemon
    if [ -n "${FULL:-}" ] || ((RANDOM % 2)); then
        second=$((RANDOM % (base + 8) + 1))
        start_daemon "kill:$second" && wait_idle
        kill_daemon
    fi
    where="killed at change $at${second:+, then at $second of the next start}"
    start_daemon || {
        diag "$where: no start: $(tail -3 "$work/log")"
        return 1
    }
    wait_idle || diag "$where: a job does not end: $(ctl job list -o json)"
    now=$(signature)
    # A drain begins with letting no new layers in; that may be all of it that was done.
    [ "${now//side draining/side online}" = "$old" ] && now=$old
    if [ "$now" != "$new" ] && { [ $acked = 0 ] || [ "$now" != "$old" ]; }; then
        diag "$where (exit $acked): between:
$(diff <(echo "$old") <(echo "$now"))
but the verb means:
$(diff <(echo "$old") <(echo "$new"))"
        return 1
    fi
    store_is_clean || { diag "$where"; return 1; }
    if ((base > 0)) && { [ -n "${FULL:-}" ] || ((RANDOM % 2)); }; then
        rebuild_is_same || { diag "$where"; return 1; }
    fi
    if [ "$now" = "$old" ] && [ "$old" != "$new" ]; then
        ctl "$@" >/dev/null 2>"$work/again.err" || {
            diag "$where: it can't be done any more: $(cat "$work/again.err")"
            return 1
        }
        wait_idle
        now=$(signature)
        [ "$now" = "$new" ] || {
            diag "$where: done again, other than at first: $(diff <(echo "$new") <(echo "$now"))"
            return 1
        }
        store_is_clean || { diag "$where, then done again"; return 1; }
    fi
    stop_daemon || { diag "$where: it does not stop"; return 1; }
    catalog_is_sound
}

# each_point SITUATION NAME COMMAND...: a verb; its points are found in a first run without a fault.
each_point() {
    local base=${base:-} from=$1 name=$2 end point step n=0 bad=0 started
    shift 2
    [ -n "${ONLY:-}" ] && [[ ! $name =~ $ONLY ]] && return
    started=$(date +%s%N)
    load_state "$from"
    start_daemon || bail "no start: $(cat "$work/log")"
    wait_idle
    old=$(signature)
    [ -n "$base" ] || base=$(n_changes)
    if ! ctl "$@" >/dev/null 2>"$work/first.err"; then
        not_ok "$name: fails without a fault: $(cat "$work/first.err")"
        kill_daemon
        return
    fi
    wait_idle
    end=$(n_changes)
    new=$(signature)
    if ! store_is_clean; then
        not_ok "$name: not clean without a fault"
        kill_daemon
        return
    fi
    stop_daemon
    step=1
    [ -n "${FULL:-}" ] || step=$(((end - base + POINTS - 1) / POINTS))
    for ((point = base + 1; point <= end; point += step)); do
        at=$((point + (step > 1 ? RANDOM % step : 0)))
        run_point "$at" "$@" || bad=$((bad + 1))
        kill_daemon
        n=$((n + 1))
    done
    what="$name: killed at $n of $((end - base)) changes ($((($(date +%s%N) - started) / 1000000)) ms)"
    if [ $bad = 0 ]; then ok "$what"; else not_ok "$what: $bad wrong"; fi
}

# The very first start, which makes catalog and store.
mkdir "$work/saved.empty"
base=0 each_point empty "first start" status

make_situation
wait_idle
note_ids
disk=$(trash_id a disk)
desktop=$(trash_id d desktop)
version=$(trash_id gone:1 template_version)
stop_daemon
save_state one
start_daemon || bail "no start"
add_stores
wait_idle
note_ids
stop_daemon
save_state two

each_point one "template import" template import fresh "$work/golden4.raw" --format raw
each_point one "template import, next version" template import win "$work/golden4.raw" --format raw
each_point one "desktop create" desktop create x --template win
each_point one "desktop create, 3" desktop create x y z --template win:1
each_point one "desktop reset" desktop reset b --yes
each_point one "desktop reset, 3" desktop reset a b c --yes
each_point one "desktop reset --to" desktop reset b --to 1 --yes
each_point one "desktop undo-reset" desktop undo-reset a --yes
each_point one "desktop delete" desktop delete b --yes
each_point one "desktop delete, all" desktop delete --template win --yes
each_point one "desktop rename" desktop rename b bee
each_point one "trash restore, disk" trash restore "$disk"
each_point one "trash restore, desktop" trash restore "$desktop"
each_point one "trash restore, template" trash restore "$version"
each_point one "trash empty" trash empty --yes
each_point one "template publish" template publish lin
each_point one "template retire" template retire win:2
each_point one "template rename" template rename win windows
each_point one "template delete" template delete lin --yes
each_point one "catalog backup" catalog backup
each_point one "store add" store add more "$state/more"
each_point two "store remove" store remove spare --yes
each_point two "desktop move" desktop move b c --to side
each_point two "desktop move, back" desktop move s --to default
each_point two "template retire, two stores" template retire win:2
each_point two "template rename, two stores" template rename win windows
each_point two "store drain" store drain side --to default
finish
