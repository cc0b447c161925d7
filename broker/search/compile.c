/* compile.c: what is negative (!=, NOT IN, IS NONE) is the positive question, negated as a whole:
 * so that on a link with many it means none of them. */
#include "broker/search/compile.h"

#include "broker/search/functions.h"

static gboolean compile_hop(Compiler *c, const SearchPath *path, guint hop, guint alias,
                            CompileMode mode, const Leaf *leaf, GError **error);

/* Is nothing asked but whether there is one, and does the way know without looking at it? */
static gboolean is_near(const Compiler *c, const SearchPath *path, guint hop, const SearchWay *way,
                        const Leaf *leaf)
{
    const SearchObject *to = path->objects[hop + 1];
    g_autofree char *visible = to->one ? access_visible_sql(c->caller, to->one, "a0") : NULL;

    return way->near && leaf->node->kind == NODE_TERM && leaf->op == OP_SET && !visible &&
           !to->base && hop + 1 == path->n_links && path->field == objects_field(to, to->main);
}

/* FROM ... WHERE ... of a way to alias target; self: what it comes from, where mode is MODE_ROW. */
static gboolean compile_from(Compiler *c, const SearchPath *path, guint hop, const SearchWay *way,
                             guint self, CompileMode mode, const Leaf *leaf, GError **error)
{
    guint target = ++c->n_aliases;

    compile_sql(c, mode == MODE_SET ? "SELECT " : "SELECT 1");
    if (mode == MODE_SET) {
        compile_template(c, way->outer, self, target);
        compile_sql(c, " AS k");
    }
    gboolean near = is_near(c, path, hop, way, leaf);
    compile_sql(c, " FROM ");
    compile_template(c, near ? way->near : way->from, self, target);
    compile_sql(c, " WHERE ");
    if (mode == MODE_ROW) {
        compile_template(c, way->outer, self, target);
        compile_sql(c, " = ");
        compile_template(c, way->key, self, target);
        compile_sql(c, near ? "" : " AND ");
    }
    if (near) {
        compile_sql(c, mode == MODE_SET ? "1" : "");
        return TRUE;
    }
    compile_base(c, path->objects[hop + 1], target);
    compile_sql(c, " AND ");
    gboolean was_driven = c->is_driven;
    c->is_driven |= mode == MODE_ROW; /* gathering for an index's sake does not pay for some rows */
    gboolean ok = compile_hop(c, path, hop + 1, target, mode, leaf, error);
    c->is_driven = was_driven;
    return ok;
}

/* The rest of a path from alias on; its end is the leaf. */
static gboolean compile_hop(Compiler *c, const SearchPath *path, guint hop, guint alias,
                            CompileMode mode, const Leaf *leaf, GError **error)
{
    if (hop == path->n_links)
        return compile_leaf(c, leaf, path->objects[hop], path->field, alias, error);
    const SearchLink *link = path->links[hop];
    guint only = c->way[hop], n = 0;
    compile_sql(c, "(");
    for (guint i = 0; i < SEARCH_MAX_WAYS && link->ways[i].key; i++) {
        const SearchWay *way = &link->ways[i];
        if (only && only != i + 1)
            continue;
        compile_sql(c, n++ ? " OR (" : "(");
        if (way->guard) {
            compile_template(c, way->guard, alias, 0);
            compile_sql(c, " AND ");
        }
        if (mode == MODE_SET) {
            compile_template(c, way->key, alias, 0);
            compile_sql(c, " IN (");
        } else {
            compile_sql(c, "EXISTS (");
        }
        if (!compile_from(c, path, hop, way, alias, mode, leaf, error))
            return FALSE;
        compile_sql(c, "))");
    }
    compile_sql(c, ")");
    return TRUE;
}

static SearchOp positive(SearchOp op, gboolean *ret_is_negative)
{
    *ret_is_negative = op == OP_NE || op == OP_NOT_IN || op == OP_NONE;
    return op == OP_NE ? OP_EQ : op == OP_NOT_IN ? OP_IN : op == OP_NONE ? OP_SET : op;
}

gboolean compile_way(Compiler *c, const SearchNode *term, const SearchPath *path,
                     const SearchWay *way, GError **error)
{
    gboolean is_negative;
    const Leaf leaf = { term, positive(term->op, &is_negative) };

    return compile_from(c, path, 0, way, 0, MODE_SET, &leaf, error);
}

static gboolean compile_term(Compiler *c, const SearchNode *n, const SearchObject *object,
                             guint alias, CompileMode mode, GError **error)
{
    gboolean is_negative;
    const Leaf leaf = { n, positive(n->op, &is_negative) };
    SearchPath path;

    if (!resolve_path(object, &n->word, &path, error))
        return FALSE;
    compile_sql(c, "(");
    if (!compile_hop(c, &path, 0, alias, mode, &leaf, error))
        return FALSE;
    compile_sql(c, is_negative ? ") IS NOT TRUE" : ")");
    return TRUE;
}

/* A free word: in one of the row's own texts, or in the name of what it belongs to. */
static gboolean compile_free(Compiler *c, const SearchNode *n, const SearchObject *object,
                             guint alias, GError **error)
{
    g_auto(SearchValue) value = { 0 };
    const Leaf leaf = { n, OP_EQ };

    resolve_free(&n->word, &value);
    g_autofree char *folded = functions_fold(value.text);
    compile_sql(c, "(");
    compile_fts(c, n, object, NULL, alias);
    compile_sql(c, "search_matches(");
    compile_text(c, folded);
    for (const SearchField *f = object->fields; f->name; f++) {
        if (f->flags & FIELD_FREE) {
            compile_sql(c, ", ");
            compile_template(c, f->sql, alias, 0);
        }
    }
    compile_sql(c, ")");
    for (const SearchLink *l = object->links; l->name; l++) {
        SearchPath path = { .links = { l }, .n_links = 1 };
        if (!(l->flags & FIELD_FREE))
            continue;
        path.objects[0] = object;
        path.objects[1] = objects_find(l->object);
        path.field = objects_field(path.objects[1], path.objects[1]->main);
        compile_sql(c, " OR ");
        if (!compile_hop(c, &path, 0, alias, MODE_SET, &leaf, error))
            return FALSE;
    }
    compile_sql(c, ")");
    return TRUE;
}

gboolean compile_node(Compiler *c, const SearchNode *n, const SearchObject *object, guint alias,
                      CompileMode mode, GError **error)
{
    if (n->kind == NODE_TERM)
        return compile_term(c, n, object, alias, mode, error);
    if (n->kind == NODE_FREE)
        return compile_free(c, n, object, alias, error);
    compile_sql(c, n->children->len ? "(" : "(1");
    for (guint i = 0; i < n->children->len; i++) {
        if (i)
            compile_sql(c, n->kind == NODE_OR ? " OR " : " AND ");
        if (!compile_node(c, n->children->pdata[i], object, alias, mode, error))
            return FALSE;
    }
    compile_sql(c, n->kind == NODE_NOT ? ") IS NOT TRUE" : ")");
    return TRUE;
}
