/* access.c: see access.h. */
#include "imaged/ops/access.h"

#include "imaged/base/error.h"
#include "imaged/catalog/lookup.h"
#include "imaged/ops/args.h"

gboolean access_arg_user(OpsCall *call, const char *key, UserRow *ret, GError **error)
{
    const char *name = args_text(call, key, TRUE, error);

    if (!name)
        return FALSE;
    Db *db = catalog_read_begin(call->world->catalog);
    gboolean ok = user_lookup(db, name, ret, error);
    catalog_read_end(call->world->catalog, db);
    return ok;
}

gboolean access_arg_group(OpsCall *call, const char *key, GroupRow *ret, GError **error)
{
    const char *name = args_text(call, key, TRUE, error);

    if (!name)
        return FALSE;
    Db *db = catalog_read_begin(call->world->catalog);
    gboolean ok = group_lookup(db, name, ret, error);
    catalog_read_end(call->world->catalog, db);
    return ok;
}

gboolean access_may_change(OpsCall *call, const char *subject_id, GError **error)
{
    PermissionSet set = { { 0 } };
    Db *db = catalog_read_begin(call->world->catalog);
    gboolean ok = roles_of_subject(db, subject_id, &set, error);

    catalog_read_end(call->world->catalog, db);
    return ok && roles_check_rank(call->caller, &set, error);
}

gboolean access_quota_args(OpsCall *call, Quota *ret, GError **error)
{
    for (guint i = 0; i < QUOTA_N; i++) {
        const char *key = quota_key((QuotaKind)i);
        const json_t *value = json_object_get(call->args, key);
        ret->limit[i] = QUOTA_KEEP;
        if (g_strcmp0(json_string_value(value), "none") == 0)
            ret->limit[i] = QUOTA_NONE;
        else if (!args_int(call, key, QUOTA_KEEP, 0, G_MAXINT64, &ret->limit[i], error))
            return FALSE;
    }
    return TRUE;
}

static gboolean find_scope(Db *db, ScopeKind kind, const char *name, char **ret_id, GError **error)
{
    g_auto(TemplateRow) template = { 0 };
    g_auto(DesktopRow) desktop = { 0 };
    Query *q;

    switch (kind) {
    case SCOPE_TEMPLATE:
        if (lookup_template(db, name, &template, error))
            *ret_id = g_strdup(template.id);
        return *ret_id != NULL;
    case SCOPE_DESKTOP:
        if (lookup_desktop(db, name, &desktop, error))
            *ret_id = g_strdup(desktop.id);
        return *ret_id != NULL;
    default:
        q = db_query(db, "SELECT id FROM pool WHERE name = ?1", "t", name);
        if (query_next(q))
            *ret_id = g_strdup(query_text(q, "id"));
        if (!query_end(q, error))
            return FALSE;
        if (!*ret_id) {
            g_autofree char *shown = text_for_message(name, 80);
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "there is no pool '%s'",
                        shown);
        }
        return *ret_id != NULL;
    }
}

json_t *access_add_usage(World *world, const char *subject_id, json_t *out)
{
    Db *db = catalog_read_begin(world->catalog);

    for (guint i = 0; out && i < QUOTA_N; i++) {
        g_autofree char *key = g_strdup_printf("used_%s", quota_key(i) + strlen("max_"));
        json_object_set_new(out, key, json_integer(quota_used(world, db, subject_id, i)));
    }
    catalog_read_end(world->catalog, db);
    return out;
}

gboolean access_arg_scope(OpsCall *call, ScopeKind *ret_kind, char **ret_id, char **ret_name,
                          GError **error)
{
    const char *name = NULL;
    guint n = 0;

    *ret_kind = SCOPE_ALL;
    if (!args_are_texts(call, "template pool desktop", error))
        return FALSE;
    for (ScopeKind kind = SCOPE_TEMPLATE; kind <= SCOPE_DESKTOP; kind++) {
        const char *text = args_text(call, scope_kind_name(kind), FALSE, NULL);
        if (!text)
            continue;
        n++;
        name = text;
        *ret_kind = kind;
    }
    if (n > 1) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "a scope is one template, one pool or one desktop");
        return FALSE;
    }
    if (!name)
        return TRUE;
    *ret_name = g_strdup(name);
    Db *db = catalog_read_begin(call->world->catalog);
    gboolean ok = find_scope(db, *ret_kind, name, ret_id, error);
    catalog_read_end(call->world->catalog, db);
    return ok;
}
