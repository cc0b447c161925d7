/* verbs_desktop_run.c: imagectl desktop start, stop, restart, pause, resume, migrate. */
#include "imaged/cli/verbs_desktop.h"

#include "imaged/cli/select.h"

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

gboolean desktop_start(Cli *cli, GError **error)
{
    return run(cli, "/v1/desktops/start", "started", error);
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
