#!/usr/bin/python3
"""Random operations on a real daemon, held against a plain model in memory.

usage: model.py BUILD FOLDER SEED SECONDS

The model knows for every desktop, every former disk in the trash and every template version what
byte each 64 KiB block holds.  After each step the lists and the disks that changed are compared;
every tenth step all of them, with store check.  Disks are read by qemu-img and, as another opinion,
by our own engine (cowtool).  Now and then the daemon is stopped, killed (also while it works), or
its catalog is lost and made anew.  Exits 1 with the seed and the last steps at the first difference.
"""
import json
import os
import random
import signal
import subprocess
import sys
import time

BLOCK = 65536
BLOCKS = 128
WAIT = 30


class Wrong(Exception):
    pass


class Disk:
    """What a guest reads, and where it stands."""

    def __init__(self, template, version, blocks):
        self.template, self.version, self.blocks = template, version, bytearray(blocks)


class Desktop:
    def __init__(self, name, disk):
        self.name, self.disk, self.generation = name, disk, 1


class Trashed:
    def __init__(self, kind, desktop_id, disk, reason, generation, desktop=None):
        self.kind, self.desktop_id, self.disk = kind, desktop_id, disk
        self.reason, self.generation, self.desktop = reason, generation, desktop


class Service:
    """The daemon and its command line."""

    def __init__(self, build, folder):
        self.build, self.folder = build, folder
        self.state = os.path.join(folder, "state")
        self.process = None

    def start(self):
        log = open(os.path.join(self.folder, "log"), "a")
        self.process = subprocess.Popen([self.build + "/imaged", "--state", self.state],
                                        stdout=subprocess.PIPE, stderr=log, text=True)
        log.close()
        line = self.process.stdout.readline()
        if not line.startswith("ready"):
            raise Wrong("the daemon does not start: " + open(self.folder + "/log").read()[-500:])
        deadline = time.monotonic() + WAIT
        while self.json("status")["n_jobs_running"]:
            if time.monotonic() > deadline:
                raise Wrong("a job does not end")
            time.sleep(0.02)
        return line

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        try:
            self.process.wait(WAIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise Wrong("the daemon does not stop") from None
        self.process.stdout.close()
        self.process = None

    def command(self, *words):
        return [self.build + "/imagectl", "--state", self.state, *words]

    def run(self, *words):
        return subprocess.run(self.command(*words), capture_output=True, text=True, timeout=WAIT)

    def do(self, *words):
        done = self.run(*words)
        if done.returncode:
            raise Wrong("%s: exit %d: %s" % (" ".join(words), done.returncode, done.stderr))
        return done.stdout

    def json(self, *words):
        return json.loads(self.do(*words, "-o", "json"))


class Model:
    def __init__(self, service, rng):
        self.service, self.rng = service, rng
        self.templates = {}  # name -> {version: blocks}
        self.desktops = {}   # id -> Desktop
        self.trash = {}      # id -> Trashed
        self.gone = set()    # ids that must never come again
        self.n_names = 0
        self.checked_layers = {}

    # ---- helpers ----

    def new_name(self):
        self.n_names += 1
        return "d%d" % self.n_names

    def pick(self):
        return self.rng.choice(sorted(self.desktops))

    def pick_some(self, most=4):
        ids = sorted(self.desktops)
        return self.rng.sample(ids, min(len(ids), self.rng.randint(1, most)))

    def names(self, ids):
        return [self.desktops[i].name for i in ids]

    def undo_entry(self, desktop_id):
        """The former disk that an undo would bring back: the last one that a reset replaced."""
        found = [(entry.generation, entry_id) for entry_id, entry in self.trash.items()
                 if entry.kind == "disk" and entry.desktop_id == desktop_id and
                 entry.reason == "reset"]
        return max(found)[1] if found else None

    def listed_trash(self):
        return {entry["id"]: entry for entry in self.service.json("trash", "list")}

    def put_to_trash(self, fresh):
        """Give the entries that the model has made (under None, id) their ids, from the list."""
        unknown = {i: e for i, e in self.listed_trash().items() if i not in self.trash}
        for entry in fresh:
            matching = [i for i, e in unknown.items()
                        if e["kind"] == entry.kind and e["generation"] == entry.generation and
                        e["reason"] == entry.reason and
                        e["name"] == entry.desktop.name]
            if len(matching) != 1:
                raise Wrong("%d trash entries for %s" % (len(matching), entry.desktop.name))
            self.trash[matching[0]] = entry
            del unknown[matching[0]]

    def replace_disk(self, desktop_id, disk, reason):
        """The desktop gets another disk; the former one as a trash entry."""
        desktop = self.desktops[desktop_id]
        entry = Trashed("disk", desktop_id, desktop.disk, reason, desktop.generation, desktop)
        desktop.disk = disk
        desktop.generation += 1
        return entry

    # ---- operations: each does the thing and tells the model; returns the changed desktops ----

    def op_create(self):
        template = self.rng.choice(sorted(self.templates))
        version = self.rng.choice(sorted(self.templates[template]))
        names = [self.new_name() for _ in range(self.rng.randint(1, 3))]
        self.service.do("desktop", "create", *names, "--template", "%s:%d" % (template, version))
        return self.learn_created(names, template, version)

    def learn_created(self, names, template, version):
        listed = {d["name"]: d["id"] for d in self.service.json("desktop", "list")}
        ids = []
        for name in names:
            if name not in listed:
                continue
            ids.append(listed[name])
            if listed[name] in self.gone or listed[name] in self.desktops:
                raise Wrong("id %s is used twice" % listed[name])
            self.desktops[listed[name]] = Desktop(
                name, Disk(template, version, self.templates[template][version]))
        return ids

    def op_write(self):
        desktop_id = self.pick()
        desktop = self.desktops[desktop_id]
        commands = []
        for _ in range(self.rng.randint(1, 4)):
            first = self.rng.randrange(BLOCKS)
            count = min(self.rng.randint(1, 12), BLOCKS - first)
            value = self.rng.randrange(256)
            kind = "write -q -z" if value == 0 and self.rng.random() < 0.7 else "write -q -P %d" % value
            commands += ["-c", "%s %d %d" % (kind, first * BLOCK, count * BLOCK)]
            desktop.disk.blocks[first:first + count] = bytes([value]) * count
        path = self.service.do("desktop", "path", desktop.name).strip()
        subprocess.run(["qemu-io", "-f", "qcow2", *commands, path], check=True,
                       stdout=subprocess.DEVNULL)
        return [desktop_id]

    def op_reset(self):
        ids = self.pick_some()
        self.service.do("desktop", "reset", *self.names(ids), "--yes")
        return self.learn_reset(ids)

    def learn_reset(self, ids, to=None):
        fresh = []
        for i in ids:
            template = self.desktops[i].disk.template
            version = to or self.desktops[i].disk.version
            disk = Disk(template, version, self.templates[template][version])
            fresh.append(self.replace_disk(i, disk, "reset"))
        self.put_to_trash(fresh)
        return ids

    def op_reset_to(self):
        first = self.pick()
        template = self.desktops[first].disk.template
        version = self.rng.choice(sorted(self.templates[template]))
        self.service.do("desktop", "reset", self.desktops[first].name, "--to", str(version), "--yes")
        return self.learn_reset([first], version)

    def op_undo(self):
        desktop_id = self.pick()
        done = self.service.run("desktop", "undo-reset", self.desktops[desktop_id].name, "--yes")
        entry_id = self.undo_entry(desktop_id)
        if (done.returncode == 0) != (entry_id is not None):
            raise Wrong("undo: exit %d, entry %s: %s" % (done.returncode, entry_id, done.stderr))
        return self.learn_swap(desktop_id, entry_id, "undo") if entry_id else []

    def learn_swap(self, desktop_id, entry_id, reason):
        entry = self.trash.pop(entry_id)
        self.gone.add(entry_id)
        self.put_to_trash([self.replace_disk(desktop_id, entry.disk, reason)])
        return [desktop_id]

    def op_delete(self):
        ids = self.pick_some(2)
        self.service.do("desktop", "delete", *self.names(ids), "--yes")
        return self.learn_delete(ids)

    def learn_delete(self, ids):
        fresh = []
        for i in ids:
            desktop = self.desktops.pop(i)
            fresh.append(Trashed("desktop", i, desktop.disk, "deleted", desktop.generation, desktop))
        self.put_to_trash(fresh)
        return []

    def op_restore(self):
        if not self.trash:
            return []
        entry_id = self.rng.choice(sorted(self.trash))
        entry = self.trash[entry_id]
        if entry.kind == "disk":
            done = self.service.run("trash", "restore", entry_id)
            can = entry.desktop_id in self.desktops
            if (done.returncode == 0) != can:
                raise Wrong("restore: exit %d: %s" % (done.returncode, done.stderr))
            return self.learn_swap(entry.desktop_id, entry_id, "restore") if can else []
        words = ["trash", "restore", entry_id]
        if self.rng.random() < 0.5:
            entry.desktop.name = self.new_name()
            words += ["--as", entry.desktop.name]
        self.service.do(*words)
        del self.trash[entry_id]
        self.gone.add(entry_id)
        self.desktops[entry.desktop_id] = entry.desktop
        return [entry.desktop_id]

    def op_import(self):
        name = self.rng.choice(["win", "lin"])
        versions = self.templates.setdefault(name, {})
        if len(versions) >= 5:
            return []
        blocks = bytearray(BLOCKS)
        for _ in range(self.rng.randint(1, 6)):
            first = self.rng.randrange(BLOCKS)
            count = min(self.rng.randint(1, 20), BLOCKS - first)
            blocks[first:first + count] = bytes([self.rng.randrange(256)]) * count
        path = os.path.join(self.service.folder, "golden.raw")
        with open(path, "wb") as out:
            out.write(expand(blocks))
        self.service.do("template", "import", name, path, "--format", "raw")
        versions[max(versions, default=0) + 1] = bytes(blocks)
        return []

    def op_rename(self):
        desktop_id = self.pick()
        name = self.new_name()
        self.service.do("desktop", "rename", self.desktops[desktop_id].name, name)
        self.desktops[desktop_id].name = name
        return [desktop_id]

    def op_empty(self):
        if self.trash and self.rng.random() < 0.6:
            entry_id = self.rng.choice(sorted(self.trash))
            self.service.do("trash", "empty", entry_id, "--yes")
            entry = self.trash.pop(entry_id)
            self.gone.add(entry_id)
            if entry.kind == "desktop":  # its former disks go with it
                for i in [i for i, e in self.trash.items() if e.desktop_id == entry.desktop_id]:
                    del self.trash[i]
                    self.gone.add(i)
        else:
            self.service.do("trash", "empty", "--yes")
            self.gone.update(self.trash)
            self.trash = {}
        return []

    def op_restart(self):
        self.service.stop()
        self.service.start()
        return []

    def op_kill(self):
        self.service.stop(signal.SIGKILL)
        self.service.start()
        return []

    def op_rebuild(self):
        self.service.stop(self.rng.choice([signal.SIGTERM, signal.SIGKILL]))
        for name in os.listdir(self.service.state):
            if name.startswith("catalog.db"):
                os.unlink(os.path.join(self.service.state, name))
        self.service.start()
        # without anything in the store there is nothing to rescue
        self.service.do("catalog", "rebuild", "--force")
        return sorted(self.desktops)

    def op_kill_at_work(self):
        """Kill the daemon while it works; what became of the work is seen by the list."""
        kind = self.rng.choice(["create", "reset", "delete", "undo"])
        if kind == "create":
            template = self.rng.choice(sorted(self.templates))
            version = max(self.templates[template])
            names = [self.new_name() for _ in range(20)]
            words = ["create", *names, "--template", "%s:%d" % (template, version)]
        else:
            ids = [self.pick()] if kind == "undo" else self.pick_some()
            entry = self.undo_entry(ids[0]) if kind == "undo" else None
            verb = {"undo": "undo-reset"}.get(kind, kind)
            words = [verb, *self.names(ids), "--yes"]
        client = subprocess.Popen(self.service.command("desktop", *words),
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(self.rng.uniform(0.002, 0.02))
        acked = client.poll() == 0
        self.service.stop(signal.SIGKILL)
        client.terminate()
        client.wait()
        self.service.start()
        listed = {d["id"]: d for d in self.service.json("desktop", "list")}
        if kind == "create":
            made = self.learn_created(names, template, version)
            if len(made) not in (0, len(names)) or (acked and not made):
                raise Wrong("a batch was made by half: %d of %d" % (len(made), len(names)))
            return made
        if kind == "delete":
            done = [i for i in ids if i not in listed]
        else:
            done = [i for i in ids if i not in listed or
                    listed[i]["generation"] > self.desktops[i].generation]
        if len(done) not in (0, len(ids)) or (acked and not done):
            raise Wrong("%s was done by half (acknowledged: %s)" % (kind, acked))
        if not done:
            return ids
        if kind == "undo":
            if not entry:
                raise Wrong("an undo without a reset")
            return self.learn_swap(ids[0], entry, "undo")
        return self.learn_delete(ids) if kind == "delete" else self.learn_reset(ids)

    # ---- comparing ----

    def layer_file(self, layer):
        for place in ("layers", "trash"):
            path = os.path.join(self.service.state, "store", place, layer)
            if os.path.exists(path):
                return path
        raise Wrong("layer %s has no file" % layer)

    def compare_disk(self, what, layer, disk, base=None):
        path = self.layer_file(layer)
        raw = os.path.join(self.service.folder, "guest.raw")
        if base and self.rng.random() < 0.5:
            with open(raw, "wb") as out:
                subprocess.run([self.service.build + "/tests/cowtool", "cat",
                                self.layer_file(base), path], check=True, stdout=out)
            reader = "cowtool"
        else:
            subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", path, raw], check=True)
            reader = "qemu-img"
        with open(raw, "rb") as file:
            found = file.read()
        expected = expand(disk.blocks)
        if found == expected:
            return
        bad = [i for i in range(BLOCKS) if found[i * BLOCK:(i + 1) * BLOCK] !=
               expected[i * BLOCK:(i + 1) * BLOCK]]
        raise Wrong("%s differs in blocks %s (read by %s; %d bytes for %d)" %
                    (what, bad[:10], reader, len(found), len(expected)))

    def compare_lists(self):
        desktops = {d["id"]: d for d in self.service.json("desktop", "list")}
        if set(desktops) != set(self.desktops):
            raise Wrong("other desktops: %s" % sorted(
                d.get("name") for i, d in desktops.items() if i not in self.desktops))
        for i, mine in self.desktops.items():
            theirs = desktops[i]
            want = (mine.name, mine.disk.template, mine.disk.version, mine.generation, "ok",
                    self.undo_entry(i) is not None)
            have = (theirs["name"], theirs["template"], theirs["version"], theirs["generation"],
                    theirs["state"], theirs["undo_available"])
            if want != have:
                raise Wrong("desktop %s is %s, not %s" % (mine.name, have, want))
        trash = self.listed_trash()
        if set(trash) != set(self.trash):
            raise Wrong("other trash: %d entries, not %d" % (len(trash), len(self.trash)))
        for i, mine in self.trash.items():
            have = (trash[i]["kind"], trash[i]["reason"], trash[i]["generation"])
            if have != (mine.kind, mine.reason, mine.generation):
                raise Wrong("trash entry %s is %s" % (i, have))
        return desktops, trash

    def bases(self):
        out = {}
        for name in self.templates:
            for version in self.service.json("template", "versions", name):
                out[name, version["version"]] = version["layer"]
        return out

    def compare(self, changed, everything):
        desktops, trash = self.compare_lists()
        bases = self.bases()
        for i in sorted(self.desktops) if everything else changed:
            if i in self.desktops:
                disk = self.desktops[i].disk
                self.compare_disk("desktop " + self.desktops[i].name, desktops[i]["layer"], disk,
                                  bases[disk.template, disk.version])
        if not everything:
            return
        for i, entry in self.trash.items():
            self.compare_disk("trash entry " + i, trash[i]["layer"], entry.disk,
                              bases[entry.disk.template, entry.disk.version])
        for name, versions in self.templates.items():
            if {v for n, v in bases if n == name} != set(versions):
                raise Wrong("template %s has other versions" % name)
            for version, blocks in versions.items():
                self.compare_disk("%s:%d" % (name, version), bases[name, version],
                                  Disk(name, version, blocks))
        done = self.service.run("store", "check", "-o", "json")
        if done.returncode or any(s["findings"] for s in json.loads(done.stdout)["stores"]):
            raise Wrong("store check: %s %s" % (done.stderr, done.stdout))


def expand(blocks):
    return b"".join(bytes([value]) * BLOCK for value in blocks)


WEIGHTS = {"create": 8, "write": 20, "reset": 10, "reset_to": 5, "undo": 8, "delete": 5, "restore": 7,
           "import": 3, "rename": 3, "empty": 2, "restart": 2, "kill": 3, "rebuild": 2,
           "kill_at_work": 6}


def main():
    build, folder, seed, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    rng = random.Random(seed)
    service = Service(build, folder)
    model = Model(service, rng)
    history, counts = [], {}
    end = time.monotonic() + seconds
    step = 0
    try:
        service.start()
        model.op_import()
        while not model.templates:
            model.op_import()
        while time.monotonic() < end:
            op = rng.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
            if len(model.desktops) > 60:
                op = rng.choice(["delete", "empty"])
            elif not model.desktops and op not in ("import", "restart", "kill", "rebuild"):
                op = "create"
            history.append(op)
            counts[op] = counts.get(op, 0) + 1
            changed = getattr(model, "op_" + op)()
            step += 1
            model.compare(changed or [], step % 10 == 0)
        model.compare([], True)
        service.stop()
    except (Wrong, subprocess.SubprocessError, OSError, KeyError, json.JSONDecodeError) as why:
        print("# seed %d, step %d: %s: %s" % (seed, step, type(why).__name__, why))
        print("# last steps: " + " ".join(history[-15:]))
        return 1
    finally:
        if service.process:
            service.process.kill()
            service.process.wait()
    print("# %d steps: %s" % (step, ", ".join("%s %d" % c for c in sorted(counts.items()))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
