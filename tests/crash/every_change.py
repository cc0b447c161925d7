#!/usr/bin/python3
"""The k-th change to storage that the daemon makes kills it (IMAGED_FAULT=kill:K), or fails (eio:K,
enospc:K), for the verbs in verbs.py.  Speaks TAP.

usage: every_change.py BUILD FOLDER KIND...        KIND: kill, eio, enospc

kill: afterwards it starts by itself, even when it is killed again while it recovers; a verb that said
"done" was done, any other was done or not at all, and can be done then; nothing leaks; and the stores
alone give the same catalog again.

eio, enospc: the verb says "done" and was done, or fails with a reason; the same daemon goes on (or
ends by itself, when it must open its catalog anew); nothing leaks; and so after another start.

The environment: FULL=1 every point, k = 1, 2, ... until a run is untouched; else one of each verb and kind,
and more of them, spread, while it has not taken CHANGE_SECONDS yet, in the same order each time (SEED
chooses another).  ONLY=REGEX some verbs, AT=K one point, JOBS side by side.
"""
import multiprocessing
import os
import queue
import random
import re
import shutil
import sys
import time
import zlib

import fake_helper
from service import Gone, Service, Wrong, copy_state
from verbs import (HELPED, KILLED, SITUATIONS, VERBS, disagreeing, everything, is_settled, known_ids,
                   signature)

FULL = bool(os.environ.get("FULL"))
SECONDS = float(os.environ.get("CHANGE_SECONDS", "240"))
SLOW_POINTS = 4  # of a verb that is slow, with FULL
SEED = int(os.environ.get("SEED", "1"))
AT = int(os.environ.get("AT", "0"))
GOLDEN = 0.6180339887498949


def differences(old, new):
    return "\n".join(["-" + line for line in old if line not in new] +
                     ["+" + line for line in new if line not in old]) or "(nothing)"


class Worker:
    """One process's folder, its daemon and its saved situations (a store's place is in the catalog,
    so a situation is used where it was made)."""

    def __init__(self, build, folder):
        os.makedirs(folder)
        self.service = Service(build, folder)
        self.saved = {}  # situation -> (folder, known ids)
        self.helped = None  # options of a daemon that has a helper

    def situation(self, name):
        if name not in self.saved:
            before, make = SITUATIONS[name]
            self.load(before)
            self.service.must_start()
            make(self.service)
            self.service.wait_idle()
            known = known_ids(self.service)
            if name in KILLED:
                self.service.kill()
            else:
                self.service.stop()
            saved = os.path.join(self.service.folder, "saved-" + name)
            copy_state(self.service.state, saved)
            self.saved[name] = saved, known
        return self.saved[name]

    def load(self, name):
        """The ids that are known in it."""
        if name in HELPED and not self.helped:
            self.helped = fake_helper.start(self.service.folder)
        if name is None:
            self.service.options = []
            shutil.rmtree(self.service.state, ignore_errors=True)
            return set()
        saved, known = self.situation(name)
        self.service.load(saved)
        self.service.options = self.helped if name in HELPED else []
        return known


class Verbed:
    """One verb in one worker: what it means, and its points."""

    def __init__(self, worker, verb):
        self.worker, self.service, self.verb = worker, worker.service, verb
        if verb.situation:
            worker.situation(verb.situation)
        self.known = worker.load(verb.situation)
        self.service.must_start()
        self.old = signature(self.service, self.known)
        self.start_changes = self.service.changes()
        self.words = verb.words(self.service)
        self.service.do(*self.words)
        self.wait()
        self.last = self.service.changes()
        self.new = signature(self.service, self.known)
        self.service.clean()
        self.service.stop()
        self.first = 1 if verb.from_start else self.start_changes + 1

    def wait(self):
        """Until nothing is under way, be it a verb's or what pools do by themselves behind it."""
        self.service.wait_idle()
        self.service.wait_for(lambda: is_settled(self.service))
        self.service.wait_idle()

    # ---- the checks ----

    def outcome(self, where, is_done, may_be_mixed=False):
        """The state: "old", "new", or of a batch "mixed"; anything else is Wrong."""
        now = signature(self.service, self.known)
        if disagreeing(self.service):
            raise Wrong("%s: %s" % (where, disagreeing(self.service)))
        if now == self.new:
            return "new"
        later = self.verb.later
        if later and now == [line for line in self.new if not line.startswith(later)]:
            return "new"
        if self.verb.half and (not is_done or self.verb.from_start):
            now = sorted(line.replace(*self.verb.half) for line in now)
            if now == self.new and self.verb.from_start:
                return "new"
        if now == self.old and not is_done:
            return "old"
        desktops = {line for line in now if line.startswith("desktop ")}
        if may_be_mixed and self.verb.batch and not is_done and desktops <= {*self.old, *self.new}:
            return "mixed"
        raise Wrong("%s: is\n%s\nbut the verb means\n%s" % (
            where, differences(self.old, now), differences(self.old, self.new)))

    def do_again(self, state):
        """What was not done can be done still.  (Of a batch some of it is done, and says so.)"""
        goes_on = self.verb.again and self.service.verb(self.verb.again.split())[0] == 0
        if state == "mixed":
            self.service.verb(self.words)
        elif not goes_on:
            self.service.do(*self.words)
        self.wait()
        self.outcome("done again", state != "mixed", True)
        self.service.clean()

    def rebuild(self):
        """Lose the catalog, make it anew from the stores, and see that nothing has changed."""
        stores = [s for s in self.service.list("/v1/stores") if not s["is_default"]]
        before = everything(self.service)
        self.service.stop()
        for name in os.listdir(self.service.state):
            if name.startswith("catalog.db"):
                os.unlink(os.path.join(self.service.state, name))
        if not self.service.start():
            raise Wrong("no start without a catalog: " + self.service.last_words())
        status, said = self.service.ask("POST", "/v1/catalog/rebuild", {"force": True})
        if status != 200:
            raise Wrong("rebuild: %s" % said)
        for store in stores:
            self.service.do("store", "add", store["name"], store["location"])
        self.service.wait_idle()
        after = everything(self.service)
        for view in before:
            if before[view] != after[view]:
                raise Wrong("the rebuild changes:\n" + differences(
                    [str(row) for row in before[view]], [str(row) for row in after[view]]))

    def kill_at(self, at, rng):
        """Returns TRUE while the point was reached."""
        service, done, touched, second = self.service, False, True, None
        if service.start("kill:%d" % at):
            try:
                done = service.verb(self.words)[0] == 0
                self.wait()
                touched = service.changes() >= at
            except Gone:
                pass
        service.kill()
        if FULL or rng.random() < 0.5:
            second = rng.randint(1, self.start_changes + 12)
            if service.start("kill:%d" % second):
                try:
                    service.wait_idle()
                except Gone:
                    pass
            service.kill()
        try:
            service.must_start()
            state = self.outcome("exit %s" % ("0" if done else "not 0"), done)
            service.clean()
            rebuilds = self.verb.situation not in (None, *KILLED) and (FULL or rng.random() < 0.5)
            if rebuilds:
                self.rebuild()
            if state == "old" and self.old != self.new and not (rebuilds and self.verb.is_local):
                self.do_again(state)
            service.stop()
            service.sound()
        except (Wrong, Gone) as why:
            raise Wrong("%s%s" % ("then killed at %d of the next start: " % second if second else "",
                                  why)) from None
        return touched

    def fail_at(self, kind, at):
        service, code, touched, ended = self.service, 1, True, True
        if service.start("%s:%d" % (kind, at)):
            try:
                code, said = service.verb(self.words)
                self.wait()
                ended = False
            except Gone:
                pass
            if not ended:
                self.check_reason(code, said)
                touched = service.changes() >= at
                try:
                    # The error may have hit the daemon's own work meanwhile, or still wait.
                    try:
                        service.clean()
                    except Wrong:
                        service.clean()
                    self.outcome("the same daemon", code == 0, True)
                    if not self.verb.runs:
                        service.stop()
                except Gone:
                    pass  # it was the check's own change
                except Wrong as why:
                    if service.is_alive() or "opened anew" not in service.last_words():
                        raise Wrong("exit %d, the same daemon: %s" % (code, why)) from None
        elif "imaged: " not in service.last_words():
            raise Wrong("it ends without a word")
        service.kill()
        service.must_start("afterwards ")
        state = self.outcome("exit %d, started again" % code, code == 0, True)
        service.clean()
        if state != "new" and self.old != self.new:
            self.do_again(state)
        service.stop()
        service.sound()
        return touched

    @staticmethod
    def check_reason(code, said):
        if code and not re.search(r"^imagectl: .*: .", said, re.M):
            raise Wrong("exit %d without a reason: %s" % (code, said))
        if code > 5 or code < 0:
            raise Wrong("exit %d: %s" % (code, said))

    def try_point(self, kind, at, rng):
        self.worker.load(self.verb.situation)
        try:
            if kind == "kill":
                return self.kill_at(at, rng)
            return self.fail_at(kind, at)
        finally:
            self.service.kill()

    def points(self, rng):
        """In an order any beginning of which lies everywhere: each step divides a largest gap."""
        if AT:
            yield AT
        elif FULL and not self.verb.slow:
            yield from range(self.first, self.last + 1000)
        else:
            n, at, tried = self.last + 1 - self.first, rng.random(), set()
            while len(tried) < (min(n, SLOW_POINTS) if FULL else n):
                at = (at + GOLDEN) % 1
                if int(at * n) not in tried:
                    tried.add(int(at * n))
                    yield self.first + int(at * n)


class Tried:
    """One verb with one kind of fault: what was tried so far."""

    def __init__(self, number, kind):
        self.number, self.kind, self.verb = number, kind, VERBS[number]
        self.rng = random.Random(zlib.crc32(("%d %s %s" % (SEED, kind, self.verb.name)).encode()))
        self.n, self.of, self.wrong, self.seconds, self.points = 0, 0, [], 0.0, None

    def try_next(self, verbed):
        """FALSE when nothing is left to be tried."""
        started = time.monotonic()
        if self.points is None:
            self.points, self.of = verbed.points(self.rng), verbed.last + 1 - verbed.first
        at = next(self.points, None)
        if at is None or len(self.wrong) > 20:
            return False
        is_over = False
        try:
            is_over = not verbed.try_point(self.kind, at, self.rng) and at > verbed.last
        except Exception as why:  # told, and a failure
            name = "" if isinstance(why, (Wrong, Gone)) else type(why).__name__ + ": "
            self.wrong.append("AT=%d: %s%s" % (at, name, why))
        self.n += 1
        self.seconds += time.monotonic() - started
        return not is_over

    def result(self):
        return self.number, self.kind, self.n, self.of, self.wrong, self.seconds


def verbs_of(tasks, worker, kinds):
    """(its verb, what was tried with it) of one verb after the other, as long as somebody else has not
    taken it."""
    for number in iter(tasks.get, None):
        tried = [Tried(number, kind) for kind in kinds]
        try:
            yield Verbed(worker, VERBS[number]), tried
        except (Wrong, Gone) as why:
            worker.service.kill()
            for one in tried:
                one.wrong.append("without a fault: %s" % why)
            yield None, tried


def work(build, folder, kinds, tasks, results, end):
    worker, order = Worker(build, folder), random.Random(SEED)
    left = []  # (its verb, one kind): more of it can be tried
    for verbed, tried in verbs_of(tasks, worker, kinds):
        for one in tried:
            goes_on = verbed and one.try_next(verbed)
            while goes_on and FULL:
                goes_on = one.try_next(verbed)
            if goes_on:
                left.append((verbed, one))
            else:
                results.put(one.result())
    while left and time.monotonic() < end:
        order.shuffle(left)
        round_, left = left, []
        for verbed, one in round_:
            if time.monotonic() < end and not one.try_next(verbed):
                results.put(one.result())
            else:
                left.append((verbed, one))
    for _, one in left:
        results.put(one.result())


def main():
    build, folder, kinds = sys.argv[1], sys.argv[2], sys.argv[3:]
    only = re.compile(os.environ.get("ONLY", ""))
    n_jobs = int(os.environ.get("JOBS", "1"))
    tasks, results = multiprocessing.Queue(), multiprocessing.Queue()
    wanted = [i for i, v in enumerate(VERBS) if only.search(v.name) and (FULL or not (v.slow or v.full))]
    for task in wanted + [None] * n_jobs:
        tasks.put(task)
    print("# SEED=%d, %s" % (SEED, "every change" if FULL else "as many changes as %g s allow" % SECONDS))
    end = time.monotonic() + SECONDS
    workers = [multiprocessing.Process(target=work, args=(build, os.path.join(folder, "w%d" % i), kinds,
                                                          tasks, results, end)) for i in range(n_jobs)]
    for worker in workers:
        worker.start()
    n_points, n_bad, number = {}, 0, 0
    while number < len(wanted) * len(kinds):
        try:
            verb, kind, n, of, wrong, seconds = results.get(timeout=5)
        except queue.Empty:
            if any(worker.is_alive() for worker in workers) or not results.empty():
                continue
            print("Bail out! a worker has ended")
            return 1
        number += 1
        n_points[kind] = n_points.get(kind, 0) + n
        wrong = wrong or ([] if n or not of else ["nothing was tried"])
        n_bad += bool(wrong)
        print("%s %d - %s: %s at %d of %d changes (%.1f s)" % (
            "not ok" if wrong else "ok", number, VERBS[verb].name, kind, n, of, seconds))
        for text in wrong:
            print("\n".join("# " + line for line in text[:3000].splitlines()))
        sys.stdout.flush()
    for worker in workers:
        worker.join()
    print("# points tried: " + ", ".join("%s %d" % item for item in n_points.items()))
    print("1..%d" % number)
    return 1 if n_bad or not wanted else 0


if __name__ == "__main__":
    sys.exit(main())
