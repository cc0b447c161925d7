/* merge_work.h: a merge while it is done: what merge.c (claims, switch, facts) and merge_build.c
 * (the new file) share.  For those two alone. */
#pragma once

#include "imaged/base/ident.h"
#include "snapshot/chain.h"
#include "snapshot/merge.h"
#include "snapshot/pace.h"

typedef struct {
    Job *job;
    World *world;
    const Merge *m;
    LookupRows chain;  /* the base first; ends with top */
    guint bottom;      /* index of the run's lowest layer */
    GPtrArray *layers; /* the chain, opened */
    LookupRows onto;   /* the chain that the result will stand on, if it is another */
    GPtrArray *below;  /* that chain, opened: it shares the base's with layers */
    guint n_shared;    /* layers at the bottom of both */
    Store *store;
    LayerRow *top;      /* in chain */
    gboolean is_active; /* top is the desktop's disk, or its data disk */
    gboolean is_data;   /* it is a layer of the data disk */
    DesktopRow desktop;
    Id former; /* the name in trash/ of what the slot held */
    ImageLock lock;
    json_t *claimed;        /* the desktop, once it is */
    gboolean has_tried;     /* to switch the slot's file */
    gboolean is_needless;   /* nothing would be freed */
    gboolean lacks_desktop; /* of what was done, the desktop's row is missing */
    char checksum[33];      /* of the result, or empty */
    Pace pace;
} MergeWork;

static inline const LayerRow *merge_row(const LookupRows *rows, guint i)
{
    return rows->rows->pdata[i];
}

/* The row of what the result will stand on, or NULL. */
const LayerRow *merge_new_parent(const MergeWork *work);

/* Open the chain and describe the merge; the caller frees spec->backing_name. */
gboolean merge_describe(MergeWork *work, LayerMerge *ret, BlankSpec *spec, GError **error);

/* Write the result into tmp/, and compare it if it stands on something else; nothing is left on an
 * error.  Or find that it is needless. */
gboolean merge_build(MergeWork *work, GError **error);
