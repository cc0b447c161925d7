/* pool_return.h: desktops come back to their pool.  Any thread. */
#pragma once

#include "imaged/catalog/lookup.h"
#include "imaged/job/batch.h"

extern const JobType pool_return_job;
extern const JobType pool_return_copy_job; /* the same where a store lacks the version */

/* Plan to re-image these desktops, which are `returning`, to version number version of their
 * template.  One that is in use is rejected. */
gboolean pool_plan_return(World *world, const LookupRows *desktops, gint64 version, BatchPlan *plan,
                          GError **error);
