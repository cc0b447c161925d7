/* cli.c: see cli.h. */
#include "imaged/cli/cli.h"

#include <stdio.h>
#include <string.h>

#include "imaged/base/error.h"

int cli_exit_code(gint error_code)
{
    switch (error_code) {
    case IMAGED_ERROR_INVALID:
        return CLI_USAGE;
    case IMAGED_ERROR_NOT_FOUND:
        return CLI_NOT_FOUND;
    case IMAGED_ERROR_BUSY:
        return CLI_BUSY;
    case IMAGED_ERROR_DENIED:
        return CLI_DENIED;
    default:
        return CLI_FAILED;
    }
}

char *cli_what(const Cli *cli)
{
    const Args *args = cli->args;

    if (!args->noun)
        return NULL;
    return args->command && args->command->verb
               ? g_strdup_printf("%s %s", args->noun->name, args->command->verb)
               : g_strdup(args->noun->name);
}

/* A message may quote what a file or the network said: no control character of it may reach the
 * terminal. */
static char *printable(const char *text)
{
    g_autofree char *valid = g_utf8_make_valid(text, -1);
    GString *out = g_string_new(NULL);

    for (const char *p = valid; *p; p = g_utf8_next_char(p)) {
        gunichar c = g_utf8_get_char(p);
        if (g_unichar_iscntrl(c))
            g_string_append_c(out, ' ');
        else
            g_string_append_unichar(out, c);
    }
    return g_string_free(out, FALSE);
}

void cli_complain(const char *what, const char *message, const char *hint)
{
    g_autofree char *shown = printable(message);

    if (what)
        fprintf(stderr, "imagectl: %s: %s\n", what, shown);
    else
        fprintf(stderr, "imagectl: %s\n", shown);
    if (hint && *hint) {
        g_autofree char *shown_hint = printable(hint);
        fprintf(stderr, "hint: %s\n", shown_hint);
    }
}

/* Passwords come from files, and a size may go without saying so. */
static const Option *find_option(const Args *args, const char *field)
{
    g_autofree char *name = g_strdelimit(g_strdup(field), "_", '-');
    g_autofree char *file = g_strconcat(name, "-file", NULL), *base = g_strdup(name);
    const Option *options = args->command ? args->command->options : NULL, *found;

    if (g_str_has_suffix(base, "-size"))
        base[strlen(base) - strlen("-size")] = '\0';
    found = commands_find_option(options, name);
    found = found ? found : commands_find_option(options, file);
    return found ? found : commands_find_option(options, base);
}

char *cli_name_options(const Args *args, const char *text, gboolean is_given)
{
    g_auto(GStrv) parts = g_strsplit(text, "'", -1);

    for (guint i = 0; parts[i] && parts[i + 1]; i++) {
        const Option *option = i > 0 ? find_option(args, parts[i]) : NULL;
        if (!option || (is_given && !args_has(args, option->name)))
            continue;
        g_free(parts[i]);
        parts[i] = g_strconcat("--", option->name, NULL);
    }
    return g_strjoinv("'", parts);
}

gint cli_error_from_json(const json_t *object, GError **error)
{
    gint code = imaged_error_from_name(json_text(object, "code"));
    const char *message = json_text(object, "message"), *hint = json_text(object, "hint");
    g_autofree char *line = g_strdelimit(g_strdup(message), "\r\n", ' ');
    GError *local = g_error_new_literal(IMAGED_ERROR, code, *line ? line : "no reason was given");

    if (*hint)
        imaged_error_hint(&local, "%s", hint);
    g_propagate_error(error, local);
    return code;
}

const char *json_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

gint64 json_number(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

gboolean json_truth(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

void json_set_text(json_t *object, const char *key, const char *text)
{
    if (text)
        json_object_set_new(object, key, json_string(text));
}
