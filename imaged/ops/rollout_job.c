/* rollout_job.c: the job of a roll-out: its version is copied to where desktops will need it, which
 * is the templates' work; then the desktops are moved, which is snapshot/rollout.h's. */
#include "imaged/ops/rollouts.h"

#include "imaged/base/error.h"
#include "templates/template.h"

/* The version must lie in every store whose desktops move: copied once for each, not per desktop.
 */
static gboolean copy_version(Job *job, World *world, const Rollout *r, GError **error)
{
    g_autoptr(GPtrArray) stores = g_ptr_array_new_with_free_func(g_free);
    Db *db = catalog_read_begin(world->catalog);
    Query *q = db_query(db,
                        "SELECT DISTINCT d.store_id FROM rollout_desktop o JOIN desktop d ON"
                        " d.id = o.desktop_id WHERE o.rollout_id = ?1 AND o.state = 'waiting'",
                        "t", r->id);
    gboolean ok;

    while (query_next(q))
        g_ptr_array_add(stores, g_strdup(query_text(q, "store_id")));
    ok = query_end(q, error);
    catalog_read_end(world->catalog, db);
    for (guint i = 0; ok && i < stores->len; i++) {
        g_auto(LayerRow) layer = { 0 };
        GError *local = NULL;
        if (template_replicate(job, world, r->version_id, stores->pdata[i], &layer, &local))
            continue;
        /* where a store is offline, desktops are unavailable, one by one */
        db = catalog_read_begin(world->catalog);
        ok = !rollout_can_reach(world, db, r->version_id, stores->pdata[i], NULL);
        catalog_read_end(world->catalog, db);
        if (ok)
            g_error_free(local);
        else
            g_propagate_error(error, local);
    }
    return ok;
}

static gboolean run_rollout(Job *job, gpointer data, GError **error)
{
    World *world = data;
    g_auto(Rollout) r = { 0 };
    GError *local = NULL;
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok =
        rollout_find(db, json_string_value(json_object_get(job_plan(job), "rollout")), &r, error);

    catalog_read_end(world->catalog, db);
    if (!ok)
        return FALSE;
    if (!rollout_is_active(r.state) || r.is_backward || r.wants_pause ||
        copy_version(job, world, &r, &local))
        return rollout_run(job, world, &rollout_runs, error);
    /* A pause in the middle of a copy is one, and so is the daemon's stop. */
    if (g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_CANCELLED)) {
        g_error_free(local);
        return rollout_run(job, world, &rollout_runs, error);
    }
    rollout_fail(job, world, local);
    g_propagate_error(error, local);
    return FALSE;
}

const JobType rollout_job = { "rollout", JOB_LONG, "desktops", run_rollout };
