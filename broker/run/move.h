/* move.h: a running domain given from one host to another, its display's client along with it.
 *
 * The hosts do it among themselves (libvirt's peer-to-peer): it goes on, or is taken back, without
 * us.  Any thread. */
#pragma once

#include "broker/run/runs.h"

/* What is told to the source; copied. */
typedef struct {
    const HostRow *from, *to;
    GHashTable *chains; /* path of a disk's active layer as the source sees it -> all paths of its
                         * chain as the target sees them (char **, ends with NULL) */
    GPtrArray *folders; /* of char *: pairs of a store's folder there and here, for other files */
} Move;

/* Can from reach to's libvirt by its address?  UNSUPPORTED. */
gboolean move_check(const HostRow *from, const HostRow *to, GError **error);

/* Returns when it is over, or limit_ms are; what came of it the hosts are asked (live.h). */
gboolean move_run(World *world, const RunRow *run, const Move *move, gint64 limit_ms,
                  GError **error);
