/* inspect.h: looking into many disks: the jobs template.inspect and desktop.inspect.
 *
 * What changed is read first: a desktop whose diff touches nothing that its template's inspection
 * hangs on has its template's applications, and costs a look at its tables.  The others are read by
 * a helper each, a few at a time; what only the appliance reads, one after the other. */
#pragma once

#include "imaged/ops/ops.h"

extern const JobType template_inspect_job;
extern const JobType desktop_inspect_job;

/* A version was just made: look into it, unless the configuration says no.  Failing is no matter.
 */
void inspect_new_version(World *world, const char *version_id, const char *who);

/* What is known about the disk on this layer, as "inspection" of the API: that of the topmost layer
 * which has one, {state: "none"} if there is none.  is_current tells whether the disk is still what
 * was read.  Looks at the storage: not while a reader of the catalog is held. */
json_t *inspect_show(World *world, const char *layer_id);
