/* plan.c: the statement: what drives it, then the terms, those first that cost and leave little. */
#include "broker/search/plan.h"

#include <string.h>

#include "imaged/base/error.h"

void search_plan_clear(SearchPlan *plan)
{
    search_tree_free(plan->tree);
    g_clear_pointer(&plan->ids, g_hash_table_unref);
    g_clear_pointer(&plan->done, g_array_unref);
    g_free(plan->text);
    *plan = (SearchPlan){ 0 };
}

guint plan_n_terms(const SearchPlan *plan)
{
    const SearchNode *top = plan->tree->condition;

    return !top ? 0 : top->kind == NODE_AND ? top->children->len : 1;
}

const SearchNode *plan_term(const SearchPlan *plan, guint i)
{
    const SearchNode *top = plan->tree->condition;

    return top->kind == NODE_AND ? top->children->pdata[i] : top;
}

guint plan_rank(const SearchPlan *plan, const SearchNode *term)
{
    SearchPath path;

    if (term->kind != NODE_TERM || !resolve_path(plan->object, &term->word, &path, NULL))
        return PLAN_RANK_LAST;
    gboolean is_exact =
        term->op == OP_EQ && !strpbrk(g_array_index(term->values, SearchWord, 0).text, "*?");
    return (resolve_is_many(&path) ? 2 : 0) + !is_exact +
           (path.objects[path.n_links]->text_index ? PLAN_RANK_TEXT : 0);
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
    for (guint i = 0; plan->object->text_index && i < plan_n_terms(plan); i++) {
        const SearchNode *term = plan_term(plan, i);
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
    g_array_set_size(plan->done, plan_n_terms(plan));
    find_text(plan);
    return plan->text || plan_probe(plan, db, error);
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
    for (guint r = 0; r <= PLAN_RANK_LAST; r++) {
        for (guint i = 0; i < plan_n_terms(plan); i++) {
            if (plan_rank(plan, plan_term(plan, i)) != r || g_array_index(plan->done, gboolean, i))
                continue;
            g_string_append(c->sql, " AND ");
            if (!compile_node(c, plan_term(plan, i), plan->object, 0,
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
