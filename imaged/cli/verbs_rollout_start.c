/* verbs_rollout_start.c: imagectl rollout start: which desktops go where, and how carefully.  With
 * --dry-run who would move is printed; else that is counted for a question. */
#include "imaged/cli/verbs_rollout.h"

#include <stdio.h>
#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/units.h"
#include "imaged/cli/confirm.h"
#include "imaged/cli/list.h"

const Option rollout_start_options[] = {
    { "template", OPTION_TEXT, "T", "whose desktops", "template" },
    { "to", OPTION_COUNT, "V", "the version to move to (the newest published one)", NULL },
    { "all", OPTION_FLAG, NULL, "all desktops of the template", NULL },
    { "prefix", OPTION_TEXT, "P", "those of them whose name begins with P", NULL },
    { "search", OPTION_TEXT, "SEARCH", "those that a search finds", "search" },
    { "canary", OPTION_COUNT, "N", "so many first, and a health gate behind them (1)", NULL },
    { "batch", OPTION_COUNT, "N", "then so many between two health gates (1024)", NULL },
    { "max-unavailable", OPTION_COUNT, "N",
      "stop when more than N are in use or offline (a tenth of them, at least 1)", NULL },
    { "when", OPTION_CHOICE, "now|idle|next-stop",
      "desktops that run: stopped and started again (idle: once nobody is on them), or moved when\n"
      "they are next off; else they are unavailable", NULL },
    { "health", OPTION_TEXT, "COMMAND|boot|agent|none",
      "a command of the site's folder 'health_commands', run for each desktop; or of those that\n"
      "were started again: they run on, their guest agents answer (none)", NULL },
    { "health-timeout", OPTION_TEXT, "TIME", "how long it may take for one desktop (60s)", NULL },
    OPTION_DEADLINE,
    OPTION_YES,
    { "dry-run", OPTION_FLAG, NULL, "tell who would move and who would not, and change nothing",
      NULL },
    OPTION_NO_WAIT,
    OPTION_END,
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

/* ---- what is asked for ---- */

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

gboolean rollout_put_deadline(Cli *cli, json_t *body, GError **error)
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
    const char *search = args_text(cli->args, "search");

    if (all + (prefix != NULL) + (search != NULL) + (words->len > 0) != 1) {
        args_usage_error(cli->args, error,
                         "which desktops? give names, --prefix, --search or --all");
        return FALSE;
    }
    if (all)
        json_object_set_new(body, "all", json_true());
    json_set_text(body, "prefix", prefix);
    json_set_text(body, "search", search);
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
    json_set_text(body, "when", args_text(cli->args, "when"));
    for (guint i = 0; i < G_N_ELEMENTS(numbers); i++) {
        if (args_has(cli->args, numbers[i][0]))
            json_object_set_new(body, numbers[i][1],
                                json_integer(args_number(cli->args, numbers[i][0], 0)));
    }
    if (put_selection(cli, body, error) && rollout_put_deadline(cli, body, error) &&
        put_timeout(cli, body, error))
        return body;
    json_decref(body);
    return NULL;
}

/* ---- before it begins ---- */

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
    printf("moves %d to %s:%d, of them %d first%s; %d later, %d unavailable, %d skipped\n",
           (int)json_number(told, "n_move"), json_text(told, "template"),
           (int)json_number(told, "version"),
           (int)MIN(json_number(told, "canary"), json_number(told, "n_move")), until,
           (int)json_number(told, "n_later"), (int)json_number(told, "n_unavailable"),
           (int)json_number(told, "n_skipped"));
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

gboolean rollout_start(Cli *cli, GError **error)
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
    return is_wanted(cli, body, error) && rollout_verb_run(cli, "/v1/rollouts", body, error);
}
