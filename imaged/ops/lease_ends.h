/* lease_ends.h: what is done to desktops whose leases are over, and which stay who they were: their
 * users are logged off, and they are shut down, suspended, archived or laid fresh.
 *
 * A row for each, until it is done; so it is done, whatever comes between.  Nobody is let in to a
 * desktop that has one.  The keeper's thread. */
#pragma once

#include "broker/pool/lease.h"
#include "imaged/ops/pool_deeds.h"

/* From this commit on it is to be done.  target: of LEASE_ARCHIVE. */
void lease_end_put(Changes *changes, const char *desktop_id, const char *user_id,
                   LeaseAction action, const char *target, gint64 now_ms);

/* Go on with all of them.  TRUE: some are left. */
gboolean lease_ends_turn(World *world, PoolDeeds *deeds, gint64 now_ms);
