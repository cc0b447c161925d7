/* archive_restore_layer.h: one layer built out of the objects of an archive point.
 *
 * What it will belong to, and what is committed with it, is said by archive_restore.c, to which
 * this is internal.  In the job's thread. */
#pragma once

#include "cow/identity.h"
#include "cow/layer_merge.h"
#include "imaged/catalog/lookup.h"
#include "imaged/job/world.h"
#include "snapshot/archive_point.h"
#include "snapshot/archive_target.h"

/* A restore at work. */
typedef struct {
    Job *job;
    World *world;
    ArchiveTarget *target;
    Store *store;
    ArchivePoint *point;
    guint64 done, part; /* of the progress: bytes done, and of the piece at hand */
    guint64 total;
} RestoreWork;

/* The layer wanted. */
typedef struct {
    guint from, to;       /* of the point's chain */
    const LayerRow *base; /* what it stands on, or NULL */
    GPtrArray *below;     /* that opened, the base first */
    const Identity *identity;
    gboolean is_frozen;
} RestoreLayer;

/* Build it in the slot that its identity names.  A layer that a stop left whole there is taken as
 * it is; without objects (from == to) it is an empty overlay.  The digest of a frozen one is
 * returned. What fails may leave the slot's file, which is the caller's to discard. */
gboolean restore_layer_build(RestoreWork *work, const RestoreLayer *layer,
                             LayerSummary *ret_summary, GError **error);
