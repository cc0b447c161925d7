/* merge_reckon.c: what a merge will need (layer_merge.h), by making its plan without doing it. */
#include "cow/merge_plan.h"

#include "imaged/base/units.h"

#define BLOCK 4096u

/* Bytes of tables around n_clusters of data with n_l2 L2 tables, with what rounding may add. */
static guint64 table_bytes(const BlankSpec *spec, guint64 n_clusters, guint64 n_l2)
{
    guint64 cluster = 1ull << spec->cluster_bits;
    guint64 n_l1 = blank_n_l1(spec) * 8 / cluster + 1;
    guint64 n_blocks = (n_clusters + n_l2 + n_l1 + 1) / (cluster / 2 - 1) + 2;
    guint64 n_table = n_blocks / (cluster / 8) + 1;

    return (1 + n_l2 + n_l1 + n_blocks + n_table) * cluster;
}

/* Bytes of whole blocks that the subclusters of mask touch at most. */
static guint64 block_bytes(const MergePlan *plan, guint32 mask)
{
    guint64 unit = MAX(merge_plan_sub(plan), BLOCK);

    return MIN(merge_plan_cluster(plan), (guint64)__builtin_popcount(mask) * unit);
}

gboolean layer_merge_reckon(const LayerMerge *merge, LayerMergeNeed *ret, GError **error)
{
    g_autoptr(MergePlan) plan = merge_plan_new(merge, FALSE, error);
    guint64 n_clusters = 0, n_l2 = 0, last_l2 = G_MAXUINT64, blocks = 0, moved = 0, data = 0;
    GError *local = NULL;
    MergeCluster c;
    MergeShare share;

    if (!plan)
        return FALSE;
    guint64 cluster = merge_plan_cluster(plan), sub = merge_plan_sub(plan);
    guint64 per_l2 = cluster / (merge->spec->has_subclusters ? 16 : 8);
    while (merge_plan_next(plan, &c, &local)) {
        guint32 shared = 0;
        for (guint i = 0; merge->can_reflink && i < c.pieces->len; i++) {
            const MapExtent *e = &g_array_index(c.pieces, MapExtent, i);
            if (e->kind == EXTENT_DATA && merge_plan_share(plan, e, &share))
                shared |= qcow2_sub_mask(sub, share.from, share.to - share.from);
        }
        data += (guint64)__builtin_popcount(c.data) * sub;
        blocks += block_bytes(plan, c.data);
        moved += block_bytes(plan, c.data & ~shared);
        n_clusters += c.data != 0;
        n_l2 += c.index / per_l2 != last_l2;
        last_l2 = c.index / per_l2;
    }
    if (local) {
        g_propagate_error(error, local);
        return FALSE;
    }
    /* The file system's own notes of where each piece lies count as the file's blocks too. */
    guint64 rest = table_bytes(merge->spec, n_clusters, n_l2) + blocks / 64 + 64 * KIB;
    ret->data_bytes = data;
    ret->file_bytes = blocks + rest;
    ret->new_bytes = moved + rest;
    return TRUE;
}
