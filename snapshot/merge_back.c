/* merge_back.c: see merge_back.h.  The reverse of merge.c's switch: the file in the slot gets a
 * name in trash/, the former one is renamed over the slot.  The layers that it stands on are there
 * still, since a layer that something stands on is never given back. */
#include "snapshot/merge_back.h"

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"

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
    Id expected = id_derive("former", b->merged.id, "");
    if (!g_str_equal(expected.s, b->former.slot) || b->desktop.is_trashed) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    b->desktop.is_trashed ? "its desktop is in the trash"
                                          : "its slot was merged again since");
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
    g_auto(LookupRows) children = { 0 };
    g_auto(LookupRows) snapshots = { 0 };
    gint64 now = units_now_ms();
    Changes *changes = chunk->changes;

    if (!lookup_rows(db, ROW_LAYER, &children, error, "SELECT * FROM layer WHERE parent_id = ?1",
                     "t", b->merged.id) ||
        !lookup_rows(db, ROW_SNAPSHOT, &snapshots, error,
                     "SELECT * FROM snapshot WHERE layer_id = ?1", "t", b->merged.id))
        return FALSE;
    set_text(&b->former.state, b->merged.state);
    set_text(&b->former.place, "layers");
    set_text(&b->former.slot, entry->slot);
    set_text(&b->merged.state, "trashed");
    set_text(&b->merged.place, "trash");
    set_text(&b->merged.slot, b->name.s);
    changes_put(changes, ROW_LAYER, &b->merged, b->merged.store_id);
    changes_put(changes, ROW_LAYER, &b->former, b->former.store_id);
    for (guint k = 0; k < children.rows->len; k++) {
        LayerRow *child = children.rows->pdata[k];
        set_text(&child->parent_id, b->former.id);
        changes_put(changes, ROW_LAYER, child, child->store_id);
    }
    for (guint k = 0; k < snapshots.rows->len; k++) {
        SnapshotRow *row = snapshots.rows->pdata[k];
        set_text(&row->layer_id, b->former.id);
        row->changed_at = now;
        changes_put(changes, ROW_SNAPSHOT, row, row->store_id);
    }
    if (g_str_equal(b->former.state, "active")) {
        set_text(&b->desktop.layer_id, b->former.id);
        b->desktop.changed_at = now;
        changes_put(changes, ROW_DESKTOP, &b->desktop, b->desktop.store_id);
    }
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

gboolean merge_take_back(BatchChunk *chunk, guint i, Db *db, const TrashRow *entry, GError **error)
{
    g_auto(Back) b = { 0 };

    if (!load(chunk, db, entry, &b, error))
        return FALSE;
    gboolean is_active = g_str_equal(b.merged.state, "active");
    StoreStat stat;
    if (is_active && !batch_lock(chunk, i, b.store, b.merged.slot))
        return FALSE;
    /* after a stop the switch may be done already: then trash/ has the former no more */
    if (b.store->ops->stat(b.store, STORE_TRASH, b.former.slot, &stat, NULL) &&
        !b.store->ops->switch_slot(b.store, entry->slot, STORE_TRASH, b.former.slot, b.name.s,
                                   !is_active, error))
        return FALSE;
    return put_facts(chunk, db, entry, &b, batch_text(chunk, i, "trash"), error);
}
