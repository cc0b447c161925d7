/* diff.h: which bytes a guest would read differently in two states of one desktop.  Any thread. */
#pragma once

#include "imaged/catalog/lookup.h"
#include "imaged/job/job.h"
#include "imaged/job/world.h"

extern const JobType snapshot_diff_job;

/* Plan the comparison of two states of a desktop: names of snapshots, NULL for its present disk. */
gboolean snapshot_plan_diff(World *world, const char *desktop, const char *a, const char *b,
                            JobRequest *ret_request, GError **error);

/* Compare the chains that end with two layers, at a job's pace: {n_bytes, n_extents, is_complete,
 * extents: [{offset, length}]}.  Nobody may write them meanwhile. */
json_t *diff_layers(Job *job, World *world, const char *a, const char *b, GError **error);
