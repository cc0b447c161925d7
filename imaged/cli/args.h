/* args.h: the command line, taken apart by the table of commands.
 *
 * Options may stand before and after the verb; "--" ends them.  Every value is checked here, so
 * that a command sees only what it can use. */
#pragma once

#include <glib.h>
#include <jansson.h>

#include "imaged/cli/commands.h"

typedef struct {
    const Noun *noun;       /* NULL if none was given */
    const Command *command; /* NULL if there was no verb yet */
    GPtrArray *words;       /* the arguments proper (char *, owned by argv) */
    GHashTable *values;     /* option's name -> what was given (""), both owned by others */
    GPtrArray *lists;       /* pairs of an OPTION_LIST's name and a value, owned by others */
    gboolean wants_help;
} Args;

/* Take argv apart.  IMAGED_ERROR_INVALID with a hint; what was understood until then stands in args
 * even so, which the caller clears in any case. */
gboolean args_parse(Args *args, int argc, char **argv, GError **error);

/* Check that the command got its arguments.  IMAGED_ERROR_INVALID. */
gboolean args_check_count(const Args *args, GError **error);

void args_clear(Args *args);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Args, args_clear)

/* Argument i, or NULL. */
const char *args_word(const Args *args, guint i);

/* Was the option given?  Its text or NULL.  Its number (or bytes) or otherwise. */
gboolean args_has(const Args *args, const char *option);
const char *args_text(const Args *args, const char *option);
gint64 args_number(const Args *args, const char *option, gint64 otherwise);

/* What an OPTION_LIST was given, as an array of texts; NULL if it was not.  Caller unrefs. */
json_t *args_list(const Args *args, const char *option);

/* An error about the use of this command.  IMAGED_ERROR_INVALID, the hint names its help. */
void args_usage_error(const Args *args, GError **error, const char *format, ...)
    G_GNUC_PRINTF(3, 4);
