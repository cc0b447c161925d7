/* jobs.h: jobs that are composed of more than one domain's work, and the list of all types. */
#pragma once

#include "imaged/catalog/lookup.h"
#include "imaged/job/batch.h"

/* If the store of this plan has no copy of the template yet, make it the job that copies first. */
void jobs_choose_create(World *world, BatchPlan *plan);

/* Every store that a reset will write to must be online and have space, and a copy of the target
 * version; else the job that copies first. */
gboolean jobs_check_reset(World *world, BatchPlan *plan, GError **error);

/* Is every store of these desktops online, with space for new work? */
gboolean jobs_check_stores(World *world, const LookupRows *desktops, GError **error);

/* Plan to move these desktops' disks to the store with this name. */
gboolean jobs_plan_move(World *world, const LookupRows *desktops, const char *store,
                        BatchPlan *plan, GError **error);

/* Plan to move everything off a store. */
gboolean jobs_plan_drain(World *world, const char *from, const char *to, const char *who,
                         JobRequest *ret_request, GError **error);

/* Plan a check: store is a name or NULL for all. */
gboolean jobs_plan_check(World *world, const char *store, gboolean data, gboolean repair,
                         JobRequest *ret_request, GError **error);

/* An import, with a look into the new version as a job of its own behind it. */
extern const JobType jobs_import;
extern const JobType jobs_build;

extern const JobType jobs_check;
extern const JobType archive_create_keep_job; /* archive.create, and what a schedule keeps */
extern const JobType archive_restore_job;

/* Of desktops that run. */
extern const JobType desktop_start_job, desktop_stop_job, desktop_restart_job, desktop_pause_job,
    desktop_resume_job, desktop_suspend_job, desktop_migrate_job, host_fence_job;

/* Start one desktop as a step of a job that does more and has claimed x:run/ID: item has id, name,
 * host and incarnation. */
gboolean run_start_one(Job *job, World *world, json_t *item, GError **error);
