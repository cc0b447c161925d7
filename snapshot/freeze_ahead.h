/* freeze_ahead.h: active layers made frozen ones while QEMU runs on them.
 *
 *   (behind) overlays durable -> AHEAD: they are the desktop's disks, and empty
 *            -> QEMU writes to them -> FROZEN: what is below is
 *
 * The catalog goes ahead of QEMU: an empty overlay reads as what it stands on, so at each moment
 * the catalog's chain has all that the guest wrote, whichever of the two QEMU writes to, and if it
 * ends. Until QEMU is there, what is below is an active layer still.  Who asks QEMU is not known
 * here. */
#pragma once

#include "snapshot/freeze.h"

typedef struct {
    LayerRow below;  /* that is to be frozen; empty: this disk is left alone */
    LayerRow active; /* the overlay; empty while behind */
    Store *store;
    const char *new_id; /* borrowed */
} AheadDisk;

typedef struct {
    DesktopRow desktop;
    AheadDisk disks[DISK_N];
    gboolean is_ahead, is_frozen;
} FreezeAhead;

/* As freeze_load(). */
gboolean freeze_ahead_load(World *world, Db *db, const char *desktop_id, const char *new_id,
                           const char *new_data_id, FreezeAhead *ret, GError **error);
void freeze_ahead_clear(FreezeAhead *ahead);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(FreezeAhead, freeze_ahead_clear)

/* Behind to ahead: write the overlays, durable; the facts.  Then the rows are as loaded again. */
gboolean freeze_ahead_write(const FreezeAhead *ahead, gint64 now, GError **error);
void freeze_ahead_put(FreezeAhead *ahead, Changes *changes, gint64 now);

/* Ahead to behind, if QEMU is known to have stayed below: the facts; then the files go. */
void freeze_ahead_put_back(FreezeAhead *ahead, Changes *changes, gint64 now);
void freeze_ahead_discard(const FreezeAhead *ahead);

/* Ahead to frozen, once QEMU writes to the overlays or to nothing: the files are made read-only;
 * the facts. */
gboolean freeze_ahead_close(const FreezeAhead *ahead, GError **error);
void freeze_ahead_put_frozen(FreezeAhead *ahead, Changes *changes);
