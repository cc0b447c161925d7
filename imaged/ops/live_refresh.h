/* live_refresh.h: QEMU is brought onto the files that a running desktop's chain has now. */
#pragma once

#include "imaged/job/world.h"

typedef struct {
    const char *desktop_id, *incarnation; /* of the run that was planned with */
    const char *new_id, *trash_id;        /* of the fresh overlay, and of the former one's entry */
    gboolean is_data;
} LiveRefresh;

/* As a step of a job that has claimed x:run/ID.  Done already is done; a desktop that has ended, or
 * has no such disk, needs none. */
gboolean live_refresh(Job *job, World *world, const LiveRefresh *refresh, GError **error);
