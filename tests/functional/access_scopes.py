"""access_scopes.py CATALOG URL CA IMAGECTL STATE: built-in and custom roles in a scope.

Each role is granted for a template, for a pool and for a desktop, and asked inside and outside.
Arguments hold a field that no endpoint knows, so nothing is changed: who gets through is told 400;
who may see the thing, but not do this, 403; to whom it is hidden, 404."""
import json
import sys

sys.dont_write_bytecode = True  # the tree is not ours to write to
from access_lib import Site

site = Site(*sys.argv[1:])
ctl = site.ctl

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


class Desktops:
    """What somebody may do with desktops."""

    def __init__(self, user, *options):
        self.line = site.line_of(user, *options)

    def do(self, verb, desktop):
        method, path = VERBS[verb]
        if method == "GET":
            return self.line.ask(method, path.format(desktop) + "?no_such_field=1")[0]
        return self.line.ask(method, path, json.dumps({"names": [desktop], "no_such_field": 1}))[0]

    def all(self):
        return {d["name"] for d in json.loads(self.line.ask("GET", "/v1/desktops")[1])}


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
    return {row[0] for row in site.sql(sql, SCOPES[kind][0])}


ctl("role", "create", "stopper", "desktop.see", "desktop.stop")
for role, verbs in ROLES.items():
    for kind, (scope, within, without) in SCOPES.items():
        name = f"{role}-{kind}"
        ctl("user", "add", name)
        ctl("role", "grant", role, name, "--" + kind, scope)
        his = Desktops(name)
        for verb in VERBS:
            expect(f"{name}: {verb} {within}", his.do(verb, within), 400 if verb in verbs else 403)
            # what he may nowhere is denied before anything is looked at
            status = his.do(verb, without)
            if status not in ((404,) if verb in verbs else (403, 404)):
                print(f"{name}: {verb} {without}: {status}")
        expect(f"{name} sees", his.all(), inside(kind))
        for method, path in EVERYWHERE:
            body = json.dumps({"no_such_field": 1, "name": "x", "template": "tin"})
            status = his.line.ask(method, path, body if method == "POST" else None)[0]
            if status not in (403, 404):
                print(f"{name}: {method} {path}: {status}")

# What is for one's own desktops, in a scope: both are his, in one he may re-image.
ctl("user", "add", "own-scope")
ctl("role", "grant", "user-reset", "own-scope", "--template", "gold")
site.sql("INSERT INTO assignment (desktop_id, user_id, is_owner, may_take_over, created_at) SELECT d.id,"
         " u.id, 0, 0, 0 FROM desktop d, user u WHERE d.name IN ('g2', 't1') AND u.name = 'own-scope'")
his = Desktops("own-scope")
expect("his", his.all(), {"g2", "t1"})
for desktop, verb, wanted in (("g2", "reset", 400), ("t1", "reset", 403), ("g1", "reset", 404),
                              ("g2", "start", 400), ("t1", "start", 400), ("g2", "delete", 403)):
    expect(f"his {desktop}: {verb}", his.do(verb, desktop), wanted)

# A token in a scope takes away, whoever it is of; it gives nothing that he has not.
for user, scope, wanted in (("root2", ["--pool", "hall"], inside("pool")),
                            ("root2", ["--desktop", "g2"], {"g2"}),
                            ("helpdesk-template", ["--desktop", "g2"], {"g2"}),
                            ("helpdesk-template", ["--pool", "hall"], inside("pool") & inside("template"))):
    his = Desktops(user, *scope)
    expect(f"a token of {user} with {scope}", his.all(), wanted)
    for desktop in ("g1", "g2", "hall-001"):
        expect(f"... restarts {desktop}", his.do("start", desktop), 400 if desktop in wanted else 404)
