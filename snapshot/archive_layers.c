/* archive_layers.c: what a target has is asked of the index, and then of the target.  Of two jobs
 * that need the same layer one stores it: a claim on the layer in that target makes the other wait,
 * which then finds it. */
#include "snapshot/archive_layers.h"

#include "imaged/base/error.h"
#include "snapshot/archive.h"
#include "snapshot/chain.h"

#define PACKING_WAIT_MS G_MAXINT32

/* ---- Reckoning ---- */

/* Add a chain's layers that the target lacks, each once. */
static void reckon_chain(ArchiveWork *w, Db *db, const char *layer_id, GHashTable *seen,
                         guint64 *sum)
{
    g_auto(LookupRows) chain = { 0 };

    if (!chain_rows(db, layer_id, &chain, NULL))
        return;
    for (guint k = 0; k < chain.rows->len; k++) {
        const LayerRow *row = chain.rows->pdata[k];
        StoreStat stat;
        g_autoptr(Store) store = store_set_peek(w->world->stores, row->store_id);
        if (g_hash_table_add(seen, g_strdup(row->id)) && store &&
            !lookup_int(db,
                        "SELECT EXISTS (SELECT 1 FROM archive_object WHERE target_id = ?1"
                        " AND layer_id = ?2)",
                        "tt", w->target->id, row->id) &&
            store_stat_layer(store, row->slot, &stat, NULL))
            *sum += stat.disk_bytes;
    }
}

guint64 archive_layers_reckon(ArchiveWork *w, gsize from)
{
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    json_t *items = json_object_get(job_plan(w->job), "items");
    guint64 sum = 0;
    Db *db = catalog_read_begin(w->world->catalog);

    for (gsize i = from; i < json_array_size(items); i++) {
        g_autoptr(GPtrArray) tops = g_ptr_array_new_with_free_func(g_free);
        Query *q =
            db_query(db,
                     "SELECT layer_id FROM desktop WHERE id = ?1 UNION ALL SELECT"
                     " data_layer_id FROM desktop WHERE id = ?1 UNION ALL SELECT layer_id"
                     " FROM version WHERE id = ?1",
                     "t", json_string_value(json_object_get(json_array_get(items, i), "of")));
        while (query_next(q)) {
            if (query_text(q, "layer_id"))
                g_ptr_array_add(tops, g_strdup(query_text(q, "layer_id")));
        }
        query_end(q, NULL);
        for (guint k = 0; k < tops->len; k++)
            reckon_chain(w, db, tops->pdata[k], seen, &sum);
    }
    catalog_read_end(w->world->catalog, db);
    return sum;
}

/* ---- Storing ---- */

static void show_progress(guint64 done, guint64 total, gpointer data)
{
    ArchiveWork *w = data;
    gdouble share = total ? (gdouble)done / (gdouble)total : 0;
    guint64 part = (guint64)((gdouble)w->layer_bytes * share);

    job_progress(w->job, MIN(w->done + part, w->total), w->total);
}

/* The object that the target has for this layer, if the index knows one and it is there. */
static gboolean find_object(ArchiveWork *w, const char *layer_id, char ret_name[80],
                            guint64 *ret_bytes, gboolean *ret_found, GError **error)
{
    Db *db = catalog_read_begin(w->world->catalog);
    Query *q = db_query(db,
                        "SELECT object, bytes FROM archive_object WHERE target_id = ?1 AND"
                        " layer_id = ?2",
                        "tt", w->target->id, layer_id);

    *ret_found = query_next(q);
    if (*ret_found) {
        g_strlcpy(ret_name, query_text(q, "object"), 80);
        *ret_bytes = (guint64)query_int(q, "bytes");
    }
    gboolean ok = query_end(q, error);
    catalog_read_end(w->world->catalog, db);
    return !ok || !*ret_found ? ok
                              : w->target->ops->has_object(w->target, ret_name, ret_found, error);
}

static gboolean put_layer(ArchiveWork *w, const LayerRow *row, GPtrArray *layers, guint i,
                          const char *parent, ArchiveObject *ret, GError **error)
{
    StoreStat stat = { 0 };
    g_autoptr(Store) store = store_set_peek(w->world->stores, row->store_id);
    ArchivePut put = { .layer_id = row->id,
                       .layer = layers->pdata[i],
                       .below = (Layer *const *)layers->pdata,
                       .n_below = i,
                       .parent = parent,
                       .cancel = job_cancel_flag(w->job),
                       .progress = show_progress,
                       .data = w };

    if (store)
        store_stat_layer(store, row->slot, &stat, NULL);
    w->layer_bytes = stat.disk_bytes;
    w->total = MAX(w->total, w->done + w->layer_bytes);
    if (!w->target->ops->put_layer(w->target, &put, ret, error))
        return FALSE;
    w->done += w->layer_bytes;
    Changes *changes = changes_new();
    changes_sql(changes,
                "INSERT OR REPLACE INTO archive_object (target_id, layer_id, object, bytes)"
                " VALUES (?1, ?2, ?3, ?4)",
                "ttti", w->target->id, row->id, ret->name, (gint64)ret->bytes);
    return catalog_commit(w->world->catalog, changes, error);
}

/* See that the target has layer i of the rows; no other job stores the same one meanwhile. */
static gboolean store_layer(ArchiveWork *w, const ArchiveChain *chain, guint i, ArchivePoint *point,
                            GError **error)
{
    const LayerRow *row = chain->rows->rows->pdata[i];
    const GArray *done = chain->is_data ? point->data_layers : point->layers;
    const char *parent = i ? g_array_index(done, ArchiveLayer, i - 1).object : NULL;
    g_autofree char *both = g_strdup_printf("%s-%s", w->target->id, row->id);
    json_t *keys = json_array();
    ArchiveObject object = { "", 0 };
    gboolean is_there = FALSE, is_new = FALSE;

    claims_add(keys, 'x', "archive-layer", both);
    gboolean ok = world_wait_claims(w->world, w->job, keys, PACKING_WAIT_MS, error);
    if (ok) {
        ok = find_object(w, row->id, object.name, &object.bytes, &is_there, error);
        is_new = ok && !is_there;
        if (is_new)
            ok = put_layer(w, row, chain->layers, i, parent, &object, error);
        claims_release(w->world->claims, keys);
    }
    json_decref(keys);
    if (!ok)
        return FALSE;
    if (chain->is_data)
        archive_point_add_data_layer(point, object.name, row->id, object.bytes);
    else
        archive_point_add_layer(point, object.name, row->id, object.bytes, i < chain->n_template);
    point->new_bytes += is_new ? object.bytes : 0;
    return TRUE;
}

gboolean archive_layers_store(ArchiveWork *w, const ArchiveChain *chain, ArchivePoint *point,
                              GError **error)
{
    gboolean ok = TRUE;

    for (guint i = 0; ok && i < chain->layers->len; i++)
        ok = job_check(w->job, error) && store_layer(w, chain, i, point, error);
    return ok;
}
