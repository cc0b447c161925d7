/* data_disk.c: see data_disk.h.  Growing is in data_disk_grow.c, attaching in data_disk_attach.c.
 *
 *   add      blank bases, durable -> facts
 *   detach   QEMU's lock -> facts -> file to trash/ */
#include "snapshot/data_disk.h"

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "snapshot/overlays.h"
#include "snapshot/replaced.h"

static void reject(BatchPlan *plan, const char *name, ImagedError code, const char *message)
{
    g_autoptr(GError) why = g_error_new_literal(IMAGED_ERROR, code, message);

    batch_plan_reject(plan, name, why);
}

/* ---- add ---- */

gboolean data_disk_plan_add(World *world, const LookupRows *desktops, guint64 size, BatchPlan *plan,
                            GError **error)
{
    batch_plan_init(plan, world, &data_disk_add_job);
    json_object_set_new(plan->plan, "size", json_integer((json_int_t)size));
    for (guint i = 0; i < desktops->rows->len; i++) {
        const DesktopRow *row = desktops->rows->pdata[i];
        Id layer = id_new();
        json_t *keys = json_array();
        if (row->data_layer_id) {
            reject(plan, row->name, IMAGED_ERROR_EXISTS, "it has a data disk already");
            json_decref(keys);
            continue;
        }
        claims_add(keys, 'x', "desktop", row->id);
        claims_add(keys, 's', "making", row->store_id);
        batch_plan_add(plan,
                       json_pack("{s:s,s:s,s:s,s:s}", "id", row->id, "name", row->name, "layer",
                                 layer.s, "store", row->store_id),
                       keys);
    }
    return TRUE;
}

typedef struct {
    DesktopRow desktop;
    Store *store;
    gboolean is_done;
} Add;

static gboolean load_add(BatchChunk *chunk, guint i, Db *db, Add *a, GError **error)
{
    const char *layer_id = batch_text(chunk, i, "layer");

    if (!lookup_desktop_by_id(db, batch_text(chunk, i, "id"), &a->desktop, error))
        return FALSE;
    a->is_done = g_strcmp0(a->desktop.data_layer_id, layer_id) == 0;
    if (!a->is_done && (a->desktop.is_trashed || a->desktop.data_layer_id)) {
        g_set_error(error, IMAGED_ERROR,
                    a->desktop.is_trashed ? IMAGED_ERROR_NOT_FOUND : IMAGED_ERROR_EXISTS,
                    a->desktop.is_trashed ? "it was deleted meanwhile"
                                          : "it has a data disk already");
        return FALSE;
    }
    a->store = store_set_get(chunk->world->stores, batch_text(chunk, i, "store"), error);
    return a->store != NULL;
}

static void put_add(BatchChunk *chunk, guint i, Add *a, gint64 now)
{
    char *layer_id = (char *)batch_text(chunk, i, "layer");
    DesktopRow desktop = a->desktop;
    LayerRow layer = { .id = layer_id,
                       .slot = layer_id,
                       .store_id = a->store->id,
                       .owner_kind = "data",
                       .owner_id = desktop.id,
                       .generation = desktop.generation,
                       .state = "active",
                       .place = "layers",
                       .created_at = now };

    layer.virtual_size = json_integer_value(json_object_get(chunk->plan, "size"));
    desktop.data_layer_id = layer_id;
    desktop.changed_at = now;
    changes_put(chunk->changes, ROW_LAYER, &layer, layer.store_id);
    changes_put(chunk->changes, ROW_DESKTOP, &desktop, desktop.store_id);
}

static gboolean write_bases(BatchChunk *chunk, const Add *adds, gint64 now, GError **error)
{
    g_autoptr(Overlays) overlays = overlays_new();
    guint64 size = (guint64)json_integer_value(json_object_get(chunk->plan, "size"));

    for (guint i = 0; i < chunk->n; i++) {
        const DesktopRow *desktop = &adds[i].desktop;
        Identity identity = { .id = (char *)batch_text(chunk, i, "layer"),
                              .owner_kind = "data",
                              .owner_id = desktop->id,
                              .owner_name = desktop->name,
                              .generation = desktop->generation,
                              .created_at = now };
        if (!chunk->errors[i] && !adds[i].is_done)
            overlays_add(overlays, adds[i].store, &identity, NULL, size);
    }
    return overlays_write(overlays, error);
}

/* What was written for desktops whose rows don't name it. */
static void undo_add(BatchChunk *chunk)
{
    Db *db = catalog_read_begin(chunk->world->catalog);

    for (guint i = 0; i < chunk->n; i++) {
        g_auto(DesktopRow) desktop = { 0 };
        const char *slot = batch_text(chunk, i, "layer");
        g_autoptr(Store) store =
            store_set_peek(chunk->world->stores, batch_text(chunk, i, "store"));
        if (store && lookup_desktop_by_id(db, batch_text(chunk, i, "id"), &desktop, NULL) &&
            g_strcmp0(desktop.data_layer_id, slot) != 0)
            store->ops->discard(store, STORE_LAYERS, &slot, 1, NULL);
    }
    catalog_read_end(chunk->world->catalog, db);
}

static gboolean prepare_add(BatchChunk *chunk, GError **error)
{
    g_autofree Add *adds = g_new0(Add, chunk->n);
    gint64 now = units_now_ms();
    Db *db = catalog_read_begin(chunk->world->catalog);

    for (guint i = 0; i < chunk->n; i++)
        load_add(chunk, i, db, &adds[i], &chunk->errors[i]);
    catalog_read_end(chunk->world->catalog, db);
    gboolean ok = write_bases(chunk, adds, now, error);
    for (guint i = 0; ok && i < chunk->n; i++) {
        if (!chunk->errors[i] && !adds[i].is_done)
            put_add(chunk, i, &adds[i], now);
    }
    if (ok)
        batch_event(chunk, "desktop.data-disk-add", "got a data disk:", "desktops");
    else
        undo_add(chunk);
    for (guint i = 0; i < chunk->n; i++) {
        desktop_row_clear(&adds[i].desktop);
        g_clear_pointer(&adds[i].store, store_unref);
    }
    return ok;
}

static gboolean run_add(Job *job, gpointer world, GError **error)
{
    static const BatchType type = { prepare_add, undo_add, NULL };

    return batch_run(job, world, &type, error);
}

const JobType data_disk_add_job = { "desktop.data-disk-add", JOB_INTERACTIVE, "desktops", run_add };

/* ---- detach ---- */

gboolean data_disk_plan_detach(World *world, const LookupRows *desktops, BatchPlan *plan,
                               GError **error)
{
    batch_plan_init(plan, world, &data_disk_detach_job);
    for (guint i = 0; i < desktops->rows->len; i++) {
        const DesktopRow *row = desktops->rows->pdata[i];
        Id trash = id_new();
        json_t *keys = json_array();
        if (!row->data_layer_id) {
            reject(plan, row->name, IMAGED_ERROR_NOT_FOUND, "it has no data disk");
            json_decref(keys);
            continue;
        }
        claims_add(keys, 'x', "desktop", row->id);
        batch_plan_add(plan,
                       json_pack("{s:s,s:s,s:s,s:s}", "id", row->id, "name", row->name, "layer",
                                 row->data_layer_id, "trash", trash.s),
                       keys);
    }
    return TRUE;
}

static gboolean detach_one(BatchChunk *chunk, guint i, Db *db, GError **error)
{
    g_auto(DesktopRow) desktop = { 0 };
    g_auto(LayerRow) layer = { 0 };
    StoreStat stat = { 0 };
    gboolean is_there;
    gint64 now = units_now_ms();

    if (!lookup_desktop_by_id(db, batch_text(chunk, i, "id"), &desktop, error))
        return FALSE;
    if (!desktop.data_layer_id && job_is_resumed(chunk->job))
        return TRUE; /* in the journal just before a stop */
    if (g_strcmp0(desktop.data_layer_id, batch_text(chunk, i, "layer")) != 0) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY, "its data disk was replaced meanwhile");
        return FALSE;
    }
    if (!lookup_layer(db, desktop.data_layer_id, &layer, error))
        return FALSE;
    g_autoptr(Store) store = store_set_get(chunk->world->stores, layer.store_id, error);
    if (!store || !batch_hold(chunk, i, store, layer.slot, &stat, &is_there))
        return FALSE;
    Replaced replaced = { .desktop = &desktop,
                          .data = { &layer, is_there ? &stat : NULL },
                          .trash_id = batch_text(chunk, i, "trash"),
                          .reason = "detached",
                          .now = now };
    replaced_put_item(chunk, i, &replaced);
    DesktopRow changed = desktop;
    changed.data_layer_id = NULL;
    changed.changed_at = now;
    changes_put(chunk->changes, ROW_DESKTOP, &changed, changed.store_id);
    return TRUE;
}

static gboolean prepare_detach(BatchChunk *chunk, GError **error)
{
    Db *db = catalog_read_begin(chunk->world->catalog);

    for (guint i = 0; i < chunk->n; i++)
        detach_one(chunk, i, db, &chunk->errors[i]);
    catalog_read_end(chunk->world->catalog, db);
    batch_event(chunk, "desktop.data-disk-detach", "data disk moved to the trash:", "desktops");
    return TRUE;
}

static gboolean run_detach(Job *job, gpointer world, GError **error)
{
    static const BatchType type = { prepare_detach, NULL, batch_move_now };

    return batch_run(job, world, &type, error);
}

const JobType data_disk_detach_job = { "desktop.data-disk-detach", JOB_INTERACTIVE, "desktops",
                                       run_detach };
