/* run_plan.c: desktops are to be started: on which hosts, and with what in their memory. */
#include "broker/run/runs.h"
#include "broker/run/suspensions.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/ops/args.h"
#include "imaged/ops/jobs.h"
#include "imaged/ops/rollouts.h"
#include "imaged/ops/run_place.h"
#include "imaged/ops/run_start.h"
#include "imaged/ops/submit.h"

/* Its memory, if it is suspended and its disks are as they were then; else what there is of it is
 * no good any more. */
static gboolean find_memory(World *world, Db *db, const DesktopRow *desktop, SuspensionRow *ret)
{
    if (!suspension_lookup(db, desktop->id, ret, NULL))
        return FALSE;
    if (suspension_is_valid(world, db, desktop, ret))
        return TRUE;
    suspension_row_clear(ret);
    return FALSE;
}

/* Where it was suspended, or on a host of the same group, which has the same processor. */
static void note_memory(RunPlaces *h, const SuspensionRow *memory)
{
    PlaceHost *places = (PlaceHost *)(void *)h->places->data;
    const char *group = NULL;

    for (guint i = 0; memory && i < h->rows->len; i++) {
        const HostRow *row = h->rows->pdata[i];
        if (g_str_equal(row->id, memory->host_id) && row->cpu_model)
            group = row->group_id;
    }
    for (guint i = 0; i < h->rows->len; i++) {
        const HostRow *row = h->rows->pdata[i];
        places[i].is_unfit = memory && !g_str_equal(row->id, memory->host_id) &&
                             (!group || g_strcmp0(row->group_id, group) != 0);
    }
}

typedef enum { START_ANY, START_FRESH, START_SUSPENDED } StartHow;

static gboolean plan_one(World *world, Db *db, RunPlaces *hosts, const DesktopRow *desktop,
                         StartHow how, BatchPlan *plan, GError **error)
{
    g_auto(RunRow) run = { 0 };
    g_auto(SuspensionRow) memory = { 0 };
    const PlaceHost *host;
    Id incarnation = id_new();

    if (run_lookup(db, desktop->id, &run, NULL)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_EXISTS, "it is on already (%s)", run.state);
        return FALSE;
    }
    gboolean has_memory = how != START_FRESH && find_memory(world, db, desktop, &memory);
    if (how == START_SUSPENDED && !has_memory) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED, "it is not suspended");
        return FALSE;
    }
    note_memory(hosts, has_memory ? &memory : NULL);
    if (!(host = run_place(world, db, hosts, desktop, NULL, NULL, error))) {
        if (has_memory)
            imaged_error_hint(error,
                              "start it without what it had in its memory: imagectl desktop"
                              " start %s --fresh",
                              desktop->name);
        return FALSE;
    }
    json_t *keys = json_array();
    claims_add(keys, 'x', "run", desktop->id);
    claims_add(keys, 's', "desktop", desktop->id);
    claims_add(keys, 's', "host", host->id);
    batch_plan_add(plan,
                   json_pack("{s:s,s:s,s:s,s:s,s:s,s:b}", "id", desktop->id, "name", desktop->name,
                             "host", host->id, "host_name", host->name, "incarnation",
                             incarnation.s, "memory", has_memory),
                   keys);
    return TRUE;
}

static gboolean plan_all(OpsCall *call, const LookupRows *desktops, StartHow how, BatchPlan *plan,
                         GError **error)
{
    g_auto(RunPlaces) hosts = { 0 };
    Db *db = catalog_read_begin(call->world->catalog);

    batch_plan_init(plan, call->world, &desktop_start_job);
    gboolean ok = run_places_load(call->world, db, &hosts, error);
    for (guint i = 0; ok && i < desktops->rows->len; i++) {
        const DesktopRow *row = desktops->rows->pdata[i];
        g_autoptr(GError) why = NULL;
        if (!plan_one(call->world, db, &hosts, row, how, plan, &why))
            batch_plan_reject(plan, row->name, why);
    }
    catalog_read_end(call->world->catalog, db);
    return ok;
}

gboolean run_start_plan_suspended(OpsCall *call, const LookupRows *desktops, BatchPlan *plan,
                                  GError **error)
{
    return plan_all(call, desktops, START_SUSPENDED, plan, error);
}

static gboolean plan_start(OpsCall *call, const LookupRows *desktops, BatchPlan *plan,
                           GError **error)
{
    gboolean is_fresh;

    rollouts_before_start(call->world, desktops);
    return args_bool(call, "fresh", &is_fresh, error) &&
           plan_all(call, desktops, is_fresh ? START_FRESH : START_ANY, plan, error);
}

json_t *ops_desktop_start(OpsCall *call, GError **error)
{
    return submit_counted(call, "names prefix template fresh", QUOTA_RUNNING, plan_start, error);
}
