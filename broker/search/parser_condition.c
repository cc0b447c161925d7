/* parser_condition.c: recursive descent: OR of ANDs of NOTs.  Two terms side by side are both
 * wanted, so that plain words are a search. */
#include "broker/search/parser_steps.h"

#include <string.h>

static gboolean check_closed(const Token *t, GError **error)
{
    if (!t->is_open)
        return TRUE;
    search_error(error, t->column, "the quote that opens here is not closed");
    return FALSE;
}

static SearchNode *node_new(NodeKind kind, const Token *t)
{
    SearchNode *n = g_new0(SearchNode, 1);

    n->kind = kind;
    n->children = g_ptr_array_new_with_free_func((GDestroyNotify)search_node_free);
    if (t)
        n->word = (SearchWord){ g_strdup(t->text), t->column, t->kind == TOKEN_QUOTED };
    return n;
}

static void clear_word(gpointer word)
{
    g_free(((SearchWord *)word)->text);
}

static GArray *words_new(void)
{
    GArray *words = g_array_new(FALSE, TRUE, sizeof(SearchWord));

    g_array_set_clear_func(words, clear_word);
    return words;
}

void search_node_free(SearchNode *n)
{
    if (!n)
        return;
    g_clear_pointer(&n->children, g_ptr_array_unref);
    g_clear_pointer(&n->values, g_array_unref);
    g_free(n->word.text);
    g_free(n);
}

static gboolean take_value(Parser *p, SearchNode *n, GError **error)
{
    const Token *t = parser_peek(p, 0);
    gboolean is_operator =
        parser_is_word(t, "AND") || parser_is_word(t, "OR") || parser_is_word(t, "NOT");

    if ((t->kind != TOKEN_WORD && t->kind != TOKEN_QUOTED) || is_operator)
        return parser_unexpected(t, "a value", error);
    if (++p->n_values > SEARCH_MAX_VALUES) {
        search_error(error, t->column, "there are more than %d values", SEARCH_MAX_VALUES);
        return FALSE;
    }
    SearchWord word = { g_strdup(t->text), t->column, t->kind == TOKEN_QUOTED };
    g_array_append_val(n->values, word);
    parser_take(p);
    return check_closed(t, error);
}

static gboolean take_list(Parser *p, SearchNode *n, GError **error)
{
    if (parser_peek(p, 0)->kind != TOKEN_OPEN)
        return parser_unexpected(parser_peek(p, 0), "the list of IN, in parentheses,", error);
    parser_take(p);
    for (;;) {
        if (!take_value(p, n, error))
            return FALSE;
        const Token *t = parser_take(p);
        if (t->kind == TOKEN_CLOSE)
            return TRUE;
        if (t->kind != TOKEN_COMMA)
            return parser_unexpected(t, "a comma or ')'", error);
    }
}

static SearchOp op_of(const char *sign)
{
    static const char *const signs[] = { "=", "!=", "<", "<=", ">", ">=" };

    for (guint i = 0; i < G_N_ELEMENTS(signs); i++) {
        if (g_str_equal(signs[i], sign))
            return (SearchOp)i;
    }
    g_assert_not_reached();
}

/* What stands behind a field: a sign and a value, IN and a list, IS and one of two words. */
static gboolean take_condition(Parser *p, SearchNode *n, GError **error)
{
    const Token *t = parser_take(p);
    gboolean is_not = FALSE;

    n->values = words_new();
    if (t->kind == TOKEN_SIGN) {
        n->op = op_of(t->text);
        return take_value(p, n, error);
    }
    if (parser_is_word(t, "NOT")) {
        is_not = TRUE;
        t = parser_take(p);
    }
    if (parser_is_word(t, "IN")) {
        n->op = is_not ? OP_NOT_IN : OP_IN;
        return take_list(p, n, error);
    }
    if (parser_is_word(parser_peek(p, 0), "NOT")) { /* IS NOT */
        is_not = TRUE;
        parser_take(p);
    }
    t = parser_peek(p, 0);
    gboolean is_none =
        parser_is_word(t, "NONE") || parser_is_word(t, "NULL") || parser_is_word(t, "EMPTY");
    if (!is_none && !parser_is_word(t, "SET"))
        return parser_unexpected(t, "NONE or SET", error);
    parser_take(p);
    n->op = is_none != is_not ? OP_NONE : OP_SET;
    return TRUE;
}

static gboolean has_condition(const Parser *p)
{
    const Token *next = parser_peek(p, 1);

    return next->kind == TOKEN_SIGN || parser_is_word(next, "IN") || parser_is_word(next, "IS") ||
           (parser_is_word(next, "NOT") && parser_is_word(parser_peek(p, 2), "IN") &&
            parser_peek(p, 3)->kind == TOKEN_OPEN);
}

static SearchNode *parse_term(Parser *p, GError **error)
{
    const Token *t = parser_peek(p, 0);
    gboolean is_saved = t->kind == TOKEN_WORD && t->text[0] == '@' && t->text[1];

    if (++p->n_terms > SEARCH_MAX_TERMS) {
        search_error(error, t->column, "a search has at most %d terms", SEARCH_MAX_TERMS);
        return NULL;
    }
    if (t->kind != TOKEN_WORD && t->kind != TOKEN_QUOTED) {
        parser_unexpected(t, "a condition or a word", error);
        return NULL;
    }
    if (!check_closed(t, error))
        return NULL;
    if (t->kind == TOKEN_QUOTED && has_condition(p) && parser_peek(p, 1)->kind == TOKEN_SIGN) {
        search_error(error, t->column, "a field is written without quotes");
        return NULL;
    }
    if (t->kind == TOKEN_WORD && has_condition(p)) {
        g_autoptr(SearchNode) n = node_new(NODE_TERM, parser_take(p));
        return take_condition(p, n, error) ? g_steal_pointer(&n) : NULL;
    }
    if (t->kind == TOKEN_WORD && search_is_keyword(t->text)) {
        parser_unexpected(t, "a condition or a word", error);
        return NULL;
    }
    SearchNode *n = node_new(is_saved ? NODE_SAVED : NODE_FREE, parser_take(p));
    if (is_saved)
        memmove(n->word.text, n->word.text + 1, strlen(n->word.text));
    return n;
}

static SearchNode *parse_group(Parser *p, GError **error)
{
    const Token *open = parser_take(p);
    g_autoptr(SearchNode) n = parser_condition(p, error);

    if (!n)
        return NULL;
    if (parser_peek(p, 0)->kind != TOKEN_CLOSE) {
        if (parser_peek(p, 0)->kind == TOKEN_END)
            search_error(error, open->column, "the parenthesis that opens here is not closed");
        else
            parser_unexpected(parser_peek(p, 0), "')'", error);
        return NULL;
    }
    parser_take(p);
    return g_steal_pointer(&n);
}

static SearchNode *parse_not(Parser *p, GError **error)
{
    const Token *t = parser_peek(p, 0);
    SearchNode *n = NULL;

    if (++p->depth > SEARCH_MAX_DEPTH) {
        search_error(error, t->column, "it is nested more than %d deep", SEARCH_MAX_DEPTH);
        return NULL;
    }
    if (parser_is_word(t, "NOT") && parser_peek(p, 1)->kind != TOKEN_SIGN) {
        parser_take(p);
        SearchNode *child = parse_not(p, error);
        if (child) {
            n = node_new(NODE_NOT, NULL);
            g_ptr_array_add(n->children, child);
        }
    } else {
        n = t->kind == TOKEN_OPEN ? parse_group(p, error) : parse_term(p, error);
    }
    p->depth--;
    return n;
}

gboolean parser_begins_term(const Token *t)
{
    return t->kind == TOKEN_OPEN || t->kind == TOKEN_QUOTED ||
           (t->kind == TOKEN_WORD && !parser_is_word(t, "OR") && !parser_is_clause(t));
}

/* A list of one is that one. */
static SearchNode *simplify(SearchNode *list)
{
    if (list->children->len != 1)
        return list;
    SearchNode *only = g_ptr_array_steal_index(list->children, 0);
    search_node_free(list);
    return only;
}

static SearchNode *parse_and(Parser *p, GError **error)
{
    g_autoptr(SearchNode) list = node_new(NODE_AND, NULL);

    do {
        if (parser_is_word(parser_peek(p, 0), "AND") && list->children->len)
            parser_take(p);
        SearchNode *n = parse_not(p, error);
        if (!n)
            return NULL;
        g_ptr_array_add(list->children, n);
    } while (parser_is_word(parser_peek(p, 0), "AND") || parser_begins_term(parser_peek(p, 0)));
    return simplify(g_steal_pointer(&list));
}

SearchNode *parser_condition(Parser *p, GError **error)
{
    g_autoptr(SearchNode) list = node_new(NODE_OR, NULL);

    for (;;) {
        SearchNode *n = parse_and(p, error);
        if (!n)
            return NULL;
        g_ptr_array_add(list->children, n);
        if (!parser_is_word(parser_peek(p, 0), "OR"))
            return simplify(g_steal_pointer(&list));
        parser_take(p);
    }
}
