/* freeze.c: see freeze.h.
 *
 *   overlays durable in layers/ -> old layers flushed and read-only -> facts
 *
 * Until the facts are committed, the old layer is the active one: the sweep at the next start makes
 * it writable again, and the overlays are orphans of a plan that names them. */
#include "snapshot/freeze.h"

#include "cow/identity.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"
#include "snapshot/chain.h"

gboolean freeze_load(World *world, Db *db, const char *desktop_id, const char *new_id, Freeze *f,
                     GError **error)
{
    *f = (Freeze){ .new_id = new_id };
    if (!lookup_desktop_by_id(db, desktop_id, &f->desktop, error) ||
        !lookup_layer(db, f->desktop.layer_id, &f->old, error))
        return FALSE;
    if (f->desktop.is_trashed) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "it was deleted meanwhile");
        return FALSE;
    }
    f->is_done = g_str_equal(f->desktop.layer_id, new_id);
    f->store = store_set_get(world->stores, f->desktop.store_id, error);
    return f->store != NULL;
}

void freeze_clear(Freeze *f)
{
    desktop_row_clear(&f->desktop);
    layer_row_clear(&f->old);
    g_clear_pointer(&f->store, store_unref);
}

gboolean freeze_is_needed(const Freeze *f, gboolean *ret_is_needed, GError **error)
{
    g_autoptr(Layer) layer = store_open_layer(f->store, f->old.slot, NULL, error);
    g_autoptr(LayerExtents) extents =
        layer ? layer_extents_new(layer, 0, layer_virtual_size(layer)) : NULL;
    g_autoptr(GError) local = NULL;
    Extent extent;

    *ret_is_needed = FALSE;
    while (extents && !*ret_is_needed && layer_extents_next(extents, &extent, &local))
        *ret_is_needed = extent.kind != EXTENT_UNALLOCATED;
    if (local)
        g_propagate_error(error, g_steal_pointer(&local));
    else if (layer)
        return TRUE;
    return FALSE;
}

/* The overlays of all freezes on the store of freezes[first]. */
static gboolean write_on_store(Freeze *const *freezes, guint n, guint first, gint64 now,
                               GError **error)
{
    g_autofree StoreOverlay *overlays = g_new0(StoreOverlay, n);
    g_autoptr(GPtrArray) texts = g_ptr_array_new_with_free_func(g_free);
    guint n_overlays = 0;

    for (guint i = first; i < n; i++) {
        const Freeze *f = freezes[i];
        if (f->is_done || f->store != freezes[first]->store)
            continue;
        Identity identity = { .id = (char *)f->new_id,
                              .parent = f->old.id,
                              .owner_kind = "desktop",
                              .owner_id = f->desktop.id,
                              .owner_name = f->desktop.name,
                              .generation = f->desktop.generation,
                              .created_at = now };
        char *text = identity_to_json(&identity);
        g_ptr_array_add(texts, text);
        overlays[n_overlays++] =
            (StoreOverlay){ f->new_id, f->old.slot, text, (guint64)f->old.virtual_size, 0, FALSE };
    }
    return freezes[first]->store->ops->create_overlays(freezes[first]->store, overlays, n_overlays,
                                                       error);
}

static gboolean is_first_of_store(Freeze *const *freezes, guint i)
{
    for (guint k = 0; k < i; k++) {
        if (!freezes[k]->is_done && freezes[k]->store == freezes[i]->store)
            return FALSE;
    }
    return !freezes[i]->is_done;
}

gboolean freeze_write(Freeze *const *freezes, guint n, gint64 now, GError **error)
{
    gboolean ok = TRUE;

    for (guint i = 0; ok && i < n; i++) {
        if (is_first_of_store(freezes, i))
            ok = write_on_store(freezes, n, i, now, error);
    }
    for (guint i = 0; ok && i < n; i++) {
        const Freeze *f = freezes[i];
        if (!f->is_done)
            ok = f->store->ops->freeze(f->store, f->old.slot, TRUE, error);
    }
    for (guint i = 0; !ok && i < n; i++)
        freeze_undo(freezes[i]);
    return ok;
}

void freeze_undo(const Freeze *f)
{
    if (!f->store || f->is_done)
        return;
    f->store->ops->freeze(f->store, f->old.slot, FALSE, NULL);
    f->store->ops->discard(f->store, STORE_LAYERS, &f->new_id, 1, NULL);
}

static void set_text(char **field, const char *text)
{
    g_free(*field);
    *field = g_strdup(text);
}

void freeze_put(Freeze *f, Changes *changes, gint64 now)
{
    LayerRow layer = f->old;

    layer.id = layer.slot = (char *)f->new_id;
    layer.parent_id = f->old.id;
    layer.generation = f->desktop.generation;
    layer.state = "active";
    layer.checksum = NULL;
    layer.created_at = now;
    set_text(&f->old.state, "frozen");
    changes_put(changes, ROW_LAYER, &f->old, f->old.store_id);
    changes_put(changes, ROW_LAYER, &layer, layer.store_id);
    set_text(&f->desktop.layer_id, f->new_id);
    f->desktop.changed_at = now;
    changes_put(changes, ROW_DESKTOP, &f->desktop, f->desktop.store_id);
}

/* Freeze one layer as a step of a job; its overlay goes again if that does not hold.  The caller
 * has QEMU's lock on it. */
static gboolean freeze_one(Job *job, Freeze *f, Changes *changes, gint64 next_step, GError **error)
{
    gint64 now = units_now_ms();

    if (!f->is_done && !freeze_write(&f, 1, now, error)) {
        changes_free(changes);
        return FALSE;
    }
    if (!f->is_done)
        freeze_put(f, changes, now);
    if (job_commit(job, changes, next_step, error))
        return TRUE;
    freeze_undo(f);
    return FALSE;
}

gboolean chain_freeze(Job *job, World *world, const char *desktop_id, const char *new_layer_id,
                      gboolean only_if_changed, Changes *more, gint64 next_step,
                      char **ret_frozen_id, GError **error)
{
    g_auto(ImageLock) lock = IMAGE_LOCK_INIT;
    g_auto(Freeze) f = { 0 };
    gboolean is_needed = TRUE;
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok = freeze_load(world, db, desktop_id, new_layer_id, &f, error);

    catalog_read_end(world->catalog, db);
    /* Under a running QEMU a disk looks empty for as long as nothing was flushed. */
    ok = ok && (f.is_done || store_lock_layer(f.store, f.old.slot, &lock, error));
    /* A disk that stands on nothing has no layer below that could serve in its place. */
    if (ok && only_if_changed && !f.is_done && f.old.parent_id)
        ok = freeze_is_needed(&f, &is_needed, error);
    if (!ok) {
        changes_free(more);
        return FALSE;
    }
    *ret_frozen_id = g_strdup(f.is_done || !is_needed ? f.old.parent_id : f.old.id);
    f.is_done |= !is_needed; /* then the step alone is committed */
    return freeze_one(job, &f, more ? more : changes_new(), next_step, error);
}
