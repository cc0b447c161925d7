/* adopt.c: see adopt.h.  A header says who a layer was at birth, so names may be old ones; that is
 * better than none.  A copied file carries a name that is not its identity's, and is left alone. */
#include "imaged/ops/adopt.h"

#include "cow/digest.h"
#include "cow/identity.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "imaged/catalog/lookup.h"

typedef struct {
    Identity identity;
    guint64 virtual_size;
    char *checksum; /* of a base */
    gboolean in_trash;
} Found;

typedef struct {
    World *world;
    Store *store;
    GPtrArray *list;    /* of Found */
    GHashTable *by_id;  /* layer id -> Found */
    StorePlace place;
} Adopt;

static void free_found(gpointer data)
{
    Found *f = data;

    identity_clear(&f->identity);
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
    if (!g_str_equal(identity.id, name) || g_hash_table_contains(a->by_id, name)) {
        identity_clear(&identity);
        return TRUE;
    }
    Found *f = g_new0(Found, 1);
    f->identity = identity;
    f->virtual_size = layer_virtual_size(layer);
    f->in_trash = a->place == STORE_TRASH;
    if (!identity.parent) {
        Digest digest;
        if (digest_file(layer_fd(layer), NULL, NULL, NULL, &digest, NULL))
            f->checksum = digest_to_text(&digest);
    }
    g_ptr_array_add(a->list, f);
    g_hash_table_insert(a->by_id, f->identity.id, f);
    return TRUE;
}

static void put_layer(Adopt *a, Changes *changes, const Found *f, const char *state)
{
    LayerRow row = { .id = f->identity.id, .slot = f->identity.id, .store_id = a->store->id,
                     .parent_id = f->identity.parent, .owner_kind = f->identity.owner_kind,
                     .owner_id = f->identity.owner_id, .generation = f->identity.generation,
                     .state = (char *)state, .place = f->in_trash ? "trash" : "layers",
                     .virtual_size = (gint64)f->virtual_size, .checksum = f->checksum,
                     .created_at = f->identity.created_at };

    changes_put(changes, ROW_LAYER, &row, a->store->id);
}

static gboolean is_known(Db *db, const char *layer_id)
{
    return lookup_int(db, "SELECT EXISTS (SELECT 1 FROM layer WHERE id = ?1)", "t", layer_id);
}

/* A base layer in layers/: a version of the template with that name. */
static gboolean adopt_version(Adopt *a, const Found *f, GError **error)
{
    g_auto(TemplateRow) template = { 0 };
    gint64 now = units_now_ms();
    Changes *changes = changes_new();
    Db *db = catalog_read_begin(a->world->catalog);

    if (!lookup_template(db, f->identity.owner_name, &template, NULL)) {
        Id id = id_derive("template", f->identity.owner_name, a->store->id);
        template = (TemplateRow){ .id = g_strdup(id.s), .name = g_strdup(f->identity.owner_name),
                                  .created_at = now };
    }
    catalog_read_end(a->world->catalog, db);
    template.last_version = MAX(template.last_version, f->identity.generation);
    template.changed_at = now;
    VersionRow version = { .id = f->identity.owner_id, .template_id = template.id,
                           .version = f->identity.generation, .state = "published",
                           .layer_id = f->identity.id, .cpus = 2,
                           .memory_bytes = 2 * (gint64)GIB, .os = "", .description = "",
                           .source = "", .notes = "found in the store without a journal",
                           .created_at = f->identity.created_at, .changed_at = now };
    put_layer(a, changes, f, "frozen");
    changes_put(changes, ROW_TEMPLATE, &template, a->store->id);
    changes_put(changes, ROW_VERSION, &version, a->store->id);
    return catalog_commit(a->world->catalog, changes, error);
}

/* The disk of a desktop that the catalog has not heard of yet. */
static void put_desktop(Adopt *a, Changes *changes, const Found *f, const char *version_id,
                        gboolean is_trashed)
{
    gint64 now = units_now_ms();
    g_autofree char *mac = id_to_mac(f->identity.owner_id);
    g_autofree char *uuid = id_to_uuid(f->identity.owner_id);
    DesktopRow row = { .id = f->identity.owner_id, .name = f->identity.owner_name,
                       .version_id = (char *)version_id, .owner = "",
                       .generation = f->identity.generation, .layer_id = f->identity.id,
                       .store_id = a->store->id, .mac = mac, .uuid = uuid, .state = "ok",
                       .is_trashed = is_trashed, .created_at = f->identity.created_at,
                       .changed_at = now };

    changes_put(changes, ROW_DESKTOP, &row, a->store->id);
}

static void put_trash(Adopt *a, Changes *changes, const Found *f, const char *version_id,
                      gboolean is_desktop)
{
    Id id = id_derive("trash", f->identity.id, a->store->id);
    gint64 now = units_now_ms();
    StoreStat stat = { 0 };

    store_stat_layer(a->store, f->identity.id, &stat, NULL);
    TrashRow row = { .id = id.s, .kind = is_desktop ? "desktop" : "disk",
                     .reason = is_desktop ? "deleted" : "reset", .name = f->identity.owner_name,
                     .desktop_id = f->identity.owner_id, .version_id = (char *)version_id,
                     .layer_id = f->identity.id, .store_id = a->store->id,
                     .generation = f->identity.generation, .disk_bytes = (gint64)stat.disk_bytes,
                     .trashed_at = now, .expires_at = now + a->world->settings.trash_keep_ms };

    changes_put(changes, ROW_TRASH, &row, a->store->id);
}

/* Newest generation first, those in layers/ before those in trash/. */
static gint newest_first(gconstpointer left, gconstpointer right)
{
    const Found *x = *(Found *const *)left, *y = *(Found *const *)right;

    if (x->in_trash != y->in_trash)
        return x->in_trash - y->in_trash;
    return (y->identity.generation > x->identity.generation) -
           (y->identity.generation < x->identity.generation);
}

static gboolean adopt_disk(Adopt *a, const Found *f, GHashTable *owners, GError **error)
{
    g_auto(LayerRow) parent = { 0 };
    Db *db = catalog_read_begin(a->world->catalog);
    gboolean ok = f->identity.parent && lookup_layer(db, f->identity.parent, &parent, NULL) &&
                  g_str_equal(parent.owner_kind, "template") && !is_known(db, f->identity.id);
    gboolean is_first = ok && !g_hash_table_contains(owners, f->identity.owner_id) &&
                        !lookup_int(db, "SELECT EXISTS (SELECT 1 FROM desktop WHERE id = ?1)", "t",
                                    f->identity.owner_id);
    gboolean name_is_taken = is_first && !lookup_check_new_name(db, "desktop",
                                                                f->identity.owner_name, NULL);

    catalog_read_end(a->world->catalog, db);
    if (!ok)
        return TRUE; /* stands on nothing that we know: the check reports it */
    gboolean is_trashed = f->in_trash || name_is_taken;
    Changes *changes = changes_new();
    put_layer(a, changes, f, is_first && !is_trashed ? "active" : "trashed");
    if (is_first)
        put_desktop(a, changes, f, parent.owner_id, is_trashed);
    if (!is_first || is_trashed)
        put_trash(a, changes, f, parent.owner_id, is_first);
    g_hash_table_add(owners, g_strdup(f->identity.owner_id));
    return catalog_commit(a->world->catalog, changes, error);
}

gboolean adopt_layers(World *world, Store *store, GError **error)
{
    Adopt a = { .world = world, .store = store,
                .list = g_ptr_array_new_with_free_func(free_found),
                .by_id = g_hash_table_new(g_str_hash, g_str_equal) };
    g_autoptr(GHashTable) owners = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    gboolean ok = store->ops->list(store, STORE_LAYERS, look_at, &a, error);

    a.place = STORE_TRASH;
    ok = ok && store->ops->list(store, STORE_TRASH, look_at, &a, error);
    g_ptr_array_sort(a.list, newest_first);
    for (guint i = 0; ok && i < a.list->len; i++) {
        const Found *f = a.list->pdata[i];
        Db *db = catalog_read_begin(world->catalog);
        gboolean known = is_known(db, f->identity.id);
        catalog_read_end(world->catalog, db);
        if (!known && !f->identity.parent && g_str_equal(f->identity.owner_kind, "template"))
            ok = adopt_version(&a, f, error);
    }
    for (guint i = 0; ok && i < a.list->len; i++)
        ok = adopt_disk(&a, a.list->pdata[i], owners, error);
    g_hash_table_unref(a.by_id);
    g_ptr_array_unref(a.list);
    return ok;
}
