/* build_change.h: have the helper do what a recipe says to a disk that is being made.
 *
 * For jobs that make template versions.  The layer is in tmp/ still, so no byte of an existing
 * layer is changed. */
#pragma once

#include "imaged/job/world.h"

/* below (n of them, the base first) and fd, which is written, are one disk; the recipe is the
 * plan's "spec".  The new content is flushed.  It is in store, which is watched meanwhile:
 * NO_SPACE. */
gboolean build_change(Job *job, World *world, Store *store, Layer *const *below, guint n, int fd,
                      GError **error);
