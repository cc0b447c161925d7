# libvirt.sh: boot desktops under a real libvirtd of our own, look at them and speak to them.
#
# Read by bash.  The libvirtd lives in mount and process namespaces of its own, with private folders
# over /run/libvirt, /etc/libvirt and so on: it meets neither the system's libvirtd nor another
# test's, and when its first process is ended, every QEMU that it started is gone.  Domains are
# transient, TCG alone (type='qemu'), their chains spelled out.  Needs root.
#
#   libvirt_start DIR                     once; DIR is a scratch folder with a short path.
#                                         LIBVIRT_NET=1: in a network namespace of its own;
#                                         LIBVIRT_USER: QEMU's user and group (root);
#                                         LIBVIRT_SPICE_TLS: folder with its displays' certificate;
#                                         LIBVIRT_NO_SPICE=1: its QEMU knows no SPICE
#   libvirt_inside COMMAND...             in its namespaces
#   libvirt_define NAME KEY=VALUE...      boots a domain; see there for the keys
#   libvirt_virsh ARGS...                 virsh with our libvirtd
#   libvirt_host NAME ARGS...             in a test: the daemon gets it as a host, which is up
#   guest_wait NAME SECONDS               until its guest agent answers
#   guest_run NAME COMMAND                a shell command in the guest; its output, its exit status
#   guest_reboot NAME SECONDS             returns when the agent of the new boot answers; also in two
#                                         halves: guest_reboot_start NAME, guest_reboot_wait NAME SECONDS
#   guest_screenshot NAME FILE.ppm        by a SPICE client
#   picture_has_content FILE.ppm          is it more than one colour?
#   libvirt_destroy NAME                  power off
#   libvirt_stop                          ends everything; the end of a test does, too (sweep.sh)

libvirt_dir=
libvirt_pid=

# The first process in the namespaces: it waits for ever, and is killed.
libvirt_write_init()
{
    cat >"$libvirt_dir/init.sh" <<E
mount --make-rprivate /
for m in run:/run/libvirt lib:/var/lib/libvirt etc:/etc/libvirt log:/var/log/libvirt \\
    cache:/var/cache/libvirt; do
    mkdir -p "\${m#*:}"
    mount --bind "$libvirt_dir/\${m%%:*}" "\${m#*:}" || exit 1
done
mount -t tmpfs tmpfs /sys/fs/cgroup
mount -t tmpfs tmpfs /run/lock # of consoles, which are named as everywhere
${LIBVIRT_NO_SPICE:+mount --bind "$libvirt_dir/modules" "$(dirname "$(find /usr/lib -name ui-spice-core.so)")"}
ip link set lo up
libvirtd --config /etc/libvirt/libvirtd.conf --pid-file /run/libvirt/d.pid >/var/log/libvirt/out 2>&1 &
trap : CHLD
while :; do sleep 1000 & wait; done
E
}

libvirt_start()
{
    libvirt_dir=$1
    mkdir -p "$libvirt_dir"/{run,lib/boot,etc/qemu/networks,etc/secrets,etc/storage,etc/nwfilter,log,cache}
    cat >"$libvirt_dir/etc/libvirtd.conf" <<E
listen_tls = 0
listen_tcp = 0
auth_unix_rw = "none"
unix_sock_group = "root"
host_uuid = "77000000-0000-4000-8000-0000000000aa"
log_outputs = "2:file:/var/log/libvirt/libvirtd.log"
E
    cat >"$libvirt_dir/etc/qemu.conf" <<E
user = "${LIBVIRT_USER:-root}"
group = "${LIBVIRT_USER:-root}"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
cgroup_controllers = []
namespaces = []
stdio_handler = "file"
E
    [ -z "${LIBVIRT_SPICE_TLS:-}" ] || cat >>"$libvirt_dir/etc/qemu.conf" <<E
spice_tls = 1
spice_tls_x509_cert_dir = "$LIBVIRT_SPICE_TLS"
E
    : >"$libvirt_dir/etc/libvirt.conf"
    if [ "${LIBVIRT_NO_SPICE:-}" ]; then
        cp -a "$(dirname "$(find /usr/lib -name ui-spice-core.so)")" "$libvirt_dir/modules"
        rm "$libvirt_dir"/modules/*spice*
    fi
    libvirt_write_init
    # shellcheck disable=SC2086 # no word if it is empty
    unshare --mount --uts --ipc --pid ${LIBVIRT_NET:+--net} --fork --kill-child --mount-proc \
        bash "$libvirt_dir/init.sh" </dev/null >"$libvirt_dir/log/init" 2>&1 &
    libvirt_pid=$!
    local end=$((SECONDS + 30))
    until libvirt_virsh hostname >/dev/null 2>&1; do
        if [ $SECONDS -gt $end ] || ! kill -0 "$libvirt_pid" 2>/dev/null; then
            cat "$libvirt_dir"/log/* >&2
            return 1
        fi
        sleep 0.1
    done
}

libvirt_stop()
{
    # A child that is ended before it has become another program runs our traps.
    [ "$libvirt_pid" ] && [ "$BASHPID" = $$ ] || return 0
    # unshare passes no signal on, but takes its child with it.
    kill -9 "$libvirt_pid" 2>/dev/null
    wait "$libvirt_pid" 2>/dev/null
    libvirt_pid=
}

libvirt_inside()
{
    nsenter -a -t "$(pgrep -P "$libvirt_pid" | head -n 1)" "$@"
}

libvirt_uri()
{
    echo "qemu+unix:///system?socket=$libvirt_dir/run/libvirt-sock"
}

libvirt_virsh()
{
    timeout 60 virsh -q -c "$(libvirt_uri)" "$@"
}

libvirt_host()
{
    ctl host add "$1" "$(libvirt_uri)" "${@:2}" >/dev/null
    ok "the host $1 is up" wait_for 60 host_is "$1" up
}

# chain_xml FILE: <source> and <backingStore> for FILE and all below it, as QEMU's tool reads them.
chain_xml()
{
    qemu-img info -U --output=json --backing-chain "$1" | jq -r '
        def xml: gsub("&"; "&amp;") | gsub("'\''"; "&apos;") | gsub("<"; "&lt;");
        def below: if length == 0 then "<backingStore/>" else
            "<backingStore type='\''file'\''><format type='\''\(.[0].format)'\''/>" +
            "<source file='\''\(.[0].filename | xml)'\''/>" + (.[1:] | below) + "</backingStore>"
            end;
        "<source file='\''\(.[0].filename | xml)'\''/>" + (.[1:] | below)'
}

# libvirt_define NAME KEY=VALUE...:
#   disk=FILE         qcow2, virtio (vda)
#   data=FILE         a second one (vdb)
#   config=FILE       the config disk, a CD-ROM
#   config_bus=ide|sata|scsi   ide; with q35 scsi (virtio): the cloud kernel has no AHCI for sata
#   kernel=FILE initrd=FILE cmdline=TEXT   boot these, not what the disk holds
#   firmware=bios|uefi   mac=MAC   uuid=UUID   memory=MIB (512)   machine=TYPE (pc)
#   video=qxl|virtio|none (qxl)   net=user|none|XML (user)   cache=MODE (unsafe: flushes cost most of a TCG guest's time)
libvirt_define()
{
    local name=$1 arg boot='' extra='' net
    local -A o=([firmware]=bios [memory]=512 [machine]=pc [video]=qxl [net]=user [cache]=unsafe)
    shift
    for arg; do o[${arg%%=*}]=${arg#*=}; done
    if [ "${o[kernel]:-}" ]; then
        boot="<kernel>${o[kernel]}</kernel><initrd>${o[initrd]}</initrd>"
        boot+="<cmdline>${o[cmdline]:-root=/dev/vda rw quiet no_timer_check console=ttyS0 console=tty0}</cmdline>"
    else
        boot="<boot dev='hd'/>"
    fi
    if [ "${o[firmware]}" = uefi ]; then
        boot+="<loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.fd</loader>"
        boot+="<nvram template='/usr/share/OVMF/OVMF_VARS_4M.fd'>$libvirt_dir/lib/$name.fd</nvram>"
        o[machine]=q35
    fi
    if [ "${o[data]:-}" ]; then
        extra+="<disk type='file' device='disk'><driver name='qemu' type='qcow2' cache='${o[cache]}'/>"
        extra+="$(chain_xml "${o[data]}")<target dev='vdb' bus='virtio'/></disk>"
    fi
    if [ "${o[config]:-}" ]; then
        local bus=ide at=hdc
        [ "${o[machine]}" != q35 ] || bus=scsi
        bus=${o[config_bus]:-$bus}
        if [ "$bus" != ide ]; then at=sda; fi
        if [ "$bus" = scsi ]; then extra+="<controller type='scsi' model='virtio-scsi'/>"; fi
        extra+="<disk type='file' device='cdrom'><driver name='qemu' type='raw'/>"
        extra+="<source file='${o[config]}'/><target dev='$at' bus='$bus'/><readonly/></disk>"
    fi
    case ${o[net]} in
    none) net='' ;;
    user) net="<interface type='user'>${o[mac]:+<mac address='${o[mac]}'/>}<model type='virtio'/></interface>" ;;
    *) net=${o[net]} ;;
    esac
    : >"$libvirt_dir/log/$name.console"
    cat >"$libvirt_dir/lib/$name.xml" <<E
<domain type='qemu'>
<name>$name</name>
${o[uuid]:+<uuid>${o[uuid]}</uuid>}
<memory unit='MiB'>${o[memory]}</memory>
<vcpu>1</vcpu>
<os><type arch='x86_64' machine='${o[machine]}'>hvm</type>$boot</os>
<features><acpi/></features>
<cpu mode='custom' match='exact'><model>qemu64</model></cpu>
<on_crash>destroy</on_crash>
<devices>
<emulator>/usr/bin/qemu-system-x86_64</emulator>
<disk type='file' device='disk'><driver name='qemu' type='qcow2' cache='${o[cache]}'/>
$(chain_xml "${o[disk]}")
<target dev='vda' bus='virtio'/></disk>
$extra
$net
<graphics type='spice' autoport='yes' listen='127.0.0.1'/>
<video><model type='${o[video]}'/></video>
<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
<channel type='spicevmc'><target type='virtio' name='com.redhat.spice.0'/></channel>
<serial type='file'><source path='$libvirt_dir/log/$name.console'/></serial>
<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
<memballoon model='none'/>
</devices>
</domain>
E
    libvirt_virsh create "$libvirt_dir/lib/$name.xml"
}

libvirt_destroy()
{
    libvirt_virsh destroy "$1"
}

# The end of what the guest wrote to its serial port, for messages.
guest_console()
{
    tail -c "${2:-1500}" "$libvirt_dir/log/$1.console"
}

agent()
{
    libvirt_virsh qemu-agent-command --timeout 20 "$1" "$2" 2>/dev/null
}

guest_wait()
{
    local end=$((SECONDS + $2))
    until agent "$1" '{"execute":"guest-ping"}' >/dev/null; do
        if [ $SECONDS -gt $end ] || grep -qs 'Kernel panic' "$libvirt_dir/log/$1.console"; then
            guest_console "$1" >&2
            return 1
        fi
        sleep 0.3
    done
}

guest_run()
{
    local name=$1 pid answer end=$((SECONDS + ${GUEST_RUN_LIMIT:-300}))
    pid=$(agent "$name" "$(jq -nc --arg c "$2" '{execute: "guest-exec", arguments:
        {path: "/bin/sh", arg: ["-c", $c], "capture-output": true}}')" | jq .return.pid)
    [ "$pid" ] || return 125
    while :; do
        answer=$(agent "$name" "{\"execute\":\"guest-exec-status\",\"arguments\":{\"pid\":$pid}}")
        [ "$(jq .return.exited <<<"$answer")" != true ] || break
        [ $SECONDS -le $end ] || return 124
        sleep 0.2
    done
    jq -r '.return["out-data"] // empty' <<<"$answer" | base64 -d
    jq -r '.return["err-data"] // empty' <<<"$answer" | base64 -d >&2
    return "$(jq '.return.exitcode // 126' <<<"$answer")"
}

# In two halves, so that something else can be done meanwhile.
guest_reboot_start()
{
    local id
    id=$(guest_run "$1" 'cat /proc/sys/kernel/random/boot_id') || return
    echo "$id" >"$libvirt_dir/lib/$1.boot"
    agent "$1" '{"execute":"guest-shutdown","arguments":{"mode":"reboot"}}' >/dev/null
    return 0 # it does not answer that one
}

guest_reboot_wait()
{
    local end=$((SECONDS + $2)) now
    until now=$(guest_run "$1" 'cat /proc/sys/kernel/random/boot_id' 2>/dev/null) &&
        [ "$now" ] && [ "$now" != "$(cat "$libvirt_dir/lib/$1.boot")" ]; do
        if [ $SECONDS -gt $end ]; then
            guest_console "$1" >&2
            return 1
        fi
        sleep 0.5
    done
}

guest_reboot()
{
    guest_reboot_start "$1" && guest_reboot_wait "$@"
}

guest_screenshot()
{
    local port
    port=$(libvirt_virsh domdisplay --type spice "$1" | sed 's/.*://')
    # GTK's client wants a home; it needs no display.
    HOME=$libvirt_dir timeout 120 spicy-screenshot -h 127.0.0.1 -p "$port" -o "$2" >/dev/null 2>&1
    [ -s "$2" ]
}

# Of a binary PPM; the header is three lines.
picture_has_content()
{
    [ "$(tail -n +4 "$1" | head -c 3000000 | od -An -v -tx1 -w3 | sort -u | head -n 3 | wc -l)" -ge 2 ]
}
