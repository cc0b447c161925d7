/* recover.h: at start, and after a loss: the catalog brought up to date from the stores. */
#pragma once

#include "imaged/ops/ops.h"

/* Replay what the store's journal has and the catalog has not, then settle its folders
 * (trash_sweep).  CORRUPT if the journal is damaged or older than the catalog. */
gboolean recover_store(World *world, const char *store_id, GError **error);

/* Make the catalog anew from the stores: their journals, and the layers themselves for what no
 * journal knows.  Returns a report. */
json_t *recover_rebuild(World *world, GError **error);

/* Write the catalog's backup into every store that is online. Returns its size. */
gboolean recover_backup(World *world, guint64 *ret_bytes, GError **error);
