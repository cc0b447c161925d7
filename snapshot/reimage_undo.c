/* reimage_undo.c: bringing back the disk that a reset or revert replaced.
 *
 *   QEMU's lock on the present layer -> old file back to layers/ -> facts -> present one to trash/
 */
#include "snapshot/reimage.h"

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"

gboolean reimage_plan_undo(World *world, const LookupRows *desktops, BatchPlan *plan,
                           GError **error)
{
    Db *db = catalog_read_begin(world->catalog);

    batch_plan_init(plan, world, &reimage_undo_job);
    for (guint i = 0; i < desktops->rows->len; i++) {
        const DesktopRow *row = desktops->rows->pdata[i];
        g_auto(TrashRow) entry = { 0 };
        g_autoptr(GError) local = NULL;
        Id trash = id_new();
        json_t *keys = json_array();
        if (!lookup_undo(db, row->id, &entry, &local)) {
            g_clear_error(&local);
            g_set_error(&local, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND,
                        "there is no reset of it to undo");
            imaged_error_hint(&local, "see what is left with: imagectl trash list");
            batch_plan_reject(plan, row->name, local);
            json_decref(keys);
            continue;
        }
        claims_add(keys, 'x', "desktop", row->id);
        claims_add(keys, 'x', "trash", entry.id);
        claims_add(keys, 's', "version", entry.version_id);
        batch_plan_add(plan,
                       json_pack("{s:s,s:s,s:s,s:s}", "id", row->id, "name", row->name, "entry",
                                 entry.id, "trash", trash.s),
                       keys);
    }
    catalog_read_end(world->catalog, db);
    return TRUE;
}

/* The rows that a swap works with. */
static gboolean load_swap(Db *db, const TrashRow *entry, DesktopRow *desktop, LayerRow *old,
                          LayerRow *layer, GError **error)
{
    g_auto(VersionRow) version = { 0 };

    if (!lookup_desktop_by_id(db, entry->desktop_id, desktop, error) ||
        !lookup_layer(db, desktop->layer_id, old, error) ||
        !lookup_layer(db, entry->layer_id, layer, error) ||
        !lookup_version_by_id(db, entry->version_id, &version, error))
        return FALSE;
    if (desktop->is_trashed || version.is_trashed) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "its %s is in the trash",
                    desktop->is_trashed ? "desktop" : "template version");
        imaged_error_hint(error, "restore that first: imagectl trash list");
        return FALSE;
    }
    return TRUE;
}

gboolean reimage_swap(BatchChunk *chunk, guint i, Db *db, const TrashRow *entry,
                      const char *new_trash_id, const char *reason, GError **error)
{
    g_auto(DesktopRow) desktop = { 0 };
    g_auto(LayerRow) old = { 0 };
    g_auto(LayerRow) layer = { 0 };
    StoreStat stat = { 0 };
    gint64 now = units_now_ms();

    if (!load_swap(db, entry, &desktop, &old, &layer, error))
        return FALSE;
    g_autoptr(Store) store = store_set_get(chunk->world->stores, layer.store_id, error);
    /* The present disk may lie in another store: the desktop was moved since. */
    g_autoptr(Store) old_store =
        store ? store_set_get(chunk->world->stores, old.store_id, error) : NULL;
    if (!old_store)
        return FALSE;
    gboolean has_old = store_stat_layer(old_store, old.slot, &stat, NULL);
    if (has_old && !batch_lock(chunk, i, old_store, old.slot))
        return FALSE;
    const char *slot = layer.slot;
    /* No flush: a layer is found in either folder, and the sweep at start puts it right. */
    if (!store->ops->move(store, &slot, 1, STORE_TRASH, STORE_LAYERS, FALSE, NULL, error))
        return FALSE;

    reimage_put_replaced(chunk, i, &desktop, &old, has_old ? &stat : NULL, new_trash_id, reason,
                         now);
    g_free(layer.state);
    g_free(layer.place);
    layer.state = g_strdup("active");
    layer.place = g_strdup("layers");
    DesktopRow changed = desktop;
    changed.layer_id = layer.id;
    changed.store_id = layer.store_id;
    changed.version_id = entry->version_id;
    changed.generation++;
    changed.state = "ok";
    changed.changed_at = now;
    changes_put(chunk->changes, ROW_LAYER, &layer, layer.store_id);
    changes_put(chunk->changes, ROW_DESKTOP, &changed, layer.store_id);
    changes_delete(chunk->changes, ROW_TRASH, entry->id, entry->store_id);
    return TRUE;
}

static gboolean prepare_undo(BatchChunk *chunk, GError **error)
{
    Db *db = catalog_read_begin(chunk->world->catalog);

    for (guint i = 0; i < chunk->n; i++) {
        g_auto(TrashRow) entry = { 0 };
        if (!lookup_trash(db, batch_text(chunk, i, "entry"), &entry, &chunk->errors[i])) {
            if (job_is_resumed(chunk->job)) /* committed to the journal just before a stop */
                g_clear_error(&chunk->errors[i]);
            continue;
        }
        reimage_swap(chunk, i, db, &entry, batch_text(chunk, i, "trash"), "undo",
                     &chunk->errors[i]);
    }
    catalog_read_end(chunk->world->catalog, db);
    batch_event(chunk, "desktop.undo-reset", "brought back the former disk:", "desktops");
    return TRUE;
}

static gboolean run_undo(Job *job, gpointer world, GError **error)
{
    /* Nothing to undo: a disk moved back to layers/ is found there as well as in trash/. */
    static const BatchType type = { prepare_undo, NULL, batch_move_now };

    return batch_run(job, world, &type, error);
}

const JobType reimage_undo_job = { "desktop.undo-reset", JOB_INTERACTIVE, "desktops", run_undo };
