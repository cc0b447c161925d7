/* each.h: jobs that work off their plan's items one after the other (or a few at a time), each
 * durable by itself.
 *
 * For long work on few things (moves, merges, archives); batch.h is for short work on many. */
#pragma once

#include "imaged/job/world.h"

/* Work on one item and commit it (job_commit with the next step).  FALSE: this item failed, the
 * others go on.  A member "result" (an object) that it sets in item goes into the item's result. */
typedef gboolean (*JobEach)(Job *job, World *world, json_t *item, GError **error);

/* Items that a stop interrupted are given to each again.  Ends the job with a result like a
 * batch's: n_done, n_failed, elapsed_ms, items. */
gboolean job_each(Job *job, World *world, JobEach each, GError **error);

/* The same with so many items at a time, each on a thread of its own: for work that mostly waits
 * for others. */
gboolean job_each_at_once(Job *job, World *world, JobEach each, guint n_at_once, GError **error);
