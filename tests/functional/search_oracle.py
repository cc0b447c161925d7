#!/usr/bin/env python3
"""search_oracle.py fill CATALOG | ask CATALOG SOCKET N [SEED]

fill: rows into a catalog that nobody has open.  ask: N random searches, each answered by the daemon
and by what stands here, which knows nothing of SQL's WHERE: it loads all rows and looks at each.
Differences are printed; the exit code is 1 if there are any.
"""
import http.client
import json
import random
import re
import socket
import sqlite3
import sys
import time
import urllib.parse

NAMES = ["john", "Mary", "Jürgen", "li", "O'Brien", "anna b", "Élodie", "max"]
APPS = ["libreoffice", "OpenOffice", "firefox", "gimp", "office-fonts", "vim"]


def fill(path):
    random.seed(11)
    db = sqlite3.connect(path)
    ids = iter(range(1, 10 ** 9))
    now = int(time.time() * 1000)

    def put(table, **row):
        for _, name, type_, is_needed, default, _ in db.execute(f"PRAGMA table_info({table})"):
            if is_needed and default is None and name not in row and name != "id":
                row[name] = 0 if type_ == "INTEGER" else "" # what other parts of imaged keep there
        marks = ",".join("?" * len(row))
        db.execute(f"INSERT INTO {table} ({','.join(row)}) VALUES ({marks})", list(row.values()))

    def new_id():
        return "%032x" % (next(ids) + 0xabc000000)

    store = db.execute("SELECT id FROM store").fetchone()[0]
    groups = []
    for i in range(6):
        groups.append(new_id())
        put("user_group", id=groups[-1], name=f"Group-{i}", name_key=f"group-{i}", created_at=now)
    users = []
    for i in range(40):
        uid, name = new_id(), f"{NAMES[i % len(NAMES)]}{i}"
        users.append((uid, name))
        put("user", id=uid, name=name, name_key=name.casefold(), full_name=name.title(),
            email=f"{i}@x.org" if i % 3 else "", is_disabled=i % 7 == 0, created_at=now - i * 3600000,
            changed_at=now)
        for g in random.sample(groups, i % 3):
            put("group_member", group_id=g, user_id=uid)
    hosts = []
    for i in range(5):
        hosts.append(new_id())
        put("host", id=hosts[-1], name=f"vs-{'abcde'[i]}", uri=f"qemu+tcp://127.0.0.1:{i + 1}/system",
            accelerator="tcg", store_paths="{}", is_maintenance=i % 2, created_at=now)
    versions = []
    for t in range(5):
        tid = new_id()
        put("template", id=tid, name=["winxp", "win10", "Debian", "xp-kiosk", "rhel"][t], last_version=2,
            is_trashed=0, created_at=now, changed_at=now)
        for v in (1, 2):
            vid, lid = new_id(), new_id()
            put("layer", id=lid, slot=lid, store_id=store, owner_kind="template", owner_id=vid, generation=0,
                state="frozen", place="layers", virtual_size=20 << 30, created_at=now)
            put("version", id=vid, template_id=tid, version=v, state="published", is_trashed=0, layer_id=lid,
                cpus=1, memory_bytes=1 << 30, os="", description="", source="", notes="", created_at=now,
                changed_at=now)
            versions.append((vid, lid))
    for i, name in enumerate(APPS):
        put("application", id=i + 1, name=name, version=str(i), arch="amd64")
    for s in range(1, 9):
        put("application_set", id=s, hash=str(s), n_applications=2, is_cut=0)
        for a in random.sample(range(1, len(APPS) + 1), 2):
            put("application_in", set_id=s, application_id=a)

    def inspected(layer, s):
        put("inspection", layer_id=layer, inode=1, length=1, mtime_ns=1, disk_bytes=1, inspected_at=now,
            method="fast", set_id=s)

    inspected(versions[0][1], 1)
    inspected(versions[5][1], 2)
    pool = new_id()
    template = db.execute("SELECT template_id FROM version").fetchone()[0]
    put("pool", id=pool, name="floor", type="automatic", template_id=template, size=9, spares=1, max_per_user=1,
        settings="{}", created_at=now, changed_at=now)
    for i in range(120):
        did, lid, (vid, parent) = new_id(), new_id(), versions[i * 7 % 10]
        owner = users[i % 40][1].upper() if i % 11 == 0 else ["", "nobody"][i % 2]
        put("layer", id=lid, slot=lid, store_id=store, parent_id=parent, owner_kind="desktop", owner_id=did,
            generation=i % 4, state="active", place="layers", virtual_size=20 << 30, created_at=now)
        put("desktop", id=did, name=f"{'Lab' if i % 2 else 'desk'}-{i:03}", version_id=vid, owner=owner,
            generation=i % 4, layer_id=lid, store_id=store, mac=f"52:54:00:00:00:{i:02x}", uuid=f"{i:032x}",
            state="ok", is_trashed=i % 13 == 0, created_at=now - i * 60000, changed_at=now)
        if i % 3 == 0:
            inspected(lid, 1 + i % 8)
        for u in random.sample(users, [0, 1, 1, 3][i % 4]):
            put("assignment", desktop_id=did, user_id=u[0], is_owner=1, may_take_over=0, created_at=now)
        if i % 9 == 4:
            put("pool_desktop", desktop_id=did, pool_id=pool, state="free",
                user_id=users[i % 40][0] if i % 2 else None, n_extensions=0, changed_at=now)
        if i % 5 < 2:
            put("run", desktop_id=did, host_id=hosts[i % 4], incarnation=new_id(), generation=1,
                state=["running", "paused"][i % 2], started_at=now, changed_at=now)
        for k in range(i % 3):
            put("snapshot", id=new_id(), desktop_id=did, name=f"s{k}", description="before update" if k else "",
                layer_id=lid, store_id=store, version_id=vid, generation=k, is_trashed=i % 17 == 0,
                created_at=now - i * 86400000, changed_at=now)
        if i % 6 == 1:
            put("session", id=new_id(), user_id=users[i % 40][0], desktop_id=did, generation=1, protocol="spice",
                state="ended", created_at=now - i * 1000, ended_at=now)
    for i in range(300):
        put("event", time=now - i * 1000, kind=["desktop.start", "job.end"][i % 2], severity="info",
            object=f"desk-{i % 120:03}", who=users[i % 40][1],
            message=["disk full on", "Störung bei", "started", "100% of \"it\""][i % 4] + f" {i}")
    db.commit()


def ascii_lower(text):
    return "".join(c.lower() if c.isascii() else c for c in text)


class Truth:
    """All rows, and what hangs on each."""

    def __init__(self, path):
        db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        db.row_factory = sqlite3.Row

        def rows(sql):
            return [dict(r) for r in db.execute(sql)]

        d = self.desktops = rows("SELECT * FROM desktop WHERE is_trashed = 0")
        u = self.users = rows("SELECT * FROM user")
        g = rows("SELECT * FROM user_group")
        h = self.hosts = rows("SELECT * FROM host")
        t = self.templates = rows("SELECT * FROM template WHERE is_trashed = 0")
        s = self.sessions = rows("SELECT * FROM session")
        n = self.snapshots = rows("SELECT * FROM snapshot WHERE is_trashed = 0")
        e = self.events = rows("SELECT * FROM event")
        pools = rows("SELECT * FROM pool")
        version = {v["id"]: v for v in rows("SELECT * FROM version")}
        assigned = rows("SELECT * FROM assignment")
        pooled = {r["desktop_id"]: r for r in rows("SELECT * FROM pool_desktop")}
        runs = {r["desktop_id"]: r for r in rows("SELECT * FROM run")}
        member = rows("SELECT * FROM group_member")
        apps = {a["id"]: a for a in rows("SELECT * FROM application")}
        sets = rows("SELECT * FROM application_in")
        inspected = {i["layer_id"]: i["set_id"] for i in rows("SELECT * FROM inspection")}

        def apps_of(layer):
            return [apps[x["application_id"]] for x in sets if x["set_id"] == inspected[layer]]

        for x in d:
            x["version"] = version[x["version_id"]]["version"]
            x["status"] = runs[x["id"]]["state"] if x["id"] in runs else "off"
            x["template"] = [y for y in t if y["id"] == version[x["version_id"]]["template_id"]]
            mine = {a["user_id"] for a in assigned if a["desktop_id"] == x["id"]}
            mine |= {pooled[x["id"]]["user_id"]} if x["id"] in pooled else set()
            x["user"] = [y for y in u if y["id"] in mine or
                         (x["owner"] and y["name_key"] == ascii_lower(x["owner"]))]
            x["host"] = [y for y in h if x["id"] in runs and y["id"] == runs[x["id"]]["host_id"]]
            x["pool"] = [y for y in pools if x["id"] in pooled and pooled[x["id"]]["pool_id"] == y["id"]]
            layer = x["layer_id"] if x["layer_id"] in inspected else version[x["version_id"]]["layer_id"]
            x["apps"] = apps_of(layer) if layer in inspected else []
            x["sessions"] = [y for y in s if y["desktop_id"] == x["id"]]
            x["snapshots"] = [y for y in n if y["desktop_id"] == x["id"]]
            x["events"] = [y for y in e if y["object"] == x["name"]]
        for x in u:
            x["groups"] = [y for y in g if {"group_id": y["id"], "user_id": x["id"]} in member]
            x["desktops"] = [y for y in d if x in y["user"]]
            x["email"] = x["email"] or None
        for x in g:
            x["users"] = [y for y in u if x in y["groups"]]
        for x in h:
            x["desktops"] = [y for y in d if x in y["host"]]
        for x in t:
            x["desktops"] = [y for y in d if x in y["template"]]
        for x in s:
            x["user"] = [y for y in u if y["id"] == x["user_id"]]
            x["desktop"] = [y for y in d if y["id"] == x["desktop_id"]]
        for x in n:
            x["desktop"] = [y for y in d if y["id"] == x["desktop_id"]]
        for x in e:
            x["desktop"] = [y for y in d if y["name"] == x["object"]]
            x["user"] = [y for y in u if y["name"] == x["who"]]


TEXTS = ["*john*", "john*", "*xp*", "*office*", "li3", "vs-a", "vs-?", "desk-0*", "LAB-001", "*ü*", "m*", "*",
         "group-1", "Group-?", "running", "OFF", "*FULL*", "nobody", "*störung*", "x*p", '"anna b5"', "*b'*", "it"]
NUMBERS = ["0", "1", "2", "3"]
# object: [(path, kind)]
FIELDS = {
    "desktops": [("name", "t"), ("status", "t"), ("version", "n"), ("generation", "n"), ("owner", "t"),
                 ("template", "t"), ("template.name", "t"), ("user", "t"), ("user.email", "t"),
                 ("user.groups", "t"), ("host", "t"), ("pool", "t"), ("apps", "t"), ("snapshots", "t"),
                 ("snapshots.generation", "n"), ("events.message", "t"), ("sessions.user", "t"),
                 ("snapshots.description", "t")],
    "users": [("name", "t"), ("email", "t"), ("groups", "t"), ("desktops", "t"), ("desktops.template", "t"),
              ("desktops.generation", "n"), ("desktops.apps", "t"), ("desktops.host", "t")],
    "hosts": [("name", "t"), ("desktops", "t"), ("desktops.user", "t"), ("desktops.user.groups", "t"),
              ("desktops.apps", "t"), ("desktops.version", "n")],
    "templates": [("name", "t"), ("desktops", "t"), ("desktops.user", "t"), ("desktops.host", "t")],
    "sessions": [("user", "t"), ("desktop", "t"), ("desktop.template", "t"), ("state", "t")],
    "snapshots": [("name", "t"), ("description", "t"), ("desktop", "t"), ("desktop.user", "t"),
                  ("generation", "n")],
    "events": [("message", "t"), ("kind", "t"), ("object", "t"), ("who", "t"), ("desktop", "t"),
               ("desktop.host", "t"), ("user.groups", "t")],
}
MAIN = {"sessions": "state"}


def fits(pattern, value):
    text = pattern.strip('"').casefold()
    regex = "".join(".*" if c == "*" else "." if c == "?" else re.escape(c) for c in text)
    return value is not None and re.fullmatch(regex, str(value).casefold(), re.S) is not None


def values(row, path):
    """What stands at the end of a path: of a link alone, the name."""
    first, _, rest = path.partition(".")
    here = row.get(first)
    if not isinstance(here, list):
        return [here]
    out = []
    for other in here:
        out += values(other, rest) if rest else [other.get(MAIN.get(first, "name"))]
    return out


def holds(row, node):
    kind = node[0]
    if kind == "and":
        return all(holds(row, n) for n in node[1])
    if kind == "or":
        return any(holds(row, n) for n in node[1])
    if kind == "not":
        return not holds(row, node[1])
    _, path, type_, op, args = node
    found = values(row, path)
    if op in ("!=", "NOT IN", "IS NONE"):
        positive = {"!=": "=", "NOT IN": "IN", "IS NONE": "IS SET"}[op]
        return not holds(row, ("term", path, type_, positive, args))
    if op == "IS SET":
        return any(v not in (None, "") for v in found)
    if op in ("=", "IN"):
        return any(fits(a, v) if type_ == "t" else v is not None and float(a) == v for a in args for v in found)
    a = float(args[0])
    return any(v is not None and {"<": v < a, "<=": v <= a, ">": v > a, ">=": v >= a}[op] for v in found)


def random_term(rng, name):
    path, type_ = rng.choice(FIELDS[name])
    pool = TEXTS if type_ == "t" else NUMBERS
    op = rng.choice(["=", "=", "=", "!=", "IN", "NOT IN", "IS NONE", "IS SET"] +
                    (["<", "<=", ">", ">="] if type_ == "n" else []))
    n = 0 if op.startswith("IS") else rng.randint(1, 3) if "IN" in op else 1
    return ("term", path, type_, op, [rng.choice(pool) for _ in range(n)])


def random_node(rng, name, depth):
    roll = rng.random()
    if depth == 0 or roll < 0.45:
        return random_term(rng, name)
    if roll < 0.6:
        return ("not", random_node(rng, name, depth - 1))
    return (rng.choice(["and", "and", "or"]), [random_node(rng, name, depth - 1) for _ in range(rng.randint(2, 3))])


def text_of(node, rng):
    def case(word):
        return rng.choice([word, word.lower(), word.title()])

    if node[0] in ("and", "or"):
        return "(" + f" {case(node[0].upper())} ".join(text_of(n, rng) for n in node[1]) + ")"
    if node[0] == "not":
        return case("NOT") + " " + text_of(node[1], rng)
    _, path, _, op, args = node
    if "IN" in op.split():
        return f"{path} {op} ({', '.join(args)})"
    return f"{case(path)} {op} {args[0]}" if args else f"{path} {op}"


class Unix(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost")
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)

    def ask(self, text):
        self.request("GET", "/v1/search?fields=id&search=" + urllib.parse.quote(text))
        return json.loads(self.getresponse().read())


def differences(truth, daemon, name, node, text):
    """What the daemon answers otherwise than a look at every row, as lines."""
    wanted = sorted(str(row["id"]) for row in getattr(truth, name) if holds(row, node))
    lines = []
    # twice: as one page that may be walked, and as all that there is
    for how in (" LIMIT 900", " LIMIT 90000", " COUNT"):
        answer = daemon.ask(text + how)
        if how == " COUNT":
            got, want = answer.get("count", answer), len(wanted)
        else:
            got, want = sorted(r["id"] for r in answer["rows"]) if "rows" in answer else answer, wanted
        if got != want:
            lines.append(f"{text}{how}: wanted {str(want)[:200]}, got {str(got)[:200]}")
    return wanted, lines


def ask(path, sock, n, seed):
    truth, daemon, rng = Truth(path), Unix(sock), random.Random(seed)
    n_wrong = n_some = 0
    for _ in range(n):
        name = rng.choice(list(FIELDS))
        node = random_node(rng, name, 2)
        text = f"{name}: {text_of(node, rng)}"
        wanted, lines = differences(truth, daemon, name, node, text)
        for _ in range(5):
            if not lines:
                break
            truth = Truth(path)  # the daemon tells of a host that is down, for one: rows are added
            wanted, lines = differences(truth, daemon, name, node, text)
        n_wrong += len(lines)
        print("\n".join(lines), end="\n" if lines else "")
        n_some += bool(wanted) and len(wanted) < len(getattr(truth, name))
    print(f"{n} searches, {n_some} of which found some and not all, {n_wrong} answers are wrong")
    return n_wrong or n_some * 8 < n


if __name__ == "__main__":
    if sys.argv[1] == "fill":
        fill(sys.argv[2])
    else:
        sys.exit(1 if ask(sys.argv[2], sys.argv[3], int(sys.argv[4]),
                          int(sys.argv[5]) if len(sys.argv) > 5 else 1) else 0)
