#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# hardware.t: what machines desktops are: settings of versions and desktops, networks and groups of
# hosts, as a real libvirtd and QEMU take them.  The guests have no system.
. "$(dirname "$0")/lib.sh"
. "$repo/tests/guest/libvirt.sh"

chmod 755 "$top"
start_daemon || exit 1
truncate -s 64M "$top/g.raw"
ctl template import lin "$top/g.raw" --format raw --memory 64M --cpus 1 >/dev/null 2>&1
ctl template import win "$top/g.raw" --format raw --memory 64M --cpus 2 >/dev/null 2>&1
xml() { libvirt_virsh dumpxml "$1"; }

# ---- Settings ----

ok 'a desktop with hardware of its own' ctl desktop create a --template lin --cpus 3 --memory 96M --heads 2
json_ok '... has it, over its version' "$(ctlj desktop show a)" '.hardware.cpus == 3 and .hardware.memory_bytes == 100663296 and .hardware.heads == 2'
ok 'a desktop without' ctl desktop create b --template lin
json_ok '... is as its version' "$(ctlj desktop show b)" '.hardware.cpus == 1 and .hardware.memory_bytes == 67108864'
fails_with 2 "must be from 1.0 MiB to 64.0 TiB" 'too little memory' ctl desktop set a --memory 1
ok 'a version is set' ctl template set lin --cpus 2 --clipboard off --usb storage,0x0b --io-limit 10M --iops-limit 500
json_ok '... for its desktops' "$(ctlj desktop show b)" '.hardware.cpus == 2 and .hardware.clipboard == false and .hardware.io_limit == 10485760'
json_ok '... but not over their own' "$(ctlj desktop show a)" '.hardware.cpus == 3 and .hardware.usb == "storage,0x0b"'
json_ok '... and stands with it' "$(ctlj template versions lin)" '.[-1].cpus == 2 and .[-1].hardware.clipboard == false'
ok 'what is of a desktop alone is taken away' ctl desktop set a --unset cpus,memory
is "$(field .hardware.cpus desktop show a)" 2 '... and the version counts'
ok 'several, with identity beside' ctl desktop set a b --heads 4 --user ann
json_ok '... both' "$(ctlj desktop show b)" '.hardware.heads == 4 and .identity.user == "ann"'
fails_with 2 'heads. must be' 'five monitors' ctl desktop set a --heads 5
fails_with 2 'usb. must be' 'an unknown class of USB devices' ctl desktop set a --usb storage,toaster
fails_with 3 'no network' 'a network that is not there' ctl desktop set a --network nosuch
fails_with 2 'nothing is to be set' 'nothing' ctl desktop set a
ctl template import lin "$top/g.raw" --format raw >/dev/null 2>&1
json_ok 'the next version takes it over' "$(ctlj template versions lin)" '.[-1].version == 2 and .[-1].hardware.usb == "storage,0x0b"'
ok 'windows' ctl template set win --profile windows --heads 2 --firmware uefi
ctl desktop create w --template win >/dev/null

# ---- Networks and groups ----

ok 'a bridge' ctl network add office --bridge br0
ok 'a VLAN' ctl network add lab --bridge br0 --vlan 12
ok 'an isolated one' ctl network add exam --isolated
ok 'a group' ctl host-group add rack1 --cpu-model qemu64 --machine pc-i440fx-7.2
ok 'a network of a group' ctl network add far --bridge br0 --host-group rack1
fails_with 1 'already' 'the same name' ctl network add lab --isolated
fails_with 2 'bridge has a name' 'a bridge with a name that Linux refuses' ctl network add x --bridge "br0'/><x"
fails_with 2 'must be from 1' 'a VLAN with a number that is none' ctl network add x --bridge br0 --vlan 5000
fails_with 2 'either --bridge' 'neither bridge nor isolated' ctl network add x
json_ok 'the list' "$(ctlj network list)" 'map(.name) == ["exam", "far", "lab", "office"] and .[1].host_group == "rack1" and .[2].vlan == 12'
ok 'a desktop in two' ctl desktop set b --network office --network exam
fails_with 4 'is on the network' 'a network in use stays' ctl network remove exam
fails_with 4 'in the group' 'a group in use stays' ctl host-group remove rack1

# ---- As libvirt takes them ----

LIBVIRT_NET=1 libvirt_start "$top/lv" || exit 1
libvirt_inside ip link add br0 type bridge
libvirt_inside ip link add br0.12 type bridge
libvirt_inside ip address add 10.9.9.1/24 dev br0 # SPICE listens on IPv4 only where there is some
libvirt_inside ip link set br0 up
for f in no-{mac-spoofing,mac-broadcast,ip-spoofing,arp-mac-spoofing,arp-ip-spoofing,arp-spoofing,other-rarp-traffic} \
    allow-{incoming-ipv4,dhcp,ipv4,arp} qemu-announce-self-rarp qemu-announce-self no-other-l2-traffic clean-traffic; do
    libvirt_virsh nwfilter-define "/etc/libvirt/nwfilter/$f.xml" >/dev/null 2>&1
done
ok 'a host, in the group' ctl host add vs-a "qemu+unix:///system?socket=$top/lv/run/libvirt-sock" --host-group rack1
ok '... is up' wait_for 60 host_is vs-a up
known() { [ "$(field .used_accelerator host show vs-a)" != null ]; }
ok 'whether KVM works was tried' wait_for 90 known
ok 'the others get the host too' ctl host set vs-a --accelerator tcg
is "$(field .used_accelerator host show vs-a)" tcg '... with the accelerator that is said'
ok 'start' ctl desktop start a b
x=$(xml a)
like "$x" "<vcpu placement='static'>2</vcpu>" 'its processors'
like "$x" "machine='pc-i440fx-7.2'" 'the machine type of the group'
like "$x" '<model fallback=.forbid.>qemu64</model>' 'its CPU model'
like "$x" "heads='4' primary" 'four heads'
like "$x" "vgamem='65536' heads='4'" '... in a frame that holds them'
like "$x" "clipboard copypaste='no'" 'no clipboard'
like "$x" "usbdev class='0x8' allow='yes'|usbdev class='0x08' allow='yes'" 'USB storage'
like "$x" "total_bytes_sec>10485760" 'the limit of its disk'
is "$(grep -c "<redirdev " <<<"$x")" 4 'four USB devices may come'
x=$(xml b)
is "$(grep -c "<interface " <<<"$x")" 2 'two adapters'
like "$x" "<mac address='$(field .mac desktop show b)'/>" 'the first with the MAC of the desktop'
is "$(grep -c "filter='clean-traffic'" <<<"$x")" 2 'both are filtered'
macs=$(grep -o "<mac address='[^']*'" <<<"$x")
like "$(libvirt_inside ip -o link show master br0)" 'vnet' 'one is on the bridge'
like "$(libvirt_virsh net-list)" 'imaged-.* active' 'the isolated network was made'
# libvirt learns the guests' addresses in a thread of its own, which makes the rules and then hangs them in.
are_looked_at() { [ "$(libvirt_inside ebtables -t nat -L PREROUTING 2>&1 | grep -c -- '-j libvirt-I-vnet')" -ge "$1" ]; }
ok 'packets of both are looked at' wait_for 30 are_looked_at 2
ctl desktop stop b --force >/dev/null
ok 'again' ctl desktop start b
is "$(xml b | grep -o "<mac address='[^']*'")" "$macs" 'the MAC addresses stay'
ok 'a Windows that boots by UEFI' ctl desktop start w
x=$(xml w)
is "$(grep -c "<video>" <<<"$x")" 2 'an adapter for each monitor'
like "$x" "OVMF.fd" 'the firmware'
like "$x" "offset='localtime'" 'the local time'
like "$x" "bus='sata'" 'a disk that it has a driver for'

# ---- What UEFI keeps ----

fails_with 2 'cannot be made to keep anything' 'a TPM that keeps its state' ctl desktop set a --tpm persistent
ctl desktop create k --template lin --firmware uefi --nvram keep --memory 256M --cpus 1 >/dev/null
json_ok 'a desktop whose UEFI keeps its variables' "$(ctlj desktop show k)" '.hardware.nvram == "keep"'
kept=$store/config/$(field .id desktop show k)
blank=/usr/share/OVMF/OVMF_VARS_4M.fd
has_written() { ! cmp -s "$kept-$1.nvram" "$blank"; }
mark() { tail -c 4 "$kept-$1.nvram"; } # in a part that nothing uses
ok '... starts' ctl desktop start k
like "$(xml k)" "<source file='$kept-1.nvram'" '... with a file of the store'
is "$(stat -c %a "$kept-1.nvram")" 660 '... which QEMU may write to by its group'
ok '... and does' wait_for 120 has_written 1
ok 'all is accounted for' check_is_clean
ctl desktop stop k --force >/dev/null
printf KEPT | dd of="$kept-1.nvram" bs=1 seek=$(($(stat -c %s "$blank") - 4)) conv=notrunc status=none
ok 'off and on' ctl desktop start k
is "$(mark 1)" KEPT '... it is the same file'
ok '... with what was written' has_written 1
ctl desktop stop k --force >/dev/null
ok 're-imaged' ctl desktop reset k --yes
ok '... and on' ctl desktop start k
like "$(xml k)" "<source file='$kept-2.nvram'" '... with another file'
ok '... which began as ever' test "$(mark 2)" != KEPT
ctl desktop stop k --force >/dev/null
ok 'undone' ctl desktop undo-reset k --yes
ok '... and on' ctl desktop start k
like "$(xml k)" "<source file='$kept-3.nvram'" '... with a file of its generation'
is "$(mark 3)" KEPT '... which is the former one'
ok '... and not twice' test ! -e "$kept-1.nvram"
ctl desktop stop k --force >/dev/null
json_ok 'what it runs with counts' "$(ctlj desktop show a)" '.pending == []'
ok 'what is set while it runs' ctl desktop set a --cpus 1 --clipboard on
json_ok '... holds from its next start' "$(ctlj desktop show a)" '.hardware.cpus == 1 and .pending == ["cpus", "clipboard"]'
like "$(ctl desktop show a)" 'PENDING +cpus, ?clipboard' '... and people are told'
ctl desktop stop a --force >/dev/null
json_ok 'one that is off waits for nothing' "$(ctlj desktop show a)" '.pending == []'
ok 'start' ctl desktop start a
json_ok '... with them' "$(ctlj desktop show a)" '.pending == []'
like "$(xml a)" "<vcpu placement='static'>1</vcpu>" '... says libvirt'

# ---- Where there is no network ----

ok 'the host leaves the group' ctl host set vs-a --host-group ''
ctl desktop create c --template lin --network far >/dev/null
fails_with 1 "has not the desktop's networks" 'its network is not there' ctl desktop start c
ok 'without it' ctl desktop set c --unset networks
ctl template set lin --unset clipboard,usb >/dev/null
ctl user add ann >/dev/null && ctl group add guests >/dev/null && ctl group add staff >/dev/null &&
    ctl group add-member guests ann >/dev/null && ctl group add-member staff ann >/dev/null
ok 'what a group may do' ctl group channels guests --clipboard off --usb storage,printer --audio playback
ok '... and another one' ctl group channels staff --usb printer,hid --file-transfer on
json_ok '... is shown' "$(ctlj group channels guests)" '.policy == {clipboard: false, usb: "storage,printer", audio: "playback"}'
like "$(curl -s --unix-socket "$state/imaged.sock" -d '{"policy":{"cpus":1}}' http://localhost/v1/groups/guests/channels)" 'channel policy has no' 'processors are none of that'
json_ok 'a desktop of nobody' "$(ctlj desktop show c)" '.hardware.clipboard != false and .hardware.audio != "playback"'
ctl desktop assign c ann >/dev/null
json_ok 'her desktop has the strictest of all' "$(ctlj desktop show c)" '.hardware | .clipboard == false and .usb == "printer" and .audio == "playback" and .file_transfer'
ok '... it starts' ctl desktop start c
x=$(xml c)
like "$x" "clipboard copypaste='no'" 'no clipboard, by the group'
is "$(grep -c "<usbdev .*allow='yes'" <<<"$x")" 1 '... USB printers alone'
like "$x" "<codec type='output'/>" '... sound one way'
ok 'nothing is said any more' ctl group channels guests --unset clipboard,usb,audio
json_ok '... and nothing forbidden' "$(ctlj desktop show c)" '.hardware | .clipboard and .usb == "printer,hid"'
ctl pool create hall --template lin --size 1 >/dev/null
made() { pooled=$(ctlj pool show hall --desktops | jq -r '.[] | select(.state == "free") | .name'); [ "$pooled" ]; }
ok 'a pool with a desktop' wait_for 60 made
ok 'what its users may do' ctl pool channels hall --shared-folder off
json_ok '... holds for its desktop' "$(ctlj desktop show "$pooled")" '.hardware.shared_folder == false and .hardware.usb != "printer,hid"'
ctl pool grant hall --group staff >/dev/null
json_ok 'so does what those may do who may get it' "$(ctlj desktop show "$pooled")" '.hardware.shared_folder == false and .hardware.usb == "printer,hid"'
ok 'its machines' ctl pool hardware hall --cpus 3 --network exam
json_ok '... are so' "$(ctlj pool hardware hall)" '.hardware == {"cpus": 3, "networks": ["exam"]}'
json_ok '... for its desktop too' "$(ctlj desktop show "$pooled")" '.hardware.cpus == 3 and .hardware.networks == ["exam"]'
fails_with 4 'pool' 'a network of a pool stays' ctl network remove exam
fails_with 2 'no option .--clipboard' 'what users may do is set elsewhere' ctl pool hardware hall --clipboard off
fails_with 2 'pool channels' '... which the daemon says, too' ctl pool hardware hall --unset clipboard
fails_with 2 'no setting' 'an unknown word' ctl pool hardware hall --unset nonsense
fails_with 3 'no network' 'nor an unknown network' ctl pool hardware hall --network nosuch
ok 'taken away' ctl pool hardware hall --unset cpus,networks
json_ok '... it is as the version says' "$(ctlj desktop show "$pooled")" '.hardware.cpus == 2'
# ---- Addresses: of libvirt's own mock, which makes some up ----

ctl host add sim test:///default --accelerator tcg >/dev/null
ok 'a host that is none' wait_for 60 host_is sim up
ctl host maintenance vs-a >/dev/null
ctl desktop create d --template lin >/dev/null
ok 'a desktop there' ctl desktop start d
has_address() { ctlj desktop show d | jq -e '.addresses == ["192.168.0.1"]' >/dev/null; }
ok 'its address is told' wait_for 60 has_address
ok 'all stop' ctl desktop stop a b c d w --force
ok 'the check is clean' ctl store check
done_testing
