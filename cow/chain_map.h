/* chain_map.h: what a chain of layers holds, as one flat sorted array.
 *
 * A chain is an array of open layers, the base first (index 0), the active one last.  The map says
 * for each guest range in which layer and where in its file the bytes lie, or that they are zeros.
 * Reading through 32 layers then costs what reading through one costs.
 *
 * Maps are built in windows of the guest's range under a byte budget, since a hostile or fragmented
 * image may have millions of extents.  A ChainMap of frozen layers is shared by any number of
 * threads (it locks its own window cache); a window stays valid while a reference is held. */
#pragma once

#include <glib.h>

#include "cow/layer.h"

typedef struct {
    guint64 start;       /* guest offset */
    guint64 length;      /* bytes */
    guint64 host_offset; /* DATA, COMPRESSED */
    guint32 host_length; /* COMPRESSED */
    guint16 layer;       /* index in the chain; 0 for ZERO that no layer holds */
    guint16 kind;        /* ExtentKind: ZERO, DATA, COMPRESSED; UNALLOCATED if partial */
    guint64 skip;        /* COMPRESSED: guest bytes of the decoded cluster before start */
} MapExtent;

typedef struct ChainMap ChainMap;

/* A map over layers (the array is copied, the layers are borrowed and must outlive the map).
 * budget is the most bytes that cached windows may take (0 = 64 MiB; at least 256 KiB).  A layer
 * shorter than the chain reads as zeros beyond its end, and hides nothing that is longer above it.
 * INVALID if there are no layers or more than 65,535. */
ChainMap *chain_map_new(Layer *const *layers, guint n_layers, guint64 budget, GError **error);

/* The same for a run of layers that stands on others: what none of them holds is UNALLOCATED, so
 * that it differs from zeros that hide what lies below.  Those include what is beyond the end of a
 * shorter layer of the run, for a guest never reads through such an end. */
ChainMap *chain_map_new_partial(Layer *const *layers, guint n_layers, guint64 budget,
                                GError **error);
void chain_map_free(ChainMap *map);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ChainMap, chain_map_free)

guint64 chain_map_size(const ChainMap *map); /* virtual size of the topmost layer, bytes */
Layer *chain_map_layer(const ChainMap *map, guint index);
guint chain_map_n_layers(const ChainMap *map);

/* Bytes that windows take now, cached or still held by a walk. */
guint64 chain_map_memory(const ChainMap *map);

/* The extent that holds offset, clipped to its window.  FALSE beyond the end (no error set) or on
 * an error.  Walking a map: start at 0, go on at start + length. */
gboolean chain_map_find(ChainMap *map, guint64 offset, MapExtent *ret_extent, GError **error);

/* Walk [from, to), handing each extent (clipped to the range; adjacent alike ones merged within a
 * window) to visit; stops with FALSE when visit returns FALSE. */
typedef gboolean (*ChainMapVisit)(const MapExtent *extent, gpointer data, GError **error);
gboolean chain_map_walk(ChainMap *map, guint64 from, guint64 to, ChainMapVisit visit,
                        gpointer data, GError **error);
