/* plan.h: making a job's plan of what the catalog shows, such that it still holds when the job has
 * its claims. */
#pragma once

#include "imaged/job/world.h"

/* Makes a plan of what db shows and adds the claims it needs.  NULL with error set if there can
 * be none.  May be called several times, each time as if it were the first.  It looks at no
 * storage: a plan with a "store_id" is refused afterwards if that store is offline or low. */
typedef json_t *(*PlanMaker)(World *world, Db *db, json_t *claims, gpointer data, GError **error);

/* The plan for a job of this type, with its claims held: *ret has type, plan and claims, for
 * job_submit().  Made anew while something was committed between its facts and its claims.  The
 * maker's errors; UNAVAILABLE, NO_SPACE; BUSY if another holds one of the claims, or too much
 * changes.  Any thread that reads nothing from the catalog meanwhile. */
gboolean plan_make(World *world, const JobType *type, PlanMaker make, gpointer data,
                   JobRequest *ret, GError **error);

/* The plan as plan_make() would make it now, to be looked at: nothing is claimed, and *ret is not
 * to be submitted. */
gboolean plan_look(World *world, const JobType *type, PlanMaker make, gpointer data,
                   JobRequest *ret, GError **error);
