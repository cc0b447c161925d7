/* compile_values.c: what a path leads to as a value: to sort by, and to show. */
#include "broker/search/compile.h"

/* The smallest value of what lies behind the hops from hop on, for the row alias. */
static void compile_value_hop(Compiler *c, const SearchPath *path, guint hop, guint alias)
{
    if (hop == path->n_links) {
        compile_template(c, path->field->sql, alias, 0);
        return;
    }
    const SearchLink *link = path->links[hop];
    compile_sql(c, "coalesce(NULL");
    for (guint i = 0; i < SEARCH_MAX_WAYS && link->ways[i].key; i++) {
        const SearchWay *way = &link->ways[i];
        guint target = ++c->n_aliases;
        compile_sql(c, ", (SELECT min(");
        compile_value_hop(c, path, hop + 1, target);
        compile_sql(c, ") FROM ");
        compile_template(c, way->from, alias, target);
        compile_sql(c, " WHERE ");
        compile_template(c, way->outer, alias, target);
        compile_sql(c, " = ");
        compile_template(c, way->key, alias, target);
        compile_sql(c, " AND ");
        compile_base(c, path->objects[hop + 1], target);
        if (way->guard) {
            compile_sql(c, " AND ");
            compile_template(c, way->guard, alias, 0);
        }
        compile_sql(c, ")");
    }
    compile_sql(c, ")");
}

void compile_path_value(Compiler *c, const SearchPath *path, guint alias)
{
    compile_sql(c, "(");
    compile_value_hop(c, path, 0, alias);
    compile_sql(c, ")");
}

void compile_path_list(Compiler *c, const SearchPath *path, guint alias)
{
    const SearchLink *link = path->links[0];

    compile_sql(c, "(SELECT json_group_array(v) FROM (");
    for (guint i = 0; i < SEARCH_MAX_WAYS && link->ways[i].key; i++) {
        const SearchWay *way = &link->ways[i];
        guint target = ++c->n_aliases;
        compile_sql(c, i ? " UNION SELECT " : "SELECT DISTINCT ");
        compile_template(c, path->field->sql, target, 0);
        compile_sql(c, " AS v FROM ");
        compile_template(c, way->from, alias, target);
        compile_sql(c, " WHERE ");
        compile_template(c, way->outer, alias, target);
        compile_sql(c, " = ");
        compile_template(c, way->key, alias, target);
        compile_sql(c, " AND ");
        compile_base(c, path->objects[1], target);
        if (way->guard) {
            compile_sql(c, " AND ");
            compile_template(c, way->guard, alias, 0);
        }
    }
    compile_sql(c, "))");
}
