# rollout.sh: a roll-out over thousands of desktops, and back, against re-imaging the same number.
# Read by run.sh, which sets what is not set here.
#
# shellcheck disable=SC2154

import_version()
{
    random_bytes 16 | dd of="$dir/golden.raw" bs=1M conv=notrunc status=none
    ctl template import golden "$dir/golden.raw" --format raw >"$top/said" || fail "cannot import"
}

# Both in one store, each first in turn; nothing is written into the desktops.
rollout_round()
{
    fresh "rollout$1"
    start_daemon "$dir"
    import_golden 10G 16
    create_desktops m "$n_desktops"
    create_desktops n "$n_desktops"
    import_version
    if [ $(($1 % 2)) -eq 1 ]; then
        flush; reset_ms+=("$(timed ctl desktop reset --all-of-prefix m --yes)")
    fi
    flush; move_ms+=("$(timed ctl rollout start --yes --template golden --to 2 --prefix n)")
    if [ $(($1 % 2)) -eq 0 ]; then
        flush; reset_ms+=("$(timed ctl desktop reset --all-of-prefix m --yes)")
    fi
    [ "$(ctl -o json rollout show | jq .n_moved)" -eq "$n_desktops" ] || fail "not all were moved"
    flush; back_ms+=("$(timed ctl rollout rollback --yes golden-2)")
    flush; undo_ms+=("$(timed ctl desktop undo-reset --all-of-prefix m --yes)")
    check_images "$(ctl desktop path "$(names_of n | head -n 1)")"
    stop_daemon
}

bench_rollout()
{
    local reset_ms=() move_ms=() back_ms=() undo_ms=() r
    say "roll-out: $rounds rounds of $n_desktops desktops"
    for ((r = 1; r <= rounds; r++)); do rollout_round "$r"; done
    row ms "roll-out over $n_desktops desktops" "$(median "${move_ms[@]}")" - \
        "$(median "${reset_ms[@]}")" "limit<=2" "limit: re-imaging as many in the same store"
    row ms "roll back $n_desktops desktops" "$(median "${back_ms[@]}")" - \
        "$(median "${undo_ms[@]}")" - "limit: undoing as many re-images"
}
