/* store_check.h: what store_check.c (a store's files) and store_check_layer.c (one layer) share.
 * For those files alone; in the job's thread. */
#pragma once

#include "imaged/catalog/lookup.h"
#include "imaged/job/world.h"

/* A check at work. */
typedef struct {
    Job *job;
    World *world;
    Store *store;
    gboolean data, repair;
    json_t *findings;
    gboolean is_ok;
    guint n_checked, n_live;
    guint64 done, total; /* layers */
} StoreCheck;

/* Put something into the findings.  severity: "note", "warning", or "error", which means that the
 * store is not in order unless it was repaired; slot and layer may be NULL. */
void store_check_find(StoreCheck *c, const char *severity, const char *kind, const char *slot,
                      const LayerRow *layer, gboolean repaired, const char *format, ...)
    G_GNUC_PRINTF(7, 8);

/* Look at one layer of the store.  What is wrong with it is a finding; FALSE if it cannot be
 * read to the end, the catalog cannot be written, or with CANCELLED. */
gboolean store_check_layer(StoreCheck *c, const LayerRow *row, GError **error);
