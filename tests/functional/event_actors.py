"""event_actors.py REPO CATALOG URL CA TOKEN-FILE NAME FOLDER: whatever changes something is told with
who did it, and from where.

Asks for each changing route of docs/openapi.yaml, over TLS with NAME's token, for a change that works;
then the event of its kind must be there, with NAME and the client's address.  A route that is neither
asked for here nor in ELSEWHERE is a failure.  ELSEWHERE are those that need a guest or a host: of their
events the source is read, which must name who asked."""
import glob
import http.client
import json
import os
import re
import sqlite3
import ssl
import sys
import urllib.parse

repo, catalog, url, ca, token_file, me, folder = sys.argv[1:]
token = open(token_file).read().strip()
where = urllib.parse.urlsplit(url)
context = ssl.create_default_context(cafile=ca)
asked = set()
routes = set(re.findall(r'\{ "(POST|PUT|DELETE|PATCH)", "([^"]+)"',
                        open(repo + "/imaged/http/routes.c").read()))

# Changes nothing that there is: it looks, tries, or makes what can be made again at any time.
READS = {"POST /v1/templates/build/check", "POST /v1/templates/diff", "POST /v1/templates/{template}/propose",
         "POST /v1/desktops/{desktop}/snapshots/diff", "POST /v1/desktops/{desktop}/config-disk",
         "POST /v1/reports/advice", "POST /v1/directories/{directory}/test", "POST /v1/alerts/{alert}/test",
         "POST /v1/catalog/backup", "POST /v1/directories/{directory}/refresh"}
# They need a guest, a host, a display, or a daemon in trouble: the kinds of their events.
ELSEWHERE = {
    "POST /v1/templates/import": "template.import", "POST /v1/templates/build": "template.build",
    "POST /v1/templates/{template}/seal": "template.seal",
    "POST /v1/templates/{template}/stand-in": "template.stand-in",
    "POST /v1/templates/{template}/inspect": "template.inspect", "POST /v1/desktops/inspect": "desktop.inspect",
    "POST /v1/desktops/start": "desktop.start", "POST /v1/desktops/stop": "desktop.stop",
    "POST /v1/desktops/restart": "desktop.restart", "POST /v1/desktops/pause": "desktop.pause",
    "POST /v1/desktops/resume": "desktop.resume", "POST /v1/desktops/migrate": "desktop.migrate",
    "POST /v1/desktops/suspend": "desktop.suspend", "POST /v1/hosts/{host}/evacuate": "desktop.migrate",
    "POST /v1/sessions": "session.open", "DELETE /v1/sessions/{session}": "session.end",
    "POST /v1/hosts/{host}/fence": "host.fence",
    "POST /v1/sessions/{session}/message": "session.message",
    "POST /v1/sessions/{session}/shadow": "session.shadow",
    "POST /v1/sessions/{session}/consent": "session.shadow",
    "POST /v1/pools/{pool}/return": "pool.return", "POST /v1/desktops/{desktop}/extend": "lease.extend",
    "POST /v1/rollouts/{rollout}/pause": "rollout.stop", "POST /v1/rollouts/{rollout}/resume": "rollout.resume",
    "POST /v1/rollouts/{rollout}/rollback": "rollout.rollback",
    "POST /v1/rollouts/{rollout}/cancel": "rollout.cancel",
    "POST /v1/jobs/{job}/cancel": "job.cancel", "POST /v1/catalog/rebuild": "catalog.rebuild",
    "POST /v1/users/{user}/passwd": "user.passwd", "POST /v1/login": "user.login",
}
# Whose events are made by what makes them of a job, whose owner they name.
BY_JOB = {"desktop.restart", "desktop.pause", "desktop.resume", "template.import", "template.build",
          "template.seal"}
sources = "\n".join(open(path).read() for folder_ in ("imaged", "broker", "snapshot", "templates")
                    for path in glob.glob(f"{repo}/{folder_}/**/*.c", recursive=True))


def names_who(kind):
    """Does an event of this kind name somebody, wherever the source makes one for a request?"""
    calls = re.findall(r'changes_event\(\s*[^;]*?"%s"[^;]*;' % re.escape(kind), sources)
    if 'batch_event(chunk, "%s"' % kind in sources or kind in BY_JOB:
        return True
    return any(re.search(r"(\bwho\b|->who|_who|job_owner\()", call) for call in calls)


def sql(text, *values):
    db = sqlite3.connect(catalog, timeout=20)
    rows = db.execute(text, values).fetchall()
    db.close()
    return rows


def request(method, path, body=None, with_token=None):
    c = http.client.HTTPSConnection(where.hostname, where.port, context=context, timeout=120)
    c.request(method, path + ("&" if "?" in path else "?") + "wait=60",
              json.dumps(body) if body is not None else None,
              {"Authorization": "Bearer " + (with_token or token)})
    answer = c.getresponse()
    text = answer.read().decode()
    c.close()
    return answer.status, json.loads(text)


def step(kind, method, route, names=None, body=None, with_token=None, who=None):
    """Ask for it; kind (None: it changes nothing) must then be told of, by whom and from where."""
    if (method, route) not in routes:
        print("no such route:", method, route)
    asked.add((method, route))
    path = re.sub(r"\{(\w+)\}", lambda m: urllib.parse.quote(names[m.group(1)]), route)
    before = sql("SELECT coalesce(max(id), 0) FROM event")[0][0]
    status, out = request(method, path, body, with_token)
    if status not in (200, 202) or (isinstance(out, dict) and out.get("state") == "failed"):
        print(f"{method} {path}: {status} {json.dumps(out)[:300]}")
        return {}
    said = sql("SELECT kind, who, address FROM event WHERE id > ?", before)
    if kind and (kind, who or me, "127.0.0.1") not in said:
        print(f"{method} {route}: no event {kind} by {who or me} from 127.0.0.1, but {said}")
    return out


def found(path, **fields):
    for one in request("GET", path)[1]:
        if all(one.get(k) == v for k, v in fields.items()):
            return one
    return {}


D, T = "/v1/desktops", "/v1/templates"
step("desktop.create", "POST", D, body={"names": ["e1", "e2", "e3", "e4"], "template": "gold"})
step("desktop.rename", "POST", D + "/{desktop}/rename", {"desktop": "e1"}, {"new_name": "e5"})
step("desktop.set", "POST", D + "/set", body={"names": ["e2"], "hardware": {"cpus": 1}})
step("desktop.reset", "POST", D + "/reset", body={"names": ["e2"]})
step("desktop.undo-reset", "POST", D + "/undo-reset", body={"names": ["e2"]})
step("desktop.resize", "POST", D + "/resize", body={"names": ["e2"], "size": 1 << 26})
step("desktop.data-disk-add", "POST", D + "/data-disk/add", body={"names": ["e2"], "size": 1 << 24})
step("desktop.data-disk-resize", "POST", D + "/data-disk/resize", body={"names": ["e2"], "size": 1 << 25})
step("desktop.data-disk-detach", "POST", D + "/data-disk/detach", body={"names": ["e2"]})
step("snapshot.create", "POST", "/v1/snapshots", body={"names": ["e3"], "snapshot": "one"})
step("snapshot.change", "POST", D + "/{desktop}/snapshots/{snapshot}/rename",
     {"desktop": "e3", "snapshot": "one"}, {"new_name": "two"})
step("snapshot.revert", "POST", "/v1/snapshots/revert", body={"names": ["e3"], "snapshot": "two"})
step("snapshot.create", "POST", "/v1/snapshots", body={"names": ["e3"], "snapshot": "three"})
step("snapshot.delete", "POST", D + "/{desktop}/snapshots/delete", {"desktop": "e3"}, {"snapshots": ["three"]})
step("desktop.compact", "POST", D + "/compact", body={"names": ["e3"]})
step("desktop.flatten", "POST", D + "/flatten", body={"names": ["e4"]})
step("template.create-from", "POST", T + "/create-from", body={"desktop": "e2", "name": "copper", "unsealed": True})
step("template.change", "POST", T + "/{template}/publish", {"template": "copper:1"})
step("template.set", "POST", T + "/{template}/set", {"template": "copper:1"}, {"hardware": {"cpus": 3}})
step("template.rename", "POST", T + "/{template}/rename", {"template": "copper"}, {"new_name": "iron"})
step(None, "POST", T + "/{template}/edit", {"template": "iron"}, {})
request("POST", D + "/delete", {"names": ["iron-draft"]})
step("template.change", "POST", T + "/{template}/retire", {"template": "iron:1"})
step("store.add", "POST", "/v1/stores", body={"name": "second", "location": folder + "/second"})
step("desktop.move", "POST", D + "/move", body={"names": ["e5"], "store": "second"})
step("store.drain", "POST", "/v1/stores/{store}/drain", {"store": "second"}, {"to": "default"})
step("store.add", "POST", "/v1/stores", body={"name": "third", "location": folder + "/third"})
step("store.remove", "DELETE", "/v1/stores/{store}", {"store": "third"})
step(None, "POST", "/v1/stores/check", body={})
os.makedirs(folder + "/shelf", exist_ok=True)
step("archive.target-add", "POST", "/v1/archive/targets", body={"name": "shelf", "location": folder + "/shelf"})
step("archive.create", "POST", "/v1/archive/points", body={"names": ["e2"], "target": "shelf"})
point = (request("GET", "/v1/archive/points")[1] or [{"id": "none"}])[0]["id"]
step(None, "POST", "/v1/archive/points/verify", body={"points": [point]})
step("archive.restore", "POST", "/v1/archive/points/{point}/restore", {"point": point}, {"as": "e6"})
step("archive.delete", "POST", "/v1/archive/points/delete", body={"points": [point]})
step("archive.undelete", "POST", "/v1/archive/points/undelete", body={"points": [point]})
step(None, "POST", "/v1/archive/points/prune", body={"target": "shelf", "keep": "last 5"})
step(None, "POST", "/v1/archive/targets/{target}/collect", {"target": "shelf"}, {})
step("archive.schedule", "POST", "/v1/archive/schedules",
     body={"name": "nightly", "timing": "every day 02:00, keep last 3", "target": "shelf", "names": ["e2"]})
step("archive.schedule", "DELETE", "/v1/archive/schedules/{schedule}", {"schedule": "nightly"})
step("archive.target-remove", "DELETE", "/v1/archive/targets/{target}", {"target": "shelf"})
step("host.add", "POST", "/v1/hosts", body={"name": "h1", "uri": "qemu+tcp://127.0.0.1:9/system"})
step("host.set", "POST", "/v1/hosts/{host}/set", {"host": "h1"}, {"display_address": "10.0.0.1"})
step("host.maintenance", "POST", "/v1/hosts/{host}/maintenance", {"host": "h1"}, {})
step("host.activate", "POST", "/v1/hosts/{host}/activate", {"host": "h1"}, {})
step("host.remove", "DELETE", "/v1/hosts/{host}", {"host": "h1"})
step("host.group-add", "POST", "/v1/host-groups", body={"name": "rack"})
step("host.group-remove", "DELETE", "/v1/host-groups/{group}", {"group": "rack"})
step("network.add", "POST", "/v1/networks", body={"name": "lan", "kind": "bridge", "bridge": "br0"})
step("network.remove", "DELETE", "/v1/networks/{network}", {"network": "lan"})
step("user.add", "POST", "/v1/users", body={"name": "eve"})
step("user.set", "POST", "/v1/users/{user}/set", {"user": "eve"}, {"full_name": "Eve"})
step("user.quota", "POST", "/v1/users/{user}/set", {"user": "eve"}, {"max_desktops": 5})
step("group.add", "POST", "/v1/groups", body={"name": "crowd"})
step("group.quota", "POST", "/v1/groups/{group}/set", {"group": "crowd"}, {"max_desktops": 5})
step("group.channels", "POST", "/v1/groups/{group}/channels", {"group": "crowd"}, {"policy": {"usb": "none"}})
step("group.member", "POST", "/v1/groups/{group}/members/add", {"group": "crowd"}, {"users": ["eve"]})
step("group.member", "POST", "/v1/groups/{group}/members/remove", {"group": "crowd"}, {"users": ["eve"]})
step("group.delete", "DELETE", "/v1/groups/{group}", {"group": "crowd"})
step("role.create", "POST", "/v1/roles", body={"name": "clerk", "permissions": ["desktop.see"]})
step("role.grant", "POST", "/v1/roles/{role}/grant", {"role": "clerk"}, {"user": "eve"})
step("role.revoke", "POST", "/v1/roles/{role}/revoke", {"role": "clerk"}, {"user": "eve"})
step("role.delete", "DELETE", "/v1/roles/{role}", {"role": "clerk"})
step("pool.create", "POST", "/v1/pools", body={"name": "pond", "template": "gold", "size": 0})
step("pool.set", "POST", "/v1/pools/{pool}/set", {"pool": "pond"}, {"spares": 0, "max_per_user": 2})
step("pool.channels", "POST", "/v1/pools/{pool}/channels", {"pool": "pond"}, {"policy": {"clipboard": False}})
step("pool.set", "POST", "/v1/pools/{pool}/hardware", {"pool": "pond"}, {"hardware": {"cpus": 2}})
step("pool.resize", "POST", "/v1/pools/{pool}/resize", {"pool": "pond"}, {"size": 0})
step("pool.grant", "POST", "/v1/pools/{pool}/grant", {"pool": "pond"}, {"users": ["eve"]})
step("pool.revoke", "POST", "/v1/pools/{pool}/revoke", {"pool": "pond"}, {"users": ["eve"]})
step("pool.delete", "DELETE", "/v1/pools/{pool}", {"pool": "pond"})
step("desktop.assign", "POST", D + "/{desktop}/assign", {"desktop": "e2"}, {"user": "eve"})
step("desktop.unassign", "POST", D + "/{desktop}/unassign", {"desktop": "e2"}, {})
step("desktop.share", "POST", D + "/{desktop}/share", {"desktop": "e2"}, {"user": "eve"})
step("desktop.unassign", "POST", D + "/{desktop}/unassign", {"desktop": "e2"}, {})
export = step("export.start", "POST", "/v1/exports", body={"ref": "e2"}).get("id", "none")
step("export.end", "DELETE", "/v1/exports/{export}", {"export": export})
step("search.save", "POST", "/v1/searches", body={"name": "mine", "search": "Desktops: name = e2"})
step("search.delete", "DELETE", "/v1/searches/{name}", {"name": "mine"})
step("alert.add", "POST", "/v1/alerts", body={"name": "bell", "webhook": "https://127.0.0.1:9/"})
step("alert.change", "POST", "/v1/alerts/{alert}/set", {"alert": "bell"}, {"enabled": False})
step("alert.remove", "DELETE", "/v1/alerts/{alert}", {"alert": "bell"})
step("directory.add", "POST", "/v1/directories", body={"name": "book", "kind": "ldap", "base": "dc=x",
                                                       "servers": ["ldaps://127.0.0.1:9"]})
step("directory.set", "POST", "/v1/directories/{directory}/set", {"directory": "book"}, {"base": "dc=y"})
step("directory.remove", "DELETE", "/v1/directories/{directory}", {"directory": "book"})
other = step("token.create", "POST", "/v1/tokens", body={"name": "spare", "user": "eve"})
step("token.revoke", "DELETE", "/v1/tokens/{token}", {"token": other.get("id", "none")})
leaving = step("token.create", "POST", "/v1/tokens", body={"name": "leaving", "user": "eve"})
step("token.revoke", "POST", "/v1/logout", body={"token": leaving.get("token", "")},
     with_token=leaving.get("token"), who="eve")
step("user.delete", "DELETE", "/v1/users/{user}", {"user": "eve"})
step("template.create-from", "POST", T + "/create-from", body={"desktop": "e2", "name": "gold", "unsealed": True})
step("template.change", "POST", T + "/{template}/publish", {"template": "gold:2"})
step("rollout.start", "POST", "/v1/rollouts", body={"names": ["e3"], "template": "gold", "to": 2, "health": "none"})
step("rollout.delete", "DELETE", "/v1/rollouts/{rollout}", {"rollout": request("GET", "/v1/rollouts")[1][0]["id"]})
step("desktop.delete", "POST", D + "/delete", body={"names": ["e3", "e4", "e5"]})
step("trash.restore", "POST", "/v1/trash/restore", body={"ids": [found("/v1/trash", name="e3").get("id", "none")]})
step("trash.empty", "POST", "/v1/trash/empty", body={"ids": [found("/v1/trash", name="e4").get("id", "none")]})
step("trash.expiry", "POST", "/v1/trash/resume-expiry", body={})
step("template.delete", "DELETE", T + "/{template}", {"template": "iron"})

for method, route in sorted(routes - asked):
    name = method + " " + route
    if name in READS:
        continue
    if name not in ELSEWHERE:
        print("nobody has looked who did:", name)
        continue
    if not names_who(ELSEWHERE[name]):
        print(f"{name}: the event {ELSEWHERE[name]} names nobody")
