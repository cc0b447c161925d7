"""A helper that answers at once, in place of imaged-guest's units, so that verbs which use it can be
stopped at every change without starting an appliance a thousand times.  It reaches the disks it is
given, and writes nothing; what it builds is a disk with two patterns."""
import json
import os
import select
import socket
import struct
import sys
import threading
import time

SEALED = {"os": {"type": "linux"}, "operations": [], "n_removed": 2, "bytes": 4096, "trimmed": ["/"], "elapsed_ms": 20}
ANSWERS = {"keep": {"n_files": 3, "bytes": 4096, "elapsed_ms": 20, "copy_ms": 10, "paths": []},
           "seal": SEALED,
           "customize": {},
           "fetch": {"packages": 1, "bytes": 4096, "fetched_bytes": 4096, "sources": []},
           "build": {"sealed": SEALED},
           "ping": {}}
ROLES = "guest", "fetch", "build"

SECONDS = TOTAL = 0  # see __main__


def built(size):
    """A disk of so many bytes as the helper sends it (templates/disk_pieces.h)."""
    pieces = (1 << 20, b"\xb1" * 65536), (8 << 20, b"\xb2" * 65536)
    return b"".join(struct.pack("<QQ", at, len(piece)) + piece for at, piece in pieces) + struct.pack("<QQ", size, 0)


def answer(peer):
    request = b""
    while not request.endswith(b"\n"):
        got = peer.recv(65536)
        if not got:
            return
        request += got
    request = json.loads(request)
    for disk in request.get("disks", []):
        with socket.socket(socket.AF_UNIX) as nbd:
            nbd.connect(disk["socket"])
            if nbd.recv(8) != b"NBDMAGIC":
                return
    if SECONDS:  # it says what it is about to write, and goes on and on
        peer.sendall(json.dumps({"event": "progress", "done": 0, "total": TOTAL, "message": "at work"}).encode() + b"\n")
        select.select([peer], [], [], SECONDS)  # or until it is hung up on
    if request["task"] == "build":
        disk = built(request["size_bytes"])
        peer.sendall(json.dumps({"event": "data", "bytes": len(disk)}).encode() + b"\n" + disk)
    peer.sendall(json.dumps({"result": ANSWERS[request["task"]]}).encode() + b"\n")


def serve(listener):
    while True:
        peer, _ = listener.accept()
        with peer:
            try:
                answer(peer)
            except (OSError, KeyError, ValueError):
                pass


def start(folder):
    """Begin to serve; imaged's options for using it."""
    sockets, appliance = os.path.join(folder, "h"), os.path.join(folder, "appliance")
    os.makedirs(sockets)
    os.makedirs(appliance)
    for name in ("kernel", "initrd", "root", "README.fixed"):
        with open(os.path.join(appliance, name), "w", encoding="ascii"):
            pass
    for role in ROLES:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(os.path.join(sockets, role))
        listener.listen()
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
    config = os.path.join(folder, "helped.conf")
    with open(config, "w", encoding="ascii") as file:
        file.write("[imaged]\nguest_socket_dir = %s\nappliance = %s\naccelerator = tcg\n" %
                   (sockets, appliance))
    return ["--config", config]


if __name__ == "__main__":
    # FOLDER SECONDS TOTAL: each task takes so long, and says that it will write so many bytes.
    SECONDS, TOTAL = int(sys.argv[2]), int(sys.argv[3])
    print(start(sys.argv[1])[1], flush=True)
    time.sleep(3600)
