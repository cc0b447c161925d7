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
} SearchPlan;

void search_plan_clear(SearchPlan *plan);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(SearchPlan, search_plan_clear)

/* Append "FROM ... WHERE ..." of the rows, called a0. */
gboolean plan_from(const SearchPlan *plan, Db *db, Compiler *c, GError **error);

/* Append " ORDER BY ...". */
gboolean plan_order(const SearchPlan *plan, Compiler *c, GError **error);

/* Append a statement that yields value and n, of GROUP BY. */
gboolean plan_group(const SearchPlan *plan, Db *db, Compiler *c, GError **error);
