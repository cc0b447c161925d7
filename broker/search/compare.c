/* compare.c: a text is compared as its field's index can do it; what no index knows is compared by
 * search_matches(), for the rows that the trigrams of a full-text index leave. */
#include "broker/search/compare.h"

#include <string.h>

#include "broker/search/functions.h"
#include "broker/search/lexer.h"

static gboolean is_text(const SearchField *field)
{
    return field->type == TYPE_NAME || field->type == TYPE_TEXT || field->type == TYPE_WORDS;
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

    compile_sql(c, "search_matches(");
    compile_text(c, folded);
    compile_sql(c, ", ");
    compile_template(c, field->folded ? field->folded : field->sql, alias, 0);
    compile_sql(c, ")");
}

/* One of the field's words fits. */
static void compile_has(Compiler *c, const SearchField *field, guint alias, const char *pattern)
{
    g_autofree char *folded = functions_fold(pattern);

    compile_sql(c, "search_has(");
    compile_text(c, folded);
    compile_sql(c, ", ");
    compile_template(c, field->sql, alias, 0);
    compile_sql(c, ")");
}

static void compile_text_equals(Compiler *c, const SearchField *field, guint alias,
                                const SearchValue *value)
{
    if (field->type == TYPE_WORDS) {
        compile_has(c, field, alias, value->text);
    } else if (!value->is_pattern && field->folded) {
        g_autofree char *folded = functions_fold(value->text);
        compile_template(c, field->folded, alias, 0);
        compile_sql(c, " = ");
        compile_text(c, folded);
    } else if (field->type == TYPE_NAME && !value->is_pattern) {
        compile_template(c, field->sql, alias, 0);
        compile_sql(c, " = ");
        compile_text(c, value->text);
        compile_sql(c, " COLLATE NOCASE");
    } else if (field->type == TYPE_NAME && value->is_prefix && g_str_is_ascii(value->text)) {
        g_autofree char *like = like_of(value->text);
        compile_template(c, field->sql, alias, 0);
        compile_sql(c, " LIKE ");
        compile_text(c, like);
        compile_sql(c, " ESCAPE '\\'");
    } else {
        compile_matches(c, field, alias, value->text);
    }
}

static void compile_equals(Compiler *c, const SearchField *field, guint alias,
                           const SearchValue *value)
{
    compile_sql(c, "(");
    if (is_text(field)) {
        compile_text_equals(c, field, alias, value);
    } else if (field->type == TYPE_BOOL) {
        compile_sql(c,
                    value->integer ? "(" : "NOT ("); /* as it is: so that an index can be of it */
        compile_template(c, field->sql, alias, 0);
        compile_sql(c, ")");
    } else if (field->type == TYPE_TIME) {
        compile_sql(c, "(");
        compile_template(c, field->sql, alias, 0);
        compile_sql(c, ") BETWEEN ");
        compile_integer(c, value->integer);
        compile_sql(c, " AND ");
        compile_integer(c, value->until - 1);
    } else if (field->type == TYPE_PERCENT) { /* as it is shown: to a tenth of a percent */
        compile_sql(c, "abs((");
        compile_template(c, field->sql, alias, 0);
        compile_sql(c, ") - ");
        compile_real(c, value->real);
        compile_sql(c, ") < 0.0005");
    } else {
        compile_sql(c, "(");
        compile_template(c, field->sql, alias, 0);
        compile_sql(c, ") = ");
        compile_real(c, value->real);
    }
    compile_sql(c, ")");
}

static gboolean compile_order(Compiler *c, const SearchField *field, guint alias, SearchOp op,
                              const SearchWord *word, const SearchValue *value, GError **error)
{
    static const char *const signs[] = {
        [OP_LT] = " < ", [OP_LE] = " <= ", [OP_GT] = " > ", [OP_GE] = " >= "
    };

    if (field->type == TYPE_BOOL || field->type == TYPE_WORDS || value->is_pattern) {
        search_error(error, word->column, "'%s' can only be compared with = and !=", field->name);
        return FALSE;
    }
    compile_sql(c, "(");
    compile_template(c, is_text(field) && field->folded ? field->folded : field->sql, alias, 0);
    compile_sql(c, ")");
    compile_sql(c, signs[op]);
    if (is_text(field)) {
        g_autofree char *folded =
            field->folded ? functions_fold(value->text) : g_strdup(value->text);
        compile_text(c, folded);
        compile_sql(c, " COLLATE NOCASE");
    } else if (field->type == TYPE_TIME) { /* "<= today" has all of today in it */
        compile_integer(c, op == OP_LE ? value->until - 1 : value->integer);
    } else {
        compile_real(c, value->real);
    }
    return TRUE;
}

static void compile_is_set(Compiler *c, const SearchField *field, guint alias)
{
    compile_sql(c, is_text(field) ? "nullif(" : "(");
    compile_template(c, field->sql, alias, 0);
    compile_sql(c, is_text(field) ? ", '') IS NOT NULL" : ") IS NOT NULL");
}

void compile_fts(Compiler *c, const SearchNode *node, const SearchObject *object,
                 const SearchField *field, guint alias)
{
    g_autofree char *query = c->is_driven ? NULL : compile_fts_query(node, object, field, c->now);

    if (!query)
        return;
    if (c->fitting) {
        g_string_append_printf(c->sql, "a%u.id IN (SELECT value FROM json_each(", alias);
        compile_text(c, c->fitting);
        compile_sql(c, ")) AND ");
        return;
    }
    g_string_append_printf(c->sql, "a%u.id IN (SELECT rowid FROM %s WHERE %s MATCH ", alias,
                           object->text_index, object->text_index);
    compile_text(c, query);
    compile_sql(c, ") AND ");
}

static gboolean compile_in(Compiler *c, const SearchField *field, guint alias, const SearchNode *n,
                           GError **error)
{
    guint n_patterns = 0;

    compile_sql(c, "(");
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
        compile_sql(c, field->folded ? " IN (" : " COLLATE NOCASE IN (");
    }
    for (guint i = 0; i < n->values->len; i++) {
        const SearchWord *word = &g_array_index(n->values, SearchWord, i);
        g_auto(SearchValue) value = { 0 };
        resolve_value(field, word, c->now, &value, NULL);
        compile_sql(c, i == 0 ? "" : n_patterns ? " OR " : ", ");
        if (n_patterns) {
            compile_equals(c, field, alias, &value);
        } else {
            g_autofree char *text =
                field->folded ? functions_fold(value.text) : g_strdup(value.text);
            compile_text(c, text);
        }
    }
    compile_sql(c, n_patterns ? ")" : "))");
    return TRUE;
}

gboolean compile_leaf(Compiler *c, const Leaf *leaf, const SearchObject *object,
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
