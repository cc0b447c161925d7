/* layer_merge.h: one new layer out of a run of adjacent layers of a chain.
 *
 * For deleting a snapshot, compacting, flattening and restoring.  Nothing that exists is changed:
 * the result is a new file that reads, on the same parent, exactly as the run did.  Data is shared
 * by reflink where the file system can, else copied with O_DIRECT (bulk data must not pile up as
 * dirty pages in front of an interactive flush); subclusters stay what they are.  Geometries may
 * differ: a cluster of the result that the run covers in part is filled from below.  The result may
 * also stand on more than the run did: it reads the same all the same (n_new).  Any thread. */
#pragma once

#include "cow/layer_writer.h"
#include "cow/layer.h"

typedef struct {
    Layer *const *run; /* lowest first; with the whole chain and no backing name: a flat image */
    guint n_run;
    Layer *const *below;  /* what the run stands on, the base first: always given if spec has a */
    guint n_below;        /* backing name, as its tables tell which zeros need no note; else none */
    guint n_new; /* so many of them, the uppermost, the run did not stand on: where those hold
                  * something, the result says what the run showed there.  Only with drop_equal. */
    gboolean drop_equal;  /* leave out data that reads the same below (reads both) */
    gboolean drop_zeros;  /* find zeros in the data too, instead of copying it unseen */
    gboolean can_reflink; /* run and result lie on one file system that shares blocks */
    int to;               /* a new, empty file, open read-write; O_DIRECT where that works */
    const BlankSpec *spec; /* of the result: its size is the top layer's */
    const gint *cancel;  /* or NULL */
    void (*progress)(guint64 done_bytes, guint64 total_bytes, gpointer data); /* or NULL */
    gpointer data;
} LayerMerge;

typedef struct {
    guint64 data_bytes;  /* guest bytes that the result holds at most */
    guint64 file_bytes;  /* what its file takes at most, tables and all; its holes take nothing */
    guint64 new_bytes;   /* of these, what has to be written (less than file_bytes with reflink) */
} LayerMergeNeed;

/* What it will need, from the tables alone.  to may be -1.  INVALID, CORRUPT, UNAVAILABLE. */
gboolean layer_merge_reckon(const LayerMerge *merge, LayerMergeNeed *ret_need, GError **error);

/* Would a merge of this one layer with itself, leaving out what can be left out, free any block?
 * Reads until it finds something; run has one layer.  Errors of layer_merge(). */
gboolean layer_merge_gains(const LayerMerge *merge, gboolean *ret_gains, GError **error);

/* Write the result and make it durable.  ret_summary->digest is empty when blocks were shared
 * unread.  On any failure the caller discards the file, which is no image then.
 * INVALID (below and backing name don't go together, another size than the top layer's, a file that
 * is not empty), CORRUPT, CANCELLED, NO_SPACE, UNAVAILABLE. */
gboolean layer_merge(const LayerMerge *merge, LayerSummary *ret_summary, GError **error);
