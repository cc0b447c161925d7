#!/usr/bin/env python3
"""snapshot_model.py BUILD STATE SEED STEPS: random snapshots, merges and trash, against a model.

The model keeps the guest bytes of two desktops' disks and data disks, of each of their snapshots and of
each thing in the trash.  After each step QEMU reads the disks and snapshots of the desktop that was touched
(qemu-img convert, which follows the backing names) and the store is checked.  Now and then the
daemon is restarted, or the catalog is rebuilt from the store and must come out the same.
Speaks TAP; the daemon is started and stopped here."""
import json
import os
import random
import sqlite3
import subprocess
import sys

BUILD, STATE, SEED, STEPS = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
SIZE = 12 << 20
DATA_MAX = 8 << 20
MAX_SNAPSHOTS = 5
rng = random.Random(SEED)
daemon = None
n_tests = 0


class Failed(Exception):
    pass


def run(*args, may_fail=False):
    done = subprocess.run(args, stdin=subprocess.DEVNULL, capture_output=True)
    if done.returncode and not may_fail:
        raise Failed(f"{' '.join(args)}: exit {done.returncode}: {done.stderr.decode()[:1000]}")
    return done


def ctl(*args, may_fail=False):
    done = run(f"{BUILD}/imagectl", "--state", STATE, "-o", "json", *args, may_fail=may_fail)
    if done.returncode:
        return done.returncode, done.stderr.decode()
    return json.loads(done.stdout) if done.stdout.strip() else None


def start():
    global daemon
    daemon = subprocess.Popen([f"{BUILD}/imaged", "--state", STATE, "--config", f"{STATE}.conf"],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    if not daemon.stdout.readline().startswith(b"ready"):
        raise Failed("the daemon did not start")


def stop(kill=False):
    (daemon.kill if kill else daemon.terminate)()
    daemon.wait()


def query(sql, *values):
    """The catalog's rows: what the API does not tell (slots)."""
    with sqlite3.connect(f"file:{STATE}/catalog.db?mode=ro", uri=True) as db:
        return db.execute(sql, values).fetchall()


def guest_bytes(slot):
    out = f"{STATE}.raw"
    run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", f"{STATE}/store/layers/{slot}", out)
    with open(out, "rb") as f:
        return f.read()


class Desktop:
    def __init__(self, name, golden):
        self.name, self.bytes, self.snapshots, self.is_there = name, golden, {}, True
        self.data = None  # of its data disk; a snapshot is (bytes, data)


class Model:
    def __init__(self):
        self.golden = bytes([0x11]) * (2 << 20) + bytes(4 << 20) + bytes([0x22]) * (1 << 20)
        self.golden += bytes(SIZE - len(self.golden))
        with open(f"{STATE}.golden", "wb") as f:
            f.write(self.golden)
        ctl("template", "import", "w", f"{STATE}.golden", "--format", "raw")
        ctl("desktop", "create", "a", "b", "--template", "w")
        self.desktops = [Desktop("a", self.golden), Desktop("b", self.golden)]
        self.trash = {}  # id -> (kind, reason, desktop, name, (bytes, data), None: no such disk in it)
        self.n_names = 0

    # ---- looking ----

    def kept(self, d, entry, before):
        """What an entry that just came holds."""
        if entry["kind"] == "snapshot":
            return d.snapshots_before.get(entry["name"])
        if entry["kind"] == "data":
            return None, before[1]
        return before[0], before[1] if entry["data_layer"] else None

    def note_trash(self, d, before):
        """Entries that came: a former disk holds what the desktop held before the step."""
        listed = {e["id"]: e for e in ctl("trash", "list")}
        for gone in set(self.trash) - set(listed):
            del self.trash[gone]
        came = [e for e in listed.values() if e["id"] not in self.trash]
        for e in sorted(came, key=lambda e: (e["kind"], e["reason"], e["name"])):
            new = e["id"]
            self.trash[new] = (e["kind"], e["reason"], d, e["name"], self.kept(d, e, before))

    def check(self, desktops):
        for d in desktops:
            if not d.is_there:
                continue
            path = ctl("desktop", "show", d.name)
            slot = query("SELECT l.slot FROM desktop d JOIN layer l ON l.id = d.layer_id"
                         " WHERE d.name = ? AND d.is_trashed = 0", d.name)[0][0]
            if guest_bytes(slot) != d.bytes:
                raise Failed(f"{d.name} ({path['id']}) reads other bytes")
            slots = query("SELECT l.slot FROM desktop d JOIN layer l ON l.id = d.data_layer_id"
                          " WHERE d.name = ? AND d.is_trashed = 0", d.name)
            if bool(slots) != (d.data is not None):
                raise Failed(f"{d.name} has {len(slots)} data disks")
            if slots and guest_bytes(slots[0][0]) != d.data:
                raise Failed(f"the data disk of {d.name} reads other bytes")
            there = {s["name"] for s in ctl("snapshot", "list", d.name)}
            if there != set(d.snapshots):
                raise Failed(f"{d.name} has snapshots {there}, not {set(d.snapshots)}")
            n_data = 0
            for name, is_data, slot, state, place in query(
                    "SELECT s.name, l.id = s.data_layer_id, l.slot, l.state, l.place FROM snapshot s"
                    " JOIN layer l ON l.id IN (s.layer_id, s.data_layer_id) JOIN desktop d ON"
                    " d.id = s.desktop_id WHERE d.name = ? AND"
                    " d.is_trashed = 0 AND s.is_trashed = 0", d.name):
                n_data += bool(is_data)
                if guest_bytes(slot) != d.snapshots[name][1 if is_data else 0]:
                    raise Failed(f"snapshot {name} of {d.name} reads other bytes")
                if (state, place) != ("frozen", "layers"):
                    raise Failed(f"the layer of {d.name}@{name} is {state} in {place}")
            if n_data != sum(data is not None for _, data in d.snapshots.values()):
                raise Failed(f"{n_data} snapshots of {d.name} have a data disk")
        self.check_store()

    def check_store(self):
        said = ctl("store", "check", may_fail=True)
        if isinstance(said, tuple):
            raise Failed(f"store check: {said[1]}" + run(
                f"{BUILD}/imagectl", "--state", STATE, "store", "check",
                may_fail=True).stdout.decode())
        for slot, state in query("SELECT slot, state FROM layer WHERE place = 'layers'"):
            mode = os.stat(f"{STATE}/store/layers/{slot}").st_mode & 0o777
            if mode != (0o660 if state == "active" else 0o440):
                raise Failed(f"layer {slot} is {state} and has mode {mode:o}")
        for (entry,) in query("SELECT id FROM trash WHERE layer_id NOT IN (SELECT id FROM layer) OR"
                              " data_layer_id NOT IN (SELECT id FROM layer)"):
            raise Failed(f"trash entry {entry} names a layer that is not there")

    # ---- steps; each returns what it was, or None if it was not possible ----

    def write(self, d):
        is_data = d.data is not None and rng.random() < 0.5
        data, args = bytearray(d.data if is_data else d.bytes), []
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(data) // 512) * 512
            n = min(rng.choice([512, 4096, 32768, 70144, 700416]), len(data) - at)
            byte = rng.choice([0, 0x11, rng.randrange(256)])
            args += ["-c", f"write -q -z {at} {n}" if rng.random() < 0.15 and not byte
                     else f"write -q -P {byte} {at} {n}"]
            data[at:at + n] = bytes([byte]) * n
        path = run(f"{BUILD}/imagectl", "--state", STATE, "desktop", "path", d.name,
                   *["--data"] * is_data).stdout.decode().strip()
        run("qemu-io", "-f", "qcow2", *args, path)
        if is_data:
            d.data = bytes(data)
            return "write data"
        d.bytes = bytes(data)
        return "write"

    def add_data(self, d):
        """A data disk: a blank one, or one from the trash."""
        if d.data is not None:
            return None
        entries = [e for e, what in self.trash.items() if what[0] == "data"]
        if entries and rng.random() < 0.7:
            entry = rng.choice(entries)
            said = ctl("desktop", "data-disk", "add", d.name, "--disk", entry, may_fail=True)
            if isinstance(said, tuple):
                if self.trash[entry][2] is d or "needs it" not in said[1] and \
                        "stands on it" not in said[1]:
                    raise Failed(f"data-disk add --disk {entry}: {said}")
                return f"add_data {entry} refused"
            d.data = self.trash[entry][4][1]
            return f"add_data {entry} of {self.trash[entry][2].name}"
        size = rng.randint(1, 4) << 20
        ctl("desktop", "data-disk", "add", d.name, "--size", str(size))
        d.data = bytes(size)
        return f"add_data {size}"

    def detach(self, d):
        if d.data is None:
            return None
        ctl("desktop", "data-disk", "detach", d.name, "--yes")
        d.data = None
        return "detach"

    def grow(self, d):
        if d.data is None or len(d.data) >= DATA_MAX:
            return None
        d.data += bytes(1 << 20)
        ctl("desktop", "data-disk", "resize", d.name, "--size", str(len(d.data)))
        return f"grow to {len(d.data)}"

    def create(self, d):
        if len(d.snapshots) >= MAX_SNAPSHOTS:
            return None
        name = f"s{self.n_names}"
        self.n_names += 1
        ctl("snapshot", "create", d.name, name)
        d.snapshots[name] = d.bytes, d.data
        return f"create {name}"

    def pick(self, d):
        return rng.choice(sorted(d.snapshots)) if d.snapshots else None

    def revert(self, d):
        name = self.pick(d)
        if not name:
            return None
        system, data = d.snapshots[name]
        disk = rng.choice(["all", "all", "system"] + ["data"] * (data is not None))
        ctl("snapshot", "revert", d.name, name, "--disk", disk, "--yes")
        if disk != "data":
            d.bytes = system
        if disk != "system" and data is not None:
            d.data = data
        return f"revert {name} {disk}"

    def delete(self, d):
        if not d.snapshots:
            return None
        names = rng.sample(sorted(d.snapshots), rng.randint(1, min(2, len(d.snapshots))))
        ctl("snapshot", "delete", d.name, *names, names[0], "--yes")
        for name in names:
            del d.snapshots[name]
        return f"delete {names}"

    def rename(self, d):
        name = self.pick(d)
        if not name:
            return None
        self.n_names += 1
        ctl("snapshot", "rename", d.name, name, f"r{self.n_names}")
        d.snapshots[f"r{self.n_names}"] = d.snapshots.pop(name)
        return f"rename {name}"

    def compact(self, d):
        ctl("desktop", "compact", d.name)
        return "compact"

    def flatten(self, d):
        ctl("desktop", "flatten", d.name)
        return "flatten"

    def reset(self, d):
        ctl("desktop", "reset", d.name, "--yes")
        d.bytes = self.golden
        return "reset"

    def undo(self, d):
        ids = [row[0] for row in query(
            "SELECT t.id FROM trash t JOIN desktop d ON d.id = t.desktop_id WHERE d.name = ? AND"
            " t.kind = 'disk' AND t.reason IN ('reset', 'revert') ORDER BY t.trashed_at DESC,"
            " t.generation DESC", d.name)]
        if not ids:
            return None
        ctl("desktop", "undo-reset", d.name, "--yes")
        d.bytes, data = self.trash[ids[0]][4]
        d.data = d.data if data is None else data
        return f"undo-reset {ids[0]}"

    def delete_desktop(self, d):
        ctl("desktop", "delete", d.name, "--yes")
        d.is_there = False
        return "desktop delete"

    def restore(self, d):
        mine = [(e, what) for e, what in self.trash.items() if what[2] is d]
        if not d.is_there:
            mine = [(e, what) for e, what in mine if what[0] == "desktop"]
        if not mine:
            return None
        entry, (kind, reason, _, name, kept) = rng.choice(mine)
        if kind == "snapshot" and len(d.snapshots) >= MAX_SNAPSHOTS:
            return None
        said = ctl("trash", "restore", entry, may_fail=kind == "layer")
        if isinstance(said, tuple) and "another content" not in said[1] and "slot" not in said[1]:
            raise Failed(f"trash restore {entry} ({kind}): {said}")
        if kind in ("disk", "data"):
            d.bytes = d.bytes if kept[0] is None else kept[0]
            d.data = d.data if kept[1] is None else kept[1]
        elif kind == "snapshot":
            d.snapshots[name] = kept
        elif kind == "desktop":
            d.is_there = True
        return f"restore {kind} ({reason}) {name} {'refused' if isinstance(said, tuple) else ''}"

    def empty(self, d):
        mine = [e for e, what in self.trash.items()
                if what[0] != "desktop" and (what[2].is_there or what[0] != "snapshot")]
        if not mine:
            return None
        if rng.random() < 0.3 and all(x.is_there for x in self.desktops):
            ctl("trash", "empty", "--yes")
            left = ctl("trash", "list")
            if left:
                raise Failed(f"left in the trash: {left}")
            return "empty"
        chosen = rng.sample(mine, rng.randint(1, len(mine)))
        ctl("trash", "empty", *chosen, "--yes")
        return f"empty {len(chosen)} of {len(mine)}"

    def restart(self, d):
        kill = rng.random() < 0.5
        stop(kill)
        start()
        return "restart after a kill" if kill else "restart"

    def world(self):
        def facts(*args):
            rows = ctl(*args)
            for row in rows:
                for key in list(row):
                    if key.endswith("_bytes") or key in ("is_live",):
                        del row[key]
            return sorted(rows, key=lambda row: row["id"])
        return facts("desktop", "list"), facts("snapshot", "list"), facts("trash", "list")

    def rebuild(self, d):
        before = self.world()
        ctl("catalog", "rebuild", "--force")
        after = self.world()
        if before != after:
            raise Failed(f"the rebuilt catalog differs:\n{before}\n{after}")
        return "rebuild"

    def step(self):
        d = rng.choice(self.desktops)
        steps = ([("write", 8), ("create", 6), ("revert", 4), ("delete", 5), ("rename", 1),
                  ("compact", 2), ("flatten", 1), ("reset", 1), ("undo", 2), ("restore", 4),
                  ("empty", 3), ("add_data", 4), ("detach", 1), ("grow", 1), ("delete_desktop", 1),
                  ("restart", 1), ("rebuild", 1)]
                 if d.is_there else [("restore", 3), ("empty", 1), ("restart", 1), ("rebuild", 1)])
        what = rng.choices([s[0] for s in steps], [s[1] for s in steps])[0]
        before, d.snapshots_before = (d.bytes, d.data), dict(d.snapshots)
        said = getattr(self, what)(d)
        if said:
            self.note_trash(d, before)
            self.check([d] if what not in ("empty", "rebuild", "restart", "add_data")
                       else self.desktops)
        return f"{d.name}: {said}" if said else None


def report(ok, name, why=""):
    global n_tests
    n_tests += 1
    print(f"{'ok' if ok else 'not ok'} {n_tests} - {name}", flush=True)
    if not ok:
        print("# " + why.replace("\n", "\n# "), file=sys.stderr)


def main():
    start()
    try:
        model, done = Model(), []
        try:
            while len(done) < STEPS:
                said = model.step()
                if said:
                    done.append(said)
                    if os.environ.get("VERBOSE"):
                        print(f"# {len(done)} {said}", flush=True)
            model.check(model.desktops)
            report(True, f"{STEPS} random steps: every disk and snapshot read what they should")
        except Failed as why:
            report(False, f"step {len(done) + 1} (seed {SEED})",
                   "\n".join(done[-12:]) + "\n" + str(why))
        try:
            for d in model.desktops:
                if not d.is_there:
                    entry = [e for e, what in model.trash.items()
                             if what[0] == "desktop" and what[2] is d][0]
                    ctl("trash", "restore", entry)
                for name in [s["name"] for s in ctl("snapshot", "list", d.name)]:
                    ctl("snapshot", "delete", d.name, name, "--yes")
                ctl("desktop", "reset", d.name, "--yes")
                if d.data is not None:
                    ctl("desktop", "data-disk", "detach", d.name, "--yes")
            ctl("trash", "empty", "--yes")
            files = sorted(os.listdir(f"{STATE}/store/layers"))
            left = [os.listdir(f"{STATE}/store/{p}") for p in ("trash", "tmp", "quarantine")]
            report(len(files) == 3 and not any(left), "once all is deleted, nothing is left",
                   f"{files} {left}")
        except Failed as why:
            report(False, "once all is deleted, nothing is left", str(why))
    finally:
        stop()
    print(f"1..{n_tests}")


main()
