/* snapshots.h: names for states of a desktop's disk: made, renamed, gone back to.
 *
 * docs/design/snapshots.md has the whole picture.  Deleting is in merges.h.  Any thread. */
#pragma once

#include "imaged/catalog/lookup.h"
#include "imaged/job/batch.h"

extern const JobType snapshot_create_job;

/* Plan a snapshot with this name of each of these desktops.  One that has such a snapshot already
 * is rejected. */
gboolean snapshot_plan_create(World *world, const LookupRows *desktops, const char *name,
                              const char *description, BatchPlan *plan, GError **error);

/* One item of that plan alone, as a step of a job that does more. */
gboolean snapshot_create_one(Job *job, World *world, json_t *item, GError **error);

/* Give it another name or description (NULL: as it is). */
gboolean snapshot_rename(World *world, const char *desktop, const char *name, const char *new_name,
                         const char *description, const char *who, GError **error);
