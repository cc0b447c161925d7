/* data_disk_attach.c: a data disk that is in the trash, given to a desktop.
 *
 *   file back to layers/ -> facts: all layers of its chain are the desktop's
 *
 * Nothing is copied, so nobody else may need one of these layers: not a snapshot of the former
 * owner, not another branch. */
#include "snapshot/data_disk.h"

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "snapshot/chain.h"

/* Is anything but the chain itself on one of its layers? */
static gboolean check_alone(Db *db, const LookupRows *chain, const TrashRow *entry, GError **error)
{
    for (guint i = 0; i < chain->rows->len; i++) {
        const char *id = row_id(chain->rows->pdata[i]);
        const char *above = i + 1 < chain->rows->len ? row_id(chain->rows->pdata[i + 1]) : "";
        gboolean has_snapshot =
            lookup_int(db, "SELECT EXISTS (SELECT 1 FROM snapshot WHERE data_layer_id = ?1)", "t",
                       id) != 0;
        gboolean has_other =
            lookup_int(db,
                       "SELECT EXISTS (SELECT 1 FROM layer WHERE parent_id = ?1 AND id <> ?2) OR"
                       " EXISTS (SELECT 1 FROM trash WHERE (layer_id = ?1 OR data_layer_id = ?1)"
                       " AND id <> ?3)",
                       "ttt", id, above, entry->id) != 0;
        if (!has_snapshot && !has_other)
            continue;
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    has_snapshot ? "a snapshot of '%s' needs it"
                                 : "another former state of the disk of '%s' stands on it",
                    entry->name);
        imaged_error_hint(error, has_snapshot
                                     ? "delete that desktop's snapshots and empty them from the"
                                       " trash first: imagectl snapshot list"
                                     : "empty that from the trash first: imagectl trash list");
        return FALSE;
    }
    return TRUE;
}

static gboolean find_entry(Db *db, const char *id, const DesktopRow *desktop, TrashRow *ret,
                           LookupRows *chain, GError **error)
{
    if (!lookup_trash(db, id, ret, error))
        return FALSE;
    if (!g_str_equal(ret->kind, "data") || !ret->desktop_id) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "this trash entry is not a data disk");
        return FALSE;
    }
    if (lookup_is_used(db, ret->layer_id, desktop->id)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "another desktop has this data disk now");
        imaged_error_hint(error, "see what does not fit together with: imagectl store check");
        return FALSE;
    }
    return chain_rows(db, ret->layer_id, chain, error) &&
           (g_str_equal(ret->desktop_id, desktop->id) || check_alone(db, chain, ret, error));
}

static gboolean check_desktop(const DesktopRow *row, GError **error)
{
    if (!row->is_trashed && !row->data_layer_id)
        return TRUE;
    g_set_error(error, IMAGED_ERROR, row->is_trashed ? IMAGED_ERROR_NOT_FOUND : IMAGED_ERROR_EXISTS,
                row->is_trashed ? "it was deleted meanwhile" : "it has a data disk already");
    return FALSE;
}

gboolean data_disk_plan_attach(World *world, const LookupRows *desktops, const char *entry_id,
                               BatchPlan *plan, GError **error)
{
    const DesktopRow *row = desktops->rows->len ? desktops->rows->pdata[0] : NULL;
    g_auto(TrashRow) entry = { 0 };
    g_auto(LookupRows) chain = { 0 };

    batch_plan_init(plan, world, &data_disk_attach_job);
    if (desktops->rows->len != 1) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "a data disk is one desktop's: name one");
        return FALSE;
    }
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok = check_desktop(row, error) && find_entry(db, entry_id, row, &entry, &chain, error);
    catalog_read_end(world->catalog, db);
    if (!ok)
        return FALSE;
    json_t *keys = json_array();
    claims_add(keys, 'x', "desktop", row->id);
    claims_add(keys, 'x', "layers", row->id);
    claims_add(keys, 'x', "trash", entry.id);
    if (!g_str_equal(entry.desktop_id, row->id)) {
        claims_add(keys, 'x', "desktop", entry.desktop_id);
        claims_add(keys, 'x', "layers", entry.desktop_id);
        claims_add(keys, 'x', "snapshots", entry.desktop_id);
    }
    batch_plan_add(plan,
                   json_pack("{s:s,s:s,s:s}", "id", row->id, "name", row->name, "entry", entry.id),
                   keys);
    return TRUE;
}

static gboolean attach_one(BatchChunk *chunk, guint i, Db *db, GError **error)
{
    g_auto(DesktopRow) desktop = { 0 };
    g_auto(TrashRow) entry = { 0 };
    g_auto(LookupRows) chain = { 0 };
    const char *entry_id = batch_text(chunk, i, "entry");

    if (!lookup_desktop_by_id(db, batch_text(chunk, i, "id"), &desktop, error))
        return FALSE;
    if (job_is_resumed(chunk->job) && desktop.data_layer_id &&
        !lookup_trash(db, entry_id, &entry, NULL))
        return TRUE; /* in the journal just before a stop */
    trash_row_clear(&entry);
    entry = (TrashRow){ 0 };
    /* A stop between the journals of two stores leaves the desktop with its new data disk, and that
     * in the trash still. */
    if (!find_entry(db, entry_id, &desktop, &entry, &chain, error) ||
        (g_strcmp0(desktop.data_layer_id, entry.layer_id) != 0 && !check_desktop(&desktop, error)))
        return FALSE;
    LayerRow *top = chain.rows->pdata[chain.rows->len - 1];
    g_autoptr(Store) store = store_set_get(chunk->world->stores, top->store_id, error);
    const char *slot = top->slot;
    /* No flush: a layer is found in either folder, and the sweep at start puts it right. */
    if (!store || !store->ops->move(store, &slot, 1, STORE_TRASH, STORE_LAYERS, FALSE, NULL, error))
        return FALSE;
    DesktopRow changed = desktop;
    changed.data_layer_id = top->id;
    changed.changed_at = units_now_ms();
    changes_put(chunk->changes, ROW_DESKTOP, &changed, changed.store_id);
    for (guint k = 0; k < chain.rows->len; k++) {
        LayerRow layer = *(LayerRow *)chain.rows->pdata[k];
        layer.owner_id = desktop.id;
        layer.state = k + 1 == chain.rows->len ? "active" : layer.state;
        layer.place = "layers";
        changes_put(chunk->changes, ROW_LAYER, &layer, layer.store_id);
    }
    changes_delete(chunk->changes, ROW_TRASH, entry.id, entry.store_id);
    return TRUE;
}

static gboolean prepare_attach(BatchChunk *chunk, GError **error)
{
    Db *db = catalog_read_begin(chunk->world->catalog);

    for (guint i = 0; i < chunk->n; i++)
        attach_one(chunk, i, db, &chunk->errors[i]);
    catalog_read_end(chunk->world->catalog, db);
    batch_event(chunk, "desktop.data-disk-add", "got a data disk from the trash:", "desktops");
    return TRUE;
}

static gboolean run_attach(Job *job, gpointer world, GError **error)
{
    /* Nothing to undo: a file that is back in layers/ is found there as well as in trash/. */
    static const BatchType type = { prepare_attach, NULL, NULL };

    return batch_run(job, world, &type, error);
}

const JobType data_disk_attach_job = { "desktop.data-disk-attach", JOB_INTERACTIVE, "desktops",
                                       run_attach };
