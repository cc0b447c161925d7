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
} CreatePlan;

static gboolean unpack(json_t *plan, CreatePlan *p, GError **error)
{
    if (json_unpack(plan, "{s:s,s:s,s:s,s:s,s:i,s:b}", "version_id", &p->version_id,
                    "version_name", &p->version_name, "store_id", &p->store_id, "owner", &p->owner,
                    "cluster_bits", &p->cluster_bits, "has_subclusters", &p->has_subclusters) == 0)
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_FAILED, "the job's plan is not readable");
    return FALSE;
}

static void put_facts(BatchChunk *chunk, guint i, const CreatePlan *p, const LayerRow *base,
                      gint64 now)
{
    const char *id = batch_text(chunk, i, "id"), *layer_id = batch_text(chunk, i, "layer");
    g_autofree char *mac = id_to_mac(id);
    g_autofree char *uuid = id_to_uuid(id);
    LayerRow layer = { .id = (char *)layer_id, .slot = (char *)layer_id,
                       .store_id = (char *)p->store_id, .parent_id = base->id,
                       .owner_kind = "desktop", .owner_id = (char *)id, .generation = 1,
                       .state = "active", .place = "layers", .virtual_size = base->virtual_size,
                       .created_at = now };
    DesktopRow desktop = { .id = (char *)id, .name = (char *)batch_text(chunk, i, "name"),
                           .version_id = (char *)p->version_id, .owner = (char *)p->owner,
                           .generation = 1, .layer_id = (char *)layer_id,
                           .store_id = (char *)p->store_id, .mac = mac, .uuid = uuid, .state = "ok",
                           .created_at = now, .changed_at = now,
                           .draft_of = (char *)json_string_value(
                               json_object_get(chunk->plan, "draft_of")) };

    changes_put(chunk->changes, ROW_LAYER, &layer, p->store_id);
    changes_put(chunk->changes, ROW_DESKTOP, &desktop, p->store_id);
}

static gboolean write_overlays(BatchChunk *chunk, Store *store, const CreatePlan *p,
                               const LayerRow *base, gint64 now, GError **error)
{
    g_autofree StoreOverlay *overlays = g_new0(StoreOverlay, chunk->n);
    g_autoptr(GPtrArray) texts = g_ptr_array_new_with_free_func(g_free);

    for (guint i = 0; i < chunk->n; i++) {
        Identity identity = { .id = (char *)batch_text(chunk, i, "layer"), .parent = base->id,
                              .owner_kind = "desktop",
                              .owner_id = (char *)batch_text(chunk, i, "id"),
                              .owner_name = (char *)batch_text(chunk, i, "name"),
                              .generation = 1, .created_at = now };
        char *text = identity_to_json(&identity);
        g_ptr_array_add(texts, text);
        overlays[i] = (StoreOverlay){ identity.id, base->slot, text,
                                      (guint64)base->virtual_size, (guint32)p->cluster_bits,
                                      p->has_subclusters };
    }
    return store->ops->create_overlays(store, overlays, chunk->n, error);
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
    if (!ok || !write_overlays(chunk, store, &p, &base, now, error))
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
    g_autofree const char **slots = g_new(const char *, chunk->n);

    for (guint i = 0; i < chunk->n; i++)
        slots[i] = batch_text(chunk, i, "layer");
    if (store)
        store->ops->discard(store, STORE_LAYERS, slots, chunk->n, NULL);
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

static gboolean trash_one(BatchChunk *chunk, guint i, Db *db, GError **error)
{
    g_auto(DesktopRow) desktop = { 0 };
    g_auto(LayerRow) layer = { 0 };
    StoreStat stat = { 0 };
    gint64 now = units_now_ms();

    if (!lookup_desktop_by_id(db, batch_text(chunk, i, "id"), &desktop, error) ||
        !lookup_layer(db, desktop.layer_id, &layer, error))
        return FALSE;
    if (desktop.is_trashed)
        return TRUE; /* done before a restart */
    g_autoptr(Store) store = store_set_get(chunk->world->stores, layer.store_id, error);
    if (!store)
        return FALSE;
    /* A desktop whose file is missing can be deleted all the same. */
    if (store_stat_layer(store, layer.slot, &stat, NULL) &&
        !batch_lock(chunk, i, store, layer.slot))
        return FALSE;
    desktop.is_trashed = TRUE;
    desktop.changed_at = now;
    g_free(layer.state);
    layer.state = g_strdup("trashed");
    g_free(layer.place);
    layer.place = g_strdup("trash");
    TrashRow trash = { .id = (char *)batch_text(chunk, i, "trash"), .kind = "desktop",
                       .reason = "deleted", .name = desktop.name, .desktop_id = desktop.id,
                       .version_id = desktop.version_id, .layer_id = layer.id,
                       .store_id = layer.store_id, .generation = desktop.generation,
                       .disk_bytes = (gint64)stat.disk_bytes, .trashed_at = now,
                       .expires_at = now + chunk->world->settings.trash_keep_ms };
    changes_put(chunk->changes, ROW_DESKTOP, &desktop, desktop.store_id);
    changes_put(chunk->changes, ROW_LAYER, &layer, layer.store_id);
    changes_put(chunk->changes, ROW_TRASH, &trash, layer.store_id);
    batch_move_later(chunk, i, layer.store_id, layer.slot);
    return TRUE;
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
