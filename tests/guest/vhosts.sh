# vhosts.sh: several hosts on one machine: each a libvirtd in namespaces of its own (mounts, processes,
# network, name), so that it can be cut off, frozen and switched off as a whole.  All see the same files.
#
# Read by bash after lib.sh.  Needs root, TCG alone.  Names and addresses are this shell's own, so that
# several tests may run side by side.
#
#   vhosts_begin DIR          once: the network; DIR is a scratch folder
#   vhost_start N             starts host N (1 to 99), or again after it was switched off
#   vhost_uri N               where libvirt is reached from here, and from the other hosts
#   vhost_address N           of its network interface
#   vhost_virsh N ARGS...     virsh there
#   vhost_guests N            names of those whose QEMU is there, one a line
#   vhost_flush N GUEST       QEMU writes what it holds back
#   vhost_cut N, vhost_join N     its network cable
#   vhost_freeze N, vhost_thaw N  it hangs: all its processes stand still
#   vhost_power_off N         libvirtd and every QEMU are gone at once
#
# The end of the test ends all of it (sweep.sh).

vhosts_dir=
vhosts_net=      # "10.77.5"
declare -A vhost_pids=()

vhosts_begin()
{
    local n=$(($$ % 250))
    vhosts_dir=$1
    mkdir -p "$vhosts_dir"
    while ip -4 addr show | grep -q "inet 10\.77\.$n\."; do n=$(((n + 1) % 250)); done
    vhosts_net=10.77.$n
    vhosts_bridge=imbr$n
    ip link add "$vhosts_bridge" type bridge && echo "ip link del $vhosts_bridge" >>"$top/undo" &&
        ip addr add "$vhosts_net.254/24" dev "$vhosts_bridge" && ip link set "$vhosts_bridge" up
}

vhost_address()
{
    echo "$vhosts_net.$1"
}

vhost_uri()
{
    echo "qemu+tcp://$vhosts_net.$1/system"
}

# The name of its network namespace, and of this machine's end of its cable.
vhost_netns()
{
    echo "im${vhosts_net##*.}h$1"
}

vhost_cable()
{
    echo "imv${vhosts_net##*.}h$1"
}

vhost_write_settings()
{
    local d=$vhosts_dir/h$1 address
    address=$(vhost_address "$1")
    mkdir -p "$d"/{run,lib/boot,etc/qemu/networks,etc/secrets,etc/storage,etc/nwfilter,log,cache}
    cat >"$d/etc/libvirtd.conf" <<E
listen_tls = 0
listen_tcp = 1
listen_addr = "$address"
auth_tcp = "none"
auth_unix_rw = "none"
unix_sock_group = "root"
host_uuid = "$(printf '77000000-0000-4000-8000-%012d' "$1")"
log_outputs = "2:file:/var/log/libvirt/libvirtd.log"
max_clients = 200
E
    cat >"$d/etc/qemu.conf" <<E
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
cgroup_controllers = []
namespaces = []
stdio_handler = "file"
migration_address = "$address"
migration_host = "$address"
lock_manager = "nop"
E
    : >"$d/etc/libvirt.conf"
    cp /etc/libvirt/nwfilter/*.xml "$d/etc/nwfilter/"
    # Its first process waits for ever, and is killed.
    cat >"$d/init.sh" <<E
mount --make-rprivate /
for m in run:/run/libvirt lib:/var/lib/libvirt etc:/etc/libvirt log:/var/log/libvirt \\
    cache:/var/cache/libvirt; do
    mkdir -p "\${m#*:}"
    mount --bind "$d/\${m%%:*}" "\${m#*:}" || exit 1
done
mount -t tmpfs tmpfs /sys/fs/cgroup
hostname vhost$1
rm -f /run/libvirt/*.pid
libvirtd --listen --config /etc/libvirt/libvirtd.conf --pid-file /run/libvirt/d.pid >/var/log/libvirt/out 2>&1 &
trap : CHLD
while :; do sleep 1000 & wait; done
E
}

vhost_answers()
{
    timeout 5 virsh -q -c "$(vhost_uri "$1")" hostname
}

vhost_start()
{
    local n=$1 ns cable
    ns=$(vhost_netns "$n") cable=$(vhost_cable "$n")
    vhost_write_settings "$n"
    if ! ip netns list | grep -qw "$ns"; then
        ip netns add "$ns" && echo "ip link del $cable; ip netns del $ns" >>"$top/undo" && ip link add "$cable" type veth peer name eth0 netns "$ns" &&
            ip link set "$cable" master "$vhosts_bridge" up &&
            ip netns exec "$ns" sh -c "ip link set lo up; ip addr add $(vhost_address "$n")/24 dev eth0; ip link set eth0 up" || return
    fi
    ip netns exec "$ns" unshare --mount --uts --ipc --pid --fork --kill-child --mount-proc \
        bash "$vhosts_dir/h$n/init.sh" </dev/null >"$vhosts_dir/h$n/log/init" 2>&1 &
    vhost_pids[$n]=$!
    wait_for 60 vhost_answers "$n" || {
        cat "$vhosts_dir/h$n"/log/*
        return 1
    }
}

vhost_virsh()
{
    local n=$1
    shift
    timeout 60 virsh -q -c "$(vhost_uri "$n")" "$@"
}

vhost_cut()
{
    ip link set "$(vhost_cable "$1")" down
}

vhost_join()
{
    ip link set "$(vhost_cable "$1")" up
}

# Its processes: those in the process namespace of its first one.
vhost_processes()
{
    local first space p
    [ "${vhost_pids[$1]:-}" ] && first=$(pgrep -P "${vhost_pids[$1]}") || return
    space=$(readlink "/proc/$first/ns/pid")
    for p in /proc/[0-9]*; do
        [ "$(readlink "$p/ns/pid" 2>/dev/null)" = "$space" ] && echo "${p#/proc/}"
    done
}

# The names of guests whose QEMU is there, libvirtd asked or not.
vhost_guests()
{
    local p
    for p in $(vhost_processes "$1"); do
        tr '\0' '\n' <"/proc/$p/cmdline" 2>/dev/null | sed -n 's/^guest=\([^,]*\),.*/\1/p'
    done | sort
}

# What QEMU holds back is written when a guest stands still for a moment.
vhost_flush()
{
    vhost_virsh "$1" suspend "$2" && vhost_virsh "$1" resume "$2"
} >/dev/null 2>&1

vhost_freeze()
{
    vhost_processes "$1" | xargs -r kill -STOP
}

vhost_thaw()
{
    vhost_processes "$1" | xargs -r kill -CONT
}

vhost_power_off()
{
    local pid=${vhost_pids[$1]:-}
    [ "$pid" ] || return 0
    kill -9 "$(pgrep -P "$pid")" "$pid" 2>/dev/null # the process namespace dies with its first one
    wait "$pid" 2>/dev/null
    unset "vhost_pids[$1]"
}
