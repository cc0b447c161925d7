/* cluster_runs.h: what one layer holds, as runs of whole clusters of another size.
 *
 * For writing a layer anew in a format without subclusters (layer_pack.h, layer_stream.h).  A
 * cluster that the layer holds in part counts as held: whoever writes it reads the rest from below.
 * Zeros where nothing lies below are left out.  One thread per iterator. */
#pragma once

#include <glib.h>

#include "cow/chain_map.h"
#include "cow/layer.h"

typedef struct {
    guint64 first, n; /* clusters */
    gboolean is_zero; /* all of them read as zeros and hide something; nothing need be read */
} ClusterRun;

typedef struct ClusterRuns ClusterRuns;

/* below is the map of what layer stands on, or NULL for a base.  Both are borrowed. */
ClusterRuns *cluster_runs_new(const Layer *layer, ChainMap *below, guint32 cluster_bits);
void cluster_runs_free(ClusterRuns *runs);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ClusterRuns, cluster_runs_free)

/* The next run in guest order; runs never overlap.  FALSE at the end (no error set), or on an error
 * of layer_extents_next() or chain_map_find(), or CANCELLED; cancel may be NULL. */
gboolean cluster_runs_next(ClusterRuns *runs, const gint *cancel, ClusterRun *ret_run,
                           GError **error);

/* TRUE if below (or NULL) holds anything but zeros in the range, as far as its tables say; -1 on an
 * error. */
gint cluster_runs_hides(ChainMap *below, guint64 offset, guint64 len, GError **error);

/* The cluster size for a packed layer, as a power of two; a function of the layer's extents alone:
 * 64 KiB for a base; for an overlay the largest of 64, 16 and 4 KiB at which filling up from below
 * makes at most a quarter more of what the layer holds (but no size that takes an L1 table of more
 * than 1 MiB).  Clusters that are zeros as a whole do not count.  *ret_bytes, if not NULL, gets the
 * guest bytes that must be read at this size. */
gboolean cluster_runs_choose(const Layer *layer, gboolean is_base, const gint *cancel,
                             guint32 *ret_bits, guint64 *ret_bytes, GError **error);
