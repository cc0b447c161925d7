/* each.c: see each.h. */
#include "imaged/job/each.h"

#include "imaged/base/units.h"

static json_t *item_result(const json_t *item, const GError *why)
{
    json_t *out = json_pack("{s:O?,s:O?,s:b}", "id", json_object_get(item, "id"), "name",
                            json_object_get(item, "name"), "ok", why == NULL);

    json_object_update_missing(out, json_object_get(item, "result"));
    if (why)
        json_object_set_new(out, "error", job_error_json(why));
    return out;
}

typedef struct {
    Job *job;
    World *world;
    JobEach each;
    json_t *items;
    GMutex lock;      /* guards what follows */
    json_t **results; /* of each item; NULL: it was not tried */
    gsize n_tried, n_done;
} Run;

static void run_item(Run *r, gsize i)
{
    json_t *item = json_array_get(r->items, i);
    gsize n = json_array_size(r->items);
    g_autoptr(GError) why = NULL;

    job_message(r->job, "%s", json_string_value(json_object_get(item, "name")));
    gboolean is_done = r->each(r->job, r->world, item, &why);
    g_mutex_lock(&r->lock);
    r->results[i] = item_result(item, is_done ? NULL : why);
    r->n_done += is_done;
    r->n_tried++;
    if (n > 1)
        job_progress(r->job, r->n_tried, n);
    g_mutex_unlock(&r->lock);
}

/* In a thread of the pool: item n - 1. */
static void run_in_pool(gpointer n, gpointer run)
{
    Run *r = run;

    if (job_check(r->job, NULL))
        run_item(r, GPOINTER_TO_SIZE(n) - 1);
}

static void run_items(Run *r, guint n_at_once)
{
    gsize n = json_array_size(r->items);

    if (n_at_once <= 1 || n <= 1) {
        for (gsize i = 0; i < n && job_check(r->job, NULL); i++)
            run_item(r, i);
        return;
    }
    GThreadPool *pool = g_thread_pool_new(run_in_pool, r, (gint)n_at_once, FALSE, NULL);
    for (gsize i = 0; i < n; i++)
        g_thread_pool_push(pool, GSIZE_TO_POINTER(i + 1), NULL);
    g_thread_pool_free(pool, FALSE, TRUE);
}

gboolean job_each_at_once(Job *job, World *world, JobEach each, guint n_at_once, GError **error)
{
    json_t *plan = job_plan(job), *items = json_object_get(plan, "items"), *list = json_array();
    gint64 started = units_now_ms();
    gsize n = json_array_size(items);
    Run r = { .job = job, .world = world, .each = each, .items = items };

    g_mutex_init(&r.lock);
    r.results = g_new0(json_t *, n + 1);
    run_items(&r, n_at_once);
    g_mutex_clear(&r.lock);
    for (gsize i = 0; i < n; i++) {
        if (r.results[i])
            json_array_append_new(list, r.results[i]);
    }
    g_free(r.results);
    gboolean ok = job_check(job, error); /* cancelled within the last items, too */
    json_array_extend(list, json_object_get(plan, "rejected"));
    json_t *result = json_pack("{s:I,s:I,s:I,s:o}", "n_done", (json_int_t)r.n_done, "n_failed",
                               (json_int_t)(json_array_size(list) - r.n_done), "elapsed_ms",
                               (json_int_t)(units_now_ms() - started), "items", list);
    if (ok)
        return job_commit_done(job, changes_new(), result, error);
    job_set_partial(job, result);
    return FALSE;
}

gboolean job_each(Job *job, World *world, JobEach each, GError **error)
{
    return job_each_at_once(job, world, each, 1, error);
}
