/* stand_in_view.c: see stand_in_view.h. */
#include "imaged/ops/stand_in_view.h"

#include "imaged/ops/view.h"

const char *stand_in_of_chain(const LookupRows *chain)
{
    for (guint i = 0; i < chain->rows->len; i++) {
        const LayerRow *row = chain->rows->pdata[i];
        if (g_str_equal(row->owner_kind, LAYER_STAND_IN))
            return row->id;
    }
    return NULL;
}

/* Desktops with this layer in their chains. */
static gint64 count_desktops(Db *db, const char *layer_id)
{
    return lookup_int(db,
                      "WITH RECURSIVE above(id) AS (SELECT ?1 UNION SELECT c.id FROM layer c JOIN"
                      " above a ON c.parent_id = a.id) SELECT count(*) FROM desktop d JOIN above a"
                      " ON d.layer_id = a.id WHERE d.is_trashed = 0",
                      "t", layer_id);
}

/* What is read of the catalog about one; ret_row is for a look at the storage. */
static void add_counts(Db *db, json_t *object, LayerRow *ret_row)
{
    const char *id = json_string_value(json_object_get(object, "id"));

    lookup_layer(db, id, ret_row, NULL);
    json_object_set_new(object, "n_desktops", json_integer(count_desktops(db, id)));
}

static void add_bytes(World *world, json_t *object, const LayerRow *row)
{
    g_autoptr(Store) store = row->id ? store_set_peek(world->stores, row->store_id) : NULL;
    StoreStat stat = { 0 };

    if (store)
        store_stat_layer(store, row->slot, &stat, NULL);
    json_object_set_new(object, "disk_bytes", json_integer((json_int_t)stat.disk_bytes));
}

json_t *stand_in_list(World *world, const char *version_id)
{
    Db *db = catalog_read_begin(world->catalog);
    json_t *out = view_array(db_query(db,
                                      "SELECT c.id, t.name || ':' || v.version || ' (stand-in)' AS"
                                      " name, s.name AS store, c.created_at AS created_at__time"
                                      " FROM version v JOIN template t ON t.id = v.template_id JOIN"
                                      " layer p ON p.owner_id = v.id JOIN layer c ON"
                                      " c.parent_id = p.id LEFT JOIN store s ON s.id = c.store_id"
                                      " WHERE v.id = ?1 AND c.owner_kind = 'stand-in' AND"
                                      " c.state = 'frozen' ORDER BY c.id",
                                      "t", version_id),
                             NULL, G_MAXINT64, NULL);
    g_autofree LayerRow *rows = g_new0(LayerRow, json_array_size(out) + 1);
    size_t i;
    json_t *object;

    json_array_foreach (out, i, object)
        add_counts(db, object, &rows[i]);
    catalog_read_end(world->catalog, db);
    json_array_foreach (out, i, object) {
        add_bytes(world, object, &rows[i]);
        layer_row_clear(&rows[i]);
    }
    return out ? out : json_array();
}
