/* help.c: see help.h. */
#include "imaged/cli/help.h"

#include <string.h>

#include "imaged/cli/each.h"

#define HELP_COLUMN 30

static void append_option(GString *out, const Option *option)
{
    g_autofree char *left = g_strdup_printf("  --%s%s%s", option->name, option->metavar ? " " : "",
                                            option->metavar ? option->metavar : "");

    if (strlen(left) >= HELP_COLUMN)
        g_string_append_printf(out, "%s\n%*s%s\n", left, HELP_COLUMN, "", option->help);
    else
        g_string_append_printf(out, "%-*s%s\n", HELP_COLUMN, left, option->help);
}

/* An option of the command hides a global one of the same name. */
static void append_options(GString *out, const char *title, const Option *options,
                           const Option *hiding)
{
    if (!options || !options->name)
        return;
    g_string_append_printf(out, "\n%s:\n", title);
    for (const Option *o = options; o->name; o++) {
        if (!commands_find_option(hiding, o->name))
            append_option(out, o);
    }
}

static void append_examples(GString *out, const Command *command, guint max)
{
    g_auto(GStrv) lines = g_strsplit(command->examples, "\n", -1);

    /* One that begins with a blank goes on with the one before. */
    for (guint i = 0; lines[i] && *lines[i] && (i < max || *lines[i] == ' '); i++)
        g_string_append_printf(out, "  %s%s\n", *lines[i] == ' ' ? "" : "imagectl ", lines[i]);
}

static void append_command(GString *out, const Noun *noun, const Command *command)
{
    const Option *more = each_options(noun, command);
    gboolean has_options = more || (command->options && command->options->name);

    g_string_append_printf(out, "usage: imagectl %s%s%s%s%s%s\n\n%s.\n", noun->name,
                           command->verb ? " " : "", command->verb ? command->verb : "",
                           *command->arguments ? " " : "", command->arguments,
                           has_options ? " [OPTIONS]" : "", command->summary);
    if (command->details)
        g_string_append_printf(out, "%s\n", command->details);
    append_options(out, "options", command->options, NULL);
    append_options(out, "for several at once", more, command->options);
    append_options(out, "global options", commands_global_options(), command->options);
    g_string_append(out, "\nexamples:\n");
    append_examples(out, command, G_MAXUINT);
}

static void append_noun(GString *out, const Noun *noun)
{
    g_string_append_printf(out,
                           "usage: imagectl %s VERB [ARGUMENTS] [OPTIONS]\n\n%s: %s\n\nverbs:\n",
                           noun->name, noun->name, noun->summary);
    for (const Command *c = noun->commands; c->run; c++)
        g_string_append_printf(out, "  %-14s%s\n", c->verb ? c->verb : c->arguments, c->summary);
    g_string_append(out, "\nexamples:\n");
    for (const Command *c = noun->commands; c->run; c++)
        append_examples(out, c, 1);
    g_string_append_printf(out, "\n'imagectl %s VERB --help' tells more of one verb.\n",
                           noun->name);
}

static void append_all(GString *out)
{
    g_string_append(
        out,
        "usage: imagectl [--state DIR | --socket PATH | --url URL] "
        "[-o table|json|csv] NOUN VERB [ARGUMENTS]\n\n"
        "imagectl manages the disk images of virtual desktops: golden templates, and desktops\n"
        "that are thin layers on top of them.\n\nnouns:\n");
    for (const Noun *const *noun = commands_nouns(); *noun; noun++) {
        g_autoptr(GPtrArray) verbs = commands_verb_names(*noun);
        g_autofree char *text = NULL;
        g_ptr_array_add(verbs, NULL);
        text = g_strjoinv(", ", (char **)verbs->pdata);
        g_string_append_printf(out, "  %-12s%s\n", (*noun)->name, (*noun)->summary);
        if (*text)
            g_string_append_printf(out, "  %-12s(%s)\n", "", text);
    }
    append_options(out, "global options, before and after the verb", commands_global_options(),
                   NULL);
    g_string_append(out,
                    "\nThe environment may say where the daemon is: IMAGED_STATE, IMAGED_SOCKET, "
                    "IMAGED_URL.\n"
                    "Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 busy, 5 denied.\n"
                    "\nexamples:\n"
                    "  imagectl template import win11 golden.qcow2 --format qcow2\n"
                    "  imagectl desktop create --prefix lab --count 100 --template win11\n"
                    "  imagectl desktop reset lab-007\n"
                    "  imagectl snapshot create lab-007 before-update\n"
                    "  imagectl archive create lab-007 --to nas\n"
                    "  imagectl export start lab-007\n"
                    "  imagectl report savings\n"
                    "\n'imagectl NOUN --help' tells more.\n");
}

void help_append(GString *out, const Noun *noun, const Command *command)
{
    if (command)
        append_command(out, noun, command);
    else if (noun)
        append_noun(out, noun);
    else
        append_all(out);
}
