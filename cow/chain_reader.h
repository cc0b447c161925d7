/* chain_reader.h: the bytes that a guest would read from a chain.
 *
 * Uncompressed ranges are read straight from the layer's file; compressed clusters (zlib, zstd) are
 * decoded as a whole and kept in a small shared cache.  Safe from any number of threads. */
#pragma once

#include <glib.h>

#include "cow/chain_map.h"

typedef struct ChainReader ChainReader;

/* A reader over map (borrowed).  cache_bytes bounds the cache of decoded clusters (0 = 16 MiB). */
ChainReader *chain_reader_new(ChainMap *map, guint64 cache_bytes);
void chain_reader_free(ChainReader *reader);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ChainReader, chain_reader_free)

/* Read exactly len bytes at offset.  INVALID beyond the end; CORRUPT if a compressed cluster does
 * not decode to exactly one cluster; UNAVAILABLE on an I/O error. */
gboolean chain_reader_pread(ChainReader *reader, void *buffer, gsize len, guint64 offset,
                            GError **error);
