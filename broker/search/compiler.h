/* compiler.h: a statement of SQL that is being made, with its values bound.
 *
 * For this folder; one Compiler is one thread's. */
#pragma once

#include "broker/access/caller.h"
#include "broker/search/objects.h"
#include "broker/search/resolve.h"
#include "imaged/catalog/db.h"

typedef struct {
    GString *sql;
    GArray *values; /* of DbValue, texts owned */
    guint n_aliases;
    gint64 now;
    const Caller *caller;
    gboolean is_driven;         /* full-text indexes need not be asked */
    const char *fitting;        /* else what the index of the one term says: a JSON list; NULL */
    guint way[SEARCH_MAX_HOPS]; /* 1 more than the way to take at each hop; 0: all of them */
    gboolean is_scan; /* row a0 is found in its order: an index of what is there is no help */
} Compiler;

void compiler_init(Compiler *c, const Caller *caller, gint64 now);
void compiler_clear(Compiler *c);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Compiler, compiler_clear)

/* Append SQL. */
void compile_sql(Compiler *c, const char *text);

/* Append ?N for a value that is bound. */
void compile_text(Compiler *c, const char *text);
void compile_integer(Compiler *c, gint64 number);
void compile_real(Compiler *c, double number);

/* Append a template of objects.h; self and target: numbers of aliases ("a3"). */
void compile_template(Compiler *c, const char *template, guint self, guint target);

/* The object's own condition on the row alias, and what the caller may see: "(...)". */
void compile_base(Compiler *c, const SearchObject *object, guint alias);
