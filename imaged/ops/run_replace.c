/* run_replace.c: see run_replace.h.
 *
 *   its host says that it is off -> its run is over -> the disk is replaced -> it is started again
 *
 * The desktop's own claim is free once the run has given up its share.  The guest is asked to shut
 * down where it has a data disk, which stays; else what it would still write is thrown away anyhow.
 */
#include "imaged/ops/run_replace.h"

#include "broker/run/live.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/ops/jobs.h"

#define SHUT_DOWN_MS 60000
#define CLAIM_WAIT_MS 600000
#define LOOK_US 300000

static const char *text(const json_t *item, const char *key)
{
    return json_string_value(json_object_get(item, key));
}

/* ---- Planning ---- */

/* Where it will be started again: where it is, unless that is to be emptied. */
static char *find_host(World *world, Db *db, RunPlaces *places, const DesktopRow *desktop,
                       const RunRow *run, GError **error)
{
    g_auto(HostRow) host = { 0 };

    if (!host_lookup(db, run->host_id, &host, error))
        return NULL;
    if (!host.is_maintenance)
        return g_strdup(host.id);
    const PlaceHost *place = run_place(world, db, places, desktop, NULL, host.id, error);
    return place ? g_strdup(place->id) : NULL;
}

gboolean run_replace_plan(World *world, Db *db, RunPlaces *places, const DesktopRow *desktop,
                          json_t *item, json_t *keys, GError **error)
{
    Id incarnation = id_new();
    g_auto(RunRow) run = { 0 };

    if (!run_lookup(db, desktop->id, &run, NULL)) {
        claims_add(keys, 'x', "run", desktop->id); /* nor is it started before its turn comes */
        return TRUE;
    }
    g_autofree char *host = find_host(world, db, places, desktop, &run, error);
    if (!host)
        return FALSE;
    claims_add(keys, 'x', "run", desktop->id);
    claims_add(keys, 's', "host", host);
    json_object_set_new(item, "before", json_string(run.incarnation));
    json_object_set_new(item, "incarnation", json_string(incarnation.s));
    json_object_set_new(item, "host", json_string(host));
    return TRUE;
}

/* FALSE: its item is rejected. */
static gboolean amend_one(BatchPlan *plan, Db *db, RunPlaces *places, json_t *item)
{
    g_auto(DesktopRow) desktop = { 0 };
    g_autoptr(GError) why = NULL;
    json_t *keys = json_array();
    gboolean ok = lookup_desktop_by_id(db, text(item, "id"), &desktop, &why) &&
                  run_replace_plan(plan->world, db, places, &desktop, item, keys, &why);

    json_array_remove(keys, 0); /* its run, which the plan has already */
    if (ok)
        ok = batch_plan_claim(plan, keys, &why);
    else
        json_decref(keys);
    if (!ok)
        batch_plan_reject(plan, text(item, "name"), why);
    return ok;
}

gboolean run_replace_amend(BatchPlan *plan, const JobType *type, GError **error)
{
    g_auto(RunPlaces) places = { 0 };
    Db *db = catalog_read_begin(plan->world->catalog);
    gboolean ok = run_places_load(plan->world, db, &places, error);

    for (gsize i = json_array_size(plan->items); ok && i-- > 0;) {
        if (!amend_one(plan, db, &places, json_array_get(plan->items, i)))
            json_array_remove(plan->items, i); /* its claims go with the job's */
    }
    catalog_read_end(plan->world->catalog, db);
    plan->type = type;
    return ok;
}

/* ---- The three parts ---- */

static gboolean is_off(World *world, const RunRow *run)
{
    g_autoptr(GError) local = NULL;
    HostDomain *d = live_find(world, run->host_id, run, &local);

    host_domain_free(d);
    return !d && g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND);
}

static gboolean check_goes_on(Job *job, GError **error)
{
    return !job_is_stopping(job) || job_check(job, error);
}

/* FALSE: it is not off, or nobody can tell. */
static gboolean switch_off(Job *job, World *world, const DesktopRow *desktop, const RunRow *run,
                           GError **error)
{
    gint64 until_us = g_get_monotonic_time() + SHUT_DOWN_MS * 1000;
    gboolean may_wait = desktop->data_layer_id && live_shut_down(world, run, NULL);

    while (may_wait && !is_off(world, run) && g_get_monotonic_time() < until_us) {
        if (!check_goes_on(job, error))
            return FALSE;
        g_usleep(LOOK_US);
    }
    if (is_off(world, run) || (live_destroy(world, run->host_id, run, error) && is_off(world, run)))
        return TRUE;
    if (error && !*error)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY, "it does not end");
    return FALSE;
}

gboolean run_replace_stop(Job *job, World *world, const json_t *item, GError **error)
{
    g_auto(DesktopRow) desktop = { 0 };
    g_auto(RunRow) run = { 0 };
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok = lookup_desktop_by_id(db, text(item, "id"), &desktop, error);
    gboolean runs = ok && run_lookup(db, desktop.id, &run, NULL);

    catalog_read_end(world->catalog, db);
    if (!ok || !runs || g_strcmp0(run.incarnation, text(item, "incarnation")) == 0)
        return ok; /* it is off, or started again before a stop */
    if (g_strcmp0(run.incarnation, text(item, "before")) != 0) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY, "it was started meanwhile");
        return FALSE;
    }
    if (!switch_off(job, world, &desktop, &run, error))
        return FALSE;
    Changes *changes = changes_new();
    run_delete(changes, &run);
    if (!job_commit(job, changes, job_step(job) + 1, error))
        return FALSE;
    runs_let_go(world->runs, desktop.id);
    return TRUE;
}

/* As world_wait_claims(), but a cancelled job waits, too: who was switched off is to go on. */
static gboolean wait_claims(Job *job, World *world, const json_t *keys, GError **error)
{
    gint64 until_us = g_get_monotonic_time() + CLAIM_WAIT_MS * (gint64)1000;

    for (;;) {
        g_autoptr(GError) local = NULL;
        if (claims_take(world->claims, keys, job_type_kind(job), &local))
            return TRUE;
        if (!check_goes_on(job, error))
            return FALSE;
        if (g_get_monotonic_time() >= until_us) {
            g_propagate_error(error, g_steal_pointer(&local));
            return FALSE;
        }
        g_usleep(20000);
    }
}

gboolean run_replace_disk(Job *job, World *world, json_t *item, const RunReplace *how,
                          GError **error)
{
    json_auto_t *keys = json_array();

    if (how->is_done(world, item))
        return TRUE;
    claims_add(keys, 'x', "desktop", text(item, "id"));
    if (!wait_claims(job, world, keys, error))
        return FALSE;
    gboolean ok = how->replace(job, world, item, how->user, error);
    claims_release(world->claims, keys);
    return ok;
}

gboolean run_replace_start(Job *job, World *world, json_t *item, GError **error)
{
    return !text(item, "incarnation") || run_start_one(job, world, item, error);
}

/* Its disk was not replaced: it goes on as it was. */
static void start_anyway(Job *job, World *world, json_t *item, GError **error)
{
    g_autoptr(GError) local = NULL;

    if (!job_is_stopping(job) && !run_replace_start(job, world, item, &local))
        g_prefix_error(error, "it is off now (%s): ", local->message);
}

gboolean run_replace(Job *job, World *world, json_t *item, const RunReplace *how, GError **error)
{
    if (!run_replace_stop(job, world, item, error))
        return FALSE;
    if (run_replace_disk(job, world, item, how, error))
        return run_replace_start(job, world, item, error);
    start_anyway(job, world, item, error);
    return FALSE;
}
