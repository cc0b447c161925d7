#!/bin/bash
# all.sh: `make crash`: the long versions, one after the other, each with its own lines of TAP.  Says at the
# end which failed.
set -u
: "${BUILD:?}"
here=$(cd "$(dirname "$0")" && pwd)
failed=()
for test in "$here/every_change.t" "$here/power_loss.t" "$here/no_bypass.t"; do
    echo "# ${test##*/}"
    bash "$test" || failed+=("${test##*/}")
done
[ ${#failed[@]} -eq 0 ] && echo "all well" && exit
echo "FAILED: ${failed[*]}"
exit 1
