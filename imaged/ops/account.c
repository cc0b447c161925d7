/* account.c: see account.h.  The folders are listed first, then the catalog is read; what it does
 * not know is looked for among the claims of running jobs and then in the catalog once more, so
 * that a layer that is made meanwhile is always seen by one of the three. */
#include "imaged/ops/account.h"

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/catalog/rows.h"

static const char *const names[] = { "templates", "desktops",   "data_disks", "snapshots",
                                     "trash",     "quarantine", "metadata",   "unknown" };

const char *account_kind_name(AccountKind kind)
{
    return names[kind];
}

void account_clear(Account *a)
{
    g_clear_pointer(&a->orphans, g_ptr_array_unref);
    g_clear_pointer(&a->foreign, g_ptr_array_unref);
    g_clear_pointer(&a->files, g_hash_table_unref);
}

static gboolean note(const char *name, const StoreStat *stat, gpointer table, GError **error)
{
    AccountFile *file = g_new0(AccountFile, 1);

    file->stat = *stat;
    g_hash_table_replace(table, g_strdup(name), file);
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

/* Frozen layers of desktops: which are under a present disk, and which are kept by a snapshot.  All
 * others wait for the trash to be emptied. */
typedef struct {
    GHashTable *current, *kept; /* sets of layer ids */
} Trees;

static GHashTable *read_ids(Db *db, const char *sql)
{
    GHashTable *ids = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    Query *q = db_query(db, sql, "");

    while (query_next(q))
        g_hash_table_add(ids, g_strdup(query_text(q, "id")));
    query_end(q, NULL);
    return ids;
}

static Trees read_trees(Db *db)
{
    return (Trees){
        read_ids(db, "WITH RECURSIVE c(id) AS (SELECT layer_id FROM desktop WHERE is_trashed = 0"
                     " AND id IN (SELECT owner_id FROM layer WHERE owner_kind = 'desktop' AND"
                     " state = 'frozen') UNION SELECT data_layer_id FROM desktop WHERE"
                     " is_trashed = 0 AND data_layer_id IS NOT NULL UNION SELECT l.parent_id FROM"
                     " layer l JOIN c ON l.id = c.id WHERE l.owner_kind IN ('desktop', 'data') AND"
                     " l.parent_id IS NOT NULL) SELECT id FROM c"),
        read_ids(db, "WITH RECURSIVE c(id) AS (SELECT s.layer_id FROM snapshot s JOIN desktop d ON"
                     " d.id = s.desktop_id WHERE s.is_trashed = 0 AND d.is_trashed = 0 UNION"
                     " SELECT s.data_layer_id FROM snapshot s JOIN desktop d ON d.id ="
                     " s.desktop_id WHERE s.is_trashed = 0 AND d.is_trashed = 0 AND"
                     " s.data_layer_id IS NOT NULL UNION"
                     " SELECT l.parent_id FROM layer l JOIN c ON l.id = c.id WHERE"
                     " l.owner_kind IN ('desktop', 'data') AND l.parent_id IS NOT NULL) SELECT id"
                     " FROM c"),
    };
}

static AccountKind kind_of(const Trees *trees, const char *id, const char *state,
                           const char *owner_kind)
{
    if (g_str_equal(state, "trashed") || g_str_equal(state, "reclaim"))
        return ACCOUNT_TRASH;
    if (g_str_equal(owner_kind, "template") || g_str_equal(owner_kind, LAYER_STAND_IN))
        return ACCOUNT_TEMPLATES;
    if (!g_str_equal(state, "frozen") || g_hash_table_contains(trees->current, id))
        return g_str_equal(owner_kind, "data") ? ACCOUNT_DATA_DISKS : ACCOUNT_DESKTOPS;
    return g_hash_table_contains(trees->kept, id) ? ACCOUNT_SNAPSHOTS : ACCOUNT_TRASH;
}

/* Account for every file that the catalog knows, and mark it. */
static gboolean add_known(Account *a, Db *db, const char *store_id, GError **error)
{
    Trees trees = read_trees(db);
    Query *q = db_query(db, "SELECT slot, state, owner_kind, id FROM layer WHERE store_id = ?1",
                        "t", store_id);
    sqlite3_stmt *row = query_stmt(q);

    while (query_next(q)) {
        AccountFile *file = g_hash_table_lookup(a->files, sqlite3_column_text(row, 0));
        if (!file)
            continue;
        file->is_known = TRUE;
        add(a,
            kind_of(&trees, (const char *)sqlite3_column_text(row, 3),
                    (const char *)sqlite3_column_text(row, 1),
                    (const char *)sqlite3_column_text(row, 2)),
            &file->stat);
    }
    g_hash_table_unref(trees.current);
    g_hash_table_unref(trees.kept);
    return query_end(q, error);
}

/* A job may be making it right now, or have finished since the catalog was read.  While any job
 * makes layers in this store, an unknown file may be its: it waits for the next look. */
static gboolean is_being_made(World *world, const char *store_id, const char *slot)
{
    g_autofree char *thing = g_strconcat("making/", store_id, NULL);

    if (claims_has(world->claims, thing))
        return TRUE;
    Db *db = catalog_read_begin(world->catalog); /* anew: it may know more by now */
    gboolean is_known = lookup_int(db, "SELECT EXISTS (SELECT 1 FROM layer WHERE slot = ?1)", "t",
                                   slot) != 0;
    catalog_read_end(world->catalog, db);
    return is_known;
}

static void add_unknown(World *world, Account *a, const char *store_id)
{
    GHashTableIter iter;
    gpointer name, data;

    g_hash_table_iter_init(&iter, a->files);
    while (g_hash_table_iter_next(&iter, &name, &data)) {
        AccountFile *file = data;
        if (file->is_known)
            continue;
        if (is_being_made(world, store_id, name)) {
            add(a, ACCOUNT_METADATA, &file->stat);
        } else {
            add(a, ACCOUNT_UNKNOWN, &file->stat);
            g_ptr_array_add(a->orphans, g_strdup(name));
        }
    }
}

gboolean account_store(World *world, Store *store, Account *a, GError **error)
{
    guint64 bytes;
    guint n_files;

    *a = (Account){ .orphans = g_ptr_array_new_with_free_func(g_free),
                    .foreign = g_ptr_array_new_with_free_func(g_free),
                    .files = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free) };
    if (!store->ops->list(store, STORE_LAYERS, note, a->files, error) ||
        !store->ops->list(store, STORE_TRASH, note, a->files, error) ||
        !store->ops->list(store, STORE_QUARANTINE, add_place, a, error) ||
        !store->ops->list(store, STORE_TMP, add_tmp, a, error) ||
        !store->ops->metadata_bytes(store, &bytes, &n_files, note_name, a->foreign, error))
        return FALSE;
    a->bytes[ACCOUNT_METADATA] += bytes;
    a->n_files[ACCOUNT_METADATA] += n_files;
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok = add_known(a, db, store->id, error);
    catalog_read_end(world->catalog, db);
    if (ok)
        add_unknown(world, a, store->id);
    return ok;
}
