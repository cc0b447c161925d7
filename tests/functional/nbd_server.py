#!/usr/bin/python3
"""nbd_server.py: an NBD server that misbehaves as it is told.

    nbd_server.py SOCKET --size BYTES [--byte B] [--die-after BYTES] [--fail-after BYTES]
                  [--stall-after BYTES] [--per-second BYTES]

It serves BYTES of the byte B.  After so many bytes it dies (and with it the connections), answers
every read with an I/O error, or answers nothing any more.  Source: the NBD protocol, doc/proto.md.
"""
import argparse
import os
import socket
import struct
import threading
import time

args = argparse.ArgumentParser()
args.add_argument("socket")
args.add_argument("--size", type=int, required=True)
args.add_argument("--byte", type=int, default=0x5A)
args.add_argument("--die-after", type=int)
args.add_argument("--fail-after", type=int)
args.add_argument("--stall-after", type=int)
args.add_argument("--per-second", type=int)
args = args.parse_args()

FLAGS = 0x0103  # has flags, read-only, may be used on several connections
sent = 0
lock = threading.Lock()


def receive(peer, n):
    data = b""
    while len(data) < n:
        more = peer.recv(n - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def negotiate(peer):
    peer.sendall(b"NBDMAGICIHAVEOPT" + struct.pack(">H", 3))
    receive(peer, 4)
    while True:
        _, option, length = struct.unpack(">QII", receive(peer, 16))
        data = receive(peer, length)

        def reply(kind, payload=b""):
            peer.sendall(struct.pack(">QIII", 0x3E889045565A9, option, kind, len(payload)) + payload)

        if option == 1:  # export name
            peer.sendall(struct.pack(">QH", args.size, FLAGS) + bytes(124))
            return True
        if option in (6, 7):  # info, go
            reply(3, struct.pack(">HQH", 0, args.size, FLAGS))
            reply(1)
            if option == 7:
                return True
        elif option == 2:  # abort
            reply(1)
            return False
        else:
            reply(0x80000001)  # not supported


def serve(peer):
    global sent
    if not negotiate(peer):
        return
    while True:
        _, _, command, cookie, _, length = struct.unpack(">IHHQQI", receive(peer, 28))
        if command == 2:
            return
        with lock:
            sent += length
            if args.die_after is not None and sent > args.die_after:
                os._exit(1)
            if args.stall_after is not None and sent > args.stall_after:
                time.sleep(3600)
            if args.per_second:
                time.sleep(length / args.per_second)
        if command != 0 or (args.fail_after is not None and sent > args.fail_after):
            peer.sendall(struct.pack(">IIQ", 0x67446698, 5, cookie))
        else:
            peer.sendall(struct.pack(">IIQ", 0x67446698, 0, cookie) + bytes([args.byte]) * length)


def run(peer):
    try:
        serve(peer)
    except (EOFError, OSError):
        pass
    peer.close()


listener = socket.socket(socket.AF_UNIX)
listener.bind(args.socket)
listener.listen(16)
while True:
    connection, _ = listener.accept()
    threading.Thread(target=run, args=(connection,), daemon=True).start()
