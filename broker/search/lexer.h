/* lexer.h: the words and signs of a search, with the columns at which they stand.
 *
 * Pure; the text comes from anybody, so its length is bounded.  Any thread. */
#pragma once

#include <glib.h>

#define SEARCH_MAX_TEXT 8192 /* bytes */
#define SEARCH_MAX_TOKENS 4096

typedef enum {
    TOKEN_END,
    TOKEN_WORD,   /* bare; backslashes are still in it */
    TOKEN_QUOTED, /* what stood between quotes, likewise */
    TOKEN_OPEN,
    TOKEN_CLOSE,
    TOKEN_COMMA,
    TOKEN_SIGN, /* = != < <= > >= */
} TokenKind;

typedef struct {
    TokenKind kind;
    char *text;
    guint column;     /* of its first character, from 1; characters, not bytes */
    gsize begin, end; /* bytes: text[begin..end) */
    gboolean is_open; /* a quote that nobody closed */
} Token;

/* The tokens of text, TOKEN_END last.  Never fails on what is half written, because completion
 * looks at that too; INVALID if it is too long, no UTF-8, or has control characters. */
GArray *search_tokens(const char *text, GError **error);

/* An INVALID error that names the column: "column 7: ...". */
void search_error(GError **error, guint column, const char *format, ...) G_GNUC_PRINTF(3, 4);
