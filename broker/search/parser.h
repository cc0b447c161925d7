/* parser.h: a search as a tree.
 *
 *     [OBJECT:] [CONDITION] [SORTBY key [ASC|DESC], ...] [GROUP BY field] [COUNT] [PAGE n] [LIMIT
 * n]
 *
 * The tree knows nothing of objects and fields: resolve.h does.  Pure; depth and number of terms
 * are bounded.  Any thread. */
#pragma once

#include <glib.h>

#define SEARCH_MAX_DEPTH 32
#define SEARCH_MAX_TERMS 64
#define SEARCH_MAX_VALUES 1000
#define SEARCH_MAX_LIMIT 100000

typedef enum {
    OP_EQ,
    OP_NE,
    OP_LT,
    OP_LE,
    OP_GT,
    OP_GE,
    OP_IN,
    OP_NOT_IN,
    OP_NONE,
    OP_SET,
} SearchOp;

typedef struct {
    char *text; /* as it was written, with its backslashes, without its quotes */
    guint column;
    gboolean is_quoted;
} SearchWord;

typedef enum { NODE_AND, NODE_OR, NODE_NOT, NODE_TERM, NODE_FREE, NODE_SAVED } NodeKind;

typedef struct SearchNode SearchNode;
struct SearchNode {
    NodeKind kind;
    GPtrArray *children; /* AND, OR, NOT (one) */
    SearchWord word;     /* TERM: the field; FREE: the text; SAVED: the name, without @ */
    SearchOp op;         /* TERM */
    GArray *values;      /* TERM: of SearchWord */
    guint scope;         /* SAVED that was put in: 0 is the search itself */
};

typedef struct {
    SearchWord field;
    gboolean is_descending;
} SearchSort;

typedef struct {
    SearchWord object;     /* text NULL: not said */
    SearchNode *condition; /* NULL: all */
    GArray *sorts;         /* of SearchSort */
    SearchWord group;      /* text NULL: none */
    gboolean is_count;
    gint64 page, limit; /* 0: not said */
    guint page_column, limit_column;
} SearchTree;

/* INVALID, with the column. */
SearchTree *search_parse(const char *text, GError **error);
void search_tree_free(SearchTree *tree);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SearchTree, search_tree_free)
void search_node_free(SearchNode *node);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SearchNode, search_node_free)

/* Is this word one of the language's own (AND, SORTBY ...)? */
gboolean search_is_keyword(const char *word);
extern const char *const search_keywords[]; /* in capitals; NULL ends */
