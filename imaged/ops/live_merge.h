/* live_merge.h: layers of desktops that run, merged. */
#pragma once

#include "imaged/catalog/lookup.h"
#include "imaged/job/batch.h"

extern const JobType snapshot_delete_live_job;
extern const JobType desktop_shorten_live_job;

/* As snapshot_plan_delete(), for a desktop that may run. */
gboolean live_plan_delete(World *world, const char *desktop, const json_t *names, BatchPlan *plan,
                          GError **error);

/* As merges_govern(), for desktops that run. */
void live_govern(World *world);
