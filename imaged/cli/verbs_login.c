/* verbs_login.c: imagectl login, logout, whoami. */
#include "imaged/cli/commands.h"

#include <glib/gstdio.h>
#include <stdio.h>

#include "imaged/base/error.h"
#include "imaged/cli/access.h"
#include "imaged/cli/secret.h"

static const Column whoami_columns[] = {
    { "NAME", "name", CELL_TEXT, 0 },      { "FROM", "address", CELL_TEXT, 0 },
    { "ADMIN", "admin", CELL_TRUTH, 0 },   { "PERMISSIONS", "permissions", CELL_LIST, 0 },
    { "ID", "id", CELL_TEXT, COLUMN_CSV }, COLUMN_END,
};

static const Column login_columns[] = {
    { "USER", "user", CELL_TEXT, 0 },
    { "EXPIRES", "expires_at", CELL_TIME, 0 },
    { "TOKEN", "token", CELL_TEXT, 0 },
    COLUMN_END,
};

static gboolean login(Cli *cli, GError **error)
{
    const char *url = client_url(cli->client);
    g_autofree char *password = NULL;

    if (!url) {
        args_usage_error(cli->args, error, "a log-in is for a daemon elsewhere: give --url");
        return FALSE;
    }
    if (!(password = secret_read(cli, "password-file", "Password", FALSE, error)))
        return FALSE;
    json_auto_t *body =
        json_pack("{s:s,s:s}", "name", args_word(cli->args, 0), "password", password);
    client_set_token(cli->client, NULL);
    json_auto_t *token = client_request(cli->client, CLIENT_READ, "POST", "/v1/login", body, error);
    if (!token)
        return FALSE;
    if (!secret_token_save(url, json_text(token, "token"), error))
        return FALSE;
    if (cli->format == FORMAT_TABLE)
        printf("logged in at %s as %s; to end it: imagectl logout --url %s\n", url,
               json_text(token, "user"), url);
    else
        list_print_object(cli, token, login_columns);
    return TRUE;
}

static gboolean logout(Cli *cli, GError **error)
{
    const char *url = client_url(cli->client), *token = client_token(cli->client);
    g_autofree char *path = url ? secret_token_path(url) : NULL;

    if (!url || !token) {
        args_usage_error(cli->args, error, "nobody has logged in there");
        return FALSE;
    }
    json_auto_t *body = json_pack("{s:s}", "token", token);
    json_auto_t *done = client_request(cli->client, CLIENT_READ, "POST", "/v1/logout", body, error);
    if (done || g_error_matches(*error, IMAGED_ERROR, IMAGED_ERROR_DENIED))
        g_unlink(path);
    if (done)
        printf("logged out at %s\n", url);
    return done != NULL;
}

static gboolean whoami(Cli *cli, GError **error)
{
    return list_show(cli, "/v1/whoami", whoami_columns, error);
}

static const Option login_options[] = {
    { "password-file", OPTION_TEXT, "FILE", "its first line is the password", "file" },
    OPTION_END,
};

static const Command login_commands[] = {
    { NULL, "USER", 1, 1, NULL, "Log in at a daemon elsewhere",
      "The password is asked for, or read from standard input.  The token that it gives is kept\n"
      "for 12 hours in imaged/tokens of the user's configuration; calls with the same --url use "
      "it.",
      "login alice --url https://vdi.example.org:8443\n", login_options, login },
    { NULL },
};
static const Command logout_commands[] = {
    { NULL, "", 0, 0, NULL, "End a log-in", NULL, "logout --url https://vdi.example.org:8443\n",
      NULL, logout },
    { NULL },
};
static const Command whoami_commands[] = {
    { NULL, "", 0, 0, NULL, "Show who one is for the daemon, and what one may do", NULL, "whoami\n",
      NULL, whoami },
    { NULL },
};

const Noun noun_login = { "login", "log in at a daemon elsewhere", login_commands };
const Noun noun_logout = { "logout", "end a log-in", logout_commands };
const Noun noun_whoami = { "whoami", "who one is for the daemon", whoami_commands };
