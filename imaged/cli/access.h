/* access.h: what the verbs on users, groups, roles and tokens share. */
#pragma once

#include "imaged/cli/cli.h"
#include "imaged/cli/list.h"

/* "PREFIX/NAME" or "PREFIX/NAME/SUFFIX": names of users have more letters than those of desktops.
 * Caller frees. */
char *access_path(const char *prefix, const char *name, const char *suffix);

/* --max-desktops, --max-running, --max-disk, --max-snapshots. */
gboolean access_put_quota(Cli *cli, json_t *body, GError **error);

/* --template, --pool, --desktop. */
void access_put_scope(Cli *cli, json_t *body);

/* Ask for a change; tell "NAME DONE", or print the object. */
gboolean access_change(Cli *cli, const char *method, const char *path, const json_t *body,
                       const char *done, const Column *columns, GError **error);

/* The same for what deletes it: it is looked for, then the question is asked. */
gboolean access_delete(Cli *cli, const char *path, const char *question, const Column *columns,
                       GError **error);

/* The list at path, with --search. */
gboolean access_list(Cli *cli, const char *path, const char *key, const Column *columns,
                     GError **error);

#define ACCESS_SCOPE_OPTIONS                                                                       \
    { "template", OPTION_TEXT, "T", "only there: this template and its desktops", "template" },    \
        { "pool", OPTION_TEXT, "P", "... this pool and its desktops", "pool" },                    \
    {                                                                                              \
        "desktop", OPTION_TEXT, "D", "... this desktop", "desktop"                                 \
    }
