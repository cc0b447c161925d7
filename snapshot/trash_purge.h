/* trash_purge.h: giving up an entry of the trash, in the catalog.
 *
 * For the files of this folder.  The caller has hold of the layers (trash_claims.h). */
#pragma once

#include "imaged/catalog/lookup.h"
#include "imaged/job/world.h"

/* Rows o of what roll-outs hold.  One that waits may have been moved, where the catalog is old. */
#define TRASH_HOLDERS                                                                              \
    "rollout_desktop o WHERE o.is_open = 1 AND"                                                    \
    " o.state IN ('moved', 'held', 'waiting', 'unavailable')"

/* A roll-out that is not over may bring this disk back: it stays until then. */
gboolean trash_is_held(Db *db, const TrashRow *entry);

/* Does anything stand on the entry's layers, or have them, or may want them back? */
gboolean trash_is_needed(Db *db, const TrashRow *entry);

/* Are all stores online that rows of the entry lie in? */
gboolean trash_stores_are_there(World *world, Db *db, const TrashRow *entry);

/* From then on the layer's file is to be given back: there is no way back. */
void trash_reclaim_layer(Changes *changes, const LayerRow *layer);

/* The entry and all that goes with it. */
gboolean trash_purge(Db *db, Changes *changes, const TrashRow *entry, GError **error);
