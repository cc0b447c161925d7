# counter_guest.sh: guests that count on their own disks, and what their disks tell (counter.S).
#
# Read by bash after lib.sh.  They boot in a second or two under TCG, and need 16 MiB.
#
#   counter_begin N DESKTOP...        N hosts (vhosts.sh), which the daemon knows as h1, h2 ..., and these
#                                     desktops of version 1 of the template "count"
#   hosts_up                          all of them are up
#   counter_import                    another version of it
#   counter_image FILE.raw            the disk that templates are made of
#   counter_read FILE                 sets counter, n_failed_writes, n_boots and n_twice from a chain that
#                                     may be in use: what QEMU has written of it so far
#   counter_of FILE                   prints the counter
#   counter_runs FILE                 does it count?  (waits for as long as 20 s)
#   counter_is_sound FILE [LEAST]     it never ran twice, no write is lost, and it counted to LEAST at least

# QEMU holds new mappings back until somebody flushes, and this guest cannot: while it runs a test has
# to, as stopping and going on does (vhost_flush).  Called before each look at a disk.
counter_flush()
{
    :
}

n_hosts=0

hosts_up()
{
    local n
    for ((n = 1; n <= n_hosts; n++)); do host_is h$n up || return; done
}

counter_import()
{
    ctl template import count "$top/g.raw" --format raw --memory 32M --cpus 1 >/dev/null 2>&1
}

counter_begin()
{
    local n
    chmod 755 "$top"
    vhosts_begin "$top/v" || exit 1
    start_daemon || exit 1
    counter_image "$top/g.raw"
    counter_import
    for ((n = 1; n <= $1; n++)); do
        vhost_start $n || exit 1
        ctl host add h$n "$(vhost_uri $n)" --accelerator tcg --store-path default="$store" --display-address "$(vhost_address $n)" >/dev/null
    done
    n_hosts=$1
    shift
    [ $# -eq 0 ] || ctl desktop create "$@" --template count >/dev/null
    ok "hosts that are up: $n_hosts" wait_for 60 hosts_up
}

counter_image()
{
    as --32 -o "$1.o" "$repo/tests/guest/counter.S" &&
        ld -m elf_i386 -Ttext 0x7c00 --oformat binary -o "$1" "$1.o" && rm "$1.o" && truncate -s 8M "$1"
}

# Bytes of a chain, through QEMU; of an image that is in use, too.
counter_sectors()
{
    qemu-io -U -r -f qcow2 -c "read -v $2 $3" "$1" | sed -n 's/^[0-9a-f]*:  *\(\([0-9a-f][0-9a-f] \)\{16\}\).*/\1/p'
}

counter_read()
{
    local b
    counter_flush
    read -r -a b < <(counter_sectors "$1" 512 512 | head -n 2 | tr '\n' ' ')
    [ ${#b[@]} -eq 32 ] || return
    [ "${b[4]}${b[5]}${b[6]}${b[7]}" = 49414d44 ] || return # not booted yet
    counter=$((0x${b[3]}${b[2]}${b[1]}${b[0]}))
    n_failed_writes=$((0x${b[11]}${b[10]}${b[9]}${b[8]}))
    n_boots=$((0x${b[15]}${b[14]}${b[13]}${b[12]}))
    n_twice=$((0x${b[19]}${b[18]}${b[17]}${b[16]}))
}

counter_of()
{
    counter_read "$1" && echo "$counter"
}

counter_is_beyond()
{
    counter_read "$1" && [ "$counter" -gt "$2" ]
}

counter_runs()
{
    local from
    from=$(counter_of "$1" 2>/dev/null) || from=0
    wait_for 20 counter_is_beyond "$1" "$from"
}

# Each sector of the ring holds the last number that belongs there, but for the newest one, which may
# have come after the counter was read.
counter_is_sound()
{
    counter_read "$1" || { echo "it has not counted"; return 1; }
    [ "$n_twice" -eq 0 ] || { echo "it ran twice: $n_twice"; return 1; }
    [ "$counter" -ge "${2:-1}" ] || { echo "it is at $counter, not ${2:-1}"; return 1; }
    counter_sectors "$1" 8k 512k | awk -v c="$counter" '
        function hex(h,  i, n) { n = 0; for (i = 1; i <= length(h); i++) n = n * 16 + index("0123456789abcdef", substr(h, i, 1)) - 1; return n }
        NR % 32 == 1 {
            i = (NR - 1) / 32; want = c - ((c - i) % 1024 + 1024) % 1024; got = hex($4 $3 $2 $1)
            if (want > 0 && got != want && got != want + 1024) { print "sector of " want " holds " got; bad = 1 }
        }
        END { exit bad || NR != 32768 }'
}
