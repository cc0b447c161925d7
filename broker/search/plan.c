/* plan.c: see plan.h.  What the tries cost is bounded: N_PROBE rows that count, N_PROBE_ROWS rows
 * that were looked at. */
#include "broker/search/plan.h"

#include <string.h>

#include "imaged/base/error.h"

#define N_PROBE 256
#define N_PROBE_ROWS 4096
#define N_FEW 16 /* better than this need not be looked for */

void search_plan_clear(SearchPlan *plan)
{
    search_tree_free(plan->tree);
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
                          const SearchPath *path, const SearchWay *way, GHashTable *ids,
                          GError **error)
{
    g_auto(Compiler) c = { 0 };
    guint n_rows = 0;

    compiler_init(&c, plan->caller, plan->now);
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

/* The ids that a term selects, or NULL: it is not of the kind that drives, selects too many, or is
 * wrong. */
static GHashTable *probe(const SearchPlan *plan, Db *db, const SearchNode *term, GError **error)
{
    SearchPath path;

    if (term->kind != NODE_TERM || term->op == OP_NE || term->op == OP_NOT_IN ||
        term->op == OP_NONE || term->op == OP_SET ||
        !resolve_path(plan->object, &term->word, &path, error) || !path.n_links)
        return NULL;
    g_autoptr(GHashTable) ids = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    for (guint i = 0; i < SEARCH_MAX_WAYS && path.links[0]->ways[i].key; i++) {
        if (!probe_way(plan, db, term, &path, &path.links[0]->ways[i], ids, error))
            return NULL;
    }
    return g_steal_pointer(&ids);
}

/* The smallest set that a term selects; *ret_i is that term. */
static gboolean find_driver(const SearchPlan *plan, Db *db, GHashTable **ret, guint *ret_i,
                            GError **error)
{
    *ret = NULL;
    for (guint i = 0; i < n_terms(plan); i++) {
        GError *local = NULL;
        g_autoptr(GHashTable) ids = probe(plan, db, term_at(plan, i), &local);
        if (local) {
            g_propagate_error(error, local);
            g_clear_pointer(ret, g_hash_table_unref);
            return FALSE;
        }
        if (!ids || (*ret && g_hash_table_size(*ret) <= g_hash_table_size(ids)))
            continue;
        g_clear_pointer(ret, g_hash_table_unref);
        *ret = g_steal_pointer(&ids);
        *ret_i = i;
        if (g_hash_table_size(*ret) <= N_FEW)
            break;
    }
    return TRUE;
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

/* A term that the object's full-text index answers; the index then drives, newest first. */
static gboolean find_text(const SearchPlan *plan, char **ret_query, guint *ret_i)
{
    *ret_query = NULL;
    for (guint i = 0; plan->object->text_index && i < n_terms(plan); i++) {
        const SearchNode *term = term_at(plan, i);
        SearchPath path = { 0 };
        if (term->kind == NODE_TERM &&
            (!resolve_path(plan->object, &term->word, &path, NULL) || path.n_links))
            continue;
        *ret_query = compile_fts_query(term, plan->object, path.field, plan->now);
        if (*ret_query) {
            *ret_i = i;
            return TRUE;
        }
    }
    return FALSE;
}

static gboolean is_by_text_index(const SearchPlan *plan)
{
    g_autofree char *query = NULL;
    guint i;

    return find_text(plan, &query, &i);
}

gboolean plan_from(const SearchPlan *plan, Db *db, Compiler *c, GError **error)
{
    g_autoptr(GHashTable) ids = NULL;
    g_autofree char *text = NULL;
    guint driver = G_MAXUINT;

    if (find_text(plan, &text, &driver)) {
        g_string_append_printf(c->sql,
                               " FROM %s CROSS JOIN %s a0 ON a0.id = %s.rowid WHERE %s"
                               " MATCH ",
                               plan->object->text_index, plan->object->table,
                               plan->object->text_index, plan->object->text_index);
        compile_text(c, text);
        g_string_append(c->sql, " AND ");
    } else {
        if (!find_driver(plan, db, &ids, &driver, error))
            return FALSE;
        g_string_append_printf(c->sql, " FROM %s a0 WHERE ", plan->object->table);
    }
    compile_base(c, plan->object, 0);
    if (ids) {
        g_string_append(c->sql, " AND ");
        compile_ids(c, ids, plan->object->text_index != NULL);
    }
    for (guint i = 0; i < n_terms(plan); i++) {
        if (i == driver && ids)
            continue;
        g_string_append(c->sql, " AND ");
        c->is_driven = i == driver;
        if (!compile_node(c, term_at(plan, i), plan->object, 0,
                          driver != G_MAXUINT ? MODE_ROW : MODE_SET, error))
            return FALSE;
        c->is_driven = FALSE;
    }
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
        g_string_append_printf(c->sql, "%s%s NULLS LAST, ",
                               is_text(path.field) ? " COLLATE NOCASE" : "",
                               sort->is_descending ? " DESC" : "");
    }
    if (!sorts->len) {
        const SearchField *f = objects_field(o, o->order);
        if (is_by_text_index(plan) && g_str_equal(f->name, "id"))
            g_string_append_printf(c->sql, "%s.rowid", o->text_index);
        else
            compile_template(c, f->sql, 0, 0);
        if (g_str_equal(f->name, "id")) { /* nothing can be equal */
            g_string_append(c->sql, o->is_newest_first ? " DESC" : "");
            return TRUE;
        }
        g_string_append_printf(c->sql, "%s%s, ", is_text(f) ? " COLLATE NOCASE" : "",
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
static gboolean group_by_key(const SearchPlan *plan, Db *db, Compiler *c, SearchPath *path,
                             GError **error)
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
    if (!plan_from(plan, db, c, error))
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

gboolean plan_group(const SearchPlan *plan, Db *db, Compiler *c, GError **error)
{
    const SearchWay *ways[SEARCH_MAX_HOPS];
    SearchPath path;
    guint n = 0;

    if (!resolve_path(plan->object, &plan->tree->group, &path, error))
        return FALSE;
    if (path.n_links == 1 && !path.links[0]->is_many && !path.links[0]->ways[1].key &&
        !g_str_equal(path.links[0]->ways[0].key, "$.id"))
        return group_by_key(plan, db, c, &path, error);
    if (!path.n_links) {
        g_autofree char *whole = NULL;
        gsize begin = c->sql->len;
        compile_template(c, path.field->sql, 0, 0);
        whole = g_strdup(c->sql->str + begin);
        g_string_truncate(c->sql, begin);
        g_string_append(c->sql, "SELECT ");
        compile_value(c, path.field, whole);
        g_string_append(c->sql, " AS value, count(*) AS n");
        if (!plan_from(plan, db, c, error))
            return FALSE;
        g_string_append(c->sql, " GROUP BY 1");
        return TRUE;
    }
    g_string_append(c->sql, "WITH m(i) AS MATERIALIZED (SELECT a0.id");
    if (!plan_from(plan, db, c, error))
        return FALSE;
    g_string_append(c->sql, "), p AS MATERIALIZED (");
    compile_pairs(c, plan, &path, 0, ways, &n);
    g_string_append(c->sql, ") SELECT ");
    compile_value(c, path.field, "v");
    g_string_append(c->sql, " AS value, count(*) AS n FROM (SELECT i, v FROM p UNION ALL SELECT i,"
                            " NULL FROM m WHERE i NOT IN (SELECT i FROM p)) GROUP BY 1");
    return TRUE;
}
