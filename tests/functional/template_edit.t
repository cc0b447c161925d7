#!/bin/bash
# template_edit.t: a draft is made from a template, changed, and published as its next version; what
# was not sealed is published only by somebody who says so.
. "$(dirname "$0")/lib.sh"

make_raw "$top/g.raw" 64M 0 0x11 8M 40M 0x22 4M
start_daemon || exit 1
ctl template import win "$top/g.raw" --format raw --cpus 3 --memory 1G --description golden --firmware uefi >/dev/null
ctl desktop create ann --template win >/dev/null
slot_of() { ctlj template versions "$1" | jq -r ".[] | select(.version == $2) | .layer"; }
version_is() { qemu-img compare -q -f qcow2 -F raw "$store/layers/$(slot_of win "$1")" "$2"; }

# ---- edit ----

like "$(ctl template edit win)" 'template publish win-draft' 'edit makes a draft, and says how to go on'
json_ok 'the draft is a desktop' "$(ctlj desktop show win-draft)" '.draft_of == "win" and .template == "win" and .version == 1'
json_ok '... others are not' "$(ctlj desktop show ann)" '.draft_of == null'
fails_with 1 "draft of 'win'.*template publish win-draft.*--name" 'a second draft of the same name' ctl template edit win
fails_with 1 'another name with --name' '... a name that is something else' ctl template edit win --name ann
fails_with 2 "'ann' is no draft" 'a plain desktop is not published' ctl template publish ann
ok '... of another name' ctl template edit win:1 --name win-try
fails_with 3 'nothing' 'a draft of nothing' ctl template edit nothing
fails_with 3 version 'a draft of a version that is not there' ctl template edit win:9

# ---- publish ----

qio "$(path_of win-draft)" 'write -q -P 0x33 1M 1M' >/dev/null
cp --sparse=always "$top/g.raw" "$top/next.raw"
qemu-io -f raw -c 'write -q -P 0x33 1M 1M' "$top/next.raw" >/dev/null
json_ok 'publish a draft' "$(ctlj template publish win-draft --unsealed --description next)" '.name == "win:2" and .state == "published" and .sealed_at == null and .cpus == 3 and .memory_bytes == 1073741824 and .description == "next"'
ok 'the new version has the change' version_is 2 "$top/next.raw"
ok 'the old one has not' version_is 1 "$top/g.raw"
json_ok 'it stands on the version that the draft stands on' "$(qemu-img info -U -f qcow2 --output=json "$store/layers/$(slot_of win 2)")" ".\"backing-filename\" | endswith(\"$(slot_of win 1)\")"
ok 'the draft stays' ctl desktop show win-draft
qio "$(path_of win-draft)" 'write -q -P 0x44 2M 1M' >/dev/null
json_ok 'and is published again, flat' "$(ctlj template publish win-draft --unsealed --flat)" '.name == "win:3" and .description == "golden" and .firmware == "uefi"'
json_ok '... standing on nothing' "$(qemu-img info -U -f qcow2 --output=json "$store/layers/$(slot_of win 3)")" '."backing-filename" == null'
json_ok 'desktops are created from it' "$(ctlj desktop create bob --template win)" '.version == 3'

qemu-io -f qcow2 -c 'sleep 60000' "$(path_of win-draft)" >/dev/null 2>&1 &
keep_pid $!
is_live() { ctlj desktop show win-draft | jq -e .live; }
wait_for 10 is_live || diag 'QEMU does not have the draft'
fails_with 4 'win-draft' 'a draft that runs is not published' ctl template publish win-draft --unsealed

# ---- firmware ----

ctl template import plain "$top/g.raw" --format raw --draft >/dev/null 2>&1
json_ok 'how an image starts is not claimed where nobody knows' "$(ctlj template show plain)" '.versions[0].firmware == null'
fails_with 2 'bios|uefi' 'what is no firmware' ctl template import plain "$top/g.raw" --format raw --firmware coreboot
like "$(post /v1/templates/import '{"name":"plain","source":"nbd://localhost/x","firmware":"coreboot"}')" 'bios or uefi' '... nor for the API'

# ---- asking ----

ctl template import raw "$top/g.raw" --format raw --draft >/dev/null
for option in '--description text' '--cpus 4' '--memory 2G' '--os Debian' --flat '--root-password lock'; do
    # shellcheck disable=SC2086 # two words
    fails_with 2 'is for a draft desktop' "a version is not published with ${option%% *}" ctl template publish raw $option
done
fails_with 2 unsealed 'a version that is not sealed: nobody can be asked' ctl template publish raw
like "$(post /v1/templates/raw/publish '{}')" 'not sealed' '... nor by the API without the word'
json_ok '... by somebody who says so' "$(ctlj template publish raw --unsealed)" '.state == "published"'
ctl template import ready "$top/g.raw" --format raw >/dev/null 2>"$top/said"
like "$(cat "$top/said")" 'not sealed.*template seal ready:1' 'an import tells how to seal it'
ctl template import ready "$top/g.raw" --format raw --draft >/dev/null 2>"$top/said"
is "$(cat "$top/said")" '' '... but not a draft'
fails_with 2 unsealed 'a desktop as it is' ctl template create-from ann copy
ok '... as a draft' ctl template create-from ann copy --draft
fails_with 2 'keep|lock' 'what is no way to treat a password' ctl template seal win --root-password empty
ok 'store check' ctl store check
done_testing
