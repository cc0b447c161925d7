/* trash_purge.c: which entries of the trash can go, and what goes with one: rows alone; the files
 * are given back by trash_empty.c. */
#include "snapshot/trash_purge.h"

#include "imaged/base/error.h"

gboolean trash_is_held(Db *db, const TrashRow *entry)
{
    return lookup_int(db,
                      "SELECT EXISTS (SELECT 1 FROM " TRASH_HOLDERS " AND o.trash_id = ?1)", "t",
                      entry->id);
}

void trash_reclaim_layer(Changes *changes, const LayerRow *layer)
{
    LayerRow changed = *layer;

    changed.state = "reclaim";
    changed.place = "trash";
    changes_put(changes, ROW_LAYER, &changed, layer->store_id);
}

/* Give up a version: its layers, and its template with the last of its versions.  A desktop that
 * was flattened may still name the version: then its row stays, in the trash. */
static gboolean purge_version(Db *db, Changes *changes, const TrashRow *entry, GError **error)
{
    g_auto(VersionRow) version = { 0 };
    g_auto(LookupRows) layers = { 0 };

    if (!lookup_version_by_id(db, entry->version_id, &version, error) ||
        !lookup_rows(db, ROW_LAYER, &layers, error, "SELECT * FROM layer WHERE owner_id = ?1", "t",
                     version.id))
        return FALSE;
    gboolean is_last = lookup_int(db, "SELECT count(*) FROM version WHERE template_id = ?1", "t",
                                  version.template_id) == 1;
    gboolean is_named = lookup_int(db,
                                   "SELECT EXISTS (SELECT 1 FROM desktop WHERE"
                                   " version_id = ?1)",
                                   "t", version.id);
    for (guint i = 0; i < layers.rows->len; i++) {
        const LayerRow *layer = layers.rows->pdata[i];
        trash_reclaim_layer(changes, layer);
        if (is_named)
            continue;
        changes_delete(changes, ROW_VERSION, version.id, layer->store_id);
        if (is_last)
            changes_delete(changes, ROW_TEMPLATE, version.template_id, layer->store_id);
    }
    return TRUE;
}

/* Does a desktop name what the entry would take away?  A stop between two journals, or an old
 * catalog, may have left both: then the disk counts, not the entry. */
static gboolean is_used(Db *db, const TrashRow *entry)
{
    if (g_str_equal(entry->kind, "template_version"))
        return FALSE;
    if (g_str_equal(entry->kind, "desktop"))
        return lookup_int(db,
                          "SELECT EXISTS (SELECT 1 FROM desktop WHERE id = ?1 AND is_trashed = 0)"
                          " OR EXISTS (SELECT 1 FROM layer l JOIN desktop d ON d.layer_id = l.id"
                          " WHERE l.owner_id = ?1 AND d.id <> ?1) OR EXISTS (SELECT 1 FROM layer l"
                          " JOIN desktop d ON d.data_layer_id = l.id WHERE l.owner_id = ?1 AND"
                          " d.id <> ?1)",
                          "t", entry->desktop_id);
    return lookup_is_used(db, entry->layer_id, "") ||
           (entry->data_layer_id && lookup_is_used(db, entry->data_layer_id, ""));
}

/* What keeps an entry from going: something that stands on its layers.  A snapshot's entry is only
 * a name: its layer goes when nothing needs it (drop_unneeded). */
gboolean trash_is_needed(Db *db, const TrashRow *entry)
{
    if (g_str_equal(entry->kind, "snapshot"))
        return FALSE;
    if (is_used(db, entry))
        return TRUE;
    if (g_str_equal(entry->kind, "desktop"))
        return FALSE;
    if (trash_is_held(db, entry))
        return TRUE;
    return g_str_equal(entry->kind, "template_version")
               ? lookup_int(db,
                            "SELECT EXISTS (SELECT 1 FROM layer c JOIN layer l ON"
                            " c.parent_id = l.id WHERE l.owner_id = ?1)",
                            "t", entry->version_id)
               : lookup_int(db, "SELECT EXISTS (SELECT 1 FROM layer WHERE parent_id IN (?1, ?2))",
                            "tt", entry->layer_id, entry->data_layer_id);
}

/* All rows of a kind that belong to a desktop go with it. */
static gboolean delete_rows(Db *db, Changes *changes, RowKind kind, const char *sql,
                            const char *desktop_id, GError **error)
{
    g_auto(LookupRows) rows = { 0 };

    if (!lookup_rows(db, kind, &rows, error, sql, "t", desktop_id))
        return FALSE;
    for (guint i = 0; i < rows.rows->len; i++) {
        gconstpointer row = rows.rows->pdata[i];
        changes_delete(changes, kind, row_id(row),
                       kind == ROW_TRASH ? ((const TrashRow *)row)->store_id
                                         : ((const SnapshotRow *)row)->store_id);
    }
    return TRUE;
}

/* A desktop goes with all its layers, former disks and snapshots. */
static gboolean purge_desktop(Db *db, Changes *changes, const TrashRow *entry, GError **error)
{
    g_auto(LookupRows) layers = { 0 };

    if (!lookup_rows(db, ROW_LAYER, &layers, error,
                     "SELECT * FROM layer WHERE owner_kind IN ('desktop', 'data') AND"
                     " owner_id = ?1",
                     "t", entry->desktop_id) ||
        !delete_rows(db, changes, ROW_TRASH, "SELECT * FROM trash WHERE desktop_id = ?1",
                     entry->desktop_id, error) ||
        !delete_rows(db, changes, ROW_SNAPSHOT, "SELECT * FROM snapshot WHERE desktop_id = ?1",
                     entry->desktop_id, error))
        return FALSE;
    for (guint i = 0; i < layers.rows->len; i++)
        trash_reclaim_layer(changes, layers.rows->pdata[i]);
    changes_delete(changes, ROW_DESKTOP, entry->desktop_id, entry->store_id);
    return TRUE;
}

/* A layer that is not there has gone already: with another entry, or in another store's journal. */
static gboolean purge_layer(Db *db, Changes *changes, const char *layer_id, GError **error)
{
    g_auto(LayerRow) layer = { 0 };
    GError *local = NULL;

    if (lookup_layer(db, layer_id, &layer, &local)) {
        trash_reclaim_layer(changes, &layer);
        return TRUE;
    }
    if (!g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND)) {
        g_propagate_error(error, local);
        return FALSE;
    }
    g_error_free(local);
    return TRUE;
}

gboolean trash_purge(Db *db, Changes *changes, const TrashRow *entry, GError **error)
{
    gboolean ok = TRUE;

    if (g_str_equal(entry->kind, "template_version"))
        ok = purge_version(db, changes, entry, error);
    else if (g_str_equal(entry->kind, "desktop"))
        return purge_desktop(db, changes, entry, error);
    else if (g_str_equal(entry->kind, "snapshot"))
        changes_delete(changes, ROW_SNAPSHOT, entry->snapshot_id, entry->store_id);
    else
        ok = purge_layer(db, changes, entry->layer_id, error) &&
             (!entry->data_layer_id || purge_layer(db, changes, entry->data_layer_id, error));
    changes_delete(changes, ROW_TRASH, entry->id, entry->store_id);
    return ok;
}

/* The journals of all stores that the entry's rows lie in must be there: what is on an offline
 * store waits.  A data disk may lie in another one than its entry. */
gboolean trash_stores_are_there(World *world, Db *db, const TrashRow *entry)
{
    gboolean is_desktop = g_str_equal(entry->kind, "desktop");
    gboolean is_version = g_str_equal(entry->kind, "template_version");
    gboolean is_there = TRUE;
    Query *q =
        db_query(db,
                 "SELECT store_id FROM trash WHERE id = ?1 OR desktop_id = ?4 UNION"
                 " SELECT store_id FROM layer WHERE id IN (?2, ?3) OR owner_id IN (?4, ?5)"
                 " UNION SELECT store_id FROM snapshot WHERE desktop_id = ?4",
                 "ttttt", entry->id, entry->layer_id, entry->data_layer_id,
                 is_desktop ? entry->desktop_id : NULL, is_version ? entry->version_id : NULL);

    while (is_there && query_next(q)) {
        g_autoptr(Store) store = store_set_get(world->stores, query_text(q, "store_id"), NULL);
        is_there = store != NULL;
    }
    return query_end(q, NULL) && is_there;
}
