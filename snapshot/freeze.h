/* freeze.h: a desktop's active layers made frozen ones, each under a fresh overlay.
 *
 * What snapshots, archives and larger disks have in common.  The desktop's disk and its data disk
 * are frozen together, or one of them alone.  For the files of this folder. */
#pragma once

#include "imaged/catalog/lookup.h"
#include "imaged/job/batch.h"

typedef enum { DISK_SYSTEM, DISK_DATA, DISK_N } DiskKind;

typedef struct {
    LayerRow old; /* the active layer that is to be frozen; empty: this disk is left alone */
    Store *store;
    const char *new_id; /* borrowed; of the overlay */
    guint64 size;       /* of the overlay, bytes; freeze_load() sets it to that of old */
    gboolean is_larger; /* than the layer below it */
} FreezeDisk;

typedef struct {
    DesktopRow desktop;
    FreezeDisk disks[DISK_N];
    gboolean is_done; /* committed to the journal just before a stop */
} Freeze;

/* The rows and the stores.  new_id, new_data_id: of the overlays; NULL leaves that disk alone, and
 * a data disk that is not there is none to freeze.  NOT_FOUND, UNAVAILABLE. */
gboolean freeze_load(World *world, Db *db, const char *desktop_id, const char *new_id,
                     const char *new_data_id, Freeze *ret, GError **error);
void freeze_clear(Freeze *freeze);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Freeze, freeze_clear)

/* Keep QEMU off, for the chunk.  FALSE: the item's error is set. */
gboolean freeze_lock(BatchChunk *chunk, guint i, const Freeze *freeze);

/* Write the overlays and freeze what is below, all or none, durable.  The caller holds QEMU's lock
 * on each old layer.  Those that are done are passed over. */
gboolean freeze_write(Freeze *const *freezes, guint n, gint64 now, GError **error);
void freeze_undo(const Freeze *freeze);

/* The facts; freeze->desktop and what is frozen are changed to what they are then. */
void freeze_put(Freeze *freeze, Changes *changes, gint64 now);
