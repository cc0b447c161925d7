/* pools.c: pools of desktops: from the words of a request to rows; the keeper does the rest. */
#include "broker/pool/pools.h"

#include <string.h>

#include "broker/desktop.h"
#include "broker/pool/change.h"
#include "imaged/base/error.h"
#include "imaged/ops/args.h"
#include "imaged/ops/lease_args.h"
#include "imaged/ops/pool_ops.h"

#define DISCONNECT_S     7200
#define MAX_DISCONNECT_S (366 * 86400)

/* ---- What was asked for ---- */

static gboolean parse_limits(OpsCall *call, PoolRow *row, GError **error)
{
    json_t *disconnect = json_object_get(call->args, "disconnect_limit_s");

    if (disconnect && json_is_null(disconnect))
        row->disconnect_limit_s = POOL_NEVER;
    else if (!args_int(call, "disconnect_limit_s", row->disconnect_limit_s, 0, MAX_DISCONNECT_S,
                       &row->disconnect_limit_s, error))
        return FALSE;
    return args_int(call, "size", row->size, 0, DESKTOP_MAX_BATCH, &row->size, error) &&
           args_int(call, "spares", row->spares, 0, DESKTOP_MAX_BATCH, &row->spares, error) &&
           args_int(call, "max_per_user", row->max_per_user, 1, 1000, &row->max_per_user, error);
}

/* The settings and limits of the call, laid over what row has. */
static gboolean parse_terms(OpsCall *call, PoolRow *row, GError **error)
{
    json_auto_t *settings = json_loads(row->settings, 0, NULL);
    g_auto(LeaseTerms) terms = { 0 };
    gint64 until;

    if (!args_are_texts(call, "until", error) || !parse_limits(call, row, error) ||
        !lease_args_until(call, &until, error))
        return FALSE;
    if (until)
        json_object_set_new(settings, "until_ms", json_integer(until));
    else if (json_is_null(json_object_get(call->args, "until")))
        json_object_del(settings, "until_ms");
    if (!lease_args_take(call, settings, &terms, error))
        return FALSE;
    if (g_str_equal(row->type, POOL_TIME_BASED) && !terms.duration_s && !terms.until_ms &&
        !terms.weekly) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "a time-based pool needs a lease, a date or hours");
        imaged_error_hint(error, "as in: --lease 8h, --until 2027-01-31, --hours 'mon-fri"
                                 " 08:00-17:00' --zone Europe/Berlin");
        return FALSE;
    }
    if (!g_str_equal(row->type, POOL_TIME_BASED) &&
        (terms.duration_s || terms.until_ms || terms.weekly)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "a lease, a date and hours are for time-based pools, and this one is %s",
                    row->type);
        imaged_error_hint(error, "make it with: --type time-based");
        return FALSE;
    }
    char *text = json_dumps(settings, JSON_COMPACT | JSON_SORT_KEYS);
    g_free(row->settings);
    row->settings = g_strdup(text);
    free(text);
    return TRUE;
}

/* "T" and "T:latest" follow the newest published version, "T:3" is pinned. */
static gboolean parse_template(OpsCall *call, PoolRow *row, gboolean needed, GError **error)
{
    const char *ref = args_text(call, "template", needed, error);
    g_auto(VersionRow) version = { 0 };
    g_autofree char *name = NULL;

    if (!ref)
        return !needed && (!error || !*error);
    gboolean follows = !strchr(ref, ':') || g_str_has_suffix(ref, ":latest");
    name = g_strndup(ref, strcspn(ref, ":"));
    Db *db = catalog_read_begin(call->world->catalog);
    gboolean ok = lookup_version(db, follows ? name : ref, TRUE, &version, error);
    catalog_read_end(call->world->catalog, db);
    if (!ok)
        return FALSE;
    if (!g_str_equal(version.state, "published")) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "'%s' is %s, not published", ref,
                    version.state);
        imaged_error_hint(error, "publish it first: imagectl template publish %s", ref);
        return FALSE;
    }
    if (row->template_id && !g_str_equal(row->template_id, version.template_id)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "a pool stays with its template; only the version can be another");
        return FALSE;
    }
    g_free(row->template_id);
    g_free(row->version_id);
    row->template_id = g_strdup(version.template_id);
    row->version_id = follows ? NULL : g_strdup(version.id);
    return TRUE;
}

#define TERM_ARGS " template size spares max_per_user disconnect_limit_s until" LEASE_ARGS

/* ---- Changing ---- */

static gboolean parse_type(OpsCall *call, PoolRow *row, GError **error)
{
    static const char *const types[] = { POOL_AUTOMATIC, POOL_MANUAL, POOL_TIME_BASED, NULL };
    const char *type = args_text(call, "type", FALSE, error);

    if (!type && error && *error)
        return FALSE;
    row->type = g_strdup(type ? type : POOL_AUTOMATIC);
    if (g_strv_contains(types, row->type))
        return TRUE;
    g_autofree char *shown = text_for_message(type, 40);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                "a pool is automatic, manual or time-based, not '%s'", shown);
    return FALSE;
}

json_t *ops_pool_create(OpsCall *call, GError **error)
{
    g_auto(PoolRow) row = { .disconnect_limit_s = DISCONNECT_S, .max_per_user = 1 };
    const char *name = args_text(call, "name", TRUE, error), *store;

    if (!name || !args_check(call, "name type store" TERM_ARGS, error) ||
        !name_check("pool", name, error) || !parse_type(call, &row, error) ||
        !parse_template(call, &row, TRUE, error) || !args_are_texts(call, "store", error))
        return NULL;
    if ((store = args_text(call, "store", FALSE, NULL))) {
        g_autofree char *id = store_set_find(call->world->stores, store, error);
        if (!id)
            return NULL;
    }
    row.name = g_strdup(name);
    json_auto_t *settings = store ? json_pack("{s:s}", "store", store) : json_object();
    char *text = json_dumps(settings, JSON_COMPACT);
    row.settings = g_strdup(text);
    free(text);
    if (!parse_terms(call, &row, error) || !pool_create(call->world, &row, call->who, error))
        return NULL;
    return pool_object(call->world, name, error);
}

static gboolean load(OpsCall *call, PoolRow *row, GError **error)
{
    const char *name = args_text(call, "pool", TRUE, error);

    if (!name)
        return FALSE;
    Db *db = catalog_read_begin(call->world->catalog);
    gboolean ok = pool_find(db, name, row, error);
    catalog_read_end(call->world->catalog, db);
    if (ok && row->is_deleting) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY, "the pool '%s' is being deleted",
                    row->name);
        ok = FALSE;
    }
    return ok;
}

json_t *ops_pool_set(OpsCall *call, GError **error)
{
    g_auto(PoolRow) row = { 0 };

    if (!args_check(call, "pool" TERM_ARGS, error) || !load(call, &row, error) ||
        !parse_template(call, &row, FALSE, error) || !parse_terms(call, &row, error) ||
        !pool_update(call->world, &row, FALSE, call->who, error))
        return NULL;
    return pool_object(call->world, row.name, error);
}

json_t *ops_pool_resize(OpsCall *call, GError **error)
{
    g_auto(PoolRow) row = { 0 };
    gint64 size;

    if (!args_check(call, "pool size", error) || !load(call, &row, error) ||
        !args_int(call, "size", -1, 0, DESKTOP_MAX_BATCH, &size, error))
        return NULL;
    if (size < 0) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "'size' is missing");
        return NULL;
    }
    row.size = size;
    if (!pool_update(call->world, &row, TRUE, call->who, error))
        return NULL;
    return pool_object(call->world, row.name, error);
}

json_t *ops_pool_delete(OpsCall *call, GError **error)
{
    g_auto(PoolRow) row = { 0 };
    gboolean force;

    if (!args_check(call, "pool force", error) || !args_bool(call, "force", &force, error) ||
        !load(call, &row, error))
        return NULL;
    json_t *out = pool_object(call->world, row.name, error);
    if (out && !pool_delete(call->world, &row, force, call->who, error))
        g_clear_pointer(&out, json_decref);
    if (out)
        json_object_set_new(out, "deleting", json_true());
    return out;
}

static json_t *change_grants(OpsCall *call, gboolean is_grant, GError **error)
{
    g_auto(PoolRow) row = { 0 };
    json_t *users = NULL, *groups = NULL;

    if (!args_check(call, "pool users groups", error) ||
        !args_texts(call, "users", &users, error) || !args_texts(call, "groups", &groups, error) ||
        !load(call, &row, error) ||
        !(is_grant ? pool_grant(call->world, &row, users, groups, call->who, error)
                   : pool_revoke(call->world, &row, users, groups, call->who, error)))
        return NULL;
    return pool_object(call->world, row.name, error);
}

json_t *ops_pool_grant(OpsCall *call, GError **error)
{
    return change_grants(call, TRUE, error);
}

json_t *ops_pool_revoke(OpsCall *call, GError **error)
{
    return change_grants(call, FALSE, error);
}

json_t *ops_pool_return(OpsCall *call, GError **error)
{
    g_auto(PoolRow) row = { 0 };
    json_t *desktops = NULL, *users = NULL;
    gboolean all;
    guint n = 0;

    if (!args_check(call, "pool desktops users all", error) ||
        !args_texts(call, "desktops", &desktops, error) ||
        !args_texts(call, "users", &users, error) || !args_bool(call, "all", &all, error) ||
        !load(call, &row, error))
        return NULL;
    if ((json_array_size(desktops) + json_array_size(users) > 0) == (all != FALSE)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "name desktops or users, or all of them: one of the two");
        return NULL;
    }
    if (!pool_return(call->world, &row, desktops, users, all, call->who, &n, error))
        return NULL;
    json_t *out = pool_object(call->world, row.name, error);
    if (out)
        json_object_set_new(out, "n_returned", json_integer(n));
    return out;
}
