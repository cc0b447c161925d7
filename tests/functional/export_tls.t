#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# export_tls.t: exports over TCP: TLS always, keys or certificates, the address asked for; and an
# import of such an export by another imaged.
. "$(dirname "$0")/lib.sh"

start_daemon || { diag "$(cat "$log")"; exit 1; }
random_file "$top/golden.raw" 24 5
ctl template import golden "$top/golden.raw" --format raw >/dev/null
ctl desktop create lab-1 --template golden >/dev/null
psktool -u alice -p "$top/alice.psk" >/dev/null 2>&1
psktool -u alice -p "$top/wrong.psk" >/dev/null 2>&1

# A certificate authority, a server's and a client's certificate, and a stranger's.
certs=$top/certs
mkdir "$certs" "$certs/server" "$certs/client" "$certs/stranger"
make_cert() # DIR NAME TEMPLATE-LINE AUTHORITY
{
    certtool --generate-privkey --key-type=ecdsa --outfile "$1/$2-key.pem" 2>/dev/null
    printf 'cn = %s\nip_address = 127.0.0.1\nexpiration_days = 2\n%s\n' "$2" "$3" >"$top/cert.cfg"
    if [ "$4" = self ]; then
        certtool --generate-self-signed --load-privkey "$1/$2-key.pem" --template "$top/cert.cfg" \
            --outfile "$1/$2-cert.pem" 2>/dev/null
    else
        certtool --generate-certificate --load-privkey "$1/$2-key.pem" --template "$top/cert.cfg" \
            --load-ca-certificate "$4-cert.pem" --load-ca-privkey "$4-key.pem" \
            --outfile "$1/$2-cert.pem" 2>/dev/null
    fi
}
make_cert "$certs" ca $'ca\ncert_signing_key' self
make_cert "$certs/stranger" ca $'ca\ncert_signing_key' self
make_cert "$certs/server" server $'tls_www_server\nsigning_key' "$certs/ca"
make_cert "$certs/client" client $'tls_www_client\nsigning_key' "$certs/ca"
make_cert "$certs/stranger" client $'tls_www_client\nsigning_key' "$certs/stranger/ca"
cp "$certs/ca-cert.pem" "$certs/server/"
cp "$certs/ca-cert.pem" "$certs/client/"
cp "$certs/ca-cert.pem" "$certs/stranger/"

# ---- What is refused ----

fails_with 2 "tls-psk or --tls-certs" "TCP without TLS" ctl export start golden --tcp 127.0.0.1:0
post /v1/exports '{"ref": "golden", "tcp": "127.0.0.1:0"}' >/dev/null
is "$(http_code)" 400 "by the API too"
fails_with 2 "tcp" "TLS without TCP" ctl export start golden --tls-psk "$top/alice.psk"
fails_with 2 "not an address" "no address" ctl export start golden --tcp here --tls-psk "$top/alice.psk"
fails_with 2 "not an address of this" "a foreign address" \
    ctl export start golden --tcp 192.0.2.1:0 --tls-psk "$top/alice.psk"
echo "no keys" >"$top/bad.psk"
fails_with 2 "line 1" "a file that holds no keys" \
    ctl export start golden --tcp 127.0.0.1:0 --tls-psk "$top/bad.psk"
fails_with 3 "cannot open '.*/missing.psk': No such file" "a file that is not there" \
    ctl export start golden --tcp 127.0.0.1:0 --tls-psk "$top/missing.psk"
is "$(find "$state/exports" -mindepth 1 2>/dev/null | wc -l)" 0 "nothing of these is left"

# ---- Keys ----

uri=$(ctl export start golden --tcp 127.0.0.1:0 --tls-psk "$top/alice.psk")
like "$uri" '^nbds://alice@127\.0\.0\.1:[0-9]+/golden:1$' "the URI names user, address and export"
port=$(sed -E 's,.*127\.0\.0\.1:([0-9]+)/.*,\1,' <<<"$uri")
is "$(nbdinfo --size "$uri?tls-psk-file=$top/alice.psk")" 25165824 "a client with the key"
like "$(nbdinfo "$uri?tls-psk-file=$top/alice.psk")" 'with TLS' "speaks TLS"
not_ok "the wrong key" nbdinfo --size "$uri?tls-psk-file=$top/wrong.psk"
not_ok "the wrong user" nbdinfo --size "${uri/alice/bob}?tls-psk-file=$top/alice.psk"
not_ok "no TLS" nbdinfo --size "nbd://127.0.0.1:$port/golden:1"
not_ok "no listing without TLS" nbdinfo --list "nbd://127.0.0.1:$port/"
fails_with 4 "something else listens" "the port is taken" \
    ctl export start lab-1 --tcp "127.0.0.1:$port" --tls-psk "$top/alice.psk"
listens() { python3 -c 'import socket, sys
socket.create_connection((sys.argv[1], int(sys.argv[2])), 3)' "$1" "$port"; }
ok "it listens where it was told" listens 127.0.0.1
not_ok "and not elsewhere" listens 127.0.0.2
pid=$(field .pid export show golden)
is "$(awk '/^Seccomp:/ { print $2 }' "/proc/$pid/status")" 2 "with TLS it is locked in as well"
is "$(find "$state/exports" -type d -name tls -printf %m)" 700 "the keys' folder is private"
is "$(find "$state/exports" -name keys.psk -printf %m)" 600 "and their file"
ok "nbdcopy over TLS" nbdcopy "$uri?tls-psk-file=$top/alice.psk" "$top/copy.raw"
ok "brings every byte" cmp "$top/golden.raw" "$top/copy.raw"

# ---- Another imaged imports it ----

first=$daemon first_state=$state
keep_pid "$first"
state=$top/t
start_daemon --state "$top/t" || diag "$(cat "$log")"
ok "an import over TLS" ctl template import far "$uri" --tls-psk "$top/alice.psk"
ok "of every byte" qemu-img compare -f qcow2 -F raw "$top/t/store/layers/$(field \
    '.versions[-1].layer' template show far)" "$top/golden.raw"
ok "with the user apart" ctl template import far "${uri/alice@/}" --tls-psk "$top/alice.psk" \
    --tls-user alice
fails_with 5 "TLS handshake .* failed" "not with the wrong key" \
    ctl template import far2 "$uri" --tls-psk "$top/wrong.psk"
fails_with 3 "alice.psk' has no key of the user 'bob'" "nor for a user whose key is not there" \
    ctl template import far2 "${uri/alice/bob}" --tls-psk "$top/alice.psk"
fails_with 5 "wants credentials: --tls-psk" "nor without a key" ctl template import far2 "$uri"
fails_with 3 "cannot open '.*/missing.psk': No such file" "nor with a file that is not there" \
    ctl template import far2 "$uri" --tls-psk "$top/missing.psk"
fails_with 1 "cannot serve the image: .*no export named 'silver:1'" "nor an export that is none" \
    ctl template import far2 "${uri/golden/silver}" --tls-psk "$top/alice.psk"
fails_with 2 "nbds" "keys without TLS" ctl template import far2 "nbd://127.0.0.1:$port/x" \
    --tls-psk "$top/wrong.psk"
stop_daemon
daemon=$first state=$first_state

# ---- Certificates ----

ctl export stop golden >/dev/null
is "$(find "$state/exports" -mindepth 1 | wc -l)" 0 "the keys go with the export"
uri=$(ctl export start golden --tcp "127.0.0.1:$port" --tls-certs "$certs/server")
is "$uri" "nbds://127.0.0.1:$port/golden:1" "the port that was asked for"
is "$(nbdinfo --size "$uri?tls-certificates=$certs/client")" 25165824 "a client with a certificate"
not_ok "one of a stranger" nbdinfo --size "$uri?tls-certificates=$certs/stranger"
mkdir "$certs/none"
cp "$certs/ca-cert.pem" "$certs/none/"
not_ok "none at all" nbdinfo --size "$uri?tls-certificates=$certs/none"
fails_with 5 "certificates of the same authority" "an import with a stranger's" \
    ctl template import near "$uri" --tls-certs "$certs/stranger"
fails_with 3 "ca-cert.pem" "or with a folder that holds none" \
    ctl template import near "$uri" --tls-certs "$top/tmp"
ok "import with certificates" ctl template import near "$uri" --tls-certs "$certs/client"
ctl export stop golden >/dev/null
rm "$certs/server/server-key.pem"
fails_with 3 "server-key.pem" "a folder that lacks a file" \
    ctl export start golden --tcp 127.0.0.1:0 --tls-certs "$certs/server"

# ---- For writing, and IPv6 ----

uri=$(ctl export start lab-1 --read-write --tcp 127.0.0.1:0 --tls-psk "$top/alice.psk")
ok "a writer over TLS" nbdcopy "$top/golden.raw" "$uri?tls-psk-file=$top/alice.psk"
not_ok "not without" nbdinfo --size "${uri/nbds:\/\/alice@/nbd://}"
not_ok "nor with the wrong key" nbdinfo --size "$uri?tls-psk-file=$top/wrong.psk"
ok "stop" ctl export stop lab-1
ok "it wrote" qemu-img compare -f qcow2 -F raw "$(path_of lab-1)" "$top/golden.raw"
uri=$(ctl export start lab-1 --tcp '[::1]:0' --tls-psk "$top/alice.psk")
like "$uri" '^nbds://alice@\[::1\]:[0-9]+/lab-1$' "IPv6"
port=$(sed -E 's,.*\]:([0-9]+)/.*,\1,' <<<"$uri")
mkdir "$top/keys"
cp "$top/alice.psk" "$top/keys/keys.psk"
# QEMU asks: libnbd 1.14 sends "[::1]" as the server's name, which GnuTLS refuses.
v6_works()
{
    qemu-img compare --object \
        "tls-creds-psk,id=tls,dir=$top/keys,endpoint=client,username=alice" --image-opts \
        "driver=raw,file.driver=nbd,file.host=::1,file.port=$port,file.export=lab-1,file.tls-creds=tls" \
        "driver=raw,file.driver=file,file.filename=$top/golden.raw"
}
ok "is served" v6_works

# ---- A client that connects and says nothing ----

python3 - "$uri" <<'PY' &
import re, socket, sys
s = socket.create_connection(("::1", int(re.search(r"\]:(\d+)", sys.argv[1]).group(1))))
while s.recv(100):
    pass
PY
silent=$!
keep_pid $silent
ended() { ! kill -0 $silent; }
ok "is dropped" wait_for 30 ended
ok "and others are served" v6_works
done_testing
