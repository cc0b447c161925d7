/* chain_compare.h: do two chains read the same, to the last byte?
 *
 * Where both maps lead to the same bytes of the same file nothing has to be read.  Any thread. */
#pragma once

#include "cow/chain_map.h"

typedef struct {
    ChainMap *a, *b;
    const gint *cancel;                                                       /* or NULL */
    void (*progress)(guint64 done_bytes, guint64 total_bytes, gpointer data); /* or NULL */
    gpointer data;
} ChainCompare;

/* *ret_same; *ret_offset (may be NULL) is the guest offset of the first block of 4 KiB that
 * differs. Chains of different sizes are not the same.  CORRUPT, UNAVAILABLE, CANCELLED. */
gboolean chain_compare(const ChainCompare *compare, gboolean *ret_same, guint64 *ret_offset,
                       GError **error);
