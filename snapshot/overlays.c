/* overlays.c: see overlays.h. */
#include "snapshot/overlays.h"

typedef struct {
    Store *store;
    GArray *list; /* of StoreOverlay */
} OfStore;

struct Overlays {
    GArray *stores;   /* of OfStore: one or two, mostly */
    GPtrArray *texts; /* of identities */
};

static void clear_store(gpointer data)
{
    OfStore *s = data;

    store_unref(s->store);
    g_array_unref(s->list);
}

Overlays *overlays_new(void)
{
    Overlays *o = g_new0(Overlays, 1);

    o->stores = g_array_new(FALSE, TRUE, sizeof(OfStore));
    g_array_set_clear_func(o->stores, clear_store);
    o->texts = g_ptr_array_new_with_free_func(g_free);
    return o;
}

void overlays_free(Overlays *o)
{
    if (!o)
        return;
    g_array_unref(o->stores);
    g_ptr_array_unref(o->texts);
    g_free(o);
}

static GArray *list_of(Overlays *o, Store *store)
{
    for (guint i = 0; i < o->stores->len; i++) {
        OfStore *s = &g_array_index(o->stores, OfStore, i);
        if (s->store == store)
            return s->list;
    }
    OfStore s = { store_ref(store), g_array_new(FALSE, TRUE, sizeof(StoreOverlay)) };
    g_array_append_val(o->stores, s);
    return s.list;
}

void overlays_add(Overlays *o, Store *store, const Identity *identity, const char *backing_slot,
                  guint64 size)
{
    char *text = identity_to_json(identity);
    StoreOverlay overlay = { identity->id, backing_slot, text, size, 0, FALSE };

    g_ptr_array_add(o->texts, text);
    g_array_append_val(list_of(o, store), overlay);
}

gboolean overlays_write(Overlays *o, GError **error)
{
    gboolean ok = TRUE;

    for (guint i = 0; ok && i < o->stores->len; i++) {
        OfStore *s = &g_array_index(o->stores, OfStore, i);
        ok = s->store->ops->create_overlays(s->store, (const StoreOverlay *)s->list->data,
                                            s->list->len, error);
    }
    return ok;
}
