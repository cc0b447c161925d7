/* blank.h: the bytes of a new, empty qcow2 layer.
 *
 * Pure computation, any thread.  A blank layer is header, refcount table, one refcount block and an
 * L1 table of zeros, each at the start of a cluster of its own; only three short pieces of it are
 * not zeros, so creating one writes three blocks and sets a length. */
#pragma once

#include <glib.h>

typedef struct {
    guint64 virtual_size;      /* bytes; rounded up to 512 */
    guint32 cluster_bits;      /* 9 to 21 (14 to 21 with subclusters) */
    gboolean has_subclusters;  /* extended L2 (QEMU 5.2 and later) */
    const char *backing_name;  /* "../layers/SLOT", or NULL */
    const char *identity;      /* JSON for the IMGD extension, or NULL */
} BlankSpec;

typedef struct {
    GByteArray *header;        /* at offset 0 */
    guint8 reftable[8];        /* at reftable_offset */
    guint64 reftable_offset;
    GByteArray *refblock;      /* at refblock_offset: 16-bit refcounts of the metadata clusters */
    guint64 refblock_offset;
    guint64 l1_offset;
    guint32 n_l1;
    guint64 file_length;
} Blank;

#define BLANK_DEFAULT_CLUSTER_BITS 17 /* 128 KiB, with subclusters of 4 KiB */
#define BLANK_COMPATIBLE_CLUSTER_BITS 16

/* INVALID if the geometry is out of range.  Caller clears. */
gboolean blank_build(const BlankSpec *spec, Blank *ret_blank, GError **error);

/* Only the header, for a layer whose tables lie elsewhere (layer_writer.c).  Caller frees. */
GByteArray *blank_header(const BlankSpec *spec, guint32 n_l1, guint64 l1_offset,
                         guint64 reftable_offset, guint32 n_reftable_clusters);

/* L1 entries that virtual_size needs. */
guint64 blank_n_l1(const BlankSpec *spec);

void blank_clear(Blank *blank);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Blank, blank_clear)
