/* store_check_layer.c: one layer: its tables against its refcounts, its identity and parent against
 * what the catalog says, and on request the bytes of a frozen one against its checksum.  What is
 * found is reported and left as it is; one that was frozen without being read gets its checksum. */
#include "imaged/ops/store_check.h"

#include "cow/digest.h"
#include "cow/identity.h"
#include "cow/layer_check.h"
#include "imaged/base/error.h"
#include "snapshot/stand_in.h"

/* The layer below, as the catalog knows it; all NULL for a base.  Caller clears. */
static void find_parent(StoreCheck *c, const LayerRow *row, LayerRow *ret)
{
    Db *db = catalog_read_begin(c->world->catalog);

    if (row->parent_id)
        lookup_layer(db, row->parent_id, ret, NULL);
    catalog_read_end(c->world->catalog, db);
}

static void check_identity(StoreCheck *c, const LayerRow *row, const Layer *layer)
{
    const Qcow2Header *h = layer_header(layer);
    g_auto(Identity) identity = { 0 };
    g_auto(LayerRow) parent = { 0 };

    find_parent(c, row, &parent);
    g_autofree char *expected = parent.slot ? g_strdup_printf("../layers/%s", parent.slot) : NULL;
    /* What was merged into the slot below, or taken back into it, has an id that a header from
     * before doesn't know. */
    gboolean was_merged =
        parent.slot && (!g_str_equal(parent.slot, parent.id) || layer_row_is_own(&parent));
    if (!h->identity || !identity_parse(h->identity, &identity, NULL))
        store_check_find(c, "error", "forged", row->slot, row, FALSE,
                         "the layer's file carries no identity");
    else if (!g_str_equal(identity.id, row->id) || !identity.parent != !row->parent_id ||
             (!was_merged && g_strcmp0(identity.parent, row->parent_id) != 0))
        store_check_find(c, "error", "forged", row->slot, row, FALSE,
                         "the file in this slot says that it is layer %s", identity.id);
    if (g_strcmp0(expected, h->backing_name) != 0)
        store_check_find(c, "error", "wrong_parent", row->slot, row, FALSE,
                         "its file names another backing file than the catalog");
    if ((gint64)layer_virtual_size(layer) != row->virtual_size)
        store_check_find(c, "warning", "wrong_size", row->slot, row, FALSE,
                         "its virtual size is not the catalog's");
}

static gboolean check_tables(StoreCheck *c, const LayerRow *row, const Layer *layer, GError **error)
{
    g_auto(LayerCheck) result = { 0 };

    if (!layer_check(layer, job_cancel_flag(c->job), NULL, NULL, &result, error))
        return FALSE;
    c->n_checked++;
    if (result.n_errors)
        store_check_find(c, "error", "corrupt", row->slot, row, FALSE,
                         "%" G_GUINT64_FORMAT " errors: %s", result.n_errors,
                         result.messages->len ? (const char *)result.messages->pdata[0] : "");
    else if (result.n_leaks)
        store_check_find(c, "note", "leak", row->slot, row, FALSE,
                         "%" G_GUINT64_FORMAT
                         " clusters are allocated but not used (harmless; the next"
                         " re-image drops them)",
                         result.n_leaks);
    return TRUE;
}

/* A layer that was frozen without being read (a snapshot) has its checksum from now on. */
static gboolean note_checksum(StoreCheck *c, const LayerRow *seen, char *checksum, GError **error)
{
    gboolean is_own = layer_row_is_own(seen), ok = TRUE;
    gboolean is_stand_in = g_str_equal(seen->owner_kind, LAYER_STAND_IN);
    json_t *keys = json_array();

    claims_add(keys, 'x',
               is_own        ? "layers"
               : is_stand_in ? LAYER_STAND_IN
                             : "version",
               seen->owner_id);
    if (is_own)
        claims_add(keys, 'x', "desktop", seen->owner_id);
    if (claims_take(c->world->claims, keys, "store.check", NULL)) { /* else at the next check */
        g_auto(LayerRow) row = { 0 };
        Db *db = catalog_read_begin(c->world->catalog);
        gboolean is_there = lookup_layer(db, seen->id, &row, NULL) &&
                            g_str_equal(row.state, "frozen") && !row.checksum;
        catalog_read_end(c->world->catalog, db);
        if (is_there) {
            Changes *changes = changes_new();
            row.checksum = g_strdup(checksum);
            changes_put(changes, ROW_LAYER, &row, row.store_id);
            ok = catalog_commit(c->world->catalog, changes, error);
        }
        claims_release(c->world->claims, keys);
    }
    json_decref(keys);
    return ok;
}

static gboolean check_data(StoreCheck *c, const LayerRow *row, const Layer *layer, GError **error)
{
    g_autoptr(GError) local = NULL;
    Digest digest;

    if (!c->data || (!row->checksum && !g_str_equal(row->state, "frozen")))
        return TRUE;
    if (!digest_file(layer_fd(layer), job_cancel_flag(c->job), NULL, NULL, &digest, &local)) {
        if (g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_CANCELLED)) {
            g_propagate_error(error, g_steal_pointer(&local));
            return FALSE;
        }
        store_check_find(c, "error", "data", row->slot, row, FALSE, "%s", local->message);
        return TRUE;
    }
    g_autofree char *found = digest_to_text(&digest);
    if (!row->checksum)
        return note_checksum(c, row, found, error);
    if (!g_str_equal(found, row->checksum))
        store_check_find(
            c, "error", "data", row->slot, row, FALSE,
            "its bytes do not match its checksum: the storage has damaged it, or somebody wrote "
            "it");
    return TRUE;
}

gboolean store_check_layer(StoreCheck *c, const LayerRow *row, GError **error)
{
    g_autoptr(GError) local = NULL;
    gboolean is_live = FALSE;

    if (g_str_equal(row->state, "reclaim"))
        return TRUE; /* on its way out, in part gone */
    g_autoptr(Layer) layer = store_open_layer(c->store, row->slot, &is_live, &local);
    if (!layer) {
        gboolean is_gone = g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND);
        store_check_find(c, "error", is_gone ? "missing" : "corrupt", row->slot, row, FALSE, "%s",
                         is_gone ? "the layer's file is not in the store" : local->message);
        return TRUE;
    }
    check_identity(c, row, layer);
    if (is_live) { /* its tables on disk are stale */
        c->n_live++;
        return TRUE;
    }
    return check_tables(c, row, layer, error) && check_data(c, row, layer, error);
}
