/* pack_file.h: the file of a packed layer, written from front to back.
 *
 * Internal to layer_pack.c.  Clusters come in ascending guest order, each as one zstd frame; what
 * does not come is unallocated.  In memory are one L2 table, the L1 table, the refcount table and
 * the refcounts of the last few clusters.  One thread. */
#pragma once

#include "cow/blank.h"
#include "cow/digest.h"

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

/* Write the tables and the header, and make all of it durable.  *ret_digest is that of the bytes
 * handed to the system. */
gboolean pack_file_finish(PackFile *file, guint64 *ret_length, Digest *ret_digest, GError **error);

/* BLAKE2b-256 of the file behind fd, as pack_digest() (layer_pack.h), and its Digest in the same
 * pass, if ret_digest is not NULL.  The file must have length bytes (G_MAXUINT64: any number). */
gboolean pack_file_hash(int fd, guint64 length, const gint *cancel,
                        void (*progress)(guint64 bytes, gpointer data), gpointer data,
                        char *ret_text, Digest *ret_digest, GError **error);
