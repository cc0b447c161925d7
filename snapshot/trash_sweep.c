/* trash_sweep.c: after a stop, layers may lie in the folder that they were just leaving, and files
 * may have been lost while nobody looked.  Both are settled here, by comparing the store's folders
 * with the catalog: moves are finished, what is missing is said (and nothing is deleted). */
#include "snapshot/trash.h"

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"

static gboolean add_name(const char *name, const StoreStat *stat, gpointer names, GError **error)
{
    g_hash_table_add(names, g_strdup(name));
    return TRUE;
}

typedef struct {
    Store *store;
    GHashTable *in_layers, *in_trash; /* sets of names */
    GPtrArray *to_trash, *to_layers;  /* slots to move */
    GHashTable *missing;              /* ids of layers */
} Sweep;

static void look_at(Sweep *s, const LayerRow *layer)
{
    gboolean in_layers = g_hash_table_contains(s->in_layers, layer->slot);
    gboolean in_trash = g_hash_table_contains(s->in_trash, layer->slot);
    gboolean wants_trash = g_str_equal(layer->place, "trash");

    if (!in_layers && !in_trash && !g_str_equal(layer->state, "reclaim"))
        g_hash_table_add(s->missing, g_strdup(layer->id));
    else if (wants_trash && in_layers && !in_trash)
        g_ptr_array_add(s->to_trash, g_strdup(layer->slot));
    else if (!wants_trash && in_trash && !in_layers)
        g_ptr_array_add(s->to_layers, g_strdup(layer->slot));
}

static gboolean compare(World *world, const char *store_id, Sweep *s, GError **error)
{
    g_auto(LookupRows) layers = { 0 };
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok = lookup_rows(db, ROW_LAYER, &layers, error,
                              "SELECT * FROM layer WHERE store_id = ?1", "t", store_id);

    catalog_read_end(world->catalog, db);
    for (guint i = 0; ok && i < layers.rows->len; i++)
        look_at(s, layers.rows->pdata[i]);
    return ok;
}

/* Tell the catalog which desktops have lost their disk (their own layer or one below), and which
 * have it again. */
static gboolean mark_desktops(World *world, const char *store_id, Sweep *s, GError **error)
{
    g_auto(LookupRows) desktops = { 0 };
    Changes *changes = changes_new();
    guint n_missing = 0, n_back = 0;
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok = lookup_rows(db, ROW_DESKTOP, &desktops, error,
                              "SELECT * FROM desktop WHERE store_id = ?1 AND is_trashed = 0", "t",
                              store_id);

    for (guint i = 0; ok && i < desktops.rows->len; i++) {
        DesktopRow *row = desktops.rows->pdata[i];
        gboolean is_missing = g_hash_table_contains(s->missing, row->layer_id);
        gboolean was_missing = g_str_equal(row->state, "missing");
        if (is_missing == was_missing)
            continue;
        DesktopRow changed = *row;
        changed.state = is_missing ? "missing" : "ok";
        changed.changed_at = units_now_ms();
        changes_put(changes, ROW_DESKTOP, &changed, store_id);
        changes_event(changes, is_missing ? "desktop.missing" : "desktop.found",
                      is_missing ? "alarm" : "info", row->name, NULL,
                      is_missing ? "its disk's file is not in the store"
                                 : "its disk's file is back");
        n_missing += is_missing;
        n_back += !is_missing;
    }
    catalog_read_end(world->catalog, db);
    if (ok && (n_missing || n_back))
        return catalog_commit(world->catalog, changes, error);
    changes_free(changes);
    return ok;
}

/* A move is written into two journals.  After a stop between them the desktop stands in its new
 * store, and its former disk here is still called active: it goes to the trash. */
static gboolean put_away_moved(World *world, const char *store_id, GError **error)
{
    g_auto(LookupRows) layers = { 0 };
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok = lookup_rows(db, ROW_LAYER, &layers, error,
                              "SELECT l.* FROM layer l JOIN desktop d ON d.id = l.owner_id WHERE"
                              " l.store_id = ?1 AND l.state = 'active' AND d.layer_id <> l.id AND"
                              " d.store_id <> ?1 AND d.generation > l.generation",
                              "t", store_id);
    Changes *changes = changes_new();

    for (guint i = 0; ok && i < layers.rows->len; i++) {
        LayerRow *layer = layers.rows->pdata[i];
        g_auto(DesktopRow) desktop = { 0 };
        g_autoptr(Store) store = store_set_get(world->stores, store_id, error);
        Id id = id_derive("moved", layer->id, store_id);
        StoreStat stat = { 0 };
        gint64 now = units_now_ms();
        if (!(ok = store && lookup_desktop_by_id(db, layer->owner_id, &desktop, error)))
            break;
        store_stat_layer(store, layer->slot, &stat, NULL);
        LayerRow changed = *layer;
        changed.state = "trashed";
        changed.place = "trash";
        TrashRow trash = { .id = id.s, .kind = "disk", .reason = "moved", .name = desktop.name,
                           .desktop_id = desktop.id, .version_id = desktop.version_id,
                           .layer_id = layer->id, .store_id = layer->store_id,
                           .generation = desktop.generation - 1,
                           .disk_bytes = (gint64)stat.disk_bytes, .trashed_at = now,
                           .expires_at = now + world->settings.trash_keep_ms };
        changes_put(changes, ROW_LAYER, &changed, store_id);
        changes_put(changes, ROW_TRASH, &trash, store_id);
    }
    catalog_read_end(world->catalog, db);
    if (ok && layers.rows->len)
        return catalog_commit(world->catalog, changes, error);
    changes_free(changes);
    return ok;
}

gboolean trash_sweep(World *world, const char *store_id, GError **error)
{
    g_autoptr(Store) store = store_set_get(world->stores, store_id, error);
    Sweep s = { .store = store,
                .in_layers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL),
                .in_trash = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL),
                .missing = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL),
                .to_trash = g_ptr_array_new_with_free_func(g_free),
                .to_layers = g_ptr_array_new_with_free_func(g_free) };
    gboolean ok = store && put_away_moved(world, store_id, error) &&
                  store->ops->list(store, STORE_LAYERS, add_name, s.in_layers, error) &&
                  store->ops->list(store, STORE_TRASH, add_name, s.in_trash, error) &&
                  compare(world, store_id, &s, error);

    if (ok && s.to_trash->len)
        ok = store->ops->move(store, (const char *const *)s.to_trash->pdata, s.to_trash->len,
                              STORE_LAYERS, STORE_TRASH, FALSE, NULL, error);
    if (ok && s.to_layers->len)
        ok = store->ops->move(store, (const char *const *)s.to_layers->pdata, s.to_layers->len,
                              STORE_TRASH, STORE_LAYERS, FALSE, NULL, error);
    ok = ok && mark_desktops(world, store_id, &s, error);
    g_hash_table_unref(s.in_layers);
    g_hash_table_unref(s.in_trash);
    g_hash_table_unref(s.missing);
    g_ptr_array_unref(s.to_trash);
    g_ptr_array_unref(s.to_layers);
    return ok;
}
