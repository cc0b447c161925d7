/* record.h: one journal record's text: facts put and deleted, or a snapshot of a store's facts.
 * For imaged/catalog alone. */
#pragma once

#include "imaged/catalog/db.h"

/* {"time":..., "snapshot":..., "put":[["desktop",{...}],...], "del":[["trash","ID"],...]} */
GString *record_make(const char *put, const char *del, gboolean is_snapshot);

/* All facts of one store, as a snapshot record. */
GString *record_snapshot(Db *db, const char *store_id, GError **error);

/* Apply a record to the tables, in an open transaction with deferred foreign keys.  A snapshot
 * first drops what the store had.  CORRUPT. */
gboolean record_apply(Db *db, const char *store_id, const char *data, gsize len, GError **error);
