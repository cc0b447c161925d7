/* verbs_rollout.c: imagectl rollout ... ; what 'start' asks for is in verbs_rollout_start.c. */
#include "imaged/cli/verbs_rollout.h"

#include <stdio.h>

#include "imaged/base/error.h"
#include "imaged/cli/cli.h"
#include "imaged/cli/confirm.h"
#include "imaged/cli/job.h"
#include "imaged/cli/list.h"

#define TROUBLE_SHOWN 20 /* desktops of each kind */

static const Column rollout_columns[] = {
    { "NAME", "name", CELL_TEXT, 0 },
    { "ID", "id", CELL_TEXT, COLUMN_CSV },
    { "TEMPLATE", "template", CELL_TEXT, 0 },
    { "TO", "version", CELL_COUNT, 0 },
    { "STATE", "state", CELL_STATE, 0 },
    { "DESKTOPS", "n_desktops", CELL_COUNT, 0 },
    { "MOVED", "n_moved", CELL_COUNT, 0 },
    { "WAITING", "n_waiting", CELL_COUNT, 0 },
    { "LATER", "n_deferred", CELL_COUNT, COLUMN_CSV | COLUMN_SHOW },
    { "UNCHECKED", "n_unchecked", CELL_COUNT, COLUMN_CSV },
    { "UNHEALTHY", "n_unhealthy", CELL_COUNT, COLUMN_CSV },
    { "UNAVAILABLE", "n_unavailable", CELL_COUNT, 0 },
    { "FAILED", "n_failed", CELL_COUNT, 0 },
    { "SKIPPED", "n_skipped", CELL_COUNT, 0 },
    { "RETURNED", "n_returned", CELL_COUNT, 0 },
    { "HELD", "n_held", CELL_COUNT, COLUMN_CSV },
    { "KEPT", "n_kept", CELL_COUNT, COLUMN_CSV },
    { "CANARY", "canary", CELL_COUNT, COLUMN_CSV },
    { "BATCH", "batch", CELL_COUNT, COLUMN_CSV },
    { "MAX UNAVAILABLE", "max_unavailable", CELL_COUNT, COLUMN_CSV },
    { "WHEN", "when", CELL_TEXT, COLUMN_CSV },
    { "HEALTH", "health", CELL_TEXT, COLUMN_CSV },
    { "HEALTH TIMEOUT (S)", "health_timeout_s", CELL_COUNT, COLUMN_CSV },
    { "DEADLINE", "deadline", CELL_TIME, COLUMN_CSV },
    { "DESKTOPS/S", "desktops_per_s", CELL_COUNT, COLUMN_CSV | COLUMN_SHOW },
    { "LEFT (S)", "eta_s", CELL_COUNT, COLUMN_CSV | COLUMN_SHOW },
    { "OWNER", "owner", CELL_TEXT, COLUMN_CSV },
    { "JOB", "job", CELL_TEXT, COLUMN_CSV },
    { "CREATED", "created_at", CELL_TIME, 0 },
    { "STARTED", "started_at", CELL_TIME, COLUMN_CSV },
    { "FINISHED", "finished_at", CELL_TIME, COLUMN_CSV },
    { "REASON", "reason", CELL_TEXT, COLUMN_CSV },
    COLUMN_END,
};

static const Column desktop_columns[] = {
    { "NAME", "name", CELL_TEXT, 0 },
    { "ID", "id", CELL_TEXT, COLUMN_CSV },
    { "FORMER", "former", CELL_TEXT, 0 },
    { "STATE", "state", CELL_STATE, 0 },
    { "HEALTH", "health", CELL_STATE, 0 },
    { "GENERATION", "generation", CELL_COUNT, COLUMN_CSV },
    { "TRASH", "trash", CELL_TEXT, COLUMN_CSV },
    { "CHANGED", "changed_at", CELL_TIME, 0 },
    { "REASON", "reason", CELL_TEXT, 0 },
    COLUMN_END,
};

/* ---- showing ---- */

GString *rollout_verb_path(const char *name, const char *suffix, GError **error)
{
    return client_path("/v1/rollouts", "roll-out", name, suffix, error);
}

/* For people: the desktops that need a look. */
static void print_trouble(Cli *cli, const char *name)
{
    static const char *const states[] = { "deferred", "unavailable", "failed", "held", "kept" };
    json_auto_t *all = json_array();

    for (guint i = 0; i < G_N_ELEMENTS(states); i++) {
        g_autoptr(GString) path = rollout_verb_path(name, "desktops", NULL);
        if (!path)
            return;
        client_query(path, "state", states[i]);
        client_query(path, "limit", G_STRINGIFY(TROUBLE_SHOWN));
        json_auto_t *some = client_get(cli->client, path->str, NULL);
        if (some)
            json_array_extend(all, some);
    }
    if (json_array_size(all) == 0)
        return;
    puts("");
    list_print_array(cli, all, desktop_columns);
}

static gboolean show(Cli *cli, const char *name, GError **error)
{
    g_autoptr(GString) path = rollout_verb_path(name, NULL, error);
    json_auto_t *rollout = path ? client_get(cli->client, path->str, error) : NULL;

    if (!rollout)
        return FALSE;
    list_print_object(cli, rollout, rollout_columns);
    if (cli->format == FORMAT_TABLE)
        print_trouble(cli, name);
    fflush(stdout);
    return TRUE;
}

/* The one that is meant where none is named: the newest.  Caller frees. */
static char *newest(Cli *cli, GError **error)
{
    json_auto_t *list = client_get(cli->client, "/v1/rollouts?limit=1", error);

    if (list && json_array_size(list) == 0)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "there is no roll-out");
    return json_array_size(list) ? g_strdup(json_text(json_array_get(list, 0), "name")) : NULL;
}

static gboolean rollout_show(Cli *cli, GError **error)
{
    const char *word = args_word(cli->args, 0);
    g_autofree char *name = word ? g_strdup(word) : newest(cli, error);

    if (!name)
        return FALSE;
    if (!args_has(cli->args, "desktops") && !args_has(cli->args, "in-state"))
        return show(cli, name, error);
    g_autoptr(GString) path = rollout_verb_path(name, "desktops", error);
    if (!path)
        return FALSE;
    client_query(path, "state", args_text(cli->args, "in-state"));
    return list_print(cli, path->str, "id", 0, desktop_columns, error);
}

static gboolean rollout_list(Cli *cli, GError **error)
{
    g_autoptr(GString) path = g_string_new("/v1/rollouts");

    client_query(path, "search", args_text(cli->args, "search"));
    return list_print(cli, path->str, "id", 0, rollout_columns, error);
}

/* ---- going on ---- */

gboolean rollout_verb_run(Cli *cli, const char *path, const json_t *body, GError **error)
{
    json_auto_t *job = NULL;

    if (!job_run(cli, "POST", path, body, &job, error))
        return FALSE;
    if (!job)
        return TRUE;
    const json_t *result = json_object_get(job, "result");
    const char *id = json_text(result, "id");
    if (*id && !show(cli, id, error))
        return FALSE;
    if (!job_check(job, error))
        return FALSE;
    if (json_number(result, "n_kept")) {
        g_autofree char *count = output_count_text(json_number(result, "n_kept"), "desktop");
        g_autofree char *message = g_strdup_printf("%s could not be brought back", count);
        g_autofree char *hint =
            g_strdup_printf("see why with: imagectl rollout show %s --desktops",
                            json_text(result, "rollout"));
        cli_complain("rollout rollback", message, hint);
        cli->exit_code = CLI_FAILED;
    }
    return TRUE;
}

static gboolean rollout_resume(Cli *cli, GError **error)
{
    g_autoptr(GString) path = rollout_verb_path(args_word(cli->args, 0), "resume", error);
    json_auto_t *body = json_object();

    if (!path || !rollout_put_deadline(cli, body, error))
        return FALSE;
    if (args_has(cli->args, "skip-failed"))
        json_object_set_new(body, "skip_failed", json_true());
    return rollout_verb_run(cli, path->str, body, error);
}

static gboolean rollout_rollback(Cli *cli, GError **error)
{
    const char *name = args_word(cli->args, 0);
    g_autoptr(GString) path = rollout_verb_path(name, "rollback", error);
    g_autoptr(GString) look = rollout_verb_path(name, NULL, NULL);
    json_auto_t *rollout = path ? client_get(cli->client, look->str, error) : NULL;

    return rollout && /* one that is not there needs no question */
           confirm_question(cli, "bring all of its desktops back to their former disks?", "yes",
                            error) &&
           rollout_verb_run(cli, path->str, NULL, error);
}

/* ---- what is done at once ---- */

static gboolean change(Cli *cli, const char *method, const char *suffix, const char *done,
                       GError **error)
{
    g_autoptr(GString) path = rollout_verb_path(args_word(cli->args, 0), suffix, error);
    json_auto_t *rollout =
        path ? client_request(cli->client, CLIENT_CHANGE, method, path->str, NULL, error) : NULL;

    if (!rollout)
        return FALSE;
    if (cli->format == FORMAT_TABLE)
        printf("%s %s\n", done, json_text(rollout, "name"));
    else
        list_print_object(cli, rollout, rollout_columns);
    return TRUE;
}

static gboolean rollout_pause(Cli *cli, GError **error)
{
    return change(cli, "POST", "pause", "paused", error);
}

static gboolean rollout_cancel(Cli *cli, GError **error)
{
    return change(cli, "POST", "cancel", "ended as it was:", error);
}

static gboolean rollout_delete(Cli *cli, GError **error)
{
    return change(cli, "DELETE", NULL, "forgot", error);
}

/* ---- The table ---- */

static const Option show_options[] = {
    { "desktops", OPTION_FLAG, NULL, "its desktops, one by one", NULL },
    { "in-state", OPTION_CHOICE,
      "waiting|deferred|moved|unavailable|failed|skipped|returned|held|kept",
      "its desktops, only those", NULL },
    OPTION_END,
};
static const Option resume_options[] = {
    { "skip-failed", OPTION_FLAG, NULL,
      "without those that failed or were unavailable, or, on the way back, are held", NULL },
    OPTION_DEADLINE,
    OPTION_NO_WAIT,
    OPTION_END,
};
static const Option rollback_options[] = { OPTION_YES, OPTION_NO_WAIT, OPTION_END };
static const Option list_options[] = { OPTION_SEARCH, OPTION_END };

static const Command commands[] = {
    { "start", "(NAME... | --prefix P | --all) --template T [--to V]", 0, COMMAND_MANY, "desktop",
      "Move desktops to another version of their template",
      "A few first, then the others in batches, with the health command behind each.  It stops at\n"
      "the first bad sign; 'rollout resume' goes on, 'rollout rollback' brings all former disks\n"
      "back.  It is a job: it goes on without imagectl, and after a restart of the daemon.",
      "rollout start --template win11 --to 4 --all --canary 5 --health boots\n"
      "rollout start --template win11 --all --when idle --health agent\n"
      "rollout start --template win11 --prefix lab --deadline 06:00 --no-wait\n",
      rollout_start_options, rollout_start },
    { "show", "[ROLLOUT]", 0, 1, "rollout", "Show where a roll-out is (the newest one)", NULL,
      "rollout show\nrollout show win11-4 --in-state failed\n", show_options, rollout_show },
    { "list", "", 0, 0, NULL, "List roll-outs, newest first", NULL, "rollout list\n", list_options,
      rollout_list },
    { "pause", "ROLLOUT", 1, 1, "rollout", "Pause a roll-out behind what it is doing now", NULL,
      "rollout pause win11-4\n", NULL, rollout_pause },
    { "resume", "ROLLOUT", 1, 1, "rollout", "Go on with one that was paused or has stopped",
      "What had failed is tried again; on the way back, what could not be brought back.",
      "rollout resume win11-4 --skip-failed\n", resume_options, rollout_resume },
    { "rollback", "ROLLOUT", 1, 1, "rollout", "Bring its desktops back to their former disks",
      "Each by the very disk that this roll-out replaced.  A desktop whose disk was replaced "
      "since\n"
      "by something else keeps what it has, and is listed.  One that is in use, or whose store is\n"
      "away, is held: the roll-out stops, the trash keeps its former disk, and the next rollback\n"
      "tries it again.",
      "rollout rollback win11-4\n", rollback_options, rollout_rollback },
    { "cancel", "ROLLOUT", 1, 1, "rollout", "End a roll-out as it is",
      "What was moved stays so; 'rollout rollback' still brings it back.",
      "rollout cancel win11-4\n", NULL, rollout_cancel },
    { "delete", "ROLLOUT", 1, 1, "rollout", "Forget a roll-out that is over",
      "Its desktops stay as they are.", "rollout delete win11-4\n", NULL, rollout_delete },
    { NULL },
};

const Noun noun_rollout = { "rollout", "desktops on their way to another version", commands };
