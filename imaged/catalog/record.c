/* record.c: see record.h. */
#include "imaged/catalog/record.h"

#include <jansson.h>

#include "imaged/base/error.h"
#include "imaged/base/units.h"
#include "imaged/catalog/rows.h"

GString *record_make(const char *put, const char *del, gboolean is_snapshot)
{
    GString *out = g_string_sized_new(256);

    g_string_append_printf(out, "{\"time\":%" G_GINT64_FORMAT ",\"snapshot\":%s,\"put\":[",
                           units_now_ms(), is_snapshot ? "true" : "false");
    g_string_append(out, put);
    g_string_append(out, "],\"del\":[");
    g_string_append(out, del);
    g_string_append(out, "]}");
    return out;
}

/* Which rows of each table are facts of a store. */
static const char *const of_store[ROW_N_KINDS] = {
    [ROW_TEMPLATE] = "SELECT * FROM template WHERE id IN (SELECT v.template_id FROM version v JOIN"
                     " layer l ON l.owner_id = v.id WHERE l.store_id = ?1) OR id IN (SELECT"
                     " v.template_id FROM version v JOIN desktop d ON d.version_id = v.id WHERE"
                     " d.store_id = ?1)",
    [ROW_VERSION] = "SELECT * FROM version WHERE id IN (SELECT owner_id FROM layer WHERE"
                    " store_id = ?1 AND owner_kind = 'template') OR id IN (SELECT version_id"
                    " FROM desktop WHERE store_id = ?1)",
    [ROW_LAYER] = "SELECT * FROM layer WHERE store_id = ?1",
    [ROW_DESKTOP] = "SELECT * FROM desktop WHERE store_id = ?1",
    [ROW_TRASH] = "SELECT * FROM trash WHERE store_id = ?1",
    [ROW_SNAPSHOT] = "SELECT * FROM snapshot WHERE store_id = ?1",
    [ROW_ARCHIVE_TARGET] = "SELECT * FROM archive_target WHERE store_id = ?1",
    [ROW_ARCHIVE_SCHEDULE] = "SELECT * FROM archive_schedule WHERE store_id = ?1",
};

GString *record_snapshot(Db *db, const char *store_id, GError **error)
{
    g_autoptr(GString) put = g_string_new(NULL);

    for (RowKind kind = 0; kind < ROW_N_KINDS; kind++) {
        Query *q = db_query(db, of_store[kind], "t", store_id);
        g_autofree gpointer row = g_malloc0(row_size(kind));
        while (query_next(q)) {
            row_read(kind, q, row);
            g_string_append_printf(put, "%s[\"%s\",", put->len ? ",\n" : "", row_kind_name(kind));
            row_to_json(kind, row, put);
            g_string_append_c(put, ']');
            row_clear(kind, row);
        }
        if (!query_end(q, error))
            return NULL;
    }
    return record_make(put->str, "", TRUE);
}

/* Two stores may both speak of a thing: the younger statement holds. */
static gboolean is_older(Db *db, RowKind kind, gconstpointer row)
{
    Query *q;
    gint64 mine;

    if (kind == ROW_TEMPLATE) {
        mine = ((const TemplateRow *)row)->changed_at;
        q = db_query(db, "SELECT changed_at FROM template WHERE id = ?1", "t", row_id(row));
    } else if (kind == ROW_VERSION) {
        mine = ((const VersionRow *)row)->changed_at;
        q = db_query(db, "SELECT changed_at FROM version WHERE id = ?1", "t", row_id(row));
    } else if (kind == ROW_DESKTOP) { /* moved to another store */
        mine = ((const DesktopRow *)row)->changed_at;
        q = db_query(db, "SELECT changed_at FROM desktop WHERE id = ?1", "t", row_id(row));
    } else if (kind == ROW_SNAPSHOT) {
        mine = ((const SnapshotRow *)row)->changed_at;
        q = db_query(db, "SELECT changed_at FROM snapshot WHERE id = ?1", "t", row_id(row));
    } else {
        return FALSE;
    }
    gboolean older = query_next(q) && query_int(q, "changed_at") > mine;
    query_end(q, NULL);
    return older;
}

static gboolean corrupt(GError **error)
{
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT, "a journal record is not readable");
    return FALSE;
}

static gboolean apply_puts(Db *db, json_t *put, GError **error)
{
    size_t i;
    json_t *entry;

    json_array_foreach(put, i, entry) {
        const char *name = json_string_value(json_array_get(entry, 0));
        RowKind kind;
        if (!name || !row_kind_parse(name, &kind))
            return corrupt(error);
        g_autofree gpointer row = g_malloc0(row_size(kind));
        if (!row_from_json(kind, json_array_get(entry, 1), row, error))
            return FALSE;
        gboolean ok = is_older(db, kind, row) || row_put(db, kind, row, error);
        row_clear(kind, row);
        if (!ok)
            return FALSE;
    }
    return TRUE;
}

static gboolean apply_deletes(Db *db, json_t *del, GError **error)
{
    size_t i;
    json_t *entry;

    json_array_foreach(del, i, entry) {
        const char *name = json_string_value(json_array_get(entry, 0));
        const char *id = json_string_value(json_array_get(entry, 1));
        RowKind kind;
        if (!name || !id || !row_kind_parse(name, &kind))
            return corrupt(error);
        if (!row_delete(db, kind, id, error))
            return FALSE;
    }
    return TRUE;
}

/* Deleted for good before the snapshot, which can't say so; an old copy of the catalog has them. */
static gboolean drop_ghosts(Db *db, GError **error)
{
    return db_run(db, error,
                  "DELETE FROM version WHERE id NOT IN (SELECT owner_id FROM layer) AND id NOT IN"
                  " (SELECT version_id FROM desktop)",
                  "") &&
           db_run(db, error,
                  "DELETE FROM template WHERE id NOT IN (SELECT template_id FROM version)", "");
}

gboolean record_apply(Db *db, const char *store_id, const char *data, gsize len, GError **error)
{
    json_t *root = json_loadb(data, len, 0, NULL);
    json_t *put = json_object_get(root, "put"), *del = json_object_get(root, "del");
    gboolean ok = json_is_array(put) && json_is_array(del) ? TRUE : corrupt(error);
    gboolean is_snapshot = json_is_true(json_object_get(root, "snapshot"));

    if (ok && is_snapshot)
        ok = db_run(db, error, "DELETE FROM trash WHERE store_id = ?1", "t", store_id) &&
             db_run(db, error, "DELETE FROM snapshot WHERE store_id = ?1", "t", store_id) &&
             db_run(db, error, "DELETE FROM desktop WHERE store_id = ?1", "t", store_id) &&
             db_run(db, error, "DELETE FROM layer WHERE store_id = ?1", "t", store_id) &&
             db_run(db, error, "DELETE FROM archive_schedule WHERE store_id = ?1", "t", store_id) &&
             db_run(db, error, "DELETE FROM archive_target WHERE store_id = ?1", "t", store_id);
    ok = ok && apply_deletes(db, del, error) && apply_puts(db, put, error) &&
         (!is_snapshot || drop_ghosts(db, error));
    json_decref(root);
    return ok;
}
