/* search.c: the page's ids first, then the fields of each: so that what is only shown (chains,
 * counts) is reckoned for the rows of one page and no others.
 *
 * A search has a time limit, and searches alone never have all of the catalog's readers. */
#include "broker/search/search.h"

#include <string.h>

#include "broker/search/functions.h"
#include "broker/search/plan.h"
#include "broker/search/saved.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"

#define DEFAULT_LIMIT 100
#define TIME_LIMIT_US (5 * G_TIME_SPAN_SECOND)
#define WALK_STEPS 150000 /* of SQLite: some ms */

static Db *begin(World *world)
{
    Db *db = catalog_read_begin_long(world->catalog);

    functions_define(db, world);
    db_set_deadline(db, g_get_monotonic_time() + TIME_LIMIT_US, 0);
    return db;
}

static void end(World *world, Db *db)
{
    db_set_deadline(db, 0, 0);
    catalog_read_end_long(world->catalog, db);
}

static gboolean finish(Query *q, GError **error)
{
    GError *local = NULL;

    if (query_end(q, &local))
        return TRUE;
    if (g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_BUSY)) {
        g_clear_error(&local);
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY,
                    "the search takes longer than %d s and was given up",
                    (int)(TIME_LIMIT_US / G_TIME_SPAN_SECOND));
        imaged_error_hint(error, "add a condition that selects less");
        return FALSE;
    }
    g_propagate_error(error, local);
    return FALSE;
}

static Query *ask(Db *db, const Compiler *c)
{
    g_debug("search: %s", c->sql->str);
    return db_query_made(db, c->sql->str, (DbValue *)c->values->data, c->values->len);
}

static void append_page(const SearchPlan *plan, Compiler *c, gint64 limit)
{
    gint64 page = MAX(plan->tree->page, 1);

    g_string_append(c->sql, " LIMIT ");
    compile_integer(c, limit + 1); /* one more tells whether there are more */
    g_string_append(c->sql, " OFFSET ");
    compile_integer(c, (page - 1) * limit);
}

static GPtrArray *try_ids(const SearchPlan *plan, Db *db, gint64 limit, CompileMode mode,
                          GError **error)
{
    g_autoptr(GPtrArray) ids = g_ptr_array_new_with_free_func(g_free);
    g_auto(Compiler) c = { 0 };

    compiler_init(&c, plan->caller, plan->now);
    g_string_append(c.sql, "SELECT a0.id AS id");
    if (!plan_from(plan, &c, mode, error) || !plan_order(plan, &c, error))
        return NULL;
    append_page(plan, &c, limit);
    Query *q = ask(db, &c);
    while (query_next(q))
        g_ptr_array_add(ids, g_strdup(query_text(q, "id")));
    return finish(q, error) ? g_steal_pointer(&ids) : NULL;
}

/* Where nothing drives, and the rows of a page may soon be together, they are walked in their order
 * for a short while; what is not found by then is found by gathering sets. */
static GPtrArray *read_ids(SearchPlan *plan, Db *db, gint64 limit, GError **error)
{
    GError *local = NULL;

    if (!plan_drive(plan, db, error))
        return NULL;
    if (!plan_is_driven(plan) && !plan->tree->sorts->len && limit <= 1000) {
        db_set_deadline(db, g_get_monotonic_time() + TIME_LIMIT_US, WALK_STEPS);
        GPtrArray *ids = try_ids(plan, db, limit, MODE_ROW, &local);
        db_set_deadline(db, g_get_monotonic_time() + TIME_LIMIT_US, 0);
        if (ids || !g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_BUSY)) {
            if (local)
                g_propagate_error(error, local);
            return ids;
        }
        g_clear_error(&local);
    }
    return try_ids(plan, db, limit, MODE_SET, error);
}

static gint64 limit_of(const SearchPlan *plan, gint64 otherwise)
{
    return plan->tree->limit ? plan->tree->limit : otherwise;
}

GPtrArray *search_ids(World *world, const SearchRequest *request, gboolean *ret_is_sorted,
                      GError **error)
{
    g_auto(SearchPlan) plan = { 0 };
    GPtrArray *ids = NULL;
    Db *db = begin(world);

    if (!saved_prepare(db, request->text, request->object, request->is_fixed, request->caller,
                       units_now_ms(), &plan, error))
        goto out;
    *ret_is_sorted = plan.tree->sorts->len > 0;
    if (plan.tree->group.text || plan.tree->is_count) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "COUNT and GROUP BY make no list of %s", plan.object->name);
        imaged_error_hint(error, "imagectl search counts and groups");
        goto out;
    }
    gint64 limit = limit_of(&plan, SEARCH_MAX_LIMIT);
    ids = read_ids(&plan, db, limit, error);
    if (ids && ids->len > (guint)limit)
        g_ptr_array_set_size(ids, (gint)limit);
out:
    end(world, db);
    return ids;
}

static const char *const type_names[] = {
    [TYPE_NAME] = "text",     [TYPE_TEXT] = "text",    [TYPE_WORDS] = "list",
    [TYPE_NUMBER] = "number", [TYPE_SIZE] = "size",    [TYPE_PERCENT] = "percent",
    [TYPE_TIME] = "time",     [TYPE_AGE] = "duration", [TYPE_BOOL] = "bool",
};

typedef struct {
    char *key;
    SearchPath path;
    gboolean is_list;
    guint flags;
} Column;

static void clear_column(gpointer column)
{
    g_free(((Column *)column)->key);
}

static void add_column(GArray *columns, const char *name, const SearchPath *path, guint flags)
{
    Column column = { .path = *path, .flags = flags };

    column.key = path->field->type == TYPE_AGE ? g_strdup_printf("%s_ms", name) : g_strdup(name);
    column.is_list = path->n_links == 1 && path->links[0]->is_many;
    g_array_append_val(columns, column);
}

/* The object's own choice, of those with this flag. */
static void add_default_columns(GArray *columns, const SearchObject *o, guint flag)
{
    gboolean has_name = FALSE;

    for (const SearchField *f = o->fields; f->name; f++) {
        SearchPath path = { .objects = { o }, .field = f };
        has_name |= g_str_equal(f->name, "name");
        if ((f->flags & flag) || g_str_equal(f->name, "id"))
            add_column(columns, f->name, &path, f->flags);
    }
    for (const SearchLink *l = o->links; l->name; l++) {
        SearchPath path = { .links = { l }, .n_links = 1 };
        path.objects[0] = o;
        path.objects[1] = objects_find(l->object);
        path.field = objects_field(path.objects[1], path.objects[1]->main);
        if (l->flags & flag)
            add_column(columns, l->name, &path, l->flags);
    }
    if (!has_name) { /* every object of the API has a name */
        SearchPath path = { .objects = { o }, .field = objects_field(o, "name") };
        if (path.field)
            add_column(columns, "name", &path, FIELD_SHOW);
    }
}

static gboolean choose_columns(const SearchPlan *plan, const char *fields, GArray *columns,
                               GError **error)
{
    if (!fields || g_str_equal(fields, "table")) {
        add_default_columns(columns, plan->object, fields ? FIELD_TABLE : FIELD_SHOW);
        return TRUE;
    }
    g_auto(GStrv) names = g_strsplit(fields, ",", 64);
    for (guint i = 0; names[i]; i++) {
        const SearchWord word = { g_strstrip(names[i]), 1, FALSE };
        SearchPath path;
        if (!resolve_path(plan->object, &word, &path, error)) {
            g_prefix_error(error, "fields: ");
            return FALSE;
        }
        add_column(columns, word.text, &path, FIELD_SHOW | FIELD_TABLE);
    }
    return TRUE;
}

static json_t *words_json(const char *text)
{
    g_auto(GStrv) words = g_strsplit(text, " ", -1);
    json_t *out = json_array();

    for (guint i = 0; words[i]; i++)
        json_array_append_new(out, json_string(words[i]));
    return out;
}

static json_t *value_json(sqlite3_stmt *stmt, int i, const SearchField *field, gboolean is_list)
{
    const char *text = (const char *)sqlite3_column_text(stmt, i);

    if (!text)
        return json_null();
    if (is_list)
        return json_loads(text, JSON_DECODE_ANY, NULL);
    if (field->type == TYPE_WORDS)
        return words_json(text);
    if (g_str_equal(field->name, "id"))
        return json_string(text);
    if (field->type == TYPE_TIME) {
        g_autofree char *time = units_format_time(sqlite3_column_int64(stmt, i));
        return json_string(time);
    }
    if (field->type == TYPE_BOOL)
        return json_boolean(sqlite3_column_int(stmt, i));
    if (sqlite3_column_type(stmt, i) == SQLITE_INTEGER)
        return json_integer(sqlite3_column_int64(stmt, i));
    if (sqlite3_column_type(stmt, i) == SQLITE_FLOAT)
        return json_real(sqlite3_column_double(stmt, i));
    return json_string(text);
}

static json_t *columns_json(const GArray *columns)
{
    json_t *out = json_array();

    for (guint i = 0; i < columns->len; i++) {
        const Column *c = &g_array_index(columns, Column, i);
        json_array_append_new(out, json_pack("{s:s,s:s,s:b}", "name", c->key, "type",
                                             c->is_list ? "list" : type_names[c->path.field->type],
                                             "table", (c->flags & FIELD_TABLE) != 0));
    }
    return out;
}

/* One statement for all rows of the page, asked once for each id. */
static json_t *read_rows(const SearchPlan *plan, Db *db, const GPtrArray *ids,
                         const GArray *columns, GError **error)
{
    g_auto(Compiler) c = { 0 };
    json_t *rows = json_array();
    gboolean ok = TRUE;

    compiler_init(&c, plan->caller, plan->now);
    g_string_append(c.sql, "SELECT ");
    for (guint i = 0; i < columns->len; i++) {
        const Column *column = &g_array_index(columns, Column, i);
        g_string_append(c.sql, i ? ", " : "");
        if (column->is_list)
            compile_path_list(&c, &column->path, 0);
        else
            compile_path_value(&c, &column->path, 0);
    }
    g_string_append_printf(c.sql, " FROM json_each(?%u) j CROSS JOIN %s a0 ON a0.id = j.value",
                           c.values->len + 1, plan->object->table);
    GString *list = g_string_new("[");
    for (guint i = 0; i < ids->len; i++)
        g_string_append_printf(list, plan->object->text_index ? "%s%s" : "%s\"%s\"", i ? "," : "",
                               (const char *)ids->pdata[i]);
    g_string_append_c(list, ']');
    DbValue all = { .type = 't', .text = g_string_free(list, FALSE) };
    g_array_append_val(c.values, all);
    Query *q = ask(db, &c);
    while (query_next(q)) {
        json_t *row = json_object();
        for (guint i = 0; i < columns->len; i++) {
            const Column *column = &g_array_index(columns, Column, i);
            json_object_set_new(
                row, column->key,
                value_json(query_stmt(q), (int)i, column->path.field, column->is_list));
        }
        json_array_append_new(rows, row);
    }
    ok = finish(q, error);
    if (!ok)
        g_clear_pointer(&rows, json_decref);
    return rows;
}

static json_t *run_list(SearchPlan *plan, Db *db, const SearchRequest *request, GError **error)
{
    g_autoptr(GArray) columns = g_array_new(FALSE, TRUE, sizeof(Column));
    gint64 limit = limit_of(plan, request->default_limit ? request->default_limit : DEFAULT_LIMIT);

    g_array_set_clear_func(columns, clear_column);
    if (!choose_columns(plan, request->fields, columns, error))
        return NULL;
    g_autoptr(GPtrArray) ids = read_ids(plan, db, limit, error);
    if (!ids)
        return NULL;
    gboolean has_more = ids->len > (guint)limit;
    if (has_more)
        g_ptr_array_set_size(ids, (gint)limit);
    json_t *rows = read_rows(plan, db, ids, columns, error);
    return rows ? json_pack("{s:s,s:o,s:o,s:I,s:I,s:b}", "object", plan->object->name, "columns",
                            columns_json(columns), "rows", rows, "page",
                            (json_int_t)MAX(plan->tree->page, 1), "limit", (json_int_t)limit,
                            "has_more", has_more)
                : NULL;
}

static json_t *run_group(SearchPlan *plan, Db *db, GError **error)
{
    gint64 limit = limit_of(plan, DEFAULT_LIMIT);
    g_auto(Compiler) c = { 0 };
    json_t *rows = json_array();
    gboolean has_more = FALSE;
    SearchPath path;

    compiler_init(&c, plan->caller, plan->now);
    if (!plan_drive(plan, db, error) || !plan_group(plan, &c, error)) {
        json_decref(rows);
        return NULL;
    }
    resolve_path(plan->object, &plan->tree->group, &path, NULL);
    g_string_append(c.sql, " ORDER BY n DESC, value");
    append_page(plan, &c, limit);
    Query *q = ask(db, &c);
    while (query_next(q)) {
        const SearchField shown = { .name = "",
                                    .type = path.field->type == TYPE_TIME ||
                                                    path.field->type == TYPE_WORDS
                                                ? TYPE_NAME
                                                : path.field->type };
        has_more = json_array_size(rows) == (size_t)limit;
        if (!has_more)
            json_array_append_new(rows, json_pack("{s:o,s:I}", "value",
                                                  value_json(query_stmt(q), 0, &shown, FALSE),
                                                  "count", (json_int_t)query_int(q, "n")));
    }
    if (!finish(q, error)) {
        json_decref(rows);
        return NULL;
    }
    json_t *columns = json_pack("[{s:s,s:s,s:s,s:b},{s:s,s:s,s:b}]", "name", "value", "title",
                                plan->tree->group.text, "type",
                                path.field->type == TYPE_TIME || path.field->type == TYPE_WORDS
                                    ? "text"
                                    : type_names[path.field->type],
                                "table", 1, "name", "count", "type", "number", "table", 1);
    return json_pack("{s:s,s:s,s:o,s:o,s:I,s:I,s:b}", "object", plan->object->name, "group",
                     plan->tree->group.text, "columns", columns, "rows", rows, "page",
                     (json_int_t)MAX(plan->tree->page, 1), "limit", (json_int_t)limit, "has_more",
                     has_more);
}

static json_t *run_count(SearchPlan *plan, Db *db, GError **error)
{
    g_auto(Compiler) c = { 0 };
    gint64 n = 0;

    compiler_init(&c, plan->caller, plan->now);
    g_string_append(c.sql, "SELECT count(*) AS n");
    if (!plan_drive(plan, db, error) || !plan_from(plan, &c, MODE_SET, error))
        return NULL;
    Query *q = ask(db, &c);
    if (query_next(q))
        n = query_int(q, "n");
    return finish(q, error)
               ? json_pack("{s:s,s:I}", "object", plan->object->name, "count", (json_int_t)n)
               : NULL;
}

json_t *search_run(World *world, const SearchRequest *request, GError **error)
{
    g_auto(SearchPlan) plan = { 0 };
    json_t *out = NULL;
    Db *db = begin(world);

    if (saved_prepare(db, request->text, request->object, request->is_fixed, request->caller,
                      units_now_ms(), &plan, error))
        out = plan.tree->group.text ? run_group(&plan, db, error)
              : plan.tree->is_count ? run_count(&plan, db, error)
                                    : run_list(&plan, db, request, error);
    end(world, db);
    return out;
}

gboolean search_has_object(const char *name)
{
    return objects_find(name) != NULL;
}
