/* plan.h: which rows a search selects, as one statement of SQLite.
 *
 * SQLite can't know how many rows a bound pattern fits.  So the terms that lead over links are
 * tried first, each for a few hundred rows at most: one that selects few drives the whole search,
 * and the others are asked of its rows alone.  For this folder. */
#pragma once

#include "broker/search/compile.h"

typedef struct {
    const SearchObject *object;
    SearchTree *tree; /* owned */
    const Caller *caller;
    gint64 now;
    /* of plan_drive() */
    GHashTable *ids; /* what the terms that were tried, and the caller's eyes, leave; NULL: all */
    GArray *done;    /* gboolean for each term: ids or the index answers it */
    guint n_few;     /* rows that are so few that no more is tried; 0: not known yet */
    char *text;      /* else the question to the full-text index, or NULL */
} SearchPlan;

void search_plan_clear(SearchPlan *plan);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(SearchPlan, search_plan_clear)

/* Look for what drives the search. */
gboolean plan_drive(SearchPlan *plan, Db *db, GError **error);
gboolean plan_is_driven(const SearchPlan *plan);

/* Append "FROM ... WHERE ..." of the rows, called a0.  mode: how links are asked if nothing
 * drives. */
gboolean plan_from(const SearchPlan *plan, Compiler *c, CompileMode mode, GError **error);

/* Append " ORDER BY ...". */
gboolean plan_order(const SearchPlan *plan, Compiler *c, GError **error);

/* Append a statement that yields value and n, of GROUP BY. */
gboolean plan_group(const SearchPlan *plan, Compiler *c, GError **error);

/* ---- between plan.c, plan_probe.c and plan_group.c ---- */

/* The terms that all must hold. */
guint plan_n_terms(const SearchPlan *plan);
const SearchNode *plan_term(const SearchPlan *plan, guint i);

/* How little a term is likely to select, and to cost: a link to one, by a name, first.  From
 * PLAN_RANK_TEXT on it is dear to try; PLAN_RANK_LAST is never tried. */
#define PLAN_RANK_TEXT 4
#define PLAN_RANK_LAST 9
guint plan_rank(const SearchPlan *plan, const SearchNode *term);

/* Gather what the caller may see, and each term in turn, until few rows are left. */
gboolean plan_probe(SearchPlan *plan, Db *db, GError **error);
