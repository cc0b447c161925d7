/* layer_pack.h: a layer as a standard zstd-compressed qcow2 file, for archives.
 *
 * The result depends on what the guest reads and on the parent's name alone: no identity, no times,
 * no order of threads.  So equal layers make equal files, and the file's own digest is its name.
 * Every cluster of it is whole: what the layer holds of it in part is filled from below.  It can be
 * read with the plain tools (qemu-img convert), and with a Layer.  Any thread. */
#pragma once

#include "cow/layer.h"

typedef struct {
    Layer *layer;             /* frozen */
    Layer *const *below;      /* its chain, the base first; without layer */
    guint n_below;
    const char *backing_name; /* of its parent's packed file beside it, or NULL for a base */
    int to;                   /* a new, empty file, open read-write; buffered */
    guint n_threads;          /* that compress; 0 = one for each processor */
    const gint *cancel;       /* or NULL */
    void (*progress)(guint64 done_bytes, guint64 total_bytes, gpointer data); /* guest bytes */
    gpointer data;
} LayerPack;

#define PACK_DIGEST_TEXT 64 /* hexadecimal digits */

typedef struct {
    char digest[PACK_DIGEST_TEXT + 1]; /* as pack_digest() */
    guint64 file_length;               /* bytes */
    guint64 data_bytes;                /* guest bytes in it */
} PackSummary;

/* Write the packed file and make it durable.  CORRUPT, CANCELLED, NO_SPACE, UNAVAILABLE. */
gboolean layer_pack(const LayerPack *pack, PackSummary *ret_summary, GError **error);

/* BLAKE2b-256 of the file behind fd, its first 4 KiB (the header, which is known last) behind the
 * rest, as by { tail -c +4097 FILE; head -c 4096 FILE; } | b2sum -l 256. */
gboolean pack_digest(int fd, const gint *cancel, void (*progress)(guint64 bytes, gpointer data),
                     gpointer data, char ret_digest[PACK_DIGEST_TEXT + 1], GError **error);
