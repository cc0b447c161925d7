/* parser_steps.h: the parser's steps from word to word.  For parser*.c alone. */
#pragma once

#include "broker/search/lexer.h"
#include "broker/search/parser.h"

typedef struct {
    GArray *tokens;
    guint at, depth, n_terms, n_values;
} Parser;

/* The token ahead of the one that is next; the last one is TOKEN_END. */
const Token *parser_peek(const Parser *p, guint ahead);
const Token *parser_take(Parser *p);
gboolean parser_is_word(const Token *t, const char *word);

/* Does it begin SORTBY, GROUP BY, COUNT, PAGE or LIMIT, or belong to them?  Does it begin a term?
 */
gboolean parser_is_clause(const Token *t);
gboolean parser_begins_term(const Token *t);

/* Always FALSE, with an error that says what should stand there. */
gboolean parser_unexpected(const Token *t, const char *wanted, GError **error);
void parser_hint_quotes(GError **error);

/* OR of ANDs of NOTs of terms. */
SearchNode *parser_condition(Parser *p, GError **error);

/* One clause behind the condition. */
gboolean parser_clause(Parser *p, SearchTree *tree, GError **error);
