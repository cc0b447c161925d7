/* pick.h: which desktop a user gets, and that nobody else's is it.
 *
 * The narrow gate of the clean hand-over (docs/design/broker.md): every way to a desktop leads
 * through pool_pick() or assignment_attach().  When they return, the row "this generation has seen
 * this user" is durable, and the desktop is the user's by the same commit.  Many picks share one
 * flush; no lock is held across it.  Any thread that holds no reader of the catalog. */
#pragma once

#include "broker/pool/pools.h"

typedef struct {
    char desktop_id[ID_LEN + 1];
    gint64 generation; /* in which it was given: what is started and opened must be this one */
    gboolean is_new;   /* the user did not have it before */
} Picked;

/* Adds what is to be durable with the pick (a session's row), once it is known which desktop it
 * will be.  May be called again if that desktop was lost to another; if the statements do not
 * hold (a row is there already), the pick is tried anew, and fails with EXISTS in the end. */
typedef void (*PickAlso)(Changes *changes, const Picked *picked, gpointer user);

typedef struct {
    const char *user_id;
    const char *pool_id;    /* of pool_pick() */
    const char *desktop_id; /* of those that he has in it this one, or NULL */
    gboolean wants_another; /* a further desktop, not the one that he has (max_per_user) */
    gint64 limit_ms;        /* how long to wait for one that is about to be free */
    PickAlso also;          /* or NULL */
    gpointer also_user;
} PickAsk;

/* The user's present desktop of the pool, or the best free one (a running one first), which
 * is his from then on.  DENIED: the pool was not granted to him, is closed at this hour, or he has
 * as many as he may have.  BUSY: none is free. */
gboolean pool_pick(World *world, const PickAsk *ask, Picked *ret, GError **error);

/* The same for a desktop that is assigned to the user.  DENIED: it is not (any more).  also as
 * above. */
gboolean assignment_attach(World *world, const char *desktop_id, const PickAsk *ask, Picked *ret,
                           GError **error);

/* A session of this user on this desktop has ended: what is to happen to a pool's desktop then, as
 * statements of the commit that ends the session (none if it is not of a pool, or stays his).
 * Afterwards call pools_touch(), or the desktop waits for the next turn of the pools' keeper. */
void pool_release(Changes *changes, const char *desktop_id, const char *user_id);

/* May he use this pool, himself or by a group? */
gboolean pool_is_granted(Db *db, const char *pool_id, const char *user_id);

/* The desktops and pools that he may connect to, for the session's choice: rows with kind
 * ("desktop" or "pool"), id, name.  Caller unrefs the array of JSON. */
json_t *pool_entitlements(Db *db, const char *user_id);
