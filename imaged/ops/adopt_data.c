/* adopt_data.c: data disks that are known by their headers alone.
 *
 * The youngest writable data layer of a desktop is its data disk.  A frozen one is a state of it:
 * of the snapshot whose disk got its overlay in the same moment, since both were made by one batch.
 * What nothing stands on and no snapshot has is a trash entry.  A data layer whose desktop is not
 * known is nobody's, and the check moves it to quarantine. */
#include "imaged/ops/adopt_rows.h"

#include "imaged/base/units.h"
#include "imaged/catalog/lookup.h"

typedef struct {
    World *world;
    Store *store;
    GPtrArray *list;     /* of Found, the newest first */
    GHashTable *moments; /* "DESKTOP at TIME" -> Found: layers of disks by their making */
} AdoptData;

static gboolean is_data(const Found *f)
{
    return g_str_equal(f->identity.owner_kind, "data");
}

static char *moment_of(const Found *f)
{
    return g_strdup_printf("%s at %" G_GINT64_FORMAT, f->identity.owner_id, f->identity.created_at);
}

/* Is f the desktop's data disk?  The list has the most likely one first. */
static gboolean is_disk(const Found *f, const DesktopRow *desktop)
{
    return !desktop->data_layer_id && f->is_writable && f->in_trash <= desktop->is_trashed;
}

static gboolean adopt_one(AdoptData *a, Found *f, GError **error)
{
    g_auto(DesktopRow) desktop = { 0 };
    g_auto(LayerRow) below = { 0 };
    Db *db = catalog_read_begin(a->world->catalog);
    gboolean is_ours =
        lookup_desktop_by_id(db, f->identity.owner_id, &desktop, NULL) &&
        (!f->backing_slot || lookup_slot(db, a->store->id, f->backing_slot, &below, NULL));

    catalog_read_end(a->world->catalog, db);
    if (!is_ours)
        return TRUE;
    gboolean is_active = is_disk(f, &desktop), is_frozen = !f->in_trash && !f->is_writable;
    Changes *changes = changes_new();
    f->is_known = TRUE;
    adopt_put_layer(a->world, a->store, changes, f, &below,
                    is_active && !desktop.is_trashed ? "active"
                    : is_frozen                      ? "frozen"
                                                     : "trashed");
    if (is_active) {
        desktop.data_layer_id = g_strdup(f->identity.id);
        desktop.changed_at = units_now_ms();
        changes_put(changes, ROW_DESKTOP, &desktop, desktop.store_id);
    } else if (!is_frozen) {
        adopt_put_trash(a->world, a->store, changes, f, desktop.version_id, "data");
    }
    return catalog_commit(a->world->catalog, changes, error);
}

/* Those that stand on something known, until nothing more is found. */
static gboolean adopt_all(AdoptData *a, GError **error)
{
    gboolean ok = TRUE;

    for (gboolean any = TRUE; ok && any;) {
        any = FALSE;
        for (guint i = 0; ok && i < a->list->len; i++) {
            Found *f = a->list->pdata[i];
            if (f->is_known || !is_data(f))
                continue;
            ok = adopt_one(a, f, error);
            any |= f->is_known;
        }
    }
    return ok;
}

/* The snapshot that the layer below f was frozen for, by the disk's overlay of that moment. */
static gboolean pair(AdoptData *a, const Found *f, GError **error)
{
    g_autofree char *moment = moment_of(f);
    const Found *disk = g_hash_table_lookup(a->moments, moment);
    g_auto(LookupRows) rows = { 0 };
    g_auto(LayerRow) layer = { 0 };

    if (!disk || !disk->identity.parent || !f->identity.parent)
        return TRUE;
    Db *db = catalog_read_begin(a->world->catalog);
    gboolean ok =
        lookup_rows(db, ROW_SNAPSHOT, &rows, error,
                    "SELECT s.* FROM snapshot s JOIN layer l ON l.id = ?3 WHERE"
                    " s.layer_id = ?1 AND s.desktop_id = ?2 AND s.data_layer_id IS NULL"
                    " AND l.owner_kind = 'data' AND l.state = 'frozen'",
                    "ttt", disk->identity.parent, f->identity.owner_id, f->identity.parent);
    catalog_read_end(a->world->catalog, db);
    if (!ok || rows.rows->len == 0)
        return ok;
    SnapshotRow *row = rows.rows->pdata[0];
    Changes *changes = changes_new();
    row->data_layer_id = g_strdup(f->identity.parent);
    row->changed_at = units_now_ms();
    changes_put(changes, ROW_SNAPSHOT, row, row->store_id);
    return catalog_commit(a->world->catalog, changes, error);
}

/* A frozen layer that nothing needs: somebody may. */
static gboolean put_away(AdoptData *a, Found *f, GError **error)
{
    g_auto(DesktopRow) desktop = { 0 };
    g_auto(LayerRow) layer = { 0 };
    Db *db = catalog_read_begin(a->world->catalog);
    gboolean is_left =
        lookup_layer(db, f->identity.id, &layer, NULL) && g_str_equal(layer.state, "frozen") &&
        lookup_desktop_by_id(db, layer.owner_id, &desktop, NULL) &&
        !lookup_int(db,
                    "SELECT EXISTS (SELECT 1 FROM layer WHERE parent_id = ?1) OR EXISTS (SELECT 1"
                    " FROM snapshot WHERE data_layer_id = ?1)",
                    "t", layer.id);

    catalog_read_end(a->world->catalog, db);
    if (!is_left)
        return TRUE;
    Changes *changes = changes_new();
    g_free(layer.state);
    layer.state = g_strdup("trashed");
    g_free(layer.place);
    layer.place = g_strdup("trash");
    changes_put(changes, ROW_LAYER, &layer, layer.store_id);
    adopt_put_trash(a->world, a->store, changes, f, desktop.version_id, "data");
    return catalog_commit(a->world->catalog, changes, error);
}

gboolean adopt_data_layers(World *world, Store *store, GPtrArray *list, GError **error)
{
    g_autoptr(GHashTable) moments = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    AdoptData a = { world, store, list, moments };

    for (guint i = 0; i < list->len; i++) {
        Found *f = list->pdata[i];
        if (g_str_equal(f->identity.owner_kind, "desktop"))
            g_hash_table_insert(moments, moment_of(f), f);
    }
    gboolean ok = adopt_all(&a, error);
    for (guint i = 0; ok && i < list->len; i++) {
        const Found *f = list->pdata[i];
        if (is_data(f) && f->is_known)
            ok = pair(&a, f, error);
    }
    for (guint i = 0; ok && i < list->len; i++) {
        Found *f = list->pdata[i];
        if (is_data(f) && f->is_known)
            ok = put_away(&a, f, error);
    }
    return ok;
}
