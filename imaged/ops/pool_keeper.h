/* pool_keeper.h: a thread that brings pools to what they are to be: makes, re-images, starts and
 * deletes their desktops, by jobs.
 *
 * It decides by rows alone, so it can be stopped at any moment, and goes on.  It is woken by what
 * happens (pools_touch(), events), and by the ends of leases. */
#pragma once

#include "imaged/job/world.h"

typedef struct PoolKeeper PoolKeeper;

PoolKeeper *pool_keeper_start(World *world);
void pool_keeper_stop(PoolKeeper *keeper); /* NULL: none */
