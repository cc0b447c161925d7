/* stand_in_unused.c: stand-ins on which nothing stands any more, and copies of stand-ins in other
 * stores (stand_in.h). */
#include "snapshot/stand_in.h"

#include "cow/identity.h"
#include "cow/layer_copy.h"
#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"

#define UNUSED                                                                                     \
    "SELECT * FROM layer l WHERE l.owner_kind = 'stand-in' AND l.state = 'frozen' AND NOT EXISTS"  \
    " (SELECT 1 FROM layer c WHERE c.parent_id = l.id)"

/* Its facts, under the claim that keeps jobs from putting something on it. */
static gboolean drop(World *world, Store *store, const LayerRow *layer, const LayerRow *below)
{
    g_autofree char *name = NULL;
    Id trash_id = id_derive("unused", layer->id, "");
    gint64 now = units_now_ms();
    const char *slot = layer->slot;
    StoreStat stat = { 0 };
    Db *db = catalog_read_begin(world->catalog);

    name = lookup_version_name(db, below->owner_id);
    catalog_read_end(world->catalog, db);
    store_stat_layer(store, slot, &stat, NULL);
    LayerRow changed = *layer;
    changed.state = "trashed";
    changed.place = "trash";
    TrashRow trash = { .id = trash_id.s,
                       .kind = "stand_in",
                       .reason = "unused",
                       .name = name,
                       .version_id = below->owner_id,
                       .layer_id = layer->id,
                       .store_id = layer->store_id,
                       .generation = layer->generation,
                       .disk_bytes = (gint64)stat.disk_bytes,
                       .trashed_at = now,
                       .expires_at = now + world->settings.merged_keep_ms };
    Changes *changes = changes_new();
    changes_put(changes, ROW_LAYER, &changed, layer->store_id);
    changes_put(changes, ROW_TRASH, &trash, layer->store_id);
    changes_event(changes, "template.stand-in-unused", "info", name, NULL,
                  "nothing stands on its stand-in base any more: it is in the trash");
    return catalog_commit(world->catalog, changes, NULL) &&
           store->ops->move(store, &slot, 1, STORE_LAYERS, STORE_TRASH, FALSE, NULL, NULL);
}

/* Still so, now that nobody can change it? */
static gboolean is_still_unused(World *world, const char *layer_id, LayerRow *below)
{
    g_auto(LookupRows) rows = { 0 };
    gboolean is = FALSE;
    Db *db = catalog_read_begin(world->catalog);

    if (lookup_rows(db, ROW_LAYER, &rows, NULL, UNUSED " AND l.id = ?1", "t", layer_id) &&
        rows.rows->len == 1) {
        const LayerRow *row = rows.rows->pdata[0];
        is = row->parent_id && lookup_layer(db, row->parent_id, below, NULL);
    }
    catalog_read_end(world->catalog, db);
    return is;
}

static void try_one(World *world, const LayerRow *layer)
{
    g_auto(LayerRow) below = { 0 }, again = { 0 };
    g_autoptr(Store) store = store_set_get(world->stores, layer->store_id, NULL);

    if (!store || !is_still_unused(world, layer->id, &below))
        return;
    json_t *keys = json_array();
    claims_add(keys, 'x', "version", below.owner_id); /* jobs that put something on it share that */
    claims_add(keys, 'x', LAYER_STAND_IN, layer->owner_id);
    if (claims_take(world->claims, keys, "stand-in.unused", NULL)) {
        if (is_still_unused(world, layer->id, &again))
            drop(world, store, layer, &again);
        claims_release(world->claims, keys);
    }
    json_decref(keys);
}

void stand_in_drop_unused(World *world)
{
    g_auto(LookupRows) rows = { 0 };
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok = lookup_rows(db, ROW_LAYER, &rows, NULL, UNUSED, "");

    catalog_read_end(world->catalog, db);
    for (guint i = 0; ok && i < rows.rows->len; i++)
        try_one(world, rows.rows->pdata[i]);
}

/* ---- Copies ---- */

#define COPY_WAIT_MS ((gint64)2 * 3600 * 1000) /* for the other move's copy, of as much as a disk */

static gboolean write_copy(Job *job, const LayerRow *from, Store *there, const LayerRow *base,
                           Store *to, const Id *id, char checksum[33], GError **error)
{
    g_autoptr(Layer) layer = store_open_layer(there, from->slot, NULL, error);
    g_auto(Identity) was = { 0 };
    g_autofree char *backing = g_strdup_printf("../layers/%s", base->slot);
    const char *slot = id->s;

    if (!layer || !layer_header(layer)->identity ||
        !identity_parse(layer_header(layer)->identity, &was, error))
        return FALSE;
    Identity identity = { .id = (char *)slot,
                          .parent = base->id,
                          .owner_kind = LAYER_STAND_IN,
                          .owner_id = (char *)slot,
                          .owner_name = was.owner_name,
                          .generation = from->generation,
                          .created_at = units_now_ms() };
    g_autofree char *text = identity_to_json(&identity);
    auto_fd fd = to->ops->create_tmp(to, slot, error);
    LayerCopy work = { .from = layer_fd(layer),
                       .to = fd,
                       .identity = text,
                       .backing_name = backing,
                       .checksum = from->checksum,
                       .cancel = job_cancel_flag(job) };
    if (fd < 0)
        return FALSE;
    if (layer_copy(&work, checksum, error) && to->ops->publish_tmp(to, slot, TRUE, error))
        return TRUE;
    to->ops->discard(to, STORE_TMP, &slot, 1, NULL);
    return FALSE;
}

static gboolean commit_copy(World *world, const LayerRow *from, const LayerRow *base, Store *to,
                            const Id *id, char *checksum, LayerRow *ret, GError **error)
{
    LayerRow row = *from;
    Changes *changes = changes_new();

    row.id = row.slot = row.owner_id = (char *)id->s;
    row.store_id = base->store_id;
    row.parent_id = base->id;
    row.checksum = *checksum ? checksum : NULL;
    row.created_at = units_now_ms();
    changes_put(changes, ROW_LAYER, &row, row.store_id);
    if (!catalog_commit(world->catalog, changes, error)) {
        const char *slot = id->s;
        to->ops->discard(to, STORE_LAYERS, &slot, 1, NULL);
        return FALSE;
    }
    LayerRow *copy = row_copy(ROW_LAYER, &row);
    *ret = *copy;
    g_free(copy);
    return TRUE;
}

/* The copy that is there and of use. */
static gboolean find_copy(World *world, const Id *id, LayerRow *ret, gboolean *ret_is_taken)
{
    Db *db = catalog_read_begin(world->catalog);
    gboolean found = lookup_layer(db, id->s, ret, NULL);

    catalog_read_end(world->catalog, db);
    *ret_is_taken = found && !g_str_equal(ret->state, "frozen");
    if (*ret_is_taken) {
        layer_row_clear(ret);
        *ret = (LayerRow){ 0 };
    }
    return found && !*ret_is_taken;
}

/* Under the claim: what a stop left in its slot is nobody's. */
static gboolean copy_new(Job *job, World *world, const LayerRow *from, const LayerRow *base,
                         const Id *id, LayerRow *ret, GError **error)
{
    g_autoptr(Store) there = store_set_get(world->stores, from->store_id, error);
    g_autoptr(Store) to = there ? store_set_get(world->stores, base->store_id, error) : NULL;
    const char *slot = id->s;
    char checksum[33] = "";
    StoreStat stat;

    if (!to || !store_stat_layer(there, from->slot, &stat, error) ||
        !world_check_space(world, to, stat.disk_bytes, error))
        return FALSE;
    to->ops->discard(to, STORE_LAYERS, &slot, 1, NULL);
    return write_copy(job, from, there, base, to, id, checksum, error) &&
           commit_copy(world, from, base, to, id, checksum, ret, error);
}

gboolean stand_in_copy(Job *job, World *world, const LayerRow *from, const LayerRow *base,
                       LayerRow *ret, GError **error)
{
    Id id = id_derive("stand-in", from->id, base->id);
    gboolean is_taken;

    if (find_copy(world, &id, ret, &is_taken))
        return TRUE;
    if (is_taken) /* in the trash by now: another one */
        id = id_derive(id.s, job_id(job), "");
    if (is_taken && find_copy(world, &id, ret, &is_taken))
        return TRUE;
    json_auto_t *keys = json_array();
    claims_add(keys, 'x', LAYER_STAND_IN, id.s); /* two moves may want it at once */
    claims_add(keys, 's', "making", base->store_id);
    if (!world_wait_claims(world, job, keys, COPY_WAIT_MS, error))
        return FALSE;
    gboolean ok = find_copy(world, &id, ret, &is_taken) ||
                  (!is_taken && copy_new(job, world, from, base, &id, ret, error));
    if (!ok && is_taken) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY,
                    "the copy of its stand-in base has just gone to the trash");
        imaged_error_hint(error, "ask for it again");
    }
    claims_release(world->claims, keys);
    return ok;
}
