/* pool_spares.h: free desktops of pools that wait switched on.  The keeper's thread. */
#pragma once

#include "imaged/ops/pool_deeds.h"

/* How much of the memory of hosts that take desktops is given away: 0 to 1; 1 without any. */
double pool_spares_memory_given(World *world);

/* Start as many as the pool is to have (broker/pool/spares.h). */
void pool_spares_keep(World *world, PoolDeeds *deeds, const PoolRow *pool, double memory_given);
