/* stand_in.h: a base for what many desktops of one template version have in common, although the
 * version has it not.
 *
 *     version <- stand-in <- desktops
 *
 * It is a frozen layer on the version's, of blocks that are equal at the same offset in many of its
 * desktops.  Those are merged onto it (merge.h), each with its guest's bytes unchanged.  A stand-in
 * is nobody's version: nothing is created from it or reset to it, a reset goes to the version. When
 * nothing stands on it any more it goes to the trash.  Any thread. */
#pragma once

#include "imaged/catalog/lookup.h"
#include "imaged/job/job.h"
#include "imaged/job/world.h"

/* "win11:3 (stand-in)", for messages.  Caller frees. */
char *stand_in_name(Db *db, const LayerRow *row);
