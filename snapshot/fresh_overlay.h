/* fresh_overlay.h: the active layer of a disk in use, exchanged for one that reads the same.
 *
 * QEMU copies what the active layer holds into an empty one on the same parent, and goes on there:
 * so it opens the files that the chain has now, where it had those from before a merge.  Who asks
 * QEMU is not known here. */
#pragma once

#include "imaged/catalog/lookup.h"
#include "imaged/job/world.h"

typedef struct {
    DesktopRow desktop;
    LayerRow active; /* that is to be exchanged; empty once it is done */
    Store *store;
    const char *new_id; /* borrowed */
    gboolean is_data;
    gboolean is_there, is_done; /* the desktop has such a disk; it is the new one already */
} FreshOverlay;

gboolean fresh_overlay_load(World *world, Db *db, const char *desktop_id, const char *new_id,
                            gboolean is_data, FreshOverlay *ret, GError **error);
void fresh_overlay_clear(FreshOverlay *fresh);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(FreshOverlay, fresh_overlay_clear)

/* Write the empty one, durable, anew if there is one from before a stop; nobody may have it open.
 */
gboolean fresh_overlay_write(const FreshOverlay *fresh, GError **error);
void fresh_overlay_discard(const FreshOverlay *fresh);

/* The facts, when nobody writes to either: the former one goes to the trash; and its file. */
gboolean fresh_overlay_put(FreshOverlay *fresh, World *world, Changes *changes,
                           const char *trash_id, GError **error);
void fresh_overlay_move_old(const FreshOverlay *fresh, const char *old_slot);
