/* change.c: see change.h.  Conditions that others could break meanwhile stand in the statements. */
#include "broker/pool/change.h"

#include "broker/access/users.h"
#include "broker/pool/lease.h"
#include "broker/pool/members.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "imaged/catalog/lookup.h"

/* ---- Pools ---- */

gboolean pool_create(World *world, PoolRow *row, const char *who, GError **error)
{
    Changes *changes = changes_new();
    Id id = id_new();
    gint64 now = units_now_ms();

    row->id = g_strdup(id.s);
    changes_sql(changes,
                "INSERT INTO pool (id, name, type, template_id, version_id, size, spares,"
                " max_per_user, disconnect_limit_s, settings, created_at, changed_at) VALUES (?1,"
                " ?2, ?3, ?4, ?5, ?6, ?7, ?8, nullif(?9, -1), ?10, ?11, ?11)",
                "tttttiiiiti", row->id, row->name, row->type, row->template_id, row->version_id,
                row->size, row->spares, row->max_per_user, row->disconnect_limit_s, row->settings,
                now);
    changes_event(changes, "pool.create", "info", row->name, who, "%s, %d desktops", row->type,
                  (int)row->size);
    if (catalog_commit(world->catalog, changes, error)) {
        pools_touch(world->pools);
        return TRUE;
    }
    if (g_error_matches(*error, IMAGED_ERROR, IMAGED_ERROR_EXISTS)) {
        g_clear_error(error);
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_EXISTS, "there is a pool '%s' already",
                    row->name);
    }
    return FALSE;
}

gboolean pool_update(World *world, const PoolRow *row, gboolean is_resize, const char *who,
                     GError **error)
{
    Changes *changes = changes_new();

    changes_sql(changes,
                "UPDATE pool SET version_id = ?2, size = ?3, spares = ?4, max_per_user = ?5,"
                " disconnect_limit_s = nullif(?6, -1), settings = ?7, changed_at = ?8, reason ="
                " NULL WHERE id = ?1",
                "ttiiiiti", row->id, row->version_id, row->size, row->spares, row->max_per_user,
                row->disconnect_limit_s, row->settings, units_now_ms());
    changes_event(changes, is_resize ? "pool.resize" : "pool.set", "info", row->name, who,
                  "%d desktops, %d spares", (int)row->size, (int)row->spares);
    if (!catalog_commit(world->catalog, changes, error))
        return FALSE;
    pools_touch(world->pools);
    return TRUE;
}

gboolean pool_delete(World *world, const PoolRow *row, gboolean force, const char *who,
                     GError **error)
{
    Db *db = catalog_read_begin(world->catalog);
    gint64 n = lookup_int(db,
                          "SELECT count(*) FROM pool_desktop WHERE pool_id = ?1 AND state IN"
                          " ('given', 'archiving')",
                          "t", row->id);

    catalog_read_end(world->catalog, db);
    if (n && !force) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY, "%d of its desktops are given", (int)n);
        imaged_error_hint(error,
                          "see who has them: imagectl pool show %s; --force ends their"
                          " sessions",
                          row->name);
        return FALSE;
    }
    Changes *changes = changes_new();
    changes_sql(changes,
                "UPDATE pool SET is_deleting = 1, size = 0, spares = 0, changed_at = ?2 WHERE id ="
                " ?1",
                "ti", row->id, units_now_ms());
    if (force)
        changes_sql(changes,
                    "UPDATE pool_desktop SET state = 'returning', reason = 'its pool is deleted',"
                    " changed_at = ?2 WHERE pool_id = ?1 AND state IN ('given', 'archiving')",
                    "ti", row->id, units_now_ms());
    changes_event(changes, "pool.delete", "info", row->name, who, "its desktops go");
    if (!catalog_commit(world->catalog, changes, error))
        return FALSE;
    pools_touch(world->pools);
    return TRUE;
}

/* ---- Who may use it ---- */

static char *find_named(Db *db, const char *sql, const char *what, const char *name, GError **error)
{
    g_autofree char *key = user_name_key(name);
    Query *q = db_query(db, sql, "tt", name, key);
    char *id = query_next(q) ? g_strdup(query_text(q, "id")) : NULL;

    query_end(q, NULL);
    if (!id) {
        g_autofree char *shown = text_for_message(name, 80);
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "there is no %s '%s'", what,
                    shown);
        imaged_error_hint(error, "see them with: imagectl %s list", what);
    }
    return id;
}

char *user_find(Db *db, const char *name, GError **error)
{
    return find_named(db,
                      "SELECT id FROM user WHERE id = ?1 OR name = ?1 OR name_key = ?2 ORDER BY"
                      " name = ?1 DESC LIMIT 1",
                      "user", name, error);
}

static char *group_find(Db *db, const char *name, GError **error)
{
    return find_named(db,
                      "SELECT id FROM user_group WHERE id = ?1 OR name = ?1 OR name_key = ?2 ORDER"
                      " BY name = ?1 DESC LIMIT 1",
                      "group", name, error);
}

static gboolean check_granted(Db *db, const PoolRow *row, const char *id, const char *name,
                              GError **error)
{
    if (lookup_int(db, "SELECT count(*) FROM pool_grant WHERE pool_id = ?1 AND subject_id = ?2",
                   "tt", row->id, id))
        return TRUE;
    g_autofree char *shown = text_for_message(name, 80);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "the pool '%s' is not granted to '%s'",
                row->name, shown);
    return FALSE;
}

/* One of grant and revoke for each name.  The number of names, or -1. */
static gint each_subject(Db *db, Changes *changes, const PoolRow *row, const json_t *names,
                         gboolean is_group, gboolean is_grant, const char *who, GError **error)
{
    size_t i;
    json_t *name;

    json_array_foreach (names, i, name) {
        const char *text = json_string_value(name);
        g_autofree char *id = is_group ? group_find(db, text, error) : user_find(db, text, error);
        if (!id || (!is_grant && !check_granted(db, row, id, text, error)))
            return -1;
        if (is_grant)
            changes_sql(changes,
                        "INSERT INTO pool_grant (pool_id, subject_kind, subject_id, created_at)"
                        " VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
                        "ttti", row->id, is_group ? "group" : "user", id, units_now_ms());
        else
            changes_sql(changes, "DELETE FROM pool_grant WHERE pool_id = ?1 AND subject_id = ?2",
                        "tt", row->id, id);
        changes_event(changes, is_grant ? "pool.grant" : "pool.revoke", "info", row->name, who,
                      "%s %s", is_group ? "group" : "user", text);
    }
    return (gint)json_array_size(names);
}

static gboolean change_grants(World *world, const PoolRow *row, const json_t *users,
                              const json_t *groups, gboolean is_grant, const char *who,
                              GError **error)
{
    g_autoptr(Changes) changes = changes_new();
    Db *db = catalog_read_begin(world->catalog);
    gint n_users = each_subject(db, changes, row, users, FALSE, is_grant, who, error);
    gint n_groups =
        n_users < 0 ? -1 : each_subject(db, changes, row, groups, TRUE, is_grant, who, error);

    catalog_read_end(world->catalog, db);
    if (n_groups < 0)
        return FALSE;
    if (n_users + n_groups == 0) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "name users or groups");
        return FALSE;
    }
    return catalog_commit(world->catalog, g_steal_pointer(&changes), error);
}

gboolean pool_grant(World *world, const PoolRow *row, const json_t *users, const json_t *groups,
                    const char *who, GError **error)
{
    return change_grants(world, row, users, groups, TRUE, who, error);
}

gboolean pool_revoke(World *world, const PoolRow *row, const json_t *users, const json_t *groups,
                     const char *who, GError **error)
{
    return change_grants(world, row, users, groups, FALSE, who, error);
}

/* ---- Returning ---- */

static void return_one(Changes *changes, const PoolRow *row, const char *id, const char *name,
                       const char *who)
{
    members_return(changes, id, "returned");
    changes_event(changes, "pool.return", "info", name, who, "returned to the pool %s", row->name);
}

/* Those that a statement finds: ?1 is the pool, ?2 a name. */
static gint return_some(Db *db, Changes *changes, const PoolRow *row, const char *sql,
                        const char *name, const char *who)
{
    Query *q = db_query(db, sql, "tt", row->id, name);
    gint n = 0;

    for (; query_next(q); n++)
        return_one(changes, row, query_text(q, "id"), query_text(q, "name"), who);
    query_end(q, NULL);
    return n;
}

#define RETURNABLE                                                                                 \
    "SELECT d.id, d.name FROM pool_desktop m JOIN desktop d ON d.id = m.desktop_id WHERE"          \
    " m.pool_id = ?1 AND m.state IN ('given', 'archiving'"

static gint return_named(Db *db, Changes *changes, const PoolRow *row, const json_t *names,
                         gboolean are_users, const char *who, GError **error)
{
    size_t i;
    json_t *value;
    gint n = 0, found;

    json_array_foreach (names, i, value) {
        const char *name = json_string_value(value);
        g_autofree char *user = are_users ? user_find(db, name, error) : NULL;
        if (are_users && !user)
            return -1;
        found = are_users
                    ? return_some(db, changes, row, RETURNABLE ") AND m.user_id = ?2", user, who)
                    : return_some(db, changes, row,
                                  RETURNABLE ", 'free', 'broken', 'returning') AND"
                                             " d.name = ?2",
                                  name, who);
        if (found == 0) {
            g_autofree char *shown = text_for_message(name, 80);
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND,
                        are_users ? "'%s' has no desktop of the pool '%s'"
                                  : "there is no desktop '%s' in the pool '%s'",
                        shown, row->name);
            return -1;
        }
        n += found;
    }
    return n;
}

gboolean pool_return(World *world, const PoolRow *row, const json_t *desktops, const json_t *users,
                     gboolean all, const char *who, guint *ret_n, GError **error)
{
    g_autoptr(Changes) changes = changes_new();
    Db *db = catalog_read_begin(world->catalog);
    gint n = all ? return_some(db, changes, row, RETURNABLE ") AND ?2 IS NULL", NULL, who)
                 : return_named(db, changes, row, desktops, FALSE, who, error);
    gint n_users = n < 0 || all ? 0 : return_named(db, changes, row, users, TRUE, who, error);

    catalog_read_end(world->catalog, db);
    if (n < 0 || n_users < 0)
        return FALSE;
    *ret_n = (guint)(n + n_users);
    if (!catalog_commit(world->catalog, g_steal_pointer(&changes), error))
        return FALSE;
    pools_touch(world->pools);
    return TRUE;
}
