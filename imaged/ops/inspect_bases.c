/* inspect_bases.c: see inspect_bases.h. */
#include "imaged/ops/inspect_bases.h"

#include "imaged/base/error.h"
#include "snapshot/chain.h"
#include "templates/inspection.h"
#include "templates/inspection_same.h"

typedef struct {
    char *same_as; /* the layer whose inspection it is; NULL: there is none */
    GPtrArray *layers;
    LookupRows rows;
    InspectionBase *base; /* NULL: cannot be compared with */
} Entry;

struct InspectBases {
    World *world;
    const gint *cancel;
    GHashTable *entries; /* id of the template's layer -> Entry */
};

static void free_entry(gpointer data)
{
    Entry *e = data;

    g_clear_pointer(&e->base, inspection_base_free);
    if (e->layers)
        g_ptr_array_unref(e->layers);
    lookup_rows_clear(&e->rows);
    g_free(e->same_as);
    g_free(e);
}

InspectBases *inspect_bases_new(World *world, const gint *cancel)
{
    InspectBases *b = g_new0(InspectBases, 1);

    b->world = world;
    b->cancel = cancel;
    b->entries = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, free_entry);
    return b;
}

void inspect_bases_free(InspectBases *b)
{
    if (!b)
        return;
    g_hash_table_unref(b->entries);
    g_free(b);
}

/* Look into the version now, by the appliance if need be: that is once, for all its desktops. */
static gboolean inspect_version(InspectBases *b, const char *version_id)
{
    g_auto(InspectDisk) disk = { 0 };
    g_autoptr(GError) why = NULL;

    if (!inspect_disk_open(b->world, "version", version_id, &disk, NULL))
        return FALSE;
    return inspect_disk_put(&disk, FALSE, b->cancel, &why) ||
           (g_error_matches(why, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED) &&
            inspect_disk_put(&disk, TRUE, b->cancel, NULL));
}

/* The version's inspection, made now if there is none.  *ret_layer: the layer that has it (copies
 * in other stores hold the same). */
static gboolean find_inspection(InspectBases *b, const char *version_id, char **ret_layer,
                                char **ret_ranges)
{
    static const char sql[] = "SELECT i.layer_id, i.ranges FROM version v JOIN inspection i ON"
                              " i.layer_id = v.layer_id WHERE v.id = ?1 AND i.error_code IS NULL";

    for (guint tries = 0; tries < 2 && !*ret_layer; tries++) {
        if (tries && !inspect_version(b, version_id))
            return FALSE;
        Db *db = catalog_read_begin(b->world->catalog);
        Query *q = db_query(db, sql, "t", version_id);
        if (query_next(q)) {
            *ret_layer = g_strdup(query_text(q, "layer_id"));
            *ret_ranges = g_strdup(query_text(q, "ranges"));
        }
        query_end(q, NULL);
        catalog_read_end(b->world->catalog, db);
    }
    return *ret_layer != NULL;
}

/* For the layer of a template that a desktop's own layers stand on. */
static Entry *get_entry(InspectBases *b, const LayerRow *row)
{
    Entry *e = g_hash_table_lookup(b->entries, row->id);
    g_autofree char *ranges = NULL;

    if (e)
        return e;
    e = g_new0(Entry, 1);
    g_hash_table_insert(b->entries, g_strdup(row->id), e);
    if (!find_inspection(b, row->owner_id, &e->same_as, &ranges))
        return e;
    Db *db = catalog_read_begin(b->world->catalog);
    gboolean ok = chain_rows(db, row->id, &e->rows, NULL);
    catalog_read_end(b->world->catalog, db);
    if (ok && (e->layers = chain_open(b->world, &e->rows, NULL)))
        e->base =
            inspection_base_new((Layer *const *)e->layers->pdata, e->layers->len, ranges, NULL);
    return e;
}

static void free_layer(gpointer layer)
{
    layer_free(layer);
}

/* The desktop's own layers, open; *ret_stat of the topmost. */
static GPtrArray *open_own(World *world, const LookupRows *rows, guint n_own, StoreStat *ret_stat,
                           GError **error)
{
    g_autoptr(GPtrArray) layers = g_ptr_array_new_with_free_func(free_layer);
    const LayerRow *top = rows->rows->pdata[rows->rows->len - 1];
    g_autoptr(Store) store = store_set_get(world->stores, top->store_id, error);

    if (!store || !store_stat_layer(store, top->slot, ret_stat, error))
        return NULL;
    for (guint i = rows->rows->len - n_own; i < rows->rows->len; i++) {
        const LayerRow *row = rows->rows->pdata[i];
        gboolean is_live = FALSE;
        Layer *layer = store_open_layer(store, row->slot, &is_live, error);
        if (!layer)
            return NULL;
        g_ptr_array_add(layers, layer);
        if (is_live) {
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY, "the disk is in use by QEMU");
            imaged_error_hint(error, "shut the desktop down first");
            return NULL;
        }
        if (!chain_check_layer(layer, row, error))
            return NULL;
    }
    return g_steal_pointer(&layers);
}

/* Nothing was written while we looked. */
static gboolean is_still(World *world, const LayerRow *top, const StoreStat *before)
{
    g_autoptr(Store) store = store_set_peek(world->stores, top->store_id);
    StoreStat now;

    return store && store_stat_layer(store, top->slot, &now, NULL) &&
           inspection_is_same_file(before, &now);
}

gboolean inspect_bases_put_same(InspectBases *b, const char *desktop_id, Changes *changes,
                                GError **error)
{
    g_auto(DesktopRow) desktop = { 0 };
    g_auto(LookupRows) rows = { 0 };
    StoreStat stat;
    gboolean is_same = FALSE;
    Db *db = catalog_read_begin(b->world->catalog);
    gboolean ok = lookup_desktop_by_id(db, desktop_id, &desktop, error) &&
                  chain_rows(db, desktop.layer_id, &rows, error);

    catalog_read_end(b->world->catalog, db);
    guint n_own = ok ? chain_n_own(&rows) : 0;
    if (!ok || n_own == 0 || n_own == rows.rows->len)
        return FALSE;
    const LayerRow *top = rows.rows->pdata[rows.rows->len - 1];
    Entry *e = get_entry(b, rows.rows->pdata[rows.rows->len - n_own - 1]);
    g_autoptr(GPtrArray) own = e->base ? open_own(b->world, &rows, n_own, &stat, error) : NULL;
    if (!own ||
        !inspection_base_compare(e->base, (Layer *const *)own->pdata, own->len, b->cancel, &is_same,
                                 NULL) ||
        !is_same || !is_still(b->world, top, &stat))
        return FALSE;
    InspectionOf of = { top->id, stat, "template" };
    inspection_put_same(changes, &of, e->same_as);
    return TRUE;
}
