/* layer_check.h: a full consistency check of one qcow2 file, in one streaming pass.
 *
 * Mapping against refcounts, overlaps, leaks, offsets outside of the file, reserved bits.  It never
 * writes.  Work and memory are bounded by the real length of the file, never by what its header
 * claims: five bits per cluster of the file, and counters for clusters that are used more than
 * once.  Any thread may call it; a file that somebody writes meanwhile gives nonsense. */
#pragma once

#include <glib.h>

#include "cow/layer.h"

typedef struct {
    guint64 n_errors;            /* corruptions: entries or refcounts that may cost data */
    guint64 n_leaks;             /* clusters with a refcount higher than their uses */
    guint64 n_allocated;         /* guest clusters with data */
    guint64 n_compressed;        /* the part of them that is compressed */
    guint64 image_end_offset;    /* end of the last cluster in use */
    gboolean is_dirty;           /* lazy refcounts, not cleanly closed: leaks and low refcounts are
                                  * then counted as leaks only if the mapping itself is sound */
    GPtrArray *messages;         /* the first 100 findings, as text (char *) */
} LayerCheck;

/* Check layer.  FALSE only if it could not be checked (UNAVAILABLE, CANCELLED); what it found
 * wrong stands in *ret_check, which the caller clears. cancel may be NULL (a flag, read
 * atomically); progress may be NULL, and gets bytes of metadata done and to do. */
typedef void (*LayerCheckProgress)(guint64 done, guint64 total, gpointer data);
gboolean layer_check(const Layer *layer, const gint *cancel, LayerCheckProgress progress,
                     gpointer data, LayerCheck *ret_check, GError **error);

void layer_check_clear(LayerCheck *check);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(LayerCheck, layer_check_clear)
