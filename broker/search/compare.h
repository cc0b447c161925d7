/* compare.h: what a condition asks of a field, as SQL on a row that has it.  For this folder. */
#pragma once

#include "broker/search/compiler.h"
#include "broker/search/parser.h"

/* What a path ends in: a term's comparison, or that a free word fits the main field. */
typedef struct {
    const SearchNode *node;
    SearchOp op; /* positive */
} Leaf;

/* INVALID with the column: the value is none of the field's. */
gboolean compile_leaf(Compiler *c, const Leaf *leaf, const SearchObject *object,
                      const SearchField *field, guint alias, GError **error);

/* Where a full-text index has the field (NULL: what free words look at), append which rows can fit
 * at all, and " AND ". */
void compile_fts(Compiler *c, const SearchNode *node, const SearchObject *object,
                 const SearchField *field, guint alias);

/* The full-text question for a free word (field NULL) or a term that compares this field: NULL if
 * the object has no index of it, or nothing is in it that an index could find.  Caller frees. */
char *compile_fts_query(const SearchNode *node, const SearchObject *object,
                        const SearchField *field, gint64 now);
