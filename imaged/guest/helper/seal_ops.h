/* seal_ops.h: what makes one machine different from its clones, and how it is removed.
 *
 * All of it happens in the appliance, below the guest's own root: a link that leads anywhere leads
 * to somewhere in that guest. */
#pragma once

#include "imaged/guest/helper/appliance.h"

typedef struct {
    guestfs_h *g;
    Task *task;
    json_t *operations; /* array of {name, n_removed, bytes, paths} */
    guint64 n_removed, bytes;
    GError *error; /* the first that failed: sealing has failed then */
} Seal;

/* Do all operations of a Linux guest. */
gboolean seal_linux(Seal *seal, GError **error);

/* Lock root's password ("lock") or leave it ("keep"); an empty one is refused: INVALID. */
gboolean seal_root_password(Seal *seal, const char *policy, GError **error);

/* Swap areas hold what was in memory: they are made anew, with their UUID and label. */
gboolean seal_swap(Seal *seal, GError **error);
