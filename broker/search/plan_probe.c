/* plan_probe.c: SQLite drives a way from its end where that selects little, several joined by OR it
 * does not: so each combination of ways is tried by itself.  What the tries cost is bounded:
 * N_PROBE rows that count, N_PROBE_ROWS rows that were looked at. */
#include "broker/search/plan.h"

#include <string.h>

#define N_PROBE 1024
#define N_PROBE_ROWS 4096
#define N_RARE 256 /* texts */
#define N_FEW 512  /* better than this need not be looked for */
/* Rows to look at for each that is left: asking these one by one costs no more. */
#define N_ROWS_EACH 8

/* Gather ids over one way.  FALSE: too many, or an error. */
static gboolean probe_way(const SearchPlan *plan, Db *db, const SearchNode *term,
                          const SearchPath *path, const guint *ways, const char *fitting,
                          GHashTable *ids, GError **error)
{
    const SearchWay *way = &path->links[0]->ways[ways[0] - 1];
    g_auto(Compiler) c = { 0 };
    guint n_rows = 0, max_rows = N_PROBE_ROWS;

    /* A text's rows have been found already. */
    if (plan->ids && !fitting)
        max_rows = MIN(max_rows, N_ROWS_EACH * (g_hash_table_size(plan->ids) + 1));

    compiler_init(&c, plan->caller, plan->now);
    memcpy(c.way, ways, sizeof c.way);
    c.fitting = fitting;
    g_string_append(c.sql, "SELECT a0.id AS id FROM (");
    if (!compile_way(&c, term, path, way, error))
        return FALSE;
    g_string_append_printf(c.sql, ") s CROSS JOIN %s a0 ON ", plan->object->table);
    compile_template(&c, way->key, 0, 0);
    g_string_append(c.sql, " = s.k WHERE ");
    compile_base(&c, plan->object, 0);
    if (way->guard) {
        g_string_append(c.sql, " AND ");
        compile_template(&c, way->guard, 0, 0);
    }
    Query *q = db_query_made(db, c.sql->str, (DbValue *)c.values->data, c.values->len);
    while (n_rows < max_rows && g_hash_table_size(ids) <= N_PROBE && query_next(q)) {
        g_hash_table_add(ids, g_strdup(query_text(q, "id")));
        n_rows++;
    }
    return query_end(q, error) && n_rows < max_rows && g_hash_table_size(ids) <= N_PROBE;
}

/* Each way of each link in turn: SQLite drives one from its end, several joined by OR it does not.
 */
static gboolean probe_hops(const SearchPlan *plan, Db *db, const SearchNode *term,
                           const SearchPath *path, guint hop, guint *ways, const char *fitting,
                           GHashTable *ids, GError **error)
{
    if (hop == path->n_links)
        return probe_way(plan, db, term, path, ways, fitting, ids, error);
    for (guint i = 0; i < SEARCH_MAX_WAYS && path->links[hop]->ways[i].key; i++) {
        ways[hop] = i + 1;
        if (!probe_hops(plan, db, term, path, hop + 1, ways, fitting, ids, error))
            return FALSE;
    }
    return TRUE;
}

/* The ids that a term selects, or NULL: it is not of the kind that drives, selects too many, or is
 * wrong.  fitting: of find_fitting(). */
static GHashTable *probe(const SearchPlan *plan, Db *db, const SearchNode *term,
                         const char *fitting, GError **error)
{
    SearchPath path;

    if (term->kind != NODE_TERM || term->op == OP_NE || term->op == OP_NOT_IN ||
        term->op == OP_NONE || term->op == OP_SET ||
        !resolve_path(plan->object, &term->word, &path, error) || !path.n_links)
        return NULL;
    g_autoptr(GHashTable) ids = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    guint ways[SEARCH_MAX_HOPS] = { 0 };
    return probe_hops(plan, db, term, &path, 0, ways, fitting, ids, error) ? g_steal_pointer(&ids)
                                                                           : NULL;
}

/* Ids that the caller may see, if they are few. */
static GHashTable *probe_visible(const SearchPlan *plan, Db *db, GError **error)
{
    g_autofree char *visible = access_visible_sql(plan->caller, plan->object->one, "a0");
    g_autoptr(GHashTable) ids = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

    if (!visible || plan->object->text_index)
        return NULL;
    g_autofree char *sql = g_strdup_printf("SELECT a0.id AS id FROM %s a0 WHERE %s LIMIT %d",
                                           plan->object->table, visible, N_PROBE + 1);
    Query *q = db_query_made(db, sql, NULL, 0);
    while (query_next(q))
        g_hash_table_add(ids, g_strdup(query_text(q, "id")));
    if (!query_end(q, error) || g_hash_table_size(ids) > N_PROBE)
        return NULL;
    return g_steal_pointer(&ids);
}

/* Of a table with few rows anyway only very few are little.  Counted when it first matters: SQLite
 * counts the entries of a whole page at once, but what an index of texts is for (events,
 * applications) has more pages than that is worth. */
static void count_few(SearchPlan *plan, Db *db)
{
    if (plan->n_few)
        return;
    if (plan->object->text_index) {
        plan->n_few = N_FEW;
        return;
    }
    g_autofree char *sql = g_strdup_printf("SELECT count(*) AS n FROM %s", plan->object->table);
    Query *q = db_query_made(db, sql, NULL, 0);

    plan->n_few = query_next(q) ? (guint)CLAMP(query_int(q, "n") / 16, 1, N_FEW) : 1;
    query_end(q, NULL);
}

/* What a full-text index finds for this term, as a JSON list of numbers, if that is little; else
 * NULL.  Caller frees. */
static char *find_fitting(const SearchPlan *plan, Db *db, const SearchNode *term)
{
    SearchPath path;
    guint n = 0;

    if (!resolve_path(plan->object, &term->word, &path, NULL))
        return NULL;
    const SearchObject *to = path.objects[path.n_links];
    g_autofree char *text = compile_fts_query(term, to, path.field, plan->now);
    if (!text)
        return NULL;
    const DbValue value = { .type = 't', .text = text };
    g_autofree char *sql = g_strdup_printf("SELECT rowid AS id FROM %s WHERE %s MATCH ?1 LIMIT %d",
                                           to->text_index, to->text_index, N_RARE + 1);
    Query *q = db_query_made(db, sql, &value, 1);
    GString *list = g_string_new("[");
    for (; query_next(q); n++)
        g_string_append_printf(list, "%s%s", n ? "," : "", query_text(q, "id"));
    g_string_append_c(list, ']');
    gboolean ok = query_end(q, NULL) && n <= N_RARE;
    return g_string_free(list, !ok);
}

static gboolean has_few(SearchPlan *plan, Db *db)
{
    if (!plan->ids)
        return FALSE;
    count_few(plan, db);
    return g_hash_table_size(plan->ids) <= plan->n_few;
}

static gboolean is_missing(gpointer id, gpointer value, gpointer ids)
{
    (void)value;
    return !g_hash_table_contains(ids, id);
}

/* Only what is in ids (taken over) as well. */
static void keep(SearchPlan *plan, GHashTable *ids)
{
    if (!plan->ids) {
        plan->ids = ids;
        return;
    }
    g_hash_table_foreach_remove(plan->ids, is_missing, ids);
    g_hash_table_unref(ids);
}

/* What the caller may see, and each term in turn, until few are left. */
gboolean plan_probe(SearchPlan *plan, Db *db, GError **error)
{
    GError *local = NULL;
    GHashTable *ids = probe_visible(plan, db, &local);

    if (ids)
        keep(plan, ids);
    for (guint r = 0; r < PLAN_RANK_LAST; r++) {
        for (guint i = 0; i < plan_n_terms(plan) && !local; i++) {
            if (has_few(plan, db))
                return TRUE;
            const SearchNode *term = plan_term(plan, i);
            if (plan_rank(plan, term) != r)
                continue;
            g_autofree char *fitting = r >= PLAN_RANK_TEXT ? find_fitting(plan, db, term) : NULL;
            if (r >= PLAN_RANK_TEXT && plan->ids && !fitting)
                continue;
            ids = probe(plan, db, term, fitting, &local);
            if (ids) {
                keep(plan, ids);
                g_array_index(plan->done, gboolean, i) = TRUE;
            }
        }
    }
    if (!local)
        return TRUE;
    g_propagate_error(error, local);
    return FALSE;
}
