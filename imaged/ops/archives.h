/* archives.h: what the operations on archives share. */
#pragma once

#include "imaged/job/batch.h"
#include "imaged/ops/ops.h"

/* The id of the target that the argument key names; NULL if it is not given and not needed. */
gboolean archives_find_target(OpsCall *call, const char *key, gboolean is_needed, char **ret_id,
                              GError **error);

/* In whose journal targets and schedules stand.  Caller frees. */
char *archives_default_store(World *world, GError **error);

/* The desktops and further refs that a selection {names|prefix|template} means, made a plan. */
gboolean archives_plan_selection(World *world, const json_t *what, const char *target_id,
                                 const char *description, const char *keep, BatchPlan *plan,
                                 GError **error);

/* Begin the runs of schedules that are due, and collect what has expired. */
void archives_tick(World *world, gint64 now_ms);
