/* door.h: the folder of our NBD socket, and who may pass through it. */
#pragma once

#include <glib.h>

/* Make a fresh folder below $TMPDIR or /tmp that only this user, and the user whom the daemon at
 * daemon_socket runs as, can pass.  Where that cannot be arranged (the daemon is elsewhere, runs as
 * root, or the file system has no ACLs) everybody can who knows its name, which nobody can guess.
 * Caller frees; the caller removes the folder, too. */
char *door_make(const char *daemon_socket, GError **error);
