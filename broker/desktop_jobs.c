/* desktop_jobs.c: creating and deleting desktops in batches.
 *
 * create:  overlays written, flushed, renamed -> facts.  Undone as a whole if the commit fails.
 * delete:  QEMU's lock taken -> facts (the layer is trashed) -> file moved to trash/.  Needs no
 *          space and no inode, so it works on a full disk. */
#include "broker/desktop.h"

#include "cow/identity.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"

typedef struct {
    const char *version_id, *version_name, *store_id, *owner;
    int cluster_bits, has_subclusters;
    json_int_t disk_size, data_size; /* asked for; 0: as the template's, none */
} CreatePlan;

static gboolean unpack(json_t *plan, CreatePlan *p, GError **error)
{
    *p = (CreatePlan){ 0 }; /* the sizes are not in a plan of an older version */
    if (json_unpack(plan, "{s:s,s:s,s:s,s:s,s:i,s:b,s?I,s?I}", "version_id", &p->version_id,
                    "version_name", &p->version_name, "store_id", &p->store_id, "owner", &p->owner,
                    "cluster_bits", &p->cluster_bits, "has_subclusters", &p->has_subclusters,
                    "disk_size", &p->disk_size, "data_size", &p->data_size) == 0)
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_FAILED, "the job's plan is not readable");
    return FALSE;
}

static void put_layers(BatchChunk *chunk, guint i, const CreatePlan *p, const LayerRow *base,
                       gint64 now)
{
    const char *layer_id = batch_text(chunk, i, "layer");
    const char *data = batch_text(chunk, i, "data_layer");
    LayerRow layer = { .id = (char *)layer_id, .slot = (char *)layer_id,
                       .store_id = (char *)p->store_id, .parent_id = base->id,
                       .owner_kind = "desktop", .owner_id = (char *)batch_text(chunk, i, "id"),
                       .generation = 1, .state = "active", .place = "layers",
                       .virtual_size = MAX(base->virtual_size, p->disk_size), .created_at = now };

    changes_put(chunk->changes, ROW_LAYER, &layer, p->store_id);
    if (!data)
        return;
    layer.id = layer.slot = (char *)data;
    layer.parent_id = NULL;
    layer.owner_kind = "data";
    layer.virtual_size = p->data_size;
    changes_put(chunk->changes, ROW_LAYER, &layer, p->store_id);
}

static void put_facts(BatchChunk *chunk, guint i, const CreatePlan *p, const LayerRow *base,
                      gint64 now)
{
    const char *id = batch_text(chunk, i, "id");
    g_autofree char *mac = id_to_mac(id);
    g_autofree char *uuid = id_to_uuid(id);
    DesktopRow desktop = { .id = (char *)id, .name = (char *)batch_text(chunk, i, "name"),
                           .version_id = (char *)p->version_id, .owner = (char *)p->owner,
                           .generation = 1, .layer_id = (char *)batch_text(chunk, i, "layer"),
                           .store_id = (char *)p->store_id, .mac = mac, .uuid = uuid, .state = "ok",
                           .created_at = now, .changed_at = now,
                           .data_layer_id = (char *)batch_text(chunk, i, "data_layer"),
                           .disk_size = p->disk_size,
                           .hardware = (char *)json_string_value(
                               json_object_get(chunk->plan, "hardware")),
                           .draft_of = (char *)json_string_value(
                               json_object_get(chunk->plan, "draft_of")) };

    put_layers(chunk, i, p, base, now);
    changes_put(chunk->changes, ROW_DESKTOP, &desktop, p->store_id);
}

static gboolean write_layers(BatchChunk *chunk, Store *store, const CreatePlan *p,
                             const LayerRow *base, gint64 now, GError **error)
{
    g_autofree StoreOverlay *overlays = g_new0(StoreOverlay, 2 * chunk->n);
    g_autoptr(GPtrArray) texts = g_ptr_array_new_with_free_func(g_free);
    guint n = 0;

    for (guint i = 0; i < chunk->n; i++) {
        Identity identity = { .id = (char *)batch_text(chunk, i, "layer"), .parent = base->id,
                              .owner_kind = "desktop",
                              .owner_id = (char *)batch_text(chunk, i, "id"),
                              .owner_name = (char *)batch_text(chunk, i, "name"),
                              .generation = 1, .created_at = now };
        char *text = identity_to_json(&identity);
        g_ptr_array_add(texts, text);
        overlays[n++] = (StoreOverlay){ identity.id, base->slot, text,
                                        (guint64)MAX(base->virtual_size, p->disk_size),
                                        (guint32)p->cluster_bits, p->has_subclusters };
        identity.id = (char *)batch_text(chunk, i, "data_layer");
        identity.parent = NULL;
        identity.owner_kind = "data";
        if (!identity.id)
            continue;
        g_ptr_array_add(texts, text = identity_to_json(&identity));
        overlays[n++] = (StoreOverlay){ identity.id, NULL, text, (guint64)p->data_size,
                                        (guint32)p->cluster_bits, p->has_subclusters };
    }
    return store->ops->create_overlays(store, overlays, n, error);
}

static gboolean prepare_create(BatchChunk *chunk, GError **error)
{
    g_auto(LayerRow) base = { 0 };
    CreatePlan p;
    gint64 now = units_now_ms();

    if (!unpack(chunk->plan, &p, error))
        return FALSE;
    g_autoptr(Store) store = store_set_get(chunk->world->stores, p.store_id, error);
    if (!store)
        return FALSE;
    Db *db = catalog_read_begin(chunk->world->catalog);
    gboolean ok = lookup_version_layer(db, p.version_id, p.store_id, &base, error);
    catalog_read_end(chunk->world->catalog, db);
    if (!ok || !write_layers(chunk, store, &p, &base, now, error))
        return FALSE;
    for (guint i = 0; i < chunk->n; i++)
        put_facts(chunk, i, &p, &base, now);
    g_autofree char *things = g_strdup_printf("desktops from %s", p.version_name);
    batch_event(chunk, "desktop.create", "created", things);
    return TRUE;
}

/* The facts did not hold: the layers were never acknowledged, so they go at once. */
static void undo_create(BatchChunk *chunk)
{
    const char *store_id = json_string_value(json_object_get(chunk->plan, "store_id"));
    g_autoptr(Store) store = store_set_get(chunk->world->stores, store_id, NULL);
    g_autoptr(GPtrArray) slots = g_ptr_array_new();

    for (guint i = 0; i < chunk->n; i++) {
        const char *data = batch_text(chunk, i, "data_layer");
        g_ptr_array_add(slots, (gpointer)batch_text(chunk, i, "layer"));
        if (data)
            g_ptr_array_add(slots, (gpointer)data);
    }
    if (store)
        store->ops->discard(store, STORE_LAYERS, (const char *const *)slots->pdata, slots->len,
                            NULL);
}

static gboolean run_create(Job *job, gpointer world, GError **error)
{
    static const BatchType type = { prepare_create, undo_create, NULL };
    World *w = world;
    const char *store_id = json_string_value(json_object_get(job_plan(job), "store_id"));
    json_t *version_id = json_object_get(job_plan(job), "version_id");
    g_auto(LayerRow) base = { 0 };

    /* A store that has no copy of the template yet gets one first, by the operation above us. */
    Db *db = catalog_read_begin(w->catalog);
    gboolean ok = lookup_version_layer(db, json_string_value(version_id), store_id, &base, error);
    catalog_read_end(w->catalog, db);
    return ok && batch_run(job, w, &type, error);
}

const JobType desktop_create_job = { "desktop.create", JOB_INTERACTIVE, "desktops", run_create };

/* One disk of a desktop goes to the trash: QEMU's lock, the fact, the move later.  A desktop whose
 * file is missing can be deleted all the same. */
static gboolean trash_disk(BatchChunk *chunk, guint i, Db *db, const char *layer_id,
                           LayerRow *layer, gint64 *bytes, GError **error)
{
    StoreStat stat = { 0 };
    gboolean is_there;

    if (!lookup_layer(db, layer_id, layer, error))
        return FALSE;
    g_autoptr(Store) store = store_set_get(chunk->world->stores, layer->store_id, error);
    if (!store || !batch_hold(chunk, i, store, layer->slot, &stat, &is_there))
        return FALSE;
    g_free(layer->state);
    layer->state = g_strdup("trashed");
    g_free(layer->place);
    layer->place = g_strdup("trash");
    *bytes += (gint64)stat.disk_bytes;
    return TRUE;
}

static gboolean trash_one(BatchChunk *chunk, guint i, Db *db, GError **error)
{
    g_auto(DesktopRow) desktop = { 0 };
    LayerRow *layers[2] = { &(LayerRow){ 0 }, &(LayerRow){ 0 } }; /* its disk's, its data disk's */
    gint64 now = units_now_ms(), bytes = 0;

    if (!lookup_desktop_by_id(db, batch_text(chunk, i, "id"), &desktop, error))
        return FALSE;
    if (desktop.is_trashed)
        return TRUE; /* done before a restart */
    gboolean ok = trash_disk(chunk, i, db, desktop.layer_id, layers[0], &bytes, error) &&
                  (!desktop.data_layer_id ||
                   trash_disk(chunk, i, db, desktop.data_layer_id, layers[1], &bytes, error));
    if (ok) {
        desktop.is_trashed = TRUE;
        desktop.changed_at = now;
        TrashRow trash = { .id = (char *)batch_text(chunk, i, "trash"), .kind = "desktop",
                           .reason = "deleted", .name = desktop.name, .desktop_id = desktop.id,
                           .version_id = desktop.version_id, .layer_id = desktop.layer_id,
                           .store_id = layers[0]->store_id, .generation = desktop.generation,
                           .disk_bytes = bytes, .trashed_at = now,
                           .expires_at = now + chunk->world->settings.trash_keep_ms,
                           .data_layer_id = desktop.data_layer_id };
        /* the data disk first: it may be in another store's journal */
        for (guint k = G_N_ELEMENTS(layers); k-- > 0;) {
            if (layers[k]->id) {
                changes_put(chunk->changes, ROW_LAYER, layers[k], layers[k]->store_id);
                batch_move_later(chunk, i, layers[k]->store_id, layers[k]->slot);
            }
        }
        changes_put(chunk->changes, ROW_DESKTOP, &desktop, desktop.store_id);
        changes_put(chunk->changes, ROW_TRASH, &trash, trash.store_id);
    }
    for (guint k = 0; k < G_N_ELEMENTS(layers); k++)
        layer_row_clear(layers[k]);
    return ok;
}

static gboolean prepare_delete(BatchChunk *chunk, GError **error)
{
    Db *db = catalog_read_begin(chunk->world->catalog);

    for (guint i = 0; i < chunk->n; i++)
        trash_one(chunk, i, db, &chunk->errors[i]);
    catalog_read_end(chunk->world->catalog, db);
    batch_event(chunk, "desktop.delete", "moved to the trash:", "desktops");
    return TRUE;
}

static gboolean run_delete(Job *job, gpointer world, GError **error)
{
    static const BatchType type = { prepare_delete, NULL, batch_move_now };

    return batch_run(job, world, &type, error);
}

const JobType desktop_delete_job = { "desktop.delete", JOB_INTERACTIVE, "desktops", run_delete };
