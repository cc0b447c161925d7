/* batch.c: see batch.h. */
#include "imaged/job/batch.h"

#include "imaged/base/error.h"
#include "imaged/base/units.h"

#define CHUNK 2048u

json_t *batch_item(const BatchChunk *chunk, guint i)
{
    return json_array_get(chunk->items, chunk->first + i);
}

const char *batch_text(const BatchChunk *chunk, guint i, const char *key)
{
    return json_string_value(json_object_get(batch_item(chunk, i), key));
}

gboolean batch_lock(BatchChunk *chunk, guint i, Store *store, const char *slot)
{
    ImageLock lock = IMAGE_LOCK_INIT;

    if (!store_lock_layer(store, slot, &lock, &chunk->errors[i]))
        return FALSE;
    g_array_append_val(chunk->locks, lock);
    return TRUE;
}

void batch_move_later(BatchChunk *chunk, guint i, const char *store_id, const char *slot)
{
    json_t *item = batch_item(chunk, i), *list = json_object_get(item, "moves");

    if (!list)
        json_object_set_new(item, "moves", list = json_array());
    json_array_append_new(list, json_pack("[s,s]", store_id, slot));
}

void batch_move_now(BatchChunk *chunk)
{
    for (guint i = 0; i < chunk->n; i++) {
        json_t *list = json_object_get(batch_item(chunk, i), "moves"), *move;
        size_t k;
        json_array_foreach(list, k, move) {
            const char *slot = json_string_value(json_array_get(move, 1));
            g_autoptr(Store) store = store_set_peek(chunk->world->stores,
                                                    json_string_value(json_array_get(move, 0)));
            if (store && !chunk->errors[i])
                store->ops->move(store, &slot, 1, STORE_LAYERS, STORE_TRASH, FALSE, NULL, NULL);
        }
    }
}

void batch_event(BatchChunk *chunk, const char *kind, const char *verb, const char *things)
{
    gsize total = json_array_size(chunk->items), n_failed = chunk->n_failed;

    for (guint i = 0; i < chunk->n; i++)
        n_failed += chunk->errors[i] != NULL;
    if (chunk->first + chunk->n < total || n_failed == total)
        return;
    if (total == 1)
        changes_event(chunk->changes, kind, "info", batch_text(chunk, 0, "name"),
                      job_owner(chunk->job), "%s", verb);
    else
        changes_event(chunk->changes, kind, "info", NULL, job_owner(chunk->job), "%s %zu %s", verb,
                      total - n_failed, things);
}

static json_t *failed_item(const char *id, const char *name, json_t *error)
{
    json_t *item = json_object();

    if (id)
        json_object_set_new(item, "id", json_string(id));
    json_object_set_new(item, "name", json_string(name));
    json_object_set_new(item, "ok", json_false());
    json_object_set(item, "error", error);
    return item;
}

/* The result: failed maps an item's number to its error; items from n_done on were not tried. */
static json_t *make_result(json_t *plan, const json_t *failed, gsize n_tried, gint64 started)
{
    json_t *items = json_object_get(plan, "items"), *list = json_array(), *result = json_object();
    gsize n_done = 0, i;
    json_t *rejected;

    for (i = 0; i < n_tried; i++) {
        const json_t *item = json_array_get(items, i);
        const char *id = json_string_value(json_object_get(item, "id"));
        const char *name = json_string_value(json_object_get(item, "name"));
        g_autofree char *key = g_strdup_printf("%zu", i);
        json_t *error = json_object_get(failed, key);
        n_done += !error;
        json_array_append_new(list, error ? failed_item(id, name, error)
                                          : json_pack("{s:s,s:s,s:b}", "id", id, "name", name,
                                                      "ok", 1));
    }
    json_array_foreach(json_object_get(plan, "rejected"), i, rejected) {
        json_array_append(list, rejected);
    }
    json_object_set_new(result, "n_done", json_integer((json_int_t)n_done));
    json_object_set_new(result, "n_failed",
                        json_integer((json_int_t)(json_array_size(list) - n_done)));
    json_object_set_new(result, "elapsed_ms", json_integer(units_now_ms() - started));
    json_object_set_new(result, "items", list);
    return result;
}

static void note_failures(const BatchChunk *chunk, json_t *failed)
{
    for (guint i = 0; i < chunk->n; i++) {
        g_autofree char *key = g_strdup_printf("%u", chunk->first + i);
        if (chunk->errors[i])
            json_object_set_new(failed, key, job_error_json(chunk->errors[i]));
    }
}

static gboolean run_chunk(BatchChunk *chunk, const BatchType *type, json_t *failed, gint64 started,
                          GError **error)
{
    gsize end = chunk->first + chunk->n;
    gboolean is_last = end == json_array_size(chunk->items);

    if (!type->prepare(chunk, error))
        return FALSE;
    note_failures(chunk, failed);
    json_t *partial = json_pack("{s:O}", "failed", failed);
    job_set_partial(chunk->job, partial);
    job_progress(chunk->job, end, json_array_size(chunk->items));
    Changes *changes = g_steal_pointer(&chunk->changes);
    gboolean ok = is_last ? job_commit_done(chunk->job, changes,
                                            make_result(chunk->plan, failed, end, started), error)
                          : job_commit(chunk->job, changes, (gint64)end, error);
    if (ok && type->complete)
        type->complete(chunk);
    else if (!ok && type->undo)
        type->undo(chunk);
    return ok;
}

static void release_locks(GArray *locks)
{
    for (guint i = 0; i < locks->len; i++)
        image_lock_release(&g_array_index(locks, ImageLock, i));
    g_array_unref(locks);
}

gboolean batch_run(Job *job, World *world, const BatchType *type, GError **error)
{
    json_t *plan = job_plan(job), *items = json_object_get(plan, "items");
    gint64 started = units_now_ms();
    guint total = (guint)json_array_size(items), at = (guint)job_step(job);
    json_t *before = json_object_get(job_partial(job), "failed");
    json_t *failed = before ? json_incref(before) : json_object();
    gboolean ok = TRUE;

    if (total == 0)
        ok = job_commit_done(job, changes_new(), make_result(plan, failed, 0, started), error);
    while (ok && at < total) {
        if (!(ok = job_check(job, error)))
            break;
        BatchChunk chunk = { .job = job, .world = world, .plan = plan, .items = items, .first = at,
                             .n = MIN(CHUNK, total - at), .changes = changes_new(),
                             .locks = g_array_new(FALSE, FALSE, sizeof(ImageLock)),
                             .n_failed = json_object_size(failed) };
        chunk.errors = g_new0(GError *, chunk.n);
        ok = run_chunk(&chunk, type, failed, started, error);
        at += chunk.n;
        release_locks(chunk.locks);
        for (guint i = 0; i < chunk.n; i++)
            g_clear_error(&chunk.errors[i]);
        g_free(chunk.errors);
        changes_free(chunk.changes);
    }
    if (!ok && !job_is_stopping(job)) /* what was done before stands; say so */
        job_set_partial(job, make_result(plan, failed, (gsize)job_step(job), started));
    json_decref(failed);
    return ok;
}

void batch_plan_init(BatchPlan *plan, World *world, const JobType *type)
{
    *plan = (BatchPlan){ json_object(), json_array(), json_array(), json_array(), type, world };
    json_object_set_new(plan->plan, "items", plan->items);
    json_object_set_new(plan->plan, "rejected", plan->rejected);
}

void batch_plan_clear(BatchPlan *plan)
{
    if (plan->claims)
        claims_release(plan->world->claims, plan->claims);
    json_decref(plan->claims);
    json_decref(plan->plan);
    *plan = (BatchPlan){ 0 };
}

gboolean batch_plan_claim(BatchPlan *plan, json_t *keys, GError **error)
{
    gboolean ok = claims_take(plan->world->claims, keys, plan->type->kind, error);

    if (ok)
        json_array_extend(plan->claims, keys);
    json_decref(keys);
    return ok;
}

void batch_plan_add(BatchPlan *plan, json_t *item, json_t *keys)
{
    g_autoptr(GError) error = NULL;

    if (batch_plan_claim(plan, keys, &error)) {
        json_array_append_new(plan->items, item);
        return;
    }
    batch_plan_reject(plan, json_string_value(json_object_get(item, "name")), error);
    json_decref(item);
}

void batch_plan_reject(BatchPlan *plan, const char *name, const GError *error)
{
    json_t *why = job_error_json(error);

    json_array_append_new(plan->rejected, failed_item(NULL, name, why));
    json_decref(why);
}

void batch_plan_take(BatchPlan *plan, JobRequest *ret)
{
    ret->type = plan->type;
    ret->plan = plan->plan;
    ret->claims = plan->claims;
    ret->total = json_array_size(plan->items);
    *plan = (BatchPlan){ 0 };
}
