/* store_set.h: all stores that this manager has, online or not.
 *
 * An entry stays when its store goes offline; it is opened again by itself when it is back.  Any
 * thread. */
#pragma once

#include <glib.h>

#include "cow/store.h"

typedef struct StoreSet StoreSet;

typedef struct {
    char *id, *name, *location;
    gboolean is_default, is_draining;
    Store *store;  /* NULL while it is offline */
    char *reason;  /* why it is offline, or NULL */
} StoreEntry;

StoreSet *store_set_new(const char *owner_id);
void store_set_free(StoreSet *set);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(StoreSet, store_set_free)

/* Add an entry (copied); store may be NULL with a reason, and is taken over. */
void store_set_add(StoreSet *set, const char *id, const char *name, const char *location,
                   gboolean is_default, gboolean is_draining, Store *store, const char *reason);
void store_set_remove(StoreSet *set, const char *id);
void store_set_mark_draining(StoreSet *set, const char *id, gboolean is_draining);

/* The store with this id, checked to be online; a new reference.  UNAVAILABLE, NOT_FOUND. */
Store *store_set_get(StoreSet *set, const char *id, GError **error);

/* The same without the check: for the journal of a store that was just checked. NULL if offline. */
Store *store_set_peek(StoreSet *set, const char *id);

/* The id of the store with this name (NULL: the default one).  NOT_FOUND. Caller frees. */
char *store_set_find(StoreSet *set, const char *name, GError **error);

/* Ids of all entries.  Free with g_ptr_array_unref(). */
GPtrArray *store_set_ids(StoreSet *set);

/* A copy of an entry's state: name, location and reason are freed by the caller. FALSE if gone. */
gboolean store_set_describe(StoreSet *set, const char *id, StoreEntry *ret_entry);
void store_entry_clear(StoreEntry *entry);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(StoreEntry, store_entry_clear)

/* Look after every store: those that went away become offline, those that are back online (then
 * their ids are added to came_back; their journals have not been replayed yet). */
void store_set_refresh(StoreSet *set, GPtrArray *came_back, GPtrArray *went_away);
