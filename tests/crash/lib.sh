# lib.sh: what the crash tests share: TAP, a daemon of their own, and the state as one text.
#
# BUILD names the folder with imaged, imagectl and tests/cowtool.  Everything lies in one folder of
# the test's own, on a memory file system where there is room: these tests kill the process, not the
# machine, so flushes prove nothing here and only cost time.  CRASH_DIR says otherwise.
# shellcheck shell=bash

: "${BUILD:?BUILD names the folder with imaged and imagectl}"
BUILD=$(cd "$BUILD" && pwd)
n_tests=0
n_failed=0
daemon=
state=

ok() {
    n_tests=$((n_tests + 1))
    echo "ok $n_tests - $*"
}

not_ok() {
    n_tests=$((n_tests + 1))
    n_failed=$((n_failed + 1))
    echo "not ok $n_tests - $*"
}

# check WHAT COMMAND...: the command's success is the test.
check() {
    local what=$1
    shift
    if "$@"; then ok "$what"; else not_ok "$what"; fi
}

quiet() {
    "$@" >/dev/null
}

diag() {
    sed 's/^/# /' <<<"$*"
}

finish() {
    echo "1..$n_tests"
    exit $((n_failed > 0))
}

bail() {
    echo "Bail out! $*"
    exit 1
}

pick_root() {
    local free
    if [ -n "${CRASH_DIR:-}" ]; then
        echo "$CRASH_DIR"
        return
    fi
    free=$(df -k --output=avail /dev/shm 2>/dev/null | tail -1)
    if [ "${free:-0}" -gt 1500000 ] && [ -w /dev/shm ]; then
        echo /dev/shm
    else
        echo "${TMPDIR:-/tmp}"
    fi
}

clean_up() {
    kill_daemon
    sweep "$work"
}

. ../sweep.sh
work=$(mktemp -d "$(pick_root)/imaged-crash.XXXXXX") || bail "no folder to work in"
[ -z "${TEST_FOLDERS:-}" ] || echo "$work" >>"$TEST_FOLDERS" # for who ends us in the middle
state=$work/state
trap clean_up EXIT
trap 'exit 1' INT TERM

# ---- the daemon ----

# start_daemon [FAULT]: waits until it serves; fails if it ends before.  More in $daemon_options.
printf '[imaged]\ninspect_imports = no\n' >"$work/imaged.conf"
daemon_options=(--config "$work/imaged.conf")
start_daemon() {
    local line
    if [ -n "${1:-}" ]; then
        exec {daemon_out}< <(IMAGED_FAULT=$1 exec "$BUILD/imaged" --state "$state" \
            "${daemon_options[@]}" 2>>"$work/log")
    else
        exec {daemon_out}< <(exec "$BUILD/imaged" --state "$state" "${daemon_options[@]}" 2>>"$work/log")
    fi
    daemon=$!
    if read -r -t 20 line <&"$daemon_out" && [[ $line == ready* ]]; then
        return 0
    fi
    kill_daemon
    return 1
}

reap() {
    wait "$daemon" 2>/dev/null
    exec {daemon_out}<&-
    daemon=
}

kill_daemon() {
    if [ -n "$daemon" ]; then
        kill -KILL "$daemon" 2>/dev/null
        reap
    fi
}

# An orderly stop; a daemon that does not end in time is killed, and that is a failure.
stop_daemon() {
    local i
    [ -n "$daemon" ] || return 1
    kill -TERM "$daemon" 2>/dev/null
    for ((i = 0; i < 2000; i++)); do
        if ! kill -0 "$daemon" 2>/dev/null; then
            reap
            return 0
        fi
        sleep 0.005
    done
    kill_daemon
    return 1
}

is_alive() {
    [ -n "$daemon" ] && kill -0 "$daemon" 2>/dev/null
}

ctl() {
    timeout 30 "$BUILD/imagectl" --state "$state" "$@"
}

# Like ctl, but ends with the daemon: imagectl itself waits some seconds for one that has gone.
ctl_until_crash() {
    local pid
    timeout 30 "$BUILD/imagectl" --state "$state" "$@" &
    pid=$!
    while kill -0 $pid 2>/dev/null; do
        is_alive || kill -TERM $pid 2>/dev/null
        sleep 0.003
    done
    wait $pid
}

# Wait until no job is queued or running.
wait_idle() {
    local i n
    for ((i = 0; i < 500; i++)); do
        is_alive || return 1
        n=$(ctl_until_crash status -o json 2>/dev/null | jq .n_jobs_running) || return 1
        [ "$n" = 0 ] && return 0
        [ -n "$n" ] || return 1
        sleep 0.02
    done
    return 1
}

# ---- what is there ----

declare -A seen_layers # a file's checksum -> checksum of what a guest reads in it

# The guest's bytes of a layer file as one word; "corrupt" if qemu-img finds fault with it.
guest_sum() {
    local sum
    sum=$(md5sum <"$1") || return 1
    sum=${sum%% *}
    if [ -z "${seen_layers[$sum]:-}" ]; then
        if ! qemu-img check -q -f qcow2 "$1" >"$work/qemu-check" 2>&1; then
            answer=corrupt
            return
        fi
        qemu-img convert -f qcow2 -O raw "$1" "$work/guest.raw" || {
            answer=unreadable
            return
        }
        seen_layers[$sum]=$(md5sum <"$work/guest.raw" | cut -c1-8)
    fi
    answer=${seen_layers[$sum]}
}

# Sums of all layers, as a JSON object {layer: sum} in $sums.  A file's own header says which layer it
# is: after a merge its name is that of the slot that the layer took over.
sum_layers() {
    local file id
    sums='{'
    for file in "$state"/*/layers/* "$state"/*/trash/*; do
        [ -f "$file" ] || continue
        guest_sum "$file"
        [ "${#sums}" -gt 1 ] && sums+=,
        id=$("$BUILD/tests/cowtool" header "$file" 2>/dev/null | sed -n 's/^identity={"v":1,"id":"\([0-9a-f]*\)".*/\1/p')
        sums+="\"${id:-${file##*/}}\":\"$answer\""
    done
    sums+='}'
}

# All that a user sees, as text: no times, no ids, disks by what a guest reads.
signature() {
    local templates versions='[]' name
    sum_layers
    templates=$(ctl template list -o json) || return 1
    for name in $(jq -r '.[].name' <<<"$templates"); do
        versions+=$(ctl template versions "$name" -o json) || return 1
    done
    {
        ctl desktop list -o json && ctl trash list -o json && ctl store list -o json
    } >"$work/lists" || return 1
    jq -rn --argjson sums "$sums" \
        --slurpfile lists "$work/lists" --argjson templates "$templates" \
        --slurpfile versions <(echo "$versions") '
        def sum: $sums[.] // "MISSING";
        ($templates[] | "template \(.name) \(.state) latest=\(.latest) n=\(.n_versions) \(.description)"),
        ($versions | add[]? | "version \(.name) \(.state) cpus=\(.cpus) desktops=\(.n_desktops) stores=\(.stores | sort | join(",")) \(.layer | sum)"),
        ($lists[0][] | "desktop \(.name) \(.template):\(.version) \(.state) gen=\(.generation) store=\(.store) owner=\(.owner) undo=\(.undo_available) \(.layer | sum)"),
        ($lists[1][] | "trash \(.name) \(.kind) \(.reason) gen=\(.generation) store=\(.store) \(.layer | sum)"),
        ($lists[2][] | "store \(.name) \(.state)")' | sort
}

# store_is_clean: the check finds nothing at all, nothing lies about.
store_is_clean() {
    local left
    if ! ctl store check -o json >"$work/check" 2>"$work/check.err"; then
        diag "store check: $(cat "$work/check.err") $(jq -c '[.. | .findings? // empty | .[]]' "$work/check")"
        return 1
    fi
    if [ "$(jq '[.. | .findings? // empty | .[] | select(.severity != "note")] | length' "$work/check")" != 0 ]; then
        diag "findings: $(jq -c '[.. | .findings? // empty | .[]]' "$work/check")"
        return 1
    fi
    left=$(ctl store list -o json | jq -r '.[].location | "\(.)/tmp\n\(.)/quarantine"' |
        xargs -r -I{} find {} -type f)
    if [ -n "$left" ]; then
        diag "left over: $left"
        return 1
    fi
}

# The catalog's own consistency, by a tool that is not ours (with the daemon stopped or idle).
catalog_is_sound() {
    local said
    said=$(sqlite3 "$state/catalog.db" 'PRAGMA integrity_check; PRAGMA foreign_key_check' 2>&1)
    [ "$said" = ok ] && return 0
    diag "catalog: $said"
    return 1
}

# ---- the situation that most tests begin with ----

write_disk() {
    qemu-io -f qcow2 -c "write -q -P $2 $3 $4" "$(ctl desktop path "$1")" >/dev/null || bail "qemu-io"
}

make_images() {
    local i
    for i in 1 2 3 4; do
        truncate -s 2M "$work/golden$i.raw"
        qemu-io -f raw -c "write -q -P 0x1$i 0 768k" -c "write -q -P 0x2$i 1216k 64k" \
            "$work/golden$i.raw" >/dev/null || bail "qemu-io"
    done
}

import() {
    ctl template import "$1" "$work/golden$2.raw" --format raw "${@:3}" >/dev/null || bail "import $1"
}

# Templates win (2 versions), lin (a draft), gone (in the trash); desktops a (reset once), b, c with
# data, e without, d (in the trash).
make_situation() {
    make_images
    start_daemon || bail "no start: $(cat "$work/log")"
    import win 1 --description 'the first one'
    ctl desktop create a c --template win --owner ann >/dev/null || bail "create"
    import win 2 --cpus 4
    ctl desktop create b d e --template win >/dev/null || bail "create"
    import lin 3 --draft
    import gone 4
    write_disk a 0xa1 0 128k
    write_disk b 0xb1 256k 192k
    write_disk c 0xc1 640k 256k
    write_disk d 0xd1 1M 64k
    ctl desktop reset a --yes >/dev/null || bail "reset"
    write_disk a 0xa2 64k 64k
    ctl desktop delete d --yes >/dev/null || bail "delete"
    ctl template delete gone --yes >/dev/null || bail "template delete"
}

# Beside the default store: side (holding desktop s on a copy of win) and spare (empty).
add_stores() {
    ctl store add side "$state/side" >/dev/null && ctl store add spare "$state/spare" >/dev/null || bail "store add"
    ctl desktop create s --template win >/dev/null || bail "create"
    write_disk s 0x51 0 64k
    ctl desktop move s --to side >/dev/null || bail "move"
}

# The id of a trash entry, by name and kind.
trash_id() {
    ctl trash list -o json | jq -r --arg name "$1" --arg kind "$2" \
        'first(.[] | select(.name == $name and .kind == $kind)) | .id'
}
