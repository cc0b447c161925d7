/* changes.h: a set of changes that becomes durable as a whole, or not at all.
 *
 * Facts (rows.h) go to the journal of the store that they are given with, and to the tables; local
 * statements (jobs, events, settings) to the tables alone.  One thread builds a set. */
#pragma once

#include <glib.h>

#include "imaged/catalog/rows.h"

typedef struct Changes Changes;

Changes *changes_new(void);
void changes_free(Changes *changes);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Changes, changes_free)

/* Insert or replace a fact (row is copied), journaled in store_id.  A fact that several stores need
 * (a template with layers in two stores) is put once for each. */
void changes_put(Changes *changes, RowKind kind, gconstpointer row, const char *store_id);
void changes_delete(Changes *changes, RowKind kind, const char *id, const char *store_id);

/* A local statement: sql is a literal; values as in db_query(). */
void changes_sql(Changes *changes, const char *sql, const char *types, ...);

/* What must hold at this place of the set, when all before it is applied: else (FALSE, and why)
 * nothing of the set is done.  test is called by the catalog's writer, perhaps more than once; it
 * may ask db, and changes nothing.  data is freed with the set. */
typedef gboolean (*ChangesTest)(Db *db, gpointer data, GError **error);
void changes_require(Changes *changes, ChangesTest test, gpointer data, GDestroyNotify data_free);

/* An event (severity info, warning or alarm); who (NAME, or NAME from ADDRESS) and object may be
 * NULL. */
void changes_event(Changes *changes, const char *kind, const char *severity, const char *object,
                   const char *who, const char *format, ...) G_GNUC_PRINTF(6, 7);

/* ---- for the catalog's writer ---- */

/* Apply to the tables (in an open transaction). */
gboolean changes_apply(const Changes *changes, Db *db, GError **error);

/* Append this set's facts for store_id to put and del (JSON array elements, comma-separated). */
void changes_to_json(const Changes *changes, const char *store_id, GString *put, GString *del);

/* Add the ids of the stores that have facts in this set, in the order of their first fact, to a
 * list of strings without doubles: the order in which their journals are written. */
void changes_add_stores(const Changes *changes, GPtrArray *store_ids);
gboolean changes_touch_store(const Changes *changes, const char *store_id);
gboolean changes_touch_many(const Changes *changes); /* more than one store? */
guint changes_count(const Changes *changes);
gboolean changes_has_events(const Changes *changes);
