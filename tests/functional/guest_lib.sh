# guest_lib.sh: for tests of the helper imaged-guest: small guests, and one appliance for all tests.
#
# Read by bash after lib.sh.  No guest is booted; the appliance (20 s under TCG) is.

guesttool=$BUILD/tests/guesttool
# Made once, by whichever test comes first: imaged-guest itself sees to that.
appliance=$BUILD/appliance
uuid=11111111-2222-3333-4444-555555555555 # the same for all, as clones have it

configure_guest()
{
    configure "appliance = $appliance" "accelerator = tcg" "$@"
}

# make_tree DIR: what an inspection takes for Debian.
make_tree()
{
    mkdir -p "$1"/{etc,bin,sbin,usr/bin,home/alice,root,tmp,var/lib,var/log}
    printf 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n' >"$1/etc/os-release"
    echo 12.5 >"$1/etc/debian_version"
    echo "UUID=$uuid / ext4 defaults 0 1" >"$1/etc/fstab"
    echo guest >"$1/etc/hostname"
    printf 'root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\n' >"$1/etc/passwd"
    touch "$1/bin/sh"
}

# make_fs DIR FILE [SIZE]: an ext4 of it, without a partition table.
make_fs()
{
    rm -f "$2"
    mke2fs -q -t ext4 -d "$1" -U $uuid "$2" "${3:-64M}"
}

# in_fs FILE COMMAND: what debugfs says about it.
in_fs()
{
    debugfs -R "$2" "$1" 2>/dev/null
}

# lacks IMAGE PATH: debugfs can read the file system, and says that nothing is there.
lacks()
{
    debugfs -R "stat \"$2\"" "$1" 2>&1 | grep -q 'File not found by ext2_lookup'
}

# fill DESKTOP FILE: its disk gets these bytes, written by qemu-storage-daemon.
fill()
{
    local uri
    uri=$(ctl export start "$1" --read-write) && nbdcopy "$2" "$uri" && ctl export stop "$1"
}

# Processes below this daemon that belong to a helper's run.
helpers()
{
    pgrep -P "$1" -f 'imaged-guest --role'
}

# Every process of a helper's run, its appliance too, whoever is its parent by now: within its own view
# it names nothing of ours, but the mounts of that view do.
run_processes()
{
    local pid
    for pid in $(pgrep -f 'imaged-guest --role|qemu-system|passt|guestfs'); do
        grep -q "${top##*/}.*/guest/" "/proc/$pid/mountinfo" "/proc/$pid/cmdline" 2>/dev/null && echo "$pid"
    done
    return 0
}

# What helpers of ours have left: processes and folders.
leftovers()
{
    run_processes
    ls -A "$state/guest" 2>/dev/null
}
