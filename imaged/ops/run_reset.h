/* run_reset.h: desktops that run, stopped, re-imaged and started again as one job. */
#pragma once

#include "imaged/catalog/lookup.h"
#include "imaged/job/batch.h"

extern const JobType reset_running_job;
extern const JobType revert_running_job; /* back to a snapshot; back to the former disk */
extern const JobType undo_running_job;

/* As reimage_plan_reset(), for desktops of which some run: only these are started again. */
gboolean run_reset_plan(World *world, const LookupRows *desktops, gint64 to, BatchPlan *plan,
                        GError **error);
