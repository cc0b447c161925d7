/* verbs_rollout.c: imagectl rollout ... */
#include "imaged/cli/commands.h"

#include <stdio.h>
#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/units.h"
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
    { "UNCHECKED", "n_unchecked", CELL_COUNT, COLUMN_CSV },
    { "UNHEALTHY", "n_unhealthy", CELL_COUNT, COLUMN_CSV },
    { "UNAVAILABLE", "n_unavailable", CELL_COUNT, 0 },
    { "FAILED", "n_failed", CELL_COUNT, 0 },
    { "SKIPPED", "n_skipped", CELL_COUNT, 0 },
    { "RETURNED", "n_returned", CELL_COUNT, 0 },
    { "KEPT", "n_kept", CELL_COUNT, COLUMN_CSV },
    { "CANARY", "canary", CELL_COUNT, COLUMN_CSV },
    { "BATCH", "batch", CELL_COUNT, COLUMN_CSV },
    { "MAX UNAVAILABLE", "max_unavailable", CELL_COUNT, COLUMN_CSV },
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

static const Column dry_columns[] = {
    { "NAME", "name", CELL_TEXT, 0 },
    { "ID", "id", CELL_TEXT, COLUMN_CSV },
    { "FORMER", "former", CELL_TEXT, 0 },
    { "ACTION", "action", CELL_STATE, 0 },
    { "STAGE", "stage", CELL_TEXT, 0 },
    { "REASON", "reason", CELL_TEXT, 0 },
    COLUMN_END,
};

/* ---- showing ---- */

static GString *path_of(const char *name, const char *suffix, GError **error)
{
    return client_path("/v1/rollouts", "roll-out", name, suffix, error);
}

/* For people: the desktops that need a look. */
static void print_trouble(Cli *cli, const char *name)
{
    static const char *const states[] = { "unavailable", "failed", "kept" };
    json_auto_t *all = json_array();

    for (guint i = 0; i < G_N_ELEMENTS(states); i++) {
        g_autoptr(GString) path = path_of(name, "desktops", NULL);
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
    g_autoptr(GString) path = path_of(name, NULL, error);
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
    if (!args_has(cli->args, "desktops"))
        return show(cli, name, error);
    g_autoptr(GString) path = path_of(name, "desktops", error);
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

/* ---- starting and going on ---- */

/* Send what starts its job; wait for that, and show where the roll-out is then. */
static gboolean run(Cli *cli, const char *path, const json_t *body, GError **error)
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

/* "22:30" is the next such time here, "2h" from now; the API's own form is left as it is.  Caller
 * frees. */
static char *deadline_text(const char *text, GError **error)
{
    g_autoptr(GDateTime) now = g_date_time_new_now_local(), time = NULL;
    guint hour, minute;
    gint64 ms;
    int end = 0;

    if (g_str_equal(text, "none") || strchr(text, 'T'))
        return g_strdup(text);
    if (sscanf(text, "%2u:%2u%n", &hour, &minute, &end) == 2 && !text[end] && hour < 24 &&
        minute < 60) {
        time =
            g_date_time_new_local(g_date_time_get_year(now), g_date_time_get_month(now),
                                  g_date_time_get_day_of_month(now), (gint)hour, (gint)minute, 0);
        ms = time ? g_date_time_to_unix(time) * 1000 : 0;
        if (ms <= units_now_ms())
            ms += 86400000;
        return units_format_time(ms);
    }
    if (!units_parse_duration(text, &ms, NULL)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "the deadline '%.40s' is no time",
                    text);
        imaged_error_hint(error, "write it like 22:30, 2h or 2026-11-21T22:30:00Z");
        return NULL;
    }
    return units_format_time(units_now_ms() + ms);
}

static gboolean put_deadline(Cli *cli, json_t *body, GError **error)
{
    const char *text = args_text(cli->args, "deadline");
    g_autofree char *deadline = text ? deadline_text(text, error) : NULL;

    json_set_text(body, "deadline", deadline);
    return !text || deadline;
}

static gboolean put_timeout(Cli *cli, json_t *body, GError **error)
{
    const char *text = args_text(cli->args, "health-timeout");
    gint64 ms = 0;

    if (!text)
        return TRUE;
    if (!units_parse_duration(text, &ms, error))
        return FALSE;
    json_object_set_new(body, "health_timeout_s", json_integer(MAX(ms / 1000, 1)));
    return TRUE;
}

static gboolean put_selection(Cli *cli, json_t *body, GError **error)
{
    const GPtrArray *words = cli->args->words;
    gboolean all = args_has(cli->args, "all");
    const char *prefix = args_text(cli->args, "prefix");

    if (all + (prefix != NULL) + (words->len > 0) != 1) {
        args_usage_error(cli->args, error, "which desktops? give names, --prefix or --all");
        return FALSE;
    }
    if (all)
        json_object_set_new(body, "all", json_true());
    json_set_text(body, "prefix", prefix);
    if (words->len) {
        json_t *names = json_array();
        for (guint i = 0; i < words->len; i++)
            json_array_append_new(names, json_string(words->pdata[i]));
        json_object_set_new(body, "names", names);
    }
    return TRUE;
}

static json_t *start_body(Cli *cli, GError **error)
{
    static const char *const numbers[][2] = { { "to", "to" },
                                              { "canary", "canary" },
                                              { "batch", "batch" },
                                              { "max-unavailable", "max_unavailable" } };
    json_t *body = json_object();

    if (!args_has(cli->args, "template")) {
        args_usage_error(cli->args, error, "--template is missing: whose desktops?");
        json_decref(body);
        return NULL;
    }
    json_set_text(body, "template", args_text(cli->args, "template"));
    json_set_text(body, "health", args_text(cli->args, "health"));
    for (guint i = 0; i < G_N_ELEMENTS(numbers); i++) {
        if (args_has(cli->args, numbers[i][0]))
            json_object_set_new(body, numbers[i][1],
                                json_integer(args_number(cli->args, numbers[i][0], 0)));
    }
    if (put_selection(cli, body, error) && put_deadline(cli, body, error) &&
        put_timeout(cli, body, error))
        return body;
    json_decref(body);
    return NULL;
}

static json_t *ask_dry(Cli *cli, const json_t *body, GError **error)
{
    json_auto_t *dry = json_deep_copy(body);

    json_object_set_new(dry, "dry_run", json_true());
    return client_request(cli->client, CLIENT_READ, "POST", "/v1/rollouts", dry, error);
}

/* Its day is told, too: a time without one may be tomorrow's.  Caller frees. */
static char *until_text(const json_t *body)
{
    const char *text = json_text(body, "deadline");
    g_autoptr(GDateTime) utc = *text ? g_date_time_new_from_iso8601(text, NULL) : NULL;
    g_autoptr(GDateTime) here = utc ? g_date_time_to_local(utc) : NULL;

    return here ? g_date_time_format(here, ", nothing more after %F %H:%M:%S (%Z)") : g_strdup("");
}

static void print_dry(Cli *cli, const json_t *told, const json_t *body)
{
    if (cli->format == FORMAT_JSON) {
        output_json(told);
        return;
    }
    list_print_array(cli, json_object_get(told, "desktops"), dry_columns);
    if (cli->format != FORMAT_TABLE)
        return;
    g_autofree char *until = until_text(body);
    printf("moves %d to %s:%d, of them %d first%s; %d unavailable, %d skipped\n",
           (int)json_number(told, "n_move"), json_text(told, "template"),
           (int)json_number(told, "version"),
           (int)MIN(json_number(told, "canary"), json_number(told, "n_move")), until,
           (int)json_number(told, "n_unavailable"), (int)json_number(told, "n_skipped"));
}

/* The daemon's checks come first: what cannot be done needs no question. */
static gboolean is_wanted(Cli *cli, const json_t *body, GError **error)
{
    if (args_has(cli->args, "yes"))
        return TRUE;
    json_auto_t *told = ask_dry(cli, body, error);
    if (!told)
        return FALSE;
    g_autofree char *count = output_count_text(json_number(told, "n_move"), "desktop");
    g_autofree char *until = until_text(body);
    g_autofree char *question =
        g_strdup_printf("move %s to %s:%d%s?", count, json_text(told, "template"),
                        (int)json_number(told, "version"), until);
    return confirm_question(cli, question, "yes", error);
}

static gboolean rollout_start(Cli *cli, GError **error)
{
    json_auto_t *body = start_body(cli, error);

    if (!body)
        return FALSE;
    if (args_has(cli->args, "dry-run")) {
        json_auto_t *told = ask_dry(cli, body, error);
        if (told)
            print_dry(cli, told, body);
        return told != NULL;
    }
    return is_wanted(cli, body, error) && run(cli, "/v1/rollouts", body, error);
}

static gboolean rollout_resume(Cli *cli, GError **error)
{
    g_autoptr(GString) path = path_of(args_word(cli->args, 0), "resume", error);
    json_auto_t *body = json_object();

    if (!path || !put_deadline(cli, body, error))
        return FALSE;
    if (args_has(cli->args, "skip-failed"))
        json_object_set_new(body, "skip_failed", json_true());
    return run(cli, path->str, body, error);
}

static gboolean rollout_rollback(Cli *cli, GError **error)
{
    g_autoptr(GString) path = path_of(args_word(cli->args, 0), "rollback", error);

    return path &&
           confirm_question(cli, "bring all of its desktops back to their former disks?", "yes",
                            error) &&
           run(cli, path->str, NULL, error);
}

/* ---- what is done at once ---- */

static gboolean change(Cli *cli, const char *method, const char *suffix, const char *done,
                       GError **error)
{
    g_autoptr(GString) path = path_of(args_word(cli->args, 0), suffix, error);
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

#define OPTION_DEADLINE                                                                            \
    {                                                                                              \
        "deadline", OPTION_TEXT, "TIME",                                                           \
            "move nothing more after this: 22:30, 2h, or a time with its date", NULL               \
    }

static const Option start_options[] = {
    { "template", OPTION_TEXT, "T", "whose desktops", "template" },
    { "to", OPTION_COUNT, "V", "the version to move to (the newest published one)", NULL },
    { "all", OPTION_FLAG, NULL, "all desktops of the template", NULL },
    { "prefix", OPTION_TEXT, "P", "those of them whose name begins with P", NULL },
    { "canary", OPTION_COUNT, "N", "so many first, and a health gate behind them (1)", NULL },
    { "batch", OPTION_COUNT, "N", "then so many between two health gates (1024)", NULL },
    { "max-unavailable", OPTION_COUNT, "N",
      "stop when more than N are in use or offline (a tenth of them, at least 1)", NULL },
    { "health", OPTION_TEXT, "COMMAND|none",
      "a command of the site's folder 'health_commands', run for each desktop (none)", NULL },
    { "health-timeout", OPTION_TEXT, "TIME", "how long it may take for one desktop (60s)", NULL },
    OPTION_DEADLINE,
    OPTION_YES,
    { "dry-run", OPTION_FLAG, NULL, "tell who would move and who would not, and change nothing",
      NULL },
    OPTION_NO_WAIT,
    OPTION_END,
};
static const Option show_options[] = {
    { "desktops", OPTION_FLAG, NULL, "its desktops, one by one", NULL },
    { "in-state", OPTION_CHOICE, "waiting|moved|unavailable|failed|skipped|returned|kept",
      "with --desktops: only those", NULL },
    OPTION_END,
};
static const Option resume_options[] = {
    { "skip-failed", OPTION_FLAG, NULL, "without those that failed or were unavailable", NULL },
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
      "rollout start --template win11 --prefix lab --deadline 06:00 --no-wait\n",
      start_options, rollout_start },
    { "show", "[ROLLOUT]", 0, 1, "rollout", "Show where a roll-out is (the newest one)", NULL,
      "rollout show\nrollout show win11-4 --desktops --in-state failed\n", show_options,
      rollout_show },
    { "list", "", 0, 0, NULL, "List roll-outs, newest first", NULL, "rollout list\n", list_options,
      rollout_list },
    { "pause", "ROLLOUT", 1, 1, "rollout", "Pause a roll-out behind what it is doing now", NULL,
      "rollout pause win11-4\n", NULL, rollout_pause },
    { "resume", "ROLLOUT", 1, 1, "rollout", "Go on with one that was paused or has stopped",
      "What had failed is tried again.", "rollout resume win11-4 --skip-failed\n", resume_options,
      rollout_resume },
    { "rollback", "ROLLOUT", 1, 1, "rollout", "Bring its desktops back to their former disks",
      "Each by the very disk that this roll-out replaced.  A desktop whose disk was replaced "
      "since\n"
      "by something else keeps what it has, and is listed.",
      "rollout rollback win11-4\n", rollback_options, rollout_rollback },
    { "cancel", "ROLLOUT", 1, 1, "rollout", "End a roll-out as it is",
      "What was moved stays so; 'rollout rollback' still brings it back.",
      "rollout cancel win11-4\n", NULL, rollout_cancel },
    { "delete", "ROLLOUT", 1, 1, "rollout", "Forget a roll-out that is over",
      "Its desktops stay as they are.", "rollout delete win11-4\n", NULL, rollout_delete },
    { NULL },
};

const Noun noun_rollout = { "rollout", "desktops on their way to another version", commands };
