/* search.c: searching as operations; the language is broker/search's. */
#include "imaged/ops/search.h"

#include "broker/search/saved.h"
#include "broker/search/search.h"
#include "imaged/base/error.h"
#include "imaged/catalog/lookup.h"
#include "imaged/ops/args.h"

const Caller *search_caller(const OpsCall *call)
{
    static const Caller admin = { .name = "root", .address = "unix", .is_admin = TRUE };

    (void)call;
    return &admin; /* so far only admins get in: by the unix socket */
}

/* What is searched: "object" says what, if the text does not. */
static gboolean take_object(OpsCall *call, const char **ret, GError **error)
{
    GError *local = NULL;

    *ret = args_text(call, "object", FALSE, &local);
    if (!local && *ret && !search_has_object(*ret))
        g_set_error(&local, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "'object' is nothing that can be searched");
    if (!local)
        return TRUE;
    g_propagate_error(error, local);
    return FALSE;
}

json_t *ops_search(OpsCall *call, GError **error)
{
    SearchRequest request = { .caller = search_caller(call) };

    if (!args_check(call, "search object fields", error) ||
        !args_are_texts(call, "fields", error) || !take_object(call, &request.object, error))
        return NULL;
    request.text = args_text(call, "search", TRUE, error);
    request.fields = args_text(call, "fields", FALSE, NULL);
    return request.text ? search_run(call->world, &request, error) : NULL;
}

json_t *ops_search_complete(OpsCall *call, GError **error)
{
    const char *object;
    gint64 cursor;

    if (!args_check(call, "search object cursor", error) || !take_object(call, &object, error) ||
        !args_int(call, "cursor", -1, -1, G_MAXINT32, &cursor, error))
        return NULL;
    const char *text = args_text(call, "search", TRUE, error);
    return text ? search_complete(text, (gssize)cursor, object) : NULL;
}

json_t *ops_search_save(OpsCall *call, GError **error)
{
    gboolean replace;

    if (!args_check(call, "name search replace", error) ||
        !args_bool(call, "replace", &replace, error))
        return NULL;
    const char *name = args_text(call, "name", TRUE, error);
    const char *text = name ? args_text(call, "search", TRUE, error) : NULL;
    return text ? saved_save(call->world, search_caller(call), name, text, replace, error) : NULL;
}

json_t *ops_search_saved(OpsCall *call, GError **error)
{
    return args_check(call, "", error) ? saved_list(call->world, search_caller(call), error) : NULL;
}

json_t *ops_search_delete(OpsCall *call, GError **error)
{
    const char *name = args_text(call, "name", TRUE, error);

    return name && args_check(call, "name", error)
               ? saved_delete(call->world, search_caller(call), name, error)
               : NULL;
}

json_t *search_desktop_names(OpsCall *call, const char *text, GError **error)
{
    const SearchRequest request = {
        .text = text, .object = "desktops", .is_fixed = TRUE, .caller = search_caller(call)
    };
    gboolean is_sorted;
    g_autoptr(GPtrArray) ids = search_ids(call->world, &request, &is_sorted, error);
    json_t *names = json_array();

    if (!ids) {
        json_decref(names);
        return NULL;
    }
    Db *db = catalog_read_begin(call->world->catalog);
    for (guint i = 0; i < ids->len; i++) {
        g_auto(DesktopRow) row = { 0 };
        if (lookup_desktop_by_id(db, ids->pdata[i], &row, NULL))
            json_array_append_new(names, json_string(row.name));
    }
    catalog_read_end(call->world->catalog, db);
    return names;
}
