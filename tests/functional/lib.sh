# lib.sh: what every functional test needs: a daemon in a folder of its own, the CLI, TAP.
#
# Read by bash (". lib.sh").  BUILD names the folder with imaged, imagectl, tests/cowtool and
# tests/mkmeta.  A test calls ok, is, like, fails_with and so on in any order and done_testing at
# the end, which prints the plan; a test that dies before that fails for want of a plan.
#
# Nothing here sleeps a fixed time to become true: wait_for looks again and again, with a limit.
# What was started or mounted here is ended at the end, whatever became of the test (sweep.sh).

set -u
export LC_ALL=C
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repo=$(cd "$here/../.." && pwd)
case ${BUILD:-build} in
/*) ;;
*) BUILD=$repo/${BUILD:-build} ;;
esac
export BUILD
cowtool=$BUILD/tests/cowtool
mkmeta=$BUILD/tests/mkmeta
unset IMAGED_STATE IMAGED_SOCKET IMAGED_URL
. "$repo/tests/sweep.sh"

# A name that is not mktemp's own would do as well; what counts is that it is short: a unix socket's
# path has 107 bytes.
top=$(mktemp -d "${TMPDIR:-/tmp}/imgd.XXXXXX")
[ -z "${TEST_FOLDERS:-}" ] || echo "$top" >>"$TEST_FOLDERS" # for who ends us in the middle
state=$top/s
store=$state/store
log=$top/imaged.log
mkdir "$top/tmp"
export TMPDIR=$top/tmp # imagectl's private folders are looked for there
daemon=
kept_pids=()

cleanup()
{
    local pid
    trap - EXIT INT TERM
    # A subshell that bash ends after a bad expansion runs this too.
    [ "$BASHPID" = $$ ] || return
    for pid in "${kept_pids[@]}" $daemon; do
        kill -9 "$pid" 2>/dev/null
        wait "$pid" 2>/dev/null
    done
    [ -z "${KEEP:-}" ] || echo "# kept: $top"
    cd /
    sweep "$top" 2>/dev/null # a shell tells which of its jobs were killed
}
trap cleanup EXIT
trap 'exit 1' INT TERM

# A process that a test has started itself: ended at the end.
keep_pid()
{
    kept_pids+=("$1")
}

# ---- TAP ----

n_tests=0
n_failed=0

diag()
{
    printf '%s\n' "$*" | head -c 4000 | sed 's/^/# /' >&2
}

pass()
{
    n_tests=$((n_tests + 1))
    echo "ok $n_tests - $1"
}

fail()
{
    n_tests=$((n_tests + 1))
    n_failed=$((n_failed + 1))
    echo "not ok $n_tests - $1"
    shift
    [ $# -gt 0 ] && diag "$@"
    return 1
}

# ok NAME COMMAND...: the command succeeds (its output is shown only if it does not).
ok()
{
    local name=$1
    shift
    # No subshell: the command may start or stop the daemon.
    if "$@" >"$top/said" 2>&1; then
        pass "$name"
    else
        fail "$name" "exit $?: $*" "$(head -c 3000 "$top/said")"
    fi
}

# not_ok NAME COMMAND...: the command fails.
not_ok()
{
    local name=$1
    shift
    if "$@" >/dev/null 2>&1; then fail "$name" "it succeeded: $*"; else pass "$name"; fi
}

# is GOT EXPECTED NAME
is()
{
    if [ "$1" = "$2" ]; then pass "$3"; else fail "$3" "     got: '$1'" "expected: '$2'"; fi
}

isnt()
{
    if [ "$1" != "$2" ]; then pass "$3"; else fail "$3" "got: '$1'"; fi
}

# like TEXT EXTENDED-REGEX NAME (case matters, lines are looked at one by one)
like()
{
    if grep -Eq -- "$2" <<<"$1"; then pass "$3"; else fail "$3" "text: $1" "does not match: $2"; fi
}

unlike()
{
    if grep -Eq -- "$2" <<<"$1"; then fail "$3" "text: $1" "matches: $2"; else pass "$3"; fi
}

# fails_with CODE REGEX NAME COMMAND...: exit code (or a glob of them), and what standard error says.
fails_with()
{
    local code=$1 pattern=$2 name=$3 said got
    shift 3
    said=$("$@" 2>&1 >/dev/null </dev/null)
    got=$?
    # shellcheck disable=SC2053 # a pattern like [24] is meant
    if [[ $got != $code ]]; then
        fail "$name" "exit $got, not $code: $*" "$said"
    elif ! grep -Eq -- "$pattern" <<<"$said"; then
        fail "$name" "said: $said" "does not match: $pattern"
    else
        pass "$name"
    fi
}

# json_ok NAME JSON FILTER [jq options]: the filter gives true.
json_ok()
{
    local name=$1 text=$2 filter=$3
    shift 3
    if [ "$(jq "$@" "$filter" <<<"$text" 2>&1)" = true ]; then
        pass "$name"
    else
        fail "$name" "filter: $filter" "$(jq "$@" "$filter" <<<"$text" 2>&1 | head -5)" "json: $text"
    fi
}

done_testing()
{
    echo "1..$n_tests"
    [ $n_failed -eq 0 ]
    exit
}

# wait_for SECONDS COMMAND...: until it succeeds; fails when the time is up.
wait_for()
{
    local end=$(($(date +%s%N) + $1 * 1000000000))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$(date +%s%N)" -gt $end ] && return 1
        sleep 0.03
    done
}

# ---- A source of images ----

# serve NAME [OPTIONS]: an NBD server (nbd_server.py) at "$(uri NAME)"; sets server.
serve()
{
    /usr/bin/python3 "$here/nbd_server.py" "$top/$1.sock" "${@:2}" &
    server=$!
    keep_pid $server
    wait_for 10 test -S "$top/$1.sock"
}

uri()
{
    echo "nbd+unix:///?socket=$top/$1.sock"
}

# ---- The daemon ----

# run_by_fake_clock: daemons started from now on go by $top/clock: +0, +31d, or a moment.
run_by_fake_clock()
{
    local preload
    preload=$(ls /usr/lib/*/faketime/libfaketimeMT.so.1 2>/dev/null | head -1)
    [ "$preload" ] || return
    echo +0 >"$top/clock"
    RUN_WITH="env LD_PRELOAD=$preload FAKETIME_TIMESTAMP_FILE=$top/clock FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1 DONT_FAKE_MONOTONIC=1 FAKETIME_DISABLE_SHM=1 TZ=UTC"
}

# launch_daemon [ARGS...]: start it and do not wait.  RUN_WITH goes before the command.
launch_daemon()
{
    : >"$log.out"
    ${RUN_WITH:-} "${IMAGED:-$BUILD/imaged}" --state "$state" --config "$top/conf" "$@" >"$log.out" 2>>"$log" &
    daemon=$!
}

says_ready_or_ended()
{
    grep -q '^ready' "$log.out" || ! kill -0 "$daemon" 2>/dev/null
}

# start_daemon [ARGS...]: returns once it serves; fails if it ends instead.
start_daemon()
{
    launch_daemon "$@"
    wait_for 60 says_ready_or_ended
    grep -q '^ready' "$log.out" && return
    wait "$daemon"
    daemon=
    return 1
}

# stop_daemon [SIGNAL]: its exit status is returned.
stop_daemon()
{
    local status
    [ "$daemon" ] || return 0
    kill -"${1:-TERM}" "$daemon"
    wait "$daemon" 2>/dev/null
    status=$?
    daemon=
    return $status
}

# Settings of the daemon: lines of [imaged].  The tests' own defaults must not depend on how full
# this machine is.
# shellcheck disable=SC2120 # the arguments come from the tests
configure()
{
    { printf '%s\n' '[imaged]' 'low_space_bytes = 16M' 'low_space_percent = 0' 'warn_space_percent = 0' 'inspect_imports = no'; printf '%s\n' "$@"; } \
        >"$top/conf"
}
configure

ctl()
{
    "$BUILD/imagectl" --state "$state" "$@"
}

# ctlj ARGS...: with JSON output.
ctlj()
{
    ctl -o json "$@"
}

# field FILTER ARGS...: one field of what a verb prints.
field()
{
    local filter=$1
    shift
    ctlj "$@" | jq -r "$filter"
}

# http METHOD PATH [CURL ARGS...]: the body goes to standard output, the code to $top/http;
# curl's exit code is returned.
http()
{
    local method=$1 path=$2
    shift 2
    curl -sS --unix-socket "$state/imaged.sock" -X "$method" -o "$top/body" -w '%{http_code}' \
        "$@" "http://localhost$path" >"$top/http" || return
    cat "$top/body"
}

http_code()
{
    cat "$top/http"
}

# post PATH JSON [CURL ARGS...]
post()
{
    local path=$1 body=$2
    shift 2
    http POST "$path" -H 'Content-Type: application/json' -d "$body" "$@"
}

# ---- Hosts, and what runs on them ----

host_is()
{
    [ "$(field .state host show "$1")" = "$2" ]
}

run_of()
{
    field .run desktop show "$1"
}

is_run()
{
    [ "$(run_of "$1")" = "$2" ]
}

jobs_are_over()
{
    [ "$(sqlite3 -cmd '.timeout 10000' "$state/catalog.db" "SELECT count(*) FROM job WHERE state IN ('queued', 'running')")" = 0 ]
}

# ---- Images ----

# qio FILE COMMAND...: QEMU writes or reads; FILE's backing chain is followed by QEMU.
qio()
{
    local file=$1 args=() c
    shift
    for c in "$@"; do args+=(-c "$c"); done
    qemu-io -f qcow2 "${args[@]}" "$file"
}

# make_raw FILE SIZE [OFFSET PATTERN LENGTH]...: sparse, with some data.
make_raw()
{
    local file=$1 args=()
    qemu-img create -q -f raw "$file" "$2"
    shift 2
    while [ $# -ge 3 ]; do
        args+=(-c "write -q -P $2 $1 $3")
        shift 3
    done
    [ ${#args[@]} -eq 0 ] || qemu-io -f raw "${args[@]}" "$file"
}

# random_file FILE MIB SEED: bytes that do not compress, the same for the same seed.
random_file()
{
    head -c $(($2 * 1048576)) /dev/zero |
        openssl enc -aes-128-ctr -nosalt -K "$(printf %032x "$3")" -iv 0 2>/dev/null >"$1"
}

path_of()
{
    ctl desktop path "$1"
}

# mark DESKTOP BYTE: QEMU writes 64 KiB of it into the desktop's disk, at 4 MiB.
mark()
{
    qio "$(path_of "$1")" "write -q -P $2 4M 64k" >/dev/null
}

# finds FORMAT IMAGE COMMAND: qemu-io reads with a pattern, and finds it everywhere (else it says so and
# succeeds all the same).
finds()
{
    local said
    said=$(qemu-io -r -f "$1" -c "$3" "$2" 2>&1)
    [[ $said == "read "* && $said != *failed* ]]
}

# has DESKTOP BYTE: QEMU reads just that there.
has()
{
    local said
    said=$(qio "$(path_of "$1")" "read -P $2 4M 64k" 2>&1)
    [[ $said == "read 65536/65536 bytes"* && $said != *failed* ]]
}

template_path()
{
    echo "$store/layers/$(field '.versions[-1].layer' template show "$1")"
}

# Bytes of all blocks of everything below a folder, the folder itself included.
disk_bytes()
{
    find "$1" -printf '%b\n' | awk '{ n += $1 } END { printf "%d\n", n * 512 }'
}

# The names of a store's files, for "nothing was created".
store_files()
{
    (cd "${1:-$store}" && find layers trash tmp quarantine -type f | sort)
}

check_is_clean()
{
    ctl store check "$@" >/dev/null
}
