/* args.c: see args.h.  Words are read from left to right: noun, verb, arguments; an option is
 * looked up among those of the command as far as it is known, then among the global ones. */
#include "imaged/cli/args.h"

#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "imaged/base/nearest.h"
#include "imaged/cli/each.h"

static void hint_nearest(GError **error, const char *typed, const char *dashes, GPtrArray *words)
{
    const char *nearest = nearest_word(typed, words);

    if (nearest)
        imaged_error_hint(error, "did you mean '%s%s'?", dashes, nearest);
}

static char *help_command(const Args *args)
{
    const char *noun = args->noun ? args->noun->name : NULL;
    const char *verb = args->command ? args->command->verb : NULL;

    return g_strjoin(" ", "imagectl", noun ? noun : "--help",
                     noun && verb ? verb
                     : noun       ? "--help"
                                  : NULL,
                     noun && verb ? "--help" : NULL, NULL);
}

void args_usage_error(const Args *args, GError **error, const char *format, ...)
{
    g_autofree char *help = help_command(args);
    va_list list;

    va_start(list, format);
    g_autofree char *message = g_strdup_vprintf(format, list);
    va_end(list);
    g_set_error_literal(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, message);
    imaged_error_hint(error, "see '%s'", help);
}

static gboolean unknown_option(const Args *args, const char *name, GError **error)
{
    g_autoptr(GPtrArray) names = commands_option_names(args->command);
    g_autofree char *shown = g_strndup(name, 40), *help = help_command(args);

    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "there is no option '--%s'%s", shown,
                args->command ? "" : " before the verb");
    hint_nearest(error, name, "--", names);
    imaged_error_hint(error, "see '%s'", help);
    return FALSE;
}

static gboolean check_choice(const Args *args, const Option *option, const char *value,
                             GError **error)
{
    const char *words = option->metavar;
    gboolean may_be_html = g_str_equal(option->name, "output") && g_str_equal(value, "html");
    g_auto(GStrv) choices = g_strsplit(words, "|", -1);

    /* Whether a command can print HTML is known only when the command is: main() asks again. */
    if (may_be_html || g_strv_contains((const char *const *)choices, value))
        return TRUE;
    g_autofree char *shown = text_for_message(value, 40);
    args_usage_error(args, error, "--%s takes %s, not '%s'", option->name, words, shown);
    return FALSE;
}

static gboolean check_value(const Args *args, const Option *option, const char *value,
                            GError **error)
{
    g_autofree char *shown = text_for_message(value, 40);
    guint64 number;

    if (!g_utf8_validate(value, -1, NULL)) {
        args_usage_error(args, error, "--%s: '%s' is not valid UTF-8", option->name, shown);
        return FALSE;
    }
    switch (option->kind) {
    case OPTION_SIZE:
        if (units_parse_size(value, &number, error))
            return TRUE;
        g_prefix_error(error, "--%s: ", option->name);
        return FALSE;
    case OPTION_COUNT:
        if (g_ascii_string_to_unsigned(value, 10, 0, G_MAXINT64, &number, NULL))
            return TRUE;
        args_usage_error(args, error, "--%s takes a whole number, not '%s'", option->name, shown);
        return FALSE;
    case OPTION_CHOICE:
        return check_choice(args, option, value, error);
    default:
        return TRUE;
    }
}

static gboolean take_option(Args *args, const Option *option, const char *attached, char **argv,
                            int *i, GError **error)
{
    const char *value = attached;

    if (option->kind == OPTION_FLAG) {
        if (attached) {
            args_usage_error(args, error, "--%s takes no value", option->name);
            return FALSE;
        }
        value = "";
    } else if (!value) {
        value = argv[*i + 1];
        if (!value) {
            args_usage_error(args, error, "--%s needs a value: %s", option->name, option->metavar);
            return FALSE;
        }
        (*i)++;
    }
    if (!check_value(args, option, value, error))
        return FALSE;
    g_hash_table_insert(args->values, (gpointer)option->name, (gpointer)value);
    if (option->kind == OPTION_LIST) {
        g_ptr_array_add(args->lists, (gpointer)option->name);
        g_ptr_array_add(args->lists, (gpointer)value);
    }
    if (g_str_equal(option->name, "help"))
        args->wants_help = TRUE;
    return TRUE;
}

static gboolean parse_option(Args *args, char **argv, int *i, GError **error)
{
    const char *text = argv[*i], *attached = NULL;
    g_autofree char *name = NULL;
    const Option *option;

    if (text[1] == '-') {
        attached = strchr(text, '=');
        name = attached ? g_strndup(text + 2, attached - text - 2) : g_strdup(text + 2);
        attached += attached != NULL;
    } else if (text[1] == 'o') {
        name = g_strdup("output");
        attached = text[2] == '=' ? text + 3 : text[2] ? text + 2 : NULL;
    } else if (text[1] == 'h' && !text[2]) {
        name = g_strdup("help");
    } else {
        g_autofree char *shown = text_for_message(text, 40);
        args_usage_error(args, error, "there is no option '%s'", shown);
        return FALSE;
    }
    option = commands_find_option(args->command ? args->command->options : NULL, name);
    if (!option && args->noun && !args->command && commands_find_default(args->noun)) {
        const Command *command = commands_find_default(args->noun);
        option = commands_find_option(command->options, name);
        if (option)
            args->command = command;
    }
    if (!option)
        option = commands_find_option(each_options(args->noun, args->command), name);
    if (!option)
        option = commands_find_option(commands_global_options(), name);
    if (!option)
        return unknown_option(args, name, error);
    return take_option(args, option, attached, argv, i, error);
}

static gboolean unknown_word(const char *what, const char *word, GPtrArray *names, const char *help,
                             GError **error)
{
    g_autofree char *shown = text_for_message(word, 40);

    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "there is no %s '%s'", what, shown);
    hint_nearest(error, word, "", names);
    imaged_error_hint(error, "see '%s'", help);
    return FALSE;
}

static gboolean take_word(Args *args, char *word, GError **error)
{
    if (!args->noun) {
        args->noun = commands_find_noun(word);
        if (!args->noun) {
            g_autoptr(GPtrArray) names = commands_noun_names();
            return unknown_word("command", word, names, "imagectl --help", error);
        }
        if (commands_is_plain(args->noun))
            args->command = args->noun->commands;
        return TRUE;
    }
    if (!args->command) {
        args->command = commands_find_verb(args->noun, word);
        if (!args->command && commands_find_default(args->noun)) {
            args->command = commands_find_default(args->noun);
            g_ptr_array_add(args->words, word);
        } else if (!args->command) {
            g_autoptr(GPtrArray) names = commands_verb_names(args->noun);
            g_autofree char *help = help_command(args);
            return unknown_word("verb", word, names, help, error);
        }
        return TRUE;
    }
    g_ptr_array_add(args->words, word);
    return TRUE;
}

gboolean args_parse(Args *args, int argc, char **argv, GError **error)
{
    gboolean may_be_option = TRUE;

    *args =
        (Args){ .words = g_ptr_array_new(), .values = g_hash_table_new(g_str_hash, g_str_equal),
                .lists = g_ptr_array_new() };
    for (int i = 1; i < argc; i++) {
        /* "imagectl help desktop reset" is what people type who come from other tools. */
        if (!args->noun && !args->wants_help && g_str_equal(argv[i], "help")) {
            args->wants_help = TRUE;
        } else if (may_be_option && g_str_equal(argv[i], "--")) {
            may_be_option = FALSE;
        } else if (may_be_option && argv[i][0] == '-' && argv[i][1]) {
            if (!args->noun && g_str_equal(argv[i], "--version"))
                args->noun = &noun_version, args->command = noun_version.commands;
            else if (!parse_option(args, argv, &i, error))
                return FALSE;
        } else if (!take_word(args, argv[i], error)) {
            return FALSE;
        }
    }
    return TRUE;
}

gboolean args_check_count(const Args *args, GError **error)
{
    const Command *command = args->command;

    if (args->words->len < command->min_args) {
        args_usage_error(args, error, "it needs %s", command->arguments);
        return FALSE;
    }
    if (args->words->len > command->max_args) {
        g_autofree char *shown = text_for_message(args->words->pdata[command->max_args], 40);
        args_usage_error(args, error, "'%s' is one argument too many", shown);
        return FALSE;
    }
    for (guint i = 0; i < args->words->len; i++) {
        /* JSON is UTF-8; only a file's name may be any bytes, and is not sent. */
        gboolean is_file = i > 0 && g_strcmp0(command->completes, "file") == 0;
        if (!is_file && !g_utf8_validate(args->words->pdata[i], -1, NULL)) {
            g_autofree char *shown = text_for_message(args->words->pdata[i], 40);
            args_usage_error(args, error, "'%s' is not valid UTF-8", shown);
            return FALSE;
        }
    }
    return TRUE;
}

void args_clear(Args *args)
{
    g_clear_pointer(&args->words, g_ptr_array_unref);
    g_clear_pointer(&args->values, g_hash_table_unref);
    g_clear_pointer(&args->lists, g_ptr_array_unref);
}

const char *args_word(const Args *args, guint i)
{
    return i < args->words->len ? args->words->pdata[i] : NULL;
}

gboolean args_has(const Args *args, const char *option)
{
    return g_hash_table_contains(args->values, option);
}

const char *args_text(const Args *args, const char *option)
{
    return g_hash_table_lookup(args->values, option);
}

json_t *args_list(const Args *args, const char *option)
{
    json_t *out = NULL;

    for (guint i = 0; i + 1 < args->lists->len; i += 2) {
        if (!g_str_equal(args->lists->pdata[i], option))
            continue;
        if (!out)
            out = json_array();
        json_array_append_new(out, json_string(args->lists->pdata[i + 1]));
    }
    return out;
}

gint64 args_number(const Args *args, const char *option, gint64 otherwise)
{
    const char *text = args_text(args, option);
    guint64 number;

    /* The value passed check_value() already, as a size or as a count. */
    if (!text || !units_parse_size(text, &number, NULL))
        return otherwise;
    return (gint64)number;
}
