# sweep.sh: what a test leaves behind, however it ended: its processes, mounts, loop devices, its folder.
#
# Read by bash; needs nothing else.  A test's processes are those that name its folder: on their command
# line, in their environment (TMPDIR lies in it), or in mounts of namespaces of their own.  What has no
# place in a folder (network interfaces) a test notes as commands in the file "undo" in it.

# sweep_processes FOLDER: ends its processes; TRUE if there were any.
sweep_processes()
{
    local folder=$1 ours files p any=1
    ours=$(readlink /proc/self/ns/mnt)
    files=$(grep -lsaF "$folder" /proc/[0-9]*/{cmdline,environ})
    # In a namespace: what of the folder is mounted elsewhere.  (Its file systems are seen by other
    # tests' namespaces, too.)
    for p in $(grep -lsE "^([^ ]+ ){3}[^ ]*/${folder##*/}(/| )" /proc/[0-9]*/mountinfo); do
        [ "$(readlink "${p%/*}/ns/mnt")" = "$ours" ] || files+=" $p"
    done
    for p in $files; do
        p=${p#/proc/}
        p=${p%%/*}
        case " $$ $PPID $BASHPID " in *" $p "*) continue ;; esac
        kill -9 "$p" 2>/dev/null && any=0 # those that looked have ended by now
    done
    return $any
}

# Mount points in a folder, the last one first.
sweep_mounts()
{
    local at
    while read -r _ _ _ _ at _; do
        case $at in "$1"/*) echo "$at" ;; esac
    done </proc/self/mountinfo | tac
}

# sweep FOLDER: all of it is ended and taken away, the folder last; but with KEEP the folder stays.
sweep()
{
    local folder=$1 at loop n=0
    [ -d "$folder" ] || return 0
    while sweep_processes "$folder" && [ $((n += 1)) -lt 100 ]; do sleep 0.05; done
    [ ! -f "$folder/undo" ] || bash "$folder/undo" >/dev/null 2>&1 </dev/null
    while read -r at; do
        umount "$at" 2>/dev/null || umount -l "$at" 2>/dev/null
    done < <(sweep_mounts "$folder")
    for loop in /sys/block/loop*; do
        read -r at 2>/dev/null <"$loop/loop/backing_file" || continue
        case $at in "$folder"/*) losetup -d "/dev/${loop##*/}" ;; esac
    done
    [ "${KEEP:-}" ] || rm -rf --one-file-system "$folder"
}
