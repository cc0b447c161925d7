/* live_merge.c: see live_merge.h.
 *
 *   (its active layer is to be merged: frozen under a fresh overlay) -> frozen layers are merged,
 * as ever: QEMU has the former files open -> QEMU is brought onto the present ones (live_refresh.h)
 *
 * No layer that QEMU has open is written to, and blockcommit, which would, is not used. */
#include "imaged/ops/live_merge.h"

#include "broker/run/runs.h"
#include "imaged/base/ident.h"
#include "imaged/job/each.h"
#include "imaged/ops/live_freeze.h"
#include "imaged/ops/live_refresh.h"
#include "snapshot/chain.h"
#include "snapshot/merges.h"

#define GOVERN_BATCH 20 /* desktops in one job of the governor */

static const char *text(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

/* Its run, if it has one. */
static gboolean find_run(World *world, const char *desktop, RunRow *ret)
{
    g_auto(DesktopRow) row = { 0 };
    Db *db = catalog_read_begin(world->catalog);
    gboolean runs = lookup_desktop(db, desktop, &row, NULL) && run_lookup(db, row.id, ret, NULL);

    catalog_read_end(world->catalog, db);
    return runs;
}

static void claim_run(json_t *keys, const char *desktop_id)
{
    claims_add(keys, 'x', "run", desktop_id);
    claims_add(keys, 's', "desktop", desktop_id);
}

/* Ids that the job will make for an item are derived from its own and the item's. */
static Id make_id(Job *job, const json_t *item, const char *what)
{
    return id_derive(job_id(job), text(item, "id"), what);
}

/* Bring QEMU onto the files of both its disks. */
static gboolean refresh_both(Job *job, World *world, const json_t *item, const char *desktop_id,
                             GError **error)
{
    gboolean ok = TRUE;

    for (guint k = 0; ok && k < 2; k++) {
        Id fresh = make_id(job, item, k ? "fresh-data" : "fresh");
        Id trash = make_id(job, item, k ? "trash-data" : "trash");
        LiveRefresh refresh = { .desktop_id = desktop_id,
                                .incarnation = text(item, "incarnation"),
                                .new_id = fresh.s,
                                .trash_id = trash.s,
                                .is_data = k == 1 };
        ok = live_refresh(job, world, &refresh, error);
    }
    return ok;
}

/* ---- Deleting a snapshot ---- */

gboolean live_plan_delete(World *world, const char *desktop, const json_t *names, BatchPlan *plan,
                          GError **error)
{
    g_auto(RunRow) run = { 0 };
    json_t *item;
    size_t i;

    if (!snapshot_plan_delete(world, desktop, names, plan, error))
        return FALSE;
    if (!find_run(world, desktop, &run))
        return TRUE;
    json_t *keys = json_array();
    claim_run(keys, run.desktop_id);
    if (!batch_plan_claim(plan, keys, error))
        return FALSE;
    json_array_foreach (plan->items, i, item) {
        json_object_set_new(item, "incarnation", json_string(run.incarnation));
        json_object_set_new(item, "desktop_id", json_string(run.desktop_id));
    }
    plan->type = &snapshot_delete_live_job;
    return TRUE;
}

static gboolean is_active(Db *db, const char *layer_id)
{
    g_auto(LayerRow) row = { 0 };

    return layer_id && lookup_layer(db, layer_id, &row, NULL) && g_str_equal(row.state, "active");
}

/* Freeze those active layers that are to be merged.  One that was begun before a stop is ended. */
static gboolean freeze_uppers(Job *job, World *world, const json_t *item, GError **error)
{
    Id layer = make_id(job, item, "frozen"), data = make_id(job, item, "frozen-data");
    g_autofree char *upper = NULL, *data_upper = NULL;

    snapshot_delete_uppers(world, text(item, "id"), &upper, &data_upper);
    Db *db = catalog_read_begin(world->catalog);
    LiveFreeze freeze = { .desktop_id = text(item, "desktop_id"),
                          .incarnation = text(item, "incarnation"),
                          .new_id = is_active(db, upper) ? layer.s : NULL,
                          .new_data_id = is_active(db, data_upper) ? data.s : NULL };
    catalog_read_end(world->catalog, db);
    return (!freeze.new_id && !freeze.new_data_id) || live_freeze(job, world, &freeze, error);
}

static gboolean delete_one(Job *job, World *world, json_t *item, GError **error)
{
    return freeze_uppers(job, world, item, error) &&
           snapshot_delete_live(job, world, item, error) &&
           refresh_both(job, world, item, text(item, "desktop_id"), error);
}

static gboolean run_delete_live(Job *job, gpointer world, GError **error)
{
    return job_each(job, world, delete_one, error);
}

const JobType snapshot_delete_live_job = { "snapshot.delete-live", JOB_LONG, "bytes",
                                           run_delete_live };

/* ---- The depth governor ---- */

static gboolean shorten_one(Job *job, World *world, json_t *item, GError **error)
{
    return merges_shorten_live(job, world, item, error) &&
           refresh_both(job, world, item, text(item, "id"), error);
}

static gboolean run_shorten(Job *job, gpointer world, GError **error)
{
    return job_each(job, world, shorten_one, error);
}

const JobType desktop_shorten_live_job = { "desktop.shorten-live", JOB_LONG, "bytes", run_shorten };

static void plan_shorten(Db *db, const DesktopRow *row, BatchPlan *plan)
{
    g_auto(RunRow) run = { 0 };
    json_t *keys = json_array();

    if (!run_lookup(db, row->id, &run, NULL)) {
        json_decref(keys);
        return;
    }
    claim_run(keys, row->id);
    claims_add(keys, 'x', "snapshots", row->id);
    claims_add(keys, 'x', "layers", row->id);
    chain_claim_making(db, keys, row->store_id, row->data_layer_id);
    batch_plan_add(plan,
                   json_pack("{s:s,s:s,s:s}", "id", row->id, "name", row->name, "incarnation",
                             run.incarnation),
                   keys);
}

void live_govern(World *world)
{
    g_auto(LookupRows) rows = { 0 };
    g_auto(BatchPlan) plan = { 0 };
    Db *db = catalog_read_begin(world->catalog);

    batch_plan_init(&plan, world, &desktop_shorten_live_job);
    if (world->settings.max_chain_depth &&
        !lookup_int(db,
                    "SELECT EXISTS (SELECT 1 FROM job WHERE kind = 'desktop.shorten-live' AND"
                    " state IN ('queued', 'running'))",
                    ""))
        lookup_rows(db, ROW_DESKTOP, &rows, NULL,
                    "SELECT d.* FROM desktop d JOIN run r ON r.desktop_id = d.id WHERE r.state ="
                    " 'running' AND d.is_trashed = 0 AND (SELECT count(*) FROM layer l WHERE"
                    " l.owner_id = d.id AND l.state = 'frozen') > ?1 ORDER BY random() LIMIT ?2",
                    "ii", (gint64)world->settings.max_chain_depth, (gint64)GOVERN_BATCH);
    for (guint i = 0; rows.rows && i < rows.rows->len; i++) {
        const DesktopRow *row = rows.rows->pdata[i];
        if (merges_is_deep(world, db, row))
            plan_shorten(db, row, &plan);
    }
    catalog_read_end(world->catalog, db);
    if (json_array_size(plan.items)) {
        JobRequest request = { .owner = "imaged" };
        batch_plan_take(&plan, &request);
        g_free(job_submit(world->jobs, &request, NULL));
    }
}
