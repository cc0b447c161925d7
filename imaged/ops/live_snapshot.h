/* live_snapshot.h: snapshots of desktops of which some run. */
#pragma once

#include "imaged/catalog/lookup.h"
#include "imaged/job/batch.h"

extern const JobType snapshot_live_job;

/* As snapshot_plan_create(), for desktops that run too. */
gboolean live_snapshot_plan(World *world, const LookupRows *desktops, const char *name,
                            const char *description, BatchPlan *plan, GError **error);

/* Those of desktops that run, and the others; the rows stay the list's own. */
void live_part(Db *db, const LookupRows *desktops, LookupRows *ret_running, LookupRows *ret_others);
