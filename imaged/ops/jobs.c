/* jobs.c: see jobs.h. */
#include "imaged/ops/jobs.h"

#include "broker/desktop.h"
#include "broker/host/probe.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/ops/inspect.h"
#include "imaged/ops/live_merge.h"
#include "imaged/ops/live_snapshot.h"
#include "imaged/ops/make_version.h"
#include "imaged/ops/move.h"
#include "imaged/ops/ops.h"
#include "imaged/ops/pool_return.h"
#include "imaged/ops/rollouts.h"
#include "imaged/ops/run_reset.h"
#include "imaged/ops/template_diff.h"
#include "snapshot/advice.h"
#include "snapshot/archive.h"
#include "snapshot/data_disk.h"
#include "snapshot/diff.h"
#include "snapshot/merges.h"
#include "snapshot/reimage.h"
#include "snapshot/reset_keep.h"
#include "snapshot/snapshots.h"
#include "snapshot/stand_in.h"
#include "snapshot/trash.h"
#include "templates/build.h"
#include "templates/template.h"

static const char *plan_text(const json_t *plan, const char *key)
{
    return json_string_value(json_object_get(plan, key));
}

static gboolean run_create_with_copy(Job *job, gpointer world, GError **error)
{
    g_auto(LayerRow) layer = { 0 };

    return template_replicate(job, world, plan_text(job_plan(job), "version_id"),
                              plan_text(job_plan(job), "store_id"), &layer, error) &&
           desktop_create_job.run(job, world, error);
}

static const JobType create_with_copy_job = { "desktop.create-with-copy", JOB_BULK, "desktops",
                                              run_create_with_copy };

static gboolean has_copy(World *world, const char *version_id, const char *store_id)
{
    g_auto(LayerRow) layer = { 0 };
    Db *db = catalog_read_begin(world->catalog);
    gboolean has = lookup_version_layer(db, version_id, store_id, &layer, NULL);

    catalog_read_end(world->catalog, db);
    return has;
}

void jobs_choose_create(World *world, BatchPlan *plan)
{
    if (!has_copy(world, plan_text(plan->plan, "version_id"), plan_text(plan->plan, "store_id")))
        plan->type = &create_with_copy_job;
}

/* Copy what the items' versions need into the items' stores. */
static gboolean copy_versions(Job *job, World *world, GError **error)
{
    json_t *item;
    size_t i;

    json_array_foreach(json_object_get(job_plan(job), "items"), i, item) {
        g_auto(LayerRow) layer = { 0 };
        if (!template_replicate(job, world, plan_text(item, "version"), plan_text(item, "store"),
                                &layer, error))
            return FALSE;
    }
    return TRUE;
}

static gboolean run_reset_with_copy(Job *job, gpointer world, GError **error)
{
    return copy_versions(job, world, error) && reimage_job.run(job, world, error);
}

static gboolean run_keep_with_copy(Job *job, gpointer world, GError **error)
{
    return copy_versions(job, world, error) && reset_keep_job.run(job, world, error);
}

static const JobType reset_with_copy_job = { "desktop.reset-with-copy", JOB_BULK, "desktops",
                                             run_reset_with_copy };
static const JobType keep_with_copy_job = { "desktop.reset-keep-with-copy", JOB_BULK, "desktops",
                                            run_keep_with_copy };

gboolean jobs_check_reset(World *world, BatchPlan *plan, GError **error)
{
    const char *last_store = NULL, *last_version = NULL; /* most items are like the one before */
    gboolean ok = TRUE, lacks_copy = FALSE;
    json_t *item;
    size_t i;

    json_array_foreach(plan->items, i, item) {
        const char *store_id = plan_text(item, "store"), *version_id = plan_text(item, "version");
        if (!ok || (last_store && g_str_equal(last_store, store_id) &&
                    g_str_equal(last_version, version_id)))
            continue;
        last_store = store_id;
        last_version = version_id;
        lacks_copy |= !has_copy(world, version_id, store_id);
        g_autoptr(Store) store = store_set_get(world->stores, store_id, error);
        ok = store && world_check_space(world, store, 0, error);
    }
    if (lacks_copy)
        plan->type = plan->type == &reset_keep_job ? &keep_with_copy_job : &reset_with_copy_job;
    return ok;
}

gboolean jobs_check_stores(World *world, const LookupRows *desktops, GError **error)
{
    const char *last = NULL;
    gboolean ok = TRUE;

    for (guint i = 0; ok && i < desktops->rows->len; i++) {
        const DesktopRow *row = desktops->rows->pdata[i];
        if (last && g_str_equal(last, row->store_id))
            continue;
        last = row->store_id;
        g_autoptr(Store) store = store_set_get(world->stores, last, error);
        ok = store && world_check_space(world, store, 0, error);
    }
    return ok;
}

static gboolean run_import(Job *job, gpointer world, GError **error)
{
    gboolean ok = template_import_job.run(job, world, error);

    if (ok)
        inspect_new_version(world, plan_text(job_plan(job), "version_id"), job_owner(job));
    return ok;
}

static gboolean run_build(Job *job, gpointer world, GError **error)
{
    gboolean ok = template_build_job.run(job, world, error);

    if (ok)
        inspect_new_version(world, plan_text(job_plan(job), "version_id"), job_owner(job));
    return ok;
}

const JobType jobs_build = { "template.build", JOB_BULK, "percent", run_build };
const JobType jobs_import = { "template.import", JOB_BULK, "bytes", run_import };

const JobType *const ops_job_types[] = {
    &desktop_create_job,
    &create_with_copy_job,
    &desktop_delete_job,
    &reimage_job,
    &reset_keep_job,
    &keep_with_copy_job,
    &reset_with_copy_job,
    &reimage_undo_job,
    &trash_restore_job,
    &trash_empty_job,
    &jobs_import,
    &template_delete_job,
    &move_job,
    &drain_job,
    &jobs_build,
    &build_on_job,
    &jobs_check,
    &snapshot_create_job,
    &revert_job,
    &snapshot_delete_job,
    &create_from_job,
    &publish_job,
    &seal_job,
    &desktop_compact_job,
    &desktop_flatten_job,
    &desktop_shorten_job,
    &snapshot_diff_job,
    &archive_create_keep_job,
    &archive_restore_job,
    &archive_verify_job,
    &archive_delete_job,
    &archive_undelete_job,
    &archive_collect_job,
    &rollout_job,
    &template_inspect_job,
    &desktop_inspect_job,
    &template_diff_job,
    &report_advice_job,
    &stand_in_job,
    &data_disk_add_job,
    &data_disk_attach_job,
    &data_disk_detach_job,
    &data_disk_resize_job,
    &disk_resize_job,
    &desktop_start_job,
    &desktop_stop_job,
    &desktop_restart_job,
    &desktop_pause_job,
    &desktop_resume_job,
    &desktop_suspend_job,
    &host_probe_job,
    &host_fence_job,
    &reset_running_job,
    &revert_running_job,
    &undo_running_job,
    &desktop_migrate_job,
    &snapshot_live_job,
    &snapshot_delete_live_job,
    &desktop_shorten_live_job,
    &pool_return_job,
    &pool_return_copy_job,
    NULL,
};
