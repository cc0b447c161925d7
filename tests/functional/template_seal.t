#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# heavy: boots libguestfs' appliance under TCG
# template_seal.t: a draft is edited and published, sealed, through the daemon: what the version
# lacks then, by debugfs; what is told about it; and that the draft's own disk stays as it is.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/guest_lib.sh"

configure_guest
start_daemon || { diag "$(cat "$log")"; exit 1; }

tree=$top/tree
make_tree "$tree"
make_fs "$tree" "$top/golden.raw"
ctl template import golden "$top/golden.raw" --format raw >/dev/null 2>&1
ctl template edit golden >/dev/null

# Somebody has worked with it: ids, keys, a log, a history, and what is to stay.
mkdir -p "$tree"/etc/ssh "$tree/var/log"
echo 0123456789abcdef0123456789abcdef >"$tree/etc/machine-id"
for file in etc/ssh/ssh_host_rsa_key etc/ssh/ssh_host_ed25519_key.pub var/log/syslog home/alice/.bash_history; do
    echo secret >"$tree/$file"
done
echo mine >"$tree/home/alice/kept"
make_fs "$tree" "$top/edited.raw"
fill golden-draft "$top/edited.raw"
before=$(sha256sum <"$(path_of golden-draft)")

said=$(ctl template publish golden-draft 2>/dev/null)
like "$said" '^published golden:2' "publishing it ends"
like "$said" '^OPERATION  *REMOVED  *BYTES' "what sealing removed is told"
like "$said" '^ssh-host-keys  *2  ' "... by operation"
like "$said" '^sealed: [0-9]+ operations? found nothing' "... and how many had nothing to do"
job=$(ctlj job show "$(ctlj job list | jq -r '[.[] | select(.kind == "template.publish")][0].id')")
is "$(jq -r .state <<<"$job")" 'done' "... well" || diag "$job"
json_ok "the report is in the job's result" "$job" \
    '.result.sealed | .n_removed >= 5 and ([.operations[].n_removed] | add) == .n_removed and
     ([.operations[] | select(.name == "ssh-host-keys")][0] | .n_removed == 2 and (.paths | index("/etc/ssh/ssh_host_rsa_key") != null))'
version=$(ctlj template versions golden | jq '.[] | select(.version == 2)')
json_ok "the version is published, and known as sealed" "$version" '.state == "published" and .sealed_at != null'
json_ok "... which is told in words" "$version" '.notes | map(select(test("^sealed: [0-9]+ things removed"))) | length == 1'
json_ok "the one that it was made from is not" "$(ctlj template versions golden)" '.[] | select(.version == 1) | .sealed_at == null'

qemu-img convert -O raw "$(template_path golden)" "$top/sealed.raw"
fs=$top/sealed.raw
ok "the file system is sound" e2fsck -fn "$fs"
like "$(in_fs "$fs" 'stat /etc/machine-id')" 'Project: .* Size: 0$' "machine-id is empty"
for gone in /etc/ssh/ssh_host_rsa_key /etc/ssh/ssh_host_ed25519_key.pub /home/alice/.bash_history; do
    ok "$gone is gone" lacks "$fs" "$gone"
done
like "$(in_fs "$fs" 'stat /var/log/syslog')" 'Project: .* Size: 0$' "a log is empty"
is "$(in_fs "$fs" 'cat /home/alice/kept')" mine "what was edited is there"
is "$(sha256sum <"$(path_of golden-draft)")" "$before" "the draft's own disk is what it was"
ok "the version is what its checksum says" ctl store check --data
is "$(leftovers)" "" "nothing is left of the helper"
done_testing
