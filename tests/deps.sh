#!/bin/sh
# deps.sh LIST: install the Debian packages of LIST that are missing.  Does nothing (and needs no
# root) when all are there.
set -eu
wanted=$(sed -e 's/#.*//' -e '/^ *$/d' "$1" | awk '{print $2}')
missing=
for package in $wanted; do
    state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
echo "installing from Debian:$missing"
if [ "$(id -u)" != 0 ]; then
    echo "deps: not root; run: sudo apt-get install$missing" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { apt-get update && apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1; then
    tail -20 "$log" >&2
    exit 1
fi
