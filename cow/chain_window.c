/* chain_window.c: merging the layers of a chain into one array, in one pass in guest order.
 *
 * The topmost layer is asked what lies at a position; where it says "look below", the next one is
 * asked, for that range only.  Each layer has one iterator that only moves forward, so that a
 * window costs the extents it touches, and each piece of a table is read once.
 *
 * Two limits keep one window small, whatever the image looks like: its range is chosen so that at
 * most TABLE_LIMIT bytes of tables have to be read, and it ends early when its array is full. */
#include "cow/chain_window.h"

#include "imaged/base/error.h"

#define TABLE_LIMIT (2ull << 20) /* bytes of L1 and L2 that one window may read */

/* ---- The window itself ---- */

Window *window_ref(Window *w)
{
    g_atomic_ref_count_inc(&w->refs);
    return w;
}

void window_unref(Window *w)
{
    if (!w || !g_atomic_ref_count_dec(&w->refs))
        return;
    g_atomic_pointer_add(w->memory, -(gssize)w->charge);
    g_free(w->extents);
    g_free(w);
}

static Window *window_new(guint64 start, GArray *extents, gsize *memory)
{
    Window *w = g_new0(Window, 1);
    const MapExtent *last = &g_array_index(extents, MapExtent, extents->len - 1);

    g_atomic_ref_count_init(&w->refs);
    w->memory = memory;
    w->start = start;
    w->end = last->start + last->length;
    w->n = extents->len;
    w->extents = g_memdup2(extents->data, (gsize)w->n * sizeof(MapExtent));
    w->lru.data = w;
    w->charge = WINDOW_OVERHEAD + (guint64)w->n * sizeof(MapExtent);
    g_atomic_pointer_add(memory, (gssize)w->charge);
    return w;
}

guint window_index(const Window *w, guint64 offset)
{
    guint low = 0, high = w->n;

    while (high - low > 1) {
        guint mid = low + (high - low) / 2;
        if (w->extents[mid].start <= offset)
            low = mid;
        else
            high = mid;
    }
    return low;
}

/* ---- What lies at one place ---- */

typedef struct {
    LayerExtents *extents; /* NULL until the layer is asked for the first time */
    Extent now;            /* what it said last */
    guint64 end;           /* up to here the layers above say "look below" */
} Level;

static void levels_free(Level *levels, guint n)
{
    for (guint i = 0; i < n; i++)
        layer_extents_free(levels[i].extents);
    g_free(levels);
}

/* Make level->now the extent that holds offset, which lies before the layer's end. */
static gboolean level_at(Level *level, const Layer *layer, guint64 offset, guint64 end,
                         GError **error)
{
    GError *local = NULL;

    if (level->now.length && offset - level->now.start < level->now.length)
        return TRUE;
    if (!level->extents)
        level->extents = layer_extents_new(layer, offset, end);
    layer_extents_seek(level->extents, offset);
    if (layer_extents_next(level->extents, &level->now, &local))
        return TRUE;
    if (!local)
        g_set_error(&local, IMAGED_ERROR, IMAGED_ERROR_CORRUPT, "'%s': the map has a gap",
                    layer_label(layer));
    g_propagate_error(error, local);
    return FALSE;
}

static gboolean joins(const MapExtent *a, const MapExtent *b)
{
    if (a->kind != b->kind || a->layer != b->layer)
        return FALSE;
    switch (a->kind) {
    case EXTENT_DATA:
        return a->host_offset + a->length == b->host_offset;
    case EXTENT_COMPRESSED:
        return a->host_offset == b->host_offset && a->skip + a->length == b->skip;
    default:
        return TRUE;
    }
}

static void append(GArray *array, const MapExtent *e)
{
    if (array->len) {
        MapExtent *last = &g_array_index(array, MapExtent, array->len - 1);
        if (joins(last, e)) {
            last->length += e->length;
            return;
        }
    }
    g_array_append_val(array, *e);
}

/* What layer number index says about [at, end), of which now tells the beginning. */
static MapExtent resolved(const Layer *layer, guint index, const Extent *now, guint64 at,
                          guint64 end)
{
    MapExtent e = { .start = at,
                    .length = MIN(end, now->start + now->length) - at,
                    .layer = index,
                    .kind = now->kind };

    if (now->kind == EXTENT_DATA) {
        e.host_offset = now->host_offset + (at - now->start);
    } else if (now->kind == EXTENT_COMPRESSED) {
        e.host_offset = now->host_offset;
        e.host_length = now->host_length;
        e.skip = at & (qcow2_cluster_size(layer_header(layer)) - 1);
    }
    return e;
}

/* Decide the next piece at offset at: *level is the layer to ask first, and then the one that
 * decided. */
static gboolean decide(const WindowChain *chain, Level *levels, guint *level, guint64 at,
                       MapExtent *ret, GError **error)
{
    for (;;) {
        Level *l = &levels[*level];
        const Layer *layer = chain->layers[*level];

        /* Beyond a layer's end there are zeros, whatever lies below. */
        if (at >= layer_virtual_size(layer)) {
            *ret = (MapExtent){ .start = at, .length = l->end - at, .kind = EXTENT_ZERO };
            return TRUE;
        }
        if (!level_at(l, layer, at, levels[chain->n_layers - 1].end, error))
            return FALSE;
        if (l->now.kind != EXTENT_UNALLOCATED) {
            *ret = resolved(layer, *level, &l->now, at, l->end);
            return TRUE;
        }
        guint64 end = MIN(l->end, l->now.start + l->now.length);
        if (*level == 0) {
            *ret = (MapExtent){ .start = at,
                                .length = end - at,
                                .kind = chain->is_partial ? EXTENT_UNALLOCATED : EXTENT_ZERO };
            return TRUE;
        }
        levels[--*level].end = end;
    }
}

/* ---- The range of a window ---- */

/* Bytes of tables that [from, to) needs, counted until they pass TABLE_LIMIT. */
static guint64 table_bytes(const WindowChain *chain, guint64 from, guint64 to)
{
    guint64 sum = 0;

    for (guint n = chain->n_layers; n-- > 0 && sum <= TABLE_LIMIT;) {
        const Qcow2Header *h = layer_header(chain->layers[n]);
        guint64 span = qcow2_l2_span(h), end = MIN(to, h->virtual_size);

        for (guint64 at = from; at < end && sum <= TABLE_LIMIT;) {
            guint64 next = MIN(end, (at / span + 1) * span);
            sum += 8;
            if (at / span < h->n_l1 && layer_l1_entry(chain->layers[n], at / span))
                sum += ((next - at) >> h->cluster_bits) * qcow2_l2_entry_size(h);
            at = next;
        }
    }
    return sum;
}

/* Where a window from start on should end, at most at limit: doubled until it costs too much. */
static guint64 window_end(const WindowChain *chain, guint64 start, guint64 limit)
{
    guint64 end = MIN(limit, (start / WINDOW_ALIGN + 1) * WINDOW_ALIGN);
    guint64 cost = table_bytes(chain, start, end);

    while (end < limit && cost <= TABLE_LIMIT) {
        guint64 next = limit - end > end - start ? end + (end - start) : limit;
        cost += table_bytes(chain, end, next);
        if (cost <= TABLE_LIMIT)
            end = next;
    }
    return end;
}

/* ---- Building ---- */

Window *window_build(const WindowChain *chain, guint64 start, guint64 limit, guint max_extents,
                     gsize *memory, GError **error)
{
    g_autoptr(GArray) out = g_array_new(FALSE, FALSE, sizeof(MapExtent));
    Level *levels = g_new0(Level, chain->n_layers);
    guint top = chain->n_layers - 1, level = top;
    guint64 at = start, end = window_end(chain, start, limit);
    gboolean ok = TRUE;

    levels[top].end = end;
    while (at < end && out->len <= max_extents) {
        MapExtent e;

        ok = decide(chain, levels, &level, at, &e, error);
        if (!ok)
            break;
        append(out, &e);
        at += e.length;
        while (level < top && at >= levels[level].end)
            level++;
    }
    levels_free(levels, chain->n_layers);
    if (!ok)
        return NULL;
    /* The last one may still have grown, so a window that is cut ends before it. */
    if (at < end && out->len > max_extents)
        g_array_set_size(out, out->len - 1);
    return window_new(start, out, memory);
}
