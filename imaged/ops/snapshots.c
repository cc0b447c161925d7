/* snapshots.c: snapshots and merges: from the words of a request to a planned job, and their lists.
 */
#include "imaged/base/error.h"
#include "imaged/ops/args.h"
#include "imaged/ops/dry_run.h"
#include "imaged/ops/jobs.h"
#include "imaged/ops/live_merge.h"
#include "imaged/ops/live_snapshot.h"
#include "imaged/ops/pool_guard.h"
#include "imaged/ops/run_replace.h"
#include "imaged/ops/run_reset.h"
#include "imaged/ops/submit.h"
#include "imaged/ops/view.h"
#include "snapshot/diff.h"
#include "snapshot/merges.h"
#include "snapshot/reimage.h"
#include "snapshot/snapshots.h"

#define SNAPSHOT_COLUMNS                                                                           \
    "SELECT s.id, s.name, d.name AS desktop, t.name AS template, v.version, s.generation,"         \
    " s.description, s.layer_id AS layer, s.data_layer_id AS data_layer,"                          \
    " b.virtual_size AS data_disk_size, l.slot AS slot,"                                           \
    " l.store_id AS store, b.slot AS data_slot, b.store_id AS data_store,"                         \
    " EXISTS (SELECT 1 FROM layer a WHERE a.id = d.layer_id AND a.parent_id = s.layer_id)"         \
    " AS is_current__bool, s.created_at AS created_at__time FROM snapshot s JOIN desktop d ON"     \
    " d.id = s.desktop_id JOIN version v ON v.id = s.version_id JOIN template t ON"                \
    " t.id = v.template_id JOIN layer l ON l.id = s.layer_id LEFT JOIN layer b ON"                 \
    " b.id = s.data_layer_id WHERE s.is_trashed = 0 AND"                                           \
    " d.is_trashed = 0 AND "

static guint64 slot_bytes(World *world, json_t *object, const char *slot_key, const char *store_key)
{
    const char *slot = json_string_value(json_object_get(object, slot_key));
    const char *store_id = json_string_value(json_object_get(object, store_key));
    g_autoptr(Store) store = store_id ? store_set_peek(world->stores, store_id) : NULL;
    StoreStat stat = { 0 };

    if (store && slot)
        store_stat_layer(store, slot, &stat, NULL);
    json_object_del(object, slot_key);
    json_object_del(object, store_key);
    return stat.disk_bytes;
}

/* What each one's own layers take on disk. */
static void add_disk_bytes(World *world, json_t *list)
{
    size_t i;
    json_t *object;

    json_array_foreach (list, i, object) {
        guint64 bytes = slot_bytes(world, object, "slot", "store") +
                        slot_bytes(world, object, "data_slot", "data_store");
        json_object_set_new(object, "disk_bytes", json_integer((json_int_t)bytes));
    }
}

json_t *ops_snapshot_list(OpsCall *call, GError **error)
{
    ViewPage page;
    g_auto(DesktopRow) desktop = { 0 };

    if (!args_check(call, "desktop search limit after", error) ||
        !view_page_of(call, "snapshots", &page, error))
        return NULL;
    const char *name = args_text(call, "desktop", FALSE, NULL);
    Db *db = catalog_read_begin(call->world->catalog);
    g_autofree char *visible = access_visible_ids(db, call->caller, "snapshot");
    gboolean ok = !name || lookup_desktop(db, name, &desktop, error);
    json_t *out =
        ok ? view_found(db_query(db,
                                 SNAPSHOT_COLUMNS "(?1 IS NULL OR s.desktop_id = ?1) AND s.id >"
                                                  " coalesce(?2, '') AND (?3 IS NULL OR s.id IN"
                                                  " (SELECT value FROM json_each(?3)))"
                                                  " ORDER BY s.id",
                                 "ttt", desktop.id, page.after, visible),
                        &page, error)
           : NULL;
    catalog_read_end(call->world->catalog, db);
    add_disk_bytes(call->world, out);
    return out;
}

json_t *ops_snapshot_show(OpsCall *call, GError **error)
{
    g_auto(DesktopRow) desktop = { 0 };
    g_auto(SnapshotRow) row = { 0 };
    const char *name = args_text(call, "desktop", TRUE, error);
    const char *snapshot = name ? args_text(call, "snapshot", TRUE, error) : NULL;
    json_t *list = NULL, *out = NULL;

    if (!snapshot || !args_check(call, "desktop snapshot", error))
        return NULL;
    Db *db = catalog_read_begin(call->world->catalog);
    if (lookup_desktop(db, name, &desktop, error) &&
        lookup_snapshot(db, desktop.id, snapshot, &row, error))
        list = view_array(db_query(db, SNAPSHOT_COLUMNS "s.id = ?1", "t", row.id), NULL, 1, error);
    catalog_read_end(call->world->catalog, db);
    if (list) {
        add_disk_bytes(call->world, list);
        out = json_incref(json_array_get(list, 0));
        json_decref(list);
    }
    return out;
}

static gboolean make_create(OpsCall *call, const LookupRows *desktops, BatchPlan *plan,
                            GError **error)
{
    const char *name = args_text(call, "snapshot", TRUE, error);
    const char *description = name ? args_text(call, "description", FALSE, error) : NULL;

    return name &&
           live_snapshot_plan(call->world, desktops, name, description ? description : "", plan,
                              error) &&
           jobs_check_stores(call->world, desktops, error);
}

json_t *ops_snapshot_create(OpsCall *call, GError **error)
{
    return submit_counted(call, "names prefix template snapshot description", QUOTA_SNAPSHOTS,
                          make_create, error);
}

static gboolean make_allowed_revert(OpsCall *call, const LookupRows *desktops, BatchPlan *plan,
                                    GError **error)
{
    const char *name = args_text(call, "snapshot", TRUE, error);
    Disks disks;

    return name && args_disks(call, &disks, error) &&
           args_bool(call, "stop", &plan->with_runs, error) &&
           reimage_plan_revert(call->world, desktops, name, disks, plan, error) &&
           (!plan->with_runs || run_replace_amend(plan, &revert_running_job, error)) &&
           jobs_check_stores(call->world, desktops, error);
}

static gboolean make_revert(OpsCall *call, const LookupRows *desktops, BatchPlan *plan,
                            GError **error)
{
    const char *name = args_text(call, "snapshot", TRUE, error);

    return name &&
           pool_guard_plan(call, GUARD_REVERT, name, desktops, make_allowed_revert, plan, error);
}

static json_t *dry_revert(World *world, const LookupRows *desktops, const json_t *missing)
{
    return dry_run_disks(world, desktops, missing, DISKS_ALL,
                         "its present disk and data disk go to the trash");
}

static json_t *dry_revert_system(World *world, const LookupRows *desktops, const json_t *missing)
{
    return dry_run_desktops(world, desktops, missing, TRUE);
}

static json_t *dry_revert_data(World *world, const LookupRows *desktops, const json_t *missing)
{
    return dry_run_disks(world, desktops, missing, DISKS_DATA,
                         "its present data disk goes to the trash");
}

json_t *ops_snapshot_revert(OpsCall *call, GError **error)
{
    static const SubmitDryRun dry[] = { [DISKS_ALL] = dry_revert,
                                        [DISKS_SYSTEM] = dry_revert_system,
                                        [DISKS_DATA] = dry_revert_data };
    Disks disks;

    return args_disks(call, &disks, error)
               ? submit_on_desktops(call, "names prefix template snapshot disk stop dry_run",
                                    dry[disks], make_revert, error)
               : NULL;
}

json_t *ops_snapshot_rename(OpsCall *call, GError **error)
{
    const char *desktop = args_text(call, "desktop", TRUE, error);
    const char *name = desktop ? args_text(call, "snapshot", TRUE, error) : NULL;

    if (!name || !args_check(call, "desktop snapshot new_name description", error) ||
        !args_are_texts(call, "new_name description", error))
        return NULL;
    const char *new_name = args_text(call, "new_name", FALSE, NULL);
    if (!snapshot_rename(call->world, desktop, name, new_name,
                         args_text(call, "description", FALSE, NULL), call->who, error))
        return NULL;
    json_t *args =
        json_pack("{s:s,s:s}", "desktop", desktop, "snapshot", new_name ? new_name : name);
    OpsCall again = { .world = call->world, .caller = call->caller, .args = args };
    json_t *out = ops_snapshot_show(&again, error);
    json_decref(args);
    return out;
}

json_t *ops_snapshot_delete(OpsCall *call, GError **error)
{
    g_auto(BatchPlan) plan = { 0 };
    const char *desktop = args_text(call, "desktop", TRUE, error);
    json_t *names = NULL;
    gboolean dry_run;

    if (!desktop || !args_check(call, "desktop snapshots dry_run", error) ||
        !args_texts(call, "snapshots", &names, error) ||
        !args_bool(call, "dry_run", &dry_run, error))
        return NULL;
    if (json_array_size(names) == 0) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "no snapshot is named");
        return NULL;
    }
    if (dry_run)
        return dry_run_snapshots(call->world, desktop, names, error);
    if (submit_is_repeat(call, error) || (error && *error) ||
        !live_plan_delete(call->world, desktop, names, &plan, error))
        return NULL;
    return submit_plan(call, &plan, error);
}

json_t *ops_snapshot_diff(OpsCall *call, GError **error)
{
    JobRequest request = { 0 };
    const char *desktop = args_text(call, "desktop", TRUE, error);

    if (!desktop || !args_check(call, "desktop a b", error) ||
        !args_are_texts(call, "a b", error) || submit_is_repeat(call, error) || (error && *error) ||
        !snapshot_plan_diff(call->world, desktop, args_text(call, "a", FALSE, NULL),
                            args_text(call, "b", FALSE, NULL), &request, error))
        return NULL;
    return submit_request(call, &request, error);
}

static gboolean make_compact(OpsCall *call, const LookupRows *desktops, BatchPlan *plan,
                             GError **error)
{
    return desktop_plan_compact(call->world, desktops, plan, error);
}

json_t *ops_desktop_compact(OpsCall *call, GError **error)
{
    return submit_on_desktops(call, "names prefix template", NULL, make_compact, error);
}

static gboolean make_flatten(OpsCall *call, const LookupRows *desktops, BatchPlan *plan,
                             GError **error)
{
    return desktop_plan_flatten(call->world, desktops, plan, error);
}

json_t *ops_desktop_flatten(OpsCall *call, GError **error)
{
    return submit_on_desktops(call, "names prefix template", NULL, make_flatten, error);
}
