"""The situations that the crash tests begin with, every verb that changes something, and what of the
lists counts as the outcome.  A new verb is one line in VERBS; a new kind of thing one in VIEWS.
"""
import os
import random
import subprocess

# ---- what counts: for each list of the API its fields, in order.  Of ids, only those known from
# the start are told apart; "layer" is what a guest reads there. ----

VIEWS = [
    ("template", "/v1/templates", "name state latest n_versions description id"),
    ("version", "/v1/templates/*/versions", "name state cpus n_desktops stores layer checksum id"),
    ("desktop", "/v1/desktops",
     "name template version state generation store owner undo_available layer data_layer"
     " data_disk_size virtual_size id"),
    ("snapshot", "/v1/snapshots",
     "name desktop template version generation description is_current layer data_layer id"),
    ("trash", "/v1/trash", "name kind reason generation store layer data_layer id"),
    ("store", "/v1/stores", "name state"),
    ("target", "/v1/archive/targets", "name kind state n_points n_damaged id"),
    ("point", "/v1/archive/points", "name kind target snapshot state id"),
    ("schedule", "/v1/archive/schedules", "name target timing id"),
    ("export", "/v1/exports", "name read_write state"),
    ("pool", "/v1/pools", "name type template version size max_per_user n_free n_given deleting id"),
    ("member", "/v1/pools/*/desktops", "name state user version generation clean_generation id"),
    ("assignment", "/v1/assignments", "name user owner may_take_over until"),
]
LOCAL = ("pool", "member", "grant", "assignment")  # in no store: a rebuild forgets them


def is_pool_settled(service, pool):
    """Has it all that it wants, as it wants it?"""
    if pool["deleting"] or not pool["n_desktops"] == pool["size"] == pool["n_free"] + pool["n_given"]:
        return False
    return all(m["state"] == "given" or m["version"] == pool["wanted_version"]
               for m in service.list("/v1/pools/%s/desktops" % pool["name"]))


def is_settled(service):
    """Are exports as a start leaves them, and pools as their keeper does?"""
    return (all(row["state"] != "starting" for row in service.list("/v1/exports")) and
            all(is_pool_settled(service, pool) for pool in service.list("/v1/pools")))


def listed(service):
    """{view: rows}.  What goes on by itself is waited for."""
    found = {}
    service.wait_for(lambda: is_settled(service))
    for view, path, _ in VIEWS:
        before, star, after = path.partition("*")
        if star:
            names = [row["name"] for row in service.list(before.rstrip("/"))]
            found[view] = [row for name in names for row in service.list(before + name + after)]
        else:
            found[view] = service.list(path)
    found["grant"] = [dict(row, pool=pool["name"]) for pool in found["pool"]
                      for row in service.get("/v1/pools/" + pool["name"])["grants"]]
    return found


def disagreeing(service):
    """Desktops of which a roll-out's rows say something else than what they stand on."""
    versions = {row["id"]: row["version"] for row in service.list("/v1/desktops")}
    found = []
    for rollout in service.list("/v1/rollouts"):
        for row in service.list("/v1/rollouts/%s/desktops" % rollout["id"]):
            is_moved = versions.get(row["id"]) == rollout["version"]
            if row["state"] != "skipped" and is_moved != (row["state"] in ("moved", "held", "kept")):
                found.append("%s is %s on version %s" % (row["name"], row["state"],
                                                         versions.get(row["id"])))
    return found


def known_ids(service):
    return {row["id"] for rows in listed(service).values() for row in rows if "id" in row}


def signature(service, known):
    """All that a user sees, as sorted lines without times."""
    found, lines = listed(service), []
    files = service.files()

    def word(row, field):
        value = row[field]
        if field in ("layer", "data_layer") and value:
            return service.disk(files[value]) if value in files else "MISSING"
        if field == "id":
            return value if value in known else "new"
        if field == "checksum":  # a copy has another one
            return "there" if value else "none"
        return ",".join(sorted(value)) if isinstance(value, list) else value

    for view, _, fields in VIEWS + [("grant", None, "pool kind name")]:
        for row in found[view]:
            lines.append(" ".join([view] + ["%s=%s" % (f, word(row, f)) for f in fields.split()]))
    return sorted(lines)


def everything(service):
    """All that the API lists, to be the same before and after a rebuild.  (The blocks of a template
    are what they are just now: a copy that is not written back yet has others.)"""
    found = listed(service)
    for rows in found.values():
        for row in rows:
            if isinstance(row.get("stores"), list):
                row["stores"].sort()
            if row.get("checksum"):
                row.pop("disk_bytes", None)
            row.pop("inspection", None)  # derived, and made again
            row.pop("firmware", None)  # what is known of it by an inspection goes with that
            row.pop("pool", None)  # whose it is stands in no store
            row.pop("users", None)
        rows.sort(key=lambda row: row.get("id", ""))
    del found["store"]  # those beside the default one are added again by hand
    del found["export"]  # a stop ends them
    for view in LOCAL:
        del found[view]
    return found


# ---- situations ----

def golden(service, number):
    path = os.path.join(service.folder, "golden%d.raw" % number)
    if not os.path.exists(path):
        subprocess.run(["qemu-img", "create", "-q", "-f", "raw", path, "2M"], check=True)
        subprocess.run(["qemu-io", "-f", "raw", "-c", "write -q -P 0x1%d 0 768k" % number,
                        "-c", "write -q -P 0x2%d 1216k 64k" % number, path], check=True)
    return path


RECIPES = {"suite": """version: 1
name: built
base: {suite: bookworm}
size: 2G
""", "overlay": """version: 1
name: built
base: {template: win}
files:
  - {path: /etc/built, content: by hand}
"""}


def recipe(service, name):
    path = os.path.join(service.folder, name + ".yaml")
    with open(path, "w", encoding="ascii") as file:
        file.write(RECIPES[name])
    return path


def import_golden(service, name, number, *more):
    service.do("template", "import", name, golden(service, number), "--format", "raw", *more)


def make_one(service):
    """Templates win (2 versions), lin (a draft), gone (in the trash); desktops a (reset once), b, c
    with data, e without, d (in the trash)."""
    import_golden(service, "win", 1, "--description", "the first one")
    service.do("desktop", "create", "a", "c", "--template", "win", "--owner", "ann")
    import_golden(service, "win", 2, "--cpus", "4")
    service.do("desktop", "create", "b", "d", "e", "--template", "win")
    import_golden(service, "lin", 3, "--draft")
    import_golden(service, "gone", 4)
    service.write_disk("a", "0xa1", "0", "128k")
    service.write_disk("b", "0xb1", "256k", "192k")
    service.write_disk("c", "0xc1", "640k", "256k")
    service.write_disk("d", "0xd1", "1M", "64k")
    service.do("desktop", "reset", "a", "--yes")
    service.write_disk("a", "0xa2", "64k", "64k")
    service.do("desktop", "delete", "d", "--yes")
    service.do("template", "delete", "gone", "--yes")


def make_two(service):
    """Beside the default store: side (holding desktop s on a copy of win) and spare (empty)."""
    for name in ("side", "spare"):
        service.do("store", "add", name, os.path.join(service.state, name))
    service.do("desktop", "create", "s", "--template", "win")
    service.write_disk("s", "0x51", "0", "64k")
    service.do("desktop", "move", "s", "--to", "side")


def snapshot(service, desktop, name):
    service.do("snapshot", "create", desktop, name)


def make_three(service):
    """Desktop b has snapshots mon, tue, wed and stands on wed; c has one, from before a revert to it."""
    for name, pattern, at in (("mon", "0xb2", "0"), ("tue", "0xb3", "64k"), ("wed", "0xb4", "1M")):
        service.write_disk("b", pattern, at, "192k")
        snapshot(service, "b", name)
    service.write_disk("b", "0xb5", "32k", "64k")
    snapshot(service, "c", "old")
    service.write_disk("c", "0xc2", "0", "64k")
    service.do("snapshot", "revert", "c", "old", "--yes")
    service.write_disk("c", "0xc3", "64k", "64k")


def make_four(service):
    """A layer of b was merged away, into the one above, and is in the trash."""
    service.do("snapshot", "delete", "b", "tue", "--yes")


def make_five(service):
    """Points of b and of win in archive t; b has changed since.  The folder arch2 is empty."""
    for name in ("arch", "arch2"):
        os.mkdir(os.path.join(service.state, name))
    service.do("archive", "target", "add", "t", os.path.join(service.state, "arch"), "--kind", "dir")
    service.do("archive", "create", "b", "win", "--to", "t")
    service.write_disk("b", "0xb6", "512k", "64k")


def make_six(service):
    """Archive t has two points of b, a deleted one of win, one of e as a flat disk; its version is
    gone.  Schedule daily archives b and e there."""
    service.do("archive", "create", "b", "--to", "t")
    service.do("desktop", "flatten", "e")
    service.do("archive", "create", "e", "--to", "t")
    service.do("archive", "delete", next(p["id"] for p in service.list("/v1/archive/points")
                                         if p["name"] == "win:2"), "--yes")
    service.do("archive", "schedule", "add", "daily", "every day 02:00", "b", "e", "--to", "t")


def make_eight(service):
    """Archive t has points of b and of win, and nothing of them is here any more."""
    service.do("desktop", "delete", "--template", "win", "--yes")
    service.do("template", "delete", "win", "--yes")
    service.do("trash", "empty", "--yes")


def make_seven(service):
    """Exported: win for reading, c for writing, b's snapshot tue for reading."""
    service.do("export", "start", "win")
    service.do("export", "start", "b@tue")
    service.do("export", "start", "c", "--read-write")


def make_nine(service):
    """Template fat, so large that an archive of it is written back while it is written; target t."""
    path = os.path.join(service.folder, "fat.raw")
    with open(path, "wb") as file:
        file.write(random.Random(9).randbytes(56 << 20))
    service.do("template", "import", "fat", path, "--format", "raw")
    os.unlink(path)
    os.mkdir(os.path.join(service.state, "arch"))
    service.do("archive", "target", "add", "t", os.path.join(service.state, "arch"), "--kind", "dir")


def make_ten(service):
    """A point of b in archive t, a borg repository; b has changed since."""
    service.do("archive", "target", "add", "t", os.path.join(service.state, "borg"), "--kind", "borg")
    service.do("archive", "create", "b", "--to", "t")
    service.write_disk("b", "0xb6", "512k", "64k")


def make_eleven(service):
    """A roll-out has moved a and c to win:2; both have written since."""
    service.do("rollout", "start", "--template", "win", "--to", "2", "a", "c", "--yes")
    service.write_disk("a", "0xa4", "128k", "64k")
    service.write_disk("c", "0xc4", "128k", "64k")


def make_data(service):
    """Desktop f has a data disk and the snapshots mon and tue; g's is detached, in the trash, and so is
    what f's was before it went back to tue; h has a larger disk.  Archive t has a point of f."""
    service.do("desktop", "create", "f", "g", "--template", "win", "--data-disk", "4M")
    service.do("desktop", "create", "h", "--template", "win", "--disk-size", "3M")
    for name, pattern, at in (("mon", "0xf2", "0"), ("tue", "0xf3", "64k")):
        service.write_disk("f", pattern, at, "64k")
        service.write_data("f", pattern, at, "192k")
        snapshot(service, "f", name)
    service.write_data("f", "0xf4", "2M", "64k")
    service.do("snapshot", "revert", "f", "tue", "--disk", "data", "--yes")
    service.write_data("f", "0xf5", "1M", "64k")
    service.write_data("g", "0xc5", "1M", "64k")
    service.do("desktop", "data-disk", "detach", "g", "--yes")
    os.mkdir(os.path.join(service.state, "arch"))
    service.do("archive", "target", "add", "t", os.path.join(service.state, "arch"), "--kind", "dir")
    service.do("archive", "create", "f", "--to", "t")
    service.write_data("f", "0xf6", "3M", "64k")


def make_apart(service):
    """Beside the default store: side, where f's former disks and data disk are; f's own data disk is
    there too, brought back from the trash, and its disk is not."""
    service.do("store", "add", "side", os.path.join(service.state, "side"))
    service.do("desktop", "move", "f", "--to", "side")
    service.write_data("f", "0xf7", "128k", "64k")
    service.do("desktop", "move", "f", "--to", "default")
    service.do("trash", "restore", next(e["id"] for e in service.list("/v1/trash")
                                        if e["kind"] == "data" and e["reason"] == "moved" and
                                        e["store"] == "side"))


def make_apart_reverted(service):
    """f's data disk went back to a snapshot's, beside which it lies."""
    snapshot(service, "f", "before")
    service.write_data("f", "0xf8", "128k", "64k")
    service.do("snapshot", "revert", "f", "before", "--disk", "data", "--yes")


def make_common(service):
    """Desktops f, g, h hold the same at one place, over win's data and beside it, and some of their own;
    e shows what win has there."""
    service.do("desktop", "create", "f", "g", "h", "--template", "win")
    for number, name in enumerate("fgh"):
        service.write_disk(name, "0x77", "64k", "128k")
        service.write_disk(name, "0x78", "1M", "192k")
        service.write_disk(name, "0x8%d" % number, "1536k", "64k")


def make_stand_in(service):
    """They stand on a stand-in, and what they were is gone."""
    service.do("template", "stand-in", "win", "--share", "40%")
    service.do("trash", "empty", "--yes")


def make_unused(service):
    """Nothing stands on the stand-in any more."""
    service.do("desktop", "flatten", "--template", "win")


def make_helped(service):
    """imaged has a helper (fake_helper.py), which says that b has a file to keep, and what it removed
    where it was to seal; win has a draft."""
    service.do("template", "edit", "win")
    service.write_disk("win-draft", "0xd1", "256k", "64k")


def make_pool(service):
    """Users ann and bob; a pool p of three that stay their users', granted to ann, who has p-001 and has
    written there; a pool r of two that nobody has; e is ann's own."""
    for name in ("ann", "bob"):
        service.do("user", "add", name)
    service.do("pool", "create", "p", "--template", "win", "--size", "3", "--type", "manual")
    service.do("pool", "create", "r", "--template", "win", "--size", "2")
    service.do("pool", "grant", "p", "--user", "ann")
    service.wait_for(lambda: is_settled(service))
    service.sql("""BEGIN IMMEDIATE;
        INSERT INTO attachment SELECT d.id, d.generation, u.id, 0 FROM desktop d, user u
            WHERE d.name = 'p-001' AND u.name = 'ann';
        UPDATE pool_desktop SET state = 'given', given_at = 1, user_id = (SELECT id FROM user WHERE name = 'ann')
            WHERE desktop_id = (SELECT id FROM desktop WHERE name = 'p-001');
        COMMIT""")
    service.write_disk("p-001", "0xaa", "64k", "64k")
    service.do("desktop", "assign", "e", "ann")


# name -> (the situation it begins with, what is done then)
SITUATIONS = {"one": (None, make_one), "two": ("one", make_two), "three": ("one", make_three),
              "four": ("three", make_four), "five": ("one", make_five), "six": ("five", make_six),
              "seven": ("three", make_seven), "eight": ("five", make_eight),
              "nine": (None, make_nine), "ten": ("one", make_ten),
              "eleven": ("one", make_eleven), "data": ("one", make_data),
              "apart": ("data", make_apart),
              "apart-reverted": ("apart", make_apart_reverted), "common": ("two", make_common),
              "stand-in": ("common", make_stand_in), "unused": ("stand-in", make_unused),
              "helped": ("one", make_helped), "pool": ("one", make_pool)}
HELPED = {"helped"}  # imaged is told of a helper
KILLED = {"seven"}  # a stop would end what runs in it


# ---- verbs ----

class Verb:
    """situation and imagectl's words (or POST, a path of the API and a body).  @NAME is the file golden4.raw, @KIND:NAME the id of that entry
    of the trash, @point:NAME of an archive's point, @recipe:NAME one of RECIPES.  from_start: the changes of the daemon's start count too.  half: (text, text): what
    a verb that failed may have done all the same, as replacements that make it the old state.  Of a
    batch with an error each desktop by itself is old or new.  runs: it is about what an orderly stop
    ends (exports), so the daemon is only ever killed.  slow: a few points, and only with FULL.
    full: only with FULL, like another verb that is always tried.  again: the words that go on with it after an error, if it had begun.  is_local: what it is about
    is in no store, so a rebuild forgets it.  later: how a line begins that housekeeping adds, if not at once then by and by."""

    def __init__(self, situation, name, words, from_start=False, half=None, batch=False,
                 runs=False, slow=False, full=False, again=None, is_local=False, later=None):
        self.situation, self.name, self.text, self.slow = situation, name, words, slow
        self.again, self.is_local, self.full, self.later = again, is_local, full, later
        self.from_start, self.half, self.batch, self.runs = from_start, half, batch, runs

    def words(self, service):
        return [self.word(service, word) for word in self.text.split()]

    def word(self, service, word):
        if word == "@golden":
            return golden(service, 4)
        if word.startswith("@state/"):
            return service.state + word[6:]
        if word.startswith("@recipe:"):
            return recipe(service, word[8:])
        if word.startswith("archive:@"):
            return "archive:" + self.word(service, word[8:])
        if word.startswith("every@"):
            return word.replace("@", " ")
        if word.startswith("@deleted:"):
            return next(p["id"] for p in service.list("/v1/archive/points?deleted=true")
                        if p["name"] == word[9:])
        if word.startswith("@point:"):
            return next(p["id"] for p in service.list("/v1/archive/points") if p["name"] == word[7:])
        if word.startswith("@"):
            kind, name = word[1:].split(":", 1)
            return next(e["id"] for e in service.list("/v1/trash")
                        if e["kind"] == kind and e["name"] == name)
        return word


# A server that was ended, or could not be started again, is a failed one if more could not be noted.
ENDED = ("state=failed", "state=running")

# A drain begins with letting no new layers in; that may be all of it that was done.
DRAIN = ("store name=side state=draining", "store name=side state=online")

VERBS = [
    Verb(None, "first start", "status", from_start=True),
    Verb("one", "start", "status", from_start=True),
    Verb("one", "template import", "template import fresh @golden --format raw"),
    Verb("one", "template import, next version", "template import win @golden --format raw"),
    Verb("one", "desktop create", "desktop create x --template win"),
    Verb("one", "desktop create, 3", "desktop create x y z --template win:1"),
    Verb("one", "desktop reset", "desktop reset b --yes"),
    Verb("one", "desktop reset, 3", "desktop reset a b c --yes"),
    Verb("one", "desktop reset --to", "desktop reset b --to 1 --yes"),
    Verb("one", "desktop undo-reset", "desktop undo-reset a --yes"),
    Verb("one", "desktop delete", "desktop delete b --yes"),
    Verb("one", "desktop delete, all", "desktop delete --template win --yes"),
    Verb("one", "desktop rename", "desktop rename b bee"),
    Verb("one", "desktop set", "desktop set a b --user u --user-password-file /etc/debian_version"),
    Verb("one", "desktop config-disk", "desktop config-disk b"),
    Verb("one", "trash restore, disk", "trash restore @disk:a"),
    Verb("one", "trash restore, desktop", "trash restore @desktop:d"),
    Verb("one", "trash restore, template", "trash restore @template_version:gone:1"),
    Verb("one", "trash empty", "trash empty --yes"),
    Verb("one", "template publish", "template publish lin --unsealed"),
    Verb("one", "template retire", "template retire win:2"),
    Verb("one", "template rename", "template rename win windows"),
    Verb("one", "template set", "template set win --auto-login guest"),
    Verb("one", "template delete", "template delete lin --yes"),
    Verb("one", "template inspect", "template inspect win", batch=True),
    Verb("one", "desktop inspect", "desktop inspect a b c", batch=True),
    Verb("one", "catalog backup", "catalog backup"),
    Verb("one", "catalog rebuild", "catalog rebuild --force"),
    Verb("one", "snapshot create", "snapshot create b now"),
    Verb("three", "snapshot create, 3", "snapshot create --template win now", batch=True),
    Verb("three", "snapshot revert", "snapshot revert b tue --yes"),
    Verb("three", "snapshot rename", "snapshot rename b tue two"),
    Verb("three", "snapshot delete, first", "snapshot delete b mon --yes"),
    Verb("three", "snapshot delete, middle", "snapshot delete b tue --yes"),
    Verb("three", "snapshot delete, last", "snapshot delete b wed --yes"),
    Verb("three", "snapshot delete, all", "snapshot delete b mon tue wed --yes",
         batch=True),
    Verb("three", "desktop compact", "desktop compact b", batch=True),
    Verb("three", "desktop flatten", "desktop flatten e"),
    Verb("three", "desktop reset, with snapshots", "desktop reset b --yes"),
    Verb("three", "desktop undo-reset, a revert", "desktop undo-reset c --yes"),
    Verb("three", "desktop delete, with snapshots", "desktop delete b c --yes"),
    Verb("three", "trash empty, with snapshots", "trash empty --yes"),
    Verb("four", "trash restore, snapshot", "trash restore @snapshot:tue"),
    Verb("four", "trash restore, layer", "trash restore @layer:b"),
    Verb("four", "trash empty, after a merge", "trash empty --yes"),
    Verb("five", "archive target add", "archive target add t2 @state/arch2 --kind dir"),
    Verb("five", "archive target remove", "archive target remove t --yes"),
    Verb("five", "archive create", "archive create b --to t"),
    Verb("five", "archive restore", "archive restore @point:b --as back --yes"),
    Verb("five", "archive restore, in place", "archive restore @point:b --in-place --yes"),
    Verb("five", "archive delete", "archive delete @point:b --yes"),
    Verb("five", "archive delete, now", "archive delete @point:b --now --yes"),
    Verb("five", "archive gc", "archive gc t"),
    Verb("one", "template create-from", "template create-from b win --unsealed"),
    Verb("one", "template create-from, flat", "template create-from b fresh --flat --unsealed"),
    Verb("three", "template create-from, snapshot", "template create-from b@tue fresh --draft"),
    Verb("three", "template create-from, snapshot, flat", "template create-from b@tue win --flat --unsealed"),
    Verb("five", "archive create, snapshot and template", "archive create a win:1 --to t",
         batch=True),
    Verb("nine", "archive create, large", "archive create fat --to t", slow=True),
    Verb("one", "borg target add", "archive target add t @state/borg --kind borg", slow=True),
    Verb("ten", "borg create", "archive create b --to t", slow=True),
    Verb("ten", "borg restore", "archive restore @point:b --as back --yes", slow=True),
    Verb("ten", "borg delete", "archive delete @point:b --now --yes", slow=True),
    Verb("six", "archive prune", "archive prune --target t --keep-last 1 --yes"),
    Verb("six", "archive undelete", "archive undelete @deleted:win:2"),
    Verb("eight", "archive restore, with its version", "archive restore @point:b --as back --yes"),
    Verb("six", "archive restore, flat", "archive restore @point:e --as back --yes"),
    Verb("six", "archive restore, flat in place", "archive restore @point:e --in-place --yes"),
    Verb("five", "archive restore, template", "archive restore @point:win:2 --as back --yes"),
    Verb("five", "archive schedule add", "archive schedule add nightly every@day@03:00 b --to t"),
    Verb("six", "archive schedule remove", "archive schedule remove daily"),
    Verb("three", "export start", "export start b@tue", runs=True),
    Verb("three", "export start, desktop", "export start b", runs=True),
    Verb("three", "export start --read-write", "export start b --read-write", runs=True),
    Verb("five", "export start, archive", "export start archive:@point:b", runs=True),
    Verb("seven", "export stop", "export stop b@tue", runs=True, half=ENDED),
    Verb("seven", "export stop, read-write", "export stop c", runs=True, half=ENDED),
    Verb("seven", "start with exports", "status", from_start=True, runs=True, half=ENDED),
    Verb("helped", "desktop reset --keep", "desktop reset b --keep /home/bob --yes", batch=True),
    Verb("helped", "template seal", "template seal win"),
    Verb("helped", "template build", "template build @recipe:suite"),
    Verb("helped", "template build, overlay", "template build @recipe:overlay"),
    Verb("helped", "template build, flat", "template build @recipe:overlay --flat"),
    Verb("helped", "template publish, a draft", "template publish win-draft"),
    Verb("one", "template edit", "template edit win"),
    Verb("one", "rollout start", "rollout start --yes --template win --to 2 a c", batch=True,
         again="rollout resume win-2"),
    Verb("eleven", "rollout rollback", "rollout rollback --yes win-2", batch=True,
         again="rollout rollback --yes win-2", is_local=True),
    Verb("eleven", "rollout delete", "rollout delete win-2", is_local=True),
    Verb("one", "desktop create, data disks", "desktop create x y --template win --data-disk 1M"),
    Verb("one", "data-disk add", "desktop data-disk add a b --size 1M", batch=True, full=True),
    Verb("one", "desktop set --disk-size", "desktop set a b --disk-size 4M", batch=True, full=True),
    Verb("data", "data-disk add, detached", "desktop data-disk add a --disk @data:g"),
    Verb("data", "data-disk add, detached, again", "desktop data-disk add g --disk @data:g", full=True),
    Verb("data", "data-disk resize", "desktop data-disk resize f --size 8M"),
    Verb("data", "data-disk detach", "desktop data-disk detach f --yes", full=True),
    Verb("data", "desktop reset, data disk", "desktop reset f h --yes", full=True),
    Verb("data", "snapshot create, data disk", "snapshot create f now", full=True),
    Verb("data", "snapshot revert, data disk", "snapshot revert f mon --yes"),
    Verb("data", "snapshot revert --disk data", "snapshot revert f mon --disk data --yes", full=True),
    Verb("data", "desktop undo-reset, the data disk", "desktop undo-reset f --yes"),
    Verb("data", "snapshot delete, data disk", "snapshot delete f mon --yes",
         batch=True),  # the data disk's merge is a step of its own
    Verb("data", "trash restore, data disk", "trash restore @data:f", full=True),
    Verb("data", "desktop compact, data disk", "desktop compact f", batch=True, full=True),
    Verb("data", "desktop delete, data disk", "desktop delete f --yes", full=True),
    Verb("data", "trash empty, data disks", "trash empty --yes", full=True),
    Verb("data", "archive create, data disk", "archive create f --to t", full=True),
    Verb("data", "archive restore, data disk", "archive restore @point:f --as back --yes", full=True),
    Verb("data", "archive restore, data disk, in place",
         "archive restore @point:f --in-place --yes"),
    Verb("data", "archive restore --disk data",
         "archive restore @point:f --in-place --disk data --yes", full=True),
    Verb("apart", "snapshot create, disks apart", "snapshot create f now", full=True),
    Verb("apart", "snapshot revert, disks apart", "snapshot revert f mon --yes", full=True),
    Verb("apart", "desktop delete, disks apart", "desktop delete f --yes", full=True),
    Verb("apart", "desktop compact, disks apart", "desktop compact f", batch=True),
    Verb("apart", "desktop undo-reset, disks apart", "desktop undo-reset f --yes"),
    Verb("apart-reverted", "desktop undo-reset, a data disk apart", "desktop undo-reset f --yes"),
    Verb("apart-reverted", "trash restore, a data disk apart", "trash restore @data:f"),
    Verb("apart", "data-disk detach, disks apart", "desktop data-disk detach f --yes"),
    Verb("apart", "desktop move, disks apart", "desktop move f --to side", batch=True, full=True),
    Verb("common", "report advice", "report advice"),
    Verb("common", "template stand-in", "template stand-in win --share 40%", batch=True),
    Verb("common", "template propose", "template propose win --donor f --unsealed"),
    Verb("stand-in", "desktop reset, on a stand-in", "desktop reset f --yes"),
    Verb("stand-in", "desktop compact, on a stand-in", "desktop compact f", batch=True),
    Verb("stand-in", "desktop move, with a stand-in", "desktop move f g --to side", batch=True),
    Verb("unused", "trash empty, an unused stand-in", "trash empty --yes", later="trash name=win:2 kind=stand_in"),
    Verb("pool", "pool create", "pool create q --template win:1 --size 2", is_local=True),
    Verb("pool", "pool resize, larger", "pool resize p 5", is_local=True),
    Verb("pool", "pool resize, smaller", "pool resize p 1", is_local=True),
    Verb("pool", "pool set", "pool set p --template win:1 --max-per-user 2", is_local=True),
    Verb("pool", "pool grant", "pool grant p --user bob", is_local=True),
    Verb("pool", "pool revoke", "pool revoke p --user ann", is_local=True),
    Verb("pool", "pool return", "pool return p p-001 --yes", is_local=True),
    Verb("pool", "pool delete", "pool delete r --yes", is_local=True),
    Verb("pool", "desktop assign", "desktop assign a bob --until 2099-01-31", is_local=True),
    Verb("pool", "desktop share", "desktop share c bob", is_local=True),
    Verb("pool", "desktop unassign", "desktop unassign e --yes", is_local=True),
    Verb("one", "store add", "store add more @state/more"),
    Verb("two", "store remove", "store remove spare --yes"),
    Verb("two", "desktop move", "desktop move b c --to side", batch=True),
    Verb("two", "desktop move, back", "desktop move s --to default"),
    Verb("two", "template retire, two stores", "template retire win:2"),
    Verb("two", "template rename, two stores", "template rename win windows"),
    Verb("two", "store drain", "store drain side --to default", half=DRAIN),
]
