#!/bin/bash
# Two clients ask for two things about one desktop at the same moment; both may be done one after
# the other, or one is told why not.  Then: a disk that QEMU has open is never taken away.
set -u
cd "$(dirname "$0")" || exit 1
. ./lib.sh

ROUNDS=${ROUNDS:-1}

# Undo needs a reset before it, move two stores; every race begins with the same situation.
make_situation
add_stores
ctl snapshot create a base >/dev/null || bail "snapshot"
write_disk a 0xa3 256k 64k
wait_idle
note_ids
stop_daemon
save_state races

verb_of() {
    case $1 in
    reset) echo desktop reset a --yes ;;
    undo-reset) echo desktop undo-reset a --yes ;;
    delete) echo desktop delete a --yes ;;
    rename) echo desktop rename a "renamed$2" ;;
    move) echo desktop move a --to side ;;
    snapshot) echo snapshot create a "snap$2" ;;
    revert) echo snapshot revert a base --yes ;;
    delete-snapshot) echo snapshot delete a base --yes ;;
    compact) echo desktop compact a ;;
    flatten) echo desktop flatten a ;;
    create) echo desktop create fresh --template lin ;;
    delete-template) echo template delete lin --yes ;;
    esac
}

# race ONE OTHER: what is wrong is told, and the function fails.
race() {
    local first second one two code
    load_state races
    start_daemon || bail "no start: $(cat "$work/log")"
    [ "$1" != create ] || ctl template publish lin --unsealed >/dev/null
    read -ra first < <(verb_of "$1" 1)
    read -ra second < <(verb_of "$2" 2)
    ctl "${first[@]}" >/dev/null 2>"$work/one.err" &
    one=$!
    ctl "${second[@]}" >/dev/null 2>"$work/two.err" &
    two=$!
    wait $one
    one=$?
    wait $two
    two=$?
    wait_idle || { diag "a job does not end"; return 1; }
    outcomes+=" $one$two"
    if [ $one != 0 ] && [ $two != 0 ]; then
        diag "nobody won: $(cat "$work/one.err" "$work/two.err")"
        return 1
    fi
    for code in $one $two; do
        if [[ ! $code =~ ^[0134]$ ]]; then
            diag "exit code $code: $(cat "$work/one.err" "$work/two.err")"
            return 1
        fi
    done
    # 1 is right only where a rule says no: that must be named.
    if { [ $one = 1 ] && ! [ -s "$work/one.err" ]; } || { [ $two = 1 ] && ! [ -s "$work/two.err" ]; }; then
        diag "failed without a reason"
        return 1
    fi
    store_is_clean && is_whole && catalog_is_sound || return 1
    stop_daemon || { diag "it does not stop"; return 1; }
    start_daemon || { diag "no start: $(tail -2 "$work/log")"; return 1; }
    store_is_clean && is_whole
}

# Every desktop has a disk that a guest can read, on a template version that is there.
is_whole() {
    local said
    said=$(signature) || return 1
    if grep -E 'MISSING|corrupt|unreadable|missing' <<<"$said" | grep -v '^trash gone'; then
        diag "$said"
        return 1
    fi
}

race_often() {
    local round bad=0 outcomes=
    for ((round = 0; round < ROUNDS; round++)); do
        race "$1" "$2" || bad=1
        kill_daemon
    done
    if [ $bad = 0 ]; then ok "$1 against $2 (exit codes$outcomes)"; else not_ok "$1 against $2"; fi
}

verbs=(reset undo-reset delete rename move snapshot revert delete-snapshot compact flatten)
for ((i = 0; i < ${#verbs[@]}; i++)); do
    for ((k = i; k < ${#verbs[@]}; k++)); do
        race_often "${verbs[i]}" "${verbs[k]}"
    done
done
race_often create delete-template

# ---- QEMU has the disk open ----

# hold_disk PATH: a QEMU that has it open for writing, until release_disk.
hold_disk() {
    coproc holder { exec qemu-io -f qcow2 "$1" 2>&1; }
    # Bash forgets the descriptors when the process ends; these stay.
    exec {holder_in}>&"${holder[1]}" {holder_out}<&"${holder[0]}"
    holder_pid=$holder_PID
    echo 'write -P 0x77 0 4k' >&"$holder_in"
    local line
    while read -r -t 10 line <&"$holder_out"; do
        [[ $line == *"4 KiB"* ]] && return 0
    done
    return 1
}

release_disk() {
    echo quit >&"$holder_in"
    wait "$holder_pid" 2>/dev/null
    exec {holder_in}>&- {holder_out}<&-
}

# refused WHAT COMMAND...: exit code 4, and everything as it was.
refused() {
    local what=$1 before after code
    shift
    before=$(signature_of_lists)
    ctl "$@" >"$work/out" 2>"$work/err"
    code=$?
    after=$(signature_of_lists)
    if [ $code = 4 ] && [ "$before" = "$after" ] && [ -s "$work/err" ]; then
        ok "$what of a disk that QEMU has open is refused as busy"
    else
        not_ok "$what of a disk that QEMU has open: exit $code, $(cat "$work/err")"
        diff <(echo "$before") <(echo "$after") | sed 's/^/# /'
    fi
}

# Without reading the layers, which are being written.
signature_of_lists() {
    ctl desktop list -o json && ctl trash list -o json
    ls "$state"/*/layers "$state"/*/trash
}

load_state races
start_daemon || bail "no start"
path=$(ctl desktop path a)
disk=$(trash_id a disk)
check "QEMU opens the disk" hold_disk "$path"
check "it shows as live" [ "$(ctl desktop show a -o json | jq .live)" = true ]
check "another one does not" [ "$(ctl desktop show b -o json | jq .live)" = false ]
refused reset desktop reset a --yes
refused undo-reset desktop undo-reset a --yes
refused delete desktop delete a --yes
refused move desktop move a --to side
refused "restore of a former disk" trash restore "$disk"
check "a batch does the others" [ "$(ctl desktop reset a b --yes -o json 2>/dev/null | jq -c '[.n_done, .n_failed]')" = '[1,1]' ]
check "the path is still the same" [ "$(ctl desktop path a)" = "$path" ]
check "store check takes the live layer as it is" quiet ctl store check
check "and says so" [ "$(ctl store check -o json | jq '[.stores[].n_live] | add')" = 1 ]
check "rename needs no disk" quiet ctl desktop rename a anna
release_disk
check "it is not live any more" [ "$(ctl desktop show anna -o json | jq .live)" = false ]
check "what QEMU wrote is there" qemu-io -r -f qcow2 -c 'read -q -P 0x77 0 4k' "$path"
check "then it is reset" quiet ctl desktop reset anna --yes
check "the store is clean" store_is_clean

# The other way round: while a verb holds the disk, QEMU does not get it; here only the outcome can
# be seen, so a QEMU that opens the disk all the time races with resets.
(
    while [ ! -e "$work/enough" ]; do
        qemu-io -f qcow2 -c 'write -q -P 0x33 0 64k' "$(ctl desktop path c)" >/dev/null 2>&1
    done
) &
opener=$!
for ((i = 0, n_busy = 0, n_other = 0; i < 30; i++)); do
    ctl desktop reset c --yes >/dev/null 2>&1
    case $? in
    0) ;;
    4) n_busy=$((n_busy + 1)) ;;
    *) n_other=$((n_other + 1)) ;;
    esac
done
touch "$work/enough"
wait $opener
check "resets beside a QEMU that comes and goes ($n_busy of 30 busy)" [ $n_other = 0 ]
check "no disk in the trash was written after its reset" store_is_clean
stop_daemon
check "the catalog is sound" catalog_is_sound
finish
