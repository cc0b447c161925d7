#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# run.sh: the quick static checks (`make lint`).  Prints what is wrong, goes on, and exits 1 in the
# end if anything was.  The checks of the tree itself are in tree.py, each in a function of its own.
set -u
export LC_ALL=C.UTF-8
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
status=0

# By its full path: it is Debian's python3 that has python3-yaml.
/usr/bin/python3 tests/lint/tree.py || status=1

# SC1090, SC1091: what is sourced is checked by itself.  Between scripts that source each other,
# variables are assigned (SC2154) and used (SC2034) elsewhere, and functions get their arguments
# there (SC2120); `set -u` finds what really is not assigned.
while read -r script; do
    options=(-S warning -f gcc -e "SC1090,SC1091")
    if ! head -c 2 "$script" | grep -q '#!'; then
        options=(-s bash -S warning -f gcc -e "SC1090,SC1091,SC2034,SC2120,SC2154")
    elif grep -qE '^(\.|source) ' "$script"; then
        options=(-S warning -f gcc -e "SC1090,SC1091,SC2034,SC2154")
    fi
    shellcheck "${options[@]}" "$script" || status=1
done < <(find tests .ci -type f \( -name '*.sh' -o -name '*.t' -o -path .ci/run \) | sort)

for page in docs/man/*.[1-8]; do
    # What man-db's "man" would complain about; groff is there only if man is.
    command -v groff >/dev/null || break
    out=$(groff -man -Tutf8 -ww -z "$page" 2>&1) || status=1
    [ -z "$out" ] || { printf '%s\n' "$out"; status=1; }
done

[ $status -eq 0 ] && echo "lint: nothing wrong"
exit $status
