/* merge_back.c: see merge_back.h.  The reverse of merge.c's switch: the file in the slot gets a
 * name in trash/, the former one is renamed over the slot.  The layers that it stands on are there
 * still, since a layer that something stands on is never given back.
 *
 * Only frozen layers are taken back: a slot that QEMU wrote to since has another content. */
#include "snapshot/merge_back.h"

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "snapshot/merge_facts.h"

typedef struct {
    LayerRow former, merged;
    DesktopRow desktop;
    Store *store;
    Id name; /* of the merged one's file in trash/ */
} Back;

static void back_clear(Back *b)
{
    layer_row_clear(&b->former);
    layer_row_clear(&b->merged);
    desktop_row_clear(&b->desktop);
    g_clear_pointer(&b->store, store_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Back, back_clear)

static gboolean load(BatchChunk *chunk, Db *db, const TrashRow *entry, Back *b, GError **error)
{
    if (!lookup_layer(db, entry->layer_id, &b->former, error) ||
        !lookup_desktop_by_id(db, entry->desktop_id, &b->desktop, error) ||
        !lookup_slot(db, entry->store_id, entry->slot, &b->merged, error))
        return FALSE;
    Id merged = id_derive("former", b->merged.id, "");
    Id back = id_derive("former", b->merged.id, b->former.id); /* it was taken back before */
    gboolean is_same = (g_str_equal(merged.s, b->former.slot) ||
                        g_str_equal(back.s, b->former.slot)) &&
                       g_str_equal(b->merged.state, "frozen");
    if (!is_same || b->desktop.is_trashed) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    b->desktop.is_trashed ? "its desktop is in the trash"
                                          : "its slot has another content since");
        return FALSE;
    }
    b->name = id_derive("former", b->former.id, b->merged.id);
    b->store = store_set_get(chunk->world->stores, entry->store_id, error);
    return b->store != NULL;
}

static void set_text(char **field, const char *text)
{
    g_free(*field);
    *field = g_strdup(text);
}

static gboolean put_facts(BatchChunk *chunk, Db *db, const TrashRow *entry, Back *b,
                          const char *trash_id, GError **error)
{
    gint64 now = units_now_ms();
    Changes *changes = chunk->changes;

    if (!merge_put_moved(db, changes, b->merged.id, b->former.id, error))
        return FALSE;
    set_text(&b->former.state, "frozen");
    set_text(&b->former.place, "layers");
    set_text(&b->former.slot, entry->slot);
    set_text(&b->merged.state, "trashed");
    set_text(&b->merged.place, "trash");
    set_text(&b->merged.slot, b->name.s);
    changes_put(changes, ROW_LAYER, &b->merged, b->merged.store_id);
    changes_put(changes, ROW_LAYER, &b->former, b->former.store_id);
    TrashRow trash = *entry;
    StoreStat stat = { 0 };
    b->store->ops->stat(b->store, STORE_TRASH, b->name.s, &stat, NULL);
    trash.id = (char *)trash_id;
    trash.reason = "restore";
    trash.layer_id = b->merged.id;
    trash.disk_bytes = (gint64)stat.disk_bytes;
    trash.trashed_at = now;
    trash.expires_at = now + chunk->world->settings.merged_keep_ms;
    changes_put(changes, ROW_TRASH, &trash, trash.store_id);
    changes_delete(changes, ROW_TRASH, entry->id, entry->store_id);
    return TRUE;
}

/* Put the file of merged, which has a name in trash/, back into the slot, if it isn't there. */
static void switch_back(const Back *b, const char *slot)
{
    StoreStat stat, there;

    if (!b->store->ops->stat(b->store, STORE_TRASH, b->name.s, &stat, NULL) ||
        !b->store->ops->stat(b->store, STORE_LAYERS, slot, &there, NULL))
        return;
    if (stat.inode == there.inode) {
        const char *name = b->name.s;
        b->store->ops->discard(b->store, STORE_TRASH, &name, 1, NULL);
    } else {
        b->store->ops->switch_slot(b->store, slot, STORE_TRASH, b->name.s, b->former.slot, TRUE,
                                   NULL);
    }
}

gboolean merge_take_back(BatchChunk *chunk, guint i, Db *db, const TrashRow *entry, GError **error)
{
    g_auto(Back) b = { 0 };
    StoreStat stat;

    if (!load(chunk, db, entry, &b, error))
        return FALSE;
    /* after a stop the switch may be done already: then trash/ has the former no more */
    if (b.store->ops->stat(b.store, STORE_TRASH, b.former.slot, &stat, NULL)) {
        if (!b.store->ops->switch_slot(b.store, entry->slot, STORE_TRASH, b.former.slot, b.name.s,
                                       TRUE, error)) {
            switch_back(&b, entry->slot);
            return FALSE;
        }
    } else if (!b.store->ops->discard(b.store, STORE_LAYERS, NULL, 0, error)) { /* a flush */
        return FALSE;
    }
    return put_facts(chunk, db, entry, &b, batch_text(chunk, i, "trash"), error);
}

void merge_undo_take_back(BatchChunk *chunk, Db *db, const TrashRow *entry)
{
    g_auto(Back) b = { 0 };

    if (load(chunk, db, entry, &b, NULL))
        switch_back(&b, entry->slot);
}
