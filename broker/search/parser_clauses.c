/* parser_clauses.c: what stands behind the condition, in any order, each once. */
#include "broker/search/parser_steps.h"

#include <string.h>

static gboolean take_field(Parser *p, SearchWord *ret, GError **error)
{
    const Token *t = parser_peek(p, 0);

    if (t->kind != TOKEN_WORD || search_is_keyword(t->text))
        return parser_unexpected(t, "a field", error);
    g_free(ret->text);
    *ret = (SearchWord){ g_strdup(t->text), t->column, FALSE };
    parser_take(p);
    return TRUE;
}

static gboolean take_number(Parser *p, const char *what, gint64 *ret, guint *ret_column,
                            GError **error)
{
    const Token *t = parser_take(p);
    guint64 number;

    *ret_column = t->column;
    if (t->kind == TOKEN_WORD &&
        g_ascii_string_to_unsigned(t->text, 10, 1, SEARCH_MAX_LIMIT, &number, NULL)) {
        *ret = (gint64)number;
        return TRUE;
    }
    search_error(error, t->column, "%s wants a number from 1 to %d", what, SEARCH_MAX_LIMIT);
    parser_hint_quotes(error);
    return FALSE;
}

static gboolean take_sorts(Parser *p, SearchTree *tree, GError **error)
{
    do {
        SearchSort sort = { 0 };
        if (tree->sorts->len)
            parser_take(p); /* the comma */
        if (!take_field(p, &sort.field, error))
            return FALSE;
        sort.is_descending = parser_is_word(parser_peek(p, 0), "DESC");
        if (sort.is_descending || parser_is_word(parser_peek(p, 0), "ASC"))
            parser_take(p);
        g_array_append_val(tree->sorts, sort);
        if (tree->sorts->len > 8) {
            search_error(error, sort.field.column, "there are more than 8 keys to sort by");
            return FALSE;
        }
    } while (parser_peek(p, 0)->kind == TOKEN_COMMA);
    return TRUE;
}

static gboolean take_by(Parser *p, GError **error)
{
    if (!parser_is_word(parser_peek(p, 0), "BY"))
        return parser_unexpected(parser_peek(p, 0), "BY", error);
    parser_take(p);
    return TRUE;
}

gboolean parser_clause(Parser *p, SearchTree *tree, GError **error)
{
    const Token *t = parser_take(p);

    if (parser_is_word(t, "COUNT") && !tree->is_count) {
        tree->is_count = TRUE;
        return TRUE;
    }
    if (parser_is_word(t, "PAGE") && !tree->page)
        return take_number(p, "PAGE", &tree->page, &tree->page_column, error);
    if (parser_is_word(t, "LIMIT") && !tree->limit)
        return take_number(p, "LIMIT", &tree->limit, &tree->limit_column, error);
    if (parser_is_word(t, "SORTBY") && !tree->sorts->len)
        return take_sorts(p, tree, error);
    if ((parser_is_word(t, "SORT") || parser_is_word(t, "ORDER")) && !tree->sorts->len)
        return take_by(p, error) && take_sorts(p, tree, error);
    if (parser_is_word(t, "GROUPBY") && !tree->group.text)
        return take_field(p, &tree->group, error);
    if (parser_is_word(t, "GROUP") && !tree->group.text)
        return take_by(p, error) && take_field(p, &tree->group, error);
    if (parser_is_clause(t) && !parser_is_word(t, "ASC") && !parser_is_word(t, "DESC")) {
        search_error(error, t->column, "%s is there already", t->text);
        return FALSE;
    }
    return parser_unexpected(t, "AND, OR, SORTBY, GROUP BY, COUNT, PAGE, LIMIT or the end", error);
}
