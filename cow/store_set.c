/* store_set.c: see store_set.h.  The lock is never held while a file system is asked something
 * that may hang, except to open a store that is back. */
#include "cow/store_set.h"

#include "imaged/base/error.h"

struct StoreSet {
    char *owner_id;
    GMutex lock;
    GPtrArray *entries; /* of StoreEntry */
};

void store_entry_clear(StoreEntry *e)
{
    g_clear_pointer(&e->id, g_free);
    g_clear_pointer(&e->name, g_free);
    g_clear_pointer(&e->location, g_free);
    g_clear_pointer(&e->reason, g_free);
    g_clear_pointer(&e->store, store_unref);
}

static void free_entry(gpointer data)
{
    store_entry_clear(data);
    g_free(data);
}

StoreSet *store_set_new(const char *owner_id)
{
    StoreSet *set = g_new0(StoreSet, 1);

    set->owner_id = g_strdup(owner_id);
    set->entries = g_ptr_array_new_with_free_func(free_entry);
    g_mutex_init(&set->lock);
    return set;
}

void store_set_free(StoreSet *set)
{
    if (!set)
        return;
    g_ptr_array_unref(set->entries);
    g_mutex_clear(&set->lock);
    g_free(set->owner_id);
    g_free(set);
}

/* The entry with this id; the lock is held. */
static StoreEntry *entry_of(StoreSet *set, const char *id)
{
    for (guint i = 0; i < set->entries->len; i++) {
        StoreEntry *e = set->entries->pdata[i];
        if (g_str_equal(e->id, id))
            return e;
    }
    return NULL;
}

void store_set_add(StoreSet *set, const char *id, const char *name, const char *location,
                   gboolean is_default, gboolean is_draining, Store *store, const char *reason)
{
    StoreEntry *e = g_new0(StoreEntry, 1);

    *e = (StoreEntry){ g_strdup(id), g_strdup(name), g_strdup(location), is_default, is_draining,
                       store,        g_strdup(reason) };
    g_mutex_lock(&set->lock);
    g_ptr_array_add(set->entries, e);
    g_mutex_unlock(&set->lock);
}

void store_set_remove(StoreSet *set, const char *id)
{
    g_mutex_lock(&set->lock);
    StoreEntry *e = entry_of(set, id);
    if (e)
        g_ptr_array_remove(set->entries, e);
    g_mutex_unlock(&set->lock);
}

void store_set_mark_draining(StoreSet *set, const char *id, gboolean is_draining)
{
    g_mutex_lock(&set->lock);
    StoreEntry *e = entry_of(set, id);
    if (e)
        e->is_draining = is_draining;
    g_mutex_unlock(&set->lock);
}

Store *store_set_peek(StoreSet *set, const char *id)
{
    g_mutex_lock(&set->lock);
    StoreEntry *e = entry_of(set, id);
    Store *store = e && e->store ? store_ref(e->store) : NULL;
    g_mutex_unlock(&set->lock);
    return store;
}

gboolean store_set_describe(StoreSet *set, const char *id, StoreEntry *ret)
{
    g_mutex_lock(&set->lock);
    StoreEntry *e = entry_of(set, id);
    if (e)
        *ret = (StoreEntry){ g_strdup(e->id),       g_strdup(e->name),
                             g_strdup(e->location), e->is_default,
                             e->is_draining,        e->store ? store_ref(e->store) : NULL,
                             g_strdup(e->reason) };
    g_mutex_unlock(&set->lock);
    return e != NULL;
}

/* Close a store that is not itself any more, and remember why. */
static void set_offline(StoreSet *set, const char *id, Store *store, const char *reason)
{
    Store *old = NULL;

    g_mutex_lock(&set->lock);
    StoreEntry *e = entry_of(set, id);
    if (e && e->store == store) {
        old = g_steal_pointer(&e->store);
        g_free(e->reason);
        e->reason = g_strdup(reason);
    }
    g_mutex_unlock(&set->lock);
    store_unref(old);
}

Store *store_set_get(StoreSet *set, const char *id, GError **error)
{
    g_auto(StoreEntry) e = { 0 };
    g_autoptr(GError) local = NULL;

    if (!store_set_describe(set, id, &e)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "the store is not known");
        return NULL;
    }
    if (!e.store) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "%s",
                    e.reason ? e.reason : "the store is offline");
        return NULL;
    }
    if (e.store->ops->check_online(e.store, &local))
        return g_steal_pointer(&e.store);
    set_offline(set, id, e.store, local->message);
    g_propagate_error(error, g_steal_pointer(&local));
    return NULL;
}

char *store_set_find(StoreSet *set, const char *name, GError **error)
{
    char *id = NULL;

    g_mutex_lock(&set->lock);
    for (guint i = 0; !id && i < set->entries->len; i++) {
        StoreEntry *e = set->entries->pdata[i];
        if (name ? g_str_equal(e->name, name) : e->is_default)
            id = g_strdup(e->id);
    }
    g_mutex_unlock(&set->lock);
    if (!id)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "there is no store '%.63s'",
                    name ? name : "(default)");
    return id;
}

GPtrArray *store_set_ids(StoreSet *set)
{
    GPtrArray *ids = g_ptr_array_new_with_free_func(g_free);

    g_mutex_lock(&set->lock);
    for (guint i = 0; i < set->entries->len; i++)
        g_ptr_array_add(ids, g_strdup(((StoreEntry *)set->entries->pdata[i])->id));
    g_mutex_unlock(&set->lock);
    return ids;
}

static void try_open(StoreSet *set, const StoreEntry *known, GPtrArray *came_back)
{
    g_autoptr(GError) error = NULL;
    StoreOpenOptions options = { .owner_id = set->owner_id, .expect_id = known->id };
    Store *store = store_dir_open(known->location, &options, &error);

    g_mutex_lock(&set->lock);
    StoreEntry *e = entry_of(set, known->id);
    if (e && store && !e->store) {
        e->store = g_steal_pointer(&store);
        g_clear_pointer(&e->reason, g_free);
        if (came_back)
            g_ptr_array_add(came_back, g_strdup(known->id));
    } else if (e && error) {
        g_free(e->reason);
        e->reason = g_strdup(error->message);
    }
    g_mutex_unlock(&set->lock);
    store_unref(store);
}

void store_set_refresh(StoreSet *set, GPtrArray *came_back, GPtrArray *went_away)
{
    g_autoptr(GPtrArray) ids = store_set_ids(set);

    for (guint i = 0; i < ids->len; i++) {
        g_auto(StoreEntry) e = { 0 };
        if (!store_set_describe(set, ids->pdata[i], &e))
            continue;
        if (!e.store) {
            try_open(set, &e, came_back);
        } else {
            g_autoptr(Store) store = store_set_get(set, ids->pdata[i], NULL);
            if (!store && went_away)
                g_ptr_array_add(went_away, g_strdup(ids->pdata[i]));
        }
    }
}
