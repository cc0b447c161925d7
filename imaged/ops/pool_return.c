/* pool_return.c: desktops come back to their pool: laid fresh on the version that it wants.
 *
 *   off (its run has ended, by its host's word) -> claimed -> new overlay, durable
 *       -> facts, generation + 1, "free and clean": one commit
 *
 * What fails stays `returning`, and is tried again. */
#include "imaged/ops/pool_return.h"

#include "broker/pool/members.h"
#include "imaged/base/error.h"
#include "imaged/ops/jobs.h"
#include "snapshot/reimage.h"
#include "templates/template.h"

/* In the trash the former disk is nobody's to bring back under the desktop. */
#define REASON "returned"

static gboolean prepare_return(BatchChunk *chunk, GError **error)
{
    if (!reimage_prepare(chunk, error))
        return FALSE;
    for (guint i = 0; i < chunk->n; i++) {
        const char *id = batch_text(chunk, i, "id");
        if (chunk->errors[i])
            members_failed(chunk->changes, id, chunk->errors[i]->message);
        else
            members_reimaged(chunk->changes, id, batch_text(chunk, i, "layer"));
    }
    batch_event(chunk, "pool.reimage", "re-imaged for its pool:", "desktops");
    return TRUE;
}

static gboolean copy_versions(Job *job, World *world, GError **error)
{
    json_t *item;
    size_t i;

    json_array_foreach (json_object_get(job_plan(job), "items"), i, item) {
        g_auto(LayerRow) layer = { 0 };
        if (!template_replicate(job, world, json_string_value(json_object_get(item, "version")),
                                json_string_value(json_object_get(item, "store")), &layer, error))
            return FALSE;
    }
    return TRUE;
}

static gboolean run_return(Job *job, gpointer data, GError **error)
{
    static const BatchType type = { prepare_return, reimage_undo_prepare, batch_move_now };
    World *world = data;
    gboolean ok = (!json_is_true(json_object_get(job_plan(job), "copies")) ||
                   copy_versions(job, world, error)) &&
                  batch_run(job, world, &type, error);

    pools_touch(world->pools);
    return ok;
}

const JobType pool_return_job = { "pool.return", JOB_INTERACTIVE, "desktops", run_return };
const JobType pool_return_copy_job = { "pool.return-with-copy", JOB_BULK, "desktops", run_return };

gboolean pool_plan_return(World *world, const LookupRows *desktops, gint64 version, BatchPlan *plan,
                          GError **error)
{
    if (!reimage_plan_reset(world, desktops, version, plan, error) ||
        !jobs_check_reset(world, plan, error))
        return FALSE;
    gboolean copies = plan->type != &reimage_job;
    plan->type = copies ? &pool_return_copy_job : &pool_return_job;
    json_object_set_new(plan->plan, "copies", json_boolean(copies));
    json_object_set_new(plan->plan, "reason", json_string(REASON));
    return TRUE;
}
