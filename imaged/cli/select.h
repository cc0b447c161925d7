/* select.h: which desktops a verb is for: names, a template's, those with a prefix, or
 * those that a search finds. */
#pragma once

#include <glib.h>
#include <jansson.h>

#include "imaged/cli/args.h"
#include "imaged/cli/cli.h"

#define SELECT_TEMPLATE                                                                            \
    {                                                                                              \
        "template", OPTION_TEXT, "T", "all desktops of this template (or T:VERSION)", "template"   \
    }
#define SELECT_PREFIX                                                                              \
    {                                                                                              \
        "all-of-prefix", OPTION_TEXT, "P", "all desktops whose name begins with P", NULL           \
    },                                                                                             \
        SELECT_SEARCH
#define SELECT_SEARCH                                                                              \
    {                                                                                              \
        "search", OPTION_TEXT, "SEARCH", "all that a search finds: 'status = off', or @NAME",      \
            "search"                                                                               \
    }

/* The body of a request that selects desktops exactly one way: by the first n_names words of the
 * command line, or by its options.  NULL with INVALID otherwise.  Caller unrefs. */
json_t *select_body(const Args *args, guint n_names, GError **error);

/* The same of the words from first on, behind those that say what to do. */
json_t *select_body_from(const Args *args, guint first, GError **error);

/* Ask if need be (question "delete"), run the batch, tell ("deleted"). */
gboolean select_run_destructive(Cli *cli, const char *path, const json_t *body,
                                const char *question, const char *done, GError **error);

/* Run the batch and tell. */
gboolean select_run(Cli *cli, const char *path, const json_t *body, const char *done,
                    GError **error);
