/* replaced.c: see replaced.h. */
#include "snapshot/replaced.h"

static void set_text(char **field, const char *text)
{
    g_free(*field);
    *field = g_strdup(text);
}

/* TRUE if the disk goes to the trash. */
static gboolean put_layer(Changes *changes, const ReplacedDisk *d)
{
    if (!d->layer)
        return FALSE;
    if (!d->stat) {
        changes_delete(changes, ROW_LAYER, d->layer->id, d->layer->store_id);
        return FALSE;
    }
    set_text(&d->layer->state, "trashed");
    set_text(&d->layer->place, "trash");
    changes_put(changes, ROW_LAYER, d->layer, d->layer->store_id);
    return TRUE;
}

void replaced_put(World *world, Changes *changes, const Replaced *r)
{
    /* The data disk first: if it is in another store's journal, that is written before the one that
     * tells whether this was done. */
    gboolean has_data = put_layer(changes, &r->data), has_disk = put_layer(changes, &r->disk);
    const LayerRow *layer = has_disk ? r->disk.layer : r->data.layer;

    if (!has_disk && !has_data)
        return;
    TrashRow trash = { .id = (char *)r->trash_id,
                       .kind = has_disk ? "disk" : "data",
                       .reason = (char *)r->reason,
                       .name = r->desktop->name,
                       .desktop_id = r->desktop->id,
                       .version_id = r->desktop->version_id,
                       .layer_id = layer->id,
                       .store_id = layer->store_id,
                       .generation = r->desktop->generation,
                       .trashed_at = r->now,
                       .expires_at = r->now + world->settings.trash_keep_ms,
                       .data_layer_id = has_disk && has_data ? r->data.layer->id : NULL };
    trash.disk_bytes = (gint64)((has_disk ? r->disk.stat->disk_bytes : 0) +
                                (has_data ? r->data.stat->disk_bytes : 0));
    changes_put(changes, ROW_TRASH, &trash, trash.store_id);
}

void replaced_put_item(BatchChunk *chunk, guint i, const Replaced *r)
{
    const ReplacedDisk *disks[] = { &r->disk, &r->data };

    replaced_put(chunk->world, chunk->changes, r);
    for (guint k = 0; k < G_N_ELEMENTS(disks); k++) {
        if (disks[k]->layer && disks[k]->stat)
            batch_move_later(chunk, i, disks[k]->layer->store_id, disks[k]->layer->slot);
    }
}
