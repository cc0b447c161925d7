/* pool_deeds.h: what the keeper of pools has jobs do to desktops, and which of these are under way.
 *
 * One thread, the keeper's. */
#pragma once

#include "broker/pool/pools.h"

typedef enum {
    DEED_CREATE,
    DEED_STOP,      /* by force */
    DEED_SHUT_DOWN, /* its guest is asked to */
    DEED_SUSPEND,
    DEED_REIMAGE, /* for its pool */
    DEED_RESET,   /* for its user */
    DEED_DELETE,
    DEED_START,
    DEED_ARCHIVE
} Deed;

typedef struct PoolDeeds PoolDeeds;
PoolDeeds *pool_deeds_new(World *world);
void pool_deeds_free(PoolDeeds *deeds);

/* Once in each turn: which jobs have ended?  FALSE: none is under way. */
gboolean pool_deeds_look(PoolDeeds *deeds);

gboolean pool_deeds_are_under_way(const PoolDeeds *deeds); /* as of now, those just begun too */

/* May this be begun: nothing is under way with the desktop, and the same did not just fail?  Each
 * time that it fails it is waited for twice as long, up to a minute. */
gboolean pool_deeds_may(PoolDeeds *deeds, const char *desktop_id, Deed deed);

/* When (boot time) something is to be tried again that was not to be in this turn; 0: nothing. */
gint64 pool_deeds_next(const PoolDeeds *deeds);

/* Have a job do it to these of the pool (arrays of ids and names).  What can't be begun is tried
 * later. */
void pool_deeds_do(PoolDeeds *deeds, const PoolRow *pool, Deed deed, const json_t *ids,
                   const json_t *names);

/* The same to any desktops, but for making and DEED_REIMAGE; target is DEED_ARCHIVE's. */
void pool_deeds_do_any(PoolDeeds *deeds, const char *target, Deed deed, const json_t *ids,
                       const json_t *names);

/* Make n more.  FALSE with why not. */
gboolean pool_deeds_create(PoolDeeds *deeds, const PoolRow *pool, guint n, GError **error);
