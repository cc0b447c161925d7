/* cluster_runs.c: one pass over the extents, never more of them in memory than one.
 *
 * An extent of data gives one run.  An extent of zeros gives up to three pieces: a first and a last
 * cluster that it holds in part, which have to be read, and whole clusters between them, of which
 * only those are handed out that hide something below. */
#include "cow/cluster_runs.h"

#include "imaged/base/error.h"
#include "imaged/base/units.h"

#define MAX_L1 (1 * MIB)
#define MAX_PIECES 3

struct ClusterRuns {
    LayerExtents *extents;
    ChainMap *below;
    guint32 bits;
    guint64 size; /* guest bytes of the layer */
    guint64 next; /* clusters before it are done */

    ClusterRun pieces[MAX_PIECES]; /* of the current extent */
    guint n_pieces, at;
    guint64 zero_at, zero_end; /* guest bytes: the current piece of zeros, still to be looked at */
};

static gboolean is_cancelled(const gint *cancel, GError **error)
{
    if (!cancel || !g_atomic_int_get(cancel))
        return FALSE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CANCELLED, "cancelled");
    return TRUE;
}

ClusterRuns *cluster_runs_new(const Layer *layer, ChainMap *below, guint32 cluster_bits)
{
    ClusterRuns *r = g_new0(ClusterRuns, 1);

    r->extents = layer_extents_new(layer, 0, G_MAXUINT64);
    r->below = below;
    r->bits = cluster_bits;
    r->size = layer_virtual_size(layer);
    return r;
}

void cluster_runs_free(ClusterRuns *r)
{
    if (!r)
        return;
    layer_extents_free(r->extents);
    g_free(r);
}

/* Add the clusters [first, end) that have not been handed out. */
static void add_piece(ClusterRuns *r, guint64 first, guint64 end, gboolean is_zero)
{
    first = MAX(first, r->next);
    if (first >= end)
        return;
    r->pieces[r->n_pieces++] = (ClusterRun){ first, end - first, is_zero };
    r->next = end;
}

static void split_extent(ClusterRuns *r, const Extent *e)
{
    guint64 mask = (1ull << r->bits) - 1, end = e->start + e->length;
    guint64 first = e->start >> r->bits, last = (end - 1) >> r->bits;

    r->n_pieces = r->at = 0;
    if (e->kind != EXTENT_ZERO) {
        add_piece(r, first, last + 1, FALSE);
    } else if (r->below) {
        gboolean whole_end = !(end & mask) || end == r->size;
        guint64 from = first + ((e->start & mask) != 0), to = whole_end ? last + 1 : last;
        add_piece(r, first, from, FALSE);
        add_piece(r, from, to, TRUE);
        add_piece(r, to, last + 1, FALSE);
    }
}

/* The next part of the current piece of zeros that hides something. */
static gboolean next_zeros(ClusterRuns *r, const gint *cancel, ClusterRun *ret, GError **error)
{
    guint64 limit = MIN(r->zero_end, chain_map_size(r->below));
    MapExtent e;

    while (r->zero_at < limit) {
        if (is_cancelled(cancel, error) || !chain_map_find(r->below, r->zero_at, &e, error))
            return FALSE;
        guint64 end = MIN(e.start + e.length, limit);
        if (e.kind == EXTENT_ZERO) {
            r->zero_at = end;
            continue;
        }
        guint64 first = r->zero_at >> r->bits, behind = ((end - 1) >> r->bits) + 1;
        *ret = (ClusterRun){ first, behind - first, TRUE };
        r->zero_at = behind << r->bits;
        return TRUE;
    }
    r->zero_at = r->zero_end = 0;
    return FALSE;
}

gboolean cluster_runs_next(ClusterRuns *r, const gint *cancel, ClusterRun *ret, GError **error)
{
    GError *local = NULL;
    Extent e;

    for (;;) {
        if (r->zero_at < r->zero_end && next_zeros(r, cancel, ret, &local))
            return TRUE;
        if (local)
            break;
        if (r->at < r->n_pieces) {
            const ClusterRun *piece = &r->pieces[r->at++];
            if (!piece->is_zero) {
                *ret = *piece;
                return TRUE;
            }
            r->zero_at = piece->first << r->bits;
            r->zero_end = MIN((piece->first + piece->n) << r->bits, r->size);
            continue;
        }
        if (is_cancelled(cancel, error) || !layer_extents_next(r->extents, &e, &local))
            break;
        if (e.kind != EXTENT_UNALLOCATED)
            split_extent(r, &e);
    }
    if (local)
        g_propagate_error(error, local);
    return FALSE;
}

gint cluster_runs_hides(ChainMap *below, guint64 offset, guint64 len, GError **error)
{
    guint64 end = below ? MIN(offset + len, chain_map_size(below)) : 0;
    MapExtent e;

    while (offset < end) {
        if (!chain_map_find(below, offset, &e, error))
            return -1;
        if (e.kind != EXTENT_ZERO)
            return TRUE;
        offset = e.start + e.length;
    }
    return FALSE;
}

/* ---- The choice of the cluster size ---- */

/* The sums for one cluster size. */
typedef struct {
    guint32 bits;
    guint64 cluster, held;         /* the cluster that is open, and bytes held in it */
    guint64 sum_covered, sum_held; /* bytes, without the open one */
} Cost;

static void cost_close(Cost *c)
{
    if (c->held) {
        c->sum_covered += 1ull << c->bits;
        c->sum_held += c->held;
    }
    c->held = 0;
}

static void cost_part(Cost *c, guint64 cluster, guint64 bytes)
{
    if (cluster != c->cluster)
        cost_close(c);
    c->cluster = cluster;
    c->held += bytes;
}

static void cost_add(Cost *c, const Extent *e)
{
    guint64 size = 1ull << c->bits, mask = size - 1, at = e->start, end = e->start + e->length;

    if (at & mask) {
        guint64 part = MIN(size - (at & mask), end - at);
        cost_part(c, at >> c->bits, part);
        at += part;
    }
    if (end - at >= size) {
        guint64 whole = (end - at) & ~mask;
        cost_close(c);
        if (e->kind != EXTENT_ZERO) {
            c->sum_covered += whole;
            c->sum_held += whole;
        }
        at += whole;
    }
    if (at < end)
        cost_part(c, at >> c->bits, end - at);
}

gboolean cluster_runs_choose(const Layer *layer, gboolean is_base, const gint *cancel,
                             guint32 *ret_bits, guint64 *ret_bytes, GError **error)
{
    Cost costs[] = { { .bits = 16 }, { .bits = 14 }, { .bits = 12 } };
    g_autoptr(LayerExtents) extents = layer_extents_new(layer, 0, G_MAXUINT64);
    GError *local = NULL;
    guint chosen = 0;
    Extent e;

    while (layer_extents_next(extents, &e, &local)) {
        if (is_cancelled(cancel, error))
            return FALSE;
        for (guint i = 0; i < (is_base ? 1 : G_N_ELEMENTS(costs)); i++)
            if (e.kind != EXTENT_UNALLOCATED && !(is_base && e.kind == EXTENT_ZERO))
                cost_add(&costs[i], &e);
    }
    if (local) {
        g_propagate_error(error, local);
        return FALSE;
    }
    for (guint i = 0; i < G_N_ELEMENTS(costs); i++)
        cost_close(&costs[i]);
    while (!is_base && chosen + 1 < G_N_ELEMENTS(costs)) {
        const Cost *c = &costs[chosen];
        guint next_span = 2 * costs[chosen + 1].bits - 3; /* of one L2 table */
        if (c->sum_covered - c->sum_held <= c->sum_held / 4 ||
            (layer_virtual_size(layer) >> next_span) * 8 >= MAX_L1)
            break;
        chosen++;
    }
    *ret_bits = costs[chosen].bits;
    if (ret_bytes)
        *ret_bytes = costs[chosen].sum_covered;
    return TRUE;
}
