/* verbs_role.c: imagectl role ... and token ...: who may do what, and what stands for him. */
#include "imaged/cli/commands.h"

#include <stdio.h>

#include "imaged/base/error.h"
#include "imaged/base/units.h"
#include "imaged/cli/access.h"

static const Column role_columns[] = {
    { "NAME", "name", CELL_TEXT, 0 },
    { "OWN ONLY", "own", CELL_TRUTH, 0 },
    { "BUILT IN", "built_in", CELL_TRUTH, 0 },
    { "GRANTS", "n_grants", CELL_COUNT, 0 },
    { "DESCRIPTION", "description", CELL_TEXT, 0 },
    { "PERMISSIONS", "permissions", CELL_LIST, COLUMN_CSV },
    { "ID", "id", CELL_TEXT, COLUMN_CSV },
    COLUMN_END,
};

static const Column grant_columns[] = {
    { "GRANTED TO", "name", CELL_TEXT, 0 },
    { "KIND", "kind", CELL_TEXT, 0 },
    { "SCOPE", "scope", CELL_TEXT, 0 },
    { "OF", "scope_name", CELL_TEXT, 0 },
    COLUMN_END,
};

static const Column token_columns[] = {
    { "NAME", "name", CELL_TEXT, 0 },
    { "USER", "user", CELL_TEXT, 0 },
    { "LOG-IN", "login", CELL_TRUTH, 0 },
    { "SCOPE", "scope", CELL_TEXT, 0 },
    { "OF", "scope_name", CELL_TEXT, 0 },
    { "EXPIRES", "expires_at", CELL_TIME, 0 },
    { "USED", "used_at", CELL_TIME, 0 },
    { "ID", "id", CELL_TEXT, 0 },
    { "PERMISSIONS", "permissions", CELL_TEXT, COLUMN_CSV },
    { "MADE", "created_at", CELL_TIME, COLUMN_CSV },
    COLUMN_END,
};

/* ---- Roles ---- */

static gboolean role_list(Cli *cli, GError **error)
{
    return access_list(cli, "/v1/roles", "name", role_columns, error);
}

static gboolean role_show(Cli *cli, GError **error)
{
    g_autofree char *path = access_path("/v1/roles", args_word(cli->args, 0), NULL);
    json_auto_t *role = client_get(cli->client, path, error);

    if (!role)
        return FALSE;
    list_print_object(cli, role, role_columns);
    const json_t *grants = json_object_get(role, "grants");
    if (cli->format == FORMAT_TABLE && json_array_size(grants)) {
        putchar('\n');
        list_print_array(cli, grants, grant_columns);
    }
    return TRUE;
}

static gboolean role_create(Cli *cli, GError **error)
{
    json_auto_t *body = json_pack("{s:[],s:b}", "permissions", "own", args_has(cli->args, "own"));

    json_set_text(body, "name", args_word(cli->args, 0));
    for (guint i = 1; i < cli->args->words->len; i++)
        json_array_append_new(json_object_get(body, "permissions"),
                              json_string(args_word(cli->args, i)));
    return access_change(cli, "POST", "/v1/roles", body, "is a role now", role_columns, error);
}

static gboolean role_delete(Cli *cli, GError **error)
{
    const char *name = args_word(cli->args, 0);
    g_autofree char *path = access_path("/v1/roles", name, NULL);
    g_autofree char *question = g_strdup_printf("delete the role '%s' with all its grants?", name);

    return access_delete(cli, path, question, role_columns, error);
}

static gboolean change_grant(Cli *cli, const char *verb, const char *done, GError **error)
{
    g_autofree char *path = access_path("/v1/roles", args_word(cli->args, 0), verb);
    json_auto_t *body = json_object();

    json_set_text(body, args_has(cli->args, "group") ? "group" : "user", args_word(cli->args, 1));
    access_put_scope(cli, body);
    return access_change(cli, "POST", path, body, done, role_columns, error);
}

static gboolean role_grant(Cli *cli, GError **error)
{
    return change_grant(cli, "grant", "is granted", error);
}

static gboolean role_revoke(Cli *cli, GError **error)
{
    return change_grant(cli, "revoke", "is revoked", error);
}

/* ---- Tokens ---- */

static gboolean token_create(Cli *cli, GError **error)
{
    json_auto_t *body = json_object();
    json_t *permissions = args_list(cli->args, "permission");
    const char *expires = args_text(cli->args, "expires");
    gint64 ms;

    json_set_text(body, "name", args_word(cli->args, 0));
    json_set_text(body, "user", args_text(cli->args, "user"));
    access_put_scope(cli, body);
    if (permissions)
        json_object_set_new(body, "permissions", permissions);
    if (expires) {
        if (!units_parse_duration(expires, &ms, error))
            return FALSE;
        json_object_set_new(body, "expires_s", json_integer(ms / 1000));
    }
    json_auto_t *token =
        client_request(cli->client, CLIENT_CHANGE, "POST", "/v1/tokens", body, error);
    if (!token)
        return FALSE;
    if (cli->format == FORMAT_TABLE)
        printf("%s\n", json_text(token, "token")); /* alone, for > FILE */
    else
        list_print_object(cli, token, token_columns);
    return TRUE;
}

static gboolean token_list(Cli *cli, GError **error)
{
    return access_list(cli, "/v1/tokens", "id", token_columns, error);
}

static gboolean token_revoke(Cli *cli, GError **error)
{
    g_autofree char *path = access_path("/v1/tokens", args_word(cli->args, 0), NULL);

    return access_change(cli, "DELETE", path, NULL, "is revoked", token_columns, error);
}

static const Option list_options[] = { OPTION_SEARCH, OPTION_END };
static const Option yes_options[] = { OPTION_YES, OPTION_END };
static const Option create_options[] = {
    { "own", OPTION_FLAG, NULL, "only for what is the user's own", NULL },
    OPTION_END,
};
static const Option grant_options[] = {
    { "group", OPTION_FLAG, NULL, "WHO is a group", NULL },
    ACCESS_SCOPE_OPTIONS,
    OPTION_END,
};
static const Option token_options[] = {
    { "user", OPTION_TEXT, "USER", "whose it is (oneself)", "user" },
    { "permission", OPTION_LIST, "P", "good for this alone; may be repeated (all of the user's)",
      NULL },
    { "expires", OPTION_TEXT, "DURATION", "how long it is good for (90d)", NULL },
    ACCESS_SCOPE_OPTIONS,
    OPTION_END,
};

static const Command role_commands[] = {
    { "list", "", 0, 0, NULL, "List roles", NULL, "role list\n", list_options, role_list },
    { "show", "ROLE", 1, 1, "role", "Show a role's permissions and who has it", NULL,
      "role show helpdesk\n", NULL, role_show },
    { "create", "NAME PERMISSION...", 2, COMMAND_MANY, NULL, "Make a role",
      "Permissions are listed by: imagectl role show admin.  \"snapshot.*\" is all of a kind.",
      "role create night-shift desktop.see desktop.restart\n"
      "role create keep-snapshots 'snapshot.*' --own\n",
      create_options, role_create },
    { "delete", "ROLE", 1, 1, "role", "Delete a role and its grants", NULL,
      "role delete night-shift\n", yes_options, role_delete },
    { "grant", "ROLE WHO", 2, 2, "role", "Give a role to a user or a group",
      "Without a scope it holds for everything.",
      "role grant admin alice\n"
      "role grant helpdesk tutors --group --pool lab\nrole grant user-reset alice --template "
      "win11\n",
      grant_options, role_grant },
    { "revoke", "ROLE WHO", 2, 2, "role", "Take a role away",
      "In the same scope that it was granted in.",
      "role revoke helpdesk tutors --group --pool lab\n", grant_options, role_revoke },
    { NULL },
};

static const Command token_commands[] = {
    { "create", "NAME", 1, 1, NULL, "Make a token for the API and print it, this once",
      "Who has it is the user, with no more than the permissions and the scope given here.",
      "token create monitoring --user watch --permission status.see --expires 365d >token\n",
      token_options, token_create },
    { "list", "", 0, 0, NULL, "List tokens and log-ins", NULL, "token list\n", list_options,
      token_list },
    { "revoke", "ID", 1, 1, NULL, "Make a token worthless", NULL,
      "token revoke 0199a1b2c3d4e5f60718293a4b5c6d7e\n", NULL, token_revoke },
    { NULL },
};

const Noun noun_role = { "role", "what somebody may do", role_commands };
const Noun noun_token = { "token", "what stands for a user over the network", token_commands };
