"""guest_fake.py: a unit of imaged-guest that is hostile.

    guest_fake.py SOCKET KIND

Accepts connections one after the other, reads the request, and then misbehaves as KIND says.
"""
import socket
import sys
import time

path, kind = sys.argv[1:]
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
listener.listen()
print("ready", flush=True)


def flood(peer, piece):
    while True:
        peer.sendall(piece)


def misbehave(peer):
    if kind == "garbage":
        peer.sendall(bytes(range(256)) * 16 + b"\n")
    elif kind == "silent":
        peer.recv(1)  # until imaged hangs up
    elif kind == "hangup":
        pass
    elif kind == "endless":
        flood(peer, b"x" * 65536)
    elif kind == "events":
        while True:  # not faster than a test can write down
            peer.sendall(b'{"event":"log","text":"again"}\n' * 100)
            time.sleep(0.01)
    elif kind == "deep":
        peer.sendall(b"[" * 500000 + b"\n")
    elif kind == "rich":
        peer.sendall(b"[" + b"1," * 2000000 + b"1]\n")
    elif kind == "liar":
        peer.sendall(b'{"event":"data","bytes":999999999999}\n')
    elif kind == "drip":
        for _ in range(6):
            peer.sendall(b'{"event":"data","bytes":2}\nab')
            time.sleep(0.4)
        peer.sendall(b'{"result":{"is":"good"}}\n')
    elif kind in ("unable", "late"):
        if kind == "late":
            peer.sendall(b'{"event":"data","bytes":2}\nab')
        peer.sendall(b'{"error":{"code":"unsupported","message":"only the appliance can tell"}}\n')
    elif kind == "good":
        peer.sendall(b'{"result":{"is":"good"}}\n')


while True:
    peer, _ = listener.accept()
    try:
        request = b""
        while not request.endswith(b"\n"):
            request += peer.recv(65536)
        print("asked", flush=True)
        misbehave(peer)
    except OSError:
        pass
    peer.close()
