#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# units.t: what `make install` puts in place: systemd understands the units, and each process is
# allowed what it needs and no more.
. "$(dirname "$0")/lib.sh"

prefix=$top/usr
ok "it installs into a folder of its own" sh "$repo/tests/install.sh" "$BUILD" "" "$prefix"
units=$prefix/lib/systemd/system
ok "the helper is there" test -x "$prefix/lib/imaged/imaged-guest"
ok "and is found from the installed daemon's place" "$prefix/lib/imaged/imaged-guest" --version

# An instance stands for a template; the sockets look for theirs.
export SYSTEMD_UNIT_PATH=$units:
for unit in imaged.service imaged-appliance.service imaged-{guest,fetch,build}.socket \
    imaged-{guest,fetch,build}@1.service; do
    said=$(systemd-analyze verify --recursive-errors=no --man=no "$unit" 2>&1)
    is "$?:$(grep -F "$units" <<<"$said")" "0:" "systemd understands $unit" || diag "$said"
done

# The last word on it; "(not set)" is not the same as an empty list.
setting() { local last; last=$(grep "^$2=" "$units/$1" | tail -1); echo "${last:-=(not set)}" | cut -d= -f2-; }
is "$(setting imaged-guest@.service User)" imaged-guest "the helper that reads guests has its own user"
is "$(setting imaged-guest@.service PrivateNetwork)" yes "and no network"
is "$(setting imaged-guest@.service RestrictNamespaces)" yes "and makes no namespaces"
for unit in imaged.service imaged-guest@.service imaged-fetch@.service; do
    is "$(setting "$unit" CapabilityBoundingSet)" "" "$unit has no capability"
done
is "$(setting imaged-fetch@.service PrivateNetwork)" "(not set)" "the one that downloads has the network"
is "$(setting imaged-build@.service PrivateNetwork)" yes "the one that builds has none"
is "$(setting imaged-build@.service RestrictNamespaces)" "(not set)" "but makes namespaces"
is "$(setting imaged.service MemoryDenyWriteExecute)" yes "imaged's own unit stays strict"
is "$(setting imaged.service RestrictNamespaces)" yes "in this too"
for role in fetch build; do
    is "$(setting imaged-$role@.service Group):$(setting imaged-$role@.service SupplementaryGroups)" \
        "imaged-work:(not set)" "imaged-$role does not reach the sockets of disks"
done
is "$(sed -n 's/^m \([a-z-]*\) imaged-guest$/\1/p' "$prefix/lib/sysusers.d/imaged.conf")" imaged \
    "in the group of those is no other user"
is "$(setting imaged-build@.service RestrictAddressFamilies)" "AF_UNIX AF_INET AF_INET6 AF_NETLINK" \
    "what is built opens no unusual sockets"
for role in guest fetch build; do
    is "$(setting imaged-$role.socket SocketMode):$(setting imaged-$role.socket SocketGroup)" \
        "0660:imaged" "imaged alone may ask imaged-$role"
done
# How exposed systemd thinks they are, of 100; those of stock services are at 96.
for unit in imaged.service=30 imaged-guest@.service=25 imaged-fetch@.service=35 imaged-build@.service=75; do
    ok "${unit%=*} exposes little" systemd-analyze security --no-pager --offline=true \
        --threshold="${unit#*=}" "$units/${unit%=*}"
done
users=$(systemd-sysusers --dry-run "$prefix/lib/sysusers.d/imaged.conf" 2>&1)
for user in imaged imaged-guest imaged-fetch imaged-build; do
    like "$users" "Creating user '?$user'? " "systemd-sysusers makes $user"
done
like "$users" "Creating group '?imaged-work'? " "and the group of their folders"
done_testing
