/* recover.h: at start, and after a loss: the catalog brought up to date from the stores. */
#pragma once

#include "imaged/ops/ops.h"

/* Replay what the store's journal has and the catalog has not, then settle its folders
 * (trash_sweep).  CORRUPT if the journal is damaged or older than the catalog. */
gboolean recover_store(World *world, const char *store_id, GError **error);

/* Forget all facts and make the catalog anew from the stores: their journals, and the layers
 * themselves for what no journal knows; that ends the rescue mode.  Returns a report.  After an
 * error the catalog is one by half, and says so (its setting "rebuild"): the next start does it
 * again. */
json_t *recover_rebuild(World *world, const char *who, GError **error);

/* Write the catalog's backup into every store that is online. Returns its size. */
gboolean recover_backup(World *world, guint64 *ret_bytes, GError **error);
