#!/usr/bin/env python3
"""search_eyes.py SOCKET CATALOG: what users of little rights find is what they may see.

Who asks is told by his uid: three accounts that every Debian has are users here; search.t gave them a
desktop (games), helpdesk for a template (mail), and the role of an auditor (news).  For each of them
and each object: the rows, their number, and their groups are among those he may see (told by the
catalog, not by a search), and what hangs on what he does not see is as if it did not: over each link,
by each of its forms, with wildcards, negated, in columns, in groups and in what is completed."""
import http.client
import json
import os
import pwd
import socket
import sqlite3
import sys
import urllib.parse

sock, catalog = sys.argv[1:]
failed = n_asked = 0


class Connection(http.client.HTTPConnection):
    def __init__(self, uid):
        super().__init__("localhost")
        self.uid = uid

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        os.seteuid(self.uid)
        try:
            self.sock.connect(sock)
        finally:
            os.seteuid(0)


class Eyes:
    def __init__(self, name):
        self.name = name
        self.http = Connection(pwd.getpwnam(name).pw_uid)

    def get(self, path, **args):
        global n_asked
        n_asked += 1
        self.http.request("GET", path + "?" + urllib.parse.urlencode(args))
        answer = self.http.getresponse()
        body = json.loads(answer.read())
        if answer.status != 200:
            raise SystemExit(f"{self.name}: {args}: {body}")
        return body

    def rows(self, text, fields="id"):
        return self.get("/v1/search", search=text + " LIMIT 5000", fields=fields)["rows"]

    def ids(self, text):
        """Of the rows that there were at first: jobs, events and layers come while we look."""
        return {str(r["id"]) for r in self.rows(text)} & at_first.get(text.split(":")[0], ANY)

    def count(self, text):
        """Likewise: the number, if it is that of the rows, before or after."""
        before = len(self.rows(text))
        n = self.get("/v1/search", search=text + " COUNT")["count"]
        after = len(self.rows(text))
        return min(before, after) <= n <= max(before, after)

    def words(self, text, kind):
        return {w["text"] for w in self.get("/v1/search/complete", search=text)["words"]
                if w["kind"] == kind}


class Any:
    def __rand__(self, other):
        return other


ANY, at_first = Any(), {}


def check(ok, *what):
    global failed
    if not ok:
        failed += 1
        print("wrong:", *what)


db = sqlite3.connect(f"file:{catalog}?mode=ro", uri=True)


def column(text, *values):
    return {str(r[0]) for r in db.execute(text, values)}


def may_see(name):
    """By the rules of the roles, from the rows of the catalog."""
    me = db.execute("SELECT id FROM user WHERE name = ?", (name,)).fetchone()[0]
    groups = column("SELECT group_id FROM group_member WHERE user_id = ?", me)
    mine = column("SELECT desktop_id FROM assignment WHERE user_id = ? UNION SELECT desktop_id FROM"
                  " pool_desktop WHERE user_id = ?", me, me)
    if name == "mail": # helpdesk: what hangs on the template
        template = db.execute("SELECT id FROM template WHERE name = 'winxp'").fetchone()[0]
        mine |= column("SELECT d.id FROM desktop d JOIN version v ON v.id = d.version_id WHERE"
                       " v.template_id = ?", template)
    alive = {d: n for d, n in db.execute("SELECT id, name FROM desktop WHERE is_trashed = 0")}
    return {
        "desktops": mine & set(alive),
        "users": {me},
        "groups": groups,
        "hosts": set(), "layers": set(), "stores": set(), "networks": set(), "roles": set(),
        "sessions": {s for s, u, d in db.execute("SELECT id, user_id, desktop_id FROM session")
                     if u == me or (name == "mail" and d in mine)},
        "snapshots": {s for s, d in db.execute("SELECT id, desktop_id FROM snapshot WHERE"
                                               " is_trashed = 0") if d in mine},
        "templates": None if name == "mail" else set(), # users see desktops, not what they stand on
        "versions": None if name == "mail" else set(),
    }


root = Eyes("root")
objects = [o.rstrip(":") for o in root.words("", "object") if o != "vms:"]
at_first = every = {o: root.ids(o + ":") for o in objects}
main = {o: "name" for o in objects}
some = {o: ">= 0" if o == "events" else "= *" for o in objects} # any id
main.update(sessions="state", layers="id", jobs="kind", events="message", versions="version")

def all_now(o):
    """Every id of the object: no longer only those that there were at first."""
    at_first.pop(o, None)
    at_first[o] = root.ids(o + ":")
    return at_first[o]


def look_at(who, o, rules):
    """What is wrong with an object's own rows."""
    wrong = []
    seen = who.ids(o + ":")
    if rules.get(o) is not None and seen != rules[o]:
        wrong.append(f"sees {len(seen)} not {len(rules[o])}")
    if who.name == "news" and seen != every[o]:
        wrong.append("an auditor does not see all")
    if not seen <= every[o]:
        wrong.append("finds what is not there")
    if not who.count(o + ":"):
        wrong.append("COUNT")
    if who.ids(f"{o}: id {some[o]}") != seen:
        wrong.append("wildcard")
    if who.ids(f"{o}: NOT id = 0") != seen:
        wrong.append("NOT")
    return wrong, seen


def look_over(who, o, link, end, seen, there):
    """What is wrong with a link to end, of which there is all that."""
    wrong, linked, ids = [], set(), sorted(there)
    for i in range(0, len(ids), 150):
        linked |= root.ids(f"{o}: {link}.id IN ({', '.join(ids[i:i + 150])})")
    wanted = linked & seen
    for condition, rows in (("IS SET", wanted), (some[end], wanted), ("IS NONE", seen - wanted)):
        if who.ids(f"{o}: {link}.id {condition}") != rows:
            wrong.append(condition)
    if who.ids(f"{o}: NOT {link}.id {some[end]}") != seen - wanted:
        wrong.append("NOT")
    for x in sorted(every[end] - there)[:3]:
        if who.ids(f"{o}: {link}.id = {x}") or who.ids(f"{o}: {link}.id != {x}") != seen:
            wrong.append("finds by what is hidden")
    if not who.count(f"{o}: {link}.id {some[end]}"):
        wrong.append("COUNT")
    groups = who.get("/v1/search", search=f"{o}: GROUP BY {link}.id LIMIT 5000")["rows"]
    if not {str(g["value"]) for g in groups} & every[end] <= there:
        wrong.append("GROUP BY")
    for row in who.rows(f"{o}:", f"id,{link}.id"):
        shown = row[f"{link}.id"]
        shown = set(map(str, shown)) if isinstance(shown, list) else {str(shown)}
        if not shown & every[end] <= there:
            wrong.append("shows")
    if main[end] == "name":
        names = {str(r["name"]) for r in who.rows(end + ":", "name")}
        if not {w.strip('"') for w in who.words(f"{o}: {link}.name = ", "value")} <= names:
            wrong.append("completes")
    return wrong


def again(look, *objects_looked_at):
    """Twice more if something is wrong: jobs, layers and events come and go while we look."""
    for attempt in range(3):
        wrong = look()
        if not wrong:
            return []
        for o in objects_looked_at:
            all_now(o)
    return wrong


for name in ("games", "mail", "news"):
    who = Eyes(name)
    rules = may_see(name) if name != "news" else {}
    found_any = found_all = 0
    for o in objects:
        for what in again(lambda: look_at(who, o, rules)[0], o):
            check(False, name, o, what)
        n = len(look_at(who, o, rules)[1])
        found_any += n > 0
        found_all += n == len(every[o])
        for link in root.words(f"{o}: ", "link"):
            ends = [e for e in objects if e.startswith(link.rstrip("s"))]
            if ends: # applications have no rows of their own
                end = ends[0]
                for what in again(lambda: look_over(who, o, link, end, who.ids(o + ":"),
                                                    who.ids(end + ":")), o, end):
                    check(False, name, o, link, what)
    check(found_any > 3, name, "sees something")
    check(name == "news" or found_all < len(objects) / 2, name, "does not see all")
    for o, field, end in (("templates", "n_desktops", "desktops"), ("hosts", "n_desktops", "desktops"),
                          ("pools", "n_desktops", "desktops"), ("groups", "n_users", "users")):
        for row in who.rows(o + ":", "id," + field) if name != "news" else ():
            n = sum(root.get("/v1/search", search=f"{end}: {o}.id = {row['id']} AND id = {i} COUNT")["count"]
                    for i in who.ids(end + ":"))
            check(row[field] == n, name, o, field, row[field], "counts more than is seen:", n)
print(f"{n_asked} searches, {failed} wrong")
sys.exit(failed != 0)
