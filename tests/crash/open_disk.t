#!/bin/bash
# A disk that QEMU has open is never taken away: what would is refused, and resets race with a QEMU that
# comes and goes.
set -u
cd "$(dirname "$0")" || exit 1
. ./lib.sh

make_situation
add_stores
ctl snapshot create a base >/dev/null || bail "snapshot"
write_disk a 0xa3 256k 64k
wait_idle

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
