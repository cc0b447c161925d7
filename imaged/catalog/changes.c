/* changes.c: see changes.h. */
#include "imaged/catalog/changes.h"

#include <string.h>

#include "imaged/base/units.h"

typedef struct {
    enum { FACT_PUT, FACT_DELETE, LOCAL, REQUIRED } what;
    RowKind kind;
    gpointer row;    /* FACT_PUT */
    char *id;        /* FACT_DELETE */
    char *store_id;
    struct Local *local; /* LOCAL */
    ChangesTest test;    /* REQUIRED, with its data */
    gpointer data;
    GDestroyNotify data_free;
} Change;

#define MAX_VALUES 20

typedef struct Local {
    const char *sql;
    char *types;
    gint64 ints[MAX_VALUES];
    char *texts[MAX_VALUES];
} Local;

struct Changes {
    GArray *list; /* of Change */
    gboolean has_events;
};

static void clear_change(gpointer data)
{
    Change *c = data;

    if (c->row)
        row_free(c->kind, c->row);
    if (c->local) {
        for (guint i = 0; i < MAX_VALUES; i++)
            g_free(c->local->texts[i]);
        g_free(c->local->types);
        g_free(c->local);
    }
    if (c->data_free)
        c->data_free(c->data);
    g_free(c->id);
    g_free(c->store_id);
}

Changes *changes_new(void)
{
    Changes *changes = g_new0(Changes, 1);

    changes->list = g_array_new(FALSE, TRUE, sizeof(Change));
    g_array_set_clear_func(changes->list, clear_change);
    return changes;
}

void changes_free(Changes *changes)
{
    if (!changes)
        return;
    g_array_unref(changes->list);
    g_free(changes);
}

void changes_put(Changes *changes, RowKind kind, gconstpointer row, const char *store_id)
{
    Change c = { .what = FACT_PUT, .kind = kind, .row = row_copy(kind, row),
                 .store_id = g_strdup(store_id) };

    g_array_append_val(changes->list, c);
}

void changes_delete(Changes *changes, RowKind kind, const char *id, const char *store_id)
{
    Change c = { .what = FACT_DELETE, .kind = kind, .id = g_strdup(id),
                 .store_id = g_strdup(store_id) };

    g_array_append_val(changes->list, c);
}

void changes_sql(Changes *changes, const char *sql, const char *types, ...)
{
    Change c = { .what = LOCAL, .local = g_new0(Local, 1) };
    va_list args;

    c.local->sql = sql;
    c.local->types = g_strdup(types);
    va_start(args, types);
    for (guint i = 0; types[i]; i++) {
        g_assert(i < MAX_VALUES);
        if (types[i] == 't')
            c.local->texts[i] = g_strdup(va_arg(args, const char *));
        else if (types[i] == 'i')
            c.local->ints[i] = va_arg(args, gint64);
    }
    va_end(args);
    g_array_append_val(changes->list, c);
}

void changes_require(Changes *changes, ChangesTest test, gpointer data, GDestroyNotify data_free)
{
    Change c = { .what = REQUIRED, .test = test, .data = data, .data_free = data_free };

    g_array_append_val(changes->list, c);
}

void changes_event(Changes *changes, const char *kind, const char *severity, const char *object,
                   const char *who, const char *format, ...)
{
    /* "NAME from ADDRESS": the address has no blanks, so the last one of these counts. */
    const char *from = who ? g_strrstr(who, " from ") : NULL;
    g_autofree char *name = from ? g_strndup(who, (gsize)(from - who)) : g_strdup(who);
    va_list args;

    va_start(args, format);
    g_autofree char *message = g_strdup_vprintf(format, args);
    va_end(args);
    changes->has_events = TRUE;
    changes_sql(changes,
                "INSERT INTO event (time, kind, severity, object, who, address, message)"
                " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                "itttttt", units_now_ms(), kind, severity, object ? object : "",
                name ? name : "imaged", from ? from + strlen(" from ") : NULL, message);
}

static gboolean is_fact(const Change *c)
{
    return c->what == FACT_PUT || c->what == FACT_DELETE;
}

static gboolean apply_local(const Local *c, Db *db, GError **error)
{
    Query *q = db_query(db, c->sql, "");
    sqlite3_stmt *stmt = query_stmt(q);

    for (guint i = 0; stmt && c->types[i]; i++) {
        if (c->types[i] == 'i')
            sqlite3_bind_int64(stmt, (int)i + 1, c->ints[i]);
        else
            sqlite3_bind_text(stmt, (int)i + 1, c->texts[i], -1, SQLITE_STATIC);
    }
    while (query_next(q))
        ;
    return query_end(q, error);
}

gboolean changes_apply(const Changes *changes, Db *db, GError **error)
{
    for (guint i = 0; i < changes->list->len; i++) {
        const Change *c = &g_array_index(changes->list, Change, i);
        gboolean ok = c->what == FACT_PUT      ? row_put(db, c->kind, c->row, error)
                      : c->what == FACT_DELETE ? row_delete(db, c->kind, c->id, error)
                      : c->what == REQUIRED    ? c->test(db, c->data, error)
                                               : apply_local(c->local, db, error);
        if (!ok)
            return FALSE;
    }
    return TRUE;
}

void changes_to_json(const Changes *changes, const char *store_id, GString *put, GString *del)
{
    for (guint i = 0; i < changes->list->len; i++) {
        const Change *c = &g_array_index(changes->list, Change, i);
        if (!is_fact(c) || !g_str_equal(c->store_id, store_id))
            continue;
        GString *out = c->what == FACT_PUT ? put : del;
        g_string_append(out, out->len ? ",\n[\"" : "[\"");
        g_string_append(out, row_kind_name(c->kind));
        g_string_append(out, "\",");
        if (c->what == FACT_PUT)
            row_to_json(c->kind, c->row, out);
        else
            g_string_append_printf(out, "\"%s\"", c->id);
        g_string_append_c(out, ']');
    }
}

void changes_add_stores(const Changes *changes, GPtrArray *store_ids)
{
    for (guint i = 0; i < changes->list->len; i++) {
        const Change *c = &g_array_index(changes->list, Change, i);
        if (is_fact(c) &&
            !g_ptr_array_find_with_equal_func(store_ids, c->store_id, g_str_equal, NULL))
            g_ptr_array_add(store_ids, g_strdup(c->store_id));
    }
}

gboolean changes_touch_store(const Changes *changes, const char *store_id)
{
    for (guint i = 0; i < changes->list->len; i++) {
        const Change *c = &g_array_index(changes->list, Change, i);
        if (is_fact(c) && g_str_equal(c->store_id, store_id))
            return TRUE;
    }
    return FALSE;
}

gboolean changes_touch_many(const Changes *changes)
{
    const char *first = NULL;

    for (guint i = 0; i < changes->list->len; i++) {
        const Change *c = &g_array_index(changes->list, Change, i);
        if (!is_fact(c))
            continue;
        if (first && !g_str_equal(first, c->store_id))
            return TRUE;
        first = c->store_id;
    }
    return FALSE;
}

guint changes_count(const Changes *changes)
{
    return changes->list->len;
}

gboolean changes_has_events(const Changes *changes)
{
    return changes->has_events;
}
