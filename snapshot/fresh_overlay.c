/* fresh_overlay.c: see fresh_overlay.h. */
#include "snapshot/fresh_overlay.h"

#include "imaged/base/units.h"
#include "snapshot/overlays.h"
#include "snapshot/replaced.h"

gboolean fresh_overlay_load(World *world, Db *db, const char *desktop_id, const char *new_id,
                            gboolean is_data, FreshOverlay *f, GError **error)
{
    *f = (FreshOverlay){ .new_id = new_id, .is_data = is_data };
    if (!lookup_desktop_by_id(db, desktop_id, &f->desktop, error))
        return FALSE;
    const char *active = is_data ? f->desktop.data_layer_id : f->desktop.layer_id;
    f->is_there = active != NULL;
    f->is_done = g_strcmp0(active, new_id) == 0;
    if (!f->is_there || f->is_done)
        return TRUE;
    if (!lookup_layer(db, active, &f->active, error))
        return FALSE;
    f->store = store_set_get(world->stores, f->active.store_id, error);
    return f->store != NULL;
}

void fresh_overlay_clear(FreshOverlay *f)
{
    desktop_row_clear(&f->desktop);
    layer_row_clear(&f->active);
    g_clear_pointer(&f->store, store_unref);
}

gboolean fresh_overlay_write(const FreshOverlay *f, GError **error)
{
    g_autoptr(Overlays) overlays = overlays_new();
    Identity identity = { .id = (char *)f->new_id,
                          .parent = f->active.parent_id,
                          .owner_kind = f->active.owner_kind,
                          .owner_id = f->desktop.id,
                          .owner_name = f->desktop.name,
                          .generation = f->active.generation,
                          .created_at = units_now_ms() };
    g_autoptr(Layer) active = store_open_layer(f->store, f->active.slot, NULL, error);

    if (!active)
        return FALSE;
    /* The name in its header is "../layers/SLOT" of its parent. */
    const char *backing = layer_header(active)->backing_name;
    g_autofree char *slot = backing ? g_path_get_basename(backing) : NULL;
    fresh_overlay_discard(f);
    overlays_add(overlays, f->store, &identity, slot, (guint64)f->active.virtual_size);
    return overlays_write(overlays, error);
}

void fresh_overlay_discard(const FreshOverlay *f)
{
    if (f->store)
        f->store->ops->discard(f->store, STORE_LAYERS, &f->new_id, 1, NULL);
}

gboolean fresh_overlay_put(FreshOverlay *f, World *world, Changes *changes, const char *trash_id,
                           GError **error)
{
    gint64 now = units_now_ms();
    StoreStat stat;
    LayerRow layer = f->active;

    if (!store_stat_layer(f->store, f->active.slot, &stat, error))
        return FALSE;
    layer.id = layer.slot = (char *)f->new_id;
    layer.checksum = NULL;
    layer.created_at = now;
    changes_put(changes, ROW_LAYER, &layer, layer.store_id);
    Replaced replaced = {
        .desktop = &f->desktop, .trash_id = trash_id, .reason = "merged", .now = now
    };
    *(f->is_data ? &replaced.data : &replaced.disk) = (ReplacedDisk){ &f->active, &stat };
    replaced_put(world, changes, &replaced);
    DesktopRow desktop = f->desktop;
    *(f->is_data ? &desktop.data_layer_id : &desktop.layer_id) = (char *)f->new_id;
    desktop.changed_at = now;
    changes_put(changes, ROW_DESKTOP, &desktop, desktop.store_id);
    return TRUE;
}

void fresh_overlay_move_old(const FreshOverlay *f, const char *slot)
{
    GError *why = NULL;

    f->store->ops->move(f->store, &slot, 1, STORE_LAYERS, STORE_TRASH, FALSE, &why, NULL);
    g_clear_error(&why); /* the sweep at the next start does it */
}
