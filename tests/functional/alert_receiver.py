# alert_receiver.py DIR [CERT KEY]: takes what is posted, and does with it what DIR/mode says:
# ok (or no such file), fail (status 500), redirect, or hang (no answer).  DIR/port has its port;
# each post is a line of DIR/log: {"path", "signature", "answer", "body"}, the body as it came.
import http.server
import json
import os
import ssl
import sys
import time

folder = sys.argv[1]


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        try:
            with open(folder + "/mode") as f:
                mode = f.read().strip()
        except FileNotFoundError:
            mode = "ok"
        with open(folder + "/log", "a") as f:
            f.write(json.dumps({"path": self.path, "signature": self.headers["Imaged-Signature"],
                                "type": self.headers["Content-Type"], "answer": mode, "body": body}) + "\n")
        if mode == "hang":
            time.sleep(3600)
        self.send_response({"ok": 204, "fail": 500, "redirect": 302}[mode])
        if mode == "redirect":
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
if len(sys.argv) > 2:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[2], sys.argv[3])
    server.socket = context.wrap_socket(server.socket, server_side=True)
with open(folder + "/port.new", "w") as f:
    f.write(str(server.server_address[1]))
os.rename(folder + "/port.new", folder + "/port")
server.serve_forever()
