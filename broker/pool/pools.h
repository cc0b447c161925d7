/* pools.h: pools of desktops: their rows, and which of their desktops are free, in memory.
 *
 * The catalog decides who has which desktop (pick.h).  What is kept here only makes that quick: a
 * list of candidates for each pool, and who may be waiting for one.  Any thread. */
#pragma once

#include "imaged/base/ident.h"
#include "imaged/catalog/lookup.h"
#include "imaged/job/world.h"

#define POOL_AUTOMATIC "automatic"   /* when its session ends: re-imaged and free */
#define POOL_MANUAL "manual"         /* its user's until somebody returns it */
#define POOL_TIME_BASED "time-based" /* its user's until its lease is over */

#define POOL_NEVER (-1) /* a disconnect limit that there is none of */

typedef struct {
    char *id, *name, *type, *template_id;
    char *version_id; /* pinned, or NULL: the newest published one */
    gint64 size, spares, max_per_user;
    gint64 disconnect_limit_s; /* or POOL_NEVER */
    char *settings;            /* JSON, see lease.h */
    gint64 created_at, changed_at;
    gboolean is_deleting; /* its desktops go, and then it does */
} PoolRow;
void pool_row_clear(PoolRow *row);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(PoolRow, pool_row_clear)

/* NOT_FOUND; name may be an id. */
gboolean pool_lookup(Db *db, const char *name, PoolRow *ret, GError **error);

/* The version that the pool's desktops are to stand on.  Caller frees; NOT_FOUND: its template has
 * no published one. */
char *pool_wanted_version(Db *db, const PoolRow *pool, GError **error);

/* The same as an SQL expression, for a pool with the alias p. */
#define POOL_WANTED_OF_P                                                                           \
    "coalesce(p.version_id, (SELECT w.id FROM version w WHERE w.template_id = p.template_id AND"   \
    " w.state = 'published' AND w.is_trashed = 0 ORDER BY w.version DESC LIMIT 1))"

/* Is nothing in desktop d, member m of a pool, older than the pool's own last re-image of it?  By
 * the layers that it stands on, however they came there. */
#define POOL_IS_CLEAN_D_M                                                                          \
    "d.is_trashed = 0 AND d.state = 'ok' AND d.data_layer_id IS NULL AND m.clean_generation > 0"   \
    " AND m.clean_generation <= (WITH RECURSIVE chain(id, parent_id, generation) AS"               \
    " (SELECT l.id, l.parent_id, l.generation FROM layer l WHERE l.id = d.layer_id AND"            \
    " l.owner_id = d.id UNION ALL SELECT l.id, l.parent_id, l.generation FROM chain c JOIN layer"  \
    " l ON l.id = c.parent_id WHERE l.owner_id = d.id) SELECT min(generation) FROM chain)"

typedef struct Pools Pools;
Pools *pools_new(World *world);
void pools_free(Pools *pools);

typedef struct {
    char desktop_id[ID_LEN + 1];
    gint64 generation;
} PoolCandidate;

/* A desktop of the pool that was free a moment ago, a running one first, on the version that is
 * wanted; nobody else gets it until it is given back.  While others are about to get the last ones,
 * it is waited for what comes of that.  FALSE: at some moment of this call none was free, and
 * nobody was about to get one. */
gboolean pools_take(Pools *pools, const char *pool_id, PoolCandidate *ret);
void pools_give_back(Pools *pools, const char *desktop_id, gboolean was_given);

/* Something about a pool has changed that somebody may wait for: its keeper, and who wants a
 * desktop.  took: one was given, so there is nothing new for the latter. */
void pools_touch(Pools *pools);
void pools_took(Pools *pools);

/* Wait until anything was touched since *stamp, or ms are over; updates *stamp. */
void pools_wait(Pools *pools, guint64 *stamp, gint64 ms);
guint64 pools_stamp(Pools *pools);
