/* export_entry.h: one export in memory, and its steps.  Internal to exports.c and export_keeper.c:
 * they say when, this says how.  No lock is held here; an entry is used by one thread at a time. */
#pragma once

#include "imaged/ops/exports.h"
#include "imaged/ops/export_ref.h"

typedef struct {
    char *id, *name, *ref, *kind, *object_id, *folder, *uri, *tls_user, *owner;
    gboolean is_read_write;
    ExportTls tls;
    ExportAddress address; /* host NULL: a unix socket */
    gint64 idle_timeout_s;

    /* by the lock of export_keeper.h */
    enum { ENTRY_STARTING, ENTRY_RUNNING, ENTRY_ENDING, ENTRY_FAILED } state;
    json_t *claims; /* held while it is not NULL */
    ExportChild *child;
    gint64 active_at_ms; /* on the boot clock: when a client was last seen */
    guint64 stamp;
} ExportEntry;

void export_entry_free(ExportEntry *entry);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ExportEntry, export_entry_free)

/* From a row of the table, and back (with the lease of a writable one). */
ExportEntry *export_entry_from_row(Query *row);
gboolean export_entry_put(World *world, const ExportEntry *entry, const ExportRef *ref,
                          GError **error);
gboolean export_entry_set_running(World *world, const ExportEntry *entry, gboolean is_restored,
                                  GError **error);
gboolean export_entry_set_failed(World *world, const ExportEntry *entry, const char *reason,
                                 GError **error);
/* why: for the event; NULL: no event. */
gboolean export_entry_delete(World *world, const ExportEntry *entry, const char *who,
                             const char *why, GError **error);

gboolean export_entry_take_claims(World *world, ExportEntry *entry, const ExportRef *ref,
                                  GError **error);
void export_entry_release_claims(World *world, ExportEntry *entry);

/* The listening socket (caller closes); the first time it decides the port and the URI. */
int export_entry_listen(World *world, ExportEntry *entry, const char *group, GError **error);
