/* layer_writer.h: write a whole new layer from a stream of extents.
 *
 * For imports, and later merges, moves and restores.  The stream comes in ascending guest order;
 * zeros in it are found and left out.  Nothing is kept in memory but one L2 table and the L1 table.
 * The caller opened the file (O_DIRECT where the file system has it: bulk data must not pile up
 * as dirty pages that a flush of an interactive change would then wait for).  One thread. */
#pragma once

#include <glib.h>

#include "cow/blank.h"

typedef struct LayerWriter LayerWriter;

typedef struct {
    char digest[33];     /* of the whole file, see digest.h; "" if not all of it was seen */
    guint64 data_bytes;  /* guest data at the precision of the format */
    guint64 file_length; /* bytes */
} LayerSummary;

/* Start writing spec into the new, empty file fd (borrowed).  spec's strings are copied. */
LayerWriter *layer_writer_new(int fd, const BlankSpec *spec, GError **error);

/* Guest bytes at offset.  offset and len are multiples of 512; offset is not below the end of what
 * was given before.  In a layer with a backing file, pieces are whole (sub)clusters. */
gboolean layer_writer_data(LayerWriter *writer, guint64 offset, const void *data, guint64 len,
                           GError **error);

/* This range reads as zeros; needed only where something lies below. */
gboolean layer_writer_zero(LayerWriter *writer, guint64 offset, guint64 len, GError **error);

/* For those who bring bytes into the file themselves, by any means (layer_merge.c): the place of
 * n_clusters in a row, aligned to clusters.  What is not written there reads as zeros. */
gboolean layer_writer_reserve(LayerWriter *writer, guint64 n_clusters, guint64 *ret_offset,
                              GError **error);

/* Guest cluster index lies at offset, of a reservation (0 if data is 0): data and zero say which of
 * its subclusters are data and which are explicit zeros (bit 0 alone without subclusters).
 * Ascending, as all of the stream. */
gboolean layer_writer_place(LayerWriter *writer, guint64 index, guint64 offset, guint32 data,
                            guint32 zero, GError **error);

/* What the caller wrote, in whole blocks of 4 KiB, each once: for the digest.  Or that it has not
 * seen all of it: the digest will be empty. */
void layer_writer_seen(LayerWriter *writer, guint64 offset, const void *data, guint64 len);
void layer_writer_unseen(LayerWriter *writer);

/* Write the tables and the header, and make all of it durable. */
gboolean layer_writer_finish(LayerWriter *writer, LayerSummary *ret_summary, GError **error);

void layer_writer_free(LayerWriter *writer);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LayerWriter, layer_writer_free)
