/* adopt.c: see adopt.h.  A header says who a layer was at birth, so names may be old ones; that is
 * better than none.  A copied file carries a name that is not its identity's, and is left alone.
 *
 * What a layer stands on is told by its backing name: the slot below may have been merged since.  A
 * desktop's writable layer in layers/ is its disk; each of its frozen ones becomes a snapshot. */
#include "imaged/ops/adopt.h"

#include <string.h>

#include "cow/digest.h"
#include "imaged/base/ident.h"
#include "imaged/catalog/lookup.h"
#include "imaged/ops/adopt_rows.h"
#include "snapshot/chain.h"

typedef struct {
    World *world;
    Store *store;
    GPtrArray *list;     /* of Found */
    GHashTable *by_id;   /* layer id -> Found */
    GHashTable *by_slot; /* slot in layers/ -> Found */
    StorePlace place;
} Adopt;

static void free_found(gpointer data)
{
    Found *f = data;

    identity_clear(&f->identity);
    g_free(f->slot);
    g_free(f->backing_slot);
    g_free(f->checksum);
    g_free(f);
}

static gboolean look_at(const char *name, const StoreStat *stat, gpointer user, GError **error)
{
    Adopt *a = user;
    g_autoptr(Layer) layer =
        id_is_valid(name) ? store_open_layer(a->store, name, NULL, NULL) : NULL;
    const char *text = layer ? layer_header(layer)->identity : NULL;
    Identity identity = { 0 };

    if (!text || !identity_parse(text, &identity, NULL))
        return TRUE;
    const char *backing = layer_header(layer)->backing_name;
    gboolean is_in_place = g_str_equal(identity.id, name) || g_strcmp0(identity.slot, name) == 0;
    if (!is_in_place || g_hash_table_contains(a->by_id, identity.id) ||
        !backing != !identity.parent || (backing && !g_str_has_prefix(backing, "../layers/"))) {
        identity_clear(&identity);
        return TRUE;
    }
    Found *f = g_new0(Found, 1);
    f->identity = identity;
    f->slot = g_strdup(name);
    f->backing_slot = backing ? g_strdup(backing + strlen("../layers/")) : NULL;
    f->is_writable = stat->is_writable;
    f->virtual_size = layer_virtual_size(layer);
    f->in_trash = a->place == STORE_TRASH;
    if (!identity.parent) {
        Digest digest;
        if (digest_file(layer_fd(layer), NULL, NULL, NULL, &digest, NULL))
            f->checksum = digest_to_text(&digest);
    }
    g_ptr_array_add(a->list, f);
    g_hash_table_insert(a->by_id, f->identity.id, f);
    if (!f->in_trash)
        g_hash_table_insert(a->by_slot, f->slot, f);
    return TRUE;
}

static gboolean is_known(Adopt *a, const char *layer_id)
{
    Db *db = catalog_read_begin(a->world->catalog);
    gboolean is =
        lookup_int(db, "SELECT EXISTS (SELECT 1 FROM layer WHERE id = ?1)", "t", layer_id);

    catalog_read_end(a->world->catalog, db);
    return is;
}

/* The row of what f stands on; FALSE if that is not known (yet).  A base stands on nothing. */
static gboolean find_below(Adopt *a, const Found *f, LayerRow *ret)
{
    if (!f->backing_slot)
        return TRUE;
    Db *db = catalog_read_begin(a->world->catalog);
    gboolean ok = lookup_slot(db, a->store->id, f->backing_slot, ret, NULL);
    catalog_read_end(a->world->catalog, db);
    return ok;
}

/* The template version at the bottom.  Caller frees. */
static char *find_version(Adopt *a, const LayerRow *below)
{
    g_auto(LookupRows) rows = { 0 };
    char *id = NULL;
    Db *db = catalog_read_begin(a->world->catalog);

    if (below->id && chain_rows(db, below->id, &rows, NULL)) {
        for (guint i = 0; i < rows.rows->len; i++) {
            const LayerRow *row = rows.rows->pdata[i];
            if (g_str_equal(row->owner_kind, "template")) {
                g_free(id);
                id = g_strdup(row->owner_id);
            }
        }
    }
    catalog_read_end(a->world->catalog, db);
    return id;
}

/* What is most likely a desktop's disk comes first: in layers/, writable, of the newest generation,
 * the youngest. */
static gint newest_first(gconstpointer left, gconstpointer right)
{
    const Found *x = *(Found *const *)left, *y = *(Found *const *)right;

    if (x->in_trash != y->in_trash)
        return x->in_trash - y->in_trash;
    if (x->is_writable != y->is_writable)
        return y->is_writable - x->is_writable;
    if (x->identity.generation != y->identity.generation)
        return y->identity.generation > x->identity.generation ? 1 : -1;
    return (y->identity.created_at > x->identity.created_at) -
           (y->identity.created_at < x->identity.created_at);
}

static gboolean has_desktop(Adopt *a, const char *id)
{
    Db *db = catalog_read_begin(a->world->catalog);
    gboolean has = lookup_int(db, "SELECT EXISTS (SELECT 1 FROM desktop WHERE id = ?1)", "t", id);

    catalog_read_end(a->world->catalog, db);
    return has;
}

static gboolean is_name_taken(Adopt *a, const char *name)
{
    Db *db = catalog_read_begin(a->world->catalog);
    gboolean is = !lookup_check_new_name(db, "desktop", name, NULL);

    catalog_read_end(a->world->catalog, db);
    return is;
}

/* A template's layer: a version of the template with that name, in trash/ a deleted one. */
static gboolean adopt_version(Adopt *a, Found *f, const LayerRow *below, GError **error)
{
    Changes *changes = changes_new();

    adopt_put_layer(a->world, a->store, changes, f, below, f->in_trash ? "trashed" : "frozen");
    adopt_put_version(a->world, a->store, changes, f);
    if (f->in_trash)
        adopt_put_trash(a->world, a->store, changes, f, f->identity.owner_id, "template_version");
    f->is_known = TRUE;
    return catalog_commit(a->world->catalog, changes, error);
}

/* A layer between a version and its desktops; in trash/ one that was of no use any more. */
static gboolean adopt_stand_in(Adopt *a, Found *f, const LayerRow *below, GError **error)
{
    g_autofree char *version_id = find_version(a, below);
    Changes *changes = changes_new();

    f->is_known = TRUE;
    adopt_put_layer(a->world, a->store, changes, f, below, f->in_trash ? "trashed" : "frozen");
    if (f->in_trash && version_id)
        adopt_put_trash(a->world, a->store, changes, f, version_id, "stand_in");
    return catalog_commit(a->world->catalog, changes, error);
}

/* A desktop's layer: its disk, a snapshot, or a disk that was replaced. */
static gboolean adopt_own(Adopt *a, Found *f, const LayerRow *below, GHashTable *disks,
                          GError **error)
{
    g_autofree char *version_id = find_version(a, below);
    gboolean is_disk = g_hash_table_lookup(disks, f->identity.owner_id) == f;
    gboolean is_snapshot = !is_disk && !f->in_trash && !f->is_writable;
    gboolean is_trashed = is_disk && (f->in_trash || is_name_taken(a, f->identity.owner_name));

    f->is_known = TRUE;
    Changes *changes = changes_new();
    if (!version_id)
        version_id = adopt_put_no_version(a->world, a->store, changes, f);
    adopt_put_layer(a->world, a->store, changes, f, below,
                    is_snapshot              ? "frozen"
                    : is_disk && !is_trashed ? "active"
                                             : "trashed");
    if (is_disk)
        adopt_put_desktop(a->world, a->store, changes, f, below, version_id, is_trashed);
    if (is_snapshot)
        adopt_put_snapshot(a->world, a->store, changes, f, version_id);
    else if (!is_disk || is_trashed)
        adopt_put_trash(a->world, a->store, changes, f, version_id, is_disk ? "desktop" : "disk");
    return catalog_commit(a->world->catalog, changes, error);
}

/* Which layer is each unknown desktop's disk: id of the desktop -> Found. */
static GHashTable *choose_disks(Adopt *a)
{
    GHashTable *disks = g_hash_table_new(g_str_hash, g_str_equal);

    for (guint i = 0; i < a->list->len; i++) {
        Found *f = a->list->pdata[i];
        if (!f->is_known && g_str_equal(f->identity.owner_kind, "desktop") &&
            !g_hash_table_contains(disks, f->identity.owner_id) &&
            !has_desktop(a, f->identity.owner_id))
            g_hash_table_insert(disks, f->identity.owner_id, f);
    }
    return disks;
}

/* Whatever stands on something known, until nothing more is found. */
static gboolean adopt_all(Adopt *a, GHashTable *disks, GError **error)
{
    gboolean ok = TRUE;

    for (gboolean any = TRUE; ok && any;) {
        any = FALSE;
        for (guint i = 0; ok && i < a->list->len; i++) {
            Found *f = a->list->pdata[i];
            g_auto(LayerRow) below = { 0 };
            if (f->is_known || g_str_equal(f->identity.owner_kind, "data") ||
                !find_below(a, f, &below))
                continue;
            any = TRUE;
            if (g_str_equal(f->identity.owner_kind, "desktop"))
                ok = adopt_own(a, f, &below, disks, error);
            else if (g_str_equal(f->identity.owner_kind, LAYER_STAND_IN))
                ok = adopt_stand_in(a, f, &below, error);
            else
                ok = adopt_version(a, f, &below, error);
        }
    }
    return ok;
}

gboolean adopt_layers(World *world, Store *store, GError **error)
{
    Adopt a = { .world = world,
                .store = store,
                .list = g_ptr_array_new_with_free_func(free_found),
                .by_id = g_hash_table_new(g_str_hash, g_str_equal),
                .by_slot = g_hash_table_new(g_str_hash, g_str_equal) };
    gboolean ok = store->ops->list(store, STORE_LAYERS, look_at, &a, error);

    a.place = STORE_TRASH;
    ok = ok && store->ops->list(store, STORE_TRASH, look_at, &a, error);
    for (guint i = 0; i < a.list->len; i++) {
        Found *f = a.list->pdata[i];
        f->is_known = is_known(&a, f->identity.id);
    }
    g_ptr_array_sort(a.list, newest_first);
    GHashTable *disks = choose_disks(&a);
    ok = ok && adopt_all(&a, disks, error) && adopt_data_layers(world, store, a.list, error);
    g_hash_table_unref(disks);
    g_hash_table_unref(a.by_id);
    g_hash_table_unref(a.by_slot);
    g_ptr_array_unref(a.list);
    return ok;
}
