/* reset_keep.h: a reset that carries chosen files from the former disk into the new one.
 *
 * The new overlay is written in tmp/ by the helper (imaged/guest/guest.h), flushed, and then laid
 * under the desktop as by any reset; until that moment nothing has changed, and whatever was made
 * is thrown away if it does not come to it.  One desktop after the other.  Any thread. */
#pragma once

#include "snapshot/reimage.h"

#define RESET_KEEP_MAX_PATHS 64u

extern const JobType reset_keep_job;

/* The paths without those that are another one, or lie below one: what is carried with that is not
 * carried, and counted, again.  Caller unrefs. */
json_t *reset_keep_paths(const json_t *paths);

/* As reimage_plan_reset(), keeping these paths (array of texts).  INVALID. */
gboolean reset_keep_plan(World *world, const LookupRows *desktops, gint64 to, const json_t *paths,
                         BatchPlan *plan, GError **error);
