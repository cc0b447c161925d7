/* check_state.h: what the files of the consistency check share.  Private to layer_check.c,
 * check_tables.c, refcounts.c and refcounts_compare.c; everybody else includes cow/layer_check.h.
 */
#pragma once

#include <glib.h>

#include "cow/layer_check.h"
#include "cow/refcounts.h"

/* One L2 table, however many L1 entries point at it. */
typedef struct {
    guint64 offset;
    guint32 n_uses;   /* L1 entries that point here, those of snapshots included */
    guint32 n_active; /* the part of them in the active L1 table */
    guint32 n_copied; /* the part of these that has the COPIED flag */
} L2Use;

typedef struct CheckState {
    const Layer *layer;
    const Qcow2Header *header;
    LayerCheck *result;
    Refcounts *refcounts;
    GArray *l2;         /* of L2Use */
    guint64 cluster;    /* bytes */
    guint64 n_clusters; /* of the file, a partial last one included */
    guint64 n_stale;    /* findings that an unclean end with lazy refcounts explains */
    const gint *cancel;
    LayerCheckProgress progress;
    gpointer data;
    guint64 done, total; /* bytes of metadata */
    guint64 real_bytes;  /* allocated on the file system, when the check began */
    guint64 n_read;      /* bytes read so far */
    guint64 ahead_end;   /* of what the kernel was asked to read */
    guint64 hole_start;  /* the hole found last */
    guint64 hole_end;
} CheckState;

/* The words of 64 clusters lie together: adding one cluster touches one cache line. */
enum {
    BITS_USED,
    BITS_MULTI,  /* used more than once: see counts */
    BITS_COPIED, /* by an active entry with the COPIED flag */
    BITS_PLAIN,  /* by an active entry that lacks it */
    BITS_META,   /* not guest data */
    N_BITS
};

typedef struct {
    guint64 offset;  /* of the refcount block; 0 = none, all refcounts are 0 */
    guint64 *bits;   /* n_words times N_BITS words; NULL while no cluster is in use */
    guint32 *counts; /* uses of the clusters with BITS_MULTI; NULL while there are none */
} RefBlock;

struct Refcounts {
    CheckState *check;
    RefBlock *blocks;
    guint64 n_blocks;
    guint order;       /* a refcount has 1 << order bits */
    guint block_shift; /* a block has 1 << block_shift refcounts, at least 64 */
    gsize n_words;     /* groups of 64 clusters in one block, at most */
    guint64 budget;    /* bytes that may still be taken */
    gboolean is_full;
    gboolean has_extra; /* the cluster behind the file's last one is in use, by compressed data */
    guint64 highest;    /* cluster with a use or a refcount */
};

/* The words of clusters 64 * w to 64 * w + 63 of the block: index them with BITS_... */
static inline guint64 *refblock_words(const RefBlock *block, gsize w)
{
    return block->bits + w * N_BITS;
}

/* Count n corruptions and keep one message, if there is room for it. */
void check_error(CheckState *c, guint64 n, const char *format, ...) G_GNUC_PRINTF(3, 4);

/* The same for one finding, in *counter (NULL for the corruptions). */
void check_count(CheckState *c, guint64 *counter, const char *format, ...) G_GNUC_PRINTF(3, 4);

/* Keep a message and count nothing. */
void check_note(CheckState *c, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* Read part of a table.  *ret_is_hole says that all of it is zeros, and nothing was read.
 * CANCELLED, UNAVAILABLE. */
gboolean check_read(CheckState *c, guint8 *buffer, gsize len, guint64 offset, gboolean *ret_is_hole,
                    GError **error);

/* Ask the kernel to have [offset, offset + len) read soon. */
void check_read_ahead(CheckState *c, guint64 offset, guint64 len);

#define CHECK_READ_BYTES (1u << 20) /* one read of adjacent tables: fits the processor's cache */
#define CHECK_AHEAD_BYTES (8ull << 20)

/* Add the L2 tables that an L1 entry (number i, for messages) points at. */
void check_l1_entry(CheckState *c, guint64 entry, guint64 i, gboolean is_active);

/* cow/check_tables.c: internal snapshots and dirty bitmaps. */
gboolean check_snapshots(CheckState *c, GError **error);
gboolean check_bitmaps(CheckState *c, GError **error);
