/* catalog.c: opening, reading and copying; all changes go through the thread in writer.c. */
#include "imaged/catalog/catalog.h"

#include <fcntl.h>
#include <unistd.h>

#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"
#include "imaged/catalog/schema.h"
#include "imaged/catalog/vfs.h"
#include "imaged/catalog/writer.h"

#define MAX_READERS 4
#define RESERVE (8 * MIB)

Catalog *catalog_open(const char *uri, GError **error)
{
    g_autoptr(Db) db = db_open(uri, TRUE, error);

    if (!db || !schema_migrate(db, error) || !vfs_rewrite_wal(db_handle(db), error))
        return NULL;
    Catalog *c = g_new0(Catalog, 1);
    c->uri = g_strdup(uri);
    c->reserve_fd = -1;
    c->writer = g_steal_pointer(&db);
    c->queue = g_async_queue_new();
    g_mutex_init(&c->lock);
    g_cond_init(&c->changed);
    g_queue_init(&c->readers);
    Query *q = db_query(c->writer, "SELECT coalesce(max(id), 0) AS id FROM event", "");
    c->last_event = query_next(q) ? query_int(q, "id") : 0;
    query_end(q, NULL);
    catalog_reserve(c);
    c->thread = g_thread_new("catalog", catalog_writer_main, c);
    return c;
}

void catalog_close(Catalog *c)
{
    Db *db;

    if (!c)
        return;
    catalog_writer_stop(c);
    while ((db = g_queue_pop_head(&c->readers)))
        db_close(db);
    db_close(c->writer);
    durable_close(&c->reserve_fd);
    g_async_queue_unref(c->queue);
    g_mutex_clear(&c->lock);
    g_cond_clear(&c->changed);
    g_free(c->uri);
    g_free(c);
}

void catalog_set_journal(Catalog *c, const CatalogJournal *journal, gpointer user)
{
    c->journal = *journal;
    c->journal_user = user;
}

Db *catalog_read_begin(Catalog *c)
{
    g_mutex_lock(&c->lock);
    while (g_queue_is_empty(&c->readers) && c->n_readers >= MAX_READERS)
        g_cond_wait(&c->changed, &c->lock);
    Db *db = g_queue_pop_head(&c->readers);
    if (!db)
        c->n_readers++;
    g_mutex_unlock(&c->lock);
    if (!db) {
        g_autoptr(GError) error = NULL;
        db = db_open(c->uri, FALSE, &error);
        if (!db)
            g_error("cannot open the catalog for reading: %s", error->message);
    }
    db_run(db, NULL, "BEGIN", ""); /* one transaction for all that is read: one state, one lock */
    return db;
}

void catalog_read_end(Catalog *c, Db *db)
{
    db_run(db, NULL, "COMMIT", "");
    g_mutex_lock(&c->lock);
    g_queue_push_head(&c->readers, db);
    g_cond_broadcast(&c->changed);
    g_mutex_unlock(&c->lock);
}

Db *catalog_read_begin_long(Catalog *c)
{
    g_mutex_lock(&c->lock);
    while (c->n_long >= MAX_READERS - 1)
        g_cond_wait(&c->changed, &c->lock);
    c->n_long++;
    g_mutex_unlock(&c->lock);
    return catalog_read_begin(c);
}

void catalog_read_end_long(Catalog *c, Db *db)
{
    catalog_read_end(c, db);
    g_mutex_lock(&c->lock);
    c->n_long--;
    g_cond_broadcast(&c->changed);
    g_mutex_unlock(&c->lock);
}

gboolean catalog_backup(Catalog *c, const char *path, GError **error)
{
    Db *db = catalog_read_begin(c);
    sqlite3 *copy = NULL;
    int result = SQLITE_ERROR;

    if (durable_unlink(AT_FDCWD, path, NULL) &&
        sqlite3_open_v2(path, &copy, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, vfs_name()) ==
            SQLITE_OK) {
        /* who stores the copy makes it durable; made by half it is made anew */
        sqlite3_exec(copy, "PRAGMA synchronous=OFF; PRAGMA journal_mode=MEMORY", NULL, NULL, NULL);
        sqlite3_backup *backup = sqlite3_backup_init(copy, "main", db_handle(db), "main");
        if (backup) {
            do
                result = sqlite3_backup_step(backup, 256);
            while (result == SQLITE_OK || result == SQLITE_BUSY || result == SQLITE_LOCKED);
            sqlite3_backup_finish(backup);
        }
        /* the copy lies alone: without a log beside it */
        int alone = sqlite3_exec(copy, "PRAGMA journal_mode=DELETE", NULL, NULL, NULL);
        if (result == SQLITE_DONE && alone != SQLITE_OK)
            result = alone;
    }
    if (sqlite3_close(copy) != SQLITE_OK && result == SQLITE_DONE)
        result = SQLITE_IOERR;
    catalog_read_end(c, db);
    if (result == SQLITE_DONE)
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "cannot back up the catalog: %s",
                sqlite3_errstr(result));
    return FALSE;
}

static void reserve_behind(int fd)
{
    off_t end = fd >= 0 ? lseek(fd, 0, SEEK_END) : -1;

    if (end >= 0 && !durable_reserve(fd, (guint64)end, RESERVE))
        g_debug("no reserve behind the catalog's file");
}

void catalog_reserve(Catalog *c)
{
    const char *path = sqlite3_db_filename(db_handle(c->writer), "main");

    if (!path || !*path || !g_str_has_prefix(c->uri, "file:"))
        return;
    /* Closing any descriptor of the database's file would drop SQLite's own (POSIX) locks on it,
     * and another program could then take away the log under us: so this one stays open until the
     * end. The log itself is never locked. */
    if (c->reserve_fd < 0)
        c->reserve_fd = open(path, O_RDWR | O_CLOEXEC);
    auto_fd wal = open(sqlite3_filename_wal(path), O_RDWR | O_CLOEXEC);
    reserve_behind(c->reserve_fd);
    reserve_behind(wal);
}

char *catalog_get_meta(Catalog *c, const char *key)
{
    Db *db = catalog_read_begin(c);
    Query *q = db_query(db, "SELECT value FROM meta WHERE key = ?1", "t", key);
    char *value = query_next(q) ? g_strdup(query_text(q, "value")) : NULL;

    query_end(q, NULL);
    catalog_read_end(c, db);
    return value;
}

void changes_set_meta(Changes *changes, const char *key, const char *value)
{
    changes_sql(changes,
                "INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET"
                " value = ?2",
                "tt", key, value);
}

guint64 catalog_n_commits(Catalog *c)
{
    g_mutex_lock(&c->lock);
    guint64 n = c->n_commits;
    g_mutex_unlock(&c->lock);
    return n;
}

gint64 catalog_wait_event(Catalog *c, gint64 after, gint64 ms)
{
    gint64 until = g_get_monotonic_time() + ms * 1000;

    g_mutex_lock(&c->lock);
    guint n_wakes = c->n_wakes;
    while (c->last_event <= after && c->n_wakes == n_wakes &&
           g_cond_wait_until(&c->changed, &c->lock, until))
        ;
    gint64 last = c->last_event;
    g_mutex_unlock(&c->lock);
    return last;
}

void catalog_wake(Catalog *c)
{
    g_mutex_lock(&c->lock);
    c->n_wakes++;
    g_cond_broadcast(&c->changed);
    g_mutex_unlock(&c->lock);
}
