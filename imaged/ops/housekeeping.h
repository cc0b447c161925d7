/* housekeeping.h: what happens by itself: stores looked after, the trash's expiry, the catalog's
 * backup, scheduled checks, alarms for space and clock.  One thread of its own. */
#pragma once

#include "imaged/job/world.h"

typedef struct Housekeeping Housekeeping;

Housekeeping *housekeeping_start(World *world);
void housekeeping_stop(Housekeeping *housekeeping);
