/* compile.h: conditions as SQL, with every value bound.
 *
 * Truth has two values: what is not known is not so, and NOT of it is so.  A link is asked in one
 * of two forms: MODE_SET gathers all rows whose link fits (driven from the other side), MODE_ROW
 * asks it of one row.  For this folder; one Compiler is one thread's. */
#pragma once

#include "broker/search/compare.h"

typedef enum { MODE_SET, MODE_ROW } CompileMode;

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
