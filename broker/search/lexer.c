/* lexer.c: a word ends at a space or at a sign that means something; a quote begins a quoted text
 * only where a word could begin, so that O'Brien is a word. */
#include "broker/search/lexer.h"

#include <string.h>

#include "imaged/base/error.h"

void search_error(GError **error, guint column, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_autofree char *message = g_strdup_vprintf(format, args);
    va_end(args);
    g_clear_error(error);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "column %u: %s", column, message);
}

static void clear_token(gpointer token)
{
    g_free(((Token *)token)->text);
}

static gboolean check_text(const char *text, GError **error)
{
    guint column = 1;

    if (strlen(text) > SEARCH_MAX_TEXT) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "a search has at most %d bytes, this one has %zu", SEARCH_MAX_TEXT,
                    strlen(text));
        return FALSE;
    }
    if (!g_utf8_validate(text, -1, NULL)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "the search is not valid UTF-8");
        return FALSE;
    }
    for (const char *p = text; *p; p = g_utf8_next_char(p), column++) {
        if (g_ascii_iscntrl(*p) && !g_ascii_isspace(*p)) {
            search_error(error, column, "there is a control character");
            return FALSE;
        }
    }
    return TRUE;
}

/* What follows a backslash is taken as it is only where it would mean something else, so that
 * DOMAIN\user is what it looks like. */
static gboolean is_escape(const char *p)
{
    return p[0] == '\\' && p[1] && strchr("*?\\\"'", p[1]);
}

static gsize word_length(const char *p)
{
    gsize n = 0;

    while (p[n] && !g_ascii_isspace(p[n]) && !strchr("(),=<>", p[n]) &&
           !(p[n] == '!' && p[n + 1] == '='))
        n += is_escape(p + n) ? 2 : 1;
    return n;
}

/* Bytes of a quoted text with its quotes. */
static gsize quoted_length(const char *p, gboolean *ret_is_open)
{
    gsize n = 1;

    while (p[n] && p[n] != *p)
        n += is_escape(p + n) ? 2 : 1;
    *ret_is_open = !p[n];
    return n + !*ret_is_open;
}

static gsize sign_length(const char *p)
{
    static const char *const signs[] = { "!=", "<=", ">=", "<>", "==", "=", "<", ">" };

    for (guint i = 0; i < G_N_ELEMENTS(signs); i++) {
        if (g_str_has_prefix(p, signs[i]))
            return strlen(signs[i]);
    }
    return 0;
}

static gsize next_token(const char *p, Token *t)
{
    gsize n = 1;

    if (*p == '(' || *p == ')' || *p == ',') {
        t->kind = *p == '(' ? TOKEN_OPEN : *p == ')' ? TOKEN_CLOSE : TOKEN_COMMA;
        t->text = g_strndup(p, 1);
    } else if (*p == '"' || *p == '\'') {
        n = quoted_length(p, &t->is_open);
        t->kind = TOKEN_QUOTED;
        t->text = g_strndup(p + 1, n - 1 - !t->is_open);
    } else if ((n = sign_length(p)) > 0) {
        t->kind = TOKEN_SIGN;
        t->text = n == 2 && g_str_has_prefix(p, "<>")   ? g_strdup("!=")
                  : n == 2 && g_str_has_prefix(p, "==") ? g_strdup("=")
                                                        : g_strndup(p, n);
    } else {
        n = word_length(p);
        t->kind = TOKEN_WORD;
        t->text = g_strndup(p, n);
    }
    return n;
}

GArray *search_tokens(const char *text, GError **error)
{
    g_autoptr(GArray) tokens = g_array_new(FALSE, TRUE, sizeof(Token));
    const char *p = text;
    guint column = 1;

    g_array_set_clear_func(tokens, clear_token);
    if (!check_text(text, error))
        return NULL;
    for (;;) {
        for (; g_ascii_isspace(*p); p++)
            column++;
        Token t = { .kind = TOKEN_END, .column = column, .begin = (gsize)(p - text) };
        gsize n = *p ? next_token(p, &t) : 0;
        t.end = t.begin + n;
        if (!*p)
            t.text = g_strdup("");
        g_array_append_val(tokens, t);
        if (!*p)
            return g_steal_pointer(&tokens);
        if (tokens->len > SEARCH_MAX_TOKENS) {
            search_error(error, column, "the search has too many words");
            return NULL;
        }
        column += (guint)g_utf8_strlen(p, (gssize)n);
        p += n;
    }
}
