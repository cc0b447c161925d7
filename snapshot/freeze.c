/* freeze.c: see freeze.h.
 *
 *   overlays durable in layers/ -> old layers flushed and read-only -> facts
 *
 * Until the facts are committed, the old layer is the active one: the sweep at the next start makes
 * it writable again, and the overlays are orphans of a plan that names them. */
#include "snapshot/freeze.h"

#include "imaged/base/error.h"
#include "imaged/base/units.h"
#include "snapshot/chain.h"
#include "snapshot/overlays.h"

static gboolean load_disk(World *world, Db *db, const char *layer_id, const char *new_id,
                          FreezeDisk *d, GError **error)
{
    g_auto(LayerRow) below = { 0 };

    d->new_id = new_id;
    if (!lookup_layer(db, layer_id, &d->old, error) ||
        (d->old.parent_id && !lookup_layer(db, d->old.parent_id, &below, error)))
        return FALSE;
    d->is_larger = below.id && below.virtual_size != d->old.virtual_size;
    d->size = (guint64)d->old.virtual_size;
    d->store = store_set_get(world->stores, d->old.store_id, error);
    return d->store != NULL;
}

gboolean freeze_load(World *world, Db *db, const char *desktop_id, const char *new_id,
                     const char *new_data_id, Freeze *f, GError **error)
{
    *f = (Freeze){ 0 };
    if (!lookup_desktop_by_id(db, desktop_id, &f->desktop, error))
        return FALSE;
    if (f->desktop.is_trashed) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "it was deleted meanwhile");
        return FALSE;
    }
    const char *data = f->desktop.data_layer_id;
    f->is_done = (new_id && g_str_equal(f->desktop.layer_id, new_id)) ||
                 (data && g_strcmp0(data, new_data_id) == 0);
    return (!new_id ||
            load_disk(world, db, f->desktop.layer_id, new_id, &f->disks[DISK_SYSTEM], error)) &&
           (!new_data_id || !data ||
            load_disk(world, db, data, new_data_id, &f->disks[DISK_DATA], error));
}

void freeze_clear(Freeze *f)
{
    desktop_row_clear(&f->desktop);
    for (guint k = 0; k < DISK_N; k++) {
        layer_row_clear(&f->disks[k].old);
        g_clear_pointer(&f->disks[k].store, store_unref);
    }
}

gboolean freeze_lock(BatchChunk *chunk, guint i, const Freeze *f)
{
    for (guint k = 0; k < DISK_N; k++) {
        if (f->disks[k].old.id && !batch_lock(chunk, i, f->disks[k].store, f->disks[k].old.slot))
            return FALSE;
    }
    return TRUE;
}

/* Does the active layer hold anything at all, be it no more than a larger size? */
static gboolean is_needed(const FreezeDisk *d, gboolean *ret_is_needed, GError **error)
{
    g_autoptr(Layer) layer = store_open_layer(d->store, d->old.slot, NULL, error);
    g_autoptr(LayerExtents) extents =
        layer ? layer_extents_new(layer, 0, layer_virtual_size(layer)) : NULL;
    g_autoptr(GError) local = NULL;
    Extent extent;

    *ret_is_needed = d->is_larger;
    while (extents && !*ret_is_needed && layer_extents_next(extents, &extent, &local))
        *ret_is_needed = extent.kind != EXTENT_UNALLOCATED;
    if (local)
        g_propagate_error(error, g_steal_pointer(&local));
    else if (layer)
        return TRUE;
    return FALSE;
}

static void add_overlay(Overlays *overlays, const Freeze *f, const FreezeDisk *d, gint64 now)
{
    Identity identity = { .id = (char *)d->new_id,
                          .parent = d->old.id,
                          .owner_kind = d->old.owner_kind,
                          .owner_id = f->desktop.id,
                          .owner_name = f->desktop.name,
                          .generation = f->desktop.generation,
                          .created_at = now };

    overlays_add(overlays, d->store, &identity, d->old.slot, d->size);
}

gboolean freeze_write(Freeze *const *freezes, guint n, gint64 now, GError **error)
{
    g_autoptr(Overlays) overlays = overlays_new();

    for (guint i = 0; i < n; i++) {
        for (guint k = 0; !freezes[i]->is_done && k < DISK_N; k++) {
            if (freezes[i]->disks[k].store)
                add_overlay(overlays, freezes[i], &freezes[i]->disks[k], now);
        }
    }
    gboolean ok = overlays_write(overlays, error);
    for (guint i = 0; ok && i < n; i++) {
        for (guint k = 0; ok && k < DISK_N; k++) {
            const FreezeDisk *d = &freezes[i]->disks[k];
            if (d->store && !freezes[i]->is_done)
                ok = d->store->ops->freeze(d->store, d->old.slot, TRUE, error);
        }
    }
    for (guint i = 0; !ok && i < n; i++)
        freeze_undo(freezes[i]);
    return ok;
}

void freeze_undo(const Freeze *f)
{
    for (guint k = 0; !f->is_done && k < DISK_N; k++) {
        const FreezeDisk *d = &f->disks[k];
        if (!d->store)
            continue;
        d->store->ops->freeze(d->store, d->old.slot, FALSE, NULL);
        d->store->ops->discard(d->store, STORE_LAYERS, &d->new_id, 1, NULL);
    }
}

static void set_text(char **field, const char *text)
{
    g_free(*field);
    *field = g_strdup(text);
}

void freeze_put(Freeze *f, Changes *changes, gint64 now)
{
    /* The data disk's first: it may be in another store's journal, and whether this was done is
     * told by the desktop's row. */
    for (guint k = DISK_N; k-- > 0;) {
        FreezeDisk *d = &f->disks[k];
        LayerRow layer = d->old;
        if (!d->old.id)
            continue;
        layer.id = layer.slot = (char *)d->new_id;
        layer.parent_id = d->old.id;
        layer.generation = f->desktop.generation;
        layer.state = "active";
        layer.virtual_size = (gint64)d->size;
        layer.checksum = NULL;
        layer.created_at = now;
        set_text(&d->old.state, "frozen");
        changes_put(changes, ROW_LAYER, &d->old, d->old.store_id);
        changes_put(changes, ROW_LAYER, &layer, layer.store_id);
        set_text(k == DISK_DATA ? &f->desktop.data_layer_id : &f->desktop.layer_id, d->new_id);
    }
    f->desktop.changed_at = now;
    changes_put(changes, ROW_DESKTOP, &f->desktop, f->desktop.store_id);
}

/* Freeze one desktop's disks as a step of a job; the overlays go again if that does not hold.  The
 * caller has QEMU's locks. */
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

/* Which disks need not be frozen, and what holds each one's present state.  FALSE: an error. */
static gboolean choose_disks(Freeze *f, const ChainFreeze *c, ChainFrozen *ret, GError **error)
{
    char **frozen[DISK_N] = { &ret->layer_id, &ret->data_layer_id };
    gboolean any = FALSE;

    for (guint k = 0; k < DISK_N; k++) {
        FreezeDisk *d = &f->disks[k];
        gboolean needed = TRUE;
        if (!d->old.id)
            continue;
        /* A disk that stands on nothing has no layer below that could serve in its place. */
        if (c->only_if_changed && !f->is_done && d->old.parent_id && !is_needed(d, &needed, error))
            return FALSE;
        *frozen[k] = g_strdup(f->is_done || !needed ? d->old.parent_id : d->old.id);
        any |= needed;
        if (needed)
            continue;
        layer_row_clear(&d->old);
        d->old = (LayerRow){ 0 };
        g_clear_pointer(&d->store, store_unref);
    }
    f->is_done |= !any; /* then the step alone is committed */
    return TRUE;
}

void chain_frozen_clear(ChainFrozen *frozen)
{
    g_clear_pointer(&frozen->layer_id, g_free);
    g_clear_pointer(&frozen->data_layer_id, g_free);
}

gboolean chain_freeze(Job *job, World *world, const ChainFreeze *c, gint64 next_step,
                      ChainFrozen *ret, GError **error)
{
    g_auto(ImageLock) lock = IMAGE_LOCK_INIT;
    g_auto(ImageLock) data_lock = IMAGE_LOCK_INIT;
    ImageLock *locks[DISK_N] = { &lock, &data_lock };
    g_auto(Freeze) f = { 0 };
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok = freeze_load(world, db, c->desktop_id, c->new_id, c->new_data_id, &f, error);

    catalog_read_end(world->catalog, db);
    /* Under a running QEMU a disk looks empty for as long as nothing was flushed. */
    for (guint k = 0; ok && !f.is_done && k < DISK_N; k++)
        ok = !f.disks[k].old.id ||
             store_lock_layer(f.disks[k].store, f.disks[k].old.slot, locks[k], error);
    return ok && choose_disks(&f, c, ret, error) &&
           freeze_one(job, &f, changes_new(), next_step, error);
}
