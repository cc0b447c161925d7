/* verbs_archive_more.c: imagectl archive target ..., imagectl archive schedule ... */
#include "imaged/cli/verbs_archive.h"

#include <stdio.h>
#include <string.h>

#include "imaged/base/error.h"
#include "imaged/cli/confirm.h"
#include "imaged/cli/list.h"
#include "imaged/cli/user_file.h"

static const Column target_columns[] = {
    { "NAME", "name", CELL_TEXT, 0 },
    { "ID", "id", CELL_TEXT, COLUMN_CSV },
    { "KIND", "kind", CELL_TEXT, 0 },
    { "STATE", "state", CELL_STATE, 0 },
    { "REASON", "reason", CELL_TEXT, COLUMN_CSV },
    { "POINTS", "n_points", CELL_COUNT, 0 },
    { "DAMAGED", "n_damaged", CELL_COUNT, 0 },
    { "LAST POINT", "last_point_at", CELL_TIME, 0 },
    { "LOCATION", "location", CELL_TEXT, 0 },
    COLUMN_END,
};

static const Column schedule_columns[] = {
    { "NAME", "name", CELL_TEXT, 0 },
    { "ID", "id", CELL_TEXT, COLUMN_CSV },
    { "TARGET", "target", CELL_TEXT, 0 },
    { "OF", "selection", CELL_TEXT, 0 },
    { "TIMING", "timing", CELL_TEXT, 0 },
    { "NEXT RUN", "next_run", CELL_TIME, 0 },
    { "LAST RUN", "last_run", CELL_TIME, 0 },
    COLUMN_END,
};

static gboolean usage(Cli *cli, GError **error, const char *why)
{
    args_usage_error(cli->args, error, "%s", why);
    return FALSE;
}

/* The first line of a file. */
static char *first_line(const char *path, GError **error)
{
    char *text = user_file_read(path, error);

    if (text)
        text[strcspn(text, "\r\n")] = '\0';
    return text;
}

static gboolean target_add(Cli *cli, GError **error)
{
    const Args *args = cli->args;
    const char *kind = args_text(args, "kind"), *location = args_word(args, 2);
    g_autofree char *secret = NULL;
    gboolean is_dir = !kind || g_str_equal(kind, "dir");

    if (args->words->len != 3)
        return usage(cli, error, "write: archive target add NAME LOCATION");
    /* A relative path means the caller's folder; a repository on another host is no path. */
    g_autofree char *absolute = is_dir || !strchr(location, ':')
                                    ? g_canonicalize_filename(location, NULL)
                                    : g_strdup(location);
    json_auto_t *body = json_pack("{s:s,s:s}", "name", args_word(args, 1), "location", absolute);
    if (args_has(args, "passphrase-file") &&
        !(secret = first_line(args_text(args, "passphrase-file"), error)))
        return FALSE;
    json_set_text(body, "kind", kind);
    json_set_text(body, "encryption", args_text(args, "encryption"));
    json_set_text(body, "passphrase", secret);
    json_auto_t *target =
        client_request(cli->client, CLIENT_CHANGE, "POST", "/v1/archive/targets", body, error);
    if (!target)
        return FALSE;
    if (cli->format == FORMAT_TABLE)
        printf("added archive target %s\n", json_text(target, "name"));
    list_print_object(cli, target, target_columns);
    return TRUE;
}

static gboolean target_remove(Cli *cli, GError **error)
{
    const char *name = args_word(cli->args, 1);

    if (cli->args->words->len != 2)
        return usage(cli, error, "write: archive target remove NAME");
    g_autoptr(GString) path =
        client_path("/v1/archive/targets", "archive target", name, NULL, error);
    if (!path)
        return FALSE;
    g_autofree char *question =
        g_strdup_printf("forget archive target %s (its files stay):", name);
    ConfirmRequest request = { "DELETE", path->str, NULL, question, "object" };
    ConfirmAnswer answer = confirm(cli, &request, error);
    if (answer != CONFIRM_GO)
        return answer == CONFIRM_TOLD;
    json_auto_t *target =
        client_request(cli->client, CLIENT_CHANGE, "DELETE", path->str, NULL, error);
    if (!target)
        return FALSE;
    if (cli->format == FORMAT_TABLE)
        printf("removed archive target %s; its files are where they were\n", name);
    else
        list_print_object(cli, target, target_columns);
    return TRUE;
}

gboolean archive_target(Cli *cli, GError **error)
{
    const char *what = args_word(cli->args, 0);

    if (g_str_equal(what, "list") && cli->args->words->len == 1)
        return list_print(cli, "/v1/archive/targets", "name", 0, target_columns, error);
    if (g_str_equal(what, "add"))
        return target_add(cli, error);
    if (g_str_equal(what, "remove"))
        return target_remove(cli, error);
    return usage(cli, error, "write: archive target add, list or remove");
}

static gboolean schedule_add(Cli *cli, GError **error)
{
    if (cli->args->words->len < 3)
        return usage(cli, error, "write: archive schedule add NAME TIMING ...");
    json_auto_t *body = archive_selection(cli->args, 3, error);
    if (!body)
        return FALSE;
    json_set_text(body, "name", args_word(cli->args, 1));
    json_set_text(body, "timing", args_word(cli->args, 2));
    json_auto_t *schedule =
        client_request(cli->client, CLIENT_CHANGE, "POST", "/v1/archive/schedules", body, error);
    if (!schedule)
        return FALSE;
    if (cli->format == FORMAT_TABLE)
        printf("added schedule %s\n", json_text(schedule, "name"));
    list_print_object(cli, schedule, schedule_columns);
    return TRUE;
}

static gboolean schedule_remove(Cli *cli, GError **error)
{
    const char *name = args_word(cli->args, 1);

    if (cli->args->words->len != 2)
        return usage(cli, error, "write: archive schedule remove NAME");
    g_autoptr(GString) path = client_path("/v1/archive/schedules", "schedule", name, NULL, error);
    json_auto_t *schedule =
        path ? client_request(cli->client, CLIENT_CHANGE, "DELETE", path->str, NULL, error) : NULL;
    if (!schedule)
        return FALSE;
    if (cli->format == FORMAT_TABLE)
        printf("removed schedule %s\n", name);
    else
        list_print_object(cli, schedule, schedule_columns);
    return TRUE;
}

gboolean archive_schedule(Cli *cli, GError **error)
{
    const char *what = args_word(cli->args, 0);

    if (g_str_equal(what, "list") && cli->args->words->len == 1)
        return list_print(cli, "/v1/archive/schedules", "name", 0, schedule_columns, error);
    if (g_str_equal(what, "add"))
        return schedule_add(cli, error);
    if (g_str_equal(what, "remove"))
        return schedule_remove(cli, error);
    return usage(cli, error, "write: archive schedule add, list or remove");
}
