/* merge_plan.h: of what each cluster of a merged layer is made, from the tables alone.
 *
 * Internal to layer_merge.c.  It reads no guest data.  One thread. */
#pragma once

#include "cow/chain_map.h"
#include "cow/layer_merge.h"

/* One cluster of the result that is not empty.  Masks have a bit for each subcluster (bit 0 alone
 * if there are none). */
typedef struct {
    guint64 index;   /* of the cluster in the guest */
    guint32 data;    /* has bytes */
    guint32 zero;    /* explicit zeros, where something may show through from below */
    guint32 compose; /* part of data: more than the plain bytes of one place in one file */
    guint32 fill;    /* part of compose: partly from what lies below the run */
    guint32 below;   /* something lies below (known where zero, fill or look ask for it) */
    GArray *pieces;  /* MapExtent, without a gap; the plan's, until the next cluster */
} MergeCluster;

/* Bytes in the cluster, whole subclusters of the result. */
typedef struct {
    guint64 from, to;
} MergeShare;

typedef struct MergePlan MergePlan;

/* Borrows merge.  With look, below is told for every cluster.  INVALID. */
MergePlan *merge_plan_new(const LayerMerge *merge, gboolean look, GError **error);
void merge_plan_free(MergePlan *plan);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MergePlan, merge_plan_free)

ChainMap *merge_plan_run(MergePlan *plan);
ChainMap *merge_plan_below(MergePlan *plan);       /* NULL if nothing lies below */
guint64 merge_plan_cluster(const MergePlan *plan); /* bytes */
guint64 merge_plan_sub(const MergePlan *plan);     /* bytes that one bit stands for */

/* The part of one of its pieces, of kind DATA, that could be shared by reflink; FALSE for none. */
gboolean merge_plan_share(const MergePlan *plan, const MapExtent *piece, MergeShare *ret_share);

/* The next cluster; FALSE at the end (no error set) or on an error: CORRUPT, UNAVAILABLE. */
gboolean merge_plan_next(MergePlan *plan, MergeCluster *ret_cluster, GError **error);
