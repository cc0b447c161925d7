/* pool_view.c: pools and their desktops as users see them. */
#include "broker/pool/lease.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"
#include "imaged/ops/args.h"
#include "imaged/ops/pool_ops.h"
#include "imaged/ops/view.h"

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

gboolean pool_find(Db *db, const char *name, PoolRow *ret, GError **error)
{
    if (!pool_lookup(db, name, ret, error))
        return FALSE;
    if (g_str_equal(ret->name, name))
        return TRUE;
    pool_row_clear(ret);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "there is no pool '%s'", name);
    return FALSE;
}

json_t *pool_object(World *world, const char *name, GError **error)
{
    g_auto(PoolRow) row = { 0 };
    json_t *out = NULL;
    Db *db = catalog_read_begin(world->catalog);

    if (pool_find(db, name, &row, error)) {
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
    if (pool_find(db, name, &row, error))
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
