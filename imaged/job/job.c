/* job.c: see job.h.  A job that runs lives in memory with its progress; its row holds what must
 * survive a stop.  The lock guards the queue's tables and each job's progress; it is never held
 * across a commit. */
#include "imaged/job/job_private.h"

#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"

static const char *const tier_names[] = { "interactive", "bulk", "long" };

#define N_LONG 64 /* their threads are made when there is work */

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

static void end_job(Job *job, const GError *error)
{
    JobQueue *q = job->queue;
    gboolean is_cancelled = g_error_matches(error, IMAGED_ERROR, IMAGED_ERROR_CANCELLED);
    const char *state = !error ? "done" : is_cancelled ? "cancelled" : "failed";
    g_autoptr(GError) local = NULL;
    Changes *changes = changes_new();

    job_add_end(changes, job, state, error, job->partial);
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
    job_queue_touch(q);
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
    job_queue_touch(q);
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
    q->pools[JOB_LONG] = g_thread_pool_new(run_job, q, N_LONG, FALSE, NULL);
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
    job_queue_touch(q);
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
    job_queue_touch(q);
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

static gboolean insert_row(JobQueue *q, Job *job, JobRequest *r, GError **error)
{
    json_object_set(job->plan, "claims", job->claims);
    char *plan = json_dumps(job->plan, JSON_COMPACT);
    Changes *changes = r->changes ? g_steal_pointer(&r->changes) : changes_new();

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
    job->id = g_strdup(r->id ? r->id : id.s);
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
    char *made = g_strdup(job->id);
    enqueue(q, job); /* it may be over at once */
    return made;
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
    job_queue_touch(q);
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
