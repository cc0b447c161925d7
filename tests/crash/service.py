"""A real daemon in a folder of its own, its API, and all that a user sees as one text.

Used by the crash tests.  Verbs go through imagectl; what is there is asked over the API itself, which
takes milliseconds.  A disk counts as what a guest reads in it (qemu-img converts it, qemu-img check
finds no fault), remembered by the content of its whole chain, so that one disk is read once.
"""
import hashlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import time

WAIT = 30


class Wrong(Exception):
    """What is not as it must be."""


class Gone(Exception):
    """The daemon does not answer any more."""


class Connection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=WAIT)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(WAIT)
        self.sock.connect(self.path)


class Service:
    def __init__(self, build, folder, disks=None):
        self.build, self.folder = build, folder
        self.state = os.path.join(folder, "state")
        self.process, self.connection = None, None
        self.options, self.log = [], os.path.join(folder, "log")
        self.disks = disks if disks is not None else {}
        self.headers = Headers()

    # ---- the process ----

    def launch(self, fault=None):
        env = dict(os.environ)
        if not self.options:  # what happens by itself behind a verb is no part of it
            conf = os.path.join(self.folder, "conf")
            with open(conf, "w") as f:
                f.write("[imaged]\ninspect_imports = no\n")
            self.options = ["--config", conf]
        if fault:
            env["IMAGED_FAULT"] = fault
        with open(self.log, "a") as log:
            self.process = subprocess.Popen(
                [self.build + "/imaged", "--state", self.state, *self.options], env=env,
                stdout=subprocess.PIPE, stderr=log)

    def start(self, fault=None):
        """TRUE once it serves; FALSE if it ends before."""
        self.launch(fault)
        if self.process.stdout.readline().startswith(b"ready"):
            return True
        self.kill()
        return False

    def must_start(self, where=""):
        if not self.start():
            raise Wrong("%sno start: %s" % (where, self.last_words()))
        self.wait_idle()

    def last_words(self):
        with open(self.log, errors="replace") as log:
            return log.read()[-400:].strip()

    def is_alive(self):
        return self.process is not None and self.process.poll() is None

    def end(self):
        self.process.stdout.close()
        self.process = None
        if self.connection:
            self.connection.close()
        self.connection = None

    def kill(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.end()

    def stop(self):
        """In order, or Wrong."""
        if self.connection:  # one that is kept open would be waited for
            self.connection.close()
            self.connection = None
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(WAIT)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Wrong("it does not stop") from None
        self.end()
        if code:
            raise Wrong("it ends with %d: %s" % (code, self.last_words()))

    # ---- asking ----

    def ask(self, method, path, body=None):
        """(HTTP status, JSON); Gone if there is nobody."""
        for again in (True, False):
            try:
                if not self.connection:
                    self.connection = Connection(self.state + "/imaged.sock")
                self.connection.request(method, path, json.dumps(body) if body is not None else None,
                                        {"Content-Type": "application/json"} if body is not None else {})
                answer = self.connection.getresponse()
                text = answer.read()
                return answer.status, json.loads(text) if text[:1] in b"[{" else text.decode()
            except (OSError, http.client.HTTPException) as why:
                self.connection = None
                if not again or not self.is_alive() or isinstance(why, TimeoutError):
                    raise Gone("%s %s: %s" % (method, path, why)) from None
        return None

    def get(self, path):
        status, found = self.ask("GET", path)
        if status != 200:
            raise Wrong("GET %s: %s" % (path, found))
        return found

    def list(self, path):
        found = self.get(path)
        return found if isinstance(found, list) else next(v for v in found.values() if isinstance(v, list))

    def changes(self):
        """Changes to storage that the daemon has made so far."""
        return int(re.search(r"^imaged_storage_changes_total (\d+)", self.get("/metrics"), re.M).group(1))

    def wait_idle(self):
        end = time.monotonic() + WAIT
        pause = 0.001
        while self.get("/v1/status")["n_jobs_running"]:
            if time.monotonic() > end:
                raise Wrong("a job does not end: %s" % self.get("/v1/jobs"))
            time.sleep(pause)
            pause = min(pause * 1.5, 0.02)

    def wait_for(self, condition):
        end = time.monotonic() + WAIT
        while not condition():
            if time.monotonic() > end:
                raise Wrong("it does not come to an end")
            time.sleep(0.005)

    # ---- verbs ----

    def call(self, method, path, body):
        """A verb over the API, for what imagectl has no word for: (exit code, what it said)."""
        try:
            status, said = self.ask(method, path, json.loads(body))
            while status == 202 and said["state"] in ("queued", "running"):
                time.sleep(0.001)
                said = self.get("/v1/jobs/" + said["id"])
        except Gone:
            return 1, "imagectl: gone: no answer"
        if status >= 400 or said.get("state") in ("failed", "cancelled") or said.get("n_failed"):
            return 1, "imagectl: %s: %s" % (path, json.dumps(said))
        return 0, ""

    def verb(self, words):
        """Run imagectl until it or the daemon ends: (exit code, what it said)."""
        if words[0] == "POST":
            return self.call(*words)
        client = subprocess.Popen([self.build + "/imagectl", "--state", self.state, *words],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.PIPE, text=True)
        end = time.monotonic() + 2 * WAIT
        while True:
            try:
                client.wait(0.02)
                break
            except subprocess.TimeoutExpired:
                # An answer may be on its way still when the daemon ends: imagectl reads it first.
                if not self.is_alive() or time.monotonic() > end:
                    time.sleep(0.02)
                    client.terminate()
                    client.wait()
                    break
        said = client.stderr.read().strip()
        client.stderr.close()
        if time.monotonic() > end:
            raise Wrong("%s: never ends" % " ".join(words))
        return client.returncode, said

    def do(self, *words):
        code, said = self.verb(words)
        if code:
            raise Wrong("%s: exit %d: %s" % (" ".join(words), code, said))

    def write_disk(self, name, pattern, at, length, which=""):
        path = self.get("/v1/desktops/%s/path%s" % (name, which))["path"]
        subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -q -P %s %s %s" % (pattern, at, length),
                        path], check=True, stdout=subprocess.DEVNULL)

    def sql(self, statements):
        """What other parts would write, into the catalog of the daemon that runs."""
        subprocess.run(["sqlite3", "-bail", "-cmd", ".timeout 10000", self.state + "/catalog.db", statements],
                       check=True, stdout=subprocess.DEVNULL)

    def write_data(self, name, pattern, at, length):
        self.write_disk(name, pattern, at, length, "?data=1")

    # ---- what is there ----

    def files(self):
        """Paths of the layers by their ids: what their headers say, for a slot may hold another."""
        while True:
            try:
                return self.files_now()
            except FileNotFoundError:
                pass  # the sweep has just moved it from layers to trash

    def files_now(self):
        found = {}
        for store in os.listdir(self.state):
            for place in ("trash", "layers"):
                folder = os.path.join(self.state, store, place)
                for name in os.listdir(folder) if os.path.isdir(folder) else ():
                    path = os.path.join(folder, name)
                    found[identity_of(path) or name] = path
        return found

    def disk(self, path):
        """What a guest reads there, as one word."""
        if not os.path.exists(path):  # the sweep moves what is deleted, and both places are right
            path = path.replace("/layers/", "/trash/")
        key = self.chain_key(path)
        if key is None:
            return "unreadable"
        if key not in self.disks:
            self.disks[key] = read_disk(path, os.path.join(self.folder, "guest.raw"))
        return self.disks[key]

    def chain_key(self, path, below=0):
        try:
            key, backing = self.headers.of(path)
        except OSError:
            return None
        if backing is None or below > 64:
            return key
        above = self.chain_key(os.path.join(os.path.dirname(path), backing), below + 1)
        return above and hashlib.md5((key + above).encode()).hexdigest()

    def load(self, saved):
        """Begin with this state; of what nobody has touched since the sums stay known."""
        copy_state(saved, self.state)
        self.headers.restored_ns = time.time_ns()

    def clean(self):
        """store check finds nothing at all, nothing lies about; else Wrong."""
        status, job = self.ask("POST", "/v1/stores/check", {})
        if status not in (200, 202):
            raise Wrong("store check: %s" % job)
        end = time.monotonic() + WAIT
        while job["state"] in ("queued", "running"):
            if time.monotonic() > end:
                raise Wrong("store check does not end")
            time.sleep(0.001)
            job = self.get("/v1/jobs/" + job["id"])
        if job["state"] != "done" or not job["result"]["ok"]:
            raise Wrong("store check: %s" % json.dumps(job)[:1500])
        findings = [f for s in job["result"]["stores"] for f in s["findings"] if f["severity"] != "note"]
        if findings:
            raise Wrong("store check: %s" % findings)
        for store in self.list("/v1/stores"):
            for place in ("tmp", "quarantine"):
                left = os.listdir(os.path.join(store["location"], place))
                if left:
                    raise Wrong("left over in %s of %s: %s" % (place, store["name"], left))

    def sound(self):
        """The catalog's own consistency, by a tool that is not ours; the daemon does not run."""
        said = subprocess.run(["sqlite3", self.state + "/catalog.db",
                               "PRAGMA integrity_check; PRAGMA foreign_key_check"],
                              capture_output=True, text=True)
        if said.stdout.strip() != "ok":
            raise Wrong("catalog: %s%s" % (said.stdout, said.stderr))


def identity_of(path):
    with open(path, "rb") as file:
        found = re.search(rb'IMGD....\{[^}]*?"id": *"([0-9a-f]{32})"', file.read(65536), re.S)
    return found and found.group(1).decode()


def header_of(path):
    """(the file's bytes without its identity and the name of its backing file, that name)."""
    with open(path, "rb") as file:
        data = bytearray(file.read())
    if data[:4] != b"QFI\xfb" or len(data) < 104:
        return bytes(data), None
    offset, length = struct.unpack(">QI", data[8:20])
    name = bytes(data[offset:offset + length]).decode() if offset else None
    at = struct.unpack(">I", data[100:104])[0]
    end = 1 << struct.unpack(">I", data[20:24])[0]
    while at + 8 <= min(end, len(data)):
        kind, size = struct.unpack(">II", data[at:at + 8])
        if kind == 0:
            break
        if kind == 0x494D4744:
            data[at + 8:at + 8 + size] = bytes(size)
        at += 8 + (size + 7) // 8 * 8
    # The header up to the backing file's name and beyond moves with the identity's length.
    return bytes(data[:8] + data[20:104] + data[end:]), name


class Headers:
    """(sum of what header_of() gives, the backing file's name) of files.  A file is read again when it
    was changed; its ctime tells, but not of changes in the same moment, nor where it was copied."""
    MOMENT_NS = 50_000_000

    def __init__(self):
        self.known, self.restored_ns = {}, 0

    def of(self, path):
        at = os.stat(path)
        touched = at.st_ctime_ns if at.st_ctime_ns > self.restored_ns else 0
        key = os.path.basename(path), at.st_size, at.st_mtime_ns, touched, at.st_ino if touched else 0
        if key not in self.known:
            data, backing = header_of(path)
            found = hashlib.md5(data).hexdigest(), backing
            if time.time_ns() - at.st_ctime_ns < self.MOMENT_NS:
                return found
            self.known[key] = found
        return self.known[key]


def read_disk(path, raw):
    check = subprocess.run(["qemu-img", "check", "-q", "-f", "qcow2", path], capture_output=True)
    if check.returncode:
        return "corrupt"
    if subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", path, raw],
                      capture_output=True).returncode:
        return "unreadable"
    with open(raw, "rb") as file:
        return hashlib.md5(file.read()).hexdigest()[:8]


def copy_state(source, target):
    shutil.rmtree(target, ignore_errors=True)
    subprocess.run(["cp", "-a", "--sparse=always", "--reflink=auto", source, target], check=True)
