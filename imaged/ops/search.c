/* search.c: searching as operations; the language is broker/search's. */
#include "imaged/ops/search.h"

#include "broker/search/saved.h"
#include "broker/search/search.h"
#include "imaged/base/error.h"
#include "imaged/ops/args.h"
#include "imaged/ops/submit.h"

const Caller *search_caller(const OpsCall *call)
{
    return call->caller;
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

    if (!args_check(call, "search object fields limit", error) ||
        !args_are_texts(call, "fields", error) || !take_object(call, &request.object, error) ||
        !args_int(call, "limit", 0, 1, 100000, &request.default_limit, error))
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
    return text ? search_complete(call->world, search_caller(call), text, (gssize)cursor, object)
                : NULL;
}

/* The searches are one's own things, so that their events are not worth a failure. */
static json_t *tell(const OpsCall *call, const char *kind, const char *name, json_t *out)
{
    Changes *changes = changes_new();

    changes_event(changes, kind, "info", name, call->who, "the saved search");
    catalog_commit(call->world->catalog, changes, NULL);
    return out;
}

json_t *ops_search_save(OpsCall *call, GError **error)
{
    SavedSearch saved = { 0 };

    if (!args_check(call, "name search replace shared", error) ||
        !args_bool(call, "replace", &saved.replace, error) ||
        !args_bool(call, "shared", &saved.is_shared, error))
        return NULL;
    saved.name = args_text(call, "name", TRUE, error);
    saved.text = saved.name ? args_text(call, "search", TRUE, error) : NULL;
    json_t *out = saved.text ? saved_save(call->world, search_caller(call), &saved, error) : NULL;
    return out ? tell(call, "search.save", saved.name, out) : NULL;
}

json_t *ops_search_saved(OpsCall *call, GError **error)
{
    return args_check(call, "", error) ? saved_list(call->world, search_caller(call), error) : NULL;
}

json_t *ops_search_delete(OpsCall *call, GError **error)
{
    const char *name = args_text(call, "name", TRUE, error);
    json_t *out = name && args_check(call, "name", error)
                      ? saved_delete(call->world, search_caller(call), name, error)
                      : NULL;

    return out ? tell(call, "search.delete", name, out) : NULL;
}

#define MAX_NAMES 20000 /* args_texts() */

static gboolean check_one_way(const OpsCall *call, GError **error)
{
    static const char *const others[] = { "names", "prefix", "all" };

    for (guint i = 0; i < G_N_ELEMENTS(others); i++) {
        if (!json_object_get(call->args, others[i]))
            continue;
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "'search' and '%s' do not go together", others[i]);
        return FALSE;
    }
    return TRUE;
}

/* A variable of a script that is not set must not mean all there is. */
static gboolean check_says_something(const char *text, GError **error)
{
    if (text[strspn(text, " \t\r\n")])
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "the search is empty");
    imaged_error_hint(error, "all of them are found by: --search 'name = *'");
    return FALSE;
}

/* Of each row that was found its name, or where there is none its id. */
static json_t *names_of(const json_t *found)
{
    json_t *names = json_array();
    size_t i;
    json_t *row;

    json_array_foreach (json_object_get(found, "rows"), i, row) {
        json_t *name = json_object_get(row, "name");
        json_array_append(names, json_is_string(name) ? name : json_object_get(row, "id"));
    }
    return names;
}

gboolean search_select(OpsCall *call, GError **error)
{
    const char *text = args_text(call, "search", FALSE, error);
    SearchRequest request = { .text = text, .caller = search_caller(call), .fields = "id,name" };

    if (!text)
        return !(error && *error);
    if (!check_one_way(call, error) || !check_says_something(text, error))
        return FALSE;
    if (submit_is_repeat(call, error)) {
        g_clear_pointer(&call->job_id, g_free);
        json_object_del(call->args, "search");
        json_object_set_new(call->args, "names", json_array());
        return TRUE;
    }
    request.default_limit = MAX_NAMES + 1;
    json_t *found = search_run(call->world, &request, error);
    json_t *names = found ? names_of(found) : NULL;
    size_t n = json_array_size(names);
    if (found && !json_object_get(found, "rows"))
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "COUNT selects nothing");
    else if (json_object_get(found, "group"))
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "GROUP BY selects nothing");
    else if (n > MAX_NAMES)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "the search finds more than %d; add a condition or a LIMIT", MAX_NAMES);
    else if (found && !n)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "the search finds nothing");
    json_decref(found);
    if (*error) {
        json_decref(names);
        return FALSE;
    }
    json_object_del(call->args, "search");
    json_object_set_new(call->args, "names", names);
    return TRUE;
}
