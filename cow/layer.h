/* layer.h: one qcow2 file, opened read-only and checked, on its own.
 *
 * A layer knows the name of its backing file and never opens it: a ChainMap (chain_map.h) is made
 * from a list of layers.  Frozen layers never change, so any number of threads may read one Layer;
 * each thread uses a LayerExtents of its own.  Nothing here writes, logs or knows the catalog.
 *
 * Source: the qcow2 specification in QEMU's docs/interop; see docs/qcow2.md. */
#pragma once

#include <glib.h>

#include "cow/qcow2.h"

typedef struct Layer Layer;

typedef enum {
    EXTENT_UNALLOCATED, /* look below */
    EXTENT_ZERO,        /* reads as zeros, whatever lies below */
    EXTENT_DATA,        /* at host_offset */
    EXTENT_COMPRESSED,  /* one guest cluster, or its part inside the range that was asked for */
} ExtentKind;

typedef struct {
    guint64 start;       /* guest offset in bytes */
    guint64 length;      /* bytes, > 0 */
    guint64 host_offset; /* DATA, COMPRESSED: file offset in bytes */
    guint32 host_length; /* COMPRESSED: upper bound of the compressed bytes */
    ExtentKind kind;
} Extent;

/* Sums over one layer.  Bytes are guest bytes at the precision of the format: clusters, or
 * subclusters where it has them. */
typedef struct {
    guint64 data_bytes;       /* DATA and COMPRESSED */
    guint64 zero_bytes;       /* ZERO */
    guint64 compressed_bytes; /* the part of data_bytes that is COMPRESSED */
    guint64 n_extents;        /* allocated extents, adjacent ones merged */
} LayerCounts;

/* Take over fd (closed even on error) and read header and L1 table.  label is the name for
 * messages.  CORRUPT, UNSUPPORTED, UNAVAILABLE.  Encrypted images and such with an external data
 * file are UNSUPPORTED here. */
Layer *layer_open_fd(int fd, const char *label, GError **error);

void layer_free(Layer *layer);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Layer, layer_free)

const Qcow2Header *layer_header(const Layer *layer);
guint64 layer_virtual_size(const Layer *layer); /* bytes the guest sees */
guint64 layer_file_size(const Layer *layer);    /* bytes, when it was opened */
int layer_fd(const Layer *layer);               /* still owned by the layer */
const char *layer_label(const Layer *layer);

/* Raw L1 entry i (i < header.n_l1), in host byte order. */
guint64 layer_l1_entry(const Layer *layer, guint32 i);

/* Read exactly len bytes at offset; what lies beyond the end of the file reads as zeros. */
gboolean layer_pread(const Layer *layer, void *buffer, gsize len, guint64 offset, GError **error);

/* The same for the guest's data, which has few holes: they are looked for more cheaply. */
gboolean layer_pread_data(const Layer *layer, void *buffer, gsize len, guint64 offset,
                          GError **error);

/* ---- Extents in guest order, merged while they are alike and adjacent on both sides. ---- */

typedef struct LayerExtents LayerExtents;

/* Iterate over [from, to) of the guest's range (clipped to the virtual size). */
LayerExtents *layer_extents_new(const Layer *layer, guint64 from, guint64 to);
void layer_extents_free(LayerExtents *extents);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LayerExtents, layer_extents_free)

/* The next extent, unallocated ones included, so that the extents cover [from, to) without a gap.
 * FALSE at the end (no error set) or on an error: CORRUPT (an entry that points outside of the
 * file, is misaligned or has impossible bits), UNAVAILABLE. */
gboolean layer_extents_next(LayerExtents *extents, Extent *ret_extent, GError **error);

/* Skip what lies before offset: the next extent starts there (offsets behind what was handed out
 * already have no effect).  Tables that are skipped as a whole are never read. */
void layer_extents_seek(LayerExtents *extents, guint64 offset);

/* Add one extent of an iterator to counts. */
static inline void layer_counts_add(LayerCounts *counts, const Extent *e)
{
    counts->n_extents += e->kind != EXTENT_UNALLOCATED;
    counts->zero_bytes += e->kind == EXTENT_ZERO ? e->length : 0;
    counts->data_bytes += e->kind == EXTENT_DATA || e->kind == EXTENT_COMPRESSED ? e->length : 0;
    counts->compressed_bytes += e->kind == EXTENT_COMPRESSED ? e->length : 0;
}

/* Sum the whole layer up: the fast path of the reports.  Same errors. */
gboolean layer_count(const Layer *layer, LayerCounts *ret_counts, GError **error);
