/* compile.h: conditions as SQL, with every value bound.
 *
 * Truth has two values: what is not known is not so, and NOT of it is so.  A link is asked in one
 * of two forms: MODE_SET gathers all rows whose link fits (driven from the other side), MODE_ROW
 * asks it of one row.  For this folder; one Compiler is one thread's. */
#pragma once

#include "broker/access/caller.h"
#include "broker/search/resolve.h"
#include "imaged/catalog/db.h"

typedef enum { MODE_SET, MODE_ROW } CompileMode;

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

/* Append ?N for a value that is bound. */
void compile_text(Compiler *c, const char *text);
void compile_integer(Compiler *c, gint64 number);

/* Append a template of objects.h; self and target: numbers of aliases ("a3"). */
void compile_template(Compiler *c, const char *template, guint self, guint target);

/* The object's own condition on the row alias, and what the caller may see: "(...)". */
void compile_base(Compiler *c, const SearchObject *object, guint alias);

/* A condition on rows of object, called alias. */
gboolean compile_node(Compiler *c, const SearchNode *node, const SearchObject *object, guint alias,
                      CompileMode mode, GError **error);

/* "SELECT outer FROM ..." of one way of a term's first link, for probing which rows it selects. */
gboolean compile_way(Compiler *c, const SearchNode *term, const SearchPath *path,
                     const SearchWay *way, GError **error);

/* A path as one value of the row; the smallest of several. */
void compile_path_value(Compiler *c, const SearchPath *path, guint alias);

/* All values of a path over one link, as a JSON array without doubles. */
void compile_path_list(Compiler *c, const SearchPath *path, guint alias);

/* The full-text question for a free word (field NULL) or a term that compares this field: NULL if
 * the object has no index of it, or nothing is in it that an index could find.  Caller frees. */
char *compile_fts_query(const SearchNode *node, const SearchObject *object,
                        const SearchField *field, gint64 now);
