/* job.c: see job.h.  A job that runs lives in memory with its progress; its row holds what must
 * survive a stop.  The lock guards the queue's tables and each job's progress; it is never held
 * across a commit. */
#include "imaged/job/job.h"

#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"

struct Job {
    JobQueue *queue;
    const JobType *type;
    char *id, *owner;
    json_t *plan, *claims, *partial;
    gint64 step;
    gboolean is_resumed, is_finished; /* finished: its row says done */
    gint cancel;                      /* atomic */
    gint64 created_at;

    guint64 done, total; /* under the queue's lock, as the rest below */
    char *message;
    gboolean is_running;
    gint64 started_at;
};

struct JobQueue {
    Catalog *catalog;
    Claims *claims;
    const JobType *const *types;
    gpointer world;
    gint64 epoch;
    GThreadPool *pools[JOB_N_TIERS];

    GMutex lock;
    GCond changed;
    GHashTable *active; /* id -> Job, queued or running */
    guint64 stamp;
    gint is_stopping;   /* atomic */
};

static const char *const tier_names[] = { "interactive", "bulk" };

static const JobType *type_of(JobQueue *q, const char *kind)
{
    for (guint i = 0; q->types[i]; i++) {
        if (g_str_equal(q->types[i]->kind, kind))
            return q->types[i];
    }
    return NULL;
}

static void job_free(Job *job)
{
    json_decref(job->plan);
    json_decref(job->claims);
    json_decref(job->partial);
    g_free(job->message);
    g_free(job->id);
    g_free(job->owner);
    g_free(job);
}

static void touch(JobQueue *q)
{
    q->stamp++;
    g_cond_broadcast(&q->changed);
}

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

/* The changes that end a job. */
static void add_end(Changes *changes, const Job *job, const char *state, const GError *error,
                    const json_t *result)
{
    g_autofree char *message = error ? imaged_error_message(error) : NULL;
    char *text = result ? json_dumps(result, JSON_COMPACT) : NULL;

    changes_sql(changes,
                "UPDATE job SET state = ?2, error_code = ?3, error_message = ?4, error_hint = ?5,"
                " result = ?6, finished_at = ?7, done = ?8, total = ?9, message = ?10, plan = '{}',"
                " started_at = ?11 WHERE id = ?1",
                "ttttttiiiti", job->id, state, error ? imaged_error_name(error->code) : NULL,
                message, error ? imaged_error_get_hint(error) : NULL, text, units_now_ms(),
                (gint64)job->done, (gint64)job->total, job->message ? job->message : "",
                job->started_at);
    free(text);
}

static void end_job(Job *job, const GError *error)
{
    JobQueue *q = job->queue;
    gboolean is_cancelled = g_error_matches(error, IMAGED_ERROR, IMAGED_ERROR_CANCELLED);
    const char *state = !error ? "done" : is_cancelled ? "cancelled" : "failed";
    g_autoptr(GError) local = NULL;
    Changes *changes = changes_new();

    add_end(changes, job, state, error, job->partial);
    if (error && !is_cancelled) {
        g_autofree char *message = imaged_error_message(error);
        changes_event(changes, "job.failed", "warning", job->id, job->owner, "%s: %s",
                      job->type->kind, message);
    }
    if (!catalog_commit(q->catalog, changes, &local))
        g_debug("job %s: its end is not recorded: %s", job->id, local->message);
}

static void run_job(gpointer data, gpointer user)
{
    Job *job = data;
    JobQueue *q = user;
    g_autoptr(GError) error = NULL;

    g_mutex_lock(&q->lock);
    job->is_running = TRUE;
    job->started_at = units_now_ms();
    touch(q);
    g_mutex_unlock(&q->lock);

    gboolean ok = !job_check(job, &error) ? FALSE : job->type->run(job, q->world, &error);
    if (!ok && !error)
        g_set_error(&error, IMAGED_ERROR, IMAGED_ERROR_FAILED, "the job failed");
    /* When the daemon stops, the row stays as it is: the job goes on at the next start. */
    if (!job->is_finished && !(job_is_stopping(job) && !ok))
        end_job(job, ok ? NULL : error);

    claims_release(q->claims, job->claims);
    g_mutex_lock(&q->lock);
    g_hash_table_remove(q->active, job->id);
    touch(q);
    g_mutex_unlock(&q->lock);
    job_free(job);
}

JobQueue *job_queue_new(Catalog *catalog, Claims *claims, const JobType *const *types,
                        gpointer world, guint n_interactive, guint n_bulk)
{
    JobQueue *q = g_new0(JobQueue, 1);
    g_autofree char *epoch = catalog_get_meta(catalog, "epoch");

    q->catalog = catalog;
    q->claims = claims;
    q->types = types;
    q->world = world;
    q->epoch = epoch ? g_ascii_strtoll(epoch, NULL, 10) : 0;
    q->active = g_hash_table_new(g_str_hash, g_str_equal);
    g_mutex_init(&q->lock);
    g_cond_init(&q->changed);
    q->pools[JOB_INTERACTIVE] = g_thread_pool_new(run_job, q, (gint)n_interactive, FALSE, NULL);
    q->pools[JOB_BULK] = g_thread_pool_new(run_job, q, (gint)n_bulk, FALSE, NULL);
    return q;
}

void job_queue_stop(JobQueue *q)
{
    g_atomic_int_set(&q->is_stopping, 1);
    g_mutex_lock(&q->lock);
    GHashTableIter iter;
    gpointer job;
    g_hash_table_iter_init(&iter, q->active);
    while (g_hash_table_iter_next(&iter, NULL, &job))
        g_atomic_int_set(&((Job *)job)->cancel, 1);
    touch(q);
    g_mutex_unlock(&q->lock);
    for (int i = 0; i < JOB_N_TIERS; i++)
        g_thread_pool_free(q->pools[i], FALSE, TRUE);
}

void job_queue_free(JobQueue *q)
{
    g_hash_table_unref(q->active);
    g_mutex_clear(&q->lock);
    g_cond_clear(&q->changed);
    g_free(q);
}

static void enqueue(JobQueue *q, Job *job)
{
    g_mutex_lock(&q->lock);
    g_hash_table_insert(q->active, job->id, job);
    touch(q);
    g_mutex_unlock(&q->lock);
    g_thread_pool_push(q->pools[job->type->tier], job, NULL);
}

char *job_find_idempotent(JobQueue *q, const char *key, const char *hash, GError **error)
{
    Db *db = catalog_read_begin(q->catalog);
    Query *query = db_query(db, "SELECT id, idem_hash FROM job WHERE idem_key = ?1", "t", key);
    char *id = NULL;

    if (query_next(query)) {
        if (g_strcmp0(query_text(query, "idem_hash"), hash) == 0)
            id = g_strdup(query_text(query, "id"));
        else
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_EXISTS,
                        "the idempotency key was used for another request");
    }
    query_end(query, NULL);
    catalog_read_end(q->catalog, db);
    return id;
}

static gboolean insert_row(JobQueue *q, Job *job, const JobRequest *r, GError **error)
{
    json_object_set(job->plan, "claims", job->claims);
    char *plan = json_dumps(job->plan, JSON_COMPACT);
    Changes *changes = changes_new();

    changes_sql(
        changes,
        "INSERT INTO job (id, kind, tier, state, owner, plan, step, done, total, unit,"
        " message, idem_key, idem_hash, epoch, created_at) VALUES (?1, ?2, ?3, 'queued', ?4,"
        " ?5, 0, 0, ?6, ?7, '', ?8, ?9, ?10, ?11)",
        "tttttittt"
        "ii",
        job->id, job->type->kind, tier_names[job->type->tier], job->owner, plan, (gint64)job->total,
        job->type->unit, r->idem_key, r->idem_hash, q->epoch, job->created_at);
    free(plan);
    return catalog_commit(q->catalog, changes, error);
}

char *job_submit(JobQueue *q, JobRequest *r, GError **error)
{
    Job *job = g_new0(Job, 1);
    Id id = id_new();

    job->queue = q;
    job->type = r->type;
    job->id = g_strdup(id.s);
    job->owner = g_strdup(r->owner ? r->owner : "");
    job->plan = r->plan;
    job->claims = r->claims ? r->claims : json_array();
    job->total = r->total;
    job->created_at = units_now_ms();
    if (!insert_row(q, job, r, error)) {
        claims_release(q->claims, job->claims);
        char *other = r->idem_key ? job_find_idempotent(q, r->idem_key, r->idem_hash, NULL) : NULL;
        if (other)
            g_clear_error(error); /* the same request came twice at once */
        job_free(job);
        return other;
    }
    enqueue(q, job);
    return g_strdup(id.s);
}

static Job *load(JobQueue *q, Query *row)
{
    Job *job = g_new0(Job, 1);
    const char *partial = query_text(row, "result");

    job->queue = q;
    job->type = type_of(q, query_text(row, "kind"));
    job->id = g_strdup(query_text(row, "id"));
    job->owner = g_strdup(query_text(row, "owner"));
    job->plan = json_loads(query_text(row, "plan"), 0, NULL);
    job->claims = json_incref(json_object_get(job->plan, "claims"));
    job->partial = partial ? json_loads(partial, 0, NULL) : NULL;
    job->step = query_int(row, "step");
    job->done = (guint64)query_int(row, "done");
    job->total = (guint64)query_int(row, "total");
    job->created_at = query_int(row, "created_at");
    job->is_resumed = TRUE;
    return job;
}

gboolean job_queue_resume(JobQueue *q, GError **error)
{
    g_autoptr(GPtrArray) jobs = g_ptr_array_new();
    Db *db = catalog_read_begin(q->catalog);
    Query *query = db_query(db,
                            "SELECT * FROM job WHERE state IN ('queued', 'running') ORDER BY"
                            " created_at, rowid",
                            "");

    while (query_next(query))
        g_ptr_array_add(jobs, load(q, query));
    gboolean ok = query_end(query, error);
    catalog_read_end(q->catalog, db);
    for (guint i = 0; i < jobs->len; i++) {
        Job *job = jobs->pdata[i];
        g_autoptr(GError) local = NULL;
        if (job->type && job->plan &&
            claims_take(q->claims, job->claims, job->type->kind, &local)) {
            enqueue(q, job);
            continue;
        }
        Changes *changes = changes_new();
        changes_sql(changes,
                    "UPDATE job SET state = 'failed', error_code = 'failed', error_message ="
                    " 'it could not be taken up again after a restart', finished_at = ?2"
                    " WHERE id = ?1",
                    "ti", job->id, units_now_ms());
        catalog_commit(q->catalog, changes, NULL);
        job_free(job);
    }
    return ok;
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

void job_wait(JobQueue *q, const char *id, gint64 ms)
{
    gint64 until = g_get_monotonic_time() + ms * 1000;

    g_mutex_lock(&q->lock);
    while (g_hash_table_contains(q->active, id) && !g_atomic_int_get(&q->is_stopping) &&
           g_cond_wait_until(&q->changed, &q->lock, until))
        ;
    g_mutex_unlock(&q->lock);
}

void job_wait_change(JobQueue *q, guint64 *stamp, gint64 ms)
{
    gint64 until = g_get_monotonic_time() + ms * 1000;

    g_mutex_lock(&q->lock);
    while (q->stamp == *stamp && g_cond_wait_until(&q->changed, &q->lock, until))
        ;
    *stamp = q->stamp;
    g_mutex_unlock(&q->lock);
}

gboolean job_cancel(JobQueue *q, const char *id, GError **error)
{
    g_mutex_lock(&q->lock);
    Job *job = g_hash_table_lookup(q->active, id);
    if (job)
        g_atomic_int_set(&job->cancel, 1);
    touch(q);
    g_mutex_unlock(&q->lock);
    if (job)
        return TRUE;
    json_t *known = job_to_json(q, id, FALSE, error);
    if (known)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "the job has ended already");
    json_decref(known);
    return FALSE;
}

guint job_n_running(JobQueue *q)
{
    g_mutex_lock(&q->lock);
    guint n = g_hash_table_size(q->active);
    g_mutex_unlock(&q->lock);
    return n;
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
    return job->step;
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
    job->step = next_step;
    return TRUE;
}

gboolean job_commit_done(Job *job, Changes *changes, json_t *result, GError **error)
{
    add_end(changes, job, "done", NULL, result);
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
    touch(job->queue);
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
    touch(job->queue);
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
