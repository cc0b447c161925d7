/* refcounts.h: who uses which cluster of a qcow2 file, compared with its refcounts.
 *
 * Part of the consistency check (layer_check.h).  First everything that is in use is added,
 * metadata before data, then the refcount blocks are read once and compared.  Not thread-safe.
 *
 * Five bits per cluster, in one piece per refcount block and only for blocks that are in use; a
 * cluster that no refcount block covers is an error at once and takes no memory.  Clusters used
 * more than once get a 32-bit counter, again per block.  All of it stays below 64 MiB plus four
 * times what the file really occupies on disk, so that a sparse file cannot make us take more. */
#pragma once

#include <glib.h>

typedef struct Refcounts Refcounts;
struct CheckState; /* check_state.h */

typedef enum {
    USE_DATA,       /* referenced by snapshots alone, or compressed: has no COPIED flag to check */
    USE_COPIED,     /* an active entry with the COPIED flag: the refcount must be 1 */
    USE_NOT_COPIED, /* an active entry without it: the refcount must not be 1 */
} UseFlag;

/* Read the refcount table.  NULL on an I/O error. */
Refcounts *refcounts_new(struct CheckState *check, GError **error);
void refcounts_free(Refcounts *refs);

/* Bytes of refcount blocks that refcounts_compare() will look at. */
guint64 refcounts_n_bytes(const Refcounts *refs);

/* Add a table of len bytes at offset.  FALSE, with an error counted, if it does not lie in the file
 * or overlaps something added before: such a table is not worth following, and following it would
 * let a small file keep us busy for long. */
gboolean refcounts_add_table(Refcounts *refs, guint64 offset, guint64 len, const char *what);

/* Add the refcount table and its blocks themselves. */
void refcounts_add_own(Refcounts *refs);

/* Add the L2 table at offset, which n_uses L1 entries point at.  FALSE as above. */
gboolean refcounts_add_l2(Refcounts *refs, guint64 offset, guint32 n_uses);

/* Note that an active L1 entry has, or has not, the COPIED flag for the table at offset. */
void refcounts_flag_l2(Refcounts *refs, guint64 offset, UseFlag flag);

/* Add n data clusters in a row, each used n_uses times. */
void refcounts_add_data(Refcounts *refs, guint64 cluster, guint64 n, guint32 n_uses, UseFlag flag);

/* Add the bytes of a compressed cluster. */
void refcounts_add_compressed(Refcounts *refs, guint64 offset, guint64 len, guint32 n_uses);

/* TRUE once the limit of memory is reached: the caller stops, the error is counted. */
gboolean refcounts_is_full(const Refcounts *refs);

/* Compare with the refcounts on disk. */
gboolean refcounts_compare(Refcounts *refs, GError **error);
