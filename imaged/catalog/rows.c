/* rows.c: see rows.h.  The literals below name the columns in the order of the column tables. */
#include "imaged/catalog/rows.h"

#include <string.h>

#include "imaged/base/error.h"

typedef struct {
    const char *name;
    char type; /* 't' text, 'o' text or NULL, 'i' integer, 'd' integer that older journals lack (0)
                */
    guint16 offset;
} Column;

typedef struct {
    const char *name;
    gsize size;
    const Column *columns;
    guint n_columns;
    const char *put, *delete;
} Table;

#define TEXT(row, field) { #field, 't', G_STRUCT_OFFSET(row, field) }
#define OPTIONAL(row, field) { #field, 'o', G_STRUCT_OFFSET(row, field) }
#define INTEGER(row, field) { #field, 'i', G_STRUCT_OFFSET(row, field) }
#define ADDED_INTEGER(row, field) { #field, 'd', G_STRUCT_OFFSET(row, field) }

static const Column template_columns[] = {
    TEXT(TemplateRow, id),           TEXT(TemplateRow, name),
    INTEGER(TemplateRow, last_version), INTEGER(TemplateRow, is_trashed),
    INTEGER(TemplateRow, created_at),   INTEGER(TemplateRow, changed_at),
};
static const Column version_columns[] = {
    TEXT(VersionRow, id),          TEXT(VersionRow, template_id),  INTEGER(VersionRow, version),
    TEXT(VersionRow, state),       INTEGER(VersionRow, is_trashed), TEXT(VersionRow, layer_id),
    INTEGER(VersionRow, cpus),     INTEGER(VersionRow, memory_bytes), TEXT(VersionRow, os),
    TEXT(VersionRow, description), TEXT(VersionRow, source),       TEXT(VersionRow, notes),
    INTEGER(VersionRow, created_at), INTEGER(VersionRow, changed_at),
    OPTIONAL(VersionRow, firmware), ADDED_INTEGER(VersionRow, sealed_at),
    OPTIONAL(VersionRow, recipe),  OPTIONAL(VersionRow, identity), OPTIONAL(VersionRow, video),
    OPTIONAL(VersionRow, hardware),
};
static const Column layer_columns[] = {
    TEXT(LayerRow, id),           TEXT(LayerRow, slot),      TEXT(LayerRow, store_id),
    OPTIONAL(LayerRow, parent_id), TEXT(LayerRow, owner_kind), TEXT(LayerRow, owner_id),
    INTEGER(LayerRow, generation), TEXT(LayerRow, state),     TEXT(LayerRow, place),
    INTEGER(LayerRow, virtual_size), OPTIONAL(LayerRow, checksum), INTEGER(LayerRow, created_at),
};
static const Column desktop_columns[] = {
    TEXT(DesktopRow, id),         TEXT(DesktopRow, name),     TEXT(DesktopRow, version_id),
    TEXT(DesktopRow, owner),      INTEGER(DesktopRow, generation), TEXT(DesktopRow, layer_id),
    TEXT(DesktopRow, store_id),   TEXT(DesktopRow, mac),      TEXT(DesktopRow, uuid),
    TEXT(DesktopRow, state),      INTEGER(DesktopRow, is_trashed),
    INTEGER(DesktopRow, created_at), INTEGER(DesktopRow, changed_at),
    OPTIONAL(DesktopRow, draft_of), OPTIONAL(DesktopRow, identity),
    OPTIONAL(DesktopRow, data_layer_id), ADDED_INTEGER(DesktopRow, disk_size),
    OPTIONAL(DesktopRow, hardware),
};
static const Column trash_columns[] = {
    TEXT(TrashRow, id),           TEXT(TrashRow, kind),       TEXT(TrashRow, reason),
    TEXT(TrashRow, name),         OPTIONAL(TrashRow, desktop_id), TEXT(TrashRow, version_id),
    TEXT(TrashRow, layer_id),     TEXT(TrashRow, store_id),   INTEGER(TrashRow, generation),
    INTEGER(TrashRow, disk_bytes), INTEGER(TrashRow, trashed_at), INTEGER(TrashRow, expires_at),
    OPTIONAL(TrashRow, snapshot_id), OPTIONAL(TrashRow, slot),
    OPTIONAL(TrashRow, data_layer_id),
};
static const Column snapshot_columns[] = {
    TEXT(SnapshotRow, id),            TEXT(SnapshotRow, desktop_id),
    TEXT(SnapshotRow, name),          TEXT(SnapshotRow, description),
    TEXT(SnapshotRow, layer_id),      TEXT(SnapshotRow, store_id),
    TEXT(SnapshotRow, version_id),    INTEGER(SnapshotRow, generation),
    INTEGER(SnapshotRow, is_trashed), INTEGER(SnapshotRow, created_at),
    INTEGER(SnapshotRow, changed_at), OPTIONAL(SnapshotRow, data_layer_id),
};
static const Column archive_target_columns[] = {
    TEXT(ArchiveTargetRow, id),       TEXT(ArchiveTargetRow, name),
    TEXT(ArchiveTargetRow, kind),     TEXT(ArchiveTargetRow, location),
    TEXT(ArchiveTargetRow, store_id), INTEGER(ArchiveTargetRow, created_at),
};
static const Column archive_schedule_columns[] = {
    TEXT(ArchiveScheduleRow, id),          TEXT(ArchiveScheduleRow, name),
    TEXT(ArchiveScheduleRow, target_id),   TEXT(ArchiveScheduleRow, what),
    TEXT(ArchiveScheduleRow, timing),      TEXT(ArchiveScheduleRow, store_id),
    INTEGER(ArchiveScheduleRow, last_run),
    INTEGER(ArchiveScheduleRow, created_at),
};

static const Table tables[ROW_N_KINDS] = {
    [ROW_TEMPLATE] = { "template", sizeof(TemplateRow), template_columns,
                       G_N_ELEMENTS(template_columns),
                       "INSERT INTO template (id, name, last_version, is_trashed, created_at,"
                       " changed_at) VALUES (?1,?2,?3,?4,?5,?6) ON CONFLICT (id) DO UPDATE SET"
                       " name=?2, last_version=?3, is_trashed=?4, created_at=?5, changed_at=?6",
                       "DELETE FROM template WHERE id = ?1" },
    [ROW_VERSION] = { "version", sizeof(VersionRow), version_columns,
                      G_N_ELEMENTS(version_columns),
                      "INSERT INTO version (id, template_id, version, state, is_trashed, layer_id,"
                      " cpus, memory_bytes, os, description, source, notes, created_at, changed_at,"
                      " firmware, sealed_at, recipe, identity, video, hardware)"
                      " VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,"
                      "?19,?20)"
                      " ON CONFLICT (id)"
                      " DO UPDATE SET template_id=?2, version=?3, state=?4, is_trashed=?5,"
                      " layer_id=?6, cpus=?7, memory_bytes=?8, os=?9, description=?10, source=?11,"
                      " notes=?12, created_at=?13, changed_at=?14, firmware=?15, sealed_at=?16,"
                      " recipe=?17, identity=?18, video=?19, hardware=?20",
                      "DELETE FROM version WHERE id = ?1" },
    [ROW_LAYER] = { "layer", sizeof(LayerRow), layer_columns, G_N_ELEMENTS(layer_columns),
                    "INSERT INTO layer (id, slot, store_id, parent_id, owner_kind, owner_id,"
                    " generation, state, place, virtual_size, checksum, created_at) VALUES"
                    " (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12) ON CONFLICT (id) DO UPDATE SET"
                    " slot=?2, store_id=?3, parent_id=?4, owner_kind=?5, owner_id=?6,"
                    " generation=?7, state=?8, place=?9, virtual_size=?10, checksum=?11,"
                    " created_at=?12",
                    "DELETE FROM layer WHERE id = ?1" },
    [ROW_DESKTOP] = { "desktop", sizeof(DesktopRow), desktop_columns,
                      G_N_ELEMENTS(desktop_columns),
                      "INSERT INTO desktop (id, name, version_id, owner, generation, layer_id,"
                      " store_id, mac, uuid, state, is_trashed, created_at, changed_at, draft_of,"
                      " identity, data_layer_id, disk_size, hardware) VALUES"
                      " (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18)"
                      " ON CONFLICT (id)"
                      " DO UPDATE SET name=?2, version_id=?3, owner=?4, generation=?5, layer_id=?6,"
                      " store_id=?7, mac=?8, uuid=?9, state=?10, is_trashed=?11, created_at=?12,"
                      " changed_at=?13, draft_of=?14, identity=?15, data_layer_id=?16,"
                      " disk_size=?17, hardware=?18",
                      "DELETE FROM desktop WHERE id = ?1" },
    [ROW_TRASH] = { "trash", sizeof(TrashRow), trash_columns, G_N_ELEMENTS(trash_columns),
                    "INSERT INTO trash (id, kind, reason, name, desktop_id, version_id, layer_id,"
                    " store_id, generation, disk_bytes, trashed_at, expires_at, snapshot_id, slot,"
                    " data_layer_id)"
                    " VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15) ON CONFLICT (id)"
                    " DO UPDATE SET kind=?2, reason=?3, name=?4, desktop_id=?5, version_id=?6,"
                    " layer_id=?7, store_id=?8, generation=?9, disk_bytes=?10, trashed_at=?11,"
                    " expires_at=?12, snapshot_id=?13, slot=?14, data_layer_id=?15",
                    "DELETE FROM trash WHERE id = ?1" },
    [ROW_SNAPSHOT] = { "snapshot", sizeof(SnapshotRow), snapshot_columns,
                       G_N_ELEMENTS(snapshot_columns),
                       "INSERT INTO snapshot (id, desktop_id, name, description, layer_id,"
                       " store_id, version_id, generation, is_trashed, created_at, changed_at,"
                       " data_layer_id)"
                       " VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12) ON CONFLICT (id) DO UPDATE"
                       " SET desktop_id=?2, name=?3, description=?4, layer_id=?5, store_id=?6,"
                       " version_id=?7, generation=?8, is_trashed=?9, created_at=?10,"
                       " changed_at=?11, data_layer_id=?12",
                       "DELETE FROM snapshot WHERE id = ?1" },
    [ROW_ARCHIVE_TARGET] = { "archive_target", sizeof(ArchiveTargetRow), archive_target_columns,
                             G_N_ELEMENTS(archive_target_columns),
                             "INSERT INTO archive_target (id, name, kind, location, store_id,"
                             " created_at) VALUES (?1,?2,?3,?4,?5,?6) ON CONFLICT (id) DO UPDATE"
                             " SET name=?2, kind=?3, location=?4, store_id=?5, created_at=?6",
                             "DELETE FROM archive_target WHERE id = ?1" },
    [ROW_ARCHIVE_SCHEDULE] = { "archive_schedule", sizeof(ArchiveScheduleRow),
                               archive_schedule_columns, G_N_ELEMENTS(archive_schedule_columns),
                               "INSERT INTO archive_schedule (id, name, target_id, what, timing,"
                               " store_id, last_run, created_at) VALUES (?1,?2,?3,?4,?5,?6,?7,?8)"
                               " ON CONFLICT (id) DO UPDATE SET name=?2, target_id=?3, what=?4,"
                               " timing=?5, store_id=?6, last_run=?7, created_at=?8",
                               "DELETE FROM archive_schedule WHERE id = ?1" },
};

static gboolean is_text(const Column *column)
{
    return column->type == 't' || column->type == 'o';
}

static char **text_at(gconstpointer row, const Column *column)
{
    return (char **)((char *)row + column->offset);
}

static gint64 *int_at(gconstpointer row, const Column *column)
{
    return (gint64 *)((char *)row + column->offset);
}

const char *row_kind_name(RowKind kind)
{
    return tables[kind].name;
}

gboolean row_kind_parse(const char *name, RowKind *ret_kind)
{
    for (guint i = 0; i < ROW_N_KINDS; i++) {
        if (g_str_equal(tables[i].name, name)) {
            *ret_kind = i;
            return TRUE;
        }
    }
    return FALSE;
}

gsize row_size(RowKind kind)
{
    return tables[kind].size;
}

gpointer row_copy(RowKind kind, gconstpointer row)
{
    gpointer copy = g_memdup2(row, tables[kind].size);

    for (guint i = 0; i < tables[kind].n_columns; i++) {
        const Column *column = &tables[kind].columns[i];
        if (is_text(column))
            *text_at(copy, column) = g_strdup(*text_at(row, column));
    }
    return copy;
}

void row_clear(RowKind kind, gpointer row)
{
    for (guint i = 0; i < tables[kind].n_columns; i++) {
        const Column *column = &tables[kind].columns[i];
        if (is_text(column))
            g_clear_pointer(text_at(row, column), g_free);
    }
}

void row_free(RowKind kind, gpointer row)
{
    row_clear(kind, row);
    g_free(row);
}

gboolean layer_row_is_own(const LayerRow *row)
{
    return g_str_equal(row->owner_kind, "desktop") || layer_row_is_data(row);
}

gboolean layer_row_is_data(const LayerRow *row)
{
    return g_str_equal(row->owner_kind, "data");
}

const char *row_id(gconstpointer row)
{
    return *(char *const *)row;
}

void row_read(RowKind kind, Query *query, gpointer ret_row)
{
    for (guint i = 0; i < tables[kind].n_columns; i++) {
        const Column *column = &tables[kind].columns[i];
        int at = query_column(query, column->name, (int)i); /* i for SELECT * of the table */
        if (!is_text(column))
            *int_at(ret_row, column) = sqlite3_column_int64(query_stmt(query), at);
        else
            *text_at(ret_row, column) =
                g_strdup((const char *)sqlite3_column_text(query_stmt(query), at));
    }
}

gboolean row_put(Db *db, RowKind kind, gconstpointer row, GError **error)
{
    const Table *table = &tables[kind];
    Query *q = db_query(db, table->put, "");
    sqlite3_stmt *stmt = query_stmt(q);

    for (guint i = 0; stmt && i < table->n_columns; i++) {
        const Column *column = &table->columns[i];
        if (!is_text(column))
            sqlite3_bind_int64(stmt, (int)i + 1, *int_at(row, column));
        else
            sqlite3_bind_text(stmt, (int)i + 1, *text_at(row, column), -1, SQLITE_STATIC);
    }
    query_next(q);
    return query_end(q, error);
}

gboolean row_delete(Db *db, RowKind kind, const char *id, GError **error)
{
    return db_run(db, error, tables[kind].delete, "t", id);
}

static void append_json_text(GString *out, const char *text)
{
    g_string_append_c(out, '"');
    for (const guchar *p = (const guchar *)text; *p; p++) {
        if (*p == '"' || *p == '\\')
            g_string_append_printf(out, "\\%c", *p);
        else if (*p < 0x20)
            g_string_append_printf(out, "\\u%04x", *p);
        else
            g_string_append_c(out, (char)*p);
    }
    g_string_append_c(out, '"');
}

void row_to_json(RowKind kind, gconstpointer row, GString *out)
{
    g_string_append_c(out, '{');
    for (guint i = 0; i < tables[kind].n_columns; i++) {
        const Column *column = &tables[kind].columns[i];
        g_string_append(out, i ? ",\"" : "\"");
        g_string_append(out, column->name);
        g_string_append(out, "\":");
        if (!is_text(column))
            g_string_append_printf(out, "%" G_GINT64_FORMAT, *int_at(row, column));
        else if (*text_at(row, column))
            append_json_text(out, *text_at(row, column));
        else
            g_string_append(out, "null");
    }
    g_string_append_c(out, '}');
}

gboolean row_from_json(RowKind kind, const json_t *object, gpointer ret_row, GError **error)
{
    memset(ret_row, 0, tables[kind].size);
    for (guint i = 0; i < tables[kind].n_columns; i++) {
        const Column *column = &tables[kind].columns[i];
        json_t *value = json_object_get(object, column->name);
        gboolean ok = column->type == 'i'   ? json_is_integer(value)
                      : column->type == 'd' ? !value || json_is_integer(value)
                      : column->type == 't' ? json_is_string(value)
                                            : !value || json_is_string(value) ||
                                                  json_is_null(value);
        if (!ok) {
            row_clear(kind, ret_row);
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT,
                        "a %s record of the journal has no sound '%s'", tables[kind].name,
                        column->name);
            return FALSE;
        }
        if (!is_text(column))
            *int_at(ret_row, column) = json_integer_value(value);
        else
            *text_at(ret_row, column) = g_strdup(json_string_value(value));
    }
    return TRUE;
}
