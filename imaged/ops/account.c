/* account.c: see account.h.  The folders are listed first, then claims are looked at, then the
 * catalog is read: so a layer that a job makes meanwhile is always seen by one of the three. */
#include "imaged/ops/account.h"

#include "imaged/base/error.h"
#include "imaged/base/ident.h"

static const char *const names[] = { "templates",  "desktops", "trash",
                                     "quarantine", "metadata", "unknown" };

const char *account_kind_name(AccountKind kind)
{
    return names[kind];
}

void account_clear(Account *a)
{
    g_clear_pointer(&a->orphans, g_ptr_array_unref);
    g_clear_pointer(&a->foreign, g_ptr_array_unref);
    g_clear_pointer(&a->stats, g_hash_table_unref);
}

static gboolean note(const char *name, const StoreStat *stat, gpointer table, GError **error)
{
    g_hash_table_replace(table, g_strdup(name), g_memdup2(stat, sizeof *stat));
    return TRUE;
}

static gboolean note_name(const char *name, const StoreStat *stat, gpointer list, GError **error)
{
    g_ptr_array_add(list, g_strdup(name));
    return TRUE;
}

static void add(Account *a, AccountKind kind, const StoreStat *stat)
{
    a->bytes[kind] += stat->disk_bytes;
    a->n_files[kind]++;
}

static gboolean add_place(const char *name, const StoreStat *stat, gpointer user, GError **error)
{
    add(user, ACCOUNT_QUARANTINE, stat);
    return TRUE;
}

static gboolean add_tmp(const char *name, const StoreStat *stat, gpointer user, GError **error)
{
    add(user, ACCOUNT_METADATA, stat);
    return TRUE;
}

static AccountKind kind_of(const LayerRow *layer)
{
    if (g_str_equal(layer->state, "trashed") || g_str_equal(layer->state, "reclaim"))
        return ACCOUNT_TRASH;
    return g_str_equal(layer->owner_kind, "template") ? ACCOUNT_TEMPLATES : ACCOUNT_DESKTOPS;
}

/* Names that a running job is making. */
static GHashTable *claimed_names(World *world, GHashTable *stats)
{
    GHashTable *claimed = g_hash_table_new(g_str_hash, g_str_equal);
    GHashTableIter iter;
    gpointer name;

    g_hash_table_iter_init(&iter, stats);
    while (g_hash_table_iter_next(&iter, &name, NULL)) {
        g_autofree char *thing = g_strconcat("layer/", name, NULL);
        if (claims_has(world->claims, thing))
            g_hash_table_add(claimed, name);
    }
    return claimed;
}

static void hold_against(Account *a, const LookupRows *layers, GHashTable *claimed)
{
    g_autoptr(GHashTable) known = g_hash_table_new(g_str_hash, g_str_equal);
    GHashTableIter iter;
    gpointer name, stat;

    for (guint i = 0; i < layers->rows->len; i++) {
        LayerRow *layer = layers->rows->pdata[i];
        g_hash_table_insert(known, layer->slot, layer);
    }
    g_hash_table_iter_init(&iter, a->stats);
    while (g_hash_table_iter_next(&iter, &name, &stat)) {
        const LayerRow *layer = g_hash_table_lookup(known, name);
        if (layer) {
            add(a, kind_of(layer), stat);
        } else if (g_hash_table_contains(claimed, name)) {
            add(a, ACCOUNT_METADATA, stat);
        } else {
            add(a, ACCOUNT_UNKNOWN, stat);
            g_ptr_array_add(a->orphans, g_strdup(name));
        }
    }
}

gboolean account_store(World *world, Store *store, Account *a, GError **error)
{
    g_auto(LookupRows) layers = { 0 };
    guint64 bytes;
    guint n_files;

    *a = (Account){ .orphans = g_ptr_array_new_with_free_func(g_free),
                    .foreign = g_ptr_array_new_with_free_func(g_free),
                    .stats = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free) };
    if (!store->ops->list(store, STORE_LAYERS, note, a->stats, error) ||
        !store->ops->list(store, STORE_TRASH, note, a->stats, error) ||
        !store->ops->list(store, STORE_QUARANTINE, add_place, a, error) ||
        !store->ops->list(store, STORE_TMP, add_tmp, a, error) ||
        !store->ops->metadata_bytes(store, &bytes, &n_files, note_name, a->foreign, error))
        return FALSE;
    a->bytes[ACCOUNT_METADATA] += bytes;
    a->n_files[ACCOUNT_METADATA] += n_files;
    g_autoptr(GHashTable) claimed = claimed_names(world, a->stats);
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok = lookup_rows(db, ROW_LAYER, &layers, error,
                              "SELECT * FROM layer WHERE store_id = ?1", "t", store->id);
    catalog_read_end(world->catalog, db);
    if (ok)
        hold_against(a, &layers, claimed);
    return ok;
}
