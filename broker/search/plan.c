/* plan.c: see plan.h.  What the tries cost is bounded: N_PROBE rows that count, N_PROBE_ROWS rows
 * that were looked at. */
#include "broker/search/plan.h"

#include <string.h>

#include "imaged/base/error.h"

#define N_PROBE 1024
#define N_PROBE_ROWS 4096
#define N_RANK_TEXT 4 /* terms that are dear to try */
#define N_RARE 256    /* texts */
#define N_FEW 512     /* better than this need not be looked for */

void search_plan_clear(SearchPlan *plan)
{
    search_tree_free(plan->tree);
    g_clear_pointer(&plan->ids, g_hash_table_unref);
    g_clear_pointer(&plan->done, g_array_unref);
    g_free(plan->text);
    *plan = (SearchPlan){ 0 };
}

/* The terms that all must hold. */
static guint n_terms(const SearchPlan *plan)
{
    const SearchNode *top = plan->tree->condition;

    return !top ? 0 : top->kind == NODE_AND ? top->children->len : 1;
}

static const SearchNode *term_at(const SearchPlan *plan, guint i)
{
    const SearchNode *top = plan->tree->condition;

    return top->kind == NODE_AND ? top->children->pdata[i] : top;
}

/* Gather ids over one way.  FALSE: too many, or an error. */
static gboolean probe_way(const SearchPlan *plan, Db *db, const SearchNode *term,
                          const SearchPath *path, const guint *ways, const char *fitting,
                          GHashTable *ids, GError **error)
{
    const SearchWay *way = &path->links[0]->ways[ways[0] - 1];
    g_auto(Compiler) c = { 0 };
    guint n_rows = 0;

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
    while (n_rows < N_PROBE_ROWS && g_hash_table_size(ids) <= N_PROBE && query_next(q)) {
        g_hash_table_add(ids, g_strdup(query_text(q, "id")));
        n_rows++;
    }
    return query_end(q, error) && n_rows < N_PROBE_ROWS && g_hash_table_size(ids) <= N_PROBE;
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

/* How little a term is likely to select, and to cost: a link to one, by a name, first. */
static guint rank(const SearchPlan *plan, const SearchNode *term)
{
    SearchPath path;

    if (term->kind != NODE_TERM || !resolve_path(plan->object, &term->word, &path, NULL))
        return 9;
    gboolean is_exact =
        term->op == OP_EQ && !strpbrk(g_array_index(term->values, SearchWord, 0).text, "*?");
    return (resolve_is_many(&path) ? 2 : 0) + !is_exact +
           (path.objects[path.n_links]->text_index ? N_RANK_TEXT : 0);
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

/* Of a table with few rows anyway only very few are little.  Counted when it first matters. */
static void count_few(SearchPlan *plan, Db *db)
{
    if (plan->n_few)
        return;
    g_autofree char *sql = g_strdup_printf("SELECT count(*) AS n FROM (SELECT 1 FROM %s LIMIT %d)",
                                           plan->object->table, N_FEW * 16);
    Query *q = db_query_made(db, sql, NULL, 0);

    plan->n_few = query_next(q) ? MAX((guint)query_int(q, "n") / 16, 1) : 1;
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
static gboolean find_sets(SearchPlan *plan, Db *db, GError **error)
{
    GError *local = NULL;
    GHashTable *ids = probe_visible(plan, db, &local);

    if (ids)
        keep(plan, ids);
    for (guint r = 0; r < 9; r++) {
        for (guint i = 0; i < n_terms(plan) && !local; i++) {
            if (has_few(plan, db))
                return TRUE;
            const SearchNode *term = term_at(plan, i);
            if (rank(plan, term) != r)
                continue;
            g_autofree char *fitting = r >= N_RANK_TEXT ? find_fitting(plan, db, term) : NULL;
            if (r >= N_RANK_TEXT && plan->ids && !fitting)
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

/* a0.id IN a list of ids of ours (of letters and digits). */
static void compile_ids(Compiler *c, GHashTable *ids, gboolean is_number)
{
    g_autoptr(GString) list = g_string_new("[");
    GHashTableIter iter;
    gpointer id;

    g_hash_table_iter_init(&iter, ids);
    while (g_hash_table_iter_next(&iter, &id, NULL))
        g_string_append_printf(list, is_number ? "%s%s" : "%s\"%s\"", list->len > 1 ? "," : "",
                               (const char *)id);
    g_string_append_c(list, ']');
    g_string_append(c->sql, "a0.id IN (SELECT value FROM json_each(");
    compile_text(c, list->str);
    g_string_append(c->sql, "))");
}

/* All terms that the object's full-text index answers: it then drives, newest first. */
static void find_text(SearchPlan *plan)
{
    for (guint i = 0; plan->object->text_index && i < n_terms(plan); i++) {
        const SearchNode *term = term_at(plan, i);
        SearchPath path = { 0 };
        if (term->kind == NODE_TERM &&
            (!resolve_path(plan->object, &term->word, &path, NULL) || path.n_links))
            continue;
        g_autofree char *query = compile_fts_query(term, plan->object, path.field, plan->now);
        g_autofree char *before = plan->text;
        plan->text = !query   ? g_steal_pointer(&before)
                     : before ? g_strdup_printf("%s AND %s", before, query)
                              : g_steal_pointer(&query);
    }
}

gboolean plan_drive(SearchPlan *plan, Db *db, GError **error)
{
    plan->done = g_array_new(FALSE, TRUE, sizeof(gboolean));
    g_array_set_size(plan->done, n_terms(plan));
    find_text(plan);
    return plan->text || find_sets(plan, db, error);
}

gboolean plan_is_driven(const SearchPlan *plan)
{
    return plan->text || plan->ids;
}

gboolean plan_from(const SearchPlan *plan, Compiler *c, CompileMode mode, GError **error)
{
    const char *index = plan->object->text_index;

    if (plan->text) {
        g_string_append_printf(c->sql,
                               " FROM %s CROSS JOIN %s a0 ON a0.id = %s.rowid WHERE %s"
                               " MATCH ",
                               index, plan->object->table, index, index);
        compile_text(c, plan->text);
        g_string_append(c->sql, " AND ");
    } else {
        g_string_append_printf(c->sql, " FROM %s a0 WHERE ", plan->object->table);
    }
    if (plan->ids) {
        compile_ids(c, plan->ids, index != NULL);
        g_string_append(c->sql, " AND ");
    }
    c->is_scan = !plan_is_driven(plan);
    compile_base(c, plan->object, 0);
    c->is_driven = plan->text != NULL;
    for (guint r = 0; r <= 9; r++) {
        for (guint i = 0; i < n_terms(plan); i++) {
            if (rank(plan, term_at(plan, i)) != r || g_array_index(plan->done, gboolean, i))
                continue;
            g_string_append(c->sql, " AND ");
            if (!compile_node(c, term_at(plan, i), plan->object, 0,
                              plan_is_driven(plan) ? MODE_ROW : mode, error))
                return FALSE;
        }
    }
    c->is_driven = FALSE;
    return TRUE;
}

static gboolean is_text(const SearchField *field)
{
    return field->type == TYPE_NAME || field->type == TYPE_TEXT;
}

gboolean plan_order(const SearchPlan *plan, Compiler *c, GError **error)
{
    const GArray *sorts = plan->tree->sorts;
    const SearchObject *o = plan->object;

    g_string_append(c->sql, " ORDER BY ");
    for (guint i = 0; i < sorts->len; i++) {
        const SearchSort *sort = &g_array_index(sorts, SearchSort, i);
        SearchPath path;
        if (!resolve_path(o, &sort->field, &path, error))
            return FALSE;
        compile_path_value(c, &path, 0);
        g_string_append_printf(c->sql, "%s%s, ", is_text(path.field) ? " COLLATE NOCASE" : "",
                               sort->is_descending ? " DESC" : " NULLS LAST");
    }
    if (!sorts->len) {
        const SearchField *f = objects_field(o, o->order);
        if (plan->text && g_str_equal(f->name, "id"))
            g_string_append_printf(c->sql, "%s.rowid", o->text_index);
        else
            compile_template(c, f->folded ? f->folded : f->sql, 0, 0);
        if (g_str_equal(f->name, "id")) { /* nothing can be equal */
            g_string_append(c->sql, o->is_newest_first ? " DESC" : "");
            return TRUE;
        }
        g_string_append_printf(c->sql, "%s%s, ", is_text(f) && !f->folded ? " COLLATE NOCASE" : "",
                               o->is_newest_first ? " DESC" : "");
    }
    g_string_append_printf(c->sql, "a0.id%s", o->is_newest_first ? " DESC" : "");
    return TRUE;
}

/* Times are grouped by day, ages not at all. */
static void compile_value(Compiler *c, const SearchField *field, const char *expression)
{
    if (field->type == TYPE_TIME)
        g_string_append_printf(c->sql, "date(%s / 1000, 'unixepoch', 'localtime')", expression);
    else
        g_string_append(c->sql, expression);
}

/* Rows of one field: as it is.  Where all rows of a group have one key, the group's value is looked
 * up once for each key. */
static gboolean group_by_key(const SearchPlan *plan, Compiler *c, SearchPath *path, GError **error)
{
    const SearchWay *way = &path->links[0]->ways[0];
    const SearchObject *to = path->objects[1];

    g_string_append(c->sql, "SELECT ");
    compile_value(c, path->field, "v");
    g_string_append(c->sql, " AS value, sum(n) AS n FROM (SELECT (SELECT ");
    guint alias = ++c->n_aliases;
    compile_template(c, path->field->sql, alias, 0);
    g_string_append(c->sql, " FROM ");
    compile_template(c, way->from, 0, alias);
    g_string_append(c->sql, " WHERE ");
    compile_template(c, way->outer, 0, alias);
    g_string_append(c->sql, " = g.k AND ");
    compile_base(c, to, alias);
    g_string_append(c->sql, ") AS v, n FROM (SELECT ");
    compile_template(c, way->key, 0, 0);
    g_string_append(c->sql, " AS k, count(*) AS n");
    if (!plan_from(plan, c, MODE_SET, error))
        return FALSE;
    g_string_append(c->sql, " GROUP BY 1) g) GROUP BY 1");
    return TRUE;
}

/* Each way of each link in turn: (row, value) pairs.  ways: of the links so far. */
static void compile_pairs(Compiler *c, const SearchPlan *plan, const SearchPath *path, guint hop,
                          const SearchWay **ways, guint *n)
{
    if (hop < path->n_links) {
        const SearchLink *link = path->links[hop];
        for (guint i = 0; i < SEARCH_MAX_WAYS && link->ways[i].key; i++) {
            ways[hop] = &link->ways[i];
            compile_pairs(c, plan, path, hop + 1, ways, n);
        }
        return;
    }
    guint alias = 0, first = c->n_aliases + 1;
    g_string_append(c->sql, (*n)++ ? " UNION SELECT a0.id, " : "SELECT a0.id AS i, ");
    c->n_aliases += path->n_links;
    compile_template(c, path->field->sql, path->n_links ? c->n_aliases : 0, 0);
    g_string_append_printf(c->sql, " AS v FROM m CROSS JOIN %s a0 ON a0.id = m.i",
                           plan->object->table);
    for (guint i = 0; i < path->n_links; i++) {
        g_string_append(c->sql, " JOIN ");
        compile_template(c, ways[i]->from, 0, first + i);
    }
    g_string_append(c->sql, " WHERE 1");
    for (guint i = 0; i < path->n_links; i++) {
        g_string_append(c->sql, " AND ");
        compile_template(c, ways[i]->outer, alias, first + i);
        g_string_append(c->sql, " = ");
        compile_template(c, ways[i]->key, alias, first + i);
        g_string_append(c->sql, " AND ");
        compile_base(c, path->objects[i + 1], first + i);
        if (ways[i]->guard) {
            g_string_append(c->sql, " AND ");
            compile_template(c, ways[i]->guard, alias, 0);
        }
        alias = first + i;
    }
}

gboolean plan_group(const SearchPlan *plan, Compiler *c, GError **error)
{
    const SearchWay *ways[SEARCH_MAX_HOPS];
    SearchPath path;
    guint n = 0;

    if (!resolve_path(plan->object, &plan->tree->group, &path, error))
        return FALSE;
    if (path.n_links == 1 && !path.links[0]->is_many && !path.links[0]->ways[1].key &&
        !g_str_equal(path.links[0]->ways[0].key, "$.id"))
        return group_by_key(plan, c, &path, error);
    if (!path.n_links) {
        g_autofree char *whole = NULL;
        gsize begin = c->sql->len;
        compile_template(c, path.field->sql, 0, 0);
        whole = g_strdup(c->sql->str + begin);
        g_string_truncate(c->sql, begin);
        g_string_append(c->sql, "SELECT ");
        compile_value(c, path.field, whole);
        g_string_append(c->sql, " AS value, count(*) AS n");
        if (!plan_from(plan, c, MODE_SET, error))
            return FALSE;
        g_string_append(c->sql, " GROUP BY 1");
        return TRUE;
    }
    g_string_append(c->sql, "WITH m(i) AS MATERIALIZED (SELECT a0.id");
    if (!plan_from(plan, c, MODE_SET, error))
        return FALSE;
    g_string_append(c->sql, "), p AS MATERIALIZED (");
    compile_pairs(c, plan, &path, 0, ways, &n);
    g_string_append(c->sql, ") SELECT ");
    compile_value(c, path.field, "v");
    g_string_append(c->sql, " AS value, count(*) AS n FROM (SELECT i, v FROM p UNION ALL SELECT i,"
                            " NULL FROM m WHERE i NOT IN (SELECT i FROM p)) GROUP BY 1");
    return TRUE;
}
