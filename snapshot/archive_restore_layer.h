/* archive_restore_layer.h: one layer built out of the objects of an archive point, and what else
 * the files of a restore share.
 *
 * What the layer will belong to, and what is committed with it, is said by archive_restore.c and
 * archive_restore_version.c, to which this is internal.  In the job's thread. */
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
    const GArray *chain;  /* of ArchiveLayer: one of the point's two */
    guint64 virtual_size; /* of that */
    guint from, to;       /* of the chain */
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

/* What the job's plan says. */
const char *restore_text(const RestoreWork *work, const char *key);
gint64 restore_int(const RestoreWork *work, const char *key);
gboolean restore_is(const RestoreWork *work, const char *key);

/* Unlink a slot that no row names. */
void restore_discard(RestoreWork *work, const char *slot);

/* A template version: its layer, whole in its slot (what is in the catalog already, in the journal
 * just before a stop, is left alone); its facts; all of the job for a point of a version. */
gboolean restore_version_build(RestoreWork *work, LayerSummary *ret_summary,
                               gboolean *ret_is_known, GError **error);
void restore_version_put(RestoreWork *work, const LayerSummary *summary, Changes *changes);
gboolean restore_version(RestoreWork *work, GError **error);
