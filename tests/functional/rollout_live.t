#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# rollout_live.t: roll-outs over desktops that run, on a real libvirtd and QEMU: at once, when their
# users have left, when they are next off; health by boot and by agent; the way back; the daemon killed
# in the middle.
# heavy: guests under TCG
. "$(dirname "$0")/lib.sh"
. "$repo/tests/guest/vhosts.sh"
. "$repo/tests/guest/counter_guest.sh"

counter_begin 1 a b c
for n in 2 3; do counter_import; done
version_of() { field .version desktop show "$1"; }
state_is() { [ "$(field .state rollout show "$1")" = "$2" ]; }
# NAME=VERSION:RUN of each
now() { ctlj desktop list | jq -r 'map("\(.name)=\(.version):\(.run)") | join(" ")'; }
incarnations() { sqlite3 "$state/catalog.db" "SELECT group_concat(incarnation) FROM (SELECT incarnation FROM run ORDER BY desktop_id)"; }
counter_flush() { local d; for d in a b c; do vhost_flush 1 $d; done; }
counts_anew() { counter_runs "$(path_of "$1")" && counter_read "$(path_of "$1")" && [ "$n_boots" = 1 ]; }
rollout() { ctl rollout start --template count --yes "$@"; }

ok 'start' ctl desktop start a b

# ---- What cannot be ----

fails_with 1 'could not be moved now' 'those that run are unavailable, if nothing is said' rollout --to 2 a b --max-unavailable 1
ok '... and it is ended' ctl rollout cancel count-2
fails_with 2 'now\|idle\|next-stop' 'no such time' rollout --to 2 --all --when later
fails_with '[12]' 'must be now or idle' 'nobody boots them to see their health' rollout --to 2 --all --health agent

# ---- When they are next off ----

json_ok 'a dry run' "$(ctlj rollout start --template count --to 2 --all --when next-stop --dry-run)" '.n_move == 1 and .n_later == 2 and (.desktops[0] | .action == "later" and (.reason | test("when it is stopped")))'
was=$(incarnations)
ok 'when they are next off' rollout --to 2 --all --when next-stop
is "$(now)" 'a=1:running b=1:running c=2:off' 'only the one that was off is moved'
is "$(incarnations)" "$was" '... the others run on'
json_ok 'it waits' "$(ctlj rollout show count-2-2)" '.state == "waiting" and .n_deferred == 2 and .n_moved == 1 and .when == "next-stop" and .finished_at == null'
is "$(ctlj rollout show count-2-2 --in-state deferred | jq -r 'map(.name + ": " + .reason) | join(", ")')" 'a: it runs, b: it runs' '... for whom is said'
ok 'without a job' jobs_are_over
stop_daemon KILL
start_daemon || exit 1
ok '... also after the daemon was killed' state_is count-2-2 waiting
wait_for 30 host_is h1 up
ctl desktop stop a --force >/dev/null
ok 'one that is stopped and at once started' ctl desktop start a
is "$(version_of a)" 2 '... has been moved between'
ok '... and runs' counts_anew a
json_ok 'the other one is waited for' "$(ctlj rollout show count-2-2)" '.n_deferred == 1'
ok 'when that ends by itself' vhost_virsh 1 destroy b
ok '... the roll-out ends, too' wait_for 30 state_is count-2-2 'done'
is "$(now)" 'a=2:running b=2:off c=2:off' 'it stays off'

# ---- When nobody is on them ----

ctl user add anna >/dev/null && ctl desktop assign a anna >/dev/null
ok 'start' ctl desktop start b
ok 'a user on one of them' ctl connect a --user anna --file "$top/a.vv"
was=$(incarnations)
ok 'when their users have left' rollout --to 3 --all --when idle --health boot --health-timeout 6s --canary 0
is "$(now)" 'a=2:running b=3:running c=3:off' 'the one that nobody is on is moved, and runs again'
ok '... from the new disk' counts_anew b
json_ok '... found healthy; nobody can tell of what is off' "$(ctlj rollout show count-3 --desktops)" 'map({(.name): .health}) | add | .b == "ok" and .c == "waived" and .a == null'
ok 'its user leaves' ctl session end a --yes
ok '... and the roll-out ends' wait_for 60 state_is count-3 'done'
is "$(now)" 'a=3:running b=3:running c=3:off' 'that one is moved, too'
ok '... and runs' counts_anew a

# ---- At once; a bad sign; back ----

was=$(path_of a)
fails_with 1 'its guest agent did not answer' 'one whose agent is silent stops it' rollout --to 1 --all --when now --health agent --health-timeout 2s
is "$(now)" 'a=1:running b=3:running c=3:off' '... behind the canary'
ok 'back' ctl rollout rollback count-1 --yes
is "$(path_of a)" "$was" '... by the former disk'
is "$(now)" 'a=3:running b=3:running c=3:off' '... and it runs'
is "$(vhost_virsh 1 domblklist a | awk '$1 == "vda" { print $2 }')" "$was" '... from that'

# ---- The daemon is killed ----

n=0
for delay in 0 0.2 0.5; do
    to=$((n++ % 2 + 1))
    rollout --to $to --all --when now --no-wait >/dev/null
    [ $delay = 0 ] || sleep $delay # any moment will do
    stop_daemon KILL
    start_daemon || exit 1
    ok "killed $delay s after it began: its job comes to an end" wait_for 90 jobs_are_over
    is "$(now)" "a=$to:running b=$to:running c=$to:off" '... all are moved, and those that ran run'
    is "$(vhost_guests 1 | tr '\n' ' ')" 'a b ' '... once'
done
ok 'one counts' counts_anew a
ok 'the check is clean' check_is_clean
done_testing
