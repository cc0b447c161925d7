/* coverage.c: sorted data ranges with running sums.
 *
 * The coverage of a chain grows layer by layer: where the layer has data, it counts; where it has
 * zeros, what lies below is hidden; where it has nothing, the ranges below are copied.  Both sides
 * are in guest order, so one pass over both does it. */
#include "cow/coverage.h"

#include <string.h>

typedef struct {
    guint64 start, end; /* guest bytes */
    guint64 before;     /* data bytes of all earlier ranges */
} Range;

struct Coverage {
    gatomicrefcount refs;
    gsize n;
    Range *ranges; /* sorted, neither overlapping nor touching */
};

/* The first range that ends behind offset, searched from hint on in growing steps: the callers'
 * offsets mostly rise. */
static gsize range_after(const Coverage *c, guint64 offset, gsize hint)
{
    gsize low = hint < c->n && (hint == 0 || c->ranges[hint - 1].end <= offset) ? hint : 0;
    gsize step = 1, high = low;

    while (high < c->n && c->ranges[high].end <= offset) {
        low = high + 1;
        high += step;
        step *= 2;
    }
    high = MIN(high, c->n);
    while (low < high) {
        gsize mid = low + (high - low) / 2;
        if (c->ranges[mid].end <= offset)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* Data bytes before offset.  *hint is where to search first, and then where it was found. */
static guint64 bytes_before(const Coverage *c, guint64 offset, gsize *hint)
{
    gsize i = *hint = range_after(c, offset, *hint);

    if (i == c->n)
        return coverage_total(c);
    return c->ranges[i].before + (offset > c->ranges[i].start ? offset - c->ranges[i].start : 0);
}

static void add_range(GArray *ranges, guint64 start, guint64 end)
{
    Range *last = ranges->len ? &g_array_index(ranges, Range, ranges->len - 1) : NULL;

    if (last && last->end == start) {
        last->end = end;
        return;
    }
    Range next = { start, end, last ? last->before + (last->end - last->start) : 0 };
    g_array_append_val(ranges, next);
}

static void copy_ranges(GArray *ranges, const Coverage *below, const Extent *e, gsize *hint)
{
    guint64 end = e->start + e->length;
    gsize i = *hint = range_after(below, e->start, *hint);

    for (; i < below->n && below->ranges[i].start < end; i++)
        add_range(ranges, MAX(below->ranges[i].start, e->start), MIN(below->ranges[i].end, end));
}

Coverage *coverage_of_layer(const Layer *layer, const Coverage *below, GError **error)
{
    g_autoptr(LayerExtents) extents = layer_extents_new(layer, 0, G_MAXUINT64);
    g_autoptr(GArray) ranges = g_array_new(FALSE, FALSE, sizeof(Range));
    GError *local = NULL;
    gsize hint = 0;
    Extent e;

    while (layer_extents_next(extents, &e, &local)) {
        if (e.kind == EXTENT_DATA || e.kind == EXTENT_COMPRESSED)
            add_range(ranges, e.start, e.start + e.length);
        else if (e.kind == EXTENT_UNALLOCATED && below)
            copy_ranges(ranges, below, &e, &hint);
    }
    if (local) {
        g_propagate_error(error, local);
        return NULL;
    }
    Coverage *c = g_new0(Coverage, 1);
    g_atomic_ref_count_init(&c->refs);
    c->n = ranges->len;
    c->ranges = g_memdup2(ranges->data, c->n * sizeof(Range));
    return c;
}

Coverage *coverage_ref(Coverage *c)
{
    g_atomic_ref_count_inc(&c->refs);
    return c;
}

void coverage_unref(Coverage *c)
{
    if (!c || !g_atomic_ref_count_dec(&c->refs))
        return;
    g_free(c->ranges);
    g_free(c);
}

guint64 coverage_total(const Coverage *c)
{
    const Range *last = c->n ? &c->ranges[c->n - 1] : NULL;

    return last ? last->before + (last->end - last->start) : 0;
}

guint64 coverage_memory(const Coverage *c)
{
    return sizeof *c + c->n * sizeof(Range);
}

guint64 coverage_bytes_in(const Coverage *c, guint64 start, guint64 length)
{
    guint64 end = length > G_MAXUINT64 - start ? G_MAXUINT64 : start + length;
    gsize hint = 0;
    guint64 before = bytes_before(c, start, &hint);

    return bytes_before(c, end, &hint) - before;
}

gboolean coverage_count_diff(const Layer *layer, const Coverage *below, DiffCounts *ret_counts,
                             GError **error)
{
    g_autoptr(LayerExtents) extents = layer_extents_new(layer, 0, G_MAXUINT64);
    DiffCounts counts = { 0 };
    guint64 hidden = 0;
    GError *local = NULL;
    gsize hint = 0;
    Extent e;

    while (layer_extents_next(extents, &e, &local)) {
        layer_counts_add(&counts.own, &e);
        if (e.kind != EXTENT_UNALLOCATED && below) {
            guint64 before = bytes_before(below, e.start, &hint);
            hidden += bytes_before(below, e.start + e.length, &hint) - before;
        }
    }
    if (local) {
        g_propagate_error(error, local);
        return FALSE;
    }
    counts.flattened_bytes = counts.own.data_bytes - hidden;
    if (below)
        counts.flattened_bytes += coverage_bytes_in(below, 0, layer_virtual_size(layer));
    *ret_counts = counts;
    return TRUE;
}
