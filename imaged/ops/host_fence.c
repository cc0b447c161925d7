/* host_fence.c: an admin says that a host is off, so that its desktops may be started elsewhere.
 *
 * The intent of the job is the fence itself: from that commit on it holds, whatever happens. */
#include "broker/host/hosts.h"
#include "broker/run/fence.h"
#include "imaged/base/error.h"
#include "imaged/job/each.h"
#include "imaged/ops/args.h"
#include "imaged/ops/jobs.h"
#include "imaged/ops/submit.h"

/* One that answers is not off. */
static gboolean check_state(World *world, const HostRow *host, GError **error)
{
    g_auto(HostView) view = { 0 };

    hosts_view(world->hosts, host->id, &view);
    if (view.state == HOST_DOWN || view.state == HOST_FENCED)
        return TRUE;
    if (view.state == HOST_UP) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY, "the host '%s' answers: it is not off",
                    host->name);
        imaged_error_hint(error, "move its desktops away: imagectl host maintenance %s --evacuate",
                          host->name);
    } else {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY,
                    "the host '%s' is being connected to: whether it answers is not known yet",
                    host->name);
    }
    return FALSE;
}

/* What runs there, or may. */
static json_t *items_of(Db *db, const HostRow *host, GError **error)
{
    json_t *items = json_array();
    Query *q = db_query(
        db,
        "SELECT d.id, d.name, r.incarnation FROM run r JOIN desktop d ON d.id = r.desktop_id WHERE"
        " ?1 IN (r.host_id, r.target_host_id) ORDER BY d.name",
        "t", host->id);

    while (query_next(q))
        json_array_append_new(items, json_pack("{s:s,s:s,s:s,s:s}", "id", query_text(q, "id"),
                                               "name", query_text(q, "name"), "incarnation",
                                               query_text(q, "incarnation"), "host", host->id));
    if (!query_end(q, error))
        g_clear_pointer(&items, json_decref);
    return items;
}

static json_t *submit_fence(OpsCall *call, const HostRow *host, json_t *items, GError **error)
{
    JobRequest request = { .type = &host_fence_job,
                           .plan = json_pack("{s:O}", "items", items),
                           .claims = json_array(),
                           .total = json_array_size(items),
                           .changes = changes_new() };

    claims_add(request.claims, 's', "host", host->id);
    fence_put(request.changes, host, call->who);
    if (!claims_take(call->world->claims, request.claims, host_fence_job.kind, error)) {
        json_decref(request.plan);
        json_decref(request.claims);
        changes_free(request.changes);
        return NULL;
    }
    submit_request(call, &request, error);
    if (call->job_id)
        hosts_set_fenced(call->world->hosts, host->id, TRUE);
    return NULL;
}

json_t *ops_host_fence(OpsCall *call, GError **error)
{
    const char *name = args_text(call, "host", TRUE, error);
    g_auto(HostRow) host = { 0 };

    if (!name || !args_check(call, "host", error) || submit_is_repeat(call, error) ||
        (error && *error))
        return NULL;
    Db *db = catalog_read_begin(call->world->catalog);
    gboolean ok = host_lookup(db, name, &host, error);
    json_auto_t *items = ok ? items_of(db, &host, error) : NULL;
    catalog_read_end(call->world->catalog, db);
    if (!items || !check_state(call->world, &host, error))
        return NULL;
    return submit_fence(call, &host, items, error);
}

/* ---- The job ---- */

static gboolean end_one(Job *job, World *world, json_t *item, GError **error)
{
    gboolean is_off = FALSE;
    RunRow run = { .desktop_id = (char *)json_string_value(json_object_get(item, "id")),
                   .incarnation = (char *)json_string_value(json_object_get(item, "incarnation")) };

    if (!fence_end_run(job, world, json_string_value(json_object_get(item, "host")), &run, &is_off,
                       error))
        return FALSE;
    json_object_set_new(item, "result", json_pack("{s:b}", "is_off", is_off));
    return TRUE;
}

static gboolean run_fence(Job *job, gpointer world, GError **error)
{
    return job_each(job, world, end_one, error);
}

const JobType host_fence_job = { "host.fence", JOB_LONG, "desktops", run_fence };
