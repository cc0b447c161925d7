/* reimage_undo.c: bringing back the disks that a reset or revert replaced.
 *
 *   QEMU's lock on the present layer -> old file back to layers/ -> facts -> present one to trash/
 *
 * The newest entry says which disks: the disk, the data disk, or both where both were replaced at
 * once.  The next undo takes the one before it. */
#include "snapshot/reimage.h"

#include "cow/store_nvram.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "snapshot/replaced.h"

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
        claims_add(keys, 'x', batch_plan_desktop_key(plan), row->id);
        claims_add(keys, 'x', "trash", entry.id);
        claims_add(keys, 's', "version", entry.version_id);
        batch_plan_add(plan,
                       json_pack("{s:s,s:s,s:s,s:s,s:s?}", "id", row->id, "name", row->name,
                                 "entry", entry.id, "trash", trash.s, "data",
                                 g_str_equal(entry.kind, "data") ? entry.layer_id : NULL),
                       keys);
    }
    catalog_read_end(world->catalog, db);
    return TRUE;
}

/* One of the two disks: what comes back, and what is there now. */
typedef struct {
    const char *layer_id; /* NULL: it is left alone */
    LayerRow layer, old;  /* old is empty if the desktop has no such disk now */
    Store *store, *old_store;
    gboolean has_old;
    gboolean is_there; /* the desktop names it already: the entry was left over */
    StoreStat stat;
} Side;

typedef struct {
    DesktopRow desktop;
    Side disk, data;
} Swap;

static void side_clear(Side *s)
{
    layer_row_clear(&s->layer);
    layer_row_clear(&s->old);
    g_clear_pointer(&s->store, store_unref);
    g_clear_pointer(&s->old_store, store_unref);
}

static void swap_clear(Swap *s)
{
    desktop_row_clear(&s->desktop);
    side_clear(&s->disk);
    side_clear(&s->data);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Swap, swap_clear)

/* Only the state that a stop between two journals or an old catalog leaves: never two writers. */
static gboolean check_unused(Db *db, const char *layer_id, const char *desktop_id, GError **error)
{
    if (!lookup_is_used(db, layer_id, desktop_id))
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "another desktop has this disk now");
    imaged_error_hint(error, "see what does not fit together with: imagectl store check");
    return FALSE;
}

/* The rows and stores.  The present disk may lie in another store: the desktop was moved since. */
static gboolean load_side(World *world, Db *db, const DesktopRow *desktop, const char *old_id,
                          Side *s, GError **error)
{
    if (!s->layer_id)
        return TRUE;
    s->is_there = g_strcmp0(old_id, s->layer_id) == 0;
    if (s->is_there)
        old_id = NULL;
    if (!check_unused(db, s->layer_id, desktop->id, error) ||
        !lookup_layer(db, s->layer_id, &s->layer, error) ||
        (old_id && !lookup_layer(db, old_id, &s->old, error)) ||
        !(s->store = store_set_get(world->stores, s->layer.store_id, error)))
        return FALSE;
    if (old_id)
        s->old_store = store_set_get(world->stores, s->old.store_id, error);
    return !old_id || s->old_store;
}

static gboolean load_swap(World *world, Db *db, const TrashRow *entry, Swap *s, GError **error)
{
    g_auto(VersionRow) version = { 0 };
    gboolean is_data = g_str_equal(entry->kind, "data");

    s->disk.layer_id = is_data ? NULL : entry->layer_id;
    s->data.layer_id = is_data ? entry->layer_id : entry->data_layer_id;
    if (!lookup_desktop_by_id(db, entry->desktop_id, &s->desktop, error) ||
        (!is_data && !lookup_version_by_id(db, entry->version_id, &version, error)))
        return FALSE;
    if (s->desktop.is_trashed || version.is_trashed) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "its %s is in the trash",
                    s->desktop.is_trashed ? "desktop" : "template version");
        imaged_error_hint(error, "restore that first: imagectl trash list");
        return FALSE;
    }
    return load_side(world, db, &s->desktop, s->desktop.layer_id, &s->disk, error) &&
           load_side(world, db, &s->desktop, s->desktop.data_layer_id, &s->data, error);
}

static gboolean lock_old(BatchChunk *chunk, guint i, Side *s)
{
    return !s->old_store ||
           batch_hold(chunk, i, s->old_store, s->old.slot, &s->stat, &s->has_old);
}

/* No flush: a layer is found in either folder, and the sweep at start puts it right. */
static gboolean bring_back(const Side *s, GError **error)
{
    const char *slot = s->layer.slot;

    return !s->layer_id ||
           s->store->ops->move(s->store, &slot, 1, STORE_TRASH, STORE_LAYERS, FALSE, NULL, error);
}

/* generation: the desktop's when it was last used, 0: as the row has it. */
static void put_back(BatchChunk *chunk, const Side *s, gint64 generation)
{
    LayerRow layer = s->layer;

    layer.state = "active";
    layer.place = "layers";
    if (generation)
        layer.generation = generation;
    changes_put(chunk->changes, ROW_LAYER, &layer, layer.store_id);
}

static ReplacedDisk replaced_side(Side *s)
{
    return (ReplacedDisk){ s->old.id ? &s->old : NULL, s->has_old ? &s->stat : NULL };
}

gboolean reimage_swap(BatchChunk *chunk, guint i, Db *db, const TrashRow *entry,
                      const char *new_trash_id, const char *reason, GError **error)
{
    g_auto(Swap) s = { 0 };

    if (!load_swap(chunk->world, db, entry, &s, error) || !lock_old(chunk, i, &s.disk) ||
        !lock_old(chunk, i, &s.data) || !bring_back(&s.disk, error) || !bring_back(&s.data, error))
        return FALSE;
    Replaced replaced = { .desktop = &s.desktop, .disk = replaced_side(&s.disk),
                          .data = replaced_side(&s.data), .trash_id = new_trash_id,
                          .reason = reason, .now = units_now_ms() };
    DesktopRow changed = s.desktop;

    /* What goes first: after a move it is in another store's journal, and whether this was done is
     * told by that of the disk that comes back. */
    replaced_put_item(chunk, i, &replaced);
    if (s.data.layer_id) { /* before the disk, see replaced_put() */
        put_back(chunk, &s.data, 0);
        changed.data_layer_id = s.data.layer.id;
    }
    /* What its firmware kept then comes back with the disk, see store_nvram_make(). */
    if (s.disk.layer_id)
        put_back(chunk, &s.disk,
                 store_nvram_is_there(s.disk.store, s.desktop.id, entry->generation)
                     ? entry->generation
                     : 0);
    if (s.disk.layer_id && !s.disk.is_there) {
        changed.layer_id = s.disk.layer.id;
        changed.store_id = s.disk.layer.store_id;
        changed.version_id = entry->version_id;
        changed.generation++;
        changed.state = "ok";
    }
    changed.changed_at = replaced.now;
    changes_put(chunk->changes, ROW_DESKTOP, &changed, changed.store_id);
    changes_delete(chunk->changes, ROW_TRASH, entry->id, entry->store_id);
    return TRUE;
}

void reimage_swap_rest(BatchChunk *chunk, Db *db, const char *desktop_id, const char *data_layer_id)
{
    g_auto(DesktopRow) desktop = { 0 };
    g_auto(LayerRow) layer = { 0 };

    if (!data_layer_id || !lookup_desktop_by_id(db, desktop_id, &desktop, NULL) ||
        !lookup_layer(db, data_layer_id, &layer, NULL) || desktop.is_trashed ||
        g_strcmp0(desktop.data_layer_id, data_layer_id) == 0 ||
        !g_str_equal(layer.state, "active") || !g_str_equal(layer.owner_id, desktop.id))
        return;
    DesktopRow changed = desktop;
    changed.data_layer_id = layer.id;
    changed.changed_at = units_now_ms();
    changes_put(chunk->changes, ROW_DESKTOP, &changed, changed.store_id);
}

static gboolean prepare_undo(BatchChunk *chunk, GError **error)
{
    Db *db = catalog_read_begin(chunk->world->catalog);

    for (guint i = 0; i < chunk->n; i++) {
        g_auto(TrashRow) entry = { 0 };
        if (!lookup_trash(db, batch_text(chunk, i, "entry"), &entry, &chunk->errors[i])) {
            if (job_is_resumed(chunk->job)) { /* committed to the journal just before a stop */
                g_clear_error(&chunk->errors[i]);
                reimage_swap_rest(chunk, db, batch_text(chunk, i, "id"),
                                  batch_text(chunk, i, "data"));
            }
            continue;
        }
        reimage_swap(chunk, i, db, &entry, batch_text(chunk, i, "trash"), "undo",
                     &chunk->errors[i]);
    }
    catalog_read_end(chunk->world->catalog, db);
    batch_event(chunk, "desktop.undo-reset", "brought back the former disk:", "desktops");
    return TRUE;
}

/* Nothing to undo: a disk moved back to layers/ is found there as well as in trash/. */
static const BatchType undo_type = { prepare_undo, NULL, batch_move_now };

static gboolean run_undo(Job *job, gpointer world, GError **error)
{
    return batch_run(job, world, &undo_type, error);
}

gboolean reimage_undo_one(Job *job, World *world, json_t *item, GError **error)
{
    return batch_run_one(job, world, item, &undo_type, error);
}

const JobType reimage_undo_job = { "desktop.undo-reset", JOB_INTERACTIVE, "desktops", run_undo };
