#!/bin/bash
# differential.sh BUILD [N [SEED]]: damage N images and compare our verdicts with qemu-img's.
# A failing image is kept, and its path printed.
set -eu
cd "$(dirname "$0")/../.."
build=$1 n=${2:-2000} seed=${3:-$(date +%s)}
. tests/fuzz/seeds.sh

make -s BUILD="$build" "$build/libimaged.a"
mkdir -p "$build/fuzz"
packages='glib-2.0 gio-unix-2.0 sqlite3 libmicrohttpd jansson libcurl libzstd zlib libxxhash'
packages+=' libsodium libnbd'
# shellcheck disable=SC2046,SC2086
${CC:-gcc} -std=gnu11 -D_GNU_SOURCE -O1 -g -Wall -Wextra -Werror -I. ${FUZZ_CFLAGS:-} \
    $(pkg-config --cflags $packages) -o "$build/fuzz/differential" tests/fuzz/differential.c \
    "$build/libimaged.a" -Wl,--as-needed $(pkg-config --libs $packages) -lpthread -lm

folder=$(mktemp -d)
make_seeds "$folder"
status=0
"$build/fuzz/differential" "$folder" "$n" "$seed" || status=$?
if [ $status = 0 ]; then
    rm -rf "$folder"
elif [ $status = 1 ]; then
    echo "the images are kept in $folder"
else
    echo "the program ended with status $status; the image is $folder/damaged"
fi
exit $status
