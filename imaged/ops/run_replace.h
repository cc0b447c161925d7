/* run_replace.h: one desktop that runs: switched off, something done to its disk, on again.
 *
 * The caller has claimed x:run/ID throughout, so nobody starts it between.  Each part is decided by
 * what is there, so all of it can be done again after a stop of the daemon. */
#pragma once

#include "imaged/catalog/lookup.h"
#include "imaged/job/batch.h"
#include "imaged/ops/run_place.h"

/* An item has id and name; of a desktop that runs also "before", its incarnation, and "incarnation"
 * and "host", as what and where it is to be started again.  Without these nothing is stopped or
 * started. */
typedef struct {
    gboolean (*is_done)(World *world, const json_t *item); /* to its disk */
    /* With the desktop claimed: do it, and commit that. */
    gboolean (*replace)(Job *job, World *world, json_t *item, gpointer user, GError **error);
    gpointer user;
} RunReplace;

gboolean run_replace(Job *job, World *world, json_t *item, const RunReplace *how, GError **error);

/* What a desktop that runs needs besides (see there), added to the items of a plan that has their
 * runs claimed (with_runs); the plan is for a job of this type then. */
gboolean run_replace_amend(BatchPlan *plan, const JobType *type, GError **error);

/* Its three parts.  A job that is cancelled ends what it has begun: only a daemon that stops breaks
 * these off.  Stop: BUSY if it was started meanwhile by somebody else, or does not end. */
gboolean run_replace_stop(Job *job, World *world, const json_t *item, GError **error);
gboolean run_replace_disk(Job *job, World *world, json_t *item, const RunReplace *how,
                          GError **error);
gboolean run_replace_start(Job *job, World *world, json_t *item, GError **error);

/* Add to an item and its claims what a desktop that runs needs: it is started again where it is,
 * or elsewhere if its host is to be emptied.  TRUE without them if it is off. */
gboolean run_replace_plan(World *world, Db *db, RunPlaces *places, const DesktopRow *desktop,
                          json_t *item, json_t *keys, GError **error);
