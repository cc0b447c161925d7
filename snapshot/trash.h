/* trash.h: what was replaced or deleted: brought back, expired, given back to the file system.
 *
 * Deleting is two steps.  An entry can be restored until it is emptied; its layer is then marked
 * "reclaim" (from which there is no way back) and its space is given back in steps, in the bulk
 * tier, never in the path of a request.  Any thread. */
#pragma once

#include "imaged/catalog/lookup.h"
#include "imaged/job/batch.h"

extern const JobType trash_restore_job;
extern const JobType trash_empty_job;

/* Plan to bring these entries back (array of ids); new_name (or NULL) renames the one desktop. */
gboolean trash_plan_restore(World *world, const json_t *ids, const char *new_name, BatchPlan *plan,
                            GError **error);

/* Plan to give these entries' space back (NULL: all of them). */
gboolean trash_plan_empty(World *world, const json_t *ids, BatchPlan *plan, GError **error);

/* At start, and when a store is back: put every layer into the folder where it belongs, and mark
 * desktops whose disk is missing.  Decided by looking at the storage. */
gboolean trash_sweep(World *world, const char *store_id, GError **error);

/* Submit the emptying of what has expired (or, when a store is low and the policy says so, of the
 * oldest), and go on with layers that a stop left half given back. */
void trash_expire(World *world, gint64 now_ms);
