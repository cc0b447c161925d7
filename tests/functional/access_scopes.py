"""access_scopes.py CATALOG URL CA IMAGECTL STATE: built-in and custom roles in a scope.

Each role is granted for a template, for a pool and for a desktop, and asked inside and outside.
Arguments hold a field that no endpoint knows, so nothing is changed: who gets through is told 400;
who may see the thing, but not do this, 403; to whom it is hidden, 404."""
import http.client
import json
import sqlite3
import ssl
import subprocess
import sys
import urllib.parse

catalog, url, ca, imagectl, state = sys.argv[1:]

# The scope, a desktop inside, and one outside.
SCOPES = {"template": ("gold", "g1", "t1"), "pool": ("hall", "hall-001", "g1"),
          "desktop": ("g2", "g2", "g1")}
VERBS = {"see": ("GET", "/v1/desktops/{}"), "start": ("POST", "/v1/desktops/start"),
         "stop": ("POST", "/v1/desktops/stop"), "reset": ("POST", "/v1/desktops/reset"),
         "delete": ("POST", "/v1/desktops/delete"), "snapshot": ("POST", "/v1/snapshots"),
         "migrate": ("POST", "/v1/desktops/migrate")}
ROLES = {"admin": set(VERBS), "image-admin": set(VERBS) - {"migrate"},
         "helpdesk": {"see", "start", "reset"}, "auditor": {"see"}, "stopper": {"see", "stop"}}
EVERYWHERE = [("GET", "/v1/hosts"), ("GET", "/v1/users/root2"), ("POST", "/v1/users"),
              ("POST", "/v1/templates/import"), ("POST", "/v1/pools"), ("POST", "/v1/roles")]


def ctl(*args):
    return subprocess.run([imagectl, "--state", state, *args], check=True, capture_output=True,
                          text=True).stdout.strip()


where = urllib.parse.urlsplit(url)
context = ssl.create_default_context(cafile=ca)


class Line:
    def __init__(self, token):
        self.token = token
        self.c = http.client.HTTPSConnection(where.hostname, where.port, context=context, timeout=60)

    def ask(self, method, path, body=None):
        self.c.request(method, path, body and json.dumps(body), {"Authorization": "Bearer " + self.token})
        answer = self.c.getresponse()
        return answer.status, answer.read().decode()

    def do(self, verb, desktop):
        method, path = VERBS[verb]
        if method == "GET":
            status, text = self.ask(method, path.format(desktop) + "?no_such_field=1")
        else:
            status, text = self.ask(method, path, {"names": [desktop], "no_such_field": 1})
        return status

    def desktops(self):
        return {d["name"] for d in json.loads(self.ask("GET", "/v1/desktops")[1])}


def expect(what, got, wanted):
    if got != wanted:
        print(f"{what}: {got}, not {wanted}")


def inside(kind):
    """By the catalog: a way of its own."""
    sql = {"template": "SELECT d.name FROM desktop d JOIN version v ON v.id = d.version_id JOIN template t ON"
                       " t.id = v.template_id WHERE t.name = ? AND d.is_trashed = 0",
           "pool": "SELECT d.name FROM desktop d JOIN pool_desktop m ON m.desktop_id = d.id JOIN pool p ON"
                   " p.id = m.pool_id WHERE p.name = ?",
           "desktop": "SELECT name FROM desktop WHERE name = ?"}[kind]
    db = sqlite3.connect(catalog, timeout=20)
    names = {row[0] for row in db.execute(sql, (SCOPES[kind][0],))}
    db.close()
    return names


ctl("role", "create", "stopper", "desktop.see", "desktop.stop")
for role, verbs in ROLES.items():
    for kind, (scope, within, without) in SCOPES.items():
        name = f"{role}-{kind}"
        ctl("user", "add", name)
        ctl("role", "grant", role, name, "--" + kind, scope)
        line = Line(ctl("token", "create", "t", "--user", name))
        for verb in VERBS:
            expect(f"{name}: {verb} {within}", line.do(verb, within), 400 if verb in verbs else 403)
            # what he may nowhere is denied before anything is looked at
            status = line.do(verb, without)
            if status not in ((404,) if verb in verbs else (403, 404)):
                print(f"{name}: {verb} {without}: {status}")
        expect(f"{name} sees", line.desktops(), inside(kind))
        for method, path in EVERYWHERE:
            status = line.ask(method, path, {"no_such_field": 1, "name": "x", "template": "tin"}
                              if method == "POST" else None)[0]
            if status not in (403, 404):
                print(f"{name}: {method} {path}: {status}")

# What is for one's own desktops, in a scope: both are his, in one he may re-image.
ctl("user", "add", "own-scope")
ctl("role", "grant", "user-reset", "own-scope", "--template", "gold")
db = sqlite3.connect(catalog, timeout=20)
with db:
    db.execute("INSERT INTO assignment (desktop_id, user_id, is_owner, may_take_over, created_at) SELECT d.id,"
               " u.id, 0, 0, 0 FROM desktop d, user u WHERE d.name IN ('g2', 't1') AND u.name = 'own-scope'")
db.close()
line = Line(ctl("token", "create", "t", "--user", "own-scope"))
expect("his", line.desktops(), {"g2", "t1"})
for desktop, verb, wanted in (("g2", "reset", 400), ("t1", "reset", 403), ("g1", "reset", 404),
                              ("g2", "start", 400), ("t1", "start", 400), ("g2", "delete", 403)):
    expect(f"his {desktop}: {verb}", line.do(verb, desktop), wanted)

# A token in a scope takes away, whoever it is of; it gives nothing that he has not.
for user, scope, wanted in (("root2", ["--pool", "hall"], inside("pool")),
                            ("root2", ["--desktop", "g2"], {"g2"}),
                            ("helpdesk-template", ["--desktop", "g2"], {"g2"}),
                            ("helpdesk-template", ["--pool", "hall"], inside("pool") & inside("template"))):
    line = Line(ctl("token", "create", "narrow", "--user", user, *scope))
    expect(f"a token of {user} with {scope}", line.desktops(), wanted)
    for desktop in ("g1", "g2", "hall-001"):
        expect(f"... restarts {desktop}", line.do("start", desktop), 400 if desktop in wanted else 404)
