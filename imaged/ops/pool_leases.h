/* pool_leases.h: leases that come to their end: warned of, and ended.  The keeper's thread. */
#pragma once

#include "imaged/ops/pool_deeds.h"

typedef struct PoolLeases PoolLeases;
PoolLeases *pool_leases_new(World *world, PoolDeeds *deeds);
void pool_leases_free(PoolLeases *leases);

/* Do what is due at now_ms.  Returns when to look again (0: nothing waits). */
gint64 pool_leases_turn(PoolLeases *leases, gint64 now_ms);

/* Those of a pool that have been archived since they were to be go on to be re-imaged. */
guint pool_leases_archived(Db *db, Changes *changes, const char *pool_id);
