/* parser.c: an object, a condition, clauses; and the steps that these share. */
#include "broker/search/parser_steps.h"

#include <string.h>

#include "broker/search/objects.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"

const char *const search_keywords[] = { "AND",   "OR",    "NOT",  "IN",     "IS",   "NONE",
                                        "SET",   "ASC",   "BY",   "SORTBY", "SORT", "ORDER",
                                        "GROUP", "COUNT", "PAGE", "LIMIT",  "DESC", NULL };

const Token *parser_peek(const Parser *p, guint ahead)
{
    return &g_array_index(p->tokens, Token, MIN(p->at + ahead, p->tokens->len - 1));
}

const Token *parser_take(Parser *p)
{
    const Token *t = parser_peek(p, 0);

    p->at += p->at + 1 < p->tokens->len;
    return t;
}

gboolean parser_is_word(const Token *t, const char *word)
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

gboolean parser_is_clause(const Token *t)
{
    static const char *const words[] = { "SORTBY", "SORT", "ORDER", "GROUP", "GROUPBY",
                                         "COUNT",  "PAGE", "LIMIT", "ASC",   "DESC" };

    for (guint i = 0; i < G_N_ELEMENTS(words); i++) {
        if (parser_is_word(t, words[i]))
            return TRUE;
    }
    return FALSE;
}

void parser_hint_quotes(GError **error)
{
    imaged_error_hint(error, "to look for a word of the language itself, put it in quotes");
}

gboolean parser_unexpected(const Token *t, const char *wanted, GError **error)
{
    g_autofree char *shown = text_for_message(t->text, 40);

    if (t->kind == TOKEN_END)
        search_error(error, t->column, "the search ends where %s should stand", wanted);
    else
        search_error(error, t->column, "'%s' stands where %s should", shown, wanted);
    if (t->kind == TOKEN_WORD && search_is_keyword(t->text))
        parser_hint_quotes(error);
    return FALSE;
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
        parser_take(p);
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
    if (parser_begins_term(parser_peek(&p, 0)) || parser_is_word(parser_peek(&p, 0), "OR")) {
        tree->condition = parser_condition(&p, error);
        ok = tree->condition != NULL;
    }
    while (ok && parser_peek(&p, 0)->kind != TOKEN_END)
        ok = parser_clause(&p, tree, error);
    g_array_unref(p.tokens);
    return ok ? g_steal_pointer(&tree) : NULL;
}
