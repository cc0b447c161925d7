/* compile.c: what is negative (!=, NOT IN, IS NONE) is the positive question, negated as a whole:
 * so that on a link with many it means none of them. */
#include "broker/search/compile.h"

#include <string.h>

#include "broker/search/functions.h"
#include "broker/search/lexer.h"

/* What a path ends in: a term's comparison, or that a free word fits the main field. */
typedef struct {
    const SearchNode *node;
    SearchOp op; /* positive */
} Leaf;

void compiler_init(Compiler *c, const Caller *caller, gint64 now)
{
    *c = (Compiler){ .sql = g_string_new(NULL), .now = now, .caller = caller };
    c->values = g_array_new(FALSE, TRUE, sizeof(DbValue));
}

void compiler_clear(Compiler *c)
{
    for (guint i = 0; c->values && i < c->values->len; i++)
        g_free(g_array_index(c->values, DbValue, i).text);
    g_clear_pointer(&c->values, g_array_unref);
    if (c->sql)
        g_string_free(c->sql, TRUE);
    c->sql = NULL;
}

static void append(Compiler *c, const char *text)
{
    g_string_append(c->sql, text);
}

static void bind(Compiler *c, DbValue value)
{
    g_array_append_val(c->values, value);
    g_string_append_printf(c->sql, "?%u", c->values->len);
}

void compile_text(Compiler *c, const char *text)
{
    bind(c, (DbValue){ .type = 't', .text = g_strdup(text) });
}

void compile_integer(Compiler *c, gint64 number)
{
    bind(c, (DbValue){ .type = 'i', .integer = number });
}

static void compile_real(Compiler *c, double number)
{
    bind(c, (DbValue){ .type = 'r', .real = number });
}

void compile_template(Compiler *c, const char *template, guint self, guint target)
{
    for (const char *p = template; *p; p++) {
        if (*p == '$')
            g_string_append_printf(c->sql, "a%u", self);
        else if (*p == '%')
            g_string_append_printf(c->sql, "a%u", target);
        else if (*p == '#')
            g_string_append_printf(c->sql, "%u", target);
        else if (*p == '@')
            g_string_append_printf(c->sql, "%" G_GINT64_FORMAT, c->now);
        else
            g_string_append_c(c->sql, *p);
    }
}

void compile_base(Compiler *c, const SearchObject *object, guint alias)
{
    g_autofree char *name = g_strdup_printf("a%u", alias);
    g_autofree char *visible =
        object->one ? access_visible_sql(c->caller, object->one, name) : NULL;

    append(c, c->is_scan && alias == 0 && object->base ? "(+" : "(");
    compile_template(c, object->base ? object->base : "1", alias, 0);
    if (visible)
        g_string_append_printf(c->sql, " AND (%s)", visible);
    append(c, ")");
}

static gboolean is_text(const SearchField *field)
{
    return field->type == TYPE_NAME || field->type == TYPE_TEXT;
}

/* The literal for LIKE of a prefix pattern. */
static char *like_of(const char *pattern)
{
    GString *out = g_string_new(NULL);

    for (const char *p = pattern; *p; p++) {
        if (*p == PATTERN_ANY) {
            g_string_append_c(out, '%');
            continue;
        }
        if (*p == '%' || *p == '_' || *p == '\\')
            g_string_append_c(out, '\\');
        g_string_append_c(out, *p);
    }
    return g_string_free(out, FALSE);
}

static void compile_matches(Compiler *c, const SearchField *field, guint alias, const char *pattern)
{
    g_autofree char *folded = functions_fold(pattern);

    append(c, "search_matches(");
    compile_text(c, folded);
    append(c, ", ");
    compile_template(c, field->folded ? field->folded : field->sql, alias, 0);
    append(c, ")");
}

static void compile_text_equals(Compiler *c, const SearchField *field, guint alias,
                                const SearchValue *value)
{
    if (!value->is_pattern && field->folded) {
        g_autofree char *folded = functions_fold(value->text);
        compile_template(c, field->folded, alias, 0);
        append(c, " = ");
        compile_text(c, folded);
    } else if (field->type == TYPE_NAME && !value->is_pattern) {
        compile_template(c, field->sql, alias, 0);
        append(c, " = ");
        compile_text(c, value->text);
        append(c, " COLLATE NOCASE");
    } else if (field->type == TYPE_NAME && value->is_prefix && g_str_is_ascii(value->text)) {
        g_autofree char *like = like_of(value->text);
        compile_template(c, field->sql, alias, 0);
        append(c, " LIKE ");
        compile_text(c, like);
        append(c, " ESCAPE '\\'");
    } else {
        compile_matches(c, field, alias, value->text);
    }
}

static void compile_equals(Compiler *c, const SearchField *field, guint alias,
                           const SearchValue *value)
{
    append(c, "(");
    if (is_text(field)) {
        compile_text_equals(c, field, alias, value);
    } else if (field->type == TYPE_BOOL) {
        append(c, value->integer ? "(" : "NOT ("); /* as it is: so that an index can be of it */
        compile_template(c, field->sql, alias, 0);
        append(c, ")");
    } else if (field->type == TYPE_TIME) {
        append(c, "(");
        compile_template(c, field->sql, alias, 0);
        append(c, ") BETWEEN ");
        compile_integer(c, value->integer);
        append(c, " AND ");
        compile_integer(c, value->until - 1);
    } else if (field->type == TYPE_PERCENT) { /* as it is shown: to a tenth of a percent */
        append(c, "abs((");
        compile_template(c, field->sql, alias, 0);
        append(c, ") - ");
        compile_real(c, value->real);
        append(c, ") < 0.0005");
    } else {
        append(c, "(");
        compile_template(c, field->sql, alias, 0);
        append(c, ") = ");
        compile_real(c, value->real);
    }
    append(c, ")");
}

static gboolean compile_order(Compiler *c, const SearchField *field, guint alias, SearchOp op,
                              const SearchWord *word, const SearchValue *value, GError **error)
{
    static const char *const signs[] = {
        [OP_LT] = " < ", [OP_LE] = " <= ", [OP_GT] = " > ", [OP_GE] = " >= "
    };

    if (field->type == TYPE_BOOL || value->is_pattern) {
        search_error(error, word->column, "'%s' can only be compared with = and !=", field->name);
        return FALSE;
    }
    append(c, "(");
    compile_template(c, is_text(field) && field->folded ? field->folded : field->sql, alias, 0);
    append(c, ")");
    append(c, signs[op]);
    if (is_text(field)) {
        g_autofree char *folded =
            field->folded ? functions_fold(value->text) : g_strdup(value->text);
        compile_text(c, folded);
        append(c, " COLLATE NOCASE");
    } else if (field->type == TYPE_TIME) { /* "<= today" has all of today in it */
        compile_integer(c, op == OP_LE ? value->until - 1 : value->integer);
    } else {
        compile_real(c, value->real);
    }
    return TRUE;
}

static void compile_is_set(Compiler *c, const SearchField *field, guint alias)
{
    append(c, is_text(field) ? "nullif(" : "(");
    compile_template(c, field->sql, alias, 0);
    append(c, is_text(field) ? ", '') IS NOT NULL" : ") IS NOT NULL");
}

/* Where a full-text index has the field, it says first which rows can fit at all. */
static void compile_fts(Compiler *c, const SearchNode *node, const SearchObject *object,
                        const SearchField *field, guint alias)
{
    g_autofree char *query = c->is_driven ? NULL : compile_fts_query(node, object, field, c->now);

    if (!query)
        return;
    if (c->fitting) {
        g_string_append_printf(c->sql, "a%u.id IN (SELECT value FROM json_each(", alias);
        compile_text(c, c->fitting);
        append(c, ")) AND ");
        return;
    }
    g_string_append_printf(c->sql, "a%u.id IN (SELECT rowid FROM %s WHERE %s MATCH ", alias,
                           object->text_index, object->text_index);
    compile_text(c, query);
    append(c, ") AND ");
}

static gboolean compile_in(Compiler *c, const SearchField *field, guint alias, const SearchNode *n,
                           GError **error)
{
    guint n_patterns = 0;

    append(c, "(");
    for (guint i = 0; i < n->values->len; i++) {
        const SearchWord *word = &g_array_index(n->values, SearchWord, i);
        g_auto(SearchValue) value = { 0 };
        if (!resolve_value(field, word, c->now, &value, error))
            return FALSE;
        n_patterns += value.is_pattern || (field->type != TYPE_NAME && !field->folded);
        if (n_patterns > 200) {
            search_error(error, word->column, "such a list has at most 200 values");
            return FALSE;
        }
    }
    if (!n_patterns) {
        compile_template(c, field->folded ? field->folded : field->sql, alias, 0);
        append(c, field->folded ? " IN (" : " COLLATE NOCASE IN (");
    }
    for (guint i = 0; i < n->values->len; i++) {
        const SearchWord *word = &g_array_index(n->values, SearchWord, i);
        g_auto(SearchValue) value = { 0 };
        resolve_value(field, word, c->now, &value, NULL);
        append(c, i == 0 ? "" : n_patterns ? " OR " : ", ");
        if (n_patterns) {
            compile_equals(c, field, alias, &value);
        } else {
            g_autofree char *text =
                field->folded ? functions_fold(value.text) : g_strdup(value.text);
            compile_text(c, text);
        }
    }
    append(c, n_patterns ? ")" : "))");
    return TRUE;
}

static gboolean compile_leaf(Compiler *c, const Leaf *leaf, const SearchObject *object,
                             const SearchField *field, guint alias, GError **error)
{
    const SearchNode *n = leaf->node;
    g_auto(SearchValue) value = { 0 };

    if (n->kind == NODE_FREE) {
        resolve_free(&n->word, &value);
        compile_matches(c, field, alias, value.text);
        return TRUE;
    }
    if (leaf->op == OP_SET) {
        compile_is_set(c, field, alias);
        return TRUE;
    }
    if (leaf->op == OP_IN)
        return compile_in(c, field, alias, n, error);
    const SearchWord *word = &g_array_index(n->values, SearchWord, 0);
    if (!resolve_value(field, word, c->now, &value, error))
        return FALSE;
    if (leaf->op != OP_EQ)
        return compile_order(c, field, alias, leaf->op, word, &value, error);
    compile_fts(c, n, object, field, alias);
    compile_equals(c, field, alias, &value);
    return TRUE;
}

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

    append(c, mode == MODE_SET ? "SELECT " : "SELECT 1");
    if (mode == MODE_SET) {
        compile_template(c, way->outer, self, target);
        append(c, " AS k");
    }
    gboolean near = is_near(c, path, hop, way, leaf);
    append(c, " FROM ");
    compile_template(c, near ? way->near : way->from, self, target);
    append(c, " WHERE ");
    if (mode == MODE_ROW) {
        compile_template(c, way->outer, self, target);
        append(c, " = ");
        compile_template(c, way->key, self, target);
        append(c, near ? "" : " AND ");
    }
    if (near) {
        append(c, mode == MODE_SET ? "1" : "");
        return TRUE;
    }
    compile_base(c, path->objects[hop + 1], target);
    append(c, " AND ");
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
    append(c, "(");
    for (guint i = 0; i < SEARCH_MAX_WAYS && link->ways[i].key; i++) {
        const SearchWay *way = &link->ways[i];
        if (only && only != i + 1)
            continue;
        append(c, n++ ? " OR (" : "(");
        if (way->guard) {
            compile_template(c, way->guard, alias, 0);
            append(c, " AND ");
        }
        if (mode == MODE_SET) {
            compile_template(c, way->key, alias, 0);
            append(c, " IN (");
        } else {
            append(c, "EXISTS (");
        }
        if (!compile_from(c, path, hop, way, alias, mode, leaf, error))
            return FALSE;
        append(c, "))");
    }
    append(c, ")");
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
    append(c, "(");
    if (!compile_hop(c, &path, 0, alias, mode, &leaf, error))
        return FALSE;
    append(c, is_negative ? ") IS NOT TRUE" : ")");
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
    append(c, "(");
    compile_fts(c, n, object, NULL, alias);
    append(c, "search_matches(");
    compile_text(c, folded);
    for (const SearchField *f = object->fields; f->name; f++) {
        if (f->flags & FIELD_FREE) {
            append(c, ", ");
            compile_template(c, f->sql, alias, 0);
        }
    }
    append(c, ")");
    for (const SearchLink *l = object->links; l->name; l++) {
        SearchPath path = { .links = { l }, .n_links = 1 };
        if (!(l->flags & FIELD_FREE))
            continue;
        path.objects[0] = object;
        path.objects[1] = objects_find(l->object);
        path.field = objects_field(path.objects[1], path.objects[1]->main);
        append(c, " OR ");
        if (!compile_hop(c, &path, 0, alias, MODE_SET, &leaf, error))
            return FALSE;
    }
    append(c, ")");
    return TRUE;
}

gboolean compile_node(Compiler *c, const SearchNode *n, const SearchObject *object, guint alias,
                      CompileMode mode, GError **error)
{
    if (n->kind == NODE_TERM)
        return compile_term(c, n, object, alias, mode, error);
    if (n->kind == NODE_FREE)
        return compile_free(c, n, object, alias, error);
    append(c, n->children->len ? "(" : "(1");
    for (guint i = 0; i < n->children->len; i++) {
        if (i)
            append(c, n->kind == NODE_OR ? " OR " : " AND ");
        if (!compile_node(c, n->children->pdata[i], object, alias, mode, error))
            return FALSE;
    }
    append(c, n->kind == NODE_NOT ? ") IS NOT TRUE" : ")");
    return TRUE;
}

/* The smallest value of what lies behind the hops from hop on, for the row alias. */
static void compile_value_hop(Compiler *c, const SearchPath *path, guint hop, guint alias)
{
    if (hop == path->n_links) {
        compile_template(c, path->field->sql, alias, 0);
        return;
    }
    const SearchLink *link = path->links[hop];
    append(c, "coalesce(NULL");
    for (guint i = 0; i < SEARCH_MAX_WAYS && link->ways[i].key; i++) {
        const SearchWay *way = &link->ways[i];
        guint target = ++c->n_aliases;
        append(c, ", (SELECT min(");
        compile_value_hop(c, path, hop + 1, target);
        append(c, ") FROM ");
        compile_template(c, way->from, alias, target);
        append(c, " WHERE ");
        compile_template(c, way->outer, alias, target);
        append(c, " = ");
        compile_template(c, way->key, alias, target);
        append(c, " AND ");
        compile_base(c, path->objects[hop + 1], target);
        if (way->guard) {
            append(c, " AND ");
            compile_template(c, way->guard, alias, 0);
        }
        append(c, ")");
    }
    append(c, ")");
}

void compile_path_value(Compiler *c, const SearchPath *path, guint alias)
{
    append(c, "(");
    compile_value_hop(c, path, 0, alias);
    append(c, ")");
}

void compile_path_list(Compiler *c, const SearchPath *path, guint alias)
{
    const SearchLink *link = path->links[0];

    append(c, "(SELECT json_group_array(v) FROM (");
    for (guint i = 0; i < SEARCH_MAX_WAYS && link->ways[i].key; i++) {
        const SearchWay *way = &link->ways[i];
        guint target = ++c->n_aliases;
        append(c, i ? " UNION SELECT " : "SELECT DISTINCT ");
        compile_template(c, path->field->sql, target, 0);
        append(c, " AS v FROM ");
        compile_template(c, way->from, alias, target);
        append(c, " WHERE ");
        compile_template(c, way->outer, alias, target);
        append(c, " = ");
        compile_template(c, way->key, alias, target);
        append(c, " AND ");
        compile_base(c, path->objects[1], target);
        if (way->guard) {
            append(c, " AND ");
            compile_template(c, way->guard, alias, 0);
        }
    }
    append(c, "))");
}

/* Trigrams of one piece of a pattern, one behind the other and the last: all must be there. */
static void add_trigrams(GString *out, const char *piece)
{
    gsize n = strlen(piece);

    for (gsize i = 0; i + 3 <= n; i = i + 6 <= n || i + 3 == n ? i + 3 : n - 3) {
        char gram[4] = { piece[i], piece[i + 1], piece[i + 2], '\0' };
        /* what is not ASCII is folded in other ways by the index than by us */
        if (!g_str_is_ascii(gram) || out->len > 400)
            continue;
        g_string_append_printf(out, "%s\"", out->len ? " AND " : "");
        for (guint k = 0; k < 3; k++)
            g_string_append_printf(out, gram[k] == '"' ? "\"\"" : "%c", gram[k]);
        g_string_append_c(out, '"');
    }
}

char *compile_fts_query(const SearchNode *n, const SearchObject *object, const SearchField *field,
                        gint64 now)
{
    g_auto(SearchValue) value = { 0 };

    if (!object->text_index)
        return NULL;
    if (n->kind == NODE_FREE)
        resolve_free(&n->word, &value);
    else if (n->kind != NODE_TERM || n->op != OP_EQ || !field || !(field->flags & FIELD_FTS) ||
             !resolve_value(field, &g_array_index(n->values, SearchWord, 0), now, &value, NULL))
        return NULL;
    g_autoptr(GString) out = g_string_new(NULL);
    g_auto(GStrv) pieces = g_strsplit(value.pieces, "\n", -1);
    for (guint i = 0; pieces[i]; i++)
        add_trigrams(out, pieces[i]);
    return out->len ? g_strdup(out->str) : NULL;
}
