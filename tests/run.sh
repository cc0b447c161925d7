#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# run.sh BUILD: all tests.  `make check` calls it, and `make asan` with SANITIZED=1, which leaves out what
# a sanitizer has nothing to say about (lint) or makes too slow (crash, fuzz).
#
# Unit tests are programs in BUILD/tests, one for each tests/unit/test_*.c; the others are shell
# scripts *.t.  All speak TAP.  They find the build in $BUILD, an absolute path, and run in the top folder
# of the tree.
#
# Side by side run one more than there are processors (TEST_JOBS), since most wait for their daemon now and
# then.  Lines in a script say what else counts:
#   # heavy: WHY        it keeps a processor busy (guests and appliances under TCG): as many as there are
#   # serial: WHY       nothing runs beside it
#   # long: N s         it begins before the shorter ones, so that nothing waits for it at the end
#
# ONLY=REGEX takes those whose path matches.
#
# What each of them printed is in BUILD/test-logs, and `prove` judges that; of those that failed the end
# repeats it.
#
# run.sh --one FILE: one of them, with its output.   run.sh --again FILE: what it printed then.
set -u
export LC_ALL=C
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
. tests/sweep.sh

readonly FUZZ_ROUNDS=${FUZZ_ROUNDS:-1500}
readonly TEST_LIMIT=${TEST_LIMIT:-1500} # seconds
readonly TEST_GRACE=${TEST_GRACE:-60}   # more, to end by itself

# as_tap NAME HINT COMMAND...: a program that speaks no TAP, as a plan of one.
as_tap() {
    local name=$1 hint=$2
    shift 2
    echo 1..1
    if "$@" 2>&1 | sed 's/^/# /'
        [ "${PIPESTATUS[0]}" -eq 0 ]; then
        echo "ok 1 - $name"
    else
        echo "not ok 1 - $name${hint:+ ($hint)}"
        exit 1
    fi
}

run_program() {
    case $1 in
    */differential.sh)
        as_tap "our verdicts about $FUZZ_ROUNDS images agree with qemu-img's" "again: FUZZ_SEED=${FUZZ_SEED:-1}" \
            bash "$1" "$BUILD" "$FUZZ_ROUNDS" "${FUZZ_SEED:-1}"
        ;;
    */lint/run.sh) as_tap lint '' bash "$1" ;;
    *.t) bash "$1" ;;
    *) "$1" --tap ;;
    esac
}

# No test may hold up the rest: one that takes longer than TEST_LIMIT has failed.  Nor may it leave
# anything behind, however it ended: it notes its folders in TEST_FOLDERS, or makes them in TMPDIR.
run_one() {
    local folders status folder
    folders=$(mktemp -d "${TMPDIR:-/tmp}/imgt.XXXXXX") || return
    chmod 711 "$folders" # a program may be run as somebody else
    echo "$folders" >"$folders/list"
    case $1 in
    *.t) ;;
    *) export TMPDIR=$folders ;;
    esac
    TEST_FOLDERS=$folders/list timeout --kill-after="$TEST_GRACE" "$TEST_LIMIT" bash tests/run.sh --run "$1" &
    # Who ends us, ends it.
    # shellcheck disable=SC2064 # it is that one
    trap "kill $! 2>/dev/null" INT TERM
    wait $!
    status=$?
    ! kill -0 $! 2>/dev/null || { wait $!; status=143; }
    trap - INT TERM
    [ "$status" -ne 124 ] && [ "$status" -ne 137 ] || echo "not ok - ends within $TEST_LIMIT s"
    while read -r folder; do
        [ "$folder" = "$folders" ] || [ ! -d "$folder" ] || echo "# it was ended before it could clean up in $folder"
        sweep "$folder"
    done < <(tac "$folders/list")
    return "$status"
}

# Where it is noted what a test printed, and how it ended.
log_of() {
    case $1 in
    */lint/run.sh) echo "$TEST_LOGS/lint" ;;
    *) echo "$TEST_LOGS/${1##*/}" ;;
    esac
}

case ${1-} in
--run)
    run_program "$2"
    exit
    ;;
--one)
    run_one "$2"
    exit
    ;;
--again)
    log=$(log_of "$2")
    cat "$log.log"
    exit "$(cat "$log.status")"
    ;;
esac

if [ $# -ne 1 ] || [ ! -d "$1" ]; then
    echo "usage: tests/run.sh BUILD" >&2
    exit 2
fi
BUILD=$(cd "$1" && pwd)
export BUILD
unset MAKEFLAGS MFLAGS MAKELEVEL # a test that calls make is not a part of ours
unset IMAGED_STATE IMAGED_SOCKET IMAGED_URL IMAGED_FAULT
shopt -s nullglob

if [ -n "${SANITIZED:-}" ]; then
    export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0:verify_asan_link_order=0:${ASAN_OPTIONS:-}
    export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1:${UBSAN_OPTIONS:-}
    export G_SLICE=always-malloc
fi

readonly JOBS=${TEST_JOBS:-$(($(nproc) + 1))}
readonly HEAVY=$((JOBS > 1 ? JOBS - 1 : 1))

# ---- What is run ----

scripts=(tests/functional/*.t)
[ -n "${SANITIZED:-}" ] || scripts+=(tests/crash/*.t)
if [ ${#scripts[@]} -eq 0 ]; then
    echo "FAILED: there are no tests"
    exit 1
fi
# In their order: files[i] takes jobs[i], of which weights[i] is one of the heavy.
files=() jobs=() weights=()
[ -n "${SANITIZED:-}" ] || { files=(tests/lint/run.sh) jobs=(1) weights=(0); }
while read -r _ n weight file; do
    files+=("$file") jobs+=("$n") weights+=("$weight")
done < <(awk -v jobs="$JOBS" '
    FNR == 1 { file[++n] = FILENAME; takes[n] = 1; heavy[n] = long[n] = 0 }
    /^# heavy: / { heavy[n] = 1 }
    /^# serial: / { takes[n] = jobs; long[n] = 1e6 }
    /^# long: [0-9]+ s/ { long[n] = $3 }
    FNR == 20 { nextfile }
    END { for (i = 1; i <= n; i++) print long[i], takes[i], heavy[i], file[i] }' "${scripts[@]}" |
    sort -s -k1,1nr -k3,3nr)
[ -n "${SANITIZED:-}" ] || { files+=(tests/fuzz/differential.sh) jobs+=(1) weights+=(0); }
missing=()
for source in tests/unit/test_*.c; do
    program=$BUILD/tests/$(basename "$source" .c)
    [ -x "$program" ] || missing+=("$program")
    files+=("$program") jobs+=(1) weights+=(0)
done
if [ ${#missing[@]} -gt 0 ]; then
    echo "FAILED: not built (make test-binaries): ${missing[*]}"
    exit 1
fi
for i in "${!files[@]}"; do
    [[ ${files[i]} =~ ${ONLY:-.} ]] || unset "files[i]"
done
[ ${#files[@]} -gt 0 ] || { echo "FAILED: no test matches ONLY=$ONLY"; exit 1; }

# ---- They run ----

export TEST_LOGS=$BUILD/test-logs
rm -rf "$TEST_LOGS"
mkdir -p "$TEST_LOGS" || exit 1

# By the process that runs each: its file, when it began, what it takes.
declare -A file_of=() began=() jobs_of=() weight_of=()
free_jobs=$JOBS free_heavy=$HEAVY
stop_all() {
    kill "${!file_of[@]}" 2>/dev/null
    wait
    exit 1
}
trap stop_all INT TERM

start() { # INDEX
    local log
    log=$(log_of "${files[$1]}")
    bash tests/run.sh --one "${files[$1]}" </dev/null >"$log.log" 2>"$log.stderr" &
    file_of[$!]=${files[$1]} began[$!]=$SECONDS jobs_of[$!]=${jobs[$1]} weight_of[$!]=${weights[$1]}
    free_jobs=$((free_jobs - jobs[$1])) free_heavy=$((free_heavy - weights[$1]))
}

ended() { # PROCESS STATUS
    local log said=ok
    log=$(log_of "${file_of[$1]}")
    echo "$2" >"$log.status"
    [ "$2" -eq 0 ] || said=FAILED
    printf '[%s] %-6s %4d s  %s\n' "$(date +%T)" "$said" $((SECONDS - began[$1])) "${file_of[$1]#"$BUILD/"}"
    free_jobs=$((free_jobs + jobs_of[$1])) free_heavy=$((free_heavy + weight_of[$1]))
    unset "file_of[$1]" "began[$1]" "jobs_of[$1]" "weight_of[$1]"
}

unset ONLY # verbs, for the crash tests
all=("${files[@]}")
echo "${#all[@]} test programs, $JOBS at a time, $HEAVY of them heavy"
while :; do
    for i in "${!files[@]}"; do
        [ "$free_jobs" -gt 0 ] || break
        [ "${jobs[i]}" -le "$free_jobs" ] && [ "${weights[i]}" -le "$free_heavy" ] || continue
        start "$i"
        unset "files[i]"
    done
    [ ${#file_of[@]} -gt 0 ] || break
    wait -n -p pid "${!file_of[@]}"
    ended "$pid" $?
done

# ---- What became of them ----

# What those that failed have printed, shortened: who reads a build server's output may see its end only.
repeat_failures() {
    local file log

    for file in "${all[@]}"; do
        log=$(log_of "$file")
        [ "$(cat "$log.status")" -ne 0 ] || ! grep -q '^1\.\.' "$log.log" || continue
        echo "---- $(basename "$file") ----"
        grep -A 12 '^not ok' "$log.log" | head -n 60
        echo "its end:"
        tail -n 12 "$log.log"
        tail -n 12 "$log.stderr"
    done
}

if ! prove --norc -Q -e 'bash tests/run.sh --again' "${all[@]}" </dev/null; then
    repeat_failures
    echo "FAILED after $SECONDS s"
    exit 1
fi
echo "all well: ${#all[@]} test programs${SANITIZED:+ under sanitizers} in $SECONDS s"
