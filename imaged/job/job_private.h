/* job_private.h: what job.c (the queue) and job_run.c (a job as its run function sees it)
 * share.  For those two files alone. */
#pragma once

#include "imaged/job/job.h"

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

/* Wake those who wait for a change; the lock is held. */
static inline void job_queue_touch(JobQueue *q)
{
    q->stamp++;
    g_cond_broadcast(&q->changed);
}

/* Add what ends a job in this state to changes. */
void job_add_end(Changes *changes, const Job *job, const char *state, const GError *error,
                 const json_t *result);
