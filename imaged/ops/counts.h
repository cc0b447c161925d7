/* counts.h: what each layer holds, computed from its tables only when its file has changed.
 *
 * The results are kept in the catalog with the file's figures (inode, length, times, blocks); a
 * layer that QEMU has open is never kept, since its tables on disk are stale: it is counted by its
 * blocks and marked live.  Any thread. */
#pragma once

#include "imaged/catalog/lookup.h"
#include "imaged/job/world.h"
#include "imaged/ops/account.h"

typedef struct {
    guint64 data_bytes, zero_bytes, flattened_bytes; /* guest bytes; flattened: through the layer */
    guint64 disk_bytes;
    gboolean is_live, is_missing;
} LayerFigures;

typedef struct Counts Counts;

/* Bring the figures of all active and frozen layers up to date.  accounts (store id -> Account) has
 * the files' figures as they were listed just now. */
Counts *counts_refresh(World *world, GHashTable *accounts, GError **error);
void counts_free(Counts *counts);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Counts, counts_free)

/* NULL if the layer is not known. */
const LayerFigures *counts_of(const Counts *counts, const char *layer_id);
