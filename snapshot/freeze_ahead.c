/* freeze_ahead.c: see freeze_ahead.h. */
#include "snapshot/freeze_ahead.h"

#include "imaged/base/error.h"
#include "snapshot/overlays.h"

static gboolean load_disk(World *world, Db *db, const char *layer_id, const char *new_id,
                          AheadDisk *d, gboolean *ret_is_ahead, GError **error)
{
    *ret_is_ahead = g_str_equal(layer_id, new_id);
    d->new_id = new_id;
    if (*ret_is_ahead && !lookup_layer(db, new_id, &d->active, error))
        return FALSE;
    if (!lookup_layer(db, *ret_is_ahead ? d->active.parent_id : layer_id, &d->below, error))
        return FALSE;
    d->store = store_set_get(world->stores, d->below.store_id, error);
    return d->store != NULL;
}

gboolean freeze_ahead_load(World *world, Db *db, const char *desktop_id, const char *new_id,
                           const char *new_data_id, FreezeAhead *f, GError **error)
{
    const char *ids[DISK_N] = { new_id, new_data_id };

    *f = (FreezeAhead){ 0 };
    if (!lookup_desktop_by_id(db, desktop_id, &f->desktop, error))
        return FALSE;
    const char *layers[DISK_N] = { f->desktop.layer_id, f->desktop.data_layer_id };
    for (guint k = 0; k < DISK_N; k++) {
        gboolean is_ahead = FALSE;
        if (!ids[k] || !layers[k])
            continue;
        if (!load_disk(world, db, layers[k], ids[k], &f->disks[k], &is_ahead, error))
            return FALSE;
        f->is_ahead = is_ahead; /* both are put with the desktop's row */
        f->is_frozen = is_ahead && g_str_equal(f->disks[k].below.state, "frozen");
    }
    return TRUE;
}

void freeze_ahead_clear(FreezeAhead *f)
{
    desktop_row_clear(&f->desktop);
    for (guint k = 0; k < DISK_N; k++) {
        layer_row_clear(&f->disks[k].below);
        layer_row_clear(&f->disks[k].active);
        g_clear_pointer(&f->disks[k].store, store_unref);
    }
}

gboolean freeze_ahead_write(const FreezeAhead *f, gint64 now, GError **error)
{
    g_autoptr(Overlays) overlays = overlays_new();

    for (guint k = 0; k < DISK_N; k++) {
        const AheadDisk *d = &f->disks[k];
        if (!d->store)
            continue;
        Identity identity = { .id = (char *)d->new_id,
                              .parent = d->below.id,
                              .owner_kind = d->below.owner_kind,
                              .owner_id = f->desktop.id,
                              .owner_name = f->desktop.name,
                              .generation = f->desktop.generation,
                              .created_at = now };
        overlays_add(overlays, d->store, &identity, d->below.slot, (guint64)d->below.virtual_size);
    }
    gboolean ok = overlays_write(overlays, error);
    if (!ok)
        freeze_ahead_discard(f);
    return ok;
}

/* The desktop's row with these disks. */
static void put_desktop(FreezeAhead *f, Changes *changes, gboolean is_ahead, gint64 now)
{
    char **fields[DISK_N] = { &f->desktop.layer_id, &f->desktop.data_layer_id };

    for (guint k = 0; k < DISK_N; k++) {
        const AheadDisk *d = &f->disks[k];
        if (!d->store)
            continue;
        g_free(*fields[k]);
        *fields[k] = g_strdup(is_ahead ? d->new_id : d->below.id);
    }
    f->desktop.changed_at = now;
    f->is_ahead = is_ahead;
    changes_put(changes, ROW_DESKTOP, &f->desktop, f->desktop.store_id);
}

void freeze_ahead_put(FreezeAhead *f, Changes *changes, gint64 now)
{
    for (guint k = DISK_N; k-- > 0;) { /* the data disk's first, as freeze_put() */
        AheadDisk *d = &f->disks[k];
        if (!d->store)
            continue;
        LayerRow *row = row_copy(ROW_LAYER, &d->below);
        g_free(row->id);
        g_free(row->slot);
        g_free(row->parent_id);
        g_clear_pointer(&row->checksum, g_free);
        row->id = g_strdup(d->new_id);
        row->slot = g_strdup(d->new_id);
        row->parent_id = g_strdup(d->below.id);
        row->generation = f->desktop.generation;
        row->created_at = now;
        d->active = *row;
        g_free(row);
        changes_put(changes, ROW_LAYER, &d->active, d->active.store_id);
    }
    put_desktop(f, changes, TRUE, now);
}

void freeze_ahead_put_back(FreezeAhead *f, Changes *changes, gint64 now)
{
    put_desktop(f, changes, FALSE, now);
    for (guint k = 0; k < DISK_N; k++) {
        if (f->disks[k].store)
            changes_delete(changes, ROW_LAYER, f->disks[k].new_id, f->disks[k].below.store_id);
    }
}

void freeze_ahead_discard(const FreezeAhead *f)
{
    for (guint k = 0; k < DISK_N; k++) {
        const AheadDisk *d = &f->disks[k];
        if (d->store)
            d->store->ops->discard(d->store, STORE_LAYERS, &d->new_id, 1, NULL);
    }
}

gboolean freeze_ahead_close(const FreezeAhead *f, GError **error)
{
    gboolean ok = TRUE;

    for (guint k = 0; ok && k < DISK_N; k++) {
        const AheadDisk *d = &f->disks[k];
        ok = !d->store || d->store->ops->freeze(d->store, d->below.slot, TRUE, error);
    }
    return ok;
}

void freeze_ahead_put_frozen(FreezeAhead *f, Changes *changes)
{
    for (guint k = DISK_N; k-- > 0;) {
        AheadDisk *d = &f->disks[k];
        if (!d->store)
            continue;
        g_free(d->below.state);
        d->below.state = g_strdup("frozen");
        changes_put(changes, ROW_LAYER, &d->below, d->below.store_id);
    }
    f->is_frozen = TRUE;
}
