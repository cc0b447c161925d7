/* members.h: the desktops of pools, as statements about their rows.
 *
 *   making -> free -> given -> (archiving ->) returning -> free      leaving: to be deleted
 *                \______________________________/  \-> broken: it failed again and again
 *
 * Each statement asks in the catalog's writer for the state that it goes on from, so that none is
 * done twice or behind another's back.  Free and clean a desktop becomes by members_made() and
 * members_reimaged() alone.  Any thread. */
#pragma once

#include "broker/pool/pools.h"

#define MEMBER_MAX_FAILURES 5 /* in a row, before one is given up and another made */

/* A desktop that the job is about to create. */
void members_add(Changes *changes, const char *pool_id, const char *desktop_id, const char *job_id);

/* That job has ended: free if the desktop is there as it was made; a row without one goes. */
void members_made(Changes *changes, const char *desktop_id);

/* Its user is done with it, or it is not fit to be given: to be re-imaged. */
void members_return(Changes *changes, const char *desktop_id, const char *reason);

/* Free ones that are not fit any more (another version is wanted, replaced behind the pool's back)
 * go back; rows whose desktop was deleted go.  Returns how many there are. */
guint members_sort_out(Db *db, Changes *changes, const char *pool_id);

/* With the facts of its re-image to this layer: nobody's, and clean.  Sessions on it end. */
void members_reimaged(Changes *changes, const char *desktop_id, const char *layer_id);
void members_failed(Changes *changes, const char *desktop_id, const char *reason);

/* One more than the pool is to have: it is not given any more, and to be deleted. */
void members_leave(Changes *changes, const char *desktop_id);

/* The pool that this desktop is of, or NULL.  Caller frees. */
char *member_pool_name(Db *db, const char *desktop_id);

/* May the disk (or what a snapshot holds) of this generation come back under the desktop?  Not
 * under a pool's one that has been cleaned since, nor under one that nobody has.  DENIED. */
gboolean member_check_content(Db *db, const char *desktop_id, gint64 generation, GError **error);
