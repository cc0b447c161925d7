#!/usr/bin/python3
"""Random verbs from many clients on many desktops, and a daemon that is killed again and again.

usage: soak.py BUILD FOLDER SEED SECONDS [DESKTOPS [CLIENTS]]

Each client has desktops of its own and knows what each was acknowledged to hold: what block patterns the
disk and each snapshot have, and what an undo would bring back.  A verb that was cut off by a kill may have
been done or not; which, is seen by looking, and one of the two it must be.  After each kill, and at the end:
nothing lost, nothing between, nothing leaked (store check).  Speaks TAP.
"""
import os
import random
import subprocess
import sys
import threading
import time

from service import Gone, Service, Wrong
from verbs import golden

BLOCK, BLOCKS = 65536, 16


class Cut(Exception):
    """The daemon was killed under a verb."""


class Desktop:
    """What was acknowledged."""

    def __init__(self, name, base):
        self.name = name
        self.base = bytes(base)
        self.disk = bytes(base)
        self.undo = None       # what undo-reset brings back
        self.snapshots = {}    # name -> blocks
        self.is_there = False
        self.n_names = 0
        self.history = []

    def facts(self):
        return (self.is_there, self.disk, self.undo, tuple(sorted(self.snapshots.items())))

    def put(self, facts):
        self.is_there, self.disk, self.undo, snapshots = facts
        self.snapshots = dict(snapshots)

    def note(self, *words):
        """For the message when something is wrong."""
        self.history = self.history[-30:] + ["%s: %s; disk %s, undo %s" % (
            time.strftime("%H:%M:%S"), " ".join(words), self.disk.hex(), self.undo and self.undo.hex())]


class Client(threading.Thread):
    """Works on its desktops until it is told to stop; a daemon that goes away ends one verb."""

    def __init__(self, soak, number, rng):
        super().__init__()
        self.soak, self.rng = soak, rng
        self.desktops = [Desktop("c%d-%03d" % (number, i), soak.base)
                         for i in range(soak.n_desktops // soak.n_clients)]
        self.doubt = None  # (desktop, facts before, facts if it was done)
        self.wrong = None
        self.counts = {}

    def run(self):
        try:
            while not self.soak.pause.is_set():
                self.step(self.rng.choice(self.desktops))
        except (Wrong, subprocess.SubprocessError, OSError) as why:
            self.wrong = "%s: %s" % (type(why).__name__, why)

    def verb(self, desktop, after, *words):
        """A verb and what it means; TRUE if it was acknowledged."""
        code, said = self.soak.client(words)
        self.counts[" ".join(words[:2])] = self.counts.get(" ".join(words[:2]), 0) + 1
        if code == 0:
            desktop.put(after)
            desktop.note(*words)
            return
        if self.soak.is_down():
            desktop.note("cut off:", *words)
            self.doubt = desktop, desktop.facts(), after
            raise Cut
        raise Wrong("%s: exit %d: %s\n%s" % (" ".join(words), code, said, "\n".join(desktop.history)))

    def write(self, d):
        first, value = self.rng.randrange(BLOCKS), self.rng.randrange(1, 256)
        count = self.rng.randint(1, BLOCKS - first)
        code, path = self.soak.client(("desktop", "path", d.name), True)
        if code:
            if self.soak.is_down():
                raise Cut
            raise Wrong("path: %s" % path)
        subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -q -P %d %d %d" % (
            value, first * BLOCK, count * BLOCK), path.strip()], check=True, capture_output=True)
        d.disk = d.disk[:first] + bytes([value]) * count + d.disk[first + count:]
        d.note("written")

    def step(self, d):
        there, disk, undo, snapshots = d.facts()
        kind = self.rng.choices(
            ["write", "reset", "undo", "snapshot", "revert", "delete-snapshot", "compact", "flatten",
             "delete"], [9, 4, 3, 5, 3, 4, 2, 1, 1])[0]
        name = self.rng.choice(sorted(d.snapshots)) if d.snapshots else None
        try:
            if not there:
                self.verb(d, (True, d.base, None, ()), "desktop", "create", d.name, "--template", "win")
            elif kind == "write":
                self.write(d)
            elif kind == "reset":
                self.verb(d, (True, d.base, disk, snapshots), "desktop", "reset", d.name, "--yes")
            elif kind == "undo" and undo is not None:
                self.verb(d, (True, undo, None, snapshots), "desktop", "undo-reset", d.name, "--yes")
            elif kind == "snapshot" and len(d.snapshots) < 5:
                d.n_names += 1
                name = "s%d" % d.n_names
                self.verb(d, (True, disk, undo, tuple(sorted({**d.snapshots, name: disk}.items()))),
                          "snapshot", "create", d.name, name)
            elif kind == "revert" and name:
                self.verb(d, (True, d.snapshots[name], disk, snapshots), "snapshot", "revert", d.name,
                          name, "--yes")
            elif kind == "delete-snapshot" and name:
                left = {n: b for n, b in d.snapshots.items() if n != name}
                self.verb(d, (True, disk, undo, tuple(sorted(left.items()))), "snapshot", "delete",
                          d.name, name, "--yes")
            elif kind in ("compact", "flatten"):
                self.verb(d, d.facts(), "desktop", kind, d.name)
            elif kind == "delete":
                self.verb(d, (False, d.base, None, ()), "desktop", "delete", d.name, "--yes")
        except Cut:
            if not self.soak.pause.wait(30):
                raise Wrong("the daemon ended by itself: " + self.soak.service.last_words()) from None


class Soak:
    def __init__(self, build, folder, seed, n_desktops, n_clients):
        self.service = Service(build, folder)
        self.rng = random.Random(seed)
        self.n_desktops, self.n_clients = n_desktops, n_clients
        self.pause = threading.Event()
        self.base = bytes([0x14] * 12 + [0] * 4)
        self.clients = [Client(self, i, random.Random(seed * 1000 + i)) for i in range(n_clients)]
        self.n_kills = self.n_done = self.n_not = 0

    def client(self, words, wants_output=False):
        done = subprocess.run([self.service.build + "/imagectl", "--state", self.service.state, *words],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
        return done.returncode, done.stdout if wants_output and not done.returncode else done.stderr

    def is_down(self):
        """Was the daemon killed?  (Only this test does that.)"""
        return self.pause.is_set() or not self.service.is_alive()

    def work(self, seconds):
        """Let the clients work, kill the daemon under them, and start it again."""
        self.pause.clear()
        threads = []
        for old in self.clients:
            new = Client(self, 0, old.rng)
            new.desktops, new.counts = old.desktops, old.counts
            threads.append(new)
        self.clients = threads
        for thread in threads:
            thread.start()
        end = time.monotonic() + seconds
        while time.monotonic() < end and not any(t.wrong for t in threads):
            time.sleep(0.05)
        self.pause.set()
        self.service.kill()
        self.n_kills += 1
        # imagectl waits for the next one, as it does in life, and may get its answer there.
        if not self.service.start():
            raise Wrong("no start after a kill: " + self.service.last_words())
        for thread in threads:
            thread.join()
        for thread in threads:
            if thread.wrong:
                raise Wrong(thread.wrong)

    # ---- looking ----

    def blocks(self, path):
        raw = os.path.join(self.service.folder, "guest.raw")
        subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", path, raw], check=True)
        found = []
        with open(raw, "rb") as file:
            for _ in range(BLOCKS):
                data = file.read(BLOCK)
                found.append(data[0] if data == data[:1] * BLOCK else -1)
        return found

    def look(self, d, listed, snapshots, files):
        """Is d as its facts say?  The difference as text, or None."""
        if (d.name in listed) != d.is_there:
            return "is %s" % ("there" if d.name in listed else "not there")
        if not d.is_there:
            return None
        if listed[d.name]["state"] != "ok":
            return "is " + listed[d.name]["state"]
        mine = {s["name"]: s for s in snapshots if s["desktop"] == d.name}
        if set(mine) != set(d.snapshots):
            return "has snapshots %s, not %s" % (sorted(mine), sorted(d.snapshots))
        for what, layer, blocks in [("disk", listed[d.name]["layer"], d.disk)] + [
                (n, mine[n]["layer"], b) for n, b in d.snapshots.items()] + self.undo_of(
                    d, listed[d.name]["id"]):
            if layer not in files:
                return "%s: layer %s has no file" % (what, layer)
            found = self.blocks(files[layer])
            if found != list(blocks):
                return "%s holds %s, not %s" % (what, found, list(blocks))
        return None

    def undo_of(self, d, desktop_id):
        """What an undo would bring back, to be looked at.  A deleted desktop of this name had resets, too."""
        if d.undo is None:
            return []
        trash = [e for e in self.service.list("/v1/trash?search=" + d.name) if
                 e["desktop_id"] == desktop_id and e["kind"] == "disk" and e["reason"] in ("reset", "revert")]
        newest = max(trash, key=lambda e: (e["trashed_at"], e["generation"]), default={"layer": None})
        return [("undo", newest["layer"], d.undo)]

    def settle(self, some):
        """After a start: settle the doubts, and look at some desktops (all: None)."""
        listed = {d["name"]: d for d in self.service.list("/v1/desktops")}
        snapshots, files = self.service.list("/v1/snapshots"), self.service.files()
        for client in self.clients:
            if not client.doubt:
                continue
            d, before, after = client.doubt
            client.doubt = None
            said = []
            for facts in (after, before):
                d.put(facts)
                said.append(self.look(d, listed, snapshots, files))
                if not said[-1]:
                    d.note("settled")
                    break
            else:
                raise Wrong("%s is neither old nor new: %s\n%s" % (d.name, said, "\n".join(d.history)))
            self.n_done += facts == after
            self.n_not += facts == before
        everything = [d for client in self.clients for d in client.desktops]
        for d in everything if some is None else self.rng.sample(everything, some):
            said = self.look(d, listed, snapshots, files)
            if said:
                raise Wrong("%s %s\n%s" % (d.name, said, "\n".join(d.history)))
        # Whatever is there is somebody's: nothing leaked.
        strange = set(listed) - {d.name for d in everything}
        if strange:
            raise Wrong("desktops that nobody made: %s" % strange)
        self.service.clean()

    def run(self, seconds):
        end = time.monotonic() + seconds
        self.service.must_start()
        self.service.do("template", "import", "win", golden(self.service, 4), "--format", "raw")
        names = [d.name for client in self.clients for d in client.desktops]
        self.service.do("desktop", "create", *names, "--template", "win")
        for client in self.clients:
            for d in client.desktops:
                d.is_there = True
        self.base_of()
        while time.monotonic() < end:
            self.work(self.rng.uniform(0.5, 6))
            self.service.wait_idle()
            self.settle(10)
        self.settle(None)
        self.empty_trash()
        self.settle(None)
        self.service.stop()
        self.service.sound()

    def empty_trash(self):
        """Of half an hour that is thousands of files, given back at leisure; no undo is left."""
        self.service.do("trash", "empty", "--yes", "--no-wait")
        end = time.monotonic() + 900
        while self.service.get("/v1/status")["n_jobs_running"]:
            if time.monotonic() > end:
                raise Wrong("the trash does not get empty: %s" % self.service.get("/v1/jobs"))
            time.sleep(0.1)
        for client in self.clients:
            for d in client.desktops:
                d.undo = None

    def base_of(self):
        """What a new desktop holds, read once."""
        d = self.clients[0].desktops[0]
        listed = {x["name"]: x for x in self.service.list("/v1/desktops")}
        base = self.blocks(self.service.files()[listed[d.name]["layer"]])
        for client in self.clients:
            for each in client.desktops:
                each.base = each.disk = bytes(base)


def main():
    build, folder, seed, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    n_desktops = int(sys.argv[5]) if len(sys.argv) > 5 else 200
    n_clients = int(sys.argv[6]) if len(sys.argv) > 6 else 8
    soak = Soak(build, folder, seed, n_desktops, n_clients)
    print("# seed %d, %d s, %d desktops, %d clients" % (seed, seconds, n_desktops, n_clients))
    wrong = None
    try:
        soak.run(seconds)
    except (Wrong, Gone, subprocess.SubprocessError, OSError) as why:
        wrong = "%s: %s" % (type(why).__name__, why)
    soak.pause.set()
    soak.service.kill()
    counts = {}
    for client in soak.clients:
        for name, n in client.counts.items():
            counts[name] = counts.get(name, 0) + n
    print("# verbs: " + ", ".join("%s %d" % item for item in sorted(counts.items())))
    print("# %d kills; of the verbs that they cut off %d were done, %d not" % (
        soak.n_kills, soak.n_done, soak.n_not))
    print("%sok 1 - soak: 0 lost, 0 leaked (seed %d)" % ("not " if wrong else "", seed))
    if wrong:
        print("\n".join("# " + line for line in wrong[:6000].splitlines()))
    print("1..1")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
