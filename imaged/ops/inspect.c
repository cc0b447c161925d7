/* inspect.c: the jobs.
 *
 *   COMPARE (desktops: with their templates, one after the other, committed together)
 *     -> READ (the others, a helper each, some side by side) -> APPLIANCE (what is left)
 *
 * Each disk is kept when it was read, so a job that goes on after a stop leaves out what it has. */
#include "imaged/ops/inspect.h"

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "imaged/ops/args.h"
#include "imaged/ops/inspect_bases.h"
#include "imaged/ops/submit.h"

#define READERS_MAX 4u
#define COMMIT_EACH 1024u
#define POLL_US 100000

typedef struct {
    const char *id, *name; /* of the plan */
    const char *method;    /* NULL until it is done */
    gboolean needs_appliance, is_over;
    GError *why;
} Item;

typedef struct {
    Job *job;
    World *world;
    const char *kind;
    Item *items;
    guint n, n_over;
    GAsyncQueue *done; /* of Item: what a reader has ended */
} Run;

static void item_over(Run *r, Item *item, const char *method, GError *why)
{
    item->is_over = TRUE;
    item->method = method;
    item->why = why;
    job_progress(r->job, ++r->n_over, r->n);
}

/* ---- What a job that went on has already ---- */

static void skip_known(Run *r)
{
    gint64 at = json_integer_value(json_object_get(job_plan(r->job), "at"));
    gboolean is_desktop = g_str_equal(r->kind, "desktop");

    if (!job_is_resumed(r->job))
        return;
    for (guint i = 0; i < r->n; i++) {
        Db *db = catalog_read_begin(r->world->catalog);
        gint64 n = is_desktop
                       ? lookup_int(db,
                                    "SELECT count(*) FROM desktop d JOIN inspection i ON i.layer_id"
                                    " = d.layer_id WHERE d.id = ?1 AND i.inspected_at >= ?2 AND"
                                    " i.error_code IS NULL",
                                    "ti", r->items[i].id, at)
                       : lookup_int(db,
                                    "SELECT count(*) FROM version v JOIN inspection i ON i.layer_id"
                                    " = v.layer_id WHERE v.id = ?1 AND i.inspected_at >= ?2 AND"
                                    " i.error_code IS NULL",
                                    "ti", r->items[i].id, at);
        catalog_read_end(r->world->catalog, db);
        if (n)
            item_over(r, &r->items[i], "before", NULL);
    }
}

/* ---- Compare ---- */

static gboolean commit_same(Run *r, Changes **changes, GPtrArray *items, GError **error)
{
    Changes *now = *changes;

    *changes = changes_new();
    if (items->len == 0) {
        changes_free(now);
        return TRUE;
    }
    if (!catalog_commit(r->world->catalog, now, error))
        return FALSE;
    for (guint i = 0; i < items->len; i++)
        item_over(r, items->pdata[i], "template", NULL);
    g_ptr_array_set_size(items, 0);
    return TRUE;
}

static gboolean compare_all(Run *r, GError **error)
{
    g_autoptr(InspectBases) bases = inspect_bases_new(r->world, job_cancel_flag(r->job));
    g_autoptr(GPtrArray) same = g_ptr_array_new();
    Changes *changes = changes_new();
    gboolean ok = TRUE;

    for (guint i = 0; ok && i < r->n; i++) {
        Item *item = &r->items[i];
        GError *why = NULL;
        if (item->is_over)
            continue;
        if (inspect_bases_put_same(bases, item->id, changes, &why))
            g_ptr_array_add(same, item);
        else if (why)
            item_over(r, item, NULL, why);
        ok = job_check(r->job, error) &&
             (same->len < COMMIT_EACH || commit_same(r, &changes, same, error));
    }
    ok = ok && commit_same(r, &changes, same, error);
    changes_free(changes);
    return ok;
}

/* ---- Read ---- */

/* In a thread of the pool, or the job's own. */
static void read_item(gpointer data, gpointer user)
{
    Item *item = data;
    Run *r = user;
    g_auto(InspectDisk) disk = { 0 };
    gboolean with_appliance = item->needs_appliance;

    if (inspect_disk_open(r->world, r->kind, item->id, &disk, &item->why) &&
        inspect_disk_put(&disk, with_appliance, job_cancel_flag(r->job), &item->why))
        item->method = with_appliance ? "appliance" : "fast";
    if (!with_appliance && g_error_matches(item->why, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED)) {
        g_clear_error(&item->why);
        item->needs_appliance = TRUE;
    }
    g_async_queue_push(r->done, item);
}

/* Take the next one that ended.  The readers see the job's flag by themselves. */
static void take_done(Run *r)
{
    Item *item = NULL;

    while (!item)
        item = g_async_queue_timeout_pop(r->done, POLL_US);
    if (item->needs_appliance && !item->method && !item->why)
        return;
    item_over(r, item, item->method, item->why);
    job_message(r->job, "%s", item->name);
}

/* The quick way: as many at a time as there are processors. */
static gboolean read_all(Run *r, GError **error)
{
    guint n_threads = CLAMP(g_get_num_processors(), 1, READERS_MAX), n_pushed = 0, n_taken = 0;
    GThreadPool *pool = g_thread_pool_new(read_item, r, (gint)n_threads, TRUE, NULL);

    for (guint i = 0; i < r->n; i++) {
        if (r->items[i].is_over)
            continue;
        if (n_pushed - n_taken >= n_threads) {
            take_done(r);
            n_taken++;
        }
        if (!job_check(r->job, NULL))
            break;
        g_thread_pool_push(pool, &r->items[i], NULL);
        n_pushed++;
    }
    for (; n_taken < n_pushed; n_taken++)
        take_done(r);
    g_thread_pool_free(pool, FALSE, TRUE);
    return job_check(r->job, error);
}

/* One appliance at a time: each takes a processor and the better part of a GiB. */
static gboolean read_rest(Run *r, GError **error)
{
    for (guint i = 0; i < r->n && job_check(r->job, NULL); i++) {
        if (r->items[i].is_over || !r->items[i].needs_appliance)
            continue;
        job_message(r->job, "%s: by the appliance", r->items[i].name);
        read_item(&r->items[i], r);
        take_done(r);
    }
    return job_check(r->job, error);
}

/* ---- The job ---- */

static json_t *make_result(Run *r, gint64 started)
{
    json_t *list = json_array();
    gsize n_done = 0;

    for (guint i = 0; i < r->n; i++) {
        const Item *item = &r->items[i];
        json_t *out = json_pack("{s:s,s:s,s:b,s:s?}", "id", item->id, "name", item->name, "ok",
                                item->method != NULL, "method", item->method);
        if (item->why)
            json_object_set_new(out, "error", job_error_json(item->why));
        if (item->is_over)
            json_array_append(list, out);
        n_done += item->method != NULL;
        json_decref(out);
    }
    json_array_extend(list, json_object_get(job_plan(r->job), "rejected"));
    return json_pack("{s:I,s:I,s:I,s:o}", "n_done", (json_int_t)n_done, "n_failed",
                     (json_int_t)(json_array_size(list) - n_done), "elapsed_ms",
                     (json_int_t)(units_now_ms() - started), "items", list);
}

static void add_event(Run *r, Changes *changes)
{
    gboolean is_desktop = g_str_equal(r->kind, "desktop");
    guint n_failed = 0;
    const GError *why = NULL;

    for (guint i = 0; i < r->n; i++) {
        n_failed += r->items[i].why != NULL;
        why = r->items[i].why ? r->items[i].why : why;
    }
    g_autofree char *message = why ? imaged_error_message(why) : NULL;
    g_autofree char *words =
        r->n != 1 ? g_strdup_printf("inspected %u %s, %u failed", r->n - n_failed,
                                    is_desktop ? "desktops" : "template versions", n_failed)
        : message ? g_strconcat("not inspected: ", message, NULL)
                  : g_strdup("inspected");
    changes_event(changes, is_desktop ? "desktop.inspect" : "template.inspect",
                  n_failed ? "warning" : "info", r->n == 1 ? r->items[0].name : NULL,
                  job_owner(r->job), "%s", words);
}

static void load_items(Run *r)
{
    const json_t *items = json_object_get(job_plan(r->job), "items");

    r->n = (guint)json_array_size(items);
    r->items = g_new0(Item, r->n);
    for (guint i = 0; i < r->n; i++) {
        const json_t *item = json_array_get(items, i);
        r->items[i].id = json_string_value(json_object_get(item, "id"));
        r->items[i].name = json_string_value(json_object_get(item, "name"));
    }
}

static gboolean run_inspect(Job *job, gpointer world, GError **error)
{
    Run r = { .job = job,
              .world = world,
              .kind = json_string_value(json_object_get(job_plan(job), "kind")),
              .done = g_async_queue_new() };
    gint64 started = units_now_ms();

    load_items(&r);
    skip_known(&r);
    gboolean ok = (!g_str_equal(r.kind, "desktop") || compare_all(&r, error)) &&
                  read_all(&r, error) && read_rest(&r, error);
    json_t *result = make_result(&r, started);
    if (ok) {
        Changes *changes = changes_new();
        add_event(&r, changes);
        ok = job_commit_done(job, changes, result, error);
    } else {
        job_set_partial(job, result);
    }
    for (guint i = 0; i < r.n; i++)
        g_clear_error(&r.items[i].why);
    g_free(r.items);
    g_async_queue_unref(r.done);
    return ok;
}

const JobType template_inspect_job = { "template.inspect", JOB_BULK, "template versions",
                                       run_inspect };
const JobType desktop_inspect_job = { "desktop.inspect", JOB_BULK, "desktops", run_inspect };

/* ---- Plans ---- */

static void begin_plan(BatchPlan *plan, World *world, gboolean is_desktop)
{
    batch_plan_init(plan, world, is_desktop ? &desktop_inspect_job : &template_inspect_job);
    json_object_set_new(plan->plan, "kind", json_string(is_desktop ? "desktop" : "version"));
    json_object_set_new(plan->plan, "at", json_integer(units_now_ms()));
}

static void add_item(BatchPlan *plan, const char *id, const char *name)
{
    batch_plan_add(plan, json_pack("{s:s,s:s}", "id", id, "name", name), json_array());
}

static gboolean add_desktops(OpsCall *call, BatchPlan *plan, GError **error)
{
    g_auto(LookupRows) desktops = { 0 };
    json_t *missing = NULL;
    gboolean ok = submit_select(call, &desktops, &missing, error);

    for (guint i = 0; ok && i < desktops.rows->len; i++) {
        const DesktopRow *row = desktops.rows->pdata[i];
        add_item(plan, row->id, row->name);
    }
    if (ok)
        submit_reject_missing(plan, missing);
    else
        json_decref(missing);
    return ok;
}

static gboolean add_all_desktops(World *world, BatchPlan *plan, GError **error)
{
    Db *db = catalog_read_begin(world->catalog);
    Query *q = db_query(db, "SELECT id, name FROM desktop WHERE is_trashed = 0 ORDER BY name", "");

    while (query_next(q))
        add_item(plan, query_text(q, "id"), query_text(q, "name"));
    gboolean ok = query_end(q, error);
    catalog_read_end(world->catalog, db);
    return ok;
}

json_t *ops_desktop_inspect(OpsCall *call, GError **error)
{
    g_auto(BatchPlan) plan = { 0 };
    gboolean all;

    if (!args_check(call, "names prefix template all", error) ||
        !args_bool(call, "all", &all, error) || submit_is_repeat(call, error) || (error && *error))
        return NULL;
    begin_plan(&plan, call->world, TRUE);
    if (all ? !add_all_desktops(call->world, &plan, error) : !add_desktops(call, &plan, error))
        return NULL;
    return submit_plan(call, &plan, error);
}

json_t *ops_template_inspect(OpsCall *call, GError **error)
{
    g_auto(BatchPlan) plan = { 0 };
    g_auto(VersionRow) version = { 0 };
    const char *ref = args_text(call, "template", TRUE, error);

    if (!ref || !args_check(call, "template", error) || submit_is_repeat(call, error) ||
        (error && *error))
        return NULL;
    begin_plan(&plan, call->world, FALSE);
    Db *db = catalog_read_begin(call->world->catalog);
    gboolean ok = lookup_version(db, ref, FALSE, &version, error);
    g_autofree char *name = ok ? lookup_version_name(db, version.id) : NULL;
    catalog_read_end(call->world->catalog, db);
    if (!ok)
        return NULL;
    add_item(&plan, version.id, name);
    return submit_plan(call, &plan, error);
}

void inspect_new_version(World *world, const char *version_id, const char *who)
{
    g_auto(BatchPlan) plan = { 0 };
    JobRequest request = { 0 };

    if (!world->settings.inspect_imports)
        return;
    Db *db = catalog_read_begin(world->catalog);
    g_autofree char *name = lookup_version_name(db, version_id);
    catalog_read_end(world->catalog, db);
    if (!name)
        return;
    begin_plan(&plan, world, FALSE);
    add_item(&plan, version_id, name);
    batch_plan_take(&plan, &request);
    request.owner = who;
    g_free(job_submit(world->jobs, &request, NULL));
}
