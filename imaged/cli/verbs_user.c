/* verbs_user.c: imagectl user ... and group ...: who there is. */
#include "imaged/cli/commands.h"

#include <stdio.h>
#include <string.h>

#include "imaged/base/error.h"
#include "imaged/cli/access.h"
#include "imaged/cli/secret.h"
#include "imaged/cli/verbs_channels.h"

static const Column user_columns[] = {
    { "NAME", "name", CELL_TEXT, 0 },
    { "FULL NAME", "full_name", CELL_TEXT, 0 },
    { "DIRECTORY", "directory", CELL_TEXT, 0 },
    { "DISABLED", "disabled", CELL_TRUTH, 0 },
    { "DESKTOPS", "n_desktops", CELL_COUNT, 0 },
    { "GROUPS", "groups", CELL_LIST, 0 },
    { "ROLES", "roles", CELL_LIST, 0 },
    { "E-MAIL", "email", CELL_TEXT, COLUMN_CSV },
    { "PASSWORD", "has_password", CELL_SECRET, COLUMN_CSV },
    { "MAX DESKTOPS", "max_desktops", CELL_COUNT, COLUMN_CSV },
    { "MAX RUNNING", "max_running", CELL_COUNT, COLUMN_CSV },
    { "MAX DISK", "max_disk_bytes", CELL_SIZE, COLUMN_CSV },
    { "MAX SNAPSHOTS", "max_snapshots", CELL_COUNT, COLUMN_CSV },
    { "DESKTOPS USED", "used_desktops", CELL_COUNT, COLUMN_SHOW },
    { "RUNNING", "used_running", CELL_COUNT, COLUMN_SHOW },
    { "DISK USED", "used_disk_bytes", CELL_SIZE, COLUMN_SHOW },
    { "SNAPSHOTS", "used_snapshots", CELL_COUNT, COLUMN_SHOW },
    { "ADDED", "created_at", CELL_TIME, COLUMN_CSV },
    { "ID", "id", CELL_TEXT, COLUMN_CSV },
    COLUMN_END,
};

static const Column group_columns[] = {
    { "NAME", "name", CELL_TEXT, 0 },
    { "DIRECTORY", "directory", CELL_TEXT, 0 },
    { "MEMBERS", "n_members", CELL_COUNT, 0 },
    { "ROLES", "roles", CELL_LIST, 0 },
    { "WHO", "members", CELL_LIST, COLUMN_SHOW },
    { "MAX DESKTOPS", "max_desktops", CELL_COUNT, COLUMN_CSV },
    { "MAX RUNNING", "max_running", CELL_COUNT, COLUMN_CSV },
    { "MAX DISK", "max_disk_bytes", CELL_SIZE, COLUMN_CSV },
    { "MAX SNAPSHOTS", "max_snapshots", CELL_COUNT, COLUMN_CSV },
    { "DESKTOPS USED", "used_desktops", CELL_COUNT, COLUMN_SHOW },
    { "RUNNING", "used_running", CELL_COUNT, COLUMN_SHOW },
    { "DISK USED", "used_disk_bytes", CELL_SIZE, COLUMN_SHOW },
    { "SNAPSHOTS", "used_snapshots", CELL_COUNT, COLUMN_SHOW },
    { "ADDED", "created_at", CELL_TIME, COLUMN_CSV },
    { "ID", "id", CELL_TEXT, COLUMN_CSV },
    COLUMN_END,
};

/* ---- Users ---- */

static void put_texts(Cli *cli, json_t *body)
{
    json_set_text(body, "full_name", args_text(cli->args, "full-name"));
    json_set_text(body, "email", args_text(cli->args, "email"));
}

static gboolean user_add(Cli *cli, GError **error)
{
    json_auto_t *body = json_object();
    g_autofree char *password = NULL;

    json_set_text(body, "name", args_word(cli->args, 0));
    json_set_text(body, "directory", args_text(cli->args, "directory"));
    put_texts(cli, body);
    if (!access_put_quota(cli, body, error))
        return FALSE;
    if (args_has(cli->args, "password-file") || args_has(cli->args, "password")) {
        password = secret_read(cli, "password-file", "Password", TRUE, error);
        if (!password)
            return FALSE;
        json_set_text(body, "password", password);
    }
    return access_change(cli, "POST", "/v1/users", body, "is a user now", user_columns, error);
}

static gboolean user_list(Cli *cli, GError **error)
{
    return access_list(cli, "/v1/users", "name", user_columns, error);
}

static gboolean user_show(Cli *cli, GError **error)
{
    g_autofree char *path = access_path("/v1/users", args_word(cli->args, 0), NULL);

    return list_show(cli, path, user_columns, error);
}

static gboolean user_set(Cli *cli, GError **error)
{
    g_autofree char *path = access_path("/v1/users", args_word(cli->args, 0), "set");
    json_auto_t *body = json_object();
    const char *disabled = args_text(cli->args, "disabled");

    put_texts(cli, body);
    if (disabled)
        json_object_set_new(body, "disabled", json_boolean(g_str_equal(disabled, "yes")));
    if (!access_put_quota(cli, body, error))
        return FALSE;
    if (json_object_size(body) == 0) {
        args_usage_error(cli->args, error, "say what to set");
        return FALSE;
    }
    return access_change(cli, "POST", path, body, "is changed", user_columns, error);
}

static gboolean user_delete(Cli *cli, GError **error)
{
    const char *name = args_word(cli->args, 0);
    g_autofree char *path = access_path("/v1/users", name, NULL);
    g_autofree char *question =
        g_strdup_printf("delete the user '%s' with his roles and tokens?", name);

    return access_delete(cli, path, question, user_columns, error);
}

static gboolean user_passwd(Cli *cli, GError **error)
{
    g_autofree char *path = access_path("/v1/users", args_word(cli->args, 0), "passwd");
    json_auto_t *body = json_object();
    g_autofree char *old = NULL;
    g_autofree char *password = NULL;

    if (args_has(cli->args, "old-password-file") || args_has(cli->args, "own")) {
        old = secret_read(cli, "old-password-file", "Old password", FALSE, error);
        if (!old)
            return FALSE;
        json_set_text(body, "old_password", old);
    }
    if (!args_has(cli->args, "none")) {
        password = secret_read(cli, "password-file", "New password", TRUE, error);
        if (!password)
            return FALSE;
        json_set_text(body, "password", password);
    }
    return access_change(cli, "POST", path, body,
                         password ? "has a new password" : "has no password any more", user_columns,
                         error);
}

/* ---- Groups ---- */

static gboolean group_add(Cli *cli, GError **error)
{
    json_auto_t *body = json_object();

    json_set_text(body, "name", args_word(cli->args, 0));
    json_set_text(body, "directory", args_text(cli->args, "directory"));
    return access_put_quota(cli, body, error) &&
           access_change(cli, "POST", "/v1/groups", body, "is a group now", group_columns, error);
}

static gboolean group_list(Cli *cli, GError **error)
{
    return access_list(cli, "/v1/groups", "name", group_columns, error);
}

static gboolean group_show(Cli *cli, GError **error)
{
    g_autofree char *path = access_path("/v1/groups", args_word(cli->args, 0), NULL);

    return list_show(cli, path, group_columns, error);
}

static gboolean group_set(Cli *cli, GError **error)
{
    g_autofree char *path = access_path("/v1/groups", args_word(cli->args, 0), "set");
    json_auto_t *body = json_object();

    return access_put_quota(cli, body, error) &&
           access_change(cli, "POST", path, body, "is changed", group_columns, error);
}

static gboolean group_delete(Cli *cli, GError **error)
{
    const char *name = args_word(cli->args, 0);
    g_autofree char *path = access_path("/v1/groups", name, NULL);
    g_autofree char *question =
        g_strdup_printf("delete the group '%s'?  Its members stay, without its roles", name);

    return access_delete(cli, path, question, group_columns, error);
}

static gboolean set_members(Cli *cli, const char *verb, const char *done, GError **error)
{
    g_autofree char *path = access_path("/v1/groups", args_word(cli->args, 0), verb);
    json_auto_t *body = json_pack("{s:[]}", "users");

    for (guint i = 1; i < cli->args->words->len; i++)
        json_array_append_new(json_object_get(body, "users"), json_string(args_word(cli->args, i)));
    return access_change(cli, "POST", path, body, done, group_columns, error);
}

static gboolean group_add_member(Cli *cli, GError **error)
{
    return set_members(cli, "members/add", "has them in it", error);
}

static gboolean group_remove_member(Cli *cli, GError **error)
{
    return set_members(cli, "members/remove", "has them no more", error);
}

#define QUOTA_OPTIONS                                                                              \
    { "max-desktops", OPTION_TEXT, "N|none", "at most so many desktops", NULL },                   \
        { "max-running", OPTION_TEXT, "N|none", "... running at a time", NULL },                   \
        { "max-disk", OPTION_TEXT, "SIZE|none", "... bytes on disk", NULL },                       \
    {                                                                                              \
        "max-snapshots", OPTION_TEXT, "N|none", "... snapshots", NULL                              \
    }
#define TEXT_OPTIONS                                                                               \
    { "full-name", OPTION_TEXT, "TEXT", "his name in life", NULL },                                \
    {                                                                                              \
        "email", OPTION_TEXT, "ADDRESS", "his e-mail address", NULL                                \
    }

#define DIRECTORY_OPTION                                                                           \
    {                                                                                              \
        "directory", OPTION_TEXT, "D", "it is that directory's, known there by NAME", "directory"  \
    }

static const Option user_add_options[] = {
    TEXT_OPTIONS,
    DIRECTORY_OPTION,
    { "password", OPTION_FLAG, NULL, "ask for a password, or read it from standard input", NULL },
    { "password-file", OPTION_TEXT, "FILE", "its first line is the password", "file" },
    QUOTA_OPTIONS,
    OPTION_END,
};
static const Option user_set_options[] = {
    TEXT_OPTIONS,
    { "disabled", OPTION_CHOICE, "yes|no", "whether he is kept out", NULL },
    QUOTA_OPTIONS,
    OPTION_END,
};
static const Option passwd_options[] = {
    { "own", OPTION_FLAG, NULL, "it is one's own: ask for the old one first", NULL },
    { "old-password-file", OPTION_TEXT, "FILE", "its first line is the old password", "file" },
    { "password-file", OPTION_TEXT, "FILE", "its first line is the new password", "file" },
    { "none", OPTION_FLAG, NULL, "no password any more", NULL },
    OPTION_END,
};
static const Option list_options[] = { OPTION_SEARCH, OPTION_END };
static const Option yes_options[] = { OPTION_YES, OPTION_END };
static const Option quota_options[] = { QUOTA_OPTIONS, OPTION_END };
static const Option group_add_options[] = { DIRECTORY_OPTION, QUOTA_OPTIONS, OPTION_END };

static const Command user_commands[] = {
    { "add", "NAME", 1, 1, NULL, "Add a user",
      "A directory's user may be added before his first log-in, to give him something.\n"
      "Without a password he comes by the unix socket (as the machine's user of that name) or with "
      "a\n"
      "token.  Users of a directory need not be added: see imagectl directory.",
      "user add alice --full-name 'Alice Ames' --password\nuser add bob --max-desktops 2\n"
      "user add carol --directory corp\n",
      user_add_options, user_add },
    { "list", "", 0, 0, NULL, "List users", NULL, "user list --search disabled\n", list_options,
      user_list },
    { "show", "USER", 1, 1, "user", "Show a user", NULL, "user show alice\n", NULL, user_show },
    { "set", "USER", 1, 1, "user", "Change a user",
      "Quotas: what is his by assignment or from a pool counts.  A running log-in of a user who "
      "is\n"
      "disabled ends at once.",
      "user set alice --max-desktops 3 --max-disk 200G\nuser set bob --disabled yes\n",
      user_set_options, user_set },
    { "delete", "USER", 1, 1, "user", "Delete a user", "Refused while he has desktops.",
      "user delete alice\n", yes_options, user_delete },
    { "passwd", "USER", 1, 1, "user", "Set a local user's password",
      "His log-ins are over; tokens stay.", "user passwd alice\nuser passwd alice --own\n",
      passwd_options, user_passwd },
    { NULL },
};

static const Command group_commands[] = {
    { "add", "NAME", 1, 1, NULL, "Add a group",
      "Who is in a directory's group is said there; it can be given roles and pools here.",
      "group add students --max-running 40\ngroup add Staff --directory corp\n", group_add_options,
      group_add },
    { "list", "", 0, 0, NULL, "List groups", NULL, "group list\n", list_options, group_list },
    { "show", "GROUP", 1, 1, "group", "Show a group and its members", NULL, "group show students\n",
      NULL, group_show },
    { "set", "GROUP", 1, 1, "group", "Set what its members together may have", NULL,
      "group set students --max-disk 2T\n", quota_options, group_set },
    { "channels", "GROUP", 1, 1, "group",
      "Show or set what its members may do through their clients",
      "Of desktop, pool and groups the strictest counts; it holds from a desktop's next start on.",
      "group channels guests --clipboard off --usb none\n", channels_options, group_channels },
    { "delete", "GROUP", 1, 1, "group", "Delete a group", NULL, "group delete students\n",
      yes_options, group_delete },
    { "add-member", "GROUP USER...", 2, COMMAND_MANY, "user", "Put users into a group", NULL,
      "group add-member students alice bob\n", NULL, group_add_member },
    { "remove-member", "GROUP USER...", 2, COMMAND_MANY, "user", "Take users out of a group", NULL,
      "group remove-member students bob\n", NULL, group_remove_member },
    { NULL },
};

const Noun noun_user = { "user", "somebody who uses desktops, or keeps them", user_commands };
const Noun noun_group = { "group", "users who may the same", group_commands };
