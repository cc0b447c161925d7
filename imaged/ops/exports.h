/* exports.h: the exports that run: their servers, claims and leases, from start to end.
 *
 * An export is a row of the catalog, a folder, claims and a server process.  The row is there
 * before the server is started and goes after it has ended, so that what a killed daemon left is
 * found; a writable export's row comes with a lease on the desktop (never two writers).
 *
 *   starting -> running -> (gone)      stopped, idle for too long, or the daemon ends
 *                      \-> failed      its server died: the row stays until it is stopped
 *
 * Any thread. */
#pragma once

#include "cow/export_address.h"
#include "cow/export_child.h"
#include "imaged/job/world.h"

typedef struct Exports Exports;

/* End what a former daemon left running and take the claims of its exports again: before jobs go
 * on.  group may reach the unix sockets (may be NULL). */
Exports *exports_new(World *world, const char *group, GError **error);

/* Serve them again, under the same addresses; those that cannot be are failed, with an event. */
void exports_restore(Exports *exports);

/* End all of them, with their rows. */
void exports_free(Exports *exports);

typedef struct {
    const char *ref; /* as the user wrote it */
    gboolean is_read_write;
    ExportAddress *address; /* NULL: a unix socket */
    ExportTls tls;
    const json_t *material; /* of the TLS */
    const char *tls_user;   /* the only one of the keys, or NULL */
    gint64 idle_timeout_s;  /* 0: none */
    const char *owner;
} ExportRequest;

/* Returns its id (caller frees). */
char *exports_start(Exports *exports, const ExportRequest *request, GError **error);

/* Stop the export with this id; its clients are cut off after a few seconds.  NOT_FOUND. */
gboolean exports_stop(Exports *exports, const char *id, const char *who, GError **error);

/* The process of its server (0: none), and the connections that has now. */
gint exports_look(Exports *exports, const char *id, guint *ret_n_clients);
