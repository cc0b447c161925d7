/* verbs_alert.c: imagectl alert ...: who is told of events, by webhook or by mail. */
#include "imaged/cli/commands.h"

#include <stdio.h>

#include "imaged/base/error.h"
#include "imaged/cli/cli.h"
#include "imaged/cli/list.h"
#include "imaged/cli/user_file.h"

static const Column alert_columns[] = {
    { "NAME", "name", CELL_TEXT, 0 },
    { "STATE", "state", CELL_STATE, 0 },
    { "WAITING", "backlog", CELL_COUNT, 0 },
    { "SEVERITY", "severity", CELL_TEXT, 0 },
    { "KINDS", "kinds", CELL_TEXT, 0 },
    { "HOW", "kind", CELL_TEXT, 0 },
    { "TO", "target", CELL_TEXT, 0 },
    { "LAST SENT", "last_sent_at", CELL_TIME, 0 },
    { "LAST ERROR", "last_error", CELL_TEXT, 0 },
    { "NEXT TRY", "next_try_at", CELL_TIME, COLUMN_CSV },
    { "SENT", "n_sent", CELL_COUNT, COLUMN_CSV },
    { "SIGNED", "signed", CELL_TRUTH, COLUMN_CSV },
    { "ON", "enabled", CELL_TRUTH, COLUMN_CSV },
    { "ADDED", "created_at", CELL_TIME, COLUMN_CSV },
    { "ID", "id", CELL_TEXT, COLUMN_CSV },
    COLUMN_END,
};

/* A file of one line, as an editor leaves it, is that line. */
static gboolean put_secret(Cli *cli, json_t *body, GError **error)
{
    const char *path = args_text(cli->args, "secret-file");
    g_autofree char *secret = path ? user_file_read(path, error) : NULL;

    if (!path)
        return TRUE;
    if (!secret)
        return FALSE;
    json_object_set_new(body, "secret", json_string(g_strchomp(secret)));
    return TRUE;
}

static json_t *body_of(Cli *cli, GError **error)
{
    json_t *body = json_object();

    json_set_text(body, "webhook", args_text(cli->args, "webhook"));
    json_set_text(body, "mail", args_text(cli->args, "mail"));
    json_set_text(body, "severity", args_text(cli->args, "severity"));
    json_set_text(body, "kinds", args_text(cli->args, "kind"));
    if (!put_secret(cli, body, error))
        g_clear_pointer(&body, json_decref);
    return body;
}

/* "%s" of text is the alert's name. */
static gboolean print_alert(Cli *cli, json_t *alert, const char *before, const char *behind)
{
    if (!alert)
        return FALSE;
    if (cli->format == FORMAT_TABLE)
        printf("%s%s%s\n", before, json_text(alert, "name"), behind);
    else
        list_print_object(cli, alert, alert_columns);
    return TRUE;
}

static gboolean alert_add(Cli *cli, GError **error)
{
    json_auto_t *body = body_of(cli, error);

    if (!body)
        return FALSE;
    if (args_has(cli->args, "webhook") == args_has(cli->args, "mail")) {
        args_usage_error(cli->args, error, "give --webhook URL or --mail ADDRESS");
        return FALSE;
    }
    json_set_text(body, "name", args_word(cli->args, 0));
    json_auto_t *alert =
        client_request(cli->client, CLIENT_CHANGE, "POST", "/v1/alerts", body, error);
    return print_alert(cli, alert, "added the alert ", "; try it with: imagectl alert test NAME");
}

static gboolean alert_list(Cli *cli, GError **error)
{
    g_autoptr(GString) path = g_string_new("/v1/alerts");

    client_query(path, "search", args_text(cli->args, "search"));
    return list_print(cli, path->str, "name", 0, alert_columns, error);
}

static GString *path_of(Cli *cli, const char *verb, GError **error)
{
    return client_path("/v1/alerts", "alert", args_word(cli->args, 0), verb, error);
}

static gboolean alert_show(Cli *cli, GError **error)
{
    g_autoptr(GString) path = path_of(cli, NULL, error);

    return path && list_show(cli, path->str, alert_columns, error);
}

static gboolean put_switches(Cli *cli, json_t *body, GError **error)
{
    if ((args_has(cli->args, "on") && args_has(cli->args, "off")) ||
        (args_has(cli->args, "kind") && args_has(cli->args, "all-kinds")) ||
        (args_has(cli->args, "secret-file") && args_has(cli->args, "no-secret"))) {
        args_usage_error(cli->args, error, "these options contradict each other");
        return FALSE;
    }
    if (args_has(cli->args, "on") || args_has(cli->args, "off"))
        json_object_set_new(body, "enabled", json_boolean(args_has(cli->args, "on")));
    if (args_has(cli->args, "skip"))
        json_object_set_new(body, "skip", json_true());
    if (args_has(cli->args, "all-kinds"))
        json_set_text(body, "kinds", "");
    if (args_has(cli->args, "no-secret"))
        json_set_text(body, "secret", "");
    return TRUE;
}

static gboolean alert_set(Cli *cli, GError **error)
{
    g_autoptr(GString) path = path_of(cli, "set", error);
    json_auto_t *body = path ? body_of(cli, error) : NULL;

    if (!body || !put_switches(cli, body, error))
        return FALSE;
    json_auto_t *alert =
        client_request(cli->client, CLIENT_CHANGE, "POST", path->str, body, error);
    return print_alert(cli, alert, "changed the alert ", "");
}

static gboolean alert_test(Cli *cli, GError **error)
{
    g_autoptr(GString) path = path_of(cli, "test", error);
    json_auto_t *alert =
        path ? client_request(cli->client, CLIENT_CHANGE, "POST", path->str, NULL, error) : NULL;

    return print_alert(cli, alert, "", ": its receiver took a test");
}

static gboolean alert_remove(Cli *cli, GError **error)
{
    g_autoptr(GString) path = path_of(cli, NULL, error);
    json_auto_t *alert =
        path ? client_request(cli->client, CLIENT_CHANGE, "DELETE", path->str, NULL, error) : NULL;

    return print_alert(cli, alert, "removed the alert ", "");
}

#define OPTIONS_WHAT                                                                               \
    { "webhook", OPTION_TEXT, "URL", "events are posted there as JSON", NULL },                    \
        { "mail", OPTION_TEXT, "ADDRESS", "events are mailed there", NULL },                       \
        { "secret-file", OPTION_TEXT, "FILE", "sign what is posted with what is in it", "file" },  \
        { "severity", OPTION_CHOICE, "info|warning|alarm", "these, and what is worse (warning)",   \
          NULL },                                                                                  \
        { "kind", OPTION_TEXT, "KINDS", "only of these kinds: 'host.down,store.*'", NULL }

static const Option add_options[] = { OPTIONS_WHAT, OPTION_END };
static const Option set_options[] = {
    OPTIONS_WHAT,
    { "all-kinds", OPTION_FLAG, NULL, "of all kinds", NULL },
    { "no-secret", OPTION_FLAG, NULL, "do not sign any more", NULL },
    { "on", OPTION_FLAG, NULL, "tell again, of what happened meanwhile too", NULL },
    { "off", OPTION_FLAG, NULL, "tell of nothing", NULL },
    { "skip", OPTION_FLAG, NULL, "do not tell of what waits", NULL },
    OPTION_END,
};
static const Option list_options[] = { OPTION_SEARCH, OPTION_END };

static const Command commands[] = {
    { "add", "NAME", 1, 1, NULL, "Tell somebody of events, from now on",
      "Events come in order and at least once: a receiver that was away gets what it missed, many\n"
      "at a time.  A webhook gets JSON; with a secret, the header Imaged-Signature has\n"
      "sha256= and the HMAC of the body.",
      "alert add oncall --webhook https://chat.example.org/hook --secret-file key\n"
      "alert add admin --mail admin@example.org --severity alarm --kind 'store.*,host.down'\n",
      add_options, alert_add },
    { "list", "", 0, 0, NULL, "List alerts, and how their receivers are", NULL, "alert list\n",
      list_options, alert_list },
    { "show", "ALERT", 1, 1, "alert", "Show an alert", NULL, "alert show oncall\n", NULL,
      alert_show },
    { "set", "ALERT", 1, 1, "alert", "Change an alert", NULL,
      "alert set oncall --severity alarm\nalert set oncall --on --skip\n", set_options, alert_set },
    { "test", "ALERT", 1, 1, "alert", "Tell its receiver of a test, now", NULL,
      "alert test oncall\n", NULL, alert_test },
    { "remove", "ALERT", 1, 1, "alert", "Tell it of nothing any more, and forget it", NULL,
      "alert remove oncall\n", NULL, alert_remove },
    { NULL },
};

const Noun noun_alert = { "alert", "somebody who is told of events", commands };
