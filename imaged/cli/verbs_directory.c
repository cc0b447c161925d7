/* verbs_directory.c: imagectl directory ...: where users and groups come from. */
#include "imaged/cli/commands.h"

#include <stdio.h>

#include "imaged/base/error.h"
#include "imaged/cli/access.h"
#include "imaged/cli/confirm.h"
#include "imaged/cli/secret.h"
#include "imaged/cli/user_file.h"

static const Column directory_columns[] = {
    { "NAME", "name", CELL_TEXT, 0 },
    { "KIND", "kind", CELL_TEXT, 0 },
    { "SERVERS", "servers", CELL_LIST, 0 },
    { "BASE", "base", CELL_TEXT, 0 },
    { "USERS", "n_users", CELL_COUNT, 0 },
    { "GROUPS", "n_groups", CELL_COUNT, 0 },
    { "ACCOUNT", "bind_dn", CELL_TEXT, COLUMN_CSV },
    { "PASSWORD", "has_password", CELL_SECRET, COLUMN_CSV },
    { "USER FILTER", "user_filter", CELL_TEXT, COLUMN_CSV },
    { "GROUP FILTER", "group_filter", CELL_TEXT, COLUMN_CSV },
    { "LOG-IN NAME", "user_attribute", CELL_TEXT, COLUMN_CSV },
    { "ADDED", "created_at", CELL_TIME, COLUMN_CSV },
    { "ID", "id", CELL_TEXT, COLUMN_CSV },
    COLUMN_END,
};

static const Column test_columns[] = {
    { "NAME", "name", CELL_TEXT, 0 },
    { "SERVER", "server", CELL_TEXT, 0 },
    { "USERS", "n_users", CELL_COUNT, 0 },
    { "USER", "user.name", CELL_TEXT, 0 },
    { "FULL NAME", "user.full_name", CELL_TEXT, 0 },
    { "E-MAIL", "user.email", CELL_TEXT, 0 },
    { "ENTRY", "user.dn", CELL_TEXT, 0 },
    { "DISABLED", "user.disabled", CELL_TRUTH, 0 },
    { "IN GROUPS", "user.n_groups", CELL_COUNT, 0 },
    { "OF OURS", "user.groups", CELL_LIST, 0 },
    COLUMN_END,
};

/* What the options say.  NULL: a file cannot be read. */
static json_t *settings_of(Cli *cli, GError **error)
{
    const char *ca = args_text(cli->args, "authorities");
    const char *password = args_text(cli->args, "bind-password-file");
    json_auto_t *body = json_object();
    json_t *servers = args_list(cli->args, "server");
    g_autofree char *pem = NULL;
    g_autofree char *secret = NULL;

    json_set_text(body, "base", args_text(cli->args, "base"));
    json_set_text(body, "bind_dn", args_text(cli->args, "bind-dn"));
    json_set_text(body, "user_filter", args_text(cli->args, "user-filter"));
    json_set_text(body, "group_filter", args_text(cli->args, "group-filter"));
    json_set_text(body, "user_attribute", args_text(cli->args, "user-attribute"));
    if (servers)
        json_object_set_new(body, "servers", servers);
    if ((ca && !(pem = user_file_read(ca, error))) ||
        (password && !(secret = secret_read_file(password, error))))
        return NULL;
    json_set_text(body, "ca_pem", pem);
    json_set_text(body, "bind_password", secret);
    return g_steal_pointer(&body);
}

static gboolean directory_add(Cli *cli, GError **error)
{
    json_auto_t *body = settings_of(cli, error);

    if (!body)
        return FALSE;
    json_set_text(body, "name", args_word(cli->args, 0));
    json_set_text(body, "kind", args_text(cli->args, "kind"));
    return access_change(cli, "POST", "/v1/directories", body,
                         "is added; see if it answers: imagectl directory test", directory_columns,
                         error);
}

static gboolean directory_set(Cli *cli, GError **error)
{
    g_autofree char *path = access_path("/v1/directories", args_word(cli->args, 0), "set");
    json_auto_t *body = settings_of(cli, error);

    return body && access_change(cli, "POST", path, body, "is changed", directory_columns, error);
}

static gboolean directory_list(Cli *cli, GError **error)
{
    return list_print(cli, "/v1/directories", "name", 0, directory_columns, error);
}

static gboolean directory_test(Cli *cli, GError **error)
{
    g_autofree char *path = access_path("/v1/directories", args_word(cli->args, 0), "test");
    json_auto_t *body = json_object();

    json_set_text(body, "user", args_text(cli->args, "user"));
    json_auto_t *said = client_request(cli->client, CLIENT_READ, "POST", path, body, error);
    if (said)
        list_print_object(cli, said, test_columns);
    return said != NULL;
}

static gboolean directory_refresh(Cli *cli, GError **error)
{
    g_autofree char *path = access_path("/v1/directories", args_word(cli->args, 0), "refresh");

    return access_change(cli, "POST", path, NULL, "is looked at", directory_columns, error);
}

static gboolean directory_remove(Cli *cli, GError **error)
{
    const char *name = args_word(cli->args, 0);
    g_autofree char *path = access_path("/v1/directories", name, NULL);
    g_autofree char *question =
        g_strdup_printf("forget the directory '%s' with its users and groups, their roles and"
                        " tokens?",
                        name);

    return confirm_question(cli, question, "yes", error) &&
           access_change(cli, "DELETE", path, NULL, "is forgotten", directory_columns, error);
}

#define SETTING_OPTIONS                                                                            \
    { "server", OPTION_LIST, "URI",                                                                \
      "ldaps://HOST or ldap://HOST (StartTLS); repeated, in turn", NULL },                         \
        { "authorities", OPTION_TEXT, "FILE", "who vouches for its servers (the system's)",        \
          "file" },                                                                                \
        { "base", OPTION_TEXT, "DN", "below which its users and groups are", NULL },               \
        { "bind-dn", OPTION_TEXT, "DN", "the account that looks for them (none)", NULL },          \
        { "bind-password-file", OPTION_TEXT, "FILE", "its first line is that one's password",      \
          "file" },                                                                                \
        { "user-filter", OPTION_TEXT, "FILTER", "which entries are users", NULL },                 \
        { "group-filter", OPTION_TEXT, "FILTER", "which are groups", NULL },                       \
    {                                                                                              \
        "user-attribute", OPTION_TEXT, "NAME", "with the log-in name (uid; AD: sAMAccountName)",   \
            NULL                                                                                   \
    }

static const Option add_options[] = {
    { "kind", OPTION_CHOICE, "ad|ldap", "an Active Directory, or another LDAP server", NULL },
    SETTING_OPTIONS,
    OPTION_END,
};
static const Option set_options[] = { SETTING_OPTIONS, OPTION_END };
static const Option test_options[] = {
    { "user", OPTION_TEXT, "NAME", "look for this one too, and for his groups", NULL },
    OPTION_END,
};
static const Option yes_options[] = { OPTION_YES, OPTION_END };

static const Command commands[] = {
    { "add", "NAME", 1, 1, NULL, "Add a directory",
      "Its users log in with their own names and passwords.  A server proves who it is by a\n"
      "certificate of the system's authorities, or of those in --authorities.  Groups that roles\n"
      "or pools are given to are added by: imagectl group add NAME --directory D.",
      "directory add corp --kind ad --server ldaps://dc1.corp.example --server "
      "ldaps://dc2.corp.example\n"
      "    --base DC=corp,DC=example --bind-dn imaged@corp.example --bind-password-file secret\n",
      add_options, directory_add },
    { "set", "NAME", 1, 1, "directory", "Change what is known of a directory",
      "What is not said stays, and so do its users and groups.",
      "directory set corp --bind-password-file secret\n", set_options, directory_set },
    { "list", "", 0, 0, NULL, "List directories", NULL, "directory list\n", NULL, directory_list },
    { "test", "NAME", 1, 1, "directory", "Ask a directory, and show what it says", NULL,
      "directory test corp --user alice\n", test_options, directory_test },
    { "refresh", "NAME", 1, 1, "directory", "Look at all its users and groups now",
      "imaged does it every 15 minutes (directory_interval), and of a user when he logs in.",
      "directory refresh corp\n", NULL, directory_refresh },
    { "remove", "NAME", 1, 1, "directory", "Forget a directory, its users and groups",
      "Refused while its users have desktops.", "directory remove corp\n", yes_options,
      directory_remove },
    { NULL },
};

const Noun noun_directory = { "directory", "where users and groups come from", commands };
