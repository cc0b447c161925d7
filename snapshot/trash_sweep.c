/* trash_sweep.c: after a stop, layers may lie in the folder that they were just leaving, and files
 * may have been lost while nobody looked.  Both are settled here, by comparing the store's folders
 * with the catalog: moves are finished, what is missing is said (and nothing is deleted). */
#include "snapshot/trash.h"

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "snapshot/merge.h"

#define WRITABLE GINT_TO_POINTER(2) /* else FROZEN */
#define FROZEN GINT_TO_POINTER(1)

static gboolean add_name(const char *name, const StoreStat *stat, gpointer names, GError **error)
{
    g_hash_table_insert(names, g_strdup(name), stat->is_writable ? WRITABLE : FROZEN);
    return TRUE;
}

typedef struct {
    World *world;
    Store *store;
    GHashTable *in_layers, *in_trash; /* names -> WRITABLE or FROZEN */
    GHashTable *parents;              /* id of a layer -> id of the one below */
    GHashTable *missing;              /* ids of layers */
} Sweep;

/* Where a layer's file is now: asked twice for layers/, since it may be on its way back. */
static void find_file(const Sweep *s, const char *slot, gboolean *ret_layers, gboolean *ret_trash)
{
    StoreStat stat;

    *ret_layers = s->store->ops->stat(s->store, STORE_LAYERS, slot, &stat, NULL);
    *ret_trash = s->store->ops->stat(s->store, STORE_TRASH, slot, &stat, NULL);
    if (!*ret_layers && !*ret_trash)
        *ret_layers = s->store->ops->stat(s->store, STORE_LAYERS, slot, &stat, NULL);
}

/* What jobs claim that work with layers of this kind: a data disk is its desktop's. */
static const char *claimed_as(const char *owner_kind)
{
    return g_str_equal(owner_kind, "template") ? "version"
           : g_str_equal(owner_kind, "data")   ? "desktop"
                                               : owner_kind;
}

/* Jobs may run meanwhile: what they are at work on they leave in order themselves. */
static json_t *claim(const Sweep *s, const char *kind, const char *id)
{
    json_t *keys = json_array();

    claims_add(keys, 'x', claimed_as(kind), id);
    if (claims_take(s->world->claims, keys, "store.sweep", NULL))
        return keys;
    json_decref(keys);
    return NULL;
}

static void release(const Sweep *s, json_t *keys)
{
    claims_release(s->world->claims, keys);
    json_decref(keys);
}

/* A stop in the middle of a snapshot leaves the active layer read-only. */
static gboolean has_wrong_mode(const Sweep *s, const LayerRow *layer)
{
    gpointer mode = g_hash_table_lookup(s->in_layers, layer->slot);

    return mode && ((mode == FROZEN && g_str_equal(layer->state, "active")) ||
                    (mode == WRITABLE && g_str_equal(layer->state, "frozen")));
}

/* Put one layer into the folder where it belongs, by what the catalog says now. */
static void settle(const Sweep *s, const LayerRow *seen)
{
    g_auto(LayerRow) layer = { 0 };
    gboolean in_layers, in_trash;
    json_t *keys = claim(s, seen->owner_kind, seen->owner_id);

    if (!keys)
        return;
    Db *db = catalog_read_begin(s->world->catalog);
    /* A data disk that was given to another desktop meanwhile is not the one we have hold of. */
    gboolean found = lookup_layer(db, seen->id, &layer, NULL) &&
                     g_str_equal(layer.owner_id, seen->owner_id);
    catalog_read_end(s->world->catalog, db);
    if (found) {
        gboolean wants_trash = g_str_equal(layer.place, "trash");
        const char *slot = layer.slot;
        find_file(s, slot, &in_layers, &in_trash);
        if (wants_trash ? in_layers && !in_trash : in_trash && !in_layers)
            s->store->ops->move(s->store, &slot, 1, wants_trash ? STORE_LAYERS : STORE_TRASH,
                                wants_trash ? STORE_TRASH : STORE_LAYERS, FALSE, NULL, NULL);
        if (!wants_trash && has_wrong_mode(s, &layer))
            s->store->ops->freeze(s->store, slot, g_str_equal(layer.state, "frozen"), NULL);
    }
    release(s, keys);
}

static void look_at(Sweep *s, const LayerRow *layer)
{
    gboolean in_layers = g_hash_table_contains(s->in_layers, layer->slot);
    gboolean in_trash = g_hash_table_contains(s->in_trash, layer->slot);
    gboolean wants_trash = g_str_equal(layer->place, "trash");

    if (layer->parent_id)
        g_hash_table_insert(s->parents, g_strdup(layer->id), g_strdup(layer->parent_id));
    if (!in_layers && !in_trash && !g_str_equal(layer->state, "reclaim")) {
        find_file(s, layer->slot, &in_layers, &in_trash); /* moved while we listed? */
        if (!in_layers && !in_trash)
            g_hash_table_add(s->missing, g_strdup(layer->id));
    } else if ((wants_trash ? in_layers && !in_trash : in_trash && !in_layers) ||
               has_wrong_mode(s, layer)) {
        settle(s, layer);
    }
}

static gboolean compare(Sweep *s, const char *store_id, GError **error)
{
    g_auto(LookupRows) layers = { 0 };
    Db *db = catalog_read_begin(s->world->catalog);
    gboolean ok = lookup_rows(db, ROW_LAYER, &layers, error,
                              "SELECT * FROM layer WHERE store_id = ?1", "t", store_id);

    catalog_read_end(s->world->catalog, db);
    for (guint i = 0; ok && i < layers.rows->len; i++)
        look_at(s, layers.rows->pdata[i]);
    return ok;
}

/* Is this layer, or one that it stands on, missing? */
static gboolean is_broken(const Sweep *s, const char *layer_id)
{
    for (guint depth = 0; layer_id && depth < 1000; depth++) {
        if (g_hash_table_contains(s->missing, layer_id))
            return TRUE;
        layer_id = g_hash_table_lookup(s->parents, layer_id);
    }
    return FALSE;
}

/* The same of a disk that may lie in another store, where its uppermost file is looked for. */
static gboolean is_disk_broken(const Sweep *s, const char *layer_id)
{
    g_auto(LayerRow) layer = { 0 };
    g_autoptr(GError) why = NULL;
    StoreStat stat;
    Db *db = catalog_read_begin(s->world->catalog);
    gboolean found = layer_id && lookup_layer(db, layer_id, &layer, NULL);

    catalog_read_end(s->world->catalog, db);
    if (!found || g_str_equal(layer.store_id, s->store->id))
        return is_broken(s, layer_id);
    g_autoptr(Store) other = store_set_peek(s->world->stores, layer.store_id);
    return other && !store_stat_layer(other, layer.slot, &stat, &why) &&
           g_error_matches(why, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND);
}

/* Thousands of desktops have one disk, here. */
static gboolean is_any_broken(const Sweep *s, const DesktopRow *row)
{
    return (g_str_equal(row->store_id, s->store->id) ? is_broken(s, row->layer_id)
                                                     : is_disk_broken(s, row->layer_id)) ||
           (row->data_layer_id && is_disk_broken(s, row->data_layer_id));
}

/* Record that a desktop has lost a disk, or has it again. */
static gboolean mark(const Sweep *s, const DesktopRow *seen, GError **error)
{
    g_auto(DesktopRow) row = { 0 };
    json_t *keys = claim(s, "desktop", seen->id);
    gboolean ok = TRUE;

    if (!keys)
        return TRUE;
    Db *db = catalog_read_begin(s->world->catalog);
    gboolean is_same = lookup_desktop_by_id(db, seen->id, &row, NULL) && !row.is_trashed &&
                       g_str_equal(row.layer_id, seen->layer_id) &&
                       g_strcmp0(row.data_layer_id, seen->data_layer_id) == 0;
    catalog_read_end(s->world->catalog, db);
    if (is_same) {
        gboolean is_missing = is_any_broken(s, &row);
        Changes *changes = changes_new();
        g_free(row.state);
        row.state = g_strdup(is_missing ? "missing" : "ok");
        row.changed_at = units_now_ms();
        changes_put(changes, ROW_DESKTOP, &row, row.store_id);
        changes_event(changes, is_missing ? "desktop.missing" : "desktop.found",
                      is_missing ? "alarm" : "info", row.name, NULL,
                      is_missing ? "a file of its disks is not in the store"
                                 : "the files of its disks are back");
        ok = catalog_commit(s->world->catalog, changes, error);
    }
    release(s, keys);
    return ok;
}

static gboolean mark_desktops(const Sweep *s, const char *store_id, GError **error)
{
    g_auto(LookupRows) desktops = { 0 };
    Db *db = catalog_read_begin(s->world->catalog);
    gboolean ok = lookup_rows(db, ROW_DESKTOP, &desktops, error,
                              "SELECT * FROM desktop WHERE is_trashed = 0 AND (store_id = ?1 OR"
                              " data_layer_id IN (SELECT id FROM layer WHERE store_id = ?1))",
                              "t", store_id);

    catalog_read_end(s->world->catalog, db);
    for (guint i = 0; ok && i < desktops.rows->len; i++) {
        const DesktopRow *row = desktops.rows->pdata[i];
        if (is_any_broken(s, row) != g_str_equal(row->state, "missing"))
            ok = mark(s, row, error);
    }
    return ok;
}

/* A move is written into two journals.  After a stop between them the desktop stands in its new
 * store, and its former disks are still called active: each goes to the trash, as an entry of its
 * own.  In all stores, because only the journal that is replayed last may tell that the desktop has
 * moved. */
static gboolean put_away_moved(World *world, GError **error)
{
    g_auto(LookupRows) layers = { 0 };
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok = lookup_rows(db, ROW_LAYER, &layers, error,
                              "SELECT l.* FROM layer l JOIN desktop d ON d.id = l.owner_id WHERE"
                              " l.state = 'active' AND CASE l.owner_kind WHEN 'data' THEN EXISTS"
                              " (SELECT 1 FROM layer n WHERE n.id = d.data_layer_id AND n.id <>"
                              " l.id AND n.store_id <> l.store_id AND n.created_at > l.created_at)"
                              " ELSE d.layer_id <> l.id AND d.store_id <> l.store_id AND"
                              " d.generation > l.generation END",
                              "");
    Changes *changes = changes_new();
    guint n = 0;

    for (guint i = 0; ok && i < layers.rows->len; i++) {
        LayerRow *layer = layers.rows->pdata[i];
        g_auto(DesktopRow) desktop = { 0 };
        g_autoptr(Store) store = store_set_get(world->stores, layer->store_id, NULL);
        Id id = id_derive("moved", layer->id, layer->store_id);
        StoreStat stat = { 0 };
        gint64 now = units_now_ms();
        guint64 known = (guint64)lookup_int(db, "SELECT seq FROM store WHERE id = ?1", "t",
                                            layer->store_id);
        if (!store || journal_last_seq(store->journal) != known)
            continue; /* when it is back, and its journal has been replayed */
        if (!(ok = lookup_desktop_by_id(db, layer->owner_id, &desktop, error)))
            break;
        n++;
        store_stat_layer(store, layer->slot, &stat, NULL);
        LayerRow changed = *layer;
        changed.state = "trashed";
        changed.place = "trash";
        TrashRow trash = { .id = id.s, .kind = layer_row_is_data(layer) ? "data" : "disk",
                           .reason = "moved", .name = desktop.name,
                           .desktop_id = desktop.id, .version_id = desktop.version_id,
                           .layer_id = layer->id, .store_id = layer->store_id,
                           .generation = desktop.generation - 1,
                           .disk_bytes = (gint64)stat.disk_bytes, .trashed_at = now,
                           .expires_at = now + world->settings.trash_keep_ms };
        changes_put(changes, ROW_LAYER, &changed, layer->store_id);
        changes_put(changes, ROW_TRASH, &trash, layer->store_id);
    }
    catalog_read_end(world->catalog, db);
    if (ok && n)
        return catalog_commit(world->catalog, changes, error);
    changes_free(changes);
    return ok;
}

gboolean trash_sweep(World *world, const char *store_id, GError **error)
{
    g_autoptr(Store) store = store_set_get(world->stores, store_id, error);
    Sweep s = { .world = world,
                .store = store,
                .in_layers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL),
                .in_trash = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL),
                .parents = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free),
                .missing = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL) };
    gboolean ok = store && put_away_moved(world, error) && merge_settle(world, store, error) &&
                  store->ops->list(store, STORE_LAYERS, add_name, s.in_layers, error) &&
                  store->ops->list(store, STORE_TRASH, add_name, s.in_trash, error) &&
                  compare(&s, store_id, error) && mark_desktops(&s, store_id, error);

    g_hash_table_unref(s.in_layers);
    g_hash_table_unref(s.in_trash);
    g_hash_table_unref(s.parents);
    g_hash_table_unref(s.missing);
    return ok;
}
