/* run_reset.c: see run_reset.h.
 *
 *   its host says that it is off -> its run is over -> the disk is replaced -> it is started again
 *
 * The job has the run's claim throughout, so nobody starts it between; the desktop's own claim it
 * gets when the run has given up its share.  The guest is asked to shut down where it has a data
 * disk, which stays; else what it would still write is thrown away anyhow. */
#include "imaged/ops/run_reset.h"

#include "broker/run/live.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/job/each.h"
#include "imaged/ops/jobs.h"
#include "imaged/ops/run_place.h"
#include "snapshot/reimage.h"

#define SHUT_DOWN_MS 60000
#define CLAIM_WAIT_MS 600000
#define LOOK_US 300000

static const char *text(const json_t *item, const char *key)
{
    return json_string_value(json_object_get(item, key));
}

/* ---- Planning ---- */

/* The version that it will stand on, with a copy in its store.  Caller frees. */
static char *find_version(Db *db, const DesktopRow *desktop, gint64 to, GError **error)
{
    g_auto(LayerRow) layer = { 0 };
    g_autofree char *id = NULL;
    Query *q = db_query(db,
                        "SELECT w.id AS id FROM version v JOIN version w ON"
                        " w.template_id = v.template_id WHERE v.id = ?1 AND w.is_trashed = 0 AND"
                        " CASE WHEN ?2 = 0 THEN w.id = v.id ELSE w.version = ?2 AND"
                        " (w.state = 'published' OR w.id = v.id) END",
                        "ti", desktop->version_id, to);

    if (query_next(q))
        id = g_strdup(query_text(q, "id"));
    if (!query_end(q, error))
        return NULL;
    if (!id)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND,
                    "its template has no such published version");
    return id && lookup_version_layer(db, id, desktop->store_id, &layer, error)
               ? g_steal_pointer(&id)
               : NULL;
}

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

static gboolean plan_one(World *world, Db *db, RunPlaces *places, const DesktopRow *desktop,
                         gint64 to, BatchPlan *plan, GError **error)
{
    Id layer = id_new(), trash = id_new(), incarnation = id_new();
    g_auto(RunRow) run = { 0 };
    gboolean runs = run_lookup(db, desktop->id, &run, NULL);
    g_autofree char *version = find_version(db, desktop, to, error);
    g_autofree char *host =
        version && runs ? find_host(world, db, places, desktop, &run, error) : NULL;

    if (!version || (runs && !host))
        return FALSE;
    json_t *keys = json_array();
    json_t *item =
        json_pack("{s:s,s:s,s:s,s:s,s:s,s:s}", "id", desktop->id, "name", desktop->name, "layer",
                  layer.s, "trash", trash.s, "version", version, "store", desktop->store_id);
    claims_add(keys, 'x', "run", desktop->id);
    claims_add(keys, 's', "version", version);
    claims_add(keys, 's', "making", desktop->store_id);
    if (runs) {
        claims_add(keys, 's', "host", host);
        json_object_set_new(item, "before", json_string(run.incarnation));
        json_object_set_new(item, "incarnation", json_string(incarnation.s));
        json_object_set_new(item, "host", json_string(host));
    }
    batch_plan_add(plan, item, keys);
    return TRUE;
}

gboolean run_reset_plan(World *world, const LookupRows *desktops, gint64 to, BatchPlan *plan,
                        GError **error)
{
    g_auto(RunPlaces) places = { 0 };
    Db *db = catalog_read_begin(world->catalog);

    batch_plan_init(plan, world, &reset_running_job);
    gboolean ok = run_places_load(world, db, &places, error);
    for (guint i = 0; ok && i < desktops->rows->len; i++) {
        const DesktopRow *row = desktops->rows->pdata[i];
        g_autoptr(GError) why = NULL;
        if (!plan_one(world, db, &places, row, to, plan, &why))
            batch_plan_reject(plan, row->name, why);
    }
    catalog_read_end(world->catalog, db);
    return ok;
}

/* ---- The three parts, each decided by what is there ---- */

static gboolean is_off(World *world, const RunRow *run)
{
    g_autoptr(GError) local = NULL;
    HostDomain *d = live_find(world, run->host_id, run, &local);

    host_domain_free(d);
    return !d && g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND);
}

/* FALSE: it is not off, or nobody can tell. */
static gboolean switch_off(Job *job, World *world, const DesktopRow *desktop, const RunRow *run,
                           GError **error)
{
    gint64 until_us = g_get_monotonic_time() + SHUT_DOWN_MS * 1000;
    gboolean may_wait = desktop->data_layer_id && live_shut_down(world, run, NULL);

    while (may_wait && !is_off(world, run) && g_get_monotonic_time() < until_us) {
        if (!job_check(job, error))
            return FALSE;
        g_usleep(LOOK_US);
    }
    if (is_off(world, run) || (live_destroy(world, run->host_id, run, error) && is_off(world, run)))
        return TRUE;
    if (error && !*error)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY, "it does not end");
    return FALSE;
}

static gboolean stop(Job *job, World *world, const json_t *item, GError **error)
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

static gboolean is_replaced(World *world, const json_t *item)
{
    g_auto(DesktopRow) desktop = { 0 };
    Db *db = catalog_read_begin(world->catalog);
    gboolean is = lookup_desktop_by_id(db, text(item, "id"), &desktop, NULL) &&
                  g_str_equal(desktop.layer_id, text(item, "layer"));

    catalog_read_end(world->catalog, db);
    return is;
}

static gboolean replace_claimed(Job *job, World *world, json_t *item, GError **error)
{
    static const BatchType type = { reimage_prepare, reimage_undo_prepare, batch_move_now };
    json_auto_t *items = json_pack("[O]", item);
    g_autoptr(BatchChunk) chunk = batch_chunk_new(job, world, job_plan(job), items, changes_new());

    if (!reimage_prepare(chunk, error))
        return FALSE;
    if (chunk->errors[0]) {
        g_propagate_error(error, g_steal_pointer(&chunk->errors[0]));
        return FALSE;
    }
    batch_event(chunk, "desktop.reset", "re-imaged", "desktops");
    return batch_chunk_commit(chunk, &type, error);
}

static gboolean replace(Job *job, World *world, json_t *item, GError **error)
{
    json_auto_t *keys = json_array();

    if (is_replaced(world, item))
        return TRUE;
    claims_add(keys, 'x', "desktop", text(item, "id"));
    if (!world_wait_claims(world, job, keys, CLAIM_WAIT_MS, error))
        return FALSE;
    gboolean ok = replace_claimed(job, world, item, error);
    claims_release(world->claims, keys);
    return ok;
}

static gboolean reset_one(Job *job, World *world, json_t *item, GError **error)
{
    if (!stop(job, world, item, error) || !replace(job, world, item, error))
        return FALSE;
    return !text(item, "incarnation") || run_start_one(job, world, item, error);
}

static gboolean run_reset(Job *job, gpointer world, GError **error)
{
    return job_each(job, world, reset_one, error);
}

const JobType reset_running_job = { "desktop.reset-running", JOB_LONG, "desktops", run_reset };
