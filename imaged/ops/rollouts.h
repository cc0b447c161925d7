/* rollouts.h: the job of roll-outs, composed of two domains' work, and what all verbs on them
 * share.  Any thread. */
#pragma once

#include "imaged/ops/ops.h"
#include "snapshot/rollout.h"

extern const JobType rollout_job;
extern const RolloutRuns rollout_runs; /* what is done with desktops that run */

/* Have those roll-outs go on that wait for desktops of which one's turn has come (it was stopped,
 * its user has left).  Housekeeping asks now and then. */
void rollouts_wake(World *world);

/* The same before these desktops are started, and until those of them that are to be moved when
 * they are off have been, a few seconds at most. */
void rollouts_before_start(World *world, const LookupRows *desktops);

/* The keys that a run holds; version_id may be NULL.  Caller unrefs. */
json_t *rollouts_claims(const char *rollout_id, const char *version_id);

/* Take them, and see that the version is still there.  When that fails, keys is unreferenced. */
gboolean rollouts_claim(World *world, json_t *keys, const char *version_id, GError **error);

/* What a run goes on with: the state, by its counts and what becomes of the unhealthy. */
RolloutState rollouts_resume_state(World *world, const Rollout *rollout, gboolean skip);

/* Submit the job of a run whose beginning is in changes, under keys that were taken (both taken
 * over). */
void rollouts_fill(const Rollout *rollout, json_t *keys, Changes *changes, guint total,
                   const char *job_id, JobRequest *ret);
void rollouts_submit(OpsCall *call, const Rollout *rollout, json_t *keys, Changes *changes,
                     guint total, GError **error);

/* The call's deadline in milliseconds since 1970, 0 for none.  INVALID if it is over. */
gboolean rollouts_parse_deadline(OpsCall *call, gint64 *ret, GError **error);
