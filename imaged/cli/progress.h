/* progress.h: how far a job is: a bar on a terminal, a line now and then in a log. */
#pragma once

#include <glib.h>
#include <jansson.h>

typedef struct Progress Progress;

/* what is the command, for the lines. */
Progress *progress_new(const char *what);
void progress_update(Progress *progress, const json_t *job);

/* Take the bar away, because something else is printed now. */
void progress_clear(Progress *progress);

/* Take the bar away and free. */
void progress_end(Progress *progress);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Progress, progress_end)

/* "45 %  1.2 GiB of 3.0 GiB  310.0 MiB/s  6s left", as far as it can be told.  rate is per second,
 * 0 if unknown.  Caller frees. */
char *progress_text(gint64 done, gint64 total, const char *unit, gdouble rate);
