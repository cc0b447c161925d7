/* job.h: work that takes a while: started, watched, and its end told. */
#pragma once

#include <glib.h>
#include <jansson.h>

#include "imaged/cli/cli.h"
#include "imaged/cli/output.h"

extern const Column job_columns[];

/* Send a change that starts a job.  With --no-wait the job is printed and *ret_job stays NULL. Else
 * waits for the job's end, with progress: *ret_job is the ended job (caller unrefs), whatever its
 * state; see job_check().  An answer that is no job (a few changes are done at once) comes back as
 * it is. */
gboolean job_run(Cli *cli, const char *method, const char *path, const json_t *body,
                 json_t **ret_job, GError **error);

/* POST a change of which only the end counts: *ret_result (caller unrefs) is the result of the job
 * that is done; NULL with --no-wait.  A job that did not end well is our own error. */
gboolean job_run_result(Cli *cli, const char *path, const json_t *body, json_t **ret_result,
                        GError **error);

/* Wait for the end of a job.  If an interrupt comes, says that the job goes on and how to cancel
 * it, and ends the process by the signal. */
json_t *job_wait(Cli *cli, const json_t *job, GError **error);

/* The same for a job that cannot go on without us: an interrupt cancels it (CANCELLED). */
json_t *job_wait_or_cancel(Cli *cli, const json_t *job, GError **error);

/* The error of a job that did not end well, as our own.  TRUE if it is done. */
gboolean job_check(const json_t *job, GError **error);

gboolean job_is_job(const json_t *answer);
void job_print(Cli *cli, const json_t *job);
