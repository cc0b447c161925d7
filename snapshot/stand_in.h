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
#include "imaged/job/batch.h"

extern const JobType stand_in_job;

/* Plan a stand-in for the desktops of this version (NAME: its newest published one; NAME:VERSION)
 * in store (a name; NULL: where the version was made), of blocks that share percent of them have.
 * NOT_FOUND; UNSUPPORTED if single blocks can't be freed in that store. */
gboolean stand_in_plan(World *world, const char *ref, const char *store, gint64 share,
                       BatchPlan *plan, GError **error);

/* "win11:3 (stand-in)", for messages.  Caller frees. */
char *stand_in_name(Db *db, const LayerRow *row);

/* Stand-ins on which nothing stands any more go to the trash. */
void stand_in_drop_unused(World *world);

/* A copy of the stand-in from in another store, on base, which is that store's copy of the same
 * version: the one that is there, or a new one (a long operation).  The caller holds a claim on the
 * version. */
gboolean stand_in_copy(Job *job, World *world, const LayerRow *from, const LayerRow *base,
                       LayerRow *ret, GError **error);
