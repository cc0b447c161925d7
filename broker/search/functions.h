/* functions.h: what SQL cannot say itself: comparing folded texts, and live figures.
 *
 * search_matches(pattern, text, ...): does one of the texts fit the folded pattern?
 * live_cpu(id), live_memory(id): of a desktop that runs.  host_state(id), host_cpu(id) ...: of a
 * host, as its worker last saw it.  NULL where nothing is known. */
#pragma once

#include "imaged/job/world.h"

/* Let a connection know them; once is enough. */
void functions_define(Db *db, World *world);

/* Text folded as patterns are.  Caller frees. */
char *functions_fold(const char *text);

/* Does text fit the folded pattern (PATTERN_ANY, PATTERN_ONE)? */
gboolean functions_fits(const char *pattern, const char *text);
