/* pool_guard.c: see pool_guard.h. */
#include "imaged/ops/pool_guard.h"

#include <string.h>

#include "broker/pool/members.h"
#include "imaged/base/error.h"

static gboolean refuse(const char *pool, PoolGuard guard, GError **error)
{
    static const char *const hints[] = {
        [GUARD_DELETE] = "make the pool smaller: imagectl pool resize",
        [GUARD_DATA_DISK] = "a pool's desktops have no data disks: give their users dedicated ones",
        [GUARD_UNDO] = "look into the disk with: imagectl export start",
        [GUARD_REVERT] = "look into the snapshot with: imagectl export start",
        [GUARD_ARCHIVE] = "restore it under another name: --as NAME",
        [GUARD_WRITE] = "nobody has it now, and its next user gets it as it is; serve it read-only",
    };

    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_DENIED, "it is a desktop of the pool '%s'", pool);
    imaged_error_hint(error, "%s", hints[guard]);
    return FALSE;
}

gboolean pool_guard_check(Db *db, PoolGuard guard, const DesktopRow *desktop, const char *snapshot,
                          GError **error)
{
    g_autofree char *pool = member_pool_name(db, desktop->id);
    g_auto(TrashRow) entry = { 0 };
    g_auto(SnapshotRow) row = { 0 };

    if (!pool)
        return TRUE;
    switch (guard) {
    case GUARD_DELETE:
        return lookup_int(db,
                          "SELECT EXISTS (SELECT 1 FROM pool_desktop WHERE desktop_id = ?1 AND"
                          " state = 'leaving') AS leaves",
                          "t", desktop->id) ||
               refuse(pool, guard, error);
    case GUARD_WRITE:
        return lookup_int(db,
                          "SELECT EXISTS (SELECT 1 FROM pool_desktop WHERE desktop_id = ?1 AND"
                          " state = 'given') AS given",
                          "t", desktop->id) ||
               refuse(pool, guard, error);
    case GUARD_UNDO:
        return !lookup_undo(db, desktop->id, &entry, NULL) ||
               member_check_content(db, desktop->id, entry.generation, error);
    case GUARD_REVERT:
        return !lookup_snapshot(db, desktop->id, snapshot, &row, NULL) ||
               member_check_content(db, desktop->id, row.generation, error);
    default:
        return refuse(pool, guard, error);
    }
}

gboolean pool_guard_plan(OpsCall *call, PoolGuard guard, const char *snapshot,
                         const LookupRows *desktops, SubmitPlan make, BatchPlan *plan,
                         GError **error)
{
    if (!make(call, desktops, plan, error))
        return FALSE;
    /* With its claims held: it is whose it is until the job has ended. */
    Db *db = catalog_read_begin(call->world->catalog);
    for (gsize i = json_array_size(plan->items); i-- > 0;) {
        const char *id = json_string_value(json_object_get(json_array_get(plan->items, i), "id"));
        g_auto(DesktopRow) row = { 0 };
        g_autoptr(GError) why = NULL;
        if (!lookup_desktop_by_id(db, id, &row, NULL) ||
            pool_guard_check(db, guard, &row, snapshot, &why))
            continue;
        batch_plan_reject(plan, row.name, why);
        json_array_remove(plan->items, i); /* its claims go with the job's */
    }
    catalog_read_end(call->world->catalog, db);
    return TRUE;
}

gboolean pool_guard_item(World *world, PoolGuard guard, const char *desktop_id, GError **error)
{
    g_auto(DesktopRow) row = { 0 };
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok = !desktop_id || !lookup_desktop_by_id(db, desktop_id, &row, NULL) ||
                  pool_guard_check(db, guard, &row, NULL, error);

    catalog_read_end(world->catalog, db);
    return ok;
}

gboolean pool_guard_trash(World *world, const json_t *ids, GError **error)
{
    gboolean ok = TRUE;
    size_t i;
    json_t *id;
    Db *db = catalog_read_begin(world->catalog);

    json_array_foreach (ids, i, id) {
        g_auto(TrashRow) entry = { 0 };
        if (!ok || !lookup_trash(db, json_string_value(id), &entry, NULL) || !entry.desktop_id)
            continue;
        g_autofree char *pool = member_pool_name(db, entry.desktop_id);
        if (!pool)
            continue;
        ok = g_str_equal(entry.kind, "data")
                 ? refuse(pool, GUARD_DATA_DISK, error)
                 : member_check_content(db, entry.desktop_id, entry.generation, error);
        if (!ok)
            g_prefix_error(error, "'%s': ", entry.name);
    }
    catalog_read_end(world->catalog, db);
    return ok;
}

gboolean pool_guard_template(World *world, const char *ref, GError **error)
{
    g_autofree char *name = g_strndup(ref, strcspn(ref, ":"));
    gboolean one = strchr(ref, ':') != NULL;
    char *pool = NULL;
    Db *db = catalog_read_begin(world->catalog);
    /* the whole of it; or the version that a pool is pinned to */
    Query *q = db_query(db,
                        "SELECT p.name FROM pool p JOIN template t ON t.id = p.template_id WHERE"
                        " t.name = ?1 AND t.is_trashed = 0 AND (?3 = 0 OR EXISTS (SELECT 1 FROM"
                        " version v WHERE v.id = p.version_id AND t.name || ':' || v.version = ?2))"
                        " ORDER BY p.name LIMIT 1",
                        "tti", name, ref, (gint64)one);

    if (query_next(q))
        pool = g_strdup(query_text(q, "name"));
    query_end(q, NULL);
    catalog_read_end(world->catalog, db);
    if (!pool)
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY, "the pool '%s' is made of it", pool);
    imaged_error_hint(error,
                      one ? "let it follow another version: imagectl pool set %s --template"
                            " T:N"
                          : "delete the pool first: imagectl pool delete %s",
                      pool);
    g_free(pool);
    return FALSE;
}
