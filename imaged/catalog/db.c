/* db.c: see db.h. */
#include "imaged/catalog/db.h"

#include <string.h>

#include "imaged/base/error.h"
#include "imaged/catalog/vfs.h"

struct Db {
    sqlite3 *handle;
    GHashTable *statements; /* literal's address -> sqlite3_stmt */
    GHashTable *functions;  /* names of those defined */
    gint64 deadline;        /* us, monotonic */
    gint64 steps_left;      /* till they are cut off */
};

struct Query {
    Db *db;
    sqlite3_stmt *stmt; /* NULL if it could not be prepared */
    int result;
    int n_columns;
    gboolean is_own; /* not in the cache: finalized at the end */
};

static void set_error(sqlite3 *handle, int result, GError **error)
{
    ImagedError code;
    int extended = handle ? sqlite3_extended_errcode(handle) : result;

    switch (result & 0xff) {
    case SQLITE_CONSTRAINT:
        code = extended == SQLITE_CONSTRAINT_FOREIGNKEY ? IMAGED_ERROR_INVALID
                                                        : IMAGED_ERROR_EXISTS;
        break;
    case SQLITE_FULL:
        code = IMAGED_ERROR_NO_SPACE;
        break;
    case SQLITE_INTERRUPT: /* by its deadline */
        code = IMAGED_ERROR_BUSY;
        break;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        code = IMAGED_ERROR_CORRUPT;
        break;
    default:
        code = IMAGED_ERROR_UNAVAILABLE;
    }
    g_set_error(error, IMAGED_ERROR, code, "catalog: %s",
                handle ? sqlite3_errmsg(handle) : sqlite3_errstr(result));
}

static void finalize(gpointer stmt)
{
    sqlite3_finalize(stmt);
}

Db *db_open(const char *uri, gboolean is_writer, GError **error)
{
    g_autoptr(Db) db = g_new0(Db, 1);
    int flags = SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX |
                (is_writer ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READWRITE);
    int result = sqlite3_open_v2(uri, &db->handle, flags, vfs_name());

    db->statements = g_hash_table_new_full(NULL, NULL, NULL, finalize);
    db->functions = g_hash_table_new(g_str_hash, g_str_equal);
    if (result != SQLITE_OK) {
        set_error(db->handle, result, error);
        return NULL;
    }
    sqlite3_busy_timeout(db->handle, 10000);
    sqlite3_extended_result_codes(db->handle, 1);
    if (!db_script(db,
                   "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;"
                   "PRAGMA temp_store=MEMORY; PRAGMA cache_size=-4096;",
                   error) ||
        /* The writer has room for all pages of a big batch: looking for one to write out early took
         * most of a batch's time.  The catalog gives the memory back afterwards. */
        !db_script(db,
                   is_writer ? "PRAGMA wal_autocheckpoint=2000; PRAGMA cache_size=-131072;"
                               "PRAGMA journal_size_limit=33554432;"
                             : "PRAGMA query_only=ON;",
                   error))
        return NULL;
    /* The log stays when we stop: a start on a full file system needs neither space nor inode. */
    int keep = 1;
    if (is_writer)
        sqlite3_file_control(db->handle, "main", SQLITE_FCNTL_PERSIST_WAL, &keep);
    return g_steal_pointer(&db);
}

void db_close(Db *db)
{
    if (!db)
        return;
    g_hash_table_unref(db->statements);
    g_hash_table_unref(db->functions);
    sqlite3_close(db->handle);
    g_free(db);
}

sqlite3 *db_handle(Db *db)
{
    return db->handle;
}

static void bind(Query *q, const char *types, va_list args)
{
    for (int i = 1; *types; types++, i++) {
        if (*types == 't') {
            const char *text = va_arg(args, const char *);
            sqlite3_bind_text(q->stmt, i, text, -1, SQLITE_TRANSIENT);
        } else if (*types == 'i') {
            sqlite3_bind_int64(q->stmt, i, va_arg(args, gint64));
        } else {
            sqlite3_bind_null(q->stmt, i);
        }
    }
}

Query *db_query_va(Db *db, const char *sql, const char *types, va_list args)
{
    Query *q = g_new0(Query, 1);

    q->db = db;
    q->stmt = g_hash_table_lookup(db->statements, sql);
    if (!q->stmt || sqlite3_stmt_busy(q->stmt)) {
        q->is_own = q->stmt != NULL; /* the cached one is in use further up */
        q->stmt = NULL;
        q->result = sqlite3_prepare_v3(db->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &q->stmt,
                                       NULL);
        if (q->result != SQLITE_OK)
            return q;
        if (!q->is_own)
            g_hash_table_insert(db->statements, (gpointer)sql, q->stmt);
    }
    q->n_columns = sqlite3_column_count(q->stmt);
    bind(q, types, args);
    return q;
}

Query *db_query_made(Db *db, const char *sql, const DbValue *values, guint n_values)
{
    Query *q = g_new0(Query, 1);

    q->db = db;
    q->is_own = TRUE;
    q->result = sqlite3_prepare_v2(db->handle, sql, -1, &q->stmt, NULL);
    if (q->result != SQLITE_OK)
        return q;
    for (guint i = 0; i < n_values; i++) {
        const DbValue *v = &values[i];
        if (v->type == 't')
            sqlite3_bind_text(q->stmt, (int)i + 1, v->text, -1, SQLITE_TRANSIENT);
        else if (v->type == 'i')
            sqlite3_bind_int64(q->stmt, (int)i + 1, v->integer);
        else
            sqlite3_bind_double(q->stmt, (int)i + 1, v->real);
    }
    q->n_columns = sqlite3_column_count(q->stmt);
    return q;
}

void db_define(Db *db, const char *name, int n_arguments, gboolean is_pure, DbFunction function,
               gpointer data)
{
    int flags = SQLITE_UTF8 | SQLITE_DIRECTONLY | (is_pure ? SQLITE_DETERMINISTIC : 0);

    if (g_hash_table_add(db->functions, (gpointer)name))
        sqlite3_create_function(db->handle, name, n_arguments, flags, data, function, NULL, NULL);
}

#define STEPS 1000

static int is_past(void *data)
{
    Db *db = data;

    db->steps_left -= STEPS;
    return db->steps_left < 0 || g_get_monotonic_time() > db->deadline;
}

void db_set_deadline(Db *db, gint64 until_us, gint64 max_steps)
{
    db->deadline = until_us;
    db->steps_left = max_steps ? max_steps : G_MAXINT64;
    sqlite3_progress_handler(db->handle, until_us ? STEPS : 0, until_us ? is_past : NULL, db);
}

Query *db_query(Db *db, const char *sql, const char *types, ...)
{
    va_list args;

    va_start(args, types);
    Query *q = db_query_va(db, sql, types, args);
    va_end(args);
    return q;
}

Query *db_query_once(Db *db, const char *sql, const char *types, ...)
{
    Query *q = g_new0(Query, 1);
    va_list args;

    q->db = db;
    q->is_own = TRUE;
    q->result = sqlite3_prepare_v2(db->handle, sql, -1, &q->stmt, NULL);
    if (q->result != SQLITE_OK)
        return q;
    q->n_columns = sqlite3_column_count(q->stmt);
    va_start(args, types);
    bind(q, types, args);
    va_end(args);
    return q;
}

gboolean query_next(Query *q)
{
    if (!q->stmt || (q->result != SQLITE_OK && q->result != SQLITE_ROW))
        return FALSE;
    q->result = sqlite3_step(q->stmt);
    return q->result == SQLITE_ROW;
}

static int column_of(Query *q, const char *name)
{
    for (int i = 0; i < q->n_columns; i++) {
        if (strcmp(sqlite3_column_name(q->stmt, i), name) == 0)
            return i;
    }
    g_error("no column '%s' in: %s", name, sqlite3_sql(q->stmt)); /* a programmer's mistake */
}

int query_column(Query *q, const char *column, int guess)
{
    if (guess < q->n_columns && strcmp(sqlite3_column_name(q->stmt, guess), column) == 0)
        return guess;
    return column_of(q, column);
}

const char *query_text(Query *q, const char *column)
{
    return (const char *)sqlite3_column_text(q->stmt, column_of(q, column));
}

gint64 query_int(Query *q, const char *column)
{
    return sqlite3_column_int64(q->stmt, column_of(q, column));
}

gboolean query_is_null(Query *q, const char *column)
{
    return sqlite3_column_type(q->stmt, column_of(q, column)) == SQLITE_NULL;
}

sqlite3_stmt *query_stmt(Query *q)
{
    return q->stmt;
}

gboolean query_end(Query *q, GError **error)
{
    int result = q->result;
    gboolean ok = result == SQLITE_OK || result == SQLITE_ROW || result == SQLITE_DONE;

    if (!ok)
        set_error(q->db->handle, result, error);
    if (q->is_own) {
        sqlite3_finalize(q->stmt);
    } else if (q->stmt) {
        sqlite3_reset(q->stmt);
        sqlite3_clear_bindings(q->stmt);
    }
    g_free(q);
    return ok;
}

gboolean db_run_va(Db *db, GError **error, const char *sql, const char *types, va_list args)
{
    Query *q = db_query_va(db, sql, types, args);

    while (query_next(q))
        ;
    return query_end(q, error);
}

gboolean db_run(Db *db, GError **error, const char *sql, const char *types, ...)
{
    va_list args;

    va_start(args, types);
    gboolean ok = db_run_va(db, error, sql, types, args);
    va_end(args);
    return ok;
}

gboolean db_script(Db *db, const char *sql, GError **error)
{
    int result = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);

    if (result != SQLITE_OK)
        set_error(db->handle, result, error);
    return result == SQLITE_OK;
}
