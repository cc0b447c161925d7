"""access_lib.py: what the tests of rights share: a kept connection for each token, the CLI, the catalog."""
import http.client
import sqlite3
import ssl
import subprocess
import urllib.parse


class Site:
    """A daemon: its catalog, its address, and how root asks it."""

    def __init__(self, catalog, url, ca, imagectl, state):
        self.catalog, self.imagectl, self.state = catalog, imagectl, state
        self.where = urllib.parse.urlsplit(url)
        self.context = ssl.create_default_context(cafile=ca)

    def ctl(self, *args):
        return subprocess.run([self.imagectl, "--state", self.state, *args], check=True,
                              capture_output=True, text=True).stdout.strip()

    def sql(self, text, *values):
        db = sqlite3.connect(self.catalog, timeout=20)
        with db:
            rows = db.execute(text, values).fetchall()
        db.close()
        return rows

    def line_of(self, user, *options):
        """A new token of the user, with these options."""
        return Line(self, self.ctl("token", "create", "t", "--user", user, *options))


class Line:
    """One kept connection for each token: a handshake for every request takes too long."""

    def __init__(self, site, token):
        self.site, self.token, self.c = site, token, None

    def ask(self, method, path, body=None):
        """Status and text; streams are not read, so their connection ends."""
        if not self.c:
            self.c = http.client.HTTPSConnection(self.site.where.hostname, self.site.where.port,
                                                 context=self.site.context, timeout=60)
        self.c.request(method, path, body, {"Authorization": "Bearer " + self.token})
        answer = self.c.getresponse()
        if "event-stream" in answer.getheader("Content-Type", ""):
            self.c.close()
            self.c = None
            return answer.status, "a stream"
        return answer.status, answer.read().decode()
