/* plan_group.c: GROUP BY: a field of the row's own, one of a thing that all rows of a group share
 * (looked up once for each), or what several ways lead to (pairs without doubles). */
#include "broker/search/plan.h"

#include <string.h>

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
