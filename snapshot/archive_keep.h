/* archive_keep.h: which points of a target a retention policy would delete, by the index. */
#pragma once

#include "imaged/job/world.h"
#include "snapshot/archive_prune.h"

/* Points as objects {id, name, created_at, keep, why, bytes}, newest first, for each desktop, each
 * snapshot and each template by itself.  of (or NULL): the name of one; description (or NULL): only
 * points that have it.  A point that is not whole counts for no rule and stays.  Caller unrefs. */
json_t *archive_keep_reckon(World *world, const char *target_id, const char *of,
                            const char *description, const PrunePolicy *policy, GError **error);

/* The ids among them that go (array of texts).  Caller unrefs. */
json_t *archive_keep_to_delete(const json_t *points);

/* Submit the deletion of what the policy (text as of prune_policy_parse) lets go of these names,
 * among the points with that description: a schedule's policy never touches what others made. */
void archive_keep_apply(World *world, const char *target_id, const json_t *names,
                        const char *description, const char *policy);
