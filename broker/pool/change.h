/* change.h: what admins do to pools and assignments, each one commit.  Any thread that holds no
 * reader of the catalog. */
#pragma once

#include "broker/pool/pools.h"

/* A new one: row has no id yet, and gets it.  EXISTS, INVALID. */
gboolean pool_create(World *world, PoolRow *row, const char *who, GError **error);

/* The row as it is to be from now on. */
gboolean pool_update(World *world, const PoolRow *row, gboolean is_resize, const char *who,
                     GError **error);

/* Let its desktops go, and then it.  BUSY while some are given, unless forced. */
gboolean pool_delete(World *world, const PoolRow *row, gboolean force, const char *who,
                     GError **error);

/* names of users and of groups (arrays, or NULL); NOT_FOUND names the first that is not known. */
gboolean pool_grant(World *world, const PoolRow *row, const json_t *users, const json_t *groups,
                    const char *who, GError **error);
gboolean pool_revoke(World *world, const PoolRow *row, const json_t *users, const json_t *groups,
                     const char *who, GError **error);

/* Desktops of the pool (names), or those that users (names) have of it, or all that are given, come
 * back.  Returns how many in *ret_n.  NOT_FOUND names the first that is not of the pool. */
gboolean pool_return(World *world, const PoolRow *row, const json_t *desktops, const json_t *users,
                     gboolean all, const char *who, guint *ret_n, GError **error);

/* ---- Assignments ---- */

/* A user's id by his name (any case); caller frees.  NOT_FOUND. */
char *user_find(Db *db, const char *name, GError **error);

typedef struct {
    gboolean is_shared; /* beside others; else he is the one owner, and others must not be there */
    gboolean may_take_over;
    gint64 until_ms;   /* 0: for good */
    const char *lease; /* terms as JSON, or NULL */
} AssignSpec;

/* EXISTS: somebody else has it; INVALID: it is a pool's. */
gboolean assignment_add(World *world, const char *desktop, const char *user, const AssignSpec *spec,
                        const char *who, GError **error);
/* user NULL: from all.  NOT_FOUND. */
gboolean assignment_remove(World *world, const char *desktop, const char *user, const char *who,
                           GError **error);

/* One more extension of the lease on a desktop, a pool's or one that is assigned.  user: whose, or
 * NULL if one has a lease on it.  DENIED: no more are left. */
gboolean lease_prolong(World *world, const char *desktop, const char *user, const char *who,
                       gint64 *ret_until, GError **error);
