#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# recipes.t: the recipes with a desktop that imaged comes with are built, looked into by debugfs and mtools,
# and booted with a BIOS under TCG until their user's session is there and a SPICE client sees it.
# `make check-recipes` runs it; it is no part of `make check`, because it takes ten minutes on 2 idle
# cores, and fetches 450 MB where build/package-cache does not have them yet.
. "$(dirname "${BASH_SOURCE[0]}")/../functional/lib.sh"
. "$repo/tests/guest/libvirt.sh"
. "$repo/tests/guest/packages.sh"

cd "$top" || exit 1
chmod 711 "$top" # builds run as another user, who must get to the state folder
packages_take
start_daemon || exit 1
libvirt_start "$top/v" || exit 1

# Recipe, packages that it must have, the process of its session, what the log-in is told.
look_at()
{
    local recipe=$1 packages=$2 session=$3 login=$4 begin=$SECONDS layer apps package
    ok "$recipe is built" ctl template build "$recipe" --quiet || return
    layer=$(template_path "$recipe")
    echo "# $recipe: $((SECONDS - begin)) s, $(($(stat -c %b "$layer") / 2048)) MiB"
    packages_keep

    ok "... is looked into" ctl template inspect "$recipe"
    apps=$(ctlj template apps "$recipe" | jq -r '.applications[].name')
    for package in $packages qemu-guest-agent spice-vdagent spice-webdavd xserver-xorg-video-qxl; do
        ok "... has $package" grep -qx -- "$package" <<<"$apps"
    done
    json_ok "... starts with a BIOS, and with UEFI" "$(ctlj template show "$recipe")" '.versions[0].inspection.boot == ["bios", "uefi"]'

    qemu-img convert -O raw "$layer" disk.raw
    ok "... has the file that UEFI starts" mdir -b -i disk.raw@@2M ::/EFI/BOOT/BOOTX64.EFI
    dd if=disk.raw of=root.raw bs=1M skip=66 conv=sparse status=none
    truncate -s $(($(stat -c %s root.raw) - 1048576)) root.raw
    rm disk.raw
    ok "... has a sound file system" e2fsck -fn root.raw
    like "$(debugfs -R 'ls /boot' root.raw 2>/dev/null)" 'initrd.img.*vmlinuz' "... a kernel"
    like "$(debugfs -R 'cat /etc/lightdm/lightdm.conf.d/50-autologin.conf' root.raw 2>/dev/null)" "^autologin-user=$login\$" "... logs $login in"
    rm root.raw

    begin=$SECONDS
    ctl desktop create "on-$recipe" --template "$recipe" >/dev/null
    ok "... boots" libvirt_define "$recipe" disk="$(path_of "on-$recipe")" config="$(ctl desktop config-disk "on-$recipe")" memory=2048
    ok "... until its agent answers" guest_wait "$recipe" 1200
    echo "# $recipe: agent after $((SECONDS - begin)) s"
    ok "... until $session runs as $login" wait_for 900 guest_run "$recipe" "pgrep -u $login $session"
    ok "... and SPICE's agent with it" wait_for 300 guest_run "$recipe" 'pgrep -x spice-vdagentd && pgrep -x spice-vdagent'
    echo "# $recipe: session after $((SECONDS - begin)) s"
    ok "... a SPICE client sees it" wait_for 300 seen "$recipe"
    is "$(guest_run "$recipe" 'systemctl --failed --no-legend --plain | cut -d" " -f1' | tr '\n' ' ')" "" "... no unit has failed"
    [ -z "${PICTURES:-}" ] || cp "$recipe.ppm" "$PICTURES/"
    libvirt_destroy "$recipe"
}
seen()
{
    guest_screenshot "$1" "$top/$1.ppm" && picture_has_content "$top/$1.ppm"
}

look_at debian-xfce 'xfce4-session lightdm firefox-esr' xfdesktop user
look_at kiosk 'openbox lightdm firefox-esr' firefox kiosk
done_testing
