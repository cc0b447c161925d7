/* block_digest.h: what one layer holds, as digests of its guest blocks of 4 KiB.
 *
 * For finding equal content among many layers.  Only what the layer itself holds is in it: a block
 * that shows what lies below has no entry.  The hash (XXH3-128) is not cryptographic: equal digests
 * are a hint, and whoever claims that blocks are equal has compared their bytes.
 *
 * A digest is a file: made once for a layer, read from front to back, in guest order.  It is a
 * cache: a damaged one, or one of an older content, is made again.  One BlockDigest per thread.
 *
 *     header   magic, version, stamp, counts, checksum of the records, checksum of the header
 *     records  {first block u64, n u32, kind u32}, for data followed by n hashes of 16 bytes
 *
 * in the byte order of the machine: such a file never leaves it. */
#pragma once

#include <glib.h>

#include "cow/layer.h"

#define BLOCK_DIGEST_BLOCK 4096u
#define BLOCK_DIGEST_RUN 256u /* blocks of data in one record, at most */

typedef struct {
    guint64 low, high; /* both 0: a block of zeros */
} BlockHash;

typedef enum {
    BLOCK_DATA,    /* bytes; they may be zeros */
    BLOCK_ZERO,    /* the layer says "reads as zeros" and stores nothing */
    BLOCK_PARTIAL, /* the layer holds a part of the block only (small subclusters) */
} BlockKind;

/* Blocks in a row, of one kind. */
typedef struct {
    guint64 first; /* guest offset / 4 KiB */
    guint32 n;
    BlockKind kind;
    const BlockHash *hashes; /* of BLOCK_DATA; the BlockDigest's, until the next run */
} BlockRun;

/* Blocks of 4 KiB. */
typedef struct {
    guint64 n_data, n_zero_data; /* the latter are part of the former */
    guint64 n_zero, n_partial;
} BlockCounts;

/* Of the layer's file, when it was read: another stamp means another content. */
typedef struct {
    guint64 inode, length;
    gint64 mtime_ns, ctime_ns; /* 0 for a frozen layer, whose id says it all */
} BlockStamp;

typedef struct {
    const Layer *layer;
    const char *id; /* of the layer: 32 hexadecimal digits */
    BlockStamp stamp;
    int to;                                         /* a new, empty file, open read-write */
    guint n_threads;                                /* 0: as many as there are processors */
    const gint *cancel;                             /* or NULL */
    void (*progress)(guint64 bytes, gpointer data); /* bytes read since the last call; or NULL */
    gpointer data;
} BlockDigestMake;

/* Read the layer and write its digest.  CORRUPT, UNAVAILABLE, NO_SPACE, CANCELLED. */
gboolean block_digest_make(const BlockDigestMake *make, GError **error);

typedef struct BlockDigest BlockDigest;

/* Open a digest (fd is taken over, closed even on an error) and check it as a whole.  CORRUPT if it
 * is damaged, or is that of another layer or of another content. */
BlockDigest *block_digest_open(int fd, const char *id, const BlockStamp *stamp, GError **error);
void block_digest_free(BlockDigest *digest);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BlockDigest, block_digest_free)

const BlockCounts *block_digest_counts(const BlockDigest *digest);

/* The next run, in guest order.  FALSE at the end (no error set) or on an error. */
gboolean block_digest_next(BlockDigest *digest, BlockRun *ret_run, GError **error);

/* The hash of one block; never both words 0 unless it is zeros. */
BlockHash block_hash(const void *block);

static inline gboolean block_hash_is_zero(const BlockHash *hash)
{
    return (hash->low | hash->high) == 0;
}
