/* job_run.c: a job as its run function sees it, and as the API shows it. */
#include "imaged/job/job_private.h"

#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"

static void set_string(json_t *object, const char *key, const char *text)
{
    json_object_set_new(object, key, text ? json_string(text) : json_null());
}

json_t *job_error_json(const GError *error)
{
    g_autofree char *message = imaged_error_message(error);
    const char *hint = imaged_error_get_hint(error);
    json_t *out = json_object();

    set_string(out, "code", imaged_error_name(error->domain == IMAGED_ERROR ? error->code : 0));
    set_string(out, "message", message);
    set_string(out, "hint", hint);
    return out;
}

/* The changes that end a job.  One that is done is done as a whole, also where its steps told no
 * progress. */
void job_add_end(Changes *changes, const Job *job, const char *state, const GError *error,
                 const json_t *result)
{
    g_autofree char *message = error ? imaged_error_message(error) : NULL;
    gint number = error && error->domain == IMAGED_ERROR ? error->code : IMAGED_ERROR_FAILED;
    const char *code = error ? imaged_error_name(number) : NULL;
    char *text = result ? json_dumps(result, JSON_COMPACT) : NULL;

    changes_sql(changes,
                "UPDATE job SET state = ?2, error_code = ?3, error_message = ?4, error_hint = ?5,"
                " result = ?6, finished_at = ?7, done = ?8, total = ?9, message = ?10, plan = '{}',"
                " started_at = ?11 WHERE id = ?1",
                "ttttttiiiti", job->id, state, code, message,
                error ? imaged_error_get_hint(error) : NULL, text, units_now_ms(),
                (gint64)(error ? job->done : job->total), (gint64)job->total,
                job->message ? job->message : "", job->started_at);
    free(text);
}

/* What the row says. */
static json_t *row_to_object(Query *row, gboolean with_result)
{
    static const char *const times[] = { "created_at", "started_at", "finished_at" };
    static const char *const texts[] = {
        "id", "kind", "state", "tier", "unit", "message", "owner"
    };
    json_t *out = json_object();

    for (guint i = 0; i < G_N_ELEMENTS(texts); i++)
        set_string(out, texts[i], query_text(row, texts[i]));
    set_string(out, "name", query_text(row, "kind"));
    json_object_set_new(out, "done", json_integer(query_int(row, "done")));
    json_object_set_new(out, "total", json_integer(query_int(row, "total")));
    for (guint i = 0; i < G_N_ELEMENTS(times); i++) {
        g_autofree char *text = query_is_null(row, times[i])
                                    ? NULL
                                    : units_format_time(query_int(row, times[i]));
        set_string(out, times[i], text);
    }
    json_t *error = json_null();
    if (!query_is_null(row, "error_code")) {
        error = json_object();
        set_string(error, "code", query_text(row, "error_code"));
        set_string(error, "message", query_text(row, "error_message"));
        set_string(error, "hint", query_text(row, "error_hint"));
    }
    json_object_set_new(out, "error", error);
    if (with_result) {
        const char *result = query_text(row, "result");
        json_object_set_new(out, "result", result ? json_loads(result, 0, NULL) : json_null());
    }
    return out;
}

json_t *job_to_json(JobQueue *q, const char *id, gboolean with_result, GError **error)
{
    Db *db = catalog_read_begin(q->catalog);
    Query *query = db_query(db, "SELECT * FROM job WHERE id = ?1", "t", id);
    json_t *out = query_next(query) ? row_to_object(query, with_result) : NULL;

    query_end(query, NULL);
    catalog_read_end(q->catalog, db);
    if (!out) {
        g_autofree char *shown = text_for_message(id, 40);
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "there is no job '%s'", shown);
        return NULL;
    }
    g_mutex_lock(&q->lock);
    const Job *job = g_hash_table_lookup(q->active, id);
    if (job && !job->is_finished) {
        g_autofree char *started = job->started_at ? units_format_time(job->started_at) : NULL;
        set_string(out, "state", job->is_running ? "running" : "queued");
        set_string(out, "started_at", started);
        set_string(out, "message", job->message ? job->message : "");
        json_object_set_new(out, "done", json_integer((json_int_t)job->done));
        json_object_set_new(out, "total", json_integer((json_int_t)job->total));
        if (with_result)
            json_object_set_new(out, "result", json_null());
    }
    g_mutex_unlock(&q->lock);
    return out;
}

const char *job_id(const Job *job)
{
    return job->id;
}

const char *job_owner(const Job *job)
{
    return job->owner;
}

const char *job_type_kind(const Job *job)
{
    return job->type->kind;
}

json_t *job_plan(Job *job)
{
    return job->plan;
}

gint64 job_step(const Job *job)
{
    g_mutex_lock(&job->queue->lock);
    gint64 step = job->step;
    g_mutex_unlock(&job->queue->lock);
    return step;
}

gboolean job_is_resumed(const Job *job)
{
    return job->is_resumed;
}

gboolean job_commit(Job *job, Changes *changes, gint64 next_step, GError **error)
{
    char *partial = job->partial ? json_dumps(job->partial, JSON_COMPACT) : NULL;

    changes_sql(changes,
                "UPDATE job SET step = ?2, done = ?3, total = ?4, state = 'running', result = ?5"
                " WHERE id = ?1",
                "tiiit", job->id, next_step, (gint64)job->done, (gint64)job->total, partial);
    free(partial);
    if (!catalog_commit(job->queue->catalog, changes, error))
        return FALSE;
    g_mutex_lock(&job->queue->lock);
    job->step = next_step;
    g_mutex_unlock(&job->queue->lock);
    return TRUE;
}

gboolean job_commit_done(Job *job, Changes *changes, json_t *result, GError **error)
{
    job_add_end(changes, job, "done", NULL, result);
    json_decref(result);
    if (!catalog_commit(job->queue->catalog, changes, error))
        return FALSE;
    job->is_finished = TRUE;
    return TRUE;
}

void job_set_partial(Job *job, json_t *partial)
{
    json_decref(job->partial);
    job->partial = partial;
}

const json_t *job_partial(const Job *job)
{
    return job->partial;
}

void job_progress(Job *job, guint64 done, guint64 total)
{
    g_mutex_lock(&job->queue->lock);
    job->done = done;
    job->total = total;
    job_queue_touch(job->queue);
    g_mutex_unlock(&job->queue->lock);
}

void job_message(Job *job, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    char *message = g_strdup_vprintf(format, args);
    va_end(args);
    g_mutex_lock(&job->queue->lock);
    g_free(job->message);
    job->message = message;
    job_queue_touch(job->queue);
    g_mutex_unlock(&job->queue->lock);
}

gboolean job_check(Job *job, GError **error)
{
    if (!g_atomic_int_get(&job->cancel))
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CANCELLED, "cancelled");
    return FALSE;
}

const gint *job_cancel_flag(const Job *job)
{
    return &job->cancel;
}

gboolean job_is_stopping(const Job *job)
{
    return g_atomic_int_get(&job->queue->is_stopping);
}
