/* advice.c: see advice.h.  One row of the report is one template version in one store: chains never
 * cross stores, and so no common base can. */
#include "snapshot/advice.h"

#include "imaged/base/error.h"
#include "imaged/base/units.h"
#include "imaged/catalog/lookup.h"

#define BYTES(n) ((json_int_t)((n)*BLOCK_DIGEST_BLOCK))
#define MAX_LISTED 100u /* desktops in each list of the answer */

gboolean advice_plan(World *world, const char *template, gint64 share, JobRequest *ret,
                     GError **error)
{
    gboolean is_there = TRUE;

    if (template) {
        Db *db = catalog_read_begin(world->catalog);
        is_there = lookup_int(db,
                              "SELECT EXISTS (SELECT 1 FROM version v JOIN template t ON"
                              " t.id = v.template_id WHERE v.is_trashed = 0 AND (t.name = ?1 OR"
                              " t.name || ':' || v.version = ?1))",
                              "t", template) != 0;
        catalog_read_end(world->catalog, db);
    }
    if (!is_there) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "there is no template '%.80s'",
                    template);
        return FALSE;
    }
    *ret = (JobRequest){ .type = &report_advice_job,
                         .plan = json_pack("{s:s?,s:I}", "template", template, "share",
                                           (json_int_t)share) };
    return TRUE;
}

gboolean advice_frees_blocks(const Store *store)
{
    guint32 bits;
    gboolean has_subclusters;

    store_geometry(store, &bits, &has_subclusters);
    return (has_subclusters ? (1ull << bits) / QCOW2_SUBCLUSTERS : 1ull << bits) <=
           BLOCK_DIGEST_BLOCK;
}

gboolean advice_collect(World *world, const char *version_id, const char *store_id, AdviceSet *set,
                        GError **error)
{
    g_auto(LookupRows) desktops = { 0 };
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok = lookup_rows(db, ROW_DESKTOP, &desktops, error,
                              "SELECT * FROM desktop WHERE is_trashed = 0 AND version_id = ?1 AND"
                              " store_id = ?2 ORDER BY name",
                              "tt", version_id, store_id);

    catalog_read_end(world->catalog, db);
    for (guint i = 0; ok && i < desktops.rows->len; i++) {
        db = catalog_read_begin(world->catalog); /* one for each: they may be thousands */
        advice_set_add(set, db, desktops.rows->pdata[i]);
        catalog_read_end(world->catalog, db);
    }
    return ok;
}

static guint64 compact_blocks(const AdviceDiff *d)
{
    return d->is_read && !d->has_snapshots ? d->n_zero + d->n_below + d->n_hidden : 0;
}

AdviceGain advice_gain(const AdviceSet *set)
{
    AdviceGain gain = { .layer_bytes = (guint64)set->blocks->len * BLOCK_DIGEST_BLOCK,
                        .freed_bytes = set->n_freed * BLOCK_DIGEST_BLOCK,
                        .added_bytes = set->n_added * BLOCK_DIGEST_BLOCK };

    for (guint i = 0; i < set->diffs->len; i++) {
        const AdviceDiff *d = &g_array_index(set->diffs, AdviceDiff, i);
        if (advice_is_eligible(set, d))
            gain.compact_bytes += compact_blocks(d) * BLOCK_DIGEST_BLOCK;
    }
    gain.gain_bytes = (gint64)(gain.freed_bytes + gain.compact_bytes) -
                      (gint64)(gain.added_bytes + gain.layer_bytes);
    return gain;
}

/* ---- The answer ---- */

static json_t *diff_object(const AdviceDiff *d)
{
    return json_pack("{s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:b}", "id", d->id, "name", d->name,
                     "data_bytes", BYTES(d->n_data), "zero_bytes", BYTES(d->n_zero), "below_bytes",
                     BYTES(d->n_below), "hidden_bytes", BYTES(d->n_hidden), "same_offset_bytes",
                     BYTES(d->n_same), "compact_frees_bytes", BYTES(compact_blocks(d)),
                     "has_snapshots", d->has_snapshots);
}

static gint most_freed(gconstpointer left, gconstpointer right)
{
    guint64 a = compact_blocks(left), b = compact_blocks(right);

    return (b > a) - (b < a);
}

static json_t *compact_action(AdviceSet *set, const char *version)
{
    g_autofree char *command = g_strdup_printf("imagectl desktop compact --template %s", version);
    json_t *list = json_array();
    guint64 n_blocks = 0;
    guint n = 0;

    g_array_sort(set->diffs, most_freed); /* the last use of their order */
    for (guint i = 0; i < set->diffs->len; i++) {
        const AdviceDiff *d = &g_array_index(set->diffs, AdviceDiff, i);
        n_blocks += compact_blocks(d);
        n += compact_blocks(d) > 0;
        if (compact_blocks(d) && i < MAX_LISTED)
            json_array_append_new(list, diff_object(d));
    }
    return json_pack("{s:s,s:I,s:i,s:s,s:o}", "action", "compact", "frees_bytes", BYTES(n_blocks),
                     "n_desktops", (int)n, "command", command, "desktops", list);
}

static json_t *stand_in_action(const AdviceSet *set, const char *version, const char *store,
                               gint64 share, gboolean is_possible)
{
    g_autofree char *command =
        g_strdup_printf("imagectl template stand-in %s --share %" G_GINT64_FORMAT "%% --store %s",
                        version, share, store);
    AdviceGain gain = advice_gain(set);
    gboolean pays = is_possible && set->blocks->len > 0;
    const char *reason = !is_possible ? "this store's layers have no subclusters: single blocks of"
                                        " 4 KiB can't be freed in them"
                         : set->n_eligible < 2 ? ADVICE_TOO_FEW
                         : !pays               ? ADVICE_NOTHING_PAYS
                                               : NULL;

    return json_pack("{s:s,s:I,s:i,s:I,s:I,s:I,s:I,s:I,s:s?,s:s?}", "action", "stand-in",
                     "frees_bytes", (json_int_t)(pays ? gain.gain_bytes : 0), "n_desktops",
                     pays ? (int)set->n_eligible : 0, "share", (json_int_t)share, "diffs_bytes",
                     (json_int_t)(pays ? gain.freed_bytes : 0), "added_bytes",
                     (json_int_t)(pays ? gain.added_bytes : 0), "layer_bytes",
                     (json_int_t)(pays ? gain.layer_bytes : 0), "compact_bytes",
                     (json_int_t)(pays ? gain.compact_bytes : 0), "command", pays ? command : NULL,
                     "reason", reason);
}

/* The desktop that has most in common with the others at the same place. */
static json_t *donor_action(const AdviceSet *set, const char *template)
{
    const AdviceDiff *best = NULL;
    guint64 n_data = 0; /* blocks that a reset of all of them lets go of */
    int n = 0;

    for (guint i = 0; i < set->diffs->len; i++) {
        const AdviceDiff *d = &g_array_index(set->diffs, AdviceDiff, i);
        if (d->is_read && d->n_same && (!best || d->n_same > best->n_same))
            best = d;
        if (!d->is_read || d->has_snapshots)
            continue;
        n_data += d->n_data;
        n++;
    }
    guint64 n_kept = best ? best->n_data : 0; /* what the version says above the present one */
    g_autofree char *command =
        best ? g_strdup_printf("imagectl template propose %s --donor %s", template, best->name)
             : NULL;
    return json_pack("{s:s,s:s?,s:I,s:I,s:i,s:I,s:s?}", "action", "propose", "donor",
                     best ? best->name : NULL, "shared_bytes", BYTES(best ? best->n_same : 0),
                     "frees_bytes", BYTES(best && n_data > n_kept ? n_data - n_kept : 0),
                     "n_desktops", best ? n : 0, "layer_bytes", BYTES(n_kept), "command", command);
}

static json_t *left_out(const AdviceSet *set, guint *ret_n)
{
    json_t *list = json_array();

    *ret_n = 0;
    for (guint i = 0; i < set->diffs->len; i++) {
        const AdviceDiff *d = &g_array_index(set->diffs, AdviceDiff, i);
        if (d->is_read)
            continue;
        if (++*ret_n <= MAX_LISTED)
            json_array_append_new(list, json_pack("{s:s,s:s,s:s}", "id", d->id, "name", d->name,
                                                  "reason", d->problem ? d->problem : ""));
    }
    return list;
}

typedef struct {
    char *version_id, *name, *template, *store_id, *store_name;
    gint64 version;
} Row;

static void row_clear_texts(gpointer data)
{
    Row *r = data;

    g_free(r->version_id);
    g_free(r->name);
    g_free(r->template);
    g_free(r->store_id);
    g_free(r->store_name);
}

static void put(json_t *out, const char *key, guint64 n_blocks)
{
    json_object_set_new(out, key, json_integer(BYTES(n_blocks)));
}

static json_t *row_object(AdviceSet *set, const Row *row, gint64 share, gboolean frees_blocks)
{
    guint64 n_data = 0, n_zero = 0, n_below = 0, n_hidden = 0;
    guint n_left_out, n_snapshots = 0;
    json_t *left = left_out(set, &n_left_out);

    for (guint i = 0; i < set->diffs->len; i++) {
        const AdviceDiff *d = &g_array_index(set->diffs, AdviceDiff, i);
        n_data += d->n_data;
        n_zero += d->n_zero;
        n_below += d->n_below;
        n_hidden += d->n_hidden;
        n_snapshots += d->is_read && d->has_snapshots;
    }
    json_t *out =
        json_pack("{s:s,s:s,s:s,s:I,s:s,s:i,s:i,s:i}", "id", row->version_id, "name", row->name,
                  "template", row->template, "version", (json_int_t)row->version, "store",
                  row->store_name, "n_desktops", (int)(set->diffs->len - n_left_out), "n_left_out",
                  (int)n_left_out, "n_with_snapshots", (int)n_snapshots);
    put(out, "data_bytes", n_data);
    put(out, "zero_bytes", n_zero);
    put(out, "below_bytes", n_below);
    put(out, "hidden_bytes", n_hidden);
    put(out, "own_bytes", set->n_own);
    put(out, "same_offset_bytes", set->n_same);
    put(out, "same_offset_saves_bytes", set->n_same_saved);
    put(out, "anywhere_bytes", set->n_anywhere);
    put(out, "anywhere_saves_bytes", set->n_anywhere_saved);
    put(out, "mismatch_bytes", set->n_wrong);
    json_object_set_new(out, "is_upper_bound", json_boolean(!frees_blocks));
    json_object_set_new(out, "left_out", left);
    json_t *donor = donor_action(set, row->template);
    json_t *stand_in = stand_in_action(set, row->name, row->store_name, share, frees_blocks);
    json_object_set_new(out, "actions",
                        json_pack("[o,o,o]", compact_action(set, row->name), stand_in, donor));
    return out;
}

/* ---- The job ---- */

typedef struct {
    Job *job;
    World *world;
    guint64 n_made, n_kept, made_bytes;
} Advice;

static void show_progress(guint64 done, guint64 total, gpointer data)
{
    job_progress(data, done, total);
}

static gboolean add_row(Advice *a, const Row *row, gint64 share, json_t *rows, GError **error)
{
    g_auto(AdviceSet) set = { 0 };
    g_autoptr(Store) store = store_set_get(a->world->stores, row->store_id, error);

    advice_set_init(&set, a->world, (gdouble)share / 100);
    set.cache.cancel = job_cancel_flag(a->job);
    set.step = show_progress;
    set.data = a->job;
    job_message(a->job, "%s", row->name);
    if (!store || !advice_collect(a->world, row->version_id, row->store_id, &set, error) ||
        (set.diffs->len && !advice_count(&set, error)))
        return FALSE;
    if (set.diffs->len)
        json_array_append_new(rows, row_object(&set, row, share, advice_frees_blocks(store)));
    a->n_made += set.cache.n_made;
    a->n_kept += set.cache.n_kept;
    a->made_bytes += set.cache.made_bytes;
    return TRUE;
}

static GArray *find_rows(World *world, const char *template, GError **error)
{
    GArray *rows = g_array_new(FALSE, FALSE, sizeof(Row));
    Db *db = catalog_read_begin(world->catalog);
    Query *q = db_query(db,
                        "SELECT DISTINCT v.id, t.name || ':' || v.version AS name, t.name AS"
                        " template, v.version, s.id AS store_id, s.name AS store FROM desktop d"
                        " JOIN version v ON v.id = d.version_id JOIN template t ON"
                        " t.id = v.template_id JOIN store s ON s.id = d.store_id WHERE"
                        " d.is_trashed = 0 AND (?1 IS NULL OR t.name = ?1 OR"
                        " t.name || ':' || v.version = ?1) ORDER BY t.name, v.version, s.name",
                        "t", template);

    g_array_set_clear_func(rows, row_clear_texts);
    while (query_next(q)) {
        Row row = { g_strdup(query_text(q, "id")),       g_strdup(query_text(q, "name")),
                    g_strdup(query_text(q, "template")), g_strdup(query_text(q, "store_id")),
                    g_strdup(query_text(q, "store")),    query_int(q, "version") };
        g_array_append_val(rows, row);
    }
    gboolean ok = query_end(q, error);
    catalog_read_end(world->catalog, db);
    if (!ok)
        g_clear_pointer(&rows, g_array_unref);
    return rows;
}

static gboolean run_advice(Job *job, gpointer world, GError **error)
{
    Advice a = { .job = job, .world = world };
    json_t *plan = job_plan(job);
    gint64 share = json_integer_value(json_object_get(plan, "share"));
    const char *template = json_string_value(json_object_get(plan, "template"));
    g_autofree char *now = units_format_time(units_now_ms());
    g_autoptr(GArray) found = find_rows(world, template, error);
    json_t *rows = json_array();
    gboolean ok = found != NULL;

    digest_cache_trim(world);
    for (guint i = 0; ok && i < found->len; i++)
        ok =
            job_check(job, error) && add_row(&a, &g_array_index(found, Row, i), share, rows, error);
    if (!ok) {
        json_decref(rows);
        return FALSE;
    }
    return job_commit_done(job, changes_new(),
                           json_pack("{s:s,s:s,s:s,s:I,s:o,s:I,s:I,s:I}", "id", "advice", "name",
                                     "advice", "created_at", now, "block_bytes",
                                     (json_int_t)BLOCK_DIGEST_BLOCK, "rows", rows, "n_digests_made",
                                     (json_int_t)a.n_made, "n_digests_kept", (json_int_t)a.n_kept,
                                     "digested_bytes", (json_int_t)a.made_bytes),
                           error);
}

const JobType report_advice_job = { "report.advice", JOB_BULK, "bytes", run_advice };
