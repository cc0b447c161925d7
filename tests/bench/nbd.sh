# nbd.sh: read-only NBD exports against nbdkit's file plugin and qemu-nbd.  Read by run.sh.
#
# Chains of depth 1, 8 and 32 hold the same kind of data: each layer overwrites an equal share of a
# base that is full.  All servers listen on unix sockets, all reads come from the page cache, and in
# each round every server has its turn; medians of $nbd_rounds rounds.
#
# shellcheck disable=SC2154

# make_nbd_chain DIR DEPTH MIB: DIR/0 (the base) to DIR/(DEPTH-1).
make_nbd_chain()
{
    local i c args previous=
    mkdir "$1"
    for ((i = 0; i < $2; i++)); do
        qemu-img create -q -f qcow2 -o cluster_size=128k,extended_l2=on \
            ${previous:+-F qcow2 -b "$previous"} "$1/$i" "$3M" || fail "cannot make a layer"
        args=()
        if [ $i -eq 0 ]; then
            args=(-c "write -q -P 1 0 $3M")
        else
            # A 64th of the disk in each layer, in pieces of 64 KiB
            for ((c = i; c < $3 * 16; c += 64)); do args+=(-c "write -q -P $((i + 1)) $((c * 64))k 64k"); done
        fi
        qemu-io -f qcow2 "${args[@]}" "$1/$i" >"$top/said" || fail "cannot fill a layer"
        previous=$1/$i
    done
}

# serve_plugin DIR DEPTH SOCKET, with the options of cow/export_command.c
serve_plugin()
{
    local threads=$((3 * n_threads))
    [ $threads -ge 6 ] || threads=6
    [ $threads -le 16 ] || threads=16
    (
        fds=
        for ((i = 0; i < $2; i++)); do
            exec {fd}<"$1/$i"
            fds=${fds:+$fds,}$fd
        done
        exec env LD_PRELOAD="$build/imaged-nbd-plugin.so" nbdkit -f -r "--threads=$threads" -U "$3" "$build/imaged-nbd-plugin.so" "fds=$fds" name=bench
    ) 2>>"$top/nbd.log" &
    kept_pids+=($!)
}

wait_for_socket()
{
    local n=0
    until nbdinfo --size "nbd+unix:///?socket=$1" >/dev/null 2>&1; do
        [ $((n += 1)) -lt 200 ] || fail "no server on $1: $(tail -n 3 "$top/nbd.log")"
        sleep 0.05
    done
}

bench_nbd()
{
    local mib=1024 round seconds=2 name kind
    local -A said=()
    [ "${BENCH_QUICK:-}" ] && mib=256 seconds=0.5
    local nbd_rounds=${BENCH_ROUNDS:-7}
    fresh nbd
    make_nbd_chain "$dir/one" 1 $mib
    make_nbd_chain "$dir/eight" 8 $mib
    make_nbd_chain "$dir/thirty" 32 $mib
    qemu-img convert -O raw "$dir/eight/7" "$dir/raw"
    : >"$top/nbd.log"
    serve_plugin "$dir/one" 1 "$dir/one.sock"
    serve_plugin "$dir/eight" 8 "$dir/eight.sock"
    serve_plugin "$dir/thirty" 32 "$dir/thirty.sock"
    nbdkit -f -r -U "$dir/file.sock" file "$dir/raw" 2>>"$top/nbd.log" &
    kept_pids+=($!)
    qemu-nbd --read-only --persistent --shared=8 --aio=io_uring -f qcow2 \
        --socket="$dir/qemu.sock" "$dir/eight/7" 2>>"$top/nbd.log" &
    kept_pids+=($!)
    for name in one eight thirty file qemu; do
        wait_for_socket "$dir/$name.sock"
        # Into the page cache, with the maps made.
        "$bench/nbd_load" "nbd+unix:///?socket=$dir/$name.sock" sequential 4 1048576 $seconds >"$top/said"
    done
    for ((round = 0; round < nbd_rounds; round++)); do
        for name in eight file qemu one thirty; do
            for kind in "random 32 4096" "sequential 8 262144"; do
                # shellcheck disable=SC2086 # words
                "$bench/nbd_load" "nbd+unix:///?socket=$dir/$name.sock" $kind $seconds >"$top/rate" ||
                    fail "the load on $name ended: $(tail -n 3 "$top/nbd.log")"
                said[$name ${kind%% *}]+=" $(cat "$top/rate")"
            done
        done
    done
    # shellcheck disable=SC2086
    {
        us() { calc "1000000 / $(median "$@")"; }
        per_gib() { calc "1024000 / $(median "$@")"; }
        row us "NBD: 4 KiB random, 32 at once, chain of 8" "$(us ${said[eight random]})" \
            "$(us ${said[qemu random]})" "$(us ${said[file random]})" "peer>=1.8 limit<=1.111" \
            "time per read; peer: qemu-nbd --aio=io_uring; limit: nbdkit file on a raw image"
        row us "NBD: the same, chain of 32" "$(us ${said[thirty random]})" - \
            "$(us ${said[one random]})" "limit<=1.176" "limit: our chain of 1"
        row ms "NBD: 1 GiB sequential, chain of 8" "$(per_gib ${said[eight sequential]})" \
            "$(per_gib ${said[qemu sequential]})" "$(per_gib ${said[file sequential]})" \
            "peer>=1.3" "256 KiB reads, 8 at once"
    }
}
