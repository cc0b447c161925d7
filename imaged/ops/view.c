/* view.c: see view.h. */
#include "imaged/ops/view.h"

#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/units.h"
#include "broker/search/search.h"
#include "imaged/ops/args.h"
#include "imaged/ops/search.h"

static json_t *lines_of(const char *text)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    json_t *out = json_array();

    for (guint i = 0; lines[i]; i++) {
        if (*lines[i])
            json_array_append_new(out, json_string(lines[i]));
    }
    return out;
}

static json_t *value_of(sqlite3_stmt *stmt, int i, const char *hint)
{
    const char *text = (const char *)sqlite3_column_text(stmt, i);

    if (!text)
        return json_null();
    if (hint && g_str_equal(hint, "__lines"))
        return lines_of(text);
    if (sqlite3_column_type(stmt, i) != SQLITE_INTEGER)
        return json_string(text);
    gint64 number = sqlite3_column_int64(stmt, i);
    if (hint && g_str_equal(hint, "__bool"))
        return json_boolean(number);
    if (hint && g_str_equal(hint, "__time")) {
        g_autofree char *time = units_format_time(number);
        return json_string(time);
    }
    return json_integer(number);
}

json_t *view_object(Query *query)
{
    sqlite3_stmt *stmt = query_stmt(query);
    json_t *out = json_object();

    for (int i = 0; i < sqlite3_column_count(stmt); i++) {
        const char *name = sqlite3_column_name(stmt, i), *hint = strstr(name, "__");
        g_autofree char *key = hint ? g_strndup(name, (gsize)(hint - name)) : g_strdup(name);
        json_object_set_new(out, key, value_of(stmt, i, hint));
    }
    return out;
}

/* Does every word appear in some text field of object? */
static gboolean matches(json_t *object, char **words)
{
    for (guint i = 0; words && words[i]; i++) {
        const char *key;
        json_t *value;
        gboolean found = !*words[i];
        json_object_foreach(object, key, value) {
            g_autofree char *folded = json_is_string(value)
                                          ? g_utf8_casefold(json_string_value(value), -1)
                                          : NULL;
            found |= folded && strstr(folded, words[i]);
        }
        if (!found)
            return FALSE;
    }
    return TRUE;
}

json_t *view_array(Query *query, const char *search, gint64 limit, GError **error)
{
    g_autofree char *folded = search ? g_utf8_casefold(search, -1) : NULL;
    g_auto(GStrv) words = folded ? g_strsplit(folded, " ", 32) : NULL;
    json_t *out = json_array();

    while ((gint64)json_array_size(out) < limit && query_next(query)) {
        json_t *object = view_object(query);
        if (matches(object, words))
            json_array_append_new(out, object);
        else
            json_decref(object);
    }
    if (query_end(query, error))
        return out;
    json_decref(out);
    return NULL;
}

/* A condition would be taken for words that nothing has, and the empty list for an answer. */
static void check_search(const char *search, GError **error)
{
    g_auto(GStrv) words = search ? g_strsplit(search, " ", 32) : NULL;

    if (!words || !g_strv_contains((const char *const *)words, "="))
        return;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                "a search is for words that appear in any field, not for conditions with '='");
    imaged_error_hint(error, "imagectl search has conditions");
}

gboolean view_page(OpsCall *call, ViewPage *ret, GError **error)
{
    GError *local = NULL;

    *ret = (ViewPage){ 0 };
    ret->search = args_text(call, "search", FALSE, &local);
    if (!local)
        check_search(ret->search, &local);
    if (!local)
        ret->after = args_text(call, "after", FALSE, &local);
    if (local) {
        g_propagate_error(error, local);
        return FALSE;
    }
    return args_int(call, "limit", 100000, 1, 100000, &ret->limit, error);
}

gboolean view_page_of(OpsCall *call, const char *object, ViewPage *ret, GError **error)
{
    const SearchRequest request = { .text = args_text(call, "search", FALSE, error),
                                    .object = object, .is_fixed = TRUE,
                                    .caller = search_caller(call) };

    *ret = (ViewPage){ 0 };
    if ((error && *error) || !args_are_texts(call, "after", error) ||
        !args_int(call, "limit", 100000, 1, 100000, &ret->limit, error))
        return FALSE;
    ret->after = args_text(call, "after", FALSE, NULL);
    if (!request.text || !*request.text)
        return TRUE;
    ret->found = search_ids(call->world, &request, &ret->is_sorted, error);
    if (ret->is_sorted) {
        ret->resume = ret->after;
        ret->after = NULL;
    }
    return ret->found != NULL;
}

char *view_found_ids(const ViewPage *page)
{
    GString *out = page->found ? g_string_new("[") : NULL;

    for (guint i = 0; out && i < page->found->len; i++)
        g_string_append_printf(out, "%s\"%s\"", i ? "," : "", (char *)page->found->pdata[i]);
    return out ? g_string_free(g_string_append_c(out, ']'), FALSE) : NULL;
}

/* The objects in the order in which they were found, behind the one to resume from. */
static json_t *in_order(const ViewPage *page, GHashTable *by_id)
{
    gboolean is_behind = !page->resume;
    json_t *out = json_array();

    for (guint i = 0; i < page->found->len && (gint64)json_array_size(out) < page->limit; i++) {
        json_t *object = g_hash_table_lookup(by_id, page->found->pdata[i]);
        const char *name = json_string_value(json_object_get(object, "name"));
        if (object && is_behind)
            json_array_append(out, object);
        is_behind |= object && (g_strcmp0(name, page->resume) == 0 ||
                                g_strcmp0(page->found->pdata[i], page->resume) == 0);
    }
    return out;
}

static void unref_json(gpointer json)
{
    json_decref(json);
}

json_t *view_found(Query *query, ViewPage *page, GError **error)
{
    if (!page->found)
        return view_array(query, page->search, page->limit, error);
    g_autoptr(GHashTable) wanted = g_hash_table_new(g_str_hash, g_str_equal);
    g_autoptr(GHashTable) by_id = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, unref_json);
    g_autoptr(GPtrArray) found = page->found;
    json_t *out = json_array();

    for (guint i = 0; i < found->len; i++)
        g_hash_table_add(wanted, found->pdata[i]);
    while (((gint64)json_array_size(out) < page->limit || page->is_sorted) && query_next(query)) {
        gpointer id = NULL;
        if (!g_hash_table_lookup_extended(wanted, query_text(query, "id"), &id, NULL))
            continue;
        if (page->is_sorted)
            g_hash_table_insert(by_id, id, view_object(query));
        else
            json_array_append_new(out, view_object(query));
    }
    gboolean ok = query_end(query, error);
    if (page->is_sorted) {
        json_decref(out);
        out = in_order(page, by_id);
    }
    page->found = NULL;
    if (!ok)
        g_clear_pointer(&out, json_decref);
    return out;
}
