/* coverage.h: which guest ranges of a chain hold data, with sums in logarithmic time.
 *
 * The savings report asks for thousands of diffs how much of their template they hide.  A Coverage
 * is the sorted list of data ranges of one frozen chain with running sums.  Immutable once built,
 * so it is shared by threads; reference counted. */
#pragma once

#include <glib.h>

#include "cow/layer.h"

typedef struct Coverage Coverage;

/* The data ranges of layer standing on below (NULL for a base). CORRUPT, UNAVAILABLE. */
Coverage *coverage_of_layer(const Layer *layer, const Coverage *below, GError **error);

Coverage *coverage_ref(Coverage *coverage);
void coverage_unref(Coverage *coverage);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Coverage, coverage_unref)

guint64 coverage_total(const Coverage *coverage);    /* bytes of data */
guint64 coverage_memory(const Coverage *coverage);   /* bytes of memory it takes */

/* Bytes of data inside [start, start + length). */
guint64 coverage_bytes_in(const Coverage *coverage, guint64 start, guint64 length);

/* What a diff adds up to, and what the desktop would hold if it were flattened (all in guest
 * bytes): one pass over layer's tables.  below is NULL for a base. */
typedef struct {
    LayerCounts own;
    guint64 flattened_bytes; /* data of the whole chain as seen through this layer */
} DiffCounts;
gboolean coverage_count_diff(const Layer *layer, const Coverage *below, DiffCounts *ret_counts,
                             GError **error);
