/* chain.c: see chain.h. */
#include "snapshot/chain.h"

#include "cow/identity.h"
#include "imaged/base/error.h"

static void free_layer(gpointer layer)
{
    layer_free(layer);
}

gboolean chain_rows(Db *db, const char *layer_id, LookupRows *ret, GError **error)
{
    g_autofree char *next = g_strdup(layer_id);

    *ret = (LookupRows){ ROW_LAYER, g_ptr_array_new() };
    while (next) {
        LayerRow *row = g_new0(LayerRow, 1);
        if (!lookup_layer(db, next, row, error)) {
            g_free(row);
            return FALSE;
        }
        g_ptr_array_insert(ret->rows, 0, row);
        if (ret->rows->len > CHAIN_MAX) {
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT,
                        "the chain of layer %s has no end", layer_id);
            return FALSE;
        }
        g_free(next);
        next = g_strdup(row->parent_id);
    }
    return TRUE;
}

gboolean chain_check_layer(const Layer *layer, const LayerRow *row, GError **error)
{
    const char *text = layer_header(layer)->identity;
    g_auto(Identity) identity = { 0 };

    if (!text || !identity_parse(text, &identity, NULL) || g_str_equal(identity.id, row->id))
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY,
                "the file of layer %s is just being exchanged: it holds %s", row->id, identity.id);
    imaged_error_hint(error, "try again; if that lasts, see: imagectl store check");
    return FALSE;
}

GPtrArray *chain_open(World *world, const LookupRows *rows, GError **error)
{
    g_autoptr(GPtrArray) layers = g_ptr_array_new_with_free_func(free_layer);
    const LayerRow *first = rows->rows->len ? rows->rows->pdata[0] : NULL;
    g_autoptr(Store) store = first ? store_set_get(world->stores, first->store_id, error) : NULL;

    if (first && !store)
        return NULL;
    for (guint i = 0; i < rows->rows->len; i++) {
        const LayerRow *row = rows->rows->pdata[i];
        Layer *layer = store_open_layer(store, row->slot, NULL, error);
        if (!layer)
            return NULL;
        g_ptr_array_add(layers, layer);
        if (!chain_check_layer(layer, row, error))
            return NULL;
    }
    return g_steal_pointer(&layers);
}

/* Layers at the end of the chain that desktops own (or stand-ins besides). */
static guint count_owned(const LookupRows *rows, gboolean with_stand_ins)
{
    guint n = 0;

    while (n < rows->rows->len) {
        const LayerRow *row = rows->rows->pdata[rows->rows->len - 1 - n];
        if (!layer_row_is_own(row) &&
            !(with_stand_ins && g_str_equal(row->owner_kind, LAYER_STAND_IN)))
            break;
        n++;
    }
    return n;
}

guint chain_n_own(const LookupRows *rows)
{
    return count_owned(rows, FALSE);
}

guint chain_n_above_version(const LookupRows *rows)
{
    return count_owned(rows, TRUE);
}

gint64 chain_own_bytes(World *world, Db *db, const char *layer_id)
{
    g_auto(LookupRows) rows = { 0 };
    gint64 sum = 0;

    if (!chain_rows(db, layer_id, &rows, NULL))
        return 0;
    for (guint i = rows.rows->len - chain_n_own(&rows); i < rows.rows->len; i++) {
        const LayerRow *row = rows.rows->pdata[i];
        g_autoptr(Store) store = store_set_peek(world->stores, row->store_id);
        StoreStat stat;
        if (store && store_stat_layer(store, row->slot, &stat, NULL))
            sum += (gint64)stat.disk_bytes;
    }
    return sum;
}

void chain_claim_making(Db *db, json_t *keys, const char *store_id, const char *data_layer_id)
{
    g_auto(LayerRow) data = { 0 };

    claims_add(keys, 's', "making", store_id);
    if (data_layer_id && lookup_layer(db, data_layer_id, &data, NULL) &&
        !g_str_equal(data.store_id, store_id))
        claims_add(keys, 's', "making", data.store_id);
}
