# killed_lib.sh: the daemon is killed at a change that a verb makes to storage.  Read by bash after lib.sh.
#
#   killed_hosts_are_up        the test's own: are the hosts reached?  The daemon counts on from there
#   killed_at N COMMAND...     start the daemon so that it is killed at its N-th change, and do this.
#                              FALSE: it outlived that.  Else it is started again, and jobs have ended;
#                              was_at_work: it was not killed in its start
#   killed_range COMMAND...    without a fault: sets first and last, the numbers of its changes

died() { ! kill -0 "$daemon" 2>/dev/null; }
ended_or_died() { died || ! kill -0 "$1" 2>/dev/null; }
up_or_died() { died || killed_hosts_are_up; }
jobs_are_over() { [ "$(sqlite3 -readonly -cmd '.timeout 10000' "$state/catalog.db" "SELECT count(*) FROM job WHERE state IN ('queued', 'running')")" = 0 ]; }
n_changes() { http GET /metrics | sed -n 's/^imaged_storage_changes_total //p'; }

killed_at()
{
    local n=$1
    shift
    stop_daemon
    was_at_work=
    if RUN_WITH="env IMAGED_FAULT=kill:$n" start_daemon 2>/dev/null; then
        wait_for 60 up_or_died
        if ! died; then
            was_at_work=1
            "$@" >/dev/null 2>&1 & # it would wait for a daemon that is gone
            local client=$!
            wait_for 60 ended_or_died $client
            if ! died && wait $client; then # what comes next is not to be killed either
                stop_daemon
                start_daemon
                return 1
            fi
            kill $client 2>/dev/null
            wait $client 2>/dev/null
        fi
        [ -z "$daemon" ] || stop_daemon KILL # it is gone, or the verb failed without that
    fi
    start_daemon && wait_for 60 jobs_are_over
}

killed_range()
{
    stop_daemon
    start_daemon && wait_for 60 killed_hosts_are_up || return
    first=$(($(n_changes) + 1))
    "$@" && last=$(n_changes)
}
