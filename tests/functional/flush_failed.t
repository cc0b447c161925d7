#!/bin/bash
# A flush of the catalog or of the journal that fails is final: the daemon ends at once, without an
# answer, and the next start repairs by itself.  strace makes the system call fail, so nothing of
# ours is in the way: the N-th fdatasync of that file, for N = 1, 2, ... until the verb is done.
. "$(dirname "$0")/lib.sh"

is_gone()
{
    ! kill -0 "$daemon" 2>/dev/null
}

has_answer_or_is_gone()
{
    ! kill -0 "$client" 2>/dev/null || is_gone
}

is_traced()
{
    grep -q '^TracerPid:[[:space:]]*[1-9]' "/proc/$daemon/status"
}

# create_with_failure NAME FILE N: "yes" or "no" in $is_done, and the exit status of a daemon that ended.
create_with_failure()
{
    strace -f -qq -p "$daemon" -o "$top/trace" -P "$2" -e trace=fdatasync,fsync \
        -e "inject=fdatasync,fsync:error=EIO:when=$3" 2>"$top/strace.err" &
    tracer=$!
    keep_pid $tracer
    wait_for 10 is_traced || { diag "strace: $(cat "$top/strace.err")"; return 1; }
    timeout 30 "$BUILD/imagectl" --state "$state" desktop create "$1" --template win >"$top/out" 2>&1 &
    client=$!
    wait_for 30 has_answer_or_is_gone
    ended=
    if is_gone; then # imagectl would wait some seconds for another
        kill "$client" 2>/dev/null
        wait "$daemon"
        ended=$?
        daemon=
    fi
    is_done=no
    wait "$client" && is_done=yes
    kill "$tracer" 2>/dev/null
    wait "$tracer" 2>/dev/null
    return 0
}

# fail_each FILE: each flush of it in turn.
fail_each()
{
    local file=$1 what=${1##*/} n there n_after=0
    n_found=0
    for ((n = 1; n < 20; n++)); do
        create_with_failure "$what-$n" "$file" "$n" || { fail "$what: flush $n"; return; }
        [ $is_done = yes ] && break
        grep -q INJECTED "$top/trace" || diag "nothing was injected: $(cat "$top/trace" "$top/out")"
        [ "$what" = journal ] || is "$ended" 1 "$what: flush $n fails: the daemon ends by itself"
        [ "$daemon" ] || ok "$what: flush $n: it starts again" start_daemon
        wait_for 10 idle
        there=$(ctlj desktop list | jq --arg name "$what-$n" '[.[] | select(.name == $name)] | length')
        n_after=$((n_after + there))
        ok "$what: flush $n: the store is clean" check_is_clean
        is "$(qemu-img check -q -f qcow2 "$(path_of first)" 2>&1)" "" "$what: flush $n: an older disk is well"
    done
    ok "$what: the verb is done when flush $n is not one of its own" [ $n -gt 1 ]
    ok "$what: and without a fault" ctl desktop create "$what-last" --template win
    n_found=$n_after
    stop_daemon
    is "$(sqlite3 "$state/catalog.db" 'PRAGMA integrity_check')" ok "$what: the catalog is sound"
    start_daemon
}

idle()
{
    [ "$(field .n_jobs_running status)" = 0 ]
}

make_raw "$top/golden.raw" 2M 0 0x11 512k
ok "the daemon starts" start_daemon
ok "import" ctl template import win "$top/golden.raw" --format raw
ok "create" ctl desktop create first --template win

fail_each "$state/catalog.db-wal"
# The commit of the result fails when the facts are in the journal: they are brought from there.
ok "a desktop that was in the journal is there after the restart ($n_found)" [ "$n_found" -ge 1 ]
fail_each "$store/journal"

# Losing the catalog now shows that the journals have all of it.
before=$(ctlj desktop list | jq -S 'map({id, name, generation, layer}) | sort_by(.id)')
stop_daemon
rm -f "$state"/catalog.db*
ok "without a catalog it starts" start_daemon
ok "rebuild" ctl catalog rebuild
is "$(ctlj desktop list | jq -S 'map({id, name, generation, layer}) | sort_by(.id)')" "$before" "the journal has the same desktops"
done_testing
