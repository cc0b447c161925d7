/* job_log.h: what a long job says while it works, line by line: STATE/job-logs/ID.
 *
 * Bounded: a log has JOB_LOG_MAX bytes at most (then its end is left out, and says so), the newest
 * JOB_LOGS_KEPT are kept.  It is for people: nothing is decided by it, it is not flushed, and not
 * to be able to write it is no error.  Writing: the job's thread; reading: any. */
#pragma once

#include <glib.h>

#define JOB_LOG_MAX (2u << 20)
#define JOB_LOGS_KEPT 200

typedef struct JobLog JobLog;

/* Go on with the log of a job, or begin it.  NULL if that cannot be: the functions below take it.
 */
JobLog *job_log_open(const char *state_dir, const char *job_id);
void job_log_line(JobLog *log, const char *line);
void job_log_close(JobLog *log);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(JobLog, job_log_close)

/* Whole lines from byte offset on, max bytes at most; "" if there is nothing (more).  *ret_next is
 * the offset to go on at.  Caller frees. */
char *job_log_read(const char *state_dir, const char *job_id, guint64 offset, gsize max,
                   guint64 *ret_next);
