/* compiler.c: see compiler.h.  What a user wrote gets into SQL by compile_text(), compile_integer()
 * and compile_real() alone. */
#include "broker/search/compiler.h"

#include <string.h>

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

void compile_sql(Compiler *c, const char *text)
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

void compile_real(Compiler *c, double number)
{
    bind(c, (DbValue){ .type = 'r', .real = number });
}

/* "{desktop d}": what the caller may see of these rows; "{desktop d: SQL ~}": SQL with that for
 * "~", for a look at d that nobody needs who sees everything.  Returns where it ends. */
static const char *append_seen(Compiler *c, const char *begin)
{
    const char *end = strchr(begin, '}');
    g_autofree char *both = g_strndup(begin + 1, (gsize)(end - begin) - 1);
    char *alias = strchr(both, ' '), *rest = strchr(both, ':');

    *alias++ = '\0';
    if (rest)
        *rest++ = '\0';
    g_autofree char *visible = access_visible_sql(c->caller, both, alias);
    char *place = rest ? strchr(rest, '~') : NULL;
    if (visible && place)
        g_string_append_printf(c->sql, "%.*s(%s)%s", (int)(place - rest), rest, visible, place + 1);
    else
        g_string_append(c->sql, visible ? visible : "1");
    return end;
}

void compile_template(Compiler *c, const char *template, guint self, guint target)
{
    for (const char *p = template; *p; p++) {
        if (p[0] == '$' && p[1] == '$') /* the sign itself */
            g_string_append_c(c->sql, *p++);
        else if (*p == '$')
            g_string_append_printf(c->sql, "a%u", self);
        else if (*p == '%')
            g_string_append_printf(c->sql, "a%u", target);
        else if (*p == '#')
            g_string_append_printf(c->sql, "%u", target);
        else if (*p == '{')
            p = append_seen(c, p);
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

    compile_sql(c, c->is_scan && alias == 0 && object->base ? "(+" : "(");
    compile_template(c, object->base ? object->base : "1", alias, 0);
    if (visible)
        g_string_append_printf(c->sql, " AND (%s)", visible);
    compile_sql(c, ")");
}
