/* parser.c: recursive descent: OR of ANDs of NOTs.  Two terms side by side are both wanted, so that
 * plain words are a search. */
#include "broker/search/parser.h"

#include <string.h>

#include "broker/search/lexer.h"
#include "broker/search/objects.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/nearest.h"

typedef struct {
    GArray *tokens;
    guint at, depth, n_terms, n_values;
} Parser;

const char *const search_keywords[] = { "AND",   "OR",    "NOT",  "IN",     "IS",   "NONE",
                                        "SET",   "ASC",   "BY",   "SORTBY", "SORT", "ORDER",
                                        "GROUP", "COUNT", "PAGE", "LIMIT",  "DESC", NULL };

static const Token *peek(const Parser *p, guint ahead)
{
    return &g_array_index(p->tokens, Token, MIN(p->at + ahead, p->tokens->len - 1));
}

static const Token *take(Parser *p)
{
    const Token *t = peek(p, 0);

    p->at += p->at + 1 < p->tokens->len;
    return t;
}

static gboolean is_word(const Token *t, const char *word)
{
    return t->kind == TOKEN_WORD && g_ascii_strcasecmp(t->text, word) == 0;
}

gboolean search_is_keyword(const char *word)
{
    for (guint i = 0; search_keywords[i]; i++) {
        if (g_ascii_strcasecmp(word, search_keywords[i]) == 0)
            return TRUE;
    }
    return FALSE;
}

static gboolean is_clause(const Token *t)
{
    static const char *const words[] = { "SORTBY", "SORT", "ORDER", "GROUP", "GROUPBY",
                                         "COUNT",  "PAGE", "LIMIT", "ASC",   "DESC" };

    for (guint i = 0; i < G_N_ELEMENTS(words); i++) {
        if (is_word(t, words[i]))
            return TRUE;
    }
    return FALSE;
}

static void hint_quotes(GError **error)
{
    imaged_error_hint(error, "to look for a word of the language itself, put it in quotes");
}

static gboolean unexpected(const Token *t, const char *wanted, GError **error)
{
    g_autofree char *shown = text_for_message(t->text, 40);

    if (t->kind == TOKEN_END)
        search_error(error, t->column, "the search ends where %s should stand", wanted);
    else
        search_error(error, t->column, "'%s' stands where %s should", shown, wanted);
    if (t->kind == TOKEN_WORD && search_is_keyword(t->text))
        hint_quotes(error);
    return FALSE;
}

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
    const Token *t = peek(p, 0);
    gboolean is_operator = is_word(t, "AND") || is_word(t, "OR") || is_word(t, "NOT");

    if ((t->kind != TOKEN_WORD && t->kind != TOKEN_QUOTED) || is_operator)
        return unexpected(t, "a value", error);
    if (++p->n_values > SEARCH_MAX_VALUES) {
        search_error(error, t->column, "there are more than %d values", SEARCH_MAX_VALUES);
        return FALSE;
    }
    SearchWord word = { g_strdup(t->text), t->column, t->kind == TOKEN_QUOTED };
    g_array_append_val(n->values, word);
    take(p);
    return check_closed(t, error);
}

static gboolean take_list(Parser *p, SearchNode *n, GError **error)
{
    if (peek(p, 0)->kind != TOKEN_OPEN)
        return unexpected(peek(p, 0), "the list of IN, in parentheses,", error);
    take(p);
    for (;;) {
        if (!take_value(p, n, error))
            return FALSE;
        const Token *t = take(p);
        if (t->kind == TOKEN_CLOSE)
            return TRUE;
        if (t->kind != TOKEN_COMMA)
            return unexpected(t, "a comma or ')'", error);
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
    const Token *t = take(p);
    gboolean is_not = FALSE;

    n->values = words_new();
    if (t->kind == TOKEN_SIGN) {
        n->op = op_of(t->text);
        return take_value(p, n, error);
    }
    if (is_word(t, "NOT")) {
        is_not = TRUE;
        t = take(p);
    }
    if (is_word(t, "IN")) {
        n->op = is_not ? OP_NOT_IN : OP_IN;
        return take_list(p, n, error);
    }
    if (is_word(peek(p, 0), "NOT")) { /* IS NOT */
        is_not = TRUE;
        take(p);
    }
    t = peek(p, 0);
    gboolean is_none = is_word(t, "NONE") || is_word(t, "NULL") || is_word(t, "EMPTY");
    if (!is_none && !is_word(t, "SET"))
        return unexpected(t, "NONE or SET", error);
    take(p);
    n->op = is_none != is_not ? OP_NONE : OP_SET;
    return TRUE;
}

static gboolean has_condition(const Parser *p)
{
    const Token *next = peek(p, 1);

    return next->kind == TOKEN_SIGN || is_word(next, "IN") || is_word(next, "IS") ||
           (is_word(next, "NOT") && is_word(peek(p, 2), "IN") && peek(p, 3)->kind == TOKEN_OPEN);
}

static SearchNode *parse_term(Parser *p, GError **error)
{
    const Token *t = peek(p, 0);
    gboolean is_saved = t->kind == TOKEN_WORD && t->text[0] == '@' && t->text[1];

    if (++p->n_terms > SEARCH_MAX_TERMS) {
        search_error(error, t->column, "a search has at most %d terms", SEARCH_MAX_TERMS);
        return NULL;
    }
    if (t->kind != TOKEN_WORD && t->kind != TOKEN_QUOTED) {
        unexpected(t, "a condition or a word", error);
        return NULL;
    }
    if (!check_closed(t, error))
        return NULL;
    if (t->kind == TOKEN_QUOTED && has_condition(p) && peek(p, 1)->kind == TOKEN_SIGN) {
        search_error(error, t->column, "a field is written without quotes");
        return NULL;
    }
    if (t->kind == TOKEN_WORD && has_condition(p)) {
        g_autoptr(SearchNode) n = node_new(NODE_TERM, take(p));
        return take_condition(p, n, error) ? g_steal_pointer(&n) : NULL;
    }
    if (t->kind == TOKEN_WORD && search_is_keyword(t->text)) {
        unexpected(t, "a condition or a word", error);
        return NULL;
    }
    SearchNode *n = node_new(is_saved ? NODE_SAVED : NODE_FREE, take(p));
    if (is_saved)
        memmove(n->word.text, n->word.text + 1, strlen(n->word.text));
    return n;
}

static SearchNode *parse_or(Parser *p, GError **error);

static SearchNode *parse_group(Parser *p, GError **error)
{
    const Token *open = take(p);
    g_autoptr(SearchNode) n = parse_or(p, error);

    if (!n)
        return NULL;
    if (peek(p, 0)->kind != TOKEN_CLOSE) {
        if (peek(p, 0)->kind == TOKEN_END)
            search_error(error, open->column, "the parenthesis that opens here is not closed");
        else
            unexpected(peek(p, 0), "')'", error);
        return NULL;
    }
    take(p);
    return g_steal_pointer(&n);
}

static SearchNode *parse_not(Parser *p, GError **error)
{
    const Token *t = peek(p, 0);
    SearchNode *n = NULL;

    if (++p->depth > SEARCH_MAX_DEPTH) {
        search_error(error, t->column, "it is nested more than %d deep", SEARCH_MAX_DEPTH);
        return NULL;
    }
    if (is_word(t, "NOT") && peek(p, 1)->kind != TOKEN_SIGN) {
        take(p);
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

static gboolean begins_term(const Token *t)
{
    return t->kind == TOKEN_OPEN || t->kind == TOKEN_QUOTED ||
           (t->kind == TOKEN_WORD && !is_word(t, "OR") && !is_clause(t));
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
        if (is_word(peek(p, 0), "AND") && list->children->len)
            take(p);
        SearchNode *n = parse_not(p, error);
        if (!n)
            return NULL;
        g_ptr_array_add(list->children, n);
    } while (is_word(peek(p, 0), "AND") || begins_term(peek(p, 0)));
    return simplify(g_steal_pointer(&list));
}

static SearchNode *parse_or(Parser *p, GError **error)
{
    g_autoptr(SearchNode) list = node_new(NODE_OR, NULL);

    for (;;) {
        SearchNode *n = parse_and(p, error);
        if (!n)
            return NULL;
        g_ptr_array_add(list->children, n);
        if (!is_word(peek(p, 0), "OR"))
            return simplify(g_steal_pointer(&list));
        take(p);
    }
}

static gboolean take_field(Parser *p, SearchWord *ret, GError **error)
{
    const Token *t = peek(p, 0);

    if (t->kind != TOKEN_WORD || search_is_keyword(t->text))
        return unexpected(t, "a field", error);
    g_free(ret->text);
    *ret = (SearchWord){ g_strdup(t->text), t->column, FALSE };
    take(p);
    return TRUE;
}

static gboolean take_number(Parser *p, const char *what, gint64 *ret, guint *ret_column,
                            GError **error)
{
    const Token *t = take(p);
    guint64 number;

    *ret_column = t->column;
    if (t->kind == TOKEN_WORD &&
        g_ascii_string_to_unsigned(t->text, 10, 1, SEARCH_MAX_LIMIT, &number, NULL)) {
        *ret = (gint64)number;
        return TRUE;
    }
    search_error(error, t->column, "%s wants a number from 1 to %d", what, SEARCH_MAX_LIMIT);
    hint_quotes(error);
    return FALSE;
}

static gboolean take_sorts(Parser *p, SearchTree *tree, GError **error)
{
    do {
        SearchSort sort = { 0 };
        if (tree->sorts->len)
            take(p); /* the comma */
        if (!take_field(p, &sort.field, error))
            return FALSE;
        sort.is_descending = is_word(peek(p, 0), "DESC");
        if (sort.is_descending || is_word(peek(p, 0), "ASC"))
            take(p);
        g_array_append_val(tree->sorts, sort);
        if (tree->sorts->len > 8) {
            search_error(error, sort.field.column, "there are more than 8 keys to sort by");
            return FALSE;
        }
    } while (peek(p, 0)->kind == TOKEN_COMMA);
    return TRUE;
}

static gboolean take_by(Parser *p, GError **error)
{
    if (!is_word(peek(p, 0), "BY"))
        return unexpected(peek(p, 0), "BY", error);
    take(p);
    return TRUE;
}

static gboolean take_clause(Parser *p, SearchTree *tree, GError **error)
{
    const Token *t = take(p);

    if (is_word(t, "COUNT") && !tree->is_count) {
        tree->is_count = TRUE;
        return TRUE;
    }
    if (is_word(t, "PAGE") && !tree->page)
        return take_number(p, "PAGE", &tree->page, &tree->page_column, error);
    if (is_word(t, "LIMIT") && !tree->limit)
        return take_number(p, "LIMIT", &tree->limit, &tree->limit_column, error);
    if (is_word(t, "SORTBY") && !tree->sorts->len)
        return take_sorts(p, tree, error);
    if ((is_word(t, "SORT") || is_word(t, "ORDER")) && !tree->sorts->len)
        return take_by(p, error) && take_sorts(p, tree, error);
    if (is_word(t, "GROUPBY") && !tree->group.text)
        return take_field(p, &tree->group, error);
    if (is_word(t, "GROUP") && !tree->group.text)
        return take_by(p, error) && take_field(p, &tree->group, error);
    if (is_clause(t) && !is_word(t, "ASC") && !is_word(t, "DESC")) {
        search_error(error, t->column, "%s is there already", t->text);
        return FALSE;
    }
    return unexpected(t, "AND, OR, SORTBY, GROUP BY, COUNT, PAGE, LIMIT or the end", error);
}

/* "Vms: ..." or "Vms:name = x": what stands before the first word's first colon, if it ends there
 * or is an object; else nothing (a MAC address, golden:3). */
static void take_object(Parser *p, SearchTree *tree)
{
    Token *t = &g_array_index(p->tokens, Token, 0);
    char *colon = t->kind == TOKEN_WORD ? strchr(t->text, ':') : NULL;
    guint column = t->column;

    if (!colon || colon == t->text)
        return;
    g_autofree char *name = g_strndup(t->text, (gsize)(colon - t->text));
    if (!colon[1]) {
        take(p);
    } else if (objects_find(name)) {
        t->column += (guint)g_utf8_strlen(name, -1) + 1;
        memmove(t->text, colon + 1, strlen(colon + 1) + 1);
    } else {
        return;
    }
    tree->object = (SearchWord){ g_steal_pointer(&name), column, FALSE };
}

static void clear_sort(gpointer sort)
{
    g_free(((SearchSort *)sort)->field.text);
}

void search_tree_free(SearchTree *tree)
{
    if (!tree)
        return;
    g_free(tree->object.text);
    g_free(tree->group.text);
    search_node_free(tree->condition);
    g_array_unref(tree->sorts);
    g_free(tree);
}

SearchTree *search_parse(const char *text, GError **error)
{
    g_autoptr(SearchTree) tree = g_new0(SearchTree, 1);
    Parser p = { 0 };
    gboolean ok = TRUE;

    tree->sorts = g_array_new(FALSE, TRUE, sizeof(SearchSort));
    g_array_set_clear_func(tree->sorts, clear_sort);
    p.tokens = search_tokens(text, error);
    if (!p.tokens)
        return NULL;
    take_object(&p, tree);
    if (begins_term(peek(&p, 0)) || is_word(peek(&p, 0), "OR")) {
        tree->condition = parse_or(&p, error);
        ok = tree->condition != NULL;
    }
    while (ok && peek(&p, 0)->kind != TOKEN_END)
        ok = take_clause(&p, tree, error);
    g_array_unref(p.tokens);
    return ok ? g_steal_pointer(&tree) : NULL;
}
