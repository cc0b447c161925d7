/* merge_runs.h: which of a desktop's layers may be merged.
 *
 * Pure decisions over rows of the catalog; nothing is changed.  Any thread. */
#pragma once

#include "imaged/catalog/lookup.h"

/* Which of a desktop's own layers are in use by it or by its snapshots, directly or from above; the
 * snapshot except (an id, or NULL) left aside.  A set of ids; free with g_hash_table_unref(). */
GHashTable *runs_live_layers(Db *db, const char *desktop_id, const char *except);

/* The one live layer that stands on layer_id (caller frees), or NULL; *ret_n says how many there
 * are. */
char *runs_live_child(Db *db, GHashTable *live, const char *layer_id, guint *ret_n);

/* A run of adjacent layers that can become one: ids, the lowest and the uppermost. */
typedef struct {
    char *bottom, *top;
    char *frozen_top;   /* the uppermost that is not active, or NULL */
    guint n;            /* layers */
    gboolean is_active; /* top is the disk's active layer */
} Run;

/* The runs of the chain under a desktop's active layer_id, of its disk or its data disk, the lowest
 * first: each ends at a snapshot's layer, at one
 * that several live layers stand on, or at the active one.  Free with g_array_unref(). */
GArray *runs_of_disk(Db *db, const DesktopRow *desktop, const char *layer_id, GError **error);
