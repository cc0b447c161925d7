/* reimage.c: see reimage.h.
 *
 *   QEMU's lock on the old layer -> new overlays, durable -> facts -> old file to trash/
 *
 * The new overlay stands on a template version (reset) or on a snapshot's layer (revert).  The lock
 * is held until the end, so QEMU can't open a disk in the moment of its replacement. */
#include "snapshot/reimage.h"

#include "cow/identity.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"

/* The id of version number to of the template that version_id belongs to (0: itself), or NULL.
 * Thousands of desktops stand on a few versions, so each is asked for once (known owns the text).
 */
static const char *target_version(Db *db, GHashTable *known, const char *version_id, gint64 to)
{
    gpointer found;

    if (g_hash_table_lookup_extended(known, version_id, NULL, &found))
        return found;
    Query *q = db_query(db,
                        "SELECT w.id AS id FROM version v JOIN version w ON"
                        " w.template_id = v.template_id WHERE v.id = ?1 AND w.is_trashed = 0"
                        " AND CASE WHEN ?2 = 0 THEN w.id = v.id ELSE w.version = ?2 END",
                        "ti", version_id, to);
    char *id = query_next(q) ? g_strdup(query_text(q, "id")) : NULL;
    query_end(q, NULL);
    g_hash_table_insert(known, g_strdup(version_id), id);
    return id;
}

gboolean reimage_plan_reset(World *world, const LookupRows *desktops, gint64 to, BatchPlan *plan,
                            GError **error)
{
    g_autoptr(GHashTable) targets = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    g_autoptr(GHashTable) claimed = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    Db *db = catalog_read_begin(world->catalog);

    batch_plan_init(plan, world, &reimage_job);
    for (guint i = 0; i < desktops->rows->len; i++) {
        const DesktopRow *row = desktops->rows->pdata[i];
        Id layer = id_new(), trash = id_new();
        const char *version_id = target_version(db, targets, row->version_id, to);
        if (version_id) {
            json_t *keys = json_array();
            gsize n_before = json_array_size(plan->items);
            claims_add(keys, 'x', "desktop", row->id);
            if (!g_hash_table_contains(claimed, version_id)) /* what all share is claimed once */
                claims_add(keys, 's', "version", version_id);
            if (!g_hash_table_contains(claimed, row->store_id))
                claims_add(keys, 's', "making", row->store_id);
            batch_plan_add(plan,
                           json_pack("{s:s,s:s,s:s,s:s,s:s,s:s}", "id", row->id, "name", row->name,
                                     "layer", layer.s, "trash", trash.s, "version", version_id,
                                     "store", row->store_id),
                           keys);
            if (json_array_size(plan->items) > n_before) {
                g_hash_table_add(claimed, g_strdup(version_id));
                g_hash_table_add(claimed, g_strdup(row->store_id));
            }
        } else {
            g_autoptr(GError) why =
                to ? g_error_new(IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND,
                                 "its template has no version %" G_GINT64_FORMAT, to)
                   : g_error_new(IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND,
                                 "its template version was deleted");
            batch_plan_reject(plan, row->name, why);
        }
    }
    catalog_read_end(world->catalog, db);
    return TRUE;
}

gboolean reimage_plan_revert(World *world, const LookupRows *desktops, const char *snapshot,
                             BatchPlan *plan, GError **error)
{
    Db *db = catalog_read_begin(world->catalog);

    batch_plan_init(plan, world, &revert_job);
    json_object_set_new(plan->plan, "to", json_string(snapshot));
    for (guint i = 0; i < desktops->rows->len; i++) {
        const DesktopRow *row = desktops->rows->pdata[i];
        g_auto(SnapshotRow) to = { 0 };
        g_autoptr(GError) why = NULL;
        Id layer = id_new(), trash = id_new();
        json_t *keys = json_array();
        if (!lookup_snapshot(db, row->id, snapshot, &to, &why)) {
            batch_plan_reject(plan, row->name, why);
            json_decref(keys);
            continue;
        }
        claims_add(keys, 'x', "desktop", row->id);
        claims_add(keys, 's', "snapshot", to.id);
        claims_add(keys, 's', "layers", row->id);
        claims_add(keys, 's', "version", to.version_id);
        claims_add(keys, 's', "making", to.store_id);
        batch_plan_add(plan,
                       json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "id", row->id, "name", row->name,
                                 "layer", layer.s, "trash", trash.s, "version", to.version_id,
                                 "store", to.store_id, "snapshot", to.id),
                       keys);
    }
    catalog_read_end(world->catalog, db);
    return TRUE;
}

/* What one item of a reset or revert works with. */
typedef struct {
    DesktopRow desktop;
    LayerRow old, base;
    Store *store, *old_store; /* of base and old: they differ after a move */
    gboolean has_old; /* the old disk's file is there */
    gboolean is_done;
    StoreStat stat;
} Reset;

static void reset_clear(Reset *r)
{
    desktop_row_clear(&r->desktop);
    layer_row_clear(&r->old);
    layer_row_clear(&r->base);
    g_clear_pointer(&r->store, store_unref);
    g_clear_pointer(&r->old_store, store_unref);
}

static gboolean find_snapshot(BatchChunk *chunk, guint i, Db *db, Reset *r, GError **error)
{
    g_auto(SnapshotRow) to = { 0 };

    if (!lookup_snapshot_by_id(db, batch_text(chunk, i, "snapshot"), &to, error) ||
        !lookup_layer(db, to.layer_id, &r->base, error))
        return FALSE;
    r->store = store_set_get(chunk->world->stores, r->base.store_id, error);
    return r->store != NULL;
}

/* Store and base of r: those of the item before it, if they are the same. */
static gboolean find_base(BatchChunk *chunk, guint i, Db *db, Reset *r, const Reset *before,
                          GError **error)
{
    const char *version_id = batch_text(chunk, i, "version");

    if (batch_text(chunk, i, "snapshot"))
        return find_snapshot(chunk, i, db, r, error);
    if (before && before->store && before->base.id &&
        g_str_equal(before->store->id, r->desktop.store_id) &&
        g_str_equal(before->base.owner_id, version_id)) {
        LayerRow *copy = row_copy(ROW_LAYER, &before->base);
        r->store = store_ref(before->store);
        r->base = *copy;
        g_free(copy);
        return TRUE;
    }
    r->store = store_set_get(chunk->world->stores, r->desktop.store_id, error);
    return r->store &&
           lookup_version_layer(db, version_id, r->desktop.store_id, &r->base, error);
}

static gboolean reset_load(BatchChunk *chunk, guint i, Db *db, Reset *r, const Reset *before,
                           GError **error)
{
    GError *local = NULL;

    if (!lookup_desktop_by_id(db, batch_text(chunk, i, "id"), &r->desktop, error) ||
        !lookup_layer(db, r->desktop.layer_id, &r->old, error))
        return FALSE;
    if (r->desktop.is_trashed) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "it was deleted meanwhile");
        return FALSE;
    }
    if (g_str_equal(r->desktop.layer_id, batch_text(chunk, i, "layer"))) {
        r->is_done = TRUE; /* committed to the journal just before a stop */
        return TRUE;
    }
    if (!find_base(chunk, i, db, r, before, error))
        return FALSE;
    r->old_store = g_str_equal(r->store->id, r->old.store_id)
                       ? store_ref(r->store)
                       : store_set_get(chunk->world->stores, r->old.store_id, error);
    if (!r->old_store)
        return FALSE;
    r->has_old = store_stat_layer(r->old_store, r->old.slot, &r->stat, &local);
    if (!r->has_old && !g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND)) {
        g_propagate_error(error, local);
        return FALSE;
    }
    g_clear_error(&local);
    return !r->has_old || batch_lock(chunk, i, r->old_store, r->old.slot);
}

static void trash_layer(LayerRow *layer)
{
    g_free(layer->state);
    g_free(layer->place);
    layer->state = g_strdup("trashed");
    layer->place = g_strdup("trash");
}

void reimage_put_replaced(BatchChunk *chunk, guint i, const DesktopRow *desktop, LayerRow *old,
                          const StoreStat *stat, const char *trash_id, const char *reason,
                          gint64 now)
{
    if (!stat) {
        changes_delete(chunk->changes, ROW_LAYER, old->id, old->store_id);
        return;
    }
    TrashRow trash = { .id = (char *)trash_id, .kind = "disk", .reason = (char *)reason,
                       .name = desktop->name, .desktop_id = desktop->id,
                       .version_id = desktop->version_id, .layer_id = old->id,
                       .store_id = old->store_id, .generation = desktop->generation,
                       .disk_bytes = (gint64)stat->disk_bytes, .trashed_at = now,
                       .expires_at = now + chunk->world->settings.trash_keep_ms };
    trash_layer(old);
    changes_put(chunk->changes, ROW_LAYER, old, old->store_id);
    changes_put(chunk->changes, ROW_TRASH, &trash, old->store_id);
    batch_move_later(chunk, i, old->store_id, old->slot);
}

static void put_reset(BatchChunk *chunk, guint i, Reset *r, gint64 now)
{
    char *layer_id = (char *)batch_text(chunk, i, "layer");
    LayerRow layer = { .id = layer_id, .slot = layer_id, .store_id = r->base.store_id,
                       .parent_id = r->base.id, .owner_kind = "desktop", .owner_id = r->desktop.id,
                       .generation = r->desktop.generation + 1, .state = "active",
                       .place = "layers", .virtual_size = r->base.virtual_size,
                       .created_at = now };
    DesktopRow desktop = r->desktop;
    const char *reason = json_string_value(json_object_get(chunk->plan, "reason"));
    const char *usual = batch_text(chunk, i, "snapshot") ? "revert" : "reset";

    reimage_put_replaced(chunk, i, &r->desktop, &r->old, r->has_old ? &r->stat : NULL,
                         batch_text(chunk, i, "trash"), reason ? reason : usual, now);
    desktop.layer_id = layer_id;
    desktop.store_id = r->base.store_id;
    desktop.version_id = (char *)batch_text(chunk, i, "version");
    desktop.generation++;
    desktop.state = "ok";
    desktop.changed_at = now;
    changes_put(chunk->changes, ROW_LAYER, &layer, layer.store_id);
    changes_put(chunk->changes, ROW_DESKTOP, &desktop, desktop.store_id);
}

static char *make_identity(BatchChunk *chunk, guint i, const Reset *r, gint64 now)
{
    Identity identity = { .id = (char *)batch_text(chunk, i, "layer"), .parent = r->base.id,
                          .owner_kind = "desktop", .owner_id = r->desktop.id,
                          .owner_name = r->desktop.name,
                          .generation = r->desktop.generation + 1, .created_at = now };

    return identity_to_json(&identity);
}

/* Write the overlays of all items that are fine, store by store. */
static gboolean write_overlays(BatchChunk *chunk, const Reset *resets, gint64 now, GError **error)
{
    g_autofree StoreOverlay *overlays = g_new0(StoreOverlay, chunk->n);
    g_autofree gboolean *done = g_new0(gboolean, chunk->n);
    g_autoptr(GPtrArray) texts = g_ptr_array_new_with_free_func(g_free);

    for (guint i = 0; i < chunk->n; i++) {
        guint n = 0;
        if (chunk->errors[i] || done[i] || resets[i].is_done)
            continue;
        for (guint k = i; k < chunk->n; k++) {
            if (chunk->errors[k] || done[k] || resets[k].is_done ||
                resets[k].store != resets[i].store)
                continue;
            done[k] = TRUE;
            char *text = make_identity(chunk, k, &resets[k], now);
            g_ptr_array_add(texts, text);
            overlays[n++] = (StoreOverlay){ batch_text(chunk, k, "layer"), resets[k].base.slot,
                                            text, (guint64)resets[k].base.virtual_size, 0, FALSE };
        }
        if (!resets[i].store->ops->create_overlays(resets[i].store, overlays, n, error))
            return FALSE;
    }
    return TRUE;
}

void reimage_undo_prepare(BatchChunk *chunk)
{
    Db *db = catalog_read_begin(chunk->world->catalog);

    for (guint i = 0; i < chunk->n; i++) {
        g_auto(DesktopRow) desktop = { 0 };
        const char *slot = batch_text(chunk, i, "layer");
        if (!lookup_desktop_by_id(db, batch_text(chunk, i, "id"), &desktop, NULL) ||
            g_str_equal(desktop.layer_id, slot))
            continue;
        g_autoptr(Store) store = store_set_peek(chunk->world->stores,
                                                batch_text(chunk, i, "store"));
        if (store)
            store->ops->discard(store, STORE_LAYERS, &slot, 1, NULL);
    }
    catalog_read_end(chunk->world->catalog, db);
}

gboolean reimage_prepare(BatchChunk *chunk, GError **error)
{
    Reset *resets = g_new0(Reset, chunk->n);
    gint64 now = units_now_ms();
    Db *db = catalog_read_begin(chunk->world->catalog);

    for (guint i = 0; i < chunk->n; i++)
        reset_load(chunk, i, db, &resets[i], i ? &resets[i - 1] : NULL, &chunk->errors[i]);
    catalog_read_end(chunk->world->catalog, db);
    gboolean ok = write_overlays(chunk, resets, now, error);
    for (guint i = 0; ok && i < chunk->n; i++) {
        if (chunk->errors[i] || resets[i].is_done)
            continue;
        put_reset(chunk, i, &resets[i], now);
    }
    if (!ok)
        reimage_undo_prepare(chunk);
    for (guint i = 0; i < chunk->n; i++)
        reset_clear(&resets[i]);
    g_free(resets);
    return ok;
}

static gboolean prepare_reset(BatchChunk *chunk, GError **error)
{
    if (!reimage_prepare(chunk, error))
        return FALSE;
    if (chunk->n && batch_text(chunk, 0, "snapshot")) {
        const char *to = json_string_value(json_object_get(chunk->plan, "to"));
        g_autofree char *verb = g_strdup_printf("back to snapshot '%s':", to ? to : "?");
        batch_event(chunk, "snapshot.revert", verb, "desktops");
    } else {
        batch_event(chunk, "desktop.reset", "re-imaged", "desktops");
    }
    return TRUE;
}

static gboolean run_reset(Job *job, gpointer world, GError **error)
{
    static const BatchType type = { prepare_reset, reimage_undo_prepare, batch_move_now };

    return batch_run(job, world, &type, error);
}

const JobType reimage_job = { "desktop.reset", JOB_INTERACTIVE, "desktops", run_reset };
const JobType revert_job = { "snapshot.revert", JOB_INTERACTIVE, "desktops", run_reset };
