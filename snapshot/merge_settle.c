/* merge_settle.c: switches of slots that a stop left half done, and whose job is lost.
 *
 * A switch gives the slot's file a second name in trash/ before it renames the new one over the
 * slot.  A name there that the catalog doesn't know tells, by the ids in the headers, which it is:
 *
 *     the slot holds       the file in trash/ is
 *     the same file        the second name alone: it goes
 *     a merge of it        the merge's former: the facts follow
 *     the former of it     a layer that was being taken back: it is switched again */
#include "cow/identity.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "snapshot/chain.h"
#include "snapshot/merge.h"

typedef struct {
    World *world;
    Store *store;
} Settle;

/* The identity in a file of the store.  Caller clears. */
static gboolean read_identity(Store *store, StorePlace place, const char *slot, Identity *ret)
{
    int fd = store->ops->open(store, place, slot, NULL, NULL);
    g_autoptr(Layer) layer = fd >= 0 ? layer_open_fd(fd, slot, NULL) : NULL;

    return layer && layer_header(layer)->identity &&
           identity_parse(layer_header(layer)->identity, ret, NULL);
}

/* The lowest layer of the run that merged took in, by the parent that it names. */
static const char *find_bottom(const LookupRows *chain, const Identity *merged)
{
    for (guint i = 0; i < chain->rows->len; i++) {
        const LayerRow *row = chain->rows->pdata[i];
        if (g_strcmp0(row->parent_id, merged->parent) == 0)
            return row->id;
    }
    return NULL;
}

/* It stands on a stand-in now: then the run is all that is no version's.  Not if an old catalog has
 * that stand-in in the trash: nobody would stand on a layer that goes. */
static const char *find_moved_bottom(Db *db, const LookupRows *chain, const Identity *merged)
{
    g_auto(LayerRow) onto = { 0 };
    guint n = chain_n_above_version(chain);

    return n && merged->parent && lookup_layer(db, merged->parent, &onto, NULL) &&
                   g_str_equal(onto.owner_kind, LAYER_STAND_IN) &&
                   g_str_equal(onto.state, "frozen")
               ? ((const LayerRow *)chain->rows->pdata[chain->rows->len - n])->id
               : NULL;
}

static gboolean finish_merge(Settle *s, const LayerRow *top, const Identity *merged, GError **error)
{
    g_auto(LookupRows) chain = { 0 };
    Id trash = id_derive("settled", merged->id, "");
    gboolean is_done;
    Db *db = catalog_read_begin(s->world->catalog);
    gboolean ok = chain_rows(db, top->id, &chain, error);
    const char *bottom = ok ? find_bottom(&chain, merged) : NULL;
    const char *moved = ok && !bottom ? find_moved_bottom(db, &chain, merged) : NULL;

    catalog_read_end(s->world->catalog, db);
    if (!ok)
        return FALSE;
    if (!bottom && !moved) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT,
                    "what its slot holds now was merged from another chain");
        return FALSE;
    }
    Merge m = { .top = top->id, .bottom = bottom ? bottom : moved,
                .onto = moved ? merged->parent : NULL, .merged = merged->id, .trash = trash.s };
    return merge_finish(s->world, &m, &is_done, error);
}

static gboolean is_same_file(Store *store, const char *in_trash, const char *slot)
{
    StoreStat a, b;

    return store->ops->stat(store, STORE_TRASH, in_trash, &a, NULL) &&
           store->ops->stat(store, STORE_LAYERS, slot, &b, NULL) && a.inode == b.inode;
}

/* name in trash/ holds the layer row, which belongs into its slot. */
static gboolean settle_slot(Settle *s, const char *name, const LayerRow *row, GError **error)
{
    g_auto(Identity) there = { 0 };
    g_auto(LayerRow) other = { 0 };

    if (is_same_file(s->store, name, row->slot))
        return s->store->ops->discard(s->store, STORE_TRASH, &name, 1, error);
    if (!read_identity(s->store, STORE_LAYERS, row->slot, &there) || g_str_equal(there.id, row->id))
        return TRUE;
    Id merged = id_derive("former", there.id, ""), back = id_derive("former", there.id, row->id);
    if (g_str_equal(merged.s, name) && g_strcmp0(there.slot, row->slot) == 0)
        return finish_merge(s, row, &there, error);
    Db *db = catalog_read_begin(s->world->catalog);
    gboolean is_back = g_str_equal(back.s, name) && lookup_layer(db, there.id, &other, NULL) &&
                       g_str_equal(other.state, "trashed");
    catalog_read_end(s->world->catalog, db);
    return !is_back || s->store->ops->switch_slot(s->store, row->slot, STORE_TRASH, name,
                                                  other.slot, TRUE, error);
}

static gboolean is_known(Settle *s, const char *slot)
{
    g_auto(LayerRow) row = { 0 };
    Db *db = catalog_read_begin(s->world->catalog);
    gboolean known = lookup_slot(db, s->store->id, slot, &row, NULL);

    catalog_read_end(s->world->catalog, db);
    return known;
}

/* One that can't be settled is no reason to leave the others, nor the rest of the sweep. */
static void report(const Settle *s, const LayerRow *row, const GError *why)
{
    Changes *changes = changes_new();

    changes_event(changes, "catalog.recover", "warning", s->store->location, NULL,
                  "layer %s, which a merge was replacing, was left as it is: %s", row->id,
                  why->message);
    catalog_commit(s->world->catalog, changes, NULL);
}

/* Is a file with this identity one that a switch left behind?  Its row is filled in. */
static gboolean find_stray(Settle *s, const Identity *identity, LayerRow *ret)
{
    Db *db = catalog_read_begin(s->world->catalog);
    gboolean found = lookup_layer(db, identity->id, ret, NULL) && layer_row_is_own(ret) &&
                     g_str_equal(ret->place, "layers");

    catalog_read_end(s->world->catalog, db);
    return found;
}

static gboolean settle_one(const char *name, const StoreStat *stat, gpointer user, GError **error)
{
    Settle *s = user;
    g_auto(Identity) identity = { 0 };
    g_auto(LayerRow) seen = { 0 };
    g_auto(LayerRow) row = { 0 };
    g_autoptr(GError) why = NULL;

    if (!id_is_valid(name) || is_known(s, name) ||
        !read_identity(s->store, STORE_TRASH, name, &identity) || !find_stray(s, &identity, &seen))
        return TRUE;
    /* The owner by the row: a data disk changes hands, and its headers don't. */
    json_t *keys = json_array();
    claims_add(keys, 'x', "layers", seen.owner_id);
    claims_add(keys, 'x', "snapshots", seen.owner_id);
    claims_add(keys, 'x', "desktop", seen.owner_id);
    if (claims_take(s->world->claims, keys, "store.sweep", NULL)) {
        if (find_stray(s, &identity, &row) && g_str_equal(row.owner_id, seen.owner_id) &&
            !is_known(s, name) && !settle_slot(s, name, &row, &why))
            report(s, &row, why);
        claims_release(s->world->claims, keys);
    }
    json_decref(keys);
    return TRUE;
}

gboolean merge_settle(World *world, Store *store, GError **error)
{
    Settle s = { world, store };

    return store->ops->list(store, STORE_TRASH, settle_one, &s, error);
}
