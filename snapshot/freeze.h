/* freeze.h: a desktop's active layer made a frozen one, under a fresh overlay.
 *
 * What snapshots and archives have in common.  For the files of this folder. */
#pragma once

#include "imaged/catalog/lookup.h"
#include "imaged/job/batch.h"

typedef struct {
    DesktopRow desktop;
    LayerRow old;       /* the active layer that is to be frozen */
    Store *store;
    const char *new_id; /* borrowed; of the overlay */
    gboolean is_done;   /* committed to the journal just before a stop */
} Freeze;

/* The rows and the store.  NOT_FOUND, UNAVAILABLE. */
gboolean freeze_load(World *world, Db *db, const char *desktop_id, const char *new_id, Freeze *ret,
                     GError **error);
void freeze_clear(Freeze *freeze);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Freeze, freeze_clear)

/* Does the active layer hold anything at all? */
gboolean freeze_is_needed(const Freeze *freeze, gboolean *ret_is_needed, GError **error);

/* Write the overlays and freeze what is below, all or none, durable.  The caller holds QEMU's lock
 * on each old layer.  Those that are done are passed over. */
gboolean freeze_write(Freeze *const *freezes, guint n, gint64 now, GError **error);
void freeze_undo(const Freeze *freeze);

/* The facts; freeze->desktop and ->old are changed to what they are then. */
void freeze_put(Freeze *freeze, Changes *changes, gint64 now);
