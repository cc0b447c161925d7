/* pool_leases.h: leases that come to their end: warned of, and ended.  The keeper's thread. */
#pragma once

#include "broker/pool/pools.h"

/* Do what is due at now_ms.  Returns when to look again (0: nothing waits). */
gint64 pool_leases_turn(World *world, gint64 now_ms);

/* Those of a pool that have been archived since they were to be go on to be re-imaged. */
guint pool_leases_archived(Db *db, Changes *changes, const char *pool_id);
