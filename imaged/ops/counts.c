/* counts.c: the files' figures come from a listing of the stores; those that
 * changed are read, in parallel, parents before children: what a diff hides of its template is
 * taken from the template's Coverage. */
#include "imaged/ops/counts.h"

#include <string.h>

#include "cow/coverage.h"
#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"

#define MAX_THREADS 8

typedef struct {
    char *id, *slot, *parent_id;
    Store *store; /* borrowed from the table of stores; NULL if offline */
    LayerFigures figures;
    StoreStat cached, now;
    gboolean is_active;                    /* QEMU may have it open for writing */
    gboolean has_cached, is_stale, is_new; /* new: computed in this run, to be kept */
} Entry;

struct Counts {
    World *world;
    GHashTable *by_id;  /* id -> Entry */
    GPtrArray *entries; /* of Entry, in the order of the catalog */
    GHashTable *stores; /* id -> Store */
    GHashTable *accounts; /* store id -> Account; borrowed */

    GMutex lock; /* guards the coverages while threads run */
    GHashTable *coverages; /* id of a frozen layer -> Coverage */
    gint next; /* atomic: the entry that a thread takes */
};

static void free_entry(gpointer data)
{
    Entry *e = data;

    g_free(e->id);
    g_free(e->slot);
    g_free(e->parent_id);
    g_free(e);
}

void counts_free(Counts *c)
{
    if (!c)
        return;
    g_hash_table_unref(c->by_id);
    g_ptr_array_unref(c->entries);
    g_hash_table_unref(c->stores);
    g_hash_table_unref(c->coverages);
    g_mutex_clear(&c->lock);
    g_free(c);
}

const LayerFigures *counts_of(const Counts *c, const char *layer_id)
{
    const Entry *e = g_hash_table_lookup(c->by_id, layer_id);

    return e ? &e->figures : NULL;
}

static Store *store_of(Counts *c, const char *store_id)
{
    Store *store = g_hash_table_lookup(c->stores, store_id);

    if (!store && !g_hash_table_contains(c->stores, store_id)) {
        store = store_set_get(c->world->stores, store_id, NULL);
        g_hash_table_insert(c->stores, g_strdup(store_id), store);
    }
    return store;
}

static Entry *read_entry(Counts *c, sqlite3_stmt *row)
{
    Entry *e = g_new0(Entry, 1);

    e->id = g_strdup((const char *)sqlite3_column_text(row, 0));
    e->slot = g_strdup((const char *)sqlite3_column_text(row, 1));
    e->store = store_of(c, (const char *)sqlite3_column_text(row, 2));
    e->parent_id = g_strdup((const char *)sqlite3_column_text(row, 3));
    e->has_cached = sqlite3_column_type(row, 4) != SQLITE_NULL;
    e->cached = (StoreStat){ .inode = (guint64)sqlite3_column_int64(row, 4),
                             .length = (guint64)sqlite3_column_int64(row, 5),
                             .mtime_ns = sqlite3_column_int64(row, 6),
                             .ctime_ns = sqlite3_column_int64(row, 7),
                             .disk_bytes = (guint64)sqlite3_column_int64(row, 8) };
    e->figures.data_bytes = (guint64)sqlite3_column_int64(row, 9);
    e->figures.zero_bytes = (guint64)sqlite3_column_int64(row, 10);
    e->figures.flattened_bytes = (guint64)sqlite3_column_int64(row, 11);
    e->is_active = g_strcmp0((const char *)sqlite3_column_text(row, 12), "active") == 0;
    return e;
}

static gboolean load(Counts *c, GError **error)
{
    Db *db = catalog_read_begin(c->world->catalog);
    Query *q =
        db_query(db,
                 "SELECT l.id, l.slot, l.store_id, l.parent_id, n.inode, n.length, n.mtime_ns,"
                 " n.ctime_ns, n.disk_bytes, n.data_bytes, n.zero_bytes, n.flattened_bytes, l.state"
                 " FROM layer l LEFT JOIN layer_counts n ON n.layer_id = l.id WHERE l.state IN"
                 " ('active', 'frozen')",
                 "");

    while (query_next(q)) {
        Entry *e = read_entry(c, query_stmt(q));
        g_ptr_array_add(c->entries, e);
        g_hash_table_insert(c->by_id, e->id, e);
    }
    gboolean ok = query_end(q, error);
    catalog_read_end(c->world->catalog, db);
    return ok;
}

static gboolean same_file(const StoreStat *a, const StoreStat *b)
{
    return a->inode == b->inode && a->length == b->length && a->mtime_ns == b->mtime_ns &&
           a->disk_bytes == b->disk_bytes;
}

/* Ask each file for its figures; collect those that are not as they were counted. */
static void find_stale(Counts *c)
{
    for (guint i = 0; i < c->entries->len; i++) {
        Entry *e = c->entries->pdata[i];
        const Account *account = e->store ? g_hash_table_lookup(c->accounts, e->store->id) : NULL;
        const AccountFile *file = account ? g_hash_table_lookup(account->files, e->slot) : NULL;
        e->figures.is_missing = !file;
        if (file)
            e->now = file->stat;
        e->figures.disk_bytes = e->figures.is_missing ? 0 : e->now.disk_bytes;
        e->is_stale = !e->figures.is_missing &&
                      !(e->has_cached && same_file(&e->cached, &e->now));
    }
}

static Coverage *build_coverage(Counts *c, Entry *e, guint depth, GError **error);

/* The Coverage of a layer's parent, or NULL for a base (and for an error). */
static Coverage *parent_coverage(Counts *c, const Entry *e, guint depth, GError **error)
{
    Entry *parent = e->parent_id ? g_hash_table_lookup(c->by_id, e->parent_id) : NULL;

    if (!e->parent_id)
        return NULL;
    if (!parent || depth > 256) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "the layer below is not known");
        return NULL;
    }
    g_mutex_lock(&c->lock);
    Coverage *found = g_hash_table_lookup(c->coverages, parent->id);
    if (found)
        coverage_ref(found);
    g_mutex_unlock(&c->lock);
    return found ? found : build_coverage(c, parent, depth, error);
}

static Coverage *build_coverage(Counts *c, Entry *e, guint depth, GError **error)
{
    g_autoptr(GError) local = NULL;
    g_autoptr(Coverage) below = parent_coverage(c, e, depth + 1, &local);
    g_autoptr(Layer) layer = local || !e->store
                                 ? NULL
                                 : store_open_layer(e->store, e->slot, NULL, &local);
    Coverage *made = layer ? coverage_of_layer(layer, below, &local) : NULL;

    if (!made) {
        if (local)
            g_propagate_error(error, g_steal_pointer(&local));
        else
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "the store is offline");
        return NULL;
    }
    g_mutex_lock(&c->lock);
    if (!g_hash_table_contains(c->coverages, e->id))
        g_hash_table_insert(c->coverages, g_strdup(e->id), coverage_ref(made));
    g_mutex_unlock(&c->lock);
    return made;
}

/* Its tables on disk are stale: its blocks are the best estimate there is. */
static void count_live(Counts *c, Entry *e)
{
    g_autoptr(Coverage) below = parent_coverage(c, e, 0, NULL);

    e->figures.is_live = TRUE;
    e->figures.data_bytes = e->now.disk_bytes;
    e->figures.zero_bytes = 0;
    e->figures.flattened_bytes = MAX(below ? coverage_total(below) : 0, e->now.disk_bytes);
}

static void count_tables(Counts *c, Entry *e, int fd)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Coverage) below = parent_coverage(c, e, 0, &error);
    g_autoptr(Layer) layer = layer_open_fd(fd, e->slot, error ? NULL : &error);
    DiffCounts counts = { 0 };

    if (error || !layer || !coverage_count_diff(layer, below, &counts, &error)) {
        e->figures.is_missing = TRUE; /* not countable: the check says why */
        return;
    }
    e->figures.data_bytes = counts.own.data_bytes;
    e->figures.zero_bytes = counts.own.zero_bytes;
    e->figures.flattened_bytes = counts.flattened_bytes;
    e->is_new = TRUE;
}

/* Whether QEMU has it open is asked each time; its tables are read only when the file changed. */
static void count_entry(Counts *c, Entry *e)
{
    if (e->figures.is_missing || !(e->is_stale || e->is_active))
        return;
    int fd = e->store->ops->open(e->store, STORE_LAYERS, e->slot, &e->figures.is_live, NULL);
    if (fd < 0) {
        e->figures.is_missing = TRUE;
    } else if (e->is_active && e->figures.is_live) {
        durable_close(&fd);
        count_live(c, e);
    } else if (e->is_stale) {
        count_tables(c, e, fd);
    } else {
        durable_close(&fd);
    }
}

static gpointer count_some(gpointer data)
{
    Counts *c = data;

    for (;;) {
        guint i = (guint)g_atomic_int_add(&c->next, 1);
        if (i >= c->entries->len)
            return NULL;
        count_entry(c, c->entries->pdata[i]);
    }
}

static void count_all(Counts *c)
{
    GThread *threads[MAX_THREADS];
    guint n = MIN(MIN(g_get_num_processors(), MAX_THREADS), c->entries->len / 64);

    for (guint i = 0; i + 1 < n; i++)
        threads[i] = g_thread_new("count", count_some, c);
    count_some(c);
    for (guint i = 0; i + 1 < n; i++)
        g_thread_join(threads[i]);
}

/* Keep what was counted, unless the file changed while it was. */
static void keep(Counts *c)
{
    Changes *changes = changes_new();
    guint n = 0;

    for (guint i = 0; i < c->entries->len; i++) {
        const Entry *e = c->entries->pdata[i];
        StoreStat after;
        if (!e->is_new || !e->store->ops->stat(e->store, STORE_LAYERS, e->slot, &after, NULL) ||
            !same_file(&after, &e->now))
            continue;
        changes_sql(changes,
                    "INSERT INTO layer_counts (layer_id, inode, length, mtime_ns, ctime_ns,"
                    " disk_bytes, data_bytes, zero_bytes, flattened_bytes) VALUES (?1,?2,?3,?4,?5,"
                    "?6,?7,?8,?9) ON CONFLICT (layer_id) DO UPDATE SET inode=?2, length=?3,"
                    " mtime_ns=?4, ctime_ns=?5, disk_bytes=?6, data_bytes=?7, zero_bytes=?8,"
                    " flattened_bytes=?9",
                    "tiiiiiiii", e->id, (gint64)e->now.inode, (gint64)e->now.length,
                    e->now.mtime_ns, e->now.ctime_ns, (gint64)e->now.disk_bytes,
                    (gint64)e->figures.data_bytes, (gint64)e->figures.zero_bytes,
                    (gint64)e->figures.flattened_bytes);
        n++;
    }
    if (n)
        catalog_commit(c->world->catalog, changes, NULL); /* only a cache: no matter if it fails */
    else
        changes_free(changes);
}

static void unref_store(gpointer store)
{
    store_unref(store);
}

static void unref_coverage(gpointer coverage)
{
    coverage_unref(coverage);
}

Counts *counts_refresh(World *world, GHashTable *accounts, GError **error)
{
    g_autoptr(Counts) c = g_new0(Counts, 1);

    c->world = world;
    c->accounts = accounts;
    g_mutex_init(&c->lock);
    c->by_id = g_hash_table_new(g_str_hash, g_str_equal);
    c->entries = g_ptr_array_new_with_free_func(free_entry);
    c->stores = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, unref_store);
    c->coverages = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, unref_coverage);
    if (!load(c, error))
        return NULL;
    find_stale(c);
    count_all(c);
    keep(c);
    return g_steal_pointer(&c);
}
