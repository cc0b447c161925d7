#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# readme_tour.t: the commands of README.md's tour, as they stand there, print what it says; times
# and the sizes of this test's own golden image aside.  The host is a libvirtd of ours.
. "$(dirname "$0")/lib.sh"
. "$repo/tests/guest/libvirt.sh"

chmod 755 "$top"
libvirt_start "$top/lv" || exit 1
uri="qemu+unix:///system?socket=$top/lv/run/libvirt-sock"

home=$top/home
mkdir "$home"
cd "$home" || exit 1
qemu-img create -q -f qcow2 golden.qcow2 40G
qemu-io -f qcow2 -c 'write -P 3 0 16M' golden.qcow2 >/dev/null
export HOME=$home IMAGED_STATE=$home/try PATH=$BUILD:$PATH

# What a line says without what differs from run to run: times, the report's sizes.
plain() { sed -E 's/ in [0-9.]+ m?s$//; s/ \.\.\.$//' <<<"$1"; }

host_is_up() { [ "$(imagectl -o json host show vs-a | jq -r .state)" = up ]; }

n_commands=0
while IFS= read -r line; do
    case $line in
    '    $ imaged '*)
        imaged --state ~/try >"$log" 2>&1 &
        keep_pid $!
        ok 'the daemon is ready' wait_for 20 grep -qx ready "$log"
        expected=
        ;;
    '    $ '*)
        n_commands=$((n_commands + 1))
        command=${line#    \$ }
        ok "${line#    }" eval "${command/qemu+ssh:\/\/imaged@vs-a\/system/"'$uri'"}"
        printed=$(cat "$top/said")
        [[ $line != *'imagectl host add '* ]] || ok 'the host is up' wait_for 60 host_is_up
        expected=first
        ;;
    '    '*)
        [ "$expected" = first ] || continue
        expected=
        line=$(plain "${line#    }")
        if grep -qF "$(tr -s ' ' <<<"$line")" <<<"$(plain "$(tr -s ' ' <<<"$printed")")"; then
            pass "... prints '$line'"
        else
            fail "... prints '$line'" "it printed: $printed"
        fi
        ;;
    esac
done < <(sed -n '/^## A tour/,/^## The folders/p' "$repo/README.md")
ok 'these were all of them' test $n_commands -ge 15
done_testing
