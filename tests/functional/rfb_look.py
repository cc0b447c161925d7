"""rfb_look.py SOCKET|HOST:PORT:CA:PASSWORD [keys] [stay]: a VNC client (RFC 6143; by TCP with TLS: VeNCrypt,
X509Plain): shakes hands, gets one whole picture, says its size, presses Ctrl-Alt-Del if told to, gets another picture and says "again"; with stay waits for the end."""
import socket
import ssl
import struct
import sys

by_tls = sys.argv[1].split(":") if not sys.argv[1].startswith("/") else None
if by_tls:
    s = socket.create_connection((by_tls[0], int(by_tls[1])), 60)
else:
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
if not kinds:
    sys.exit("refused: " + get(struct.unpack(">I", get(4))[0]).decode())
if by_tls:
    assert kinds == b"\x13", kinds
    s.sendall(b"\x13")
    assert get(2) == b"\0\2"
    s.sendall(b"\0\2")
    assert get(6) == struct.pack(">BBI", 0, 1, 262)
    s.sendall(struct.pack(">I", 262))
    assert get(1) == b"\1"
    s = ssl.create_default_context(cafile=by_tls[2]).wrap_socket(s, server_hostname=by_tls[0])
    password = by_tls[3].encode()
    s.sendall(struct.pack(">II", 4, len(password)) + b"anna" + password)
else:
    assert kinds == b"\1", kinds
    s.sendall(b"\1")
if get(4) != b"\0\0\0\0":
    sys.exit("refused: " + get(struct.unpack(">I", get(4))[0]).decode())
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
