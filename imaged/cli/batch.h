/* batch.h: work on many objects at once, told in one line, with one more for each failure. */
#pragma once

#include <glib.h>
#include <jansson.h>

#include "imaged/cli/cli.h"

/* Tell how a batch job ended: "created 5000 desktops in 0.8 s".  done is "created", noun "desktop".
 * Failures go to standard error and set the exit code.  FALSE if the whole job failed. */
gboolean batch_print(Cli *cli, const json_t *job, const char *done, const char *noun,
                     GError **error);

/* The failures alone, and the exit code; for a caller that prints the rest. TRUE if there are none.
 */
gboolean batch_tell_failures(Cli *cli, const json_t *result);

/* "0.8 s", "12 ms", "2m 5s".  Caller frees. */
char *batch_elapsed_text(gint64 ms);
