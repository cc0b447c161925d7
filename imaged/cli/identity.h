/* identity.h: the options by which a desktop or a template version is told what its machines are.
 */
#pragma once

#include <glib.h>
#include <jansson.h>

#include "imaged/cli/args.h"
#include "imaged/cli/cli.h"
#include "imaged/cli/output.h"

/* For both; a desktop has --hostname besides. */
#define IDENTITY_OPTIONS                                                                           \
    { "user", OPTION_TEXT, "USER", "whom the guest has as its user", NULL },                       \
        { "auto-login", OPTION_TEXT, "USER", "the same, and logged in by itself", NULL },          \
        { "user-password-file", OPTION_TEXT, "FILE", "the user's password: its first line",        \
          "file" },                                                                                \
        { "domain-user", OPTION_FLAG, NULL, "the user is the domain's: none is made", NULL },      \
        { "domain", OPTION_TEXT, "DOMAIN", "the DNS domain, which is joined with a password",      \
          NULL },                                                                                  \
        { "ou", OPTION_TEXT, "OU", "where in the directory, like OU=Lab,DC=example,DC=org",        \
          NULL },                                                                                  \
        { "join-user", OPTION_TEXT, "USER", "who may join (Administrator)", NULL },                \
        { "join-password-file", OPTION_TEXT, "FILE", "that user's password: its first line",       \
          "file" },                                                                                \
        { "one-time-password-file", OPTION_TEXT, "FILE",                                           \
          "instead: the password of the computer's account", "file" },                             \
        { "account", OPTION_CHOICE, "keep|renew",                                                  \
          "the computer's account at a re-image: used again, or made anew (keep)", NULL },         \
    {                                                                                              \
        "unset", OPTION_TEXT, "KEYS", "take these away: user,ou,join_password...", NULL            \
    }

/* What is told, where one object is shown. */
#define IDENTITY_COLUMNS                                                                           \
    { "USER", "identity.user", CELL_TEXT, COLUMN_SHOW },                                           \
        { "USER PASSWORD", "identity.user_password", CELL_SECRET, COLUMN_SHOW },                   \
        { "AUTO-LOGIN", "identity.auto_login", CELL_TRUTH, COLUMN_SHOW },                          \
        { "DOMAIN USER", "identity.domain_user", CELL_TRUTH, COLUMN_SHOW },                        \
        { "DOMAIN", "identity.domain", CELL_TEXT, COLUMN_SHOW },                                   \
        { "OU", "identity.ou", CELL_TEXT, COLUMN_SHOW },                                           \
        { "JOIN USER", "identity.join_user", CELL_TEXT, COLUMN_SHOW },                             \
        { "JOIN PASSWORD", "identity.join_password", CELL_SECRET, COLUMN_SHOW },                   \
        { "ONE-TIME PASSWORD", "identity.one_time_password", CELL_SECRET, COLUMN_SHOW },           \
    {                                                                                              \
        "ACCOUNT", "identity.account", CELL_TEXT, COLUMN_SHOW                                      \
    }

/* The body's "identity" and "hardware".  FALSE with an error: a file that cannot be read, nothing
 * to set. */
gboolean identity_put_settings(const Args *args, json_t *body, GError **error);

/* Tell the warnings of what was set, to standard error: objects with "name" and "warnings".  One
 * that is told of many is printed once. */
void identity_print_warnings(Cli *cli, const json_t *objects);
