/* merge_gain.c: is there anything that compacting a single layer would free (layer_merge.h)?
 *
 * Without this, compacting what is compact would write it again.  What counts is whole blocks that
 * the file system would get back: data that reads the same below, or is zeros. */
#include "cow/layer_merge.h"

#include <string.h>

#include "cow/chain_reader.h"
#include "cow/digest.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"

#define PIECE (1 * MIB)

typedef struct {
    const LayerMerge *m;
    ChainMap *map, *below_map; /* of the layer alone; of what is below, or NULL */
    ChainReader *reader, *below;
    guint64 unit; /* bytes that can be left out alone */
    guint8 *own, *other;
} Gain;

static void gain_clear(Gain *g)
{
    chain_reader_free(g->reader);
    chain_reader_free(g->below);
    chain_map_free(g->map);
    chain_map_free(g->below_map);
    g_free(g->own);
    g_free(g->other);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Gain, gain_clear)

static gboolean gain_init(Gain *g, const LayerMerge *m, GError **error)
{
    guint64 cluster = 1ull << m->spec->cluster_bits;
    guint64 sub = m->spec->has_subclusters ? cluster / QCOW2_SUBCLUSTERS : cluster;

    *g = (Gain){ .m = m, .unit = MAX(sub, DIGEST_BLOCK) };
    g->own = g_malloc(MAX(PIECE, g->unit));
    g->other = g_malloc(MAX(PIECE, g->unit));
    if (!(g->map = chain_map_new_partial(m->run, 1, 0, error)) ||
        (m->n_below && !(g->below_map = chain_map_new(m->below, m->n_below, 0, error))))
        return FALSE;
    g->reader = chain_reader_new(g->map, 0);
    g->below = g->below_map ? chain_reader_new(g->below_map, 0) : NULL;
    return TRUE;
}

static gboolean read_below(Gain *g, guint64 at, gsize len, GError **error)
{
    guint64 size = g->below_map ? chain_map_size(g->below_map) : 0;
    gsize there = at < size ? (gsize)MIN(len, size - at) : 0;

    memset(g->other + there, 0, len - there);
    return there == 0 || chain_reader_pread(g->below, g->other, there, at, error);
}

/* Whole units of data in [at, at + len). */
static gboolean look(Gain *g, guint64 at, gsize len, gboolean *ret_gains, GError **error)
{
    if (!chain_reader_pread(g->reader, g->own, len, at, error) || !read_below(g, at, len, error))
        return FALSE;
    for (gsize k = 0; k < len && !*ret_gains; k += g->unit)
        *ret_gains =
            digest_is_zero(g->own + k, g->unit) || memcmp(g->own + k, g->other + k, g->unit) == 0;
    return TRUE;
}

static gboolean look_at_extent(Gain *g, const Extent *e, gboolean *ret_gains, GError **error)
{
    guint64 at = (e->start + g->unit - 1) / g->unit * g->unit;
    guint64 end = (e->start + e->length) / g->unit * g->unit;

    while (at < end && !*ret_gains) {
        gsize n = (gsize)MIN(end - at, MAX(PIECE, g->unit));
        if (g->m->cancel && g_atomic_int_get(g->m->cancel)) {
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CANCELLED, "cancelled");
            return FALSE;
        }
        if (!look(g, at, n, ret_gains, error))
            return FALSE;
        at += n;
    }
    return TRUE;
}

gboolean layer_merge_gains(const LayerMerge *m, gboolean *ret_gains, GError **error)
{
    g_auto(Gain) g = { 0 };
    g_autoptr(LayerExtents) extents = layer_extents_new(m->run[0], 0, G_MAXUINT64);
    GError *local = NULL;
    Extent e;

    *ret_gains = FALSE;
    if (!gain_init(&g, m, error))
        return FALSE;
    while (!*ret_gains && layer_extents_next(extents, &e, &local)) {
        if ((e.kind == EXTENT_DATA || e.kind == EXTENT_COMPRESSED) &&
            !look_at_extent(&g, &e, ret_gains, &local))
            break;
    }
    if (local)
        g_propagate_error(error, local);
    return !local;
}
