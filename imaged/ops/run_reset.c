/* run_reset.c: see run_reset.h.  Off, and on again: run_replace.h. */
#include "imaged/ops/run_reset.h"

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/job/each.h"
#include "imaged/ops/jobs.h"
#include "imaged/ops/run_replace.h"
#include "snapshot/reimage.h"

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

static gboolean plan_one(World *world, Db *db, RunPlaces *places, const DesktopRow *desktop,
                         gint64 to, BatchPlan *plan, GError **error)
{
    Id layer = id_new(), trash = id_new();
    g_autofree char *version = find_version(db, desktop, to, error);

    if (!version)
        return FALSE;
    json_t *keys = json_array();
    json_t *item =
        json_pack("{s:s,s:s,s:s,s:s,s:s,s:s}", "id", desktop->id, "name", desktop->name, "layer",
                  layer.s, "trash", trash.s, "version", version, "store", desktop->store_id);
    claims_add(keys, 's', "version", version);
    claims_add(keys, 's', "making", desktop->store_id);
    if (!run_replace_plan(world, db, places, desktop, item, keys, error)) {
        json_decref(item);
        json_decref(keys);
        return FALSE;
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

/* ---- Replacing ---- */

static gboolean is_replaced(World *world, const json_t *item)
{
    g_auto(DesktopRow) desktop = { 0 };
    Db *db = catalog_read_begin(world->catalog);
    gboolean is = lookup_desktop_by_id(db, text(item, "id"), &desktop, NULL) &&
                  g_str_equal(desktop.layer_id, text(item, "layer"));

    catalog_read_end(world->catalog, db);
    return is;
}

static gboolean prepare(BatchChunk *chunk, GError **error)
{
    if (!reimage_prepare(chunk, error))
        return FALSE;
    batch_event(chunk, "desktop.reset", "re-imaged", "desktops");
    return TRUE;
}

static gboolean replace(Job *job, World *world, json_t *item, gpointer user, GError **error)
{
    static const BatchType type = { prepare, reimage_undo_prepare, batch_move_now };

    return batch_run_one(job, world, item, &type, error);
}

static gboolean reset_one(Job *job, World *world, json_t *item, GError **error)
{
    static const RunReplace how = { is_replaced, replace, NULL };

    return run_replace(job, world, item, &how, error);
}

static gboolean run_reset(Job *job, gpointer world, GError **error)
{
    return job_each(job, world, reset_one, error);
}

const JobType reset_running_job = { "desktop.reset-running", JOB_LONG, "desktops", run_reset };

/* ---- Former disks and snapshots ---- */

/* What was done before a stop is found by the parts themselves. */
static gboolean never_done(World *world, const json_t *item)
{
    return FALSE;
}

typedef gboolean (*DiskStep)(Job *job, World *world, json_t *item, GError **error);

static gboolean do_step(Job *job, World *world, json_t *item, gpointer step, GError **error)
{
    return (*(const DiskStep *)step)(job, world, item, error);
}

static gboolean revert_running_one(Job *job, World *world, json_t *item, GError **error)
{
    DiskStep step = revert_one;
    const RunReplace how = { never_done, do_step, &step };

    return run_replace(job, world, item, &how, error);
}

static gboolean undo_running_one(Job *job, World *world, json_t *item, GError **error)
{
    DiskStep step = reimage_undo_one;
    const RunReplace how = { never_done, do_step, &step };

    return run_replace(job, world, item, &how, error);
}

static gboolean run_revert(Job *job, gpointer world, GError **error)
{
    return job_each(job, world, revert_running_one, error);
}

static gboolean run_undo(Job *job, gpointer world, GError **error)
{
    return job_each(job, world, undo_running_one, error);
}

const JobType revert_running_job = { "snapshot.revert-running", JOB_LONG, "desktops", run_revert };
const JobType undo_running_job = { "desktop.undo-reset-running", JOB_LONG, "desktops", run_undo };
