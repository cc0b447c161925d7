/* live_freeze.h: the disks of a desktop that runs, frozen under fresh overlays.
 *
 * The catalog goes ahead, QEMU follows, and what is below is frozen last (snapshot/freeze_ahead.h).
 * After a stop its host is asked which file QEMU writes to; if it has ended, nobody does. */
#pragma once

#include "broker/run/runs.h"
#include "snapshot/freeze_ahead.h"

typedef struct {
    const char *desktop_id, *incarnation; /* of the run that was planned with */
    const char *new_id, *new_data_id;     /* ids of the overlays; NULL leaves that disk alone */
    /* More for the last set of changes; frozen: what holds the state of that moment. */
    void (*add)(Changes *changes, const FreezeAhead *frozen, gboolean is_quiet, gpointer user);
    gpointer user;
} LiveFreeze;

/* As steps of a job that has claimed x:run/ID.  Done already (before a stop) is done.  An error
 * leaves the desktop as it was, unless the daemon stops, or the store fails between. */
gboolean live_freeze(Job *job, World *world, const LiveFreeze *freeze, GError **error);

/* Its run, if that is the planned one still; and its host.  BUSY. */
gboolean live_load_run(World *world, const char *desktop_id, const char *incarnation,
                       RunRow *ret_run, HostRow *ret_host, GError **error);
