/* trash_restore.c: bringing trash entries back: a former disk, a deleted desktop, a version. */
#include "snapshot/trash.h"

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "snapshot/merge_back.h"
#include "snapshot/reimage.h"

static gboolean check_name_free(Db *db, const char *name, GError **error)
{
    if (lookup_check_new_name(db, "desktop", name, error))
        return TRUE;
    imaged_error_hint(error, "restore it under another name: imagectl trash restore ID --as NAME");
    return FALSE;
}

static gboolean plan_one(Db *db, BatchPlan *plan, const TrashRow *entry, const char *new_name,
                         GError **error)
{
    const char *name = new_name ? new_name : entry->name;
    json_t *keys = json_array();
    Id trash = id_new();

    if (g_str_equal(entry->kind, "stand_in")) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "a stand-in base is of no use to anybody any more");
        imaged_error_hint(error, "to make another: imagectl template stand-in %s", entry->name);
        json_decref(keys);
        return FALSE;
    }
    if (g_str_equal(entry->kind, "desktop") && !check_name_free(db, name, error)) {
        json_decref(keys);
        return FALSE;
    }
    claims_add(keys, 'x', "trash", entry->id);
    claims_add(keys, g_str_equal(entry->kind, "template_version") ? 'x' : 's', "version",
               entry->version_id);
    if (entry->desktop_id)
        claims_add(keys, 'x', "desktop", entry->desktop_id);
    if (g_str_equal(entry->kind, "desktop"))
        claims_add(keys, 'x', "name", name);
    if (g_str_equal(entry->kind, "snapshot"))
        claims_add(keys, 'x', "snapshots", entry->desktop_id);
    if (g_str_equal(entry->kind, "layer")) {
        claims_add(keys, 'x', "layers", entry->desktop_id);
        claims_add(keys, 'x', "snapshots", entry->desktop_id);
        claims_add(keys, 's', "making", entry->store_id);
    }
    batch_plan_add(plan,
                   json_pack("{s:s,s:s,s:s,s:s?,s:s?}", "id", entry->id, "name", name, "trash",
                             trash.s, "desktop", entry->desktop_id, "data",
                             g_str_equal(entry->kind, "data") ? entry->layer_id : NULL),
                   keys);
    return TRUE;
}

gboolean trash_plan_restore(World *world, const json_t *ids, const char *new_name, BatchPlan *plan,
                            GError **error)
{
    Db *db = catalog_read_begin(world->catalog);
    size_t i, n = json_array_size(ids);
    gboolean ok = n > 0 && (!new_name || n == 1);
    json_t *id;

    batch_plan_init(plan, world, &trash_restore_job);
    if (!ok)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    n ? "only one entry can get a new name" : "no trash entry is named");
    json_array_foreach((json_t *)ids, i, id) {
        g_auto(TrashRow) entry = { 0 };
        g_autoptr(GError) local = NULL;
        const char *text = json_is_string(id) ? json_string_value(id) : "";
        if (ok && !(lookup_trash(db, text, &entry, &local) &&
                    plan_one(db, plan, &entry, new_name, &local))) {
            g_autofree char *shown = text_for_message(text, 40);
            batch_plan_reject(plan, shown, local);
        }
    }
    catalog_read_end(world->catalog, db);
    return ok;
}

/* Bring a layer's file and state back.  QEMU can't have it open: it was not in layers/. */
static gboolean revive_layer(BatchChunk *chunk, LayerRow *layer, const char *state, GError **error)
{
    g_autoptr(Store) store = store_set_get(chunk->world->stores, layer->store_id, error);
    const char *slot = layer->slot;

    if (!store ||
        !store->ops->move(store, &slot, 1, STORE_TRASH, STORE_LAYERS, FALSE, NULL, error))
        return FALSE;
    g_free(layer->state);
    g_free(layer->place);
    layer->state = g_strdup(state);
    layer->place = g_strdup("layers");
    changes_put(chunk->changes, ROW_LAYER, layer, layer->store_id);
    return TRUE;
}

static gboolean restore_desktop(BatchChunk *chunk, guint i, Db *db, const TrashRow *entry,
                                GError **error)
{
    g_auto(DesktopRow) desktop = { 0 };
    g_auto(LayerRow) layer = { 0 };
    g_auto(LayerRow) data = { 0 };
    g_auto(VersionRow) version = { 0 };

    if (!lookup_desktop_by_id(db, entry->desktop_id, &desktop, error) ||
        !lookup_layer(db, entry->layer_id, &layer, error) ||
        (desktop.data_layer_id && !lookup_layer(db, desktop.data_layer_id, &data, error)) ||
        !lookup_version_by_id(db, desktop.version_id, &version, error))
        return FALSE;
    if (version.is_trashed) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "its template version is in the trash");
        imaged_error_hint(error, "restore that first: imagectl trash list");
        return FALSE;
    }
    /* the data disk first: it may be in another store's journal */
    if ((data.id && !revive_layer(chunk, &data, "active", error)) ||
        !revive_layer(chunk, &layer, "active", error))
        return FALSE;
    g_free(desktop.name);
    desktop.name = g_strdup(batch_text(chunk, i, "name"));
    desktop.is_trashed = FALSE;
    desktop.changed_at = units_now_ms();
    changes_put(chunk->changes, ROW_DESKTOP, &desktop, desktop.store_id);
    changes_delete(chunk->changes, ROW_TRASH, entry->id, entry->store_id);
    return TRUE;
}

/* A version with all its copies, and its template if that went with it. */
static gboolean restore_version(BatchChunk *chunk, Db *db, const TrashRow *entry, GError **error)
{
    g_auto(VersionRow) version = { 0 };
    g_auto(TemplateRow) template = { 0 };
    g_auto(LookupRows) layers = { 0 };

    if (!lookup_version_by_id(db, entry->version_id, &version, error) ||
        !lookup_template_by_id(db, version.template_id, &template, error) ||
        !lookup_rows(db, ROW_LAYER, &layers, error,
                     "SELECT * FROM layer WHERE owner_id = ?1 AND state = 'trashed'", "t",
                     version.id))
        return FALSE;
    if (template.is_trashed && !check_name_free(db, template.name, error))
        return FALSE;
    for (guint k = 0; k < layers.rows->len; k++) {
        LayerRow *layer = layers.rows->pdata[k];
        if (!revive_layer(chunk, layer, "frozen", error))
            return FALSE;
        template.is_trashed = version.is_trashed = FALSE;
        template.changed_at = version.changed_at = units_now_ms();
        changes_put(chunk->changes, ROW_TEMPLATE, &template, layer->store_id);
        changes_put(chunk->changes, ROW_VERSION, &version, layer->store_id);
    }
    changes_delete(chunk->changes, ROW_TRASH, entry->id, entry->store_id);
    return TRUE;
}

/* A deleted snapshot: its layer was kept, so it is a branch of the desktop's tree again. */
static gboolean restore_snapshot(BatchChunk *chunk, guint i, Db *db, const TrashRow *entry,
                                 GError **error)
{
    g_auto(SnapshotRow) row = { 0 };
    g_auto(SnapshotRow) other = { 0 };
    g_auto(DesktopRow) desktop = { 0 };
    const char *name = batch_text(chunk, i, "name");

    if (!lookup_snapshot_by_id(db, entry->snapshot_id, &row, error) ||
        !lookup_desktop_by_id(db, row.desktop_id, &desktop, error) ||
        !name_check("snapshot", name, error))
        return FALSE;
    if (desktop.is_trashed || lookup_snapshot(db, row.desktop_id, name, &other, NULL)) {
        g_set_error(error, IMAGED_ERROR, desktop.is_trashed ? IMAGED_ERROR_INVALID
                                                            : IMAGED_ERROR_EXISTS,
                    desktop.is_trashed ? "its desktop is in the trash"
                                       : "the desktop has a snapshot of that name already");
        imaged_error_hint(error, desktop.is_trashed ? "restore that first: imagectl trash list"
                                                    : "imagectl trash restore ID --as NAME");
        return FALSE;
    }
    g_free(row.name);
    row.name = g_strdup(name);
    row.is_trashed = FALSE;
    row.changed_at = units_now_ms();
    changes_put(chunk->changes, ROW_SNAPSHOT, &row, row.store_id);
    changes_delete(chunk->changes, ROW_TRASH, entry->id, entry->store_id);
    return TRUE;
}

static gboolean prepare_restore(BatchChunk *chunk, GError **error)
{
    Db *db = catalog_read_begin(chunk->world->catalog);

    for (guint i = 0; i < chunk->n; i++) {
        g_auto(TrashRow) entry = { 0 };
        GError **why = &chunk->errors[i];
        gboolean ok = lookup_trash(db, batch_text(chunk, i, "id"), &entry, why);
        if (!ok) {
            if (job_is_resumed(chunk->job)) { /* committed to the journal just before a stop */
                g_clear_error(why);
                reimage_swap_rest(chunk, db, batch_text(chunk, i, "desktop"),
                                  batch_text(chunk, i, "data"));
            }
            continue;
        }
        if (g_str_equal(entry.kind, "disk") || g_str_equal(entry.kind, "data"))
            ok = reimage_swap(chunk, i, db, &entry, batch_text(chunk, i, "trash"), "restore", why);
        else if (g_str_equal(entry.kind, "desktop"))
            ok = restore_desktop(chunk, i, db, &entry, why);
        else if (g_str_equal(entry.kind, "snapshot"))
            ok = restore_snapshot(chunk, i, db, &entry, why);
        else if (g_str_equal(entry.kind, "layer"))
            ok = merge_take_back(chunk, i, db, &entry, why);
        else
            ok = restore_version(chunk, db, &entry, why);
        if (ok)
            changes_event(chunk->changes, "trash.restore", "info", batch_text(chunk, i, "name"),
                          job_owner(chunk->job), "brought back from the trash");
    }
    catalog_read_end(chunk->world->catalog, db);
    return TRUE;
}

/* Disks that moved back to layers/ are found there too; a slot that was switched is not. */
static void undo_restore(BatchChunk *chunk)
{
    Db *db = catalog_read_begin(chunk->world->catalog);

    for (guint i = 0; i < chunk->n; i++) {
        g_auto(TrashRow) entry = { 0 };
        if (!chunk->errors[i] && lookup_trash(db, batch_text(chunk, i, "id"), &entry, NULL) &&
            g_str_equal(entry.kind, "layer"))
            merge_undo_take_back(chunk, db, &entry);
    }
    catalog_read_end(chunk->world->catalog, db);
}

static gboolean run_restore(Job *job, gpointer world, GError **error)
{
    static const BatchType type = { prepare_restore, undo_restore, batch_move_now };

    return batch_run(job, world, &type, error);
}

const JobType trash_restore_job = { "trash.restore", JOB_INTERACTIVE, "entries", run_restore };
