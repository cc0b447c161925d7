/* block.h: a guest's disk, or a part of it, as bytes that can be read.
 *
 * All that reads file systems by itself (not through the appliance) reads through a Block.  Reads
 * are cached.  One thread. */
#pragma once

#include <glib.h>

typedef struct Block Block;

/* Read exactly len bytes at offset, which lie inside of the disk. */
typedef gboolean (*BlockRead)(gpointer source, void *buffer, gsize len, guint64 offset,
                              GError **error);

/* A disk of size bytes.  source is freed with it (free_source may be NULL). */
Block *block_new(guint64 size, BlockRead read, gpointer source, GDestroyNotify free_source);

/* The disk that is served on a unix socket of NBD.  UNAVAILABLE. */
Block *block_open_nbd(const char *socket_path, GError **error);

/* A file or a device with the disk's bytes (raw). */
Block *block_open_file(const char *path, GError **error);

/* A part of a disk; it keeps the disk alive.  The range is clipped to the disk. */
Block *block_part(Block *disk, guint64 start, guint64 length);

Block *block_ref(Block *block);
void block_unref(Block *block);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Block, block_unref)

guint64 block_size(const Block *block);  /* bytes */
guint64 block_start(const Block *block); /* where it begins on the disk, in bytes */

/* CORRUPT if the range is not inside of the block, UNAVAILABLE. */
gboolean block_read(Block *block, void *buffer, gsize len, guint64 offset, GError **error);
