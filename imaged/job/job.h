/* job.h: persistent jobs: every change that a user asks for is one.
 *
 * A job is a row with a plan (JSON) before anything else happens; the plan names every id that the
 * job will make, so each of its steps can be repeated.  After a stop, unfinished jobs go on from
 * their last committed step; what a step did is decided by looking at the storage.  Tiers of
 * workers: interactive work never waits behind bulk work.
 *
 *   QUEUED -> RUNNING -> DONE | FAILED | CANCELLED
 *
 * Any thread may call the functions of the queue; those on a Job only the thread that runs it, and
 * those that it has work for it; these leave the partial result alone. */
#pragma once

#include <glib.h>
#include <jansson.h>

#include "imaged/catalog/catalog.h"
#include "imaged/job/claims.h"

typedef struct Job Job;
typedef struct JobQueue JobQueue;

typedef enum {
    JOB_INTERACTIVE,
    JOB_BULK,
    JOB_LONG, /* mostly waits, for hours perhaps: takes no worker away from the others */
    JOB_N_TIERS
} JobTier;

typedef struct {
    const char *kind; /* "desktop.reset" */
    JobTier tier;
    const char *unit; /* of its progress: bytes, desktops, ... */
    /* Do the work from job_step() on.  world is what the queue was made with.  When it fails it has
     * undone what it did since the last committed step. */
    gboolean (*run)(Job *job, gpointer world, GError **error);
} JobType;

/* types ends with NULL; borrowed. */
JobQueue *job_queue_new(Catalog *catalog, Claims *claims, const JobType *const *types,
                        gpointer world, guint n_interactive, guint n_bulk);

/* Take up the jobs that a stop left unfinished. */
gboolean job_queue_resume(JobQueue *queue, GError **error);

/* Stop: running jobs are told, and go on at the next start.  Then free. */
void job_queue_stop(JobQueue *queue);
void job_queue_free(JobQueue *queue);

typedef struct {
    const JobType *type;
    json_t *plan;         /* taken over, also on an error */
    json_t *claims;       /* array of keys that the caller has taken already; taken over likewise */
    guint64 total;        /* of the progress */
    const char *owner;    /* who asks */
    const char *idem_key; /* idempotency key, or NULL */
    const char *idem_hash; /* of the request */
    const char *id;       /* that the job is to have (id_new()), or NULL */
    Changes *changes;     /* to be committed with the intent (taken over), or NULL */
} JobRequest;

/* Write the intent and queue the job.  The same idempotency key with the same hash gives the first
 * job's id.  EXISTS if the key was used for another request.  Caller frees the id. */
char *job_submit(JobQueue *queue, JobRequest *request, GError **error);

/* The job that a key stands for, or NULL.  EXISTS (an error) if its hash differs.  Caller frees. */
char *job_find_idempotent(JobQueue *queue, const char *key, const char *hash, GError **error);

/* The job as the API shows it; NOT_FOUND.  Caller frees with json_decref(). */
json_t *job_to_json(JobQueue *queue, const char *id, gboolean with_result, GError **error);

/* Wait until the job has ended, or ms are over. */
void job_wait(JobQueue *queue, const char *id, gint64 ms);

/* Wait until anything about any job has changed since *stamp, or ms are over; updates *stamp. */
void job_wait_change(JobQueue *queue, guint64 *stamp, gint64 ms);

gboolean job_cancel(JobQueue *queue, const char *id, GError **error);
guint job_n_running(JobQueue *queue);

/* ---- for the run function ---- */

const char *job_id(const Job *job);
const char *job_owner(const Job *job);
const char *job_type_kind(const Job *job);
json_t *job_plan(Job *job);
gint64 job_step(const Job *job);
gboolean job_is_resumed(const Job *job);

/* Commit changes (taken over) together with the job's next step: all or nothing. */
gboolean job_commit(Job *job, Changes *changes, gint64 next_step, GError **error);

/* The same as the job's last act: it is done with this result (taken over, may be NULL). */
gboolean job_commit_done(Job *job, Changes *changes, json_t *result, GError **error);

/* What so far came out, kept with the next commit for a resumed run (taken over). */
void job_set_partial(Job *job, json_t *partial);
const json_t *job_partial(const Job *job);

void job_progress(Job *job, guint64 done, guint64 total);
void job_message(Job *job, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* CANCELLED if somebody cancelled it or the daemon stops; to be asked between steps. */
gboolean job_check(Job *job, GError **error);
const gint *job_cancel_flag(const Job *job);
gboolean job_is_stopping(const Job *job); /* the daemon stops: undo nothing, go on later */

/* An error as the API shows it: {code, message, hint}. */
json_t *job_error_json(const GError *error);
