/* move.h: moving disks between stores. */
#pragma once

#include "imaged/job/batch.h"

extern const JobType move_job;
extern const JobType drain_job;

/* Move one desktop's disk as a part of a larger job, with a claim of its own. BUSY. */
gboolean move_desktop(Job *job, World *world, const DesktopRow *desktop, const char *store_id,
                      GError **error);
