/* merge.h: a run of a desktop's adjacent layers becomes one, in the slot of the uppermost.
 *
 * What deleting a snapshot, compacting, flattening and the depth governor have in common.  The
 * course of a merge and what a stop leaves of it: docs/design/snapshots.md. */
#pragma once

#include "cow/layer_merge.h"
#include "imaged/catalog/lookup.h"
#include "imaged/job/batch.h"

typedef struct {
    const char *top, *bottom; /* ids: the uppermost and the lowest layer of the run */
    const char *merged;       /* id of the result, planned */
    const char *trash;        /* id of the trash entry of what top's slot held, planned */
    gboolean drop;            /* leave out what reads the same below, and zeros */
    const char *onto;         /* the layer that the result will stand on, if that is another than
                               * the run's: a stand-in (stand_in.h).  Its bytes are compared with
                               * the run's to the last one before the switch.  Only with drop. */
    gboolean *ret_needless;   /* set: a single layer in which nothing can be left out is left as it
                               * is, and told here; or NULL */
    gboolean is_paced;        /* give way to others by the kernel's pressure figures */
    gboolean is_live;         /* the desktop runs, and the caller holds x:run/ID: top is a frozen
                               * layer, and QEMU has the files that it opened */
} Merge;

/* Merge, and commit that together with more changes (taken over, may be NULL) as a step of the job.
 * The caller has claimed "x:layers/DESKTOP" and "s:making/STORE"; the desktop itself is claimed
 * here: for the whole time if top is its active layer, else for the moment of the switch.  Done
 * already (before a stop) is done.  BUSY, NO_SPACE (says how much), CANCELLED. */
gboolean merge_layers(Job *job, World *world, const Merge *merge, Changes *more, GError **error);

/* What it will need. */
gboolean merge_reckon(World *world, const Merge *merge, LayerMergeNeed *ret_need, GError **error);

/* The facts of a merge whose slot was switched before a stop, in a commit of their own.  The caller
 * holds every claim. */
gboolean merge_finish(World *world, const Merge *merge, gboolean *ret_done, GError **error);

/* After a stop without its job (an old catalog was put back): slots of this store that hold the
 * result of a merge which the catalog does not know, are taken for what they are; half of a switch
 * is taken back. */
gboolean merge_settle(World *world, Store *store, GError **error);
