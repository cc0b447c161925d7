/* drain.c: everything that stands in a store is moved to another; then the store can be removed.
 *
 * Desktops first (each as in move.c), then template versions: the copy in the other store becomes
 * their home.  What the trash holds stays until it expires or is emptied. */
#include "imaged/base/error.h"
#include "imaged/base/units.h"
#include "imaged/ops/jobs.h"
#include "imaged/ops/move.h"
#include "templates/template.h"

gboolean jobs_plan_drain(World *world, const char *from, const char *to, const char *who,
                         JobRequest *ret, GError **error)
{
    g_autofree char *from_id = store_set_find(world->stores, from, error);
    g_autofree char *to_id = from_id ? store_set_find(world->stores, to, error) : NULL;

    if (!to_id)
        return FALSE;
    if (g_str_equal(from_id, to_id)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "a store can't be drained to itself");
        return FALSE;
    }
    json_t *keys = json_array();
    claims_add(keys, 'x', "drain", from_id);
    claims_add(keys, 's', "making", to_id);
    if (!claims_take(world->claims, keys, drain_job.kind, error)) {
        json_decref(keys);
        return FALSE;
    }
    Changes *changes = changes_new();
    changes_sql(changes, "UPDATE store SET state = 'draining' WHERE id = ?1", "t", from_id);
    changes_event(changes, "store.drain", "info", from, who, "no new layers go there");
    *ret = (JobRequest){ .type = &drain_job, .claims = keys, .changes = changes,
                         .plan = json_pack("{s:s,s:s}", "from", from_id, "store_id", to_id) };
    return TRUE;
}

/* Let the copy in the other store be the version's home, and give the old one back unless something
 * in the trash stands on it. */
static gboolean move_version(Job *job, World *world, const VersionRow *row, const char *from,
                             const char *to, GError **error)
{
    g_auto(LayerRow) copy = { 0 };
    g_auto(LookupRows) old = { 0 };
    g_auto(TemplateRow) template = { 0 };

    if (!template_replicate(job, world, row->id, to, &copy, error))
        return FALSE;
    Changes *changes = changes_new();
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok = lookup_template_by_id(db, row->template_id, &template, error) &&
                  lookup_rows(db, ROW_LAYER, &old, error,
                              "SELECT * FROM layer l WHERE owner_id = ?1 AND store_id = ?2 AND NOT"
                              " EXISTS (SELECT 1 FROM layer c WHERE c.parent_id = l.id)",
                              "tt", row->id, from);
    VersionRow changed = *row;
    if (g_str_equal(row->layer_id, copy.id) == FALSE) {
        changed.layer_id = copy.id;
        changed.changed_at = units_now_ms();
    }
    for (guint i = 0; ok && i < old.rows->len; i++) {
        LayerRow layer = *(LayerRow *)old.rows->pdata[i];
        layer.state = "reclaim";
        layer.place = "trash";
        changes_put(changes, ROW_LAYER, &layer, from);
    }
    if (ok)
        template_put_version(db, changes, &template, &changed);
    catalog_read_end(world->catalog, db);
    if (ok)
        return catalog_commit(world->catalog, changes, error);
    changes_free(changes);
    return FALSE;
}

static gboolean move_versions(Job *job, World *world, const char *from, const char *to,
                              GError **error)
{
    g_auto(LookupRows) versions = { 0 };
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok =
        lookup_rows(db, ROW_VERSION, &versions, error,
                    "SELECT * FROM version WHERE is_trashed = 0 AND id IN (SELECT owner_id"
                    " FROM layer WHERE store_id = ?1 AND state = 'frozen')",
                    "t", from);

    catalog_read_end(world->catalog, db);
    for (guint i = 0; ok && i < versions.rows->len; i++)
        ok = job_check(job, error) &&
             move_version(job, world, versions.rows->pdata[i], from, to, error);
    return ok;
}

/* The desktops' moves are planned when the job runs, so that a resumed drain sees what is left. */
static gboolean move_desktops(Job *job, World *world, const char *from, const char *to,
                              GError **error)
{
    g_auto(LookupRows) desktops = { 0 };
    g_autoptr(GError) first = NULL;
    guint n_failed = 0;
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok = lookup_rows(db, ROW_DESKTOP, &desktops, error,
                              "SELECT * FROM desktop d WHERE is_trashed = 0 AND (store_id = ?1 OR"
                              " EXISTS (SELECT 1 FROM layer l JOIN snapshot s ON l.id IN"
                              " (s.layer_id, s.data_layer_id) WHERE s.desktop_id = d.id AND"
                              " s.is_trashed = 0 AND l.store_id = ?1) OR EXISTS (SELECT 1 FROM"
                              " layer l WHERE l.id = d.data_layer_id AND l.store_id = ?1))",
                              "t", from);

    catalog_read_end(world->catalog, db);
    for (guint i = 0; ok && i < desktops.rows->len; i++) {
        const DesktopRow *row = desktops.rows->pdata[i];
        g_autoptr(GError) why = NULL;
        ok = job_check(job, error);
        if (ok && !move_desktop(job, world, row, to, &why)) {
            n_failed++;
            g_prefix_error(&why, "'%s': ", row->name);
            if (!first)
                first = g_steal_pointer(&why);
        }
        job_progress(job, i + 1, desktops.rows->len);
    }
    if (ok && n_failed) {
        g_propagate_prefixed_error(error, g_steal_pointer(&first),
                                   "%u of %u desktops could not be moved; the first: ", n_failed,
                                   desktops.rows->len);
        ok = FALSE;
    }
    return ok;
}

static gboolean run_drain(Job *job, gpointer data, GError **error)
{
    World *world = data;
    const char *from = json_string_value(json_object_get(job_plan(job), "from"));
    const char *to = json_string_value(json_object_get(job_plan(job), "store_id"));

    store_set_mark_draining(world->stores, from, TRUE);
    if (!move_desktops(job, world, from, to, error) ||
        !move_versions(job, world, from, to, error))
        return FALSE;
    Db *db = catalog_read_begin(world->catalog);
    gint64 n_left = lookup_int(db, "SELECT count(*) FROM layer WHERE store_id = ?1 AND state <>"
                                   " 'reclaim'", "t", from);
    catalog_read_end(world->catalog, db);
    return job_commit_done(job, changes_new(),
                           json_pack("{s:I}", "n_layers_left", (json_int_t)n_left),
                           error);
}

const JobType drain_job = { "store.drain", JOB_BULK, "desktops", run_drain };
