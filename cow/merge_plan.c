/* merge_plan.c: walks the run's partial map cluster by cluster of the result.
 *
 * The two may have different geometries, and a layer may end anywhere, so that one subcluster of
 * the result can be made of several pieces: data, zeros, and holes through which one sees what
 * lies below.  Such a one is composed: it becomes data, and its holes are filled from below.
 * Explicit zeros stay only where something lies below; ranges in which nothing is to be done are
 * skipped as a whole.
 *
 * If the result will stand on layers that the run did not stand on (n_new), the run's map is that
 * of its whole chain: what comes from below the run counts as the run's own where the new layers
 * hold anything, and as nothing elsewhere. */
#include "cow/merge_plan.h"

#include "imaged/base/error.h"
#include "imaged/base/units.h"

#define MAP_BUDGET (16 * MIB)
#define BLOCK 4096u /* of file systems that share blocks */

struct MergePlan {
    ChainMap *run, *below; /* below may be NULL */
    ChainMap *cover;       /* of the n_new layers, or NULL */
    guint n_base;          /* with cover: layers of run's map that are below the run */
    guint64 size;          /* guest bytes of the result */
    guint64 below_size;    /* guest bytes */
    guint64 cluster, sub;  /* bytes */
    gboolean look;
    guint64 at;    /* guest offset that was not planned yet */
    MapExtent now; /* of the run, holds at unless at its end */
    GArray *pieces;
};

static gboolean check(const LayerMerge *m, GError **error)
{
    const char *what = NULL;

    if (m->n_run == 0)
        what = "a merge needs a layer";
    else if (((m->spec->virtual_size + 511) & ~511ull) !=
             ((layer_virtual_size(m->run[m->n_run - 1]) + 511) & ~511ull))
        what = "a merged layer has the size of the topmost one";
    else if (!m->spec->backing_name != !m->n_below)
        what = "a merged layer has a backing file exactly if something lies below";
    else if (m->n_new && (m->n_new >= m->n_below || !m->drop_equal))
        what = "a run that changes what it stands on shares a base with that, and is compared";
    if (what)
        g_set_error_literal(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, what);
    return !what;
}

/* The maps of a run that changes what it stands on. */
static gboolean map_moved(MergePlan *p, const LayerMerge *m, GError **error)
{
    g_autoptr(GPtrArray) all = g_ptr_array_new();

    p->n_base = m->n_below - m->n_new;
    for (guint i = 0; i < p->n_base; i++)
        g_ptr_array_add(all, m->below[i]);
    for (guint i = 0; i < m->n_run; i++)
        g_ptr_array_add(all, m->run[i]);
    p->run = chain_map_new((Layer *const *)all->pdata, all->len, MAP_BUDGET, error);
    p->cover = chain_map_new_partial(m->below + p->n_base, m->n_new, MAP_BUDGET, error);
    return p->run && p->cover;
}

MergePlan *merge_plan_new(const LayerMerge *m, gboolean look, GError **error)
{
    g_autoptr(MergePlan) p = g_new0(MergePlan, 1);

    if (!check(m, error))
        return NULL;
    if (m->n_new) {
        if (!map_moved(p, m, error))
            return NULL;
    } else if (!(p->run = chain_map_new_partial(m->run, m->n_run, MAP_BUDGET, error))) {
        return NULL;
    }
    if (m->n_below) {
        p->below = chain_map_new(m->below, m->n_below, MAP_BUDGET, error);
        if (!p->below)
            return NULL;
        p->below_size = chain_map_size(p->below);
    }
    p->size = chain_map_size(p->run);
    p->cluster = 1ull << m->spec->cluster_bits;
    p->sub = m->spec->has_subclusters ? p->cluster / QCOW2_SUBCLUSTERS : p->cluster;
    p->look = look;
    p->pieces = g_array_new(FALSE, FALSE, sizeof(MapExtent));
    return g_steal_pointer(&p);
}

void merge_plan_free(MergePlan *p)
{
    if (!p)
        return;
    chain_map_free(p->run);
    chain_map_free(p->below);
    chain_map_free(p->cover);
    if (p->pieces)
        g_array_unref(p->pieces);
    g_free(p);
}

ChainMap *merge_plan_run(MergePlan *p)
{
    return p->run;
}

ChainMap *merge_plan_below(MergePlan *p)
{
    return p->below;
}

guint64 merge_plan_cluster(const MergePlan *p)
{
    return p->cluster;
}

guint64 merge_plan_sub(const MergePlan *p)
{
    return p->sub;
}

/* Make now, of the map of the whole chain, what a run that changes what it stands on says at at. */
static gboolean look_through_cover(MergePlan *p, GError **error)
{
    MapExtent c = { .start = p->at, .length = p->now.length, .kind = EXTENT_UNALLOCATED };
    guint64 cut = p->at - p->now.start;

    if (p->now.layer >= p->n_base) {
        p->now.layer -= p->n_base;
        return TRUE;
    }
    if (p->at < chain_map_size(p->cover) && !chain_map_find(p->cover, p->at, &c, error))
        return FALSE;
    p->now.start = p->at;
    p->now.length = MIN(p->now.length - cut, c.start + c.length - p->at);
    if (c.kind == EXTENT_UNALLOCATED)
        p->now.kind = EXTENT_UNALLOCATED;
    else if (p->now.kind == EXTENT_DATA)
        p->now.kind = EXTENT_COMPRESSED; /* read through the map: its file is none of the run's */
    return TRUE;
}

/* Make now the extent that holds at. */
static gboolean load(MergePlan *p, GError **error)
{
    if (p->now.length && p->at - p->now.start < p->now.length)
        return TRUE;
    return chain_map_find(p->run, p->at, &p->now, error) &&
           (!p->cover || look_through_cover(p, error));
}

/* Bytes from at on, which begins a cluster, in which the run changes nothing; at most to end. */
static gboolean find_nothing(MergePlan *p, guint64 end, guint64 *ret_len, GError **error)
{
    MapExtent e;

    *ret_len = 0;
    if (p->now.kind == EXTENT_UNALLOCATED || (p->now.kind == EXTENT_ZERO && p->at >= p->below_size))
        *ret_len = end - p->at;
    else if (p->now.kind == EXTENT_ZERO) {
        if (!chain_map_find(p->below, p->at, &e, error))
            return FALSE;
        if (e.kind == EXTENT_ZERO)
            *ret_len = MIN(end, e.start + e.length) - p->at;
    }
    return TRUE;
}

/* Pass over whole clusters of nothing; *ret_skipped says whether there were any. */
static gboolean skip_nothing(MergePlan *p, gboolean *ret_skipped, GError **error)
{
    guint64 len, end = p->now.start + p->now.length;

    *ret_skipped = FALSE;
    if (!find_nothing(p, end, &len, error))
        return FALSE;
    if (p->at + len < p->size)
        len -= len % p->cluster;
    p->at += len;
    *ret_skipped = len > 0;
    return TRUE;
}

static gboolean collect_pieces(MergePlan *p, guint64 end, GError **error)
{
    g_array_set_size(p->pieces, 0);
    while (p->at < end) {
        if (!load(p, error))
            return FALSE;
        MapExtent e = p->now;
        guint64 cut = p->at - e.start;
        e.start = p->at;
        e.length = MIN(end, p->now.start + p->now.length) - p->at;
        if (e.kind == EXTENT_DATA)
            e.host_offset += cut;
        g_array_append_val(p->pieces, e);
        p->at += e.length;
    }
    return TRUE;
}

typedef struct {
    guint64 cluster, sub;
    guint32 mask;
} BelowMask;

static gboolean add_below(const MapExtent *e, gpointer data, GError **error)
{
    BelowMask *b = data;

    if (e->kind != EXTENT_ZERO)
        b->mask |= qcow2_sub_mask(b->sub, e->start & (b->cluster - 1), e->length);
    return TRUE;
}

/* Which subclusters of the cluster at start hold anything in the layers below. */
static gboolean find_below(MergePlan *p, guint64 start, guint32 *ret_mask, GError **error)
{
    BelowMask b = { p->cluster, p->sub, 0 };

    if (p->below && start < p->below_size &&
        !chain_map_walk(p->below, start, MIN(start + p->cluster, p->size), add_below, &b, error))
        return FALSE;
    *ret_mask = b.mask;
    return TRUE;
}

/* The masks of a cluster whose pieces are there. */
static gboolean decide(MergePlan *p, MergeCluster *c, GError **error)
{
    guint32 touched[4] = { 0 }; /* by ExtentKind */
    guint64 start = c->index * p->cluster;

    c->compose = 0;
    for (guint i = 0; i < p->pieces->len; i++) {
        const MapExtent *e = &g_array_index(p->pieces, MapExtent, i);
        guint64 at = e->start - start, end = at + e->length;
        touched[e->kind] |= qcow2_sub_mask(p->sub, at, e->length);
        if (at % p->sub)
            c->compose |= 1u << (at / p->sub);
        if (end % p->sub)
            c->compose |= 1u << (end / p->sub);
    }
    c->data = touched[EXTENT_DATA] | touched[EXTENT_COMPRESSED];
    c->zero = touched[EXTENT_ZERO] & ~c->data;
    c->below = 0;
    if ((c->zero || (c->data & touched[EXTENT_UNALLOCATED]) || p->look) &&
        !find_below(p, start, &c->below, error))
        return FALSE;
    c->zero &= c->below;
    c->fill = (c->data | c->zero) & touched[EXTENT_UNALLOCATED] & c->below;
    c->data |= c->fill;
    c->zero &= ~c->data;
    c->compose = (c->compose | touched[EXTENT_COMPRESSED]) & c->data;
    return TRUE;
}

gboolean merge_plan_next(MergePlan *p, MergeCluster *ret, GError **error)
{
    gboolean skipped;

    while (p->at < p->size) {
        if (!load(p, error) || !skip_nothing(p, &skipped, error))
            return FALSE;
        if (skipped)
            continue;
        ret->index = p->at / p->cluster;
        ret->pieces = p->pieces;
        if (!collect_pieces(p, MIN((ret->index + 1) * p->cluster, p->size), error) ||
            !decide(p, ret, error))
            return FALSE;
        if (ret->data | ret->zero)
            return TRUE;
    }
    return FALSE;
}

gboolean merge_plan_share(const MergePlan *p, const MapExtent *e, MergeShare *ret)
{
    guint64 at = e->start & (p->cluster - 1), end = at + e->length;

    ret->from = (at + p->sub - 1) / p->sub * p->sub;
    ret->to = end / p->sub * p->sub;
    return ret->from < ret->to && p->sub % BLOCK == 0 &&
           (e->host_offset + (ret->from - at)) % BLOCK == 0 &&
           e->host_offset + (ret->to - at) <=
               layer_file_size(chain_map_layer(p->run, e->layer + p->n_base));
}
