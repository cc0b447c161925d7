/* pack_file.h: the file of a packed layer, written from front to back.
 *
 * Internal to layer_pack.c.  Clusters come in ascending guest order, each as one zstd frame; what
 * does not come is unallocated.  In memory are one L2 table, the L1 table, the refcount table and
 * the refcounts of the last few clusters.  One thread. */
#pragma once

#include <sodium.h>

#include "cow/blank.h"

typedef struct PackFile PackFile;

/* Start writing into the new, empty file fd (borrowed).  INVALID if the geometry is out of range.
 */
PackFile *pack_file_new(int fd, const BlankSpec *spec, GError **error);
void pack_file_free(PackFile *file);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PackFile, pack_file_free)

/* A guest cluster, compressed to len bytes (at most two clusters). */
gboolean pack_file_frame(PackFile *file, guint64 cluster, const void *frame, gsize len,
                         GError **error);

/* A guest cluster that reads as zeros, whatever lies below. */
gboolean pack_file_zero(PackFile *file, guint64 cluster, GError **error);

/* Write the tables and the header, and make all of it durable.  ret_digest gets PACK_DIGEST_TEXT
 * digits (layer_pack.h) and a NUL. */
gboolean pack_file_finish(PackFile *file, guint64 *ret_length, char *ret_digest, GError **error);

/* ---- The hash (pack_digest.c) ---- */

#define PACK_HASHED_LAST 4096u /* so many bytes at the file's beginning are hashed behind its end  \
                                */

/* Caller frees with sodium_free(). */
crypto_generichash_state *pack_hash_new(GError **error);
void pack_hash_text(crypto_generichash_state *state, char *ret_text);
