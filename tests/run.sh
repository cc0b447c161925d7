#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# run.sh BUILD: all tests, through prove.  `make check` calls it, and `make asan` with SANITIZED=1,
# which leaves out what a sanitizer has nothing to say about (lint) or makes too slow (crash, fuzz).
#
# Unit tests are programs in BUILD/tests, one for each tests/unit/test_*.c; the others are shell
# scripts *.t.  All speak TAP.  A script with a line "# serial: WHY" runs with nothing beside it, one
# with "# heavy: WHY" (guests and appliances under TCG; "# heavy, long: WHY" begins first) with one
# other such script, after the rest.
# They find the build in $BUILD, an absolute path, and run in the top folder of the tree.
#
# What each of them printed is in BUILD/test-logs; of those that failed the end repeats it.
#
# run.sh --one FILE: how prove starts one of them.
set -u
export LC_ALL=C
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

readonly FUZZ_ROUNDS=${FUZZ_ROUNDS:-1500}
readonly TEST_LIMIT=${TEST_LIMIT:-1500} # seconds

# The differential fuzzer is no TAP program: make it a plan of one.
run_differential() {
    local seed=${FUZZ_SEED:-1}

    echo 1..1
    echo "# $FUZZ_ROUNDS images, seed $seed"
    if bash tests/fuzz/differential.sh "$BUILD" "$FUZZ_ROUNDS" "$seed" 2>&1 | sed 's/^/# /'
        [ "${PIPESTATUS[0]}" -eq 0 ]; then
        echo "ok 1 - our verdicts agree with qemu-img's"
    else
        echo "not ok 1 - our verdicts agree with qemu-img's (again: FUZZ_SEED=$seed)"
        exit 1
    fi
}

# No test may hold up the rest: one that takes longer than TEST_LIMIT has failed.
run_one() {
    case $1 in
    */differential.sh) run_differential ;;
    *.t) timeout --kill-after=60 "$TEST_LIMIT" bash "$1" ;;
    *) timeout --kill-after=60 "$TEST_LIMIT" "$1" --tap ;;
    esac
    local status=$?
    [ "$status" -ne 124 ] && [ "$status" -ne 137 ] || echo "not ok - ends within $TEST_LIMIT s"
    return "$status"
}

if [ "${1-}" = --one ]; then
    log=${TEST_LOGS:-}${TEST_LOGS:+/$(basename "$2").log}
    run_one "$2" 2> >(tee ${log:+"$log.stderr"} >&2) | tee ${log:+"$log"}
    status=${PIPESTATUS[0]}
    [ -z "$log" ] || { [ "$status" -eq 0 ] && grep -q '^1\.\.' "$log"; } || touch "$log.failed"
    exit "$status"
fi

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

parallel=() heavy=() serial=() missing=()
for source in tests/unit/test_*.c; do
    program=$BUILD/tests/$(basename "$source" .c)
    if [ -x "$program" ]; then parallel+=("$program"); else missing+=("$program"); fi
done
scripts=(tests/functional/*.t)
[ -n "${SANITIZED:-}" ] || scripts+=(tests/crash/*.t)
for script in "${scripts[@]}"; do
    if grep -q '^# serial:' "$script"; then
        serial+=("$script")
    elif grep -q '^# heavy, long:' "$script"; then
        heavy=("$script" ${heavy[@]+"${heavy[@]}"}) # first, so that nothing waits for it at the end
    elif grep -q '^# heavy:' "$script"; then
        heavy+=("$script")
    else
        parallel+=("$script")
    fi
done
[ -n "${SANITIZED:-}" ] || parallel+=(tests/fuzz/differential.sh)

if [ ${#missing[@]} -gt 0 ]; then
    echo "FAILED: not built (make test-binaries): ${missing[*]}"
    exit 1
fi
if [ ${#parallel[@]} -eq 0 ]; then
    echo "FAILED: there are no tests"
    exit 1
fi
failed=()
export TEST_LOGS=$BUILD/test-logs
rm -rf "$TEST_LOGS"
mkdir -p "$TEST_LOGS" || exit 1

# What those that failed have printed, shortened: who reads a build server's output may see its end only.
repeat_failures() {
    local mark log

    for mark in "$TEST_LOGS"/*.failed; do
        log=${mark%.failed}
        echo "---- $(basename "$log" .log) ----"
        grep -A 12 '^not ok' "$log" | head -n 60
        echo "its end:"
        tail -n 12 "$log"
        tail -n 12 "$log.stderr"
    done
}

if [ -z "${SANITIZED:-}" ]; then
    echo "lint"
    bash tests/lint/run.sh || failed+=(lint)
fi

# prove_them JOBS FILE...
prove_them() {
    local jobs=$1
    shift
    [ $# -gt 0 ] || return 0
    prove --timer --norc -j "$jobs" -e "bash tests/run.sh --one" "$@" </dev/null
}

echo "tests side by side: ${#parallel[@]} programs"
prove_them "${TEST_JOBS:-2}" "${parallel[@]}" || failed+=("tests side by side")
if [ ${#heavy[@]} -gt 0 ]; then
    echo "heavy tests, two at a time: ${#heavy[@]} programs"
    prove_them 2 "${heavy[@]}" || failed+=("heavy tests")
fi
if [ ${#serial[@]} -gt 0 ]; then
    echo "tests one by one: ${#serial[@]} programs"
    prove_them 1 "${serial[@]}" || failed+=("tests one by one")
fi

n=$((${#parallel[@]} + ${#heavy[@]} + ${#serial[@]}))
if [ ${#failed[@]} -gt 0 ]; then
    repeat_failures
    printf 'FAILED: %s\n' "${failed[@]}"
    echo "failed after $SECONDS s"
    exit 1
fi
printf 'all well: %d test programs%s in %d s\n' "$n" "${SANITIZED:+ under sanitizers}" "$SECONDS"
