"""rfb_look.py SOCKET [keys] [stay]: a VNC client (RFC 6143): shakes hands, gets one whole picture, says its
size, presses Ctrl-Alt-Del if told to, gets another picture and says "again"; with stay waits for the end."""
import socket
import struct
import sys

s = socket.socket(socket.AF_UNIX)
s.settimeout(60)
s.connect(sys.argv[1])


def get(n):
    data = b""
    while len(data) < n:
        piece = s.recv(n - len(data))
        if not piece:
            sys.exit("closed")
        data += piece
    return data


def picture(w, h):
    s.sendall(struct.pack(">BBHHHH", 3, 0, 0, 0, w, h))
    while True:
        kind = get(1)[0]
        if kind == 0:
            n = struct.unpack(">xH", get(3))[0]
            pixels = 0
            for _ in range(n):
                x, y, rw, rh, encoding = struct.unpack(">HHHHi", get(12))
                if encoding == 0:
                    get(rw * rh * 4)
                    pixels += rw * rh
            if pixels:
                return pixels
        elif kind == 1:
            get(5)
            get(6 * struct.unpack(">H", get(2))[0])
        elif kind == 3:
            get(3)
            get(struct.unpack(">I", get(4))[0])


assert get(12) == b"RFB 003.008\n"
s.sendall(b"RFB 003.008\n")
kinds = get(get(1)[0])
assert kinds == b"\1", kinds
s.sendall(b"\1")
assert get(4) == b"\0\0\0\0"
s.sendall(b"\0")  # alone, it says
w, h = struct.unpack(">HH", get(4))
get(16)
get(struct.unpack(">I", get(4))[0])
s.sendall(struct.pack(">BxHi", 2, 1, 0))  # raw
print("picture", w, h, picture(w, h) > 0, flush=True)
if "keys" in sys.argv:
    for down in (1, 0):
        for key in (0xFFE3, 0xFFE9, 0xFFFF):
            s.sendall(struct.pack(">BBxxI", 4, down, key))
    picture(w, h)
    print("again", flush=True)
if "stay" in sys.argv:
    try:
        while s.recv(65536):
            pass
    except (ConnectionResetError, socket.timeout) as e:
        sys.exit(str(e))
    print("end", flush=True)
