/* template_diff.c: see template_diff.h.  The bytes are compared as those of two snapshots are; the
 * applications are what inspections found, null while those of one of the two are not known. */
#include "imaged/ops/template_diff.h"

#include "imaged/ops/args.h"
#include "imaged/ops/submit.h"
#include "snapshot/diff.h"
#include "templates/inspection.h"

static const char *plan_text(Job *job, const char *key)
{
    return json_string_value(json_object_get(job_plan(job), key));
}

/* One side of which nothing is known. */
static void add_not_known(Db *db, const char *layer_id, const char *name, json_t *list)
{
    g_autofree char *why = inspection_why_not_known(db, layer_id);

    if (why)
        json_array_append_new(list, json_pack("{s:s,s:s}", "name", name, "reason", why));
}

static gboolean run_diff(Job *job, gpointer data, GError **error)
{
    World *world = data;
    json_t *found = diff_layers(job, world, plan_text(job, "a"), plan_text(job, "b"), error);

    if (!found)
        return FALSE;
    Db *db = catalog_read_begin(world->catalog);
    json_t *applications = inspection_diff(db, plan_text(job, "a"), plan_text(job, "b"));
    json_t *not_known = json_array();
    add_not_known(db, plan_text(job, "a"), plan_text(job, "from"), not_known);
    add_not_known(db, plan_text(job, "b"), plan_text(job, "to"), not_known);
    catalog_read_end(world->catalog, db);
    json_object_del(found, "extents"); /* of versions nobody asks where */
    json_object_del(found, "is_complete");
    json_object_set_new(found, "id", json_string(plan_text(job, "id")));
    json_object_set_new(found, "name", json_string(plan_text(job, "name")));
    json_object_set_new(found, "from", json_string(plan_text(job, "from")));
    json_object_set_new(found, "to", json_string(plan_text(job, "to")));
    json_object_set_new(found, "applications", applications ? applications : json_null());
    json_object_set_new(found, "not_known", not_known);
    return job_commit_done(job, changes_new(), found, error);
}

const JobType template_diff_job = { "template.diff", JOB_BULK, "bytes", run_diff };

/* One side of the plan. */
static gboolean add_side(Db *db, const char *ref, const char *layer_key, const char *name_key,
                         json_t *plan, json_t *claims, GError **error)
{
    g_auto(VersionRow) row = { 0 };

    if (!lookup_version(db, ref, FALSE, &row, error))
        return FALSE;
    g_autofree char *name = lookup_version_name(db, row.id);
    json_object_set_new(plan, layer_key, json_string(row.layer_id));
    json_object_set_new(plan, name_key, json_string(name));
    json_object_set_new(plan, "id", json_string(row.id));
    json_object_set_new(plan, "name", json_string(name));
    claims_add(claims, 's', "version", row.id);
    return TRUE;
}

json_t *ops_template_diff(OpsCall *call, GError **error)
{
    const char *from = args_text(call, "from", TRUE, error);
    const char *to = from ? args_text(call, "to", TRUE, error) : NULL;

    if (!to || !args_check(call, "from to", error) || submit_is_repeat(call, error) ||
        (error && *error))
        return NULL;
    json_t *claims = json_array(), *plan = json_object();
    Db *db = catalog_read_begin(call->world->catalog);
    gboolean ok = add_side(db, from, "a", "from", plan, claims, error) &&
                  add_side(db, to, "b", "to", plan, claims, error);
    catalog_read_end(call->world->catalog, db);
    if (!ok || !claims_take(call->world->claims, claims, template_diff_job.kind, error)) {
        json_decref(claims);
        json_decref(plan);
        return NULL;
    }
    JobRequest request = { .type = &template_diff_job, .plan = plan, .claims = claims };
    return submit_request(call, &request, error);
}
