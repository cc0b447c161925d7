/* db.h: one SQLite connection with cached statements; bound values, columns by name.
 *
 * SQL texts are string literals (the cache keeps their addresses).  One connection is used by one
 * thread at a time.  For imaged/catalog alone. */
#pragma once

#include <glib.h>
#include <sqlite3.h>

typedef struct Db Db;
typedef struct Query Query;

/* Open uri (a SQLite URI).  CORRUPT if it is no database, UNAVAILABLE. */
Db *db_open(const char *uri, gboolean is_writer, GError **error);
void db_close(Db *db);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Db, db_close)
sqlite3 *db_handle(Db *db);

/* Start a statement; types has one letter per value: t text (NULL allowed), i gint64, n NULL.
 * Never NULL: an error shows up in query_end(). */
Query *db_query(Db *db, const char *sql, const char *types, ...);
/* The same with a text that is no literal, and is not kept. */
Query *db_query_once(Db *db, const char *sql, const char *types, ...);
Query *db_query_va(Db *db, const char *sql, const char *types, va_list args);

/* The same of a text that was made for this question alone (a search): it is not kept. */
typedef struct {
    char type; /* t text, i integer, r real */
    char *text;
    gint64 integer;
    double real;
} DbValue;
Query *db_query_made(Db *db, const char *sql, const DbValue *values, guint n_values);

/* Let statements of this connection call a function of ours; again is nothing.  name is a literal.
 * data outlives the connection. */
typedef void (*DbFunction)(sqlite3_context *context, int n, sqlite3_value **values);
void db_define(Db *db, const char *name, int n_arguments, gboolean is_pure, DbFunction function,
               gpointer data);

/* From now on statements are cut off (BUSY at their end) when this moment (monotonic, us) has
 * passed, or when they took about so many of SQLite's steps (0: any number).  until_us 0: never. */
void db_set_deadline(Db *db, gint64 until_us, gint64 max_steps);

gboolean query_next(Query *query); /* FALSE at the end or on an error */
const char *query_text(Query *query, const char *column); /* NULL for NULL; till the next row */
gint64 query_int(Query *query, const char *column);       /* 0 for NULL */
/* The number of a column by its name; guess is looked at first. */
int query_column(Query *query, const char *column, int guess);
gboolean query_is_null(Query *query, const char *column);
sqlite3_stmt *query_stmt(Query *query);

/* End it (frees query).  FALSE with error if any step of it failed: EXISTS for a uniqueness
 * violation, INVALID for a broken reference, NO_SPACE, UNAVAILABLE. */
gboolean query_end(Query *query, GError **error);

/* Run a statement that returns no rows. */
gboolean db_run(Db *db, GError **error, const char *sql, const char *types, ...);
gboolean db_run_va(Db *db, GError **error, const char *sql, const char *types, va_list args);

/* Run a script of several statements. */
gboolean db_script(Db *db, const char *sql, GError **error);
