#!/usr/bin/env bash
# access.t: who may do what: users of the unix socket, roles and their scopes.
. "$(dirname "$0")/lib.sh"
start_daemon
mkdir -p "$top/o"
as_nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups)
chmod 755 "$top"
chmod 666 "$state/imaged.sock"
"${as_nobody[@]}" "$BUILD/imagectl" --state "$state" desktop list >"$top/said" 2>&1
is $? 5 "who is no user of imaged gets nowhere: exit 5"
like "$(cat "$top/said")" "'nobody' is no user of imaged" "... and is told why"
done_testing
