"""access_roles.py REPO CATALOG URL CA IMAGECTL STATE: role x endpoint, over TLS with a token each.

access_table.txt says which roles get through the check of each endpoint for a desktop that is the user's
own (u, r, s) or another's (the others); whoever is not named must get 403 (or 404: it hides the thing).  For another's desktop the
roles that are for one's own get nothing.  An endpoint without a line here is a failure, so is a line
without an endpoint: what is served is read from the daemon's source, and held against its
documentation.  Arguments hold a field that no endpoint knows, so nothing is changed: who gets through
is told 400.

The table also says for which scopes (t template, p pool, d desktop) an admin of that scope alone gets
through with what is in it; with what is not, he never does."""
import json
import re
import sys

sys.dont_write_bytecode = True  # the tree is not ours to write to
from access_lib import Site

repo = sys.argv[1]
site = Site(*sys.argv[2:])

ROLES = {"i": "image-admin", "h": "helpdesk", "u": None, "r": "user-reset", "s": "user-snapshot",
         "a": "auditor"}
OWN = "urs"

source = open(repo + "/imaged/http/routes.c").read()
routes = re.findall(r'\{ "(GET|POST|PUT|DELETE|PATCH)", "([^"]+)"', source)
table, in_scope = {}, {}
for line in open(repo + "/tests/functional/access_table.txt"):
    if line.strip() and not line.startswith("#"):
        method, path, who, scopes = line.split()
        table[method, path] = "ihursa" if who == "+" else who.replace("-", "")
        in_scope[method, path] = scopes.replace("-", "")
documented, path = set(), None
for line in open(repo + "/docs/openapi.yaml"):
    if found := re.match(r"  (/\S+):", line):
        path = found[1]
    elif found := re.match(r"    (get|post|put|delete|patch):", line):
        documented.add((found[1].upper(), path))
for route in documented ^ set(routes):
    print("served, or documented, but not both:", *route)
for route in set(routes) - set(table):
    print("not in the table:", *route)
for route in set(table) - set(routes):
    print("in the table, but not served:", *route)


ctl, sql = site.ctl, site.sql
ctl("desktop", "create", "others-1", "--template", "gold")
ctl("snapshot", "create", "others-1", "snap")
others_job = sql("SELECT id FROM job WHERE owner = 'root' LIMIT 1")[0][0]
lines = {}
for letter, role in ROLES.items():
    name, desktop = "role-" + letter, "mine-" + letter
    ctl("user", "add", name)
    if role:
        ctl("role", "grant", role, name)
    lines[letter] = site.line_of(name)
    ctl("desktop", "create", desktop, "--template", "gold")
    ctl("snapshot", "create", desktop, "snap")
    sql("INSERT INTO assignment (desktop_id, user_id, is_owner, may_take_over, created_at) SELECT d.id,"
        " u.id, 1, 0, 0 FROM desktop d, user u WHERE d.name = ? AND u.name = ?", desktop, name)


def ask(line, method, path, desktop, template="gold", pool="0" * 32, session="0" * 32):
    """Whether he gets through; the status and the text."""
    names = {"template": template, "desktop": desktop, "snapshot": "snap", "store": "default",
             "user": "root2", "group": "admins", "role": "helpdesk", "job": others_job, "pool": pool,
             "session": session}
    target = re.sub(r"\{(\w+)\}", lambda m: names.get(m.group(1), "0" * 32), path)
    body = None
    if method == "GET":
        target += "?no_such_field=1" + ("&ref=" + desktop if "/files" in path else "")
    elif method == "DELETE":
        target += "?no_such_field=1"
    else:
        fields = {"no_such_field": 1}
        if "{desktop}" not in path and path.startswith(("/v1/desktops/", "/v1/snapshots")):
            fields["names"] = [desktop]
        if path == "/v1/archive/points":
            fields["names"] = [desktop]
        if path in ("/v1/desktops", "/v1/pools", "/v1/rollouts"):
            fields["template"] = template
        if path == "/v1/exports":
            fields["ref"] = desktop
        body = json.dumps(fields)
    status, text = line.ask(method, target, body)
    # "there is no ..." by the check; an operation would have said 400 for the strange field
    is_hidden = status == 404 and json.loads(text)["message"].startswith("there is no ")
    through = status not in (401, 403) and not (is_hidden and "{" in path and "0" * 32 not in text)
    return through, status, text


for method, path in routes:
    if path in ("/v1/users/{user}/passwd", "/v1/login"):
        continue  # below
    for letter, line in lines.items():
        through, status, text = ask(line, method, path,
                                    "mine-" + letter if letter in OWN else "others-1")
        if through != (letter in table.get((method, path), "")):
            print(f"{ROLES[letter] or 'user'} {method} {path}: {status} {text[:100]}")
        if letter in OWN and ("{desktop}" in path or path.startswith("/v1/snapshots") or
                              path.startswith("/v1/desktops/") or path == "/v1/archive/points"):
            if method == "GET" and path == "/v1/snapshots":
                continue
            _, status, text = ask(line, method, path, "others-1")
            if status not in (403, 404):
                print(f"{ROLES[letter] or 'user'} {method} {path} for another's: {status} {text[:100]}")

for letter in ROLES:  # these look for themselves
    status, text = lines[letter].ask("POST", "/v1/users/root2/passwd", '{"password":"abcdefgh"}')
    if status != 403:
        print(f"{ROLES[letter]} sets another's password: {status}")
    status, text = lines[letter].ask("GET", "/v1/users", None)
    n = len(json.loads(text))
    if (n == 1) != (letter not in "ha"):
        print(f"{ROLES[letter]} sees {n} users")

# ---- an admin of a template, of a pool, of a desktop ----


def session_on(desktop, pool):
    """One that has ended, so that nobody does anything about it.  Returns its id."""
    name = ("5e55" + desktop.encode().hex() + "0" * 32)[:32]
    sql("INSERT OR IGNORE INTO session (id, user_id, desktop_id, pool_id, generation, protocol, state, created_at,"
        " ended_at) SELECT ?, '', id, (SELECT id FROM pool WHERE name = ?), 1, 'spice', 'ended', t, t FROM"
        " desktop, (SELECT unixepoch() * 1000 AS t) WHERE name = ?", name, pool, desktop)
    return name


def things(desktop, template, pool, of_pool=None):
    return {"desktop": desktop, "template": template, "pool": pool, "session": session_on(desktop, of_pool)}


gold = things("g1", "gold", "annex")
tin = things("hall-001", "tin", "hall", "hall")
# Who, what is in his scope, and what is not.  A desktop's admin and a pool's see their template.
ADMINS = {"t": (["--template", "tin"], tin, gold), "p": (["--pool", "hall"], tin, gold),
          "d": (["--desktop", "g2"], things("g2", "gold", "annex"), tin)}


def names_one(method, path):
    """Does ask() name a desktop, a template, a pool or a session there?"""
    return re.search(r"\{(desktop|template|pool|session)\}|/files", path) or method != "GET" and (
        path.startswith(("/v1/desktops", "/v1/snapshots")) or
        path in ("/v1/exports", "/v1/rollouts", "/v1/pools", "/v1/archive/points"))


for letter, (scope, inside, outside) in ADMINS.items():
    name = "admin-" + letter
    ctl("user", "add", name)
    ctl("role", "grant", "admin", name, *scope)
    line = site.line_of(name)
    for method, path in routes:
        if path in ("/v1/users/{user}/passwd", "/v1/login"):
            continue
        through, status, text = ask(line, method, path, **inside)
        if through != (letter in in_scope.get((method, path), "")):
            print(f"an admin of {scope}: {method} {path}: {status} {text[:100]}")
        if names_one(method, path):
            _, status, text = ask(line, method, path, **outside)
            if status not in (403, 404):
                print(f"an admin of {scope}: {method} {path} of another: {status} {text[:100]}")
