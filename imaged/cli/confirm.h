/* confirm.h: before something is destroyed: what it frees, what it breaks, and whether to go on. */
#pragma once

#include <glib.h>
#include <jansson.h>

#include "imaged/cli/cli.h"

/* What to ask the daemon for the dry run. */
typedef struct {
    const char *method, *path;
    const json_t *body;   /* or NULL; a copy with dry_run set is sent */
    const char *question; /* "delete", as in "delete 3 desktops?" */
    const char *noun;
} ConfirmRequest;

typedef enum {
    CONFIRM_GO,     /* do it */
    CONFIRM_TOLD,   /* it was a --dry-run, and is printed: all is done */
    CONFIRM_FAILED, /* *error is set: the answer was no (FAILED), nobody can be asked (INVALID), or
                     * the daemon refused */
} ConfirmAnswer;

ConfirmAnswer confirm(Cli *cli, const ConfirmRequest *request, GError **error);

/* Only the --dry-run part, for verbs that destroy nothing.  Same results, but never asks. */
ConfirmAnswer confirm_dry_run(Cli *cli, const ConfirmRequest *request, GError **error);

/* Ask a person this yes-or-no question, unless the option was given, whose name without dashes is
 * consent.  TRUE to go on.  FAILED if the answer was no, INVALID if nobody can be asked. */
gboolean confirm_question(Cli *cli, const char *question, const char *consent, GError **error);

/* The dry run in words. */
void confirm_text(GString *out, const json_t *dry_run);
