/* compact.c: fewer layers for the same bytes.
 *
 *   compact   each run of own layers becomes one, without what reads the same below
 *   flatten   the whole chain becomes one layer that stands on nothing
 *   shorten   the depth governor: runs without the active layer, and nothing is left out */
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "imaged/job/each.h"
#include "snapshot/archive.h"
#include "snapshot/chain.h"
#include "snapshot/merge.h"
#include "snapshot/merge_runs.h"
#include "snapshot/merges.h"

#define GOVERN_BATCH 100 /* desktops in one job of the governor */

static void plan_desktop(Db *db, BatchPlan *plan, const DesktopRow *row)
{
    json_t *keys = json_array();

    claims_add(keys, 'x', "snapshots", row->id);
    claims_add(keys, 'x', "layers", row->id);
    chain_claim_making(db, keys, row->store_id, row->data_layer_id);
    batch_plan_add(plan, json_pack("{s:s,s:s}", "id", row->id, "name", row->name), keys);
}

static gboolean plan_all(World *world, const LookupRows *desktops, const JobType *type,
                         BatchPlan *plan)
{
    Db *db = catalog_read_begin(world->catalog);

    batch_plan_init(plan, world, type);
    for (guint i = 0; i < desktops->rows->len; i++)
        plan_desktop(db, plan, desktops->rows->pdata[i]);
    catalog_read_end(world->catalog, db);
    return TRUE;
}

gboolean desktop_plan_compact(World *world, const LookupRows *desktops, BatchPlan *plan,
                              GError **error)
{
    return plan_all(world, desktops, &desktop_compact_job, plan);
}

gboolean desktop_plan_flatten(World *world, const LookupRows *desktops, BatchPlan *plan,
                              GError **error)
{
    return plan_all(world, desktops, &desktop_flatten_job, plan);
}

typedef struct {
    gboolean drop, is_flat, is_governor, is_live;
} Mode;

/* The ids are derived from the job and the run's top, so a resumed job makes the same ones. */
static gboolean merge_one(Job *job, World *world, const Mode *mode, const char *bottom,
                          const char *top, gboolean *ret_needless, GError **error)
{
    Id merged = id_derive(job_id(job), top, "merged"), trash = id_derive(job_id(job), top, "trash");
    Merge merge = { .top = top,
                    .bottom = bottom,
                    .merged = merged.s,
                    .trash = trash.s,
                    .drop = mode->drop,
                    .ret_needless = mode->drop ? ret_needless : NULL,
                    .is_paced = mode->is_governor,
                    .is_live = mode->is_live };

    return merge_layers(job, world, &merge, NULL, error);
}

/* Was this layer made by this job before a stop? */
static gboolean is_ours(Job *job, Db *db, const char *desktop_id, const char *layer_id)
{
    gboolean is = FALSE;
    Query *q = db_query(db, "SELECT layer_id FROM trash WHERE desktop_id = ?1 AND"
                            " reason = 'merged'", "t", desktop_id);

    while (query_next(q)) {
        Id merged = id_derive(job_id(job), query_text(q, "layer_id"), "merged");
        is |= g_str_equal(merged.s, layer_id);
    }
    query_end(q, NULL);
    return is;
}

/* ret_n: so many layers became one; none if the disk stands on nothing already, or if nothing is to
 * be left out of the only one. */
static gboolean merge_run(Job *job, World *world, const Mode *mode, const char *desktop_id,
                          const Run *run, guint *ret_n, GError **error)
{
    gboolean is_needless = FALSE;
    g_autofree char *base = NULL;
    const char *top = mode->is_governor ? run->frozen_top : run->top;
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok = TRUE, is_done = is_ours(job, db, desktop_id, top);

    *ret_n = run->n - (mode->is_governor && run->is_active ? 1 : 0);
    if (mode->is_flat) {
        g_auto(LookupRows) chain = { 0 };
        if ((ok = chain_rows(db, top, &chain, error))) {
            base = g_strdup(row_id(chain.rows->pdata[0]));
            if (chain.rows->len == 1 && !is_done) {
                is_done = TRUE;
                *ret_n = 0;
            }
        }
    }
    catalog_read_end(world->catalog, db);
    if (!ok || is_done)
        return ok;
    ok = merge_one(job, world, mode, base ? base : run->bottom, top, &is_needless, error);
    *ret_n = is_needless ? 0 : *ret_n;
    return ok;
}

/* Is this run one that the mode is about?  The governor leaves a disk's active layer alone. */
static gboolean is_wanted(const Mode *mode, const Run *run)
{
    if (mode->is_flat)
        return run->is_active;
    return mode->is_governor ? run->n > (run->is_active ? 2 : 1) : TRUE;
}

static gboolean check_present(const DesktopRow *desktop, GError **error)
{
    if (desktop->is_trashed)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "it was deleted meanwhile");
    return !desktop->is_trashed;
}

/* What the next archive will have to store again, because a target has these layers as they are. */
static gint64 archive_cost(Db *db, const char *layer_id, const GArray *runs, const Mode *mode)
{
    g_auto(LookupRows) chain = { 0 };
    g_autoptr(GPtrArray) ids = g_ptr_array_new();
    guint next = 0;

    if (!chain_rows(db, layer_id, &chain, NULL))
        return 0;
    for (guint i = 0; i < runs->len; i++) {
        const Run *run = &g_array_index(runs, Run, i);
        guint first = chain.rows->len - chain_n_own(&chain) + next;
        next += run->n;
        for (guint k = 0; is_wanted(mode, run) && k < run->n; k++)
            g_ptr_array_add(ids, (gpointer)row_id(chain.rows->pdata[first + k]));
    }
    return archive_cost_of_merge(db, (const char *const *)ids->pdata, ids->len);
}

/* What came of a desktop's disks. */
typedef struct {
    guint n_merged;
    gint64 before, after, archive_again; /* bytes */
} Outcome;

static const char *disk_layer(const DesktopRow *desktop, gboolean is_data)
{
    return is_data ? desktop->data_layer_id : desktop->layer_id;
}

/* Merge the runs of one of the disks, if the desktop has it. */
static gboolean work_disk(Job *job, World *world, const DesktopRow *desktop, gboolean is_data,
                          const Mode *mode, Outcome *out, GError **error)
{
    const char *layer_id = disk_layer(desktop, is_data);
    Db *db = catalog_read_begin(world->catalog);
    g_autoptr(GArray) runs = layer_id ? runs_of_disk(db, desktop, layer_id, error) : NULL;
    gboolean ok = runs || !layer_id;

    if (runs) {
        out->before += chain_own_bytes(world, db, layer_id);
        out->archive_again += archive_cost(db, layer_id, runs, mode);
    }
    catalog_read_end(world->catalog, db);
    for (guint i = 0; ok && runs && i < runs->len; i++) {
        const Run *run = &g_array_index(runs, Run, i);
        if (is_wanted(mode, run)) {
            guint n = 0;
            ok = job_check(job, error) && merge_run(job, world, mode, desktop->id, run, &n, error);
            out->n_merged += n;
        }
    }
    return ok;
}

static gint64 bytes_after(World *world, const char *desktop_id)
{
    g_auto(DesktopRow) desktop = { 0 };
    gint64 sum = 0;
    Db *db = catalog_read_begin(world->catalog);

    if (lookup_desktop_by_id(db, desktop_id, &desktop, NULL))
        sum = chain_own_bytes(world, db, desktop.layer_id) +
              (desktop.data_layer_id ? chain_own_bytes(world, db, desktop.data_layer_id) : 0);
    catalog_read_end(world->catalog, db);
    return sum;
}

static gboolean work(Job *job, World *world, json_t *item, const Mode *mode, GError **error)
{
    g_auto(DesktopRow) desktop = { 0 };
    Outcome out = { 0 };
    Db *db = catalog_read_begin(world->catalog);
    const char *id = json_string_value(json_object_get(item, "id"));
    gboolean ok = lookup_desktop_by_id(db, id, &desktop, error) && check_present(&desktop, error);

    catalog_read_end(world->catalog, db);
    if (!ok || !work_disk(job, world, &desktop, FALSE, mode, &out, error) ||
        !work_disk(job, world, &desktop, TRUE, mode, &out, error))
        return FALSE;
    out.after = bytes_after(world, id);
    json_object_set_new(item, "result",
                        json_pack("{s:i,s:I,s:I,s:I}", "n_layers", (int)out.n_merged,
                                  "before_bytes", (json_int_t)out.before, "after_bytes",
                                  (json_int_t)out.after, "archive_again_bytes",
                                  (json_int_t)out.archive_again));
    gint64 archive_again = out.n_merged ? out.archive_again : 0;
    g_autofree char *size = units_format_size((guint64)archive_again);
    g_autofree char *again = archive_again
                                 ? g_strdup_printf("; the next archive stores about %s again", size)
                                 : g_strdup("");
    Changes *changes = changes_new();
    g_autofree char *words = mode->drop && out.n_merged == 0
                                 ? g_strdup("it is compact already: nothing was written")
                                 : g_strdup_printf("%u layer%s merged%s", out.n_merged,
                                                   out.n_merged == 1 ? "" : "s", again);
    changes_event(changes, job_type_kind(job), "info",
                  json_string_value(json_object_get(item, "name")), job_owner(job), "%s", words);
    return job_commit(job, changes, job_step(job) + 1, error);
}

static gboolean compact_one(Job *job, World *world, json_t *item, GError **error)
{
    return work(job, world, item, &(Mode){ .drop = TRUE }, error);
}

static gboolean flatten_one(Job *job, World *world, json_t *item, GError **error)
{
    return work(job, world, item, &(Mode){ .is_flat = TRUE }, error);
}

static gboolean shorten_one(Job *job, World *world, json_t *item, GError **error)
{
    return work(job, world, item, &(Mode){ .is_governor = TRUE }, error);
}

gboolean merges_shorten_live(Job *job, World *world, json_t *item, GError **error)
{
    return work(job, world, item, &(Mode){ .is_governor = TRUE, .is_live = TRUE }, error);
}

static gboolean run_compact(Job *job, gpointer world, GError **error)
{
    return job_each(job, world, compact_one, error);
}

static gboolean run_flatten(Job *job, gpointer world, GError **error)
{
    return job_each(job, world, flatten_one, error);
}

static gboolean run_shorten(Job *job, gpointer world, GError **error)
{
    return job_each(job, world, shorten_one, error);
}

const JobType desktop_compact_job = { "desktop.compact", JOB_BULK, "bytes", run_compact };
const JobType desktop_flatten_job = { "desktop.flatten", JOB_BULK, "bytes", run_flatten };
const JobType desktop_shorten_job = { "desktop.shorten", JOB_BULK, "bytes", run_shorten };

/* Own layers of an active chain that are no snapshot, the active one not counted: those that the
 * governor can do something about.  Of the disk that has more of them. */
static guint n_mergeable(Db *db, const DesktopRow *row)
{
    guint most = 0;

    for (guint k = 0; k < 2; k++) {
        const char *layer_id = disk_layer(row, k == 1);
        g_autoptr(GArray) runs = layer_id ? runs_of_disk(db, row, layer_id, NULL) : NULL;
        guint n = 0;
        for (guint i = 0; runs && i < runs->len; i++) {
            const Run *run = &g_array_index(runs, Run, i);
            n += is_wanted(&(Mode){ .is_governor = TRUE }, run) ? run->n - (run->is_active ? 1 : 0)
                                                                : 0;
        }
        most = MAX(most, n);
    }
    return most;
}

gboolean merges_is_deep(World *world, Db *db, const DesktopRow *desktop)
{
    guint max = world->settings.max_chain_depth;

    return max && n_mergeable(db, desktop) > max;
}

static gboolean is_disk_at_rest(World *world, Db *db, const char *layer_id)
{
    g_auto(LayerRow) layer = { 0 };
    gboolean is_live = TRUE;

    if (!lookup_layer(db, layer_id, &layer, NULL))
        return FALSE;
    g_autoptr(Store) store = store_set_peek(world->stores, layer.store_id);
    g_autoptr(Layer) file = store ? store_open_layer(store, layer.slot, &is_live, NULL) : NULL;
    return file && !is_live;
}

static gboolean is_at_rest(World *world, Db *db, const DesktopRow *row)
{
    return is_disk_at_rest(world, db, row->layer_id) &&
           (!row->data_layer_id || is_disk_at_rest(world, db, row->data_layer_id));
}

void merges_govern(World *world)
{
    g_auto(LookupRows) rows = { 0 };
    g_auto(BatchPlan) plan = { 0 };
    guint max = world->settings.max_chain_depth;
    Db *db = catalog_read_begin(world->catalog);

    batch_plan_init(&plan, world, &desktop_shorten_job);
    if (!max || lookup_int(db,
                           "SELECT EXISTS (SELECT 1 FROM job WHERE kind = 'desktop.shorten' AND"
                           " state IN ('queued', 'running'))",
                           "")) {
        catalog_read_end(world->catalog, db);
        return;
    }
    lookup_rows(db, ROW_DESKTOP, &rows, NULL,
                "SELECT d.* FROM desktop d WHERE d.is_trashed = 0 AND d.id IN (SELECT owner_id FROM"
                " layer WHERE owner_kind IN ('desktop', 'data') AND state = 'frozen' GROUP BY"
                " owner_id, owner_kind HAVING count(*) > ?1) ORDER BY random() LIMIT ?2",
                "ii", (gint64)max, (gint64)GOVERN_BATCH);
    for (guint i = 0; rows.rows && i < rows.rows->len; i++) {
        const DesktopRow *row = rows.rows->pdata[i];
        if (n_mergeable(db, row) > max && is_at_rest(world, db, row))
            plan_desktop(db, &plan, row);
    }
    catalog_read_end(world->catalog, db);
    if (json_array_size(plan.items)) {
        JobRequest request = { .owner = "imaged" };
        batch_plan_take(&plan, &request);
        g_free(job_submit(world->jobs, &request, NULL));
    }
}
