/* move_plan.c: which desktops a move takes, and under which claims.  One that has nothing outside
 * the target store is rejected by itself. */
#include "imaged/ops/move.h"

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/ops/jobs.h"

static gboolean check_target(World *world, const char *store_id, GError **error)
{
    g_auto(StoreEntry) entry = { 0 };
    g_autoptr(Store) store = store_set_get(world->stores, store_id, error);

    if (!store || !world_check_space(world, store, 0, error))
        return FALSE;
    if (store_set_describe(world->stores, store_id, &entry) && entry.is_draining) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "the store '%s' is being drained",
                    entry.name);
        return FALSE;
    }
    return TRUE;
}

json_t *move_claims(const DesktopRow *desktop)
{
    json_t *keys = json_array();

    claims_add(keys, 'x', "desktop", desktop->id);
    claims_add(keys, 'x', "snapshots", desktop->id);
    claims_add(keys, 's', "layers", desktop->id);
    claims_add(keys, 's', "version", desktop->version_id);
    return keys;
}

static void plan_desktop(BatchPlan *plan, const DesktopRow *row)
{
    Id trash = id_new();

    batch_plan_add(plan,
                   json_pack("{s:s,s:s,s:s}", "id", row->id, "name", row->name, "trash", trash.s),
                   move_claims(row));
}

/* A snapshot or the data disk may lie in another store than the disk. */
static gboolean has_layers_elsewhere(World *world, const DesktopRow *row, const char *store_id)
{
    Db *db = catalog_read_begin(world->catalog);
    gboolean has = lookup_int(db,
                              "SELECT EXISTS (SELECT 1 FROM layer l JOIN snapshot s ON l.id IN"
                              " (s.layer_id, s.data_layer_id) WHERE s.desktop_id = ?1 AND"
                              " s.is_trashed = 0 AND l.store_id <> ?2) OR EXISTS (SELECT 1 FROM"
                              " layer WHERE id = ?3 AND store_id <> ?2)",
                              "ttt", row->id, store_id, row->data_layer_id);

    catalog_read_end(world->catalog, db);
    return has;
}

gboolean jobs_plan_move(World *world, const LookupRows *desktops, const char *store,
                        BatchPlan *plan, GError **error)
{
    g_autofree char *store_id = store_set_find(world->stores, store, error);

    if (!store_id || !check_target(world, store_id, error))
        return FALSE;
    batch_plan_init(plan, world, &move_job);
    json_object_set_new(plan->plan, "store_id", json_string(store_id));
    json_t *keys = json_array();
    claims_add(keys, 's', "making", store_id);
    if (!batch_plan_claim(plan, keys, error))
        return FALSE;
    for (guint i = 0; i < desktops->rows->len; i++) {
        const DesktopRow *row = desktops->rows->pdata[i];
        if (!g_str_equal(row->store_id, store_id) || has_layers_elsewhere(world, row, store_id)) {
            plan_desktop(plan, row);
            continue;
        }
        g_autoptr(GError) why =
            g_error_new(IMAGED_ERROR, IMAGED_ERROR_EXISTS, "it is in that store already");
        batch_plan_reject(plan, row->name, why);
    }
    return TRUE;
}
