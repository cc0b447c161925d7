/* verbs_desktop_run.c: imagectl desktop start, stop, restart, pause, resume, migrate. */
#include "imaged/cli/verbs_desktop.h"

#include <stdio.h>

#include "imaged/base/error.h"
#include "imaged/cli/list.h"
#include "imaged/cli/select.h"

static const Column desktop_screenshot_columns[] = {
    { "NAME", "name", CELL_TEXT, 0 },
    { "ID", "id", CELL_TEXT, COLUMN_CSV },
    { "TYPE", "type", CELL_TEXT, 0 },
    { "WIDTH", "width", CELL_COUNT, 0 },
    { "HEIGHT", "height", CELL_COUNT, 0 },
    COLUMN_END,
};

const Option desktop_run_options[] = {
    SELECT_TEMPLATE,
    SELECT_PREFIX,
    OPTION_NO_WAIT,
    OPTION_END,
};

const Option desktop_stop_options[] = {
    SELECT_TEMPLATE,
    SELECT_PREFIX,
    { "force", OPTION_FLAG, NULL, "switch it off; what is not saved is lost", NULL },
    { "timeout", OPTION_COUNT, "S", "how long guests may take to shut down (90)", NULL },
    OPTION_NO_WAIT,
    OPTION_END,
};

const Option desktop_migrate_options[] = {
    SELECT_TEMPLATE,
    SELECT_PREFIX,
    { "to", OPTION_TEXT, "HOST", "the host to move to; else the one with most room", "host" },
    OPTION_NO_WAIT,
    OPTION_END,
};

static gboolean run(Cli *cli, const char *path, const char *done, GError **error)
{
    json_auto_t *body = select_body(cli->args, cli->args->words->len, error);

    return body && select_run(cli, path, body, done, error);
}

const Option desktop_start_options[] = {
    SELECT_TEMPLATE,
    SELECT_PREFIX,
    { "fresh", OPTION_FLAG, NULL, "without the memory with which it was suspended", NULL },
    OPTION_NO_WAIT,
    OPTION_END,
};

gboolean desktop_start(Cli *cli, GError **error)
{
    json_auto_t *body = select_body(cli->args, cli->args->words->len, error);

    if (!body)
        return FALSE;
    if (args_has(cli->args, "fresh"))
        json_object_set_new(body, "fresh", json_true());
    return select_run(cli, "/v1/desktops/start", body, "started", error);
}

gboolean desktop_suspend(Cli *cli, GError **error)
{
    return run(cli, "/v1/desktops/suspend", "suspended", error);
}

gboolean desktop_screenshot(Cli *cli, GError **error)
{
    const char *file = args_word(cli->args, 1);
    g_autoptr(GString) path =
        client_path("/v1/desktops", "desktop", args_word(cli->args, 0), "screenshot", error);
    json_auto_t *shot = path ? client_get(cli->client, path->str, error) : NULL;
    gsize len = 0;

    if (!shot)
        return FALSE;
    g_autofree guchar *data = g_base64_decode(json_text(shot, "data"), &len);
    if (!g_file_set_contents(file, (const char *)data, (gssize)len, error)) {
        /* GLib's own domain would end with the code of something in use */
        g_autofree char *why = g_strdup((*error)->message);
        g_clear_error(error);
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_FAILED, "cannot write the picture: %s", why);
        return FALSE;
    }
    if (cli->format == FORMAT_TABLE)
        printf("wrote %s: %d x %d\n", file, (int)json_integer_value(json_object_get(shot, "width")),
               (int)json_integer_value(json_object_get(shot, "height")));
    else
        list_print_object(cli, shot, desktop_screenshot_columns);
    return TRUE;
}

gboolean desktop_stop(Cli *cli, GError **error)
{
    json_auto_t *body = select_body(cli->args, cli->args->words->len, error);

    if (!body)
        return FALSE;
    if (args_has(cli->args, "force"))
        json_object_set_new(body, "force", json_true());
    if (args_has(cli->args, "timeout"))
        json_object_set_new(body, "timeout_s", json_integer(args_number(cli->args, "timeout", 0)));
    return select_run(cli, "/v1/desktops/stop", body, "stopped", error);
}

gboolean desktop_restart(Cli *cli, GError **error)
{
    return run(cli, "/v1/desktops/restart", "restarted", error);
}

gboolean desktop_pause(Cli *cli, GError **error)
{
    return run(cli, "/v1/desktops/pause", "paused", error);
}

gboolean desktop_resume(Cli *cli, GError **error)
{
    return run(cli, "/v1/desktops/resume", "resumed", error);
}

gboolean desktop_migrate(Cli *cli, GError **error)
{
    json_auto_t *body = select_body(cli->args, cli->args->words->len, error);

    if (!body)
        return FALSE;
    if (args_has(cli->args, "to"))
        json_object_set_new(body, "to", json_string(args_text(cli->args, "to")));
    return select_run(cli, "/v1/desktops/migrate", body, "moved", error);
}
