/* chain_window.h: one piece of a chain's flat map, built once and never changed.
 *
 * Internal to chain_map.c, which caches windows; nobody else includes this.  Building takes no
 * lock, so any number of threads may build windows of the same layers. */
#pragma once

#include "cow/chain_map.h"

#define WINDOW_ALIGN (16ull << 20) /* guest bytes; a window is at least that long, unless cut */
#define WINDOW_OVERHEAD 512u /* charged for each window, so that their number is bounded too */

typedef struct {
    gatomicrefcount refs;
    gsize *memory;      /* the map's sum of charges; atomic */
    guint64 start, end; /* guest range */
    guint64 charge;     /* bytes */
    GList lru;          /* the map's, by its lock */
    guint n;
    MapExtent *extents; /* sorted, without a gap */
} Window;

/* What windows are built of. */
typedef struct {
    Layer *const *layers;
    guint n_layers;
    gboolean is_partial; /* what no layer holds stays UNALLOCATED */
} WindowChain;

/* Build the window at start, at most up to limit and with at most max_extents extents: its end says
 * how far it came.  memory is added to now and subtracted from with the last reference.  CORRUPT,
 * UNAVAILABLE. */
Window *window_build(const WindowChain *chain, guint64 start, guint64 limit, guint max_extents,
                     gsize *memory, GError **error);

Window *window_ref(Window *window);
void window_unref(Window *window);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Window, window_unref)

/* Index of the extent that holds offset, which lies in window. */
guint window_index(const Window *window, guint64 offset);
