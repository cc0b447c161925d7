# snapshot.sh: taking a snapshot of a large disk and going back to it, against QEMU's internal snapshots.
# Read by run.sh, which sets what is not set here.
#
# shellcheck disable=SC2154

# Both on a disk all of whose clusters are mapped (to holes: nobody reads them).  Ours counts from the
# start of imagectl to durable and answered.
bench_snapshot()
{
    local size=1T i create=() revert=() peer_create=() peer_revert=()
    [ "${BENCH_QUICK:-}" ] && size=16G
    say "snapshots of a mapped disk of $size"
    fresh snapshot
    start_daemon "$dir"
    truncate -s $size "$dir/golden.raw"
    ctl template import golden "$dir/golden.raw" --format raw >"$top/said" || fail "cannot import"
    create_desktops desk 1
    "$mkmeta" --size $size --cluster 131072 --extended "$dir/peer.qcow2" || fail "mkmeta"
    for ((i = 0; i < rounds; i++)); do
        "$mkmeta" --into "$(ctl desktop path desk-001)" || fail "mkmeta"
        flush
        create+=("$(timed ctl snapshot create desk-001 "s$i")")
        revert+=("$(timed ctl snapshot revert desk-001 "s$i" --yes)")
        flush
        peer_create+=("$(timed qemu-img snapshot -c "s$i" "$dir/peer.qcow2")")
        flush
        peer_revert+=("$(timed qemu-img snapshot -a "s$i" "$dir/peer.qcow2")")
    done
    check_images "$(ctl desktop path desk-001)"
    stop_daemon
    row ms "snapshot create, mapped disk of $size" "$(median "${create[@]}")" \
        "$(median "${peer_create[@]}")" - 'peer>=50' "peer: qemu-img snapshot -c"
    row ms "snapshot revert, mapped disk of $size" "$(median "${revert[@]}")" \
        "$(median "${peer_create[@]}")" - 'peer>=50' \
        "peer: qemu-img snapshot -c (-a takes $(median "${peer_revert[@]}") ms); the former disk waits in the trash"
}
