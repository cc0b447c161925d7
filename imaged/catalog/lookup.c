/* lookup.c: see lookup.h. */
#include "imaged/catalog/lookup.h"

#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/ident.h"

/* Read the one row of q into ret; what and name are for the message. */
static gboolean one(Query *q, RowKind kind, gpointer ret, const char *what, const char *name,
                    GError **error)
{
    gboolean found = query_next(q);

    if (found)
        row_read(kind, q, ret);
    if (!query_end(q, error))
        return FALSE;
    if (!found) {
        g_autofree char *shown = text_for_message(name, 80);
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "there is no %s '%s'", what,
                    shown);
    }
    return found;
}

gboolean lookup_template(Db *db, const char *name, TemplateRow *ret, GError **error)
{
    return one(db_query(db, "SELECT * FROM template WHERE name = ?1 AND is_trashed = 0", "t", name),
               ROW_TEMPLATE, ret, "template", name, error);
}

gboolean lookup_template_by_id(Db *db, const char *id, TemplateRow *ret, GError **error)
{
    return one(db_query(db, "SELECT * FROM template WHERE id = ?1", "t", id), ROW_TEMPLATE, ret,
               "template", id, error);
}

/* "name:3" -> "name" and 3; without a number 0.  FALSE if the number is none. */
static gboolean split_ref(const char *ref, char **ret_name, gint64 *ret_number)
{
    const char *colon = strrchr(ref, ':');
    char *end = NULL;

    *ret_number = 0;
    *ret_name = colon ? g_strndup(ref, (gsize)(colon - ref)) : g_strdup(ref);
    if (!colon)
        return TRUE;
    *ret_number = g_ascii_strtoll(colon + 1, &end, 10);
    return g_ascii_isdigit(colon[1]) && !*end && *ret_number > 0;
}

gboolean lookup_version(Db *db, const char *ref, gboolean published, VersionRow *ret,
                        GError **error)
{
    g_autofree char *name = NULL;
    g_auto(TemplateRow) template = { 0 };
    gint64 number;

    if (!split_ref(ref, &name, &number)) {
        g_autofree char *shown = text_for_message(ref, 80);
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "'%s' does not name a template version", shown);
        imaged_error_hint(error, "write NAME or NAME:NUMBER");
        return FALSE;
    }
    if (!lookup_template(db, name, &template, error))
        return FALSE;
    if (number)
        return one(db_query(db,
                            "SELECT * FROM version WHERE template_id = ?1 AND version = ?2 AND"
                            " is_trashed = 0",
                            "ti", template.id, number),
                   ROW_VERSION, ret, "template version", ref, error);
    Query *q = published
                   ? db_query(db,
                              "SELECT * FROM version WHERE template_id = ?1 AND is_trashed = 0"
                              " AND state = 'published' ORDER BY version DESC LIMIT 1",
                              "t", template.id)
                   : db_query(db,
                              "SELECT * FROM version WHERE template_id = ?1 AND is_trashed = 0"
                              " ORDER BY version DESC LIMIT 1",
                              "t", template.id);
    if (one(q, ROW_VERSION, ret,
            published ? "published version of template" : "version of template", name, error))
        return TRUE;
    imaged_error_hint(error, "see them with: imagectl template versions %s", name);
    return FALSE;
}

gboolean lookup_version_by_id(Db *db, const char *id, VersionRow *ret, GError **error)
{
    return one(db_query(db, "SELECT * FROM version WHERE id = ?1", "t", id), ROW_VERSION, ret,
               "template version", id, error);
}

gboolean lookup_desktop(Db *db, const char *name, DesktopRow *ret, GError **error)
{
    return one(db_query(db, "SELECT * FROM desktop WHERE name = ?1 AND is_trashed = 0", "t", name),
               ROW_DESKTOP, ret, "desktop", name, error);
}

gboolean lookup_desktop_by_id(Db *db, const char *id, DesktopRow *ret, GError **error)
{
    return one(db_query(db, "SELECT * FROM desktop WHERE id = ?1", "t", id), ROW_DESKTOP, ret,
               "desktop", id, error);
}

gboolean lookup_layer(Db *db, const char *id, LayerRow *ret, GError **error)
{
    return one(db_query(db, "SELECT * FROM layer WHERE id = ?1", "t", id), ROW_LAYER, ret, "layer",
               id, error);
}

gboolean lookup_trash(Db *db, const char *id, TrashRow *ret, GError **error)
{
    return one(db_query(db, "SELECT * FROM trash WHERE id = ?1", "t", id), ROW_TRASH, ret,
               "trash entry", id, error);
}

gboolean lookup_snapshot(Db *db, const char *desktop_id, const char *name, SnapshotRow *ret,
                         GError **error)
{
    return one(db_query(db,
                        "SELECT * FROM snapshot WHERE desktop_id = ?1 AND name = ?2 AND"
                        " is_trashed = 0",
                        "tt", desktop_id, name),
               ROW_SNAPSHOT, ret, "snapshot", name, error);
}

gboolean lookup_snapshot_by_id(Db *db, const char *id, SnapshotRow *ret, GError **error)
{
    return one(db_query(db, "SELECT * FROM snapshot WHERE id = ?1", "t", id), ROW_SNAPSHOT, ret,
               "snapshot", id, error);
}

gboolean lookup_slot(Db *db, const char *store_id, const char *slot, LayerRow *ret, GError **error)
{
    return one(db_query(db, "SELECT * FROM layer WHERE store_id = ?1 AND slot = ?2", "tt", store_id,
                        slot),
               ROW_LAYER, ret, "slot", slot, error);
}

gboolean lookup_version_layer(Db *db, const char *version_id, const char *store_id, LayerRow *ret,
                              GError **error)
{
    return one(db_query(db,
                        "SELECT l.* FROM version v JOIN layer l ON l.owner_id = v.id WHERE"
                        " v.id = ?1 AND l.store_id = ?2 AND l.state = 'frozen'"
                        " ORDER BY l.id = v.layer_id DESC LIMIT 1",
                        "tt", version_id, store_id),
               ROW_LAYER, ret, "copy in that store of template version", version_id, error);
}

gboolean lookup_undo(Db *db, const char *desktop_id, TrashRow *ret, GError **error)
{
    /* A data disk's entry leaves the generation, a disk's is the last one of its generation. */
    return one(db_query(db,
                        "SELECT x.* FROM desktop d JOIN trash x ON " LOOKUP_UNDO_OF_D
                        " WHERE d.id = ?1 ORDER BY x.generation DESC, x.kind = 'disk' DESC,"
                        " x.trashed_at DESC LIMIT 1",
                        "t", desktop_id),
               ROW_TRASH, ret, "reset or revert to undo of desktop", desktop_id, error);
}

gboolean lookup_rows(Db *db, RowKind kind, LookupRows *ret, GError **error, const char *sql,
                     const char *types, ...)
{
    va_list args;

    va_start(args, types);
    Query *q = db_query_va(db, sql, types, args);
    va_end(args);
    ret->kind = kind;
    ret->rows = g_ptr_array_new();
    while (query_next(q)) {
        gpointer row = g_malloc0(row_size(kind));
        row_read(kind, q, row);
        g_ptr_array_add(ret->rows, row);
    }
    return query_end(q, error);
}

void lookup_rows_clear(LookupRows *rows)
{
    for (guint i = 0; rows->rows && i < rows->rows->len; i++)
        row_free(rows->kind, rows->rows->pdata[i]);
    g_clear_pointer(&rows->rows, g_ptr_array_unref);
}

gint64 lookup_int(Db *db, const char *sql, const char *types, ...)
{
    va_list args;

    va_start(args, types);
    Query *q = db_query_va(db, sql, types, args);
    va_end(args);
    gint64 value = query_next(q) ? sqlite3_column_int64(query_stmt(q), 0) : 0;
    query_end(q, NULL);
    return value;
}

char *lookup_version_name(Db *db, const char *version_id)
{
    Query *q = db_query(db,
                        "SELECT t.name || ':' || v.version AS name FROM version v JOIN template t"
                        " ON t.id = v.template_id WHERE v.id = ?1",
                        "t", version_id);
    char *name = query_next(q) ? g_strdup(query_text(q, "name")) : g_strdup("(unknown)");

    query_end(q, NULL);
    return name;
}

gboolean lookup_check_new_name(Db *db, const char *what, const char *name, GError **error)
{
    if (!name_check(what, name, error))
        return FALSE;
    if (lookup_int(db,
                   "SELECT EXISTS (SELECT 1 FROM desktop WHERE name = ?1 AND is_trashed = 0) OR"
                   " EXISTS (SELECT 1 FROM template WHERE name = ?1 AND is_trashed = 0)",
                   "t", name)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_EXISTS, "the name '%s' is taken", name);
        return FALSE;
    }
    return TRUE;
}

gboolean lookup_is_used(Db *db, const char *layer_id, const char *except)
{
    return lookup_int(db,
                      "SELECT EXISTS (SELECT 1 FROM desktop WHERE layer_id = ?1 AND id <> ?2) OR"
                      " EXISTS (SELECT 1 FROM desktop WHERE data_layer_id = ?1 AND id <> ?2)",
                      "tt", layer_id, except) != 0;
}
