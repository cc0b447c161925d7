/* batch.c: see batch.h. */
#include "imaged/job/batch.h"

#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/units.h"



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

gboolean batch_hold(BatchChunk *chunk, guint i, Store *store, const char *slot, StoreStat *ret_stat,
                    gboolean *ret_is_there)
{
    ImageLock lock = IMAGE_LOCK_INIT;

    if (!store_hold_layer(store, slot, &lock, ret_stat, ret_is_there, &chunk->errors[i]))
        return FALSE;
    if (*ret_is_there)
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
    /* "moved to the trash:" is what names of things would follow */
    int n_verb = (int)strlen(verb) - (g_str_has_suffix(verb, ":") ? 1 : 0);
    if (total == 1)
        changes_event(chunk->changes, kind, "info", batch_text(chunk, 0, "name"),
                      job_owner(chunk->job), "%.*s", n_verb, verb);
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

void batch_chunk_free(BatchChunk *chunk)
{
    for (guint i = 0; i < chunk->locks->len; i++)
        image_lock_release(&g_array_index(chunk->locks, ImageLock, i));
    g_array_unref(chunk->locks);
    for (guint i = 0; i < chunk->n; i++)
        g_clear_error(&chunk->errors[i]);
    g_free(chunk->errors);
    changes_free(chunk->changes);
    g_free(chunk);
}

/* A batch as it runs: while one chunk's facts are committed by a thread, the next one's files are
 * written. */
typedef struct {
    Job *job;
    World *world;
    const BatchType *type;
    json_t *plan, *items;
    json_t *failed;       /* an item's number -> its error */
    gint64 started;

    BatchChunk *committing; /* in the thread, or NULL */
    GThread *thread;
    gboolean committed;     /* what became of it, once the thread has ended */
    GError *error;
} Batch;

/* Commit a chunk and finish or undo it; result (or NULL: there is a next step) ends the job. */
static gboolean commit_chunk(Batch *b, BatchChunk *chunk, gint64 next_step, json_t *result,
                             GError **error)
{
    Changes *changes = g_steal_pointer(&chunk->changes);
    gboolean ok = result ? job_commit_done(b->job, changes, result, error)
                         : job_commit(b->job, changes, next_step, error);

    if (ok && b->type->complete)
        b->type->complete(chunk);
    else if (!ok && b->type->undo)
        b->type->undo(chunk);
    return ok;
}

static gpointer commit_in_thread(gpointer data)
{
    Batch *b = data;

    const BatchChunk *chunk = b->committing;

    b->committed = commit_chunk(b, b->committing, (gint64)(chunk->first + chunk->n), NULL,
                                &b->error);
    return NULL;
}

/* Wait for the chunk that is being committed, if there is one. */
static gboolean join_commit(Batch *b, GError **error)
{
    if (!b->thread)
        return TRUE;
    g_thread_join(b->thread);
    b->thread = NULL;
    g_clear_pointer(&b->committing, batch_chunk_free);
    if (b->error)
        g_propagate_error(error, g_steal_pointer(&b->error));
    return b->committed;
}

static BatchChunk *new_chunk(Job *job, World *world, json_t *plan, json_t *items, guint at)
{
    BatchChunk *chunk = g_new0(BatchChunk, 1);

    *chunk = (BatchChunk){ .job = job, .world = world, .plan = plan, .items = items, .first = at,
                           .n = MIN(BATCH_CHUNK, (guint)json_array_size(items) - at),
                           .changes = changes_new(),
                           .locks = g_array_new(FALSE, FALSE, sizeof(ImageLock)) };
    chunk->errors = g_new0(GError *, chunk->n);
    return chunk;
}

BatchChunk *batch_chunk_new(Job *job, World *world, json_t *plan, json_t *items, Changes *changes)
{
    BatchChunk *chunk = new_chunk(job, world, plan, items, 0);

    changes_free(chunk->changes);
    chunk->changes = changes;
    return chunk;
}

gboolean batch_chunk_commit(BatchChunk *chunk, const BatchType *type, GError **error)
{
    Batch b = { .job = chunk->job, .type = type };

    return commit_chunk(&b, chunk, job_step(chunk->job) + 1, NULL, error);
}

/* Prepare the chunk at item at while the one before it is committed, then commit it in turn. */
static gboolean run_chunk(Batch *b, guint at, GError **error)
{
    BatchChunk *chunk = new_chunk(b->job, b->world, b->plan, b->items, at);
    gsize end = chunk->first + chunk->n, total = json_array_size(b->items);
    GError *before = NULL;

    chunk->n_failed = json_object_size(b->failed);
    gboolean ok = b->type->prepare(chunk, error);

    if (!join_commit(b, &before)) {
        if (ok && b->type->undo)
            b->type->undo(chunk);
        g_clear_error(error);
        g_propagate_error(error, before);
        ok = FALSE;
    }
    if (!ok) {
        batch_chunk_free(chunk);
        return FALSE;
    }
    note_failures(chunk, b->failed);
    job_set_partial(b->job, json_pack("{s:O}", "failed", b->failed));
    job_progress(b->job, end, total);
    if (end < total) {
        b->committing = chunk;
        b->thread = g_thread_new("commit", commit_in_thread, b);
        return TRUE;
    }
    ok = commit_chunk(b, chunk, 0, make_result(b->plan, b->failed, end, b->started), error);
    batch_chunk_free(chunk);
    return ok;
}

gboolean batch_run(Job *job, World *world, const BatchType *type, GError **error)
{
    json_t *plan = job_plan(job), *items = json_object_get(plan, "items");
    json_t *before = json_object_get(job_partial(job), "failed");
    Batch b = { .job = job, .world = world, .type = type, .plan = plan, .items = items,
                .failed = before ? json_incref(before) : json_object(),
                .started = units_now_ms() };
    guint total = (guint)json_array_size(items), at = (guint)job_step(job);
    gboolean ok = TRUE;

    if (total == 0)
        ok = job_commit_done(job, changes_new(), make_result(plan, b.failed, 0, b.started), error);
    for (; ok && at < total; at += BATCH_CHUNK)
        ok = job_check(job, error) && run_chunk(&b, at, error);
    GError *late = NULL;
    if (!join_commit(&b, &late)) { /* the loop was left while a commit was under way */
        if (ok)
            g_propagate_error(error, late);
        else
            g_clear_error(&late);
        ok = FALSE;
    }
    if (!ok && !job_is_stopping(job)) /* what was done before stands; say so */
        job_set_partial(job, make_result(plan, b.failed, (gsize)job_step(job), b.started));
    json_decref(b.failed);
    return ok;
}

gboolean batch_run_one(Job *job, World *world, json_t *item, const BatchType *type, GError **error)
{
    json_auto_t *items = json_pack("[O]", item);
    g_autoptr(BatchChunk) chunk = batch_chunk_new(job, world, job_plan(job), items, changes_new());

    if (!type->prepare(chunk, error))
        return FALSE;
    if (chunk->errors[0]) {
        g_propagate_error(error, g_steal_pointer(&chunk->errors[0]));
        return FALSE;
    }
    return batch_chunk_commit(chunk, type, error);
}

void batch_plan_init(BatchPlan *plan, World *world, const JobType *type)
{
    *plan = (BatchPlan){ json_object(), json_array(), json_array(),   json_array(),
                         type,          world,        plan->with_runs };
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

const char *batch_plan_desktop_key(const BatchPlan *plan)
{
    return plan->with_runs ? "run" : "desktop";
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
