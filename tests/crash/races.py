#!/usr/bin/python3
"""Two clients ask for two things about one desktop at the same moment: both may be done one after the
other, or one is told why not; in the end every desktop has a disk that a guest can read, and the store
and the catalog are sound, also after another start.  Speaks TAP.

usage: races.py BUILD FOLDER      ROUNDS: how often each two meet
"""
import itertools
import os
import re
import subprocess
import sys

from service import Gone, Service, Wrong, copy_state
from verbs import make_one, make_two, signature

ROUNDS = int(os.environ.get("ROUNDS", "1"))

# %d: each of the two has its own
VERBS = {"reset": "desktop reset a --yes",
         "undo-reset": "desktop undo-reset a --yes",
         "delete": "desktop delete a --yes",
         "rename": "desktop rename a renamed%d",
         "move": "desktop move a --to side",
         "snapshot": "snapshot create a snap%d",
         "revert": "snapshot revert a base --yes",
         "delete-snapshot": "snapshot delete a base --yes",
         "compact": "desktop compact a",
         "flatten": "desktop flatten a"}
PAIRS = [*itertools.combinations_with_replacement(VERBS, 2), ("create", "delete-template")]
VERBS.update({"create": "desktop create fresh --template lin",
              "delete-template": "template delete lin --yes"})


def make_situation(service):
    """Undo needs a reset before it, a move two stores."""
    service.must_start()
    make_one(service)
    make_two(service)
    service.do("snapshot", "create", "a", "base")
    service.write_disk("a", "0xa3", "256k", "64k")
    service.wait_idle()
    service.stop()


def check_whole(service):
    """Every desktop has a disk that a guest can read, on a template version that is there."""
    bad = [line for line in signature(service, set())
           if re.search("MISSING|corrupt|unreadable|missing", line) and not line.startswith("trash name=gone")]
    if bad:
        raise Wrong("\n".join(bad))
    service.clean()


def ask_both(service, pair):
    """[(exit code, what it said)]"""
    clients = []
    for i, name in enumerate(pair):
        words = [word.replace("%d", str(i + 1)) for word in VERBS[name].split()]
        clients.append(subprocess.Popen([service.build + "/imagectl", "--state", service.state, *words],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, text=True))
    said = [client.communicate(timeout=60)[1].strip() for client in clients]
    return [(client.returncode, text) for client, text in zip(clients, said)]


def race(service, saved, pair):
    """The two exit codes; or Wrong."""
    service.load(saved)
    service.must_start()
    if "create" in pair:
        service.do("template", "publish", "lin", "--unsealed")
    ends = ask_both(service, pair)
    service.wait_idle()
    if all(code for code, _ in ends):
        raise Wrong("nobody won: %s" % ends)
    for code, said in ends:
        if code not in (0, 1, 3, 4):
            raise Wrong("exit code %d: %s" % (code, said))
        if code and not said:  # a rule that says no is named
            raise Wrong("failed without a reason")
    check_whole(service)
    service.stop()
    service.sound()
    service.must_start()
    check_whole(service)
    service.stop()
    return "".join(str(code) for code, _ in ends)


def main():
    build, folder = sys.argv[1:]
    service = Service(build, folder)
    saved = os.path.join(folder, "saved")
    make_situation(service)
    copy_state(service.state, saved)
    n_bad = 0
    for number, pair in enumerate(PAIRS):
        codes, wrong = [], []
        for _ in range(ROUNDS):
            try:
                codes.append(race(service, saved, pair))
            except (Wrong, Gone, subprocess.TimeoutExpired) as why:
                wrong.append(str(why))
            finally:
                service.kill()
        n_bad += bool(wrong)
        print("%s %d - %s against %s (exit codes %s)" % ("not ok" if wrong else "ok", number + 1, *pair, " ".join(codes)))
        for text in wrong:
            print("\n".join("# " + line for line in text[:3000].splitlines()), flush=True)
    print("1..%d" % len(PAIRS))
    return 1 if n_bad else 0


if __name__ == "__main__":
    sys.exit(main())
