/* pools.c: pools of desktops: from the words of a request to rows; the keeper does the rest. */
#include "broker/pool/pools.h"

#include <string.h>

#include "broker/desktop.h"
#include "broker/pool/change.h"
#include "broker/pool/lease.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"
#include "imaged/ops/args.h"
#include "imaged/ops/pools.h"
#include "imaged/ops/view.h"

#define DISCONNECT_S 7200
#define MAX_DISCONNECT_S (366 * 86400)

#define IN_STATE(state)                                                                            \
    "(SELECT count(*) FROM pool_desktop m WHERE m.pool_id = p.id AND m.state = '" state "')"

#define POOL_COLUMNS                                                                               \
    "SELECT p.id, p.name, p.type, t.name AS template, v.version, w.version AS wanted_version,"     \
    " p.size, p.spares, p.max_per_user, p.disconnect_limit_s,"                                     \
    " (SELECT count(*) FROM pool_desktop m WHERE m.pool_id = p.id) AS n_desktops,"                 \
    " " IN_STATE("making") " AS n_making, " IN_STATE("free") " AS n_free, " IN_STATE(              \
        "given") " AS n_given, " IN_STATE("returning") " AS n_returning,"                          \
                                                       " (SELECT count(*) FROM pool_desktop m "    \
                                                       "JOIN run r ON r.desktop_id = "             \
                                                       "m.desktop_id WHERE"                        \
                                                       " m.pool_id = p.id AND m.state = 'free') "  \
                                                       "AS n_spares, p.is_deleting AS "            \
                                                       "deleting__bool,"                           \
                                                       " p.reason, p.settings, p.created_at AS "   \
                                                       "created_at__time, p.changed_at AS "        \
                                                       "changed_at__time"                          \
                                                       " FROM pool p LEFT JOIN template t ON "     \
                                                       "t.id = p.template_id LEFT JOIN version v " \
                                                       "ON v.id ="                                 \
                                                       " p.version_id LEFT JOIN version w ON "     \
                                                       "w.id = " POOL_WANTED_OF_P " WHERE "

/* ---- Showing ---- */

static json_t *time_or_null(gint64 ms)
{
    g_autofree char *text = ms ? units_format_time(ms) : NULL;

    return text ? json_string(text) : json_null();
}

/* The settings' members become the pool's own. */
static void spread_settings(json_t *pool)
{
    json_auto_t *settings =
        json_loads(json_string_value(json_object_get(pool, "settings")), 0, NULL);
    static const char *const keys[] = { "store", "hours", "zone", "archive_target" };
    g_auto(LeaseTerms) terms = { 0 };

    json_object_del(pool, "settings");
    if (!lease_terms_parse(settings, &terms, NULL))
        return;
    for (guint i = 0; i < G_N_ELEMENTS(keys); i++) {
        json_t *value = json_object_get(settings, keys[i]);
        json_object_set(pool, keys[i], value ? value : json_null());
    }
    json_t *holidays = json_object_get(settings, "holidays");
    json_object_set_new(pool, "holidays", holidays ? json_incref(holidays) : json_array());
    json_object_set_new(pool, "lease_s",
                        terms.duration_s ? json_integer(terms.duration_s) : json_null());
    json_object_set_new(pool, "until", time_or_null(terms.until_ms));
    json_object_set_new(pool, "warn_s", json_integer(terms.warn_s));
    json_object_set_new(pool, "grace_s", json_integer(terms.grace_s));
    json_object_set_new(pool, "end_action", json_string(lease_action_name(terms.action)));
    json_object_set_new(pool, "max_extensions", json_integer(terms.max_extensions));
    json_object_set_new(pool, "extension_s", json_integer(terms.extension_s));
}

static json_t *grants_of(Db *db, const char *pool_id)
{
    Query *q = db_query(db,
                        "SELECT g.subject_kind AS kind, coalesce(u.name, r.name) AS name,"
                        " g.created_at AS created_at__time FROM pool_grant g LEFT JOIN user u ON"
                        " u.id = g.subject_id LEFT JOIN user_group r ON r.id = g.subject_id WHERE"
                        " g.pool_id = ?1 ORDER BY 1, 2",
                        "t", pool_id);

    return view_array(q, NULL, 100000, NULL);
}

/* By its name alone: that is what the caller's right was looked up by. */
static gboolean lookup_named(Db *db, const char *name, PoolRow *ret, GError **error)
{
    if (!pool_lookup(db, name, ret, error))
        return FALSE;
    if (g_str_equal(ret->name, name))
        return TRUE;
    pool_row_clear(ret);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "there is no pool '%s'", name);
    return FALSE;
}

static json_t *pool_object(World *world, const char *name, GError **error)
{
    g_auto(PoolRow) row = { 0 };
    json_t *out = NULL;
    Db *db = catalog_read_begin(world->catalog);

    if (lookup_named(db, name, &row, error)) {
        Query *q = db_query(db, POOL_COLUMNS "p.id = ?1", "t", row.id);
        out = query_next(q) ? view_object(q) : NULL;
        if (!query_end(q, error))
            g_clear_pointer(&out, json_decref);
    }
    if (out) {
        spread_settings(out);
        json_object_set_new(out, "grants", grants_of(db, row.id));
    }
    catalog_read_end(world->catalog, db);
    return out;
}

json_t *ops_pool_list(OpsCall *call, GError **error)
{
    ViewPage page;
    size_t i;
    json_t *pool;

    if (!args_check(call, "search limit after", error) || !view_page(call, &page, error))
        return NULL;
    Db *db = catalog_read_begin(call->world->catalog);
    g_autofree char *visible = access_visible_ids(db, call->caller, "pool");
    json_t *out = view_array(
        db_query(db,
                 POOL_COLUMNS "p.name > coalesce(?1, '') AND (?2 IS NULL OR p.id IN (SELECT value"
                              " FROM json_each(?2))) ORDER BY p.name",
                 "tt", page.after, visible),
        page.search, page.limit, error);
    catalog_read_end(call->world->catalog, db);
    json_array_foreach (out, i, pool)
        spread_settings(pool);
    return out;
}

json_t *ops_pool_show(OpsCall *call, GError **error)
{
    const char *name = args_text(call, "pool", TRUE, error);

    if (!name || !args_check(call, "pool", error))
        return NULL;
    return pool_object(call->world, name, error);
}

json_t *ops_pool_desktops(OpsCall *call, GError **error)
{
    const char *name = args_text(call, "pool", TRUE, error);
    g_auto(PoolRow) row = { 0 };
    ViewPage page;
    json_t *out = NULL;

    if (!name || !args_check(call, "pool search limit after", error) ||
        !view_page(call, &page, error))
        return NULL;
    Db *db = catalog_read_begin(call->world->catalog);
    if (lookup_named(db, name, &row, error))
        out = view_array(
            db_query(db,
                     "SELECT d.id, d.name, m.state, u.name AS user, v.version, d.generation,"
                     " m.clean_generation, coalesce(r.state, 'off') AS run, m.given_at AS"
                     " given_at__time, m.lease_until AS lease_until__time, m.warned_at AS"
                     " warned_at__time, m.n_extensions, m.reason FROM pool_desktop m JOIN desktop d"
                     " ON d.id = m.desktop_id LEFT JOIN version v ON v.id = d.version_id LEFT JOIN"
                     " user u ON u.id = m.user_id LEFT JOIN run r ON r.desktop_id = d.id WHERE"
                     " m.pool_id = ?1 AND d.name > coalesce(?2, '') ORDER BY d.name",
                     "tt", row.id, page.after),
            page.search, page.limit, error);
    catalog_read_end(call->world->catalog, db);
    return out;
}

/* ---- What was asked for ---- */

/* Copy these arguments into the settings, null takes one away. */
static void put_settings(const OpsCall *call, json_t *settings)
{
    static const char *const keys[] = { "hours",      "zone",           "holidays",
                                        "lease_s",    "warn_s",         "grace_s",
                                        "end_action", "archive_target", "max_extensions",
                                        "extension_s" };

    for (guint i = 0; i < G_N_ELEMENTS(keys); i++) {
        json_t *value = json_object_get(call->args, keys[i]);
        if (json_is_null(value))
            json_object_del(settings, keys[i]);
        else if (value)
            json_object_set(settings, keys[i], value);
    }
}

gboolean pools_parse_until(OpsCall *call, gint64 *ret, GError **error)
{
    const char *text = args_text(call, "until", FALSE, NULL);

    *ret = 0;
    if (!text)
        return TRUE;
    /* a date alone: the end of that day, in UTC */
    g_autofree char *moment =
        strlen(text) == 10 ? g_strconcat(text, "T23:59:59Z", NULL) : g_strdup(text);
    g_autoptr(GTimeZone) utc = g_time_zone_new_utc();
    g_autoptr(GDateTime) time = g_date_time_new_from_iso8601(moment, utc);
    if (!time) {
        g_autofree char *shown = text_for_message(text, 40);
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "'%s' is no time", shown);
        imaged_error_hint(error, "a date, 2027-01-31, or a moment, 2027-01-31T17:00:00+01:00");
        return FALSE;
    }
    *ret = g_date_time_to_unix(time) * 1000;
    if (*ret > units_now_ms())
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "'%s' is over", text);
    return FALSE;
}

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

static gboolean check_terms(World *world, const PoolRow *row, const json_t *settings,
                            GError **error)
{
    g_auto(LeaseTerms) terms = { 0 };
    gboolean has = FALSE;

    if (!lease_terms_parse(settings, &terms, error))
        return FALSE;
    has = terms.duration_s || terms.until_ms || terms.weekly;
    if (g_str_equal(row->type, POOL_TIME_BASED) && !has) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "a time-based pool needs a lease, a date or hours");
        imaged_error_hint(error, "as in: --lease 8h, --until 2027-01-31, --hours 'mon-fri"
                                 " 08:00-17:00' --zone Europe/Berlin");
        return FALSE;
    }
    if (terms.action == LEASE_ARCHIVE) {
        Db *db = catalog_read_begin(world->catalog);
        gint64 known = lookup_int(db, "SELECT count(*) FROM archive_target WHERE name = ?1", "t",
                                  terms.target);
        catalog_read_end(world->catalog, db);
        if (!known)
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                        "to archive at the end, name an archive target that there is");
        return known != 0;
    }
    return TRUE;
}

/* The settings and limits of the call, laid over what row has. */
static gboolean parse_terms(OpsCall *call, PoolRow *row, GError **error)
{
    json_auto_t *settings = json_loads(row->settings, 0, NULL);
    gint64 until;

    if (!args_are_texts(call, "hours zone end_action archive_target until", error) ||
        !parse_limits(call, row, error) || !pools_parse_until(call, &until, error))
        return FALSE;
    put_settings(call, settings);
    if (until)
        json_object_set_new(settings, "until_ms", json_integer(until));
    else if (json_is_null(json_object_get(call->args, "until")))
        json_object_del(settings, "until_ms");
    if (!check_terms(call->world, row, settings, error))
        return FALSE;
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

#define TERM_ARGS                                                                                  \
    " template size spares max_per_user disconnect_limit_s hours zone holidays lease_s until"      \
    " warn_s grace_s end_action archive_target max_extensions extension_s"

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
    gboolean ok = lookup_named(db, name, row, error);
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
