/* merge_facts.c: see merge_facts.h. */
#include "snapshot/merge_facts.h"

#include "imaged/base/units.h"

static void set_text(char **field, const char *text)
{
    g_free(*field);
    *field = g_strdup(text);
}

gboolean merge_put_moved(Db *db, Changes *changes, const char *from, const char *to, GError **error)
{
    g_auto(LookupRows) children = { 0 };
    g_auto(LookupRows) snapshots = { 0 };
    g_auto(LookupRows) data_snapshots = { 0 };
    g_auto(LookupRows) entries = { 0 };

    if (!lookup_rows(db, ROW_LAYER, &children, error, "SELECT * FROM layer WHERE parent_id = ?1",
                     "t", from) ||
        !lookup_rows(db, ROW_SNAPSHOT, &snapshots, error,
                     "SELECT * FROM snapshot WHERE layer_id = ?1", "t", from) ||
        !lookup_rows(db, ROW_SNAPSHOT, &data_snapshots, error,
                     "SELECT * FROM snapshot WHERE data_layer_id = ?1", "t", from) ||
        !lookup_rows(db, ROW_TRASH, &entries, error,
                     "SELECT * FROM trash WHERE layer_id = ?1 AND kind = 'snapshot'", "t", from))
        return FALSE;
    for (guint i = 0; i < children.rows->len; i++) {
        LayerRow *row = children.rows->pdata[i];
        set_text(&row->parent_id, to);
        changes_put(changes, ROW_LAYER, row, row->store_id);
    }
    for (guint i = 0; i < snapshots.rows->len; i++) {
        SnapshotRow *row = snapshots.rows->pdata[i];
        set_text(&row->layer_id, to);
        row->changed_at = units_now_ms();
        changes_put(changes, ROW_SNAPSHOT, row, row->store_id);
    }
    for (guint i = 0; i < data_snapshots.rows->len; i++) {
        SnapshotRow *row = data_snapshots.rows->pdata[i];
        set_text(&row->data_layer_id, to);
        row->changed_at = units_now_ms();
        changes_put(changes, ROW_SNAPSHOT, row, row->store_id);
    }
    for (guint i = 0; i < entries.rows->len; i++) {
        TrashRow *row = entries.rows->pdata[i];
        set_text(&row->layer_id, to);
        changes_put(changes, ROW_TRASH, row, row->store_id);
    }
    return TRUE;
}
