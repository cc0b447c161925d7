/* layer_stream.h: a layer as a stream of bytes that is a standard, uncompressed qcow2 file.
 *
 * For archivers that split streams by content (borg): header and tables come first, then the data
 * in guest order without holes, in clusters of 4 KiB, so that equal guest files make equal bytes
 * wherever they lie.  The length is known before the first byte.  Depends on what the guest reads
 * and on the parent's name alone.  One thread per stream. */
#pragma once

#include "cow/layer.h"

typedef struct LayerStream LayerStream;

/* Plan the stream of layer standing on below (borrowed, as in layer_pack.h). */
LayerStream *layer_stream_new(Layer *layer, Layer *const *below, guint n_below,
                              const char *backing_name, GError **error);
void layer_stream_free(LayerStream *stream);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LayerStream, layer_stream_free)

guint64 layer_stream_length(const LayerStream *stream); /* bytes */

/* The next bytes, at most max.  0 at the end; -1 on an error. */
gssize layer_stream_read(LayerStream *stream, void *buffer, gsize max, GError **error);
