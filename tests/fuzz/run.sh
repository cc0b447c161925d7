#!/bin/bash
# run.sh SECONDS: build each fuzz_*.c with libFuzzer, ASan and UBSan, and run it for that long; then
# the differential fuzzer for about as long.  Corpora and findings stay in BUILD/fuzz.
set -eu
cd "$(dirname "$0")/../.."
seconds=${1:-60} build=${BUILD:-build} status=0
work=$build/fuzz
. tests/fuzz/seeds.sh

packages='glib-2.0 gio-unix-2.0 sqlite3 libzstd zlib libxxhash libsodium jansson yaml-0.1 libnbd'
mkdir -p "$work/obj"
flags=(-std=gnu11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -DIMAGED_VERSION='"fuzz"' -I. -O1 -g
    -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
# shellcheck disable=SC2046,SC2086,SC2207
flags+=($(pkg-config --cflags $packages))
rm -f "$work/libfuzzed.a"
for source in imaged/base/*.c cow/*.c \
    broker/search/{lexer,parser,parser_condition,parser_clauses,objects,objects_desktops,objects_images,objects_people,resolve,values,spot}.c snapshot/archive_{point,prune,schedule}.c \
    broker/access/{ldap_text,permission,user_name}.c templates/{yaml_tree,recipe,recipe_known,recipe_read}.c imaged/guest/talk.c broker/session/rfb_{filter,login}.c \
    imaged/guest/helper/{block,fs_probe,partitions,texts,trace}.c; do
    object=$work/obj/$(basename "$source" .c).o
    clang "${flags[@]}" -fsanitize=fuzzer-no-link,address,undefined -c -o "$object" "$source"
    ar rc "$work/libfuzzed.a" "$object" # an archive: only what the targets reach is linked
done

seeds=$(mktemp -d)
trap 'rm -rf "$seeds"' EXIT
make_seeds "$seeds" 1M
printf 'every monday,friday 02:30, keep last 3 daily 7' >"$seeds/schedule"
printf 'every 6 hours' >"$seeds/hours"
printf '[2001:db8::7]:10809' >"$seeds/address"
printf 'version: 1\nbase: {suite: bookworm}\nsize: 4G\nusers:\n  - name: bob\n    sudo: yes\nfiles: [{path: /a, content: x}]\nhardware: {cpus: 1}\ndesktop: xfce\n' >"$seeds/recipe"
printf 'Package: a\nStatus: install ok installed\nVersion: 1\nArchitecture: all\n\nP:b\nV:2\n\n' >"$seeds/packages"
printf 'ID="debian"\nroot:x:0:0::/root:/bin/sh\nUUID=1 /a\\040b ext4 rw\n' >"$seeds/system"
printf 'member;range=0-1499' >"$seeds/range"
printf 'desktop.see snapshot.*' >"$seeds/permissions"
truncate -s 128K "$seeds/disk"
printf 'label: gpt\nstart=64, size=64\n' | sfdisk -q "$seeds/disk"
printf 'Vms: user.username = *John* AND NOT (size > 20G OR created >= now-2h) SORTBY name DESC LIMIT 5' >"$seeds/search"
printf 'Events: "a \\" b" @old x IN (a, b*, c?) IS NONE cpu < 90%% GROUP BY template COUNT PAGE 2' >"$seeds/search2"
printf 'RFB 003.008\n\023\000\002\000\000\001\006\000\000\000\004\000\000\000\006annasecret' >"$seeds/rfb"
printf 'alice:00ff00ff00ff00ff00ff00ff00ff00ff\n' >"$seeds/keys"
for source in tests/fuzz/fuzz_*.c; do
    name=$(basename "$source" .c)
    # shellcheck disable=SC2046,SC2086,SC2207
    clang "${flags[@]}" -fsanitize=fuzzer,address,undefined -o "$work/$name" "$source" \
        "$work/libfuzzed.a" -Wl,--as-needed $(pkg-config --libs $packages) -lpthread
    mkdir -p "$work/corpus-$name"
    echo "== $name: $seconds s"
    if G_SLICE=always-malloc "$work/$name" -max_total_time="$seconds" -timeout=20 \
        -rss_limit_mb=2048 -max_len=262144 -print_final_stats=1 \
        -artifact_prefix="$work/$name-" "$work/corpus-$name" "$seeds" >"$work/$name.log" 2>&1; then
        grep number_of_executed_units "$work/$name.log"
    else
        status=1
        grep -v '^#' "$work/$name.log" | tail -n 50
    fi
done

echo "== differential"
bash tests/fuzz/differential.sh "$build" $((seconds * 25)) || status=1
exit $status
