#!/bin/sh
# install.sh BUILD DESTDIR PREFIX: put everything in its place (`make install`).
#
# Below PREFIX alone, so that an ordinary user can install into a folder of his own.  What is left to
# do on a real machine is said at the end, and not done.
set -eu
if [ $# -ne 3 ] || [ ! -x "$1/imaged" ]; then
    echo "usage: install.sh BUILD DESTDIR PREFIX (after a build)" >&2
    exit 2
fi
build=$1 root=$2$3 prefix=$3
case $build in /*) ;; *) build=$(pwd)/$build ;; esac
cd "$(dirname "$0")/.."
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT

sed "s|@SBINDIR@|$prefix/sbin|" imaged/imaged.service >"$made/imaged.service"
"$build/imagectl" completion bash >"$made/imagectl"

put() { # MODE FILE TARGET
    install -D -m "$1" "$2" "$root/$3"
    echo "  $root/$3"
}
put 755 "$build/imaged" sbin/imaged
put 755 "$build/imagectl" bin/imagectl
put 644 "$build/imaged-nbd-plugin.so" lib/imaged/imaged-nbd-plugin.so
put 755 "$build/imaged-guest" lib/imaged/imaged-guest
put 644 docs/man/imaged.8 share/man/man8/imaged.8
put 644 docs/man/imagectl.1 share/man/man1/imagectl.1
put 644 docs/man/imaged.conf.5 share/man/man5/imaged.conf.5
put 644 docs/man/imaged-recipe.5 share/man/man5/imaged-recipe.5
for file in templates/recipes/*.yaml; do
    put 644 "$file" "share/imaged/recipes/${file##*/}"
done
for file in templates/guest/*; do
    put 644 "$file" "share/imaged/guest/${file##*/}"
done
put 644 "$made/imagectl" share/bash-completion/completions/imagectl
put 644 "$made/imaged.service" lib/systemd/system/imaged.service
for unit in imaged/guest/units/*; do
    sed "s|@LIBDIR@|$prefix/lib/imaged|" "$unit" >"$made/unit"
    put 644 "$made/unit" "lib/systemd/system/${unit##*/}"
done
put 644 imaged/imaged.sysusers lib/sysusers.d/imaged.conf
put 644 imaged/imaged.conf share/doc/imaged/imaged.conf
put 644 docs/openapi.yaml share/doc/imaged/openapi.yaml
put 644 docs/restore-without-imaged.md share/doc/imaged/restore-without-imaged.md

[ -n "$2" ] || cat <<END
To run it as a service: systemd-sysusers && systemctl daemon-reload && systemctl enable --now \
    imaged-guest.socket imaged-fetch.socket imaged-build.socket imaged-appliance imaged
To change its settings: copy $prefix/share/doc/imaged/imaged.conf to /etc/imaged/imaged.conf
END
