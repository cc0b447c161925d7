#!/usr/bin/python3
"""The states that a power failure can leave: every write of a file system under a real daemon is
recorded (QEMU's blklogwrites below an ext4 or XFS on a loop device), and replayed up to each flush, with
some of the writes in flight, or parts of them.

usage: power_loss.py BUILD FOLDER FILESYSTEM STATES SEED [lie]    STATES: how many to try, 0 for all

lie: flushes do nothing while the writes are recorded (strace answers in the kernel's place), and
something must be found wrong: that shows that the check can fail.

On each state imaged starts by itself, and then: all that was acknowledged before is there, the verb in
progress was done or not at all, store check finds nothing, each disk reads as it must and qemu-img
check finds no fault, archives verify, the catalog is sound.  Needs root (loop devices) and FUSE.
Speaks TAP.
"""
import os
import random
import signal
import struct
import subprocess
import sys
import time

from every_change import differences
from service import Gone, Service, Wrong
from verbs import Verb, known_ids, make_one, make_three, signature

SIZE = {"ext4": 96 << 20, "xfs": 320 << 20}
MKFS = {"ext4": ["mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0"],
        "xfs": ["mkfs.xfs", "-q", "-f"]}
FLUSH, FUA, DISCARD = 1, 2, 4

WORK = [Verb(None, text, text) for text in (
    "desktop create x y --template win",
    "snapshot create x now",
    "desktop reset a b --yes",
    "desktop undo-reset a --yes",
    "snapshot delete b tue --yes",
    "snapshot revert c old --yes",
    "desktop delete e --yes",
    "template import fresh @golden --format raw",
    "desktop compact b",
    "desktop create z --template win --data-disk 1M",
    "snapshot create z one",
    "desktop data-disk resize z --size 2M",
    "snapshot revert z one --yes",
    "desktop data-disk detach z --yes",
    "archive target add t @state/arch --kind dir",
    "archive create b --to t",
    "archive restore @point:b --as back --yes",
    "trash restore @desktop:e",
    "desktop rename x xavier",
    "trash empty --yes",
    "template retire win:2",
    "archive delete @point:b --now --yes",
)]


def run(*words):
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()


class Disk:
    """A block device all of whose writes are recorded, mounted on folder/mnt."""

    def __init__(self, folder, kind):
        self.folder, self.kind = folder, kind
        self.raw, self.log = folder + "/disk.raw", folder + "/log.raw"
        self.mnt, self.fuse = folder + "/mnt", folder + "/fuse"
        self.children, self.loop, self.mounted = [], None, False
        os.makedirs(self.mnt)
        os.makedirs(self.fuse)
        open(self.fuse + "/disk", "w").close()
        for path, size in ((self.raw, SIZE[kind]), (self.log, 8 << 30)):
            with open(path, "w") as file:
                file.truncate(size)

    def start(self):
        sock = self.folder + "/nbd.sock"
        self.children.append(subprocess.Popen([
            "qemu-storage-daemon", "--blockdev", "driver=file,node-name=f0,filename=" + self.raw,
            "--blockdev", "driver=file,node-name=l0,filename=" + self.log,
            "--blockdev", "driver=blklogwrites,node-name=bl,file=f0,log=l0,log-sector-size=512,"
                          "log-super-update-interval=1",
            "--nbd-server", "addr.type=unix,addr.path=" + sock,
            "--export", "type=nbd,id=e0,node-name=bl,name=d,writable=on"]))
        self.wait(lambda: os.path.exists(sock))
        self.children.append(subprocess.Popen(["nbdfuse", self.fuse + "/disk", "nbd+unix:///d?socket=" + sock]))
        self.wait(lambda: os.stat(self.fuse + "/disk").st_size == SIZE[self.kind])
        self.loop = run("losetup", "--show", "-f", self.fuse + "/disk")
        run(*MKFS[self.kind], self.loop)
        self.mount(self.loop)

    @staticmethod
    def wait(is_true):
        end = time.monotonic() + 20
        while not is_true():
            if time.monotonic() > end:
                raise Wrong("the recording disk does not come up")
            time.sleep(0.01)

    def mount(self, device):
        run("mount", "-t", self.kind, *(["-o", "nouuid"] if self.kind == "xfs" else []), device, self.mnt)
        self.mounted = True

    def umount(self):
        if self.mounted:
            subprocess.run(["umount", self.mnt], capture_output=True)
        self.mounted = False

    def drop_loop(self):
        if self.loop:
            subprocess.run(["losetup", "-d", self.loop], capture_output=True)
        self.loop = None

    def stop(self):
        self.umount()
        self.drop_loop()
        if self.children:
            subprocess.run(["umount", self.fuse + "/disk"], capture_output=True)
        for child in reversed(self.children):
            child.send_signal(signal.SIGTERM)
            child.wait(20)
        self.children = []

    def position(self):
        """Entries recorded so far."""
        with open(self.log, "rb") as log:
            log.seek(16)
            return struct.unpack("<Q", log.read(8))[0]

    def entries(self):
        """(offset, data, flags) of each."""
        with open(self.log, "rb") as log:
            _, _, count, sector = struct.unpack("<QQQI", log.read(512)[:28])
            at = sector
            for _ in range(count):
                log.seek(at)
                where, length, flags, _ = struct.unpack("<QQQQ", log.read(32))
                data = b""
                if not flags & DISCARD:
                    log.seek(at + sector)
                    data = log.read(length * sector)
                    at += length * sector
                at += sector
                yield where * sector, data, flags


def record(disk, service, lie):
    """Do the work: ([(entry of the acknowledgement, state then)], known ids)."""
    if not service.start():
        raise Wrong("no start: " + service.last_words())
    liar = subprocess.Popen(["strace", "-f", "-qq", "-o", "/dev/null", "-p", str(service.process.pid),
                             "-e", "trace=fsync,fdatasync,syncfs",
                             "-e", "inject=fsync,fdatasync,syncfs:retval=0"]) if lie else None
    make_one(service)
    make_three(service)
    os.mkdir(service.state + "/arch")
    service.wait_idle()
    run("sync", "-f", disk.mnt)
    known = known_ids(service)
    states = [(disk.position(), signature(service, known))]
    for verb in WORK:
        service.do(*verb.words(service))
        acked = disk.position()
        service.wait_idle()
        states.append((acked, signature(service, known)))
    service.stop()
    if liar:
        liar.wait(20)
    return states, known


class Replay:
    """The disk as it is up to a flush, and what may be in flight."""

    def __init__(self, disk, rng):
        self.disk, self.rng = disk, rng
        self.image = disk.folder + "/state.raw"
        self.base = disk.folder + "/base.raw"
        with open(self.base, "w") as file:
            file.truncate(SIZE[disk.kind])

    def write(self, path, writes):
        with open(path, "r+b") as file:
            for where, data in writes:
                file.seek(where)
                file.write(data)

    def some(self, flight):
        """A random part of the writes in flight, one of them torn."""
        writes = [w for w in flight if self.rng.random() < 0.5]
        if writes:
            i = self.rng.randrange(len(writes))
            where, data = writes[i]
            keep = 512 * self.rng.randint(0, len(data) // 512)
            writes[i] = where, data[:keep]
        return writes

    def mount(self, writes):
        subprocess.run(["cp", "--sparse=always", self.base, self.image], check=True)
        self.write(self.image, writes)
        self.disk.loop = run("losetup", "--show", "-f", self.image)
        self.disk.mount(self.disk.loop)

    def unmount(self):
        self.disk.umount()
        self.disk.drop_loop()


def check(service, states, number, known):
    """One state, after entry number of the log."""
    done = max(i for i, (acked, _) in enumerate(states) if acked <= number)
    service.must_start()
    now = signature(service, known)
    allowed = [states[done][1]] + ([states[done + 1][1]] if done + 1 < len(states) else [])
    if now not in allowed:
        raise Wrong("after '%s' was acknowledged it is\n%s" % (
            WORK[done - 1].text if done else "the beginning", differences(allowed[0], now)))
    service.clean()
    if any(line.startswith("point ") for line in now):
        service.do("archive", "verify", "--target", "t")
    service.stop()
    service.sound()


def plan(states, disk, n_states, rng):
    """Which (flush, variant) to try: all, or some that lie everywhere."""
    flushes = [i for i, (_, _, flags) in enumerate(disk.entries()) if flags & FLUSH and i >= states[0][0]]
    every = [(i, variant) for i in flushes for variant in range(3)]
    return set(every if not n_states else rng.sample(every, min(n_states, len(every)))), len(every)


def main():
    build, folder, kind, n_states, seed = sys.argv[1:6]
    rng, lie = random.Random(int(seed)), sys.argv[6:] == ["lie"]
    disk = Disk(folder, kind)
    service = Service(build, folder)
    service.state = disk.mnt + "/state"
    tried, bad, started = 0, 0, time.monotonic()
    try:
        disk.start()
        states, known = record(disk, service, lie)
        disk.stop()
        print("# recorded in %.1f s" % (time.monotonic() - started))
        wanted, n_all = plan(states, disk, int(n_states), rng)
        replay, flight = Replay(disk, rng), []
        for number, (where, data, flags) in enumerate(disk.entries()):
            for variant in range(3) if flags & FLUSH else ():
                # 0: all that is in flight has arrived; 1, 2: a part of it
                if (number, variant) not in wanted:
                    continue
                tried += 1
                try:
                    replay.mount(flight if variant == 0 else replay.some(flight))
                    check(service, states, number, known)
                except (Wrong, Gone, subprocess.CalledProcessError) as why:
                    bad += 1
                    if lie:
                        continue
                    print("# flush %d/%d: %s" % (number, variant, getattr(why, "stderr", None) or why))
                    if os.environ.get("KEEP"):
                        return 1
                finally:
                    service.kill()
                    replay.unmount()
            if flags & FLUSH:
                replay.write(replay.base, flight)
                flight = []
            if data:
                if flags & FUA:
                    replay.write(replay.base, [(where, data)])
                flight.append((where, data))
        if lie:
            bad = 0 if bad else 1
        print("%sok 1 - %s%s: %d of %d states that a power failure could leave: %s" % (
            "not " if bad or not tried else "", kind, ", flushes left out" if lie else "", tried, n_all,
            "some are wrong" if bad != lie else "all are right"))
    except (Wrong, Gone, subprocess.CalledProcessError) as why:
        print("not ok 1 - %s: %s %s" % (kind, why, getattr(why, "stderr", "")))
        bad += 1
    finally:
        service.kill()
        disk.stop()
    print("1..1")
    return 1 if bad or not tried else 0


if __name__ == "__main__":
    sys.exit(main())
