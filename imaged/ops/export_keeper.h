/* export_keeper.h: the thread that starts the servers of all exports, and watches them.
 *
 * The keeper lives as long as the daemon, because the kernel ends a server when the thread that
 * started it ends.  An entry in state ENDING belongs to the thread that set it so; entries that run
 * are looked at under the lock alone.  Internal to exports.c, which says what is exported. */
#pragma once

#include "imaged/ops/export_entry.h"

struct Exports {
    World *world;
    char *group;
    GThread *keeper;
    int wake; /* an eventfd */

    GMutex lock; /* what follows, and the entries' states */
    GCond spawned;
    GQueue spawns;       /* of waiting threads */
    GHashTable *entries; /* id -> ExportEntry */
    gboolean is_stopping;
};

/* The thread itself; it ends once is_stopping is set and it is woken. */
gpointer export_keeper_run(gpointer exports);
void export_keeper_wake(Exports *x);

/* Have it start a server. */
ExportChild *export_keeper_spawn(Exports *x, const ExportChildSpec *spec, GError **error);

/* End the server of an entry that is ENDING (or was never RUNNING), and give up its claims: it is
 * shown as failed. */
void export_keeper_fail(Exports *x, ExportEntry *e, const char *reason);

/* The same, and nothing of the export stays: its row, folder and entry go.  why: for the event, or
 * NULL.  If the catalog can't be written it is a failed one, which can be stopped again. */
gboolean export_keeper_end(Exports *x, ExportEntry *e, const char *who, const char *why,
                           GError **error);
