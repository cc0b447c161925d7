#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# run.sh BUILD_DIR: how fast and how small imaged is (this is `make bench`).
#
# One table of ours, the peer (QEMU's tools, as one would use them without imaged) and the limit (a
# bare C loop that does the same I/O, limit_*.c), from one run; the same in BUILD_DIR/bench.json.
# A missed goal is a result, not a failure: the exit code is 0.
#
#   BENCH_ONLY=create,reset  only these lines: create reset rollout report check growth chain snapshot
#                            merge pack nbd archive borg inspect advice search latency daemon sessions
#   BENCH_QUICK=1            small counts, to try the benchmark itself
#   BENCH_ROUNDS=N           rounds of what is repeated; medians are shown (default 3)
#   BENCH_DIR=DIR            where the scratch folder goes (default TMPDIR); needs 15 GB
#   BENCH_BORG_DESKTOPS=50   of the line borg (default 6)
#   KEEP=1                   keep the scratch folder
#
# Run it alone on the machine, and not within five minutes of the run before: what that one deleted
# at its end slows new files down on ext4 (see lib.sh).
set -u
export LC_ALL=C
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[ $# -eq 1 ] || { echo "usage: run.sh BUILD_DIR" >&2; exit 64; }
build=$(cd "$1" && pwd) || exit 1
bench=$build/bench cowtool=$build/tests/cowtool mkmeta=$build/tests/mkmeta
top=$(mktemp -d "${BENCH_DIR:-${TMPDIR:-/tmp}}/imgb.XXXXXX") || exit 1
trap 'exit 1' INT TERM
. "$here/lib.sh"
trap cleanup EXIT
unset IMAGED_STATE IMAGED_SOCKET IMAGED_URL
chattr +T "$top" 2>/dev/null || true # only ext4 knows it
: >"$top/rows"

rounds=${BENCH_ROUNDS:-3}
if [ "${BENCH_QUICK:-}" ]; then
    rounds=${BENCH_ROUNDS:-1}
    n_desktops=500 n_peer=30 n_map=20 big_image=64G n_writes=1000 n_reads=20000 n_layers=32
    n_resets=100 archive_mib=200 big_mib=512 n_big=2 n_merged=128 pack_mib=300
    advice_mib=256 advice_diffs=10
    search_desktops=500 search_apps=10000 search_events=20000 search_rounds=20
else
    n_desktops=5000 n_peer=300 n_map=100 big_image=1T n_writes=16000 n_reads=200000 n_layers=32
    n_resets=500 archive_mib=2000 big_mib=4096 n_big=4 n_merged=512 pack_mib=1500
    advice_mib=2048 advice_diffs=50
    search_desktops=10000 search_apps=500000 search_events=1000000 search_rounds=300
fi
n_threads=$(nproc)

. "$here/desktops.sh"
. "$here/rollout.sh"
. "$here/report.sh"
. "$here/images.sh"
. "$here/merge.sh"
. "$here/pack.sh"
. "$here/latency.sh"
. "$here/nbd.sh"
. "$here/snapshot.sh"
. "$here/archive.sh"
. "$here/borg.sh"
. "$here/inspect.sh"
. "$here/advice.sh"
. "$here/search.sh"
. "$here/sessions.sh"

machine=$(printf '%s cores, %s MiB, Linux %s, %s, %s' "$n_threads" \
    "$(awk '/^MemTotal/ { print int($2 / 1024) }' /proc/meminfo)" "$(uname -r)" \
    "$(df --output=fstype "$top" | tail -n 1)" "$(qemu-img --version | head -n 1)")

begin=$SECONDS
# The first, although its rows come last: what it writes is gone before the others need room.
selected latency && bench_latency
mv "$top/rows" "$top/rows.latency"
: >"$top/rows"
selected create reset daemon && bench_desktops
selected rollout && bench_rollout
selected report && bench_report
selected check && bench_check
selected growth && bench_growth
selected chain && bench_chain
selected snapshot && bench_snapshot
selected archive && bench_archive
selected merge && bench_merge
selected pack && bench_pack
selected nbd && bench_nbd
selected borg && bench_borg
selected inspect && bench_inspect
selected advice && bench_advice
selected search && bench_search
selected sessions && bench_sessions
cat "$top/rows.latency" >>"$top/rows"

echo "$machine"
[ "${BENCH_QUICK:-}" ] && echo "BENCH_QUICK: counts too small to judge by"
echo
print_table
echo
echo "Times are medians of $rounds rounds, ours, peer and limit in turn.  Notes:"
print_notes
write_json "$machine" >"$build/bench.json"
missed=$(judge | awk -F '\t' '$8 == "NO" { n++; print "  " $1 } END { exit !n }') &&
    printf '\nMISSED:\n%s\n' "$missed" || printf '\nall goals met\n'
echo "($((SECONDS - begin)) s; also in $1/bench.json)"
exit 0
