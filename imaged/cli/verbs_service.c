/* verbs_service.c: imagectl catalog, status, completion and version. */
#include "imaged/cli/commands.h"

#include <stdio.h>

#include "imaged/base/units.h"
#include "imaged/cli/batch.h"
#include "imaged/cli/cli.h"
#include "imaged/cli/completion.h"
#include "imaged/cli/job.h"
#include "imaged/cli/list.h"

static const Column status_columns[] = {
    { "NAME", "name", CELL_TEXT, 0 },
    { "ID", "id", CELL_TEXT, 0 },
    { "VERSION", "version", CELL_TEXT, 0 },
    { "STATE", "state", CELL_STATE, 0 },
    { "REASON", "reason", CELL_TEXT, 0 },
    { "STARTED", "started_at", CELL_TIME, 0 },
    { "TEMPLATES", "n_templates", CELL_COUNT, 0 },
    { "DESKTOPS", "n_desktops", CELL_COUNT, 0 },
    { "RUNNING JOBS", "n_jobs_running", CELL_COUNT, 0 },
    { "TRASH EXPIRY", "expiry", CELL_STATE, 0 },
    { "APPLIANCE", "guest.appliance", CELL_TEXT, 0 },
    { "ACCELERATOR", "guest.accelerator", CELL_TEXT, 0 },
    COLUMN_END,
};

static const Column version_columns[] = {
    { "NAME", "name", CELL_TEXT, 0 },
    { "VERSION", "version", CELL_TEXT, 0 },
    COLUMN_END,
};

static gboolean status(Cli *cli, GError **error)
{
    return list_show(cli, "/v1/status", status_columns, error);
}

static gboolean version(Cli *cli, GError **error)
{
    json_auto_t *object = json_pack("{s:s, s:s}", "name", "imagectl", "version", IMAGED_VERSION);

    if (cli->format == FORMAT_TABLE)
        printf("imagectl %s\n", IMAGED_VERSION);
    else
        list_print_object(cli, object, version_columns);
    return TRUE;
}

static gboolean completion_for_bash(Cli *cli, GError **error)
{
    GString *text = g_string_new(NULL);

    completion_bash(text);
    output_print(text);
    return TRUE;
}

/* ---- catalog ---- */

/* The rebuild's report has counts and lists that only the daemon knows: "n_desktops" is printed as
 * "desktops", and lists of texts as lines. */
static void print_report(const json_t *report)
{
    const char *key;
    json_t *value, *line;
    gsize i;

    json_object_foreach ((json_t *)report, key, value) {
        g_autofree char *title =
            g_strdelimit(g_strdup(g_str_has_prefix(key, "n_") ? key + 2 : key), "_", ' ');
        if (json_is_integer(value))
            printf("%s: %" G_GINT64_FORMAT "\n", title, (gint64)json_integer_value(value));
        else if (json_is_string(value) && !g_str_equal(key, "id") && !g_str_equal(key, "name"))
            printf("%s: %s\n", title, json_string_value(value));
        else if (json_is_boolean(value))
            printf("%s: %s\n", title, json_is_true(value) ? "yes" : "no");
        json_array_foreach (value, i, line) {
            const char *message =
                json_is_string(line) ? json_string_value(line) : json_text(line, "message");
            const char *name = json_is_string(line) ? "" : json_text(line, "name");
            printf("%s: %s%s%s\n", title, name, *name && *message ? ": " : "", message);
        }
    }
}

static gboolean catalog_rebuild(Cli *cli, GError **error)
{
    json_auto_t *body = json_object(), *answer = NULL;

    if (args_has(cli->args, "force"))
        json_object_set_new(body, "force", json_true());
    if (!job_run(cli, "POST", "/v1/catalog/rebuild", body, &answer, error))
        return FALSE;
    if (answer && job_is_job(answer) && !job_check(answer, error))
        return FALSE;
    const json_t *report = job_is_job(answer) ? json_object_get(answer, "result") : answer;
    if (!report)
        return TRUE;
    if (cli->format != FORMAT_TABLE) {
        output_json(report);
    } else {
        printf("the catalog was made anew from the stores\n");
        print_report(report);
    }
    return TRUE;
}

static gboolean catalog_backup(Cli *cli, GError **error)
{
    static const Column columns[] = {
        { "NAME", "name", CELL_TEXT, 0 },
        { "ID", "id", CELL_TEXT, 0 },
        { "SIZE", "bytes", CELL_SIZE, 0 },
        COLUMN_END,
    };
    json_auto_t *answer =
        client_request(cli->client, CLIENT_CHANGE, "POST", "/v1/catalog/backup", NULL, error);

    if (!answer)
        return FALSE;
    if (cli->format == FORMAT_TABLE) {
        g_autofree char *size = units_format_size((guint64)MAX(json_number(answer, "bytes"), 0));
        printf("wrote a backup of the catalog (%s) into every store\n", size);
    } else {
        list_print_object(cli, answer, columns);
    }
    return TRUE;
}

/* ---- The tables ---- */

static const Option rebuild_options[] = {
    { "force", OPTION_FLAG, NULL, "also when the daemon is not in rescue mode", NULL },
    OPTION_END,
};

static const Command catalog_commands[] = {
    { "rebuild", "", 0, 0, NULL, "Make the catalog anew from the stores alone",
      "For a lost database or a new machine.  A daemon that finds layers and no catalog is in "
      "rescue\n"
      "mode and waits for this.",
      "catalog rebuild\n", rebuild_options, catalog_rebuild },
    { "backup", "", 0, 0, NULL, "Write the catalog's backup into every store now", NULL,
      "catalog backup\n", NULL, catalog_backup },
    { NULL },
};
static const Command status_commands[] = {
    { NULL, "", 0, 0, NULL, "Show what the daemon is and how it is", NULL, "status\n", NULL,
      status },
    { NULL },
};
static const Command completion_commands[] = {
    { "bash", "", 0, 0, NULL, "Print a completion script for bash", NULL,
      "completion bash > ~/.local/share/bash-completion/completions/imagectl\n", NULL,
      completion_for_bash },
    { NULL },
};
static const Command version_commands[] = {
    { NULL, "", 0, 0, NULL, "Print the version of imagectl", NULL, "version\n", NULL, version },
    { NULL },
};

const Noun noun_catalog = { "catalog", "what the daemon knows", catalog_commands };
const Noun noun_status = { "status", "the daemon", status_commands };
const Noun noun_completion = { "completion", "help for the shell's Tab key", completion_commands };
const Noun noun_version = { "version", "imagectl itself", version_commands };
