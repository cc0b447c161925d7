/* disk_pieces.h: a disk as the helper sends it: "offset, length" (64 bits each, little-endian) and
 * as many bytes, ascending, whole sectors; at the end the disk's size and 0.
 *
 * It comes from a helper that is not trusted: everything is checked.  One thread. */
#pragma once

#include <glib.h>

typedef struct DiskPieces DiskPieces;

typedef struct {
    gboolean (*data)(guint64 offset, const void *data, guint64 len, gpointer user, GError **error);
    gpointer user;
} DiskPieceSink;

DiskPieces *disk_pieces_new(const DiskPieceSink *sink);
void disk_pieces_free(DiskPieces *pieces);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DiskPieces, disk_pieces_free)

/* The next bytes of the stream.  CORRUPT if they make no sense. */
gboolean disk_pieces_take(DiskPieces *pieces, const void *bytes, gsize n, GError **error);

/* Was the end there, and the disk of this size?  CORRUPT. */
gboolean disk_pieces_are_complete(const DiskPieces *pieces, guint64 size, GError **error);
