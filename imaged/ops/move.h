/* move.h: moving disks between stores; their plans are in jobs.h. */
#pragma once

#include "imaged/job/batch.h"

extern const JobType move_job;
extern const JobType drain_job;

/* The claims under which a desktop is moved.  Caller unrefs. */
json_t *move_claims(const DesktopRow *desktop);

/* Move one desktop's disk as a part of a larger job, with a claim of its own. BUSY. */
gboolean move_desktop(Job *job, World *world, const DesktopRow *desktop, const char *store_id,
                      GError **error);
