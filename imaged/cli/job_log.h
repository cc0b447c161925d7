/* job_log.h: what a job says while it works (GET /v1/jobs/ID/log). */
#pragma once

#include "imaged/cli/cli.h"
#include "imaged/cli/progress.h"

/* Print what was said since *offset, to standard error; progress (may be NULL) is cleared first.
 * Returns FALSE once the job has ended and all of it was printed.  A daemon that is away for a
 * moment is no error: there is nothing new then. */
gboolean job_log_show(Cli *cli, const char *id, gint64 *offset, Progress *progress);

/* imagectl job log ID [--follow]: to standard output. */
gboolean job_log_verb(Cli *cli, GError **error);
