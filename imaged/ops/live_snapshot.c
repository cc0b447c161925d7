/* live_snapshot.c: see live_snapshot.h. */
#include "imaged/ops/live_snapshot.h"

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "imaged/job/each.h"
#include "imaged/ops/live_freeze.h"
#include "snapshot/chain.h"
#include "snapshot/snapshots.h"

void live_part(Db *db, const LookupRows *desktops, LookupRows *ret_running, LookupRows *ret_others)
{
    *ret_running = (LookupRows){ desktops->kind, g_ptr_array_new() };
    *ret_others = (LookupRows){ desktops->kind, g_ptr_array_new() };
    for (guint i = 0; i < desktops->rows->len; i++) {
        DesktopRow *row = desktops->rows->pdata[i];
        gboolean runs =
            lookup_int(db, "SELECT count(*) FROM run WHERE desktop_id = ?1", "t", row->id) != 0;
        g_ptr_array_add((runs ? ret_running : ret_others)->rows, row);
    }
}

/* ---- Planning ---- */

static gboolean plan_one(Db *db, const DesktopRow *row, const char *name, BatchPlan *plan,
                         GError **error)
{
    g_auto(SnapshotRow) there = { 0 };
    g_auto(RunRow) run = { 0 };
    Id layer = id_new(), data = id_new(), id = id_new();

    if (lookup_snapshot(db, row->id, name, &there, NULL)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_EXISTS, "it has a snapshot '%s' already",
                    name);
        return FALSE;
    }
    if (!run_lookup(db, row->id, &run, error))
        return FALSE;
    json_t *keys = json_array();
    claims_add(keys, 'x', "run", row->id);
    claims_add(keys, 's', "desktop", row->id);
    claims_add(keys, 'x', "snapshots", row->id);
    claims_add(keys, 'x', "layers", row->id);
    chain_claim_making(db, keys, row->store_id, row->data_layer_id);
    batch_plan_add(plan,
                   json_pack("{s:s,s:s,s:s,s:s,s:s,s:s}", "id", row->id, "name", row->name,
                             "incarnation", run.incarnation, "layer", layer.s, "data_layer", data.s,
                             "snapshot_id", id.s),
                   keys);
    return TRUE;
}

gboolean live_snapshot_plan(World *world, const LookupRows *desktops, const char *name,
                            const char *description, BatchPlan *plan, GError **error)
{
    LookupRows running, others;
    Db *db = catalog_read_begin(world->catalog);

    live_part(db, desktops, &running, &others);
    catalog_read_end(world->catalog, db);
    gboolean ok = snapshot_plan_create(world, &others, name, description, plan, error);
    db = catalog_read_begin(world->catalog);
    for (guint i = 0; ok && i < running.rows->len; i++) {
        const DesktopRow *row = running.rows->pdata[i];
        g_autoptr(GError) why = NULL;
        if (!plan_one(db, row, name, plan, &why))
            batch_plan_reject(plan, row->name, why);
    }
    catalog_read_end(world->catalog, db);
    if (ok && running.rows->len)
        plan->type = &snapshot_live_job;
    g_ptr_array_unref(running.rows);
    g_ptr_array_unref(others.rows);
    return ok;
}

/* ---- Taking them ---- */

typedef struct {
    Job *job;
    json_t *item;
} Named;

static const char *text(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static void add_snapshot(Changes *changes, const FreezeAhead *f, gboolean is_quiet, gpointer user)
{
    const Named *n = user;
    const json_t *plan = job_plan(n->job);
    gint64 now = units_now_ms();
    SnapshotRow row = { .id = (char *)text(n->item, "snapshot_id"),
                        .desktop_id = f->desktop.id,
                        .name = (char *)text(plan, "snapshot"),
                        .description = (char *)text(plan, "description"),
                        .layer_id = f->disks[DISK_SYSTEM].below.id,
                        .data_layer_id = f->disks[DISK_DATA].below.id,
                        .store_id = f->disks[DISK_SYSTEM].below.store_id,
                        .version_id = f->desktop.version_id,
                        .generation = f->desktop.generation,
                        .created_at = now,
                        .changed_at = now };

    changes_put(changes, ROW_SNAPSHOT, &row, row.store_id);
    changes_event(changes, "snapshot.create", "info", f->desktop.name, job_owner(n->job),
                  "took snapshot '%s' while it ran%s", row.name,
                  is_quiet ? ", its file systems at rest" : "");
    json_object_set_new(n->item, "result", json_pack("{s:b,s:b}", "live", TRUE, "quiet", is_quiet));
}

static gboolean take_one(Job *job, World *world, json_t *item, GError **error)
{
    Named named = { job, item };
    LiveFreeze freeze = { .desktop_id = text(item, "id"),
                          .incarnation = text(item, "incarnation"),
                          .new_id = text(item, "layer"),
                          .new_data_id = text(item, "data_layer"),
                          .add = add_snapshot,
                          .user = &named };

    return freeze.incarnation ? live_freeze(job, world, &freeze, error)
                              : snapshot_create_one(job, world, item, error);
}

static gboolean run_live(Job *job, gpointer world, GError **error)
{
    return job_each(job, world, take_one, error);
}

const JobType snapshot_live_job = { "snapshot.create-live", JOB_LONG, "desktops", run_live };
