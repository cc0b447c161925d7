/* verbs_job.c: imagectl job ... and imagectl event ... */
#include "imaged/cli/commands.h"

#include <stdio.h>

#include "imaged/base/error.h"
#include "imaged/cli/batch.h"
#include "imaged/cli/cli.h"
#include "imaged/cli/job.h"
#include "imaged/cli/job_log.h"
#include "imaged/cli/list.h"

#define EVENTS_FOR_PEOPLE 100 /* of what may be a million */
#define EVENTS_BEFORE_FOLLOW 10

static const Column event_columns[] = {
    { "TIME", "time", CELL_TIME, 0 },          { "ID", "id", CELL_TEXT, COLUMN_CSV },
    { "SEVERITY", "severity", CELL_STATE, 0 }, { "EVENT", "name", CELL_TEXT, 0 },
    { "OBJECT", "object", CELL_TEXT, 0 },      { "WHO", "who", CELL_TEXT, 0 },
    { "FROM", "address", CELL_TEXT, COLUMN_CSV }, { "MESSAGE", "message", CELL_TEXT, 0 },
    COLUMN_END,
};

static gboolean job_list(Cli *cli, GError **error)
{
    g_autoptr(GString) path = g_string_new("/v1/jobs");

    client_query(path, "state", args_text(cli->args, "in-state"));
    client_query(path, "search", args_text(cli->args, "search"));
    return list_print(cli, path->str, "id", 0, job_columns, error);
}

static json_t *get_job(Cli *cli, const char *suffix, GError **error)
{
    g_autoptr(GString) path =
        client_path("/v1/jobs", "job", args_word(cli->args, 0), suffix, error);

    if (!path)
        return NULL;
    return suffix ? client_request(cli->client, CLIENT_CHANGE, "POST", path->str, NULL, error)
                  : client_get(cli->client, path->str, error);
}

static gboolean job_show(Cli *cli, GError **error)
{
    json_auto_t *job = get_job(cli, NULL, error);

    if (job)
        job_print(cli, job);
    return job != NULL;
}

static gboolean job_cancel(Cli *cli, GError **error)
{
    json_auto_t *job = get_job(cli, "cancel", error);

    if (job)
        job_print(cli, job);
    return job != NULL;
}

static gboolean job_wait_verb(Cli *cli, GError **error)
{
    json_auto_t *job = get_job(cli, NULL, error);
    json_auto_t *end = job ? job_wait(cli, job, error) : NULL;

    if (!end)
        return FALSE;
    job_print(cli, end);
    fflush(stdout);
    batch_tell_failures(cli, json_object_get(end, "result"));
    return job_check(end, error);
}

/* ---- Events ---- */

typedef struct {
    Cli *cli;
    GHashTable *seen; /* ids that the list gave: the stream may give them again */
    gint64 limit;
} Follow;

static glong follow_width(const char *key)
{
    return g_str_equal(key, "severity") ? 7
           : g_str_equal(key, "name")   ? 16
           : g_str_equal(key, "object") ? 12
           : g_str_equal(key, "who")    ? 8
                                        : 0;
}

static void print_event(Follow *follow, const json_t *event)
{
    GString *text = g_string_new(NULL);

    if (follow->cli->format == FORMAT_JSON) {
        json_dumpf(event, stdout, JSON_COMPACT | OUTPUT_JSON);
        putchar('\n');
    } else if (follow->cli->format == FORMAT_CSV) {
        output_csv_row(text, event, event_columns, COLUMN_SHOW);
    } else {
        for (const Column *c = event_columns; c->key; c++) {
            g_autofree char *cell = output_cell_text(event, c, FALSE);
            if (c->flags & COLUMN_CSV)
                continue;
            g_string_append(text, text->len ? "  " : "");
            g_string_append(text, cell);
            /* what comes is not known yet, so the widths are guessed */
            for (glong n = g_utf8_strlen(cell, -1); c[1].key && n < follow_width(c->key); n++)
                g_string_append_c(text, ' ');
        }
        g_strdelimit(text->str, "\r\n\t\033", ' ');
        g_string_append_c(text, '\n');
    }
    output_print(text);
    fflush(stdout);
}

/* What the list and the stream are both asked. */
static void put_filter(Cli *cli, GString *path)
{
    client_query(path, "severity", args_text(cli->args, "severity"));
    client_query(path, "kind", args_text(cli->args, "kind"));
    client_query(path, "since", args_text(cli->args, "since"));
}

/* The stream is open, so nothing is missed between this list and it. */
static void follow_opened(gpointer data)
{
    Follow *follow = data;
    g_autofree char *limit = g_strdup_printf("%" G_GINT64_FORMAT, follow->limit);
    g_autoptr(GString) path = g_string_new("/v1/events");

    client_query(path, "limit", limit);
    put_filter(follow->cli, path);
    json_auto_t *events = follow->limit ? client_get(follow->cli->client, path->str, NULL) : NULL;

    for (gsize i = json_array_size(events); i > 0; i--) {
        const json_t *event = json_array_get(events, i - 1);
        g_hash_table_add(follow->seen, g_strdup(json_text(event, "id")));
        print_event(follow, event);
    }
}

static void follow_event(json_t *event, gpointer data)
{
    Follow *follow = data;

    if (!g_hash_table_remove(follow->seen, json_text(event, "id")))
        print_event(follow, event);
}

static gboolean event_follow(Cli *cli, GError **error)
{
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_autoptr(GString) path = g_string_new("/v1/events/stream");
    gint64 limit = args_number(cli->args, "limit", EVENTS_BEFORE_FOLLOW);
    Follow follow = { cli, seen, args_has(cli->args, "since") ? 0 : MIN(limit, 1000) };

    if (args_has(cli->args, "search")) {
        args_usage_error(cli->args, error, "--search and --follow do not go together");
        return FALSE;
    }
    if (cli->format == FORMAT_CSV) {
        GString *header = g_string_new(NULL);
        output_csv_header(header, event_columns, COLUMN_SHOW);
        output_print(header);
    }
    put_filter(cli, path);
    return client_stream(cli->client, path->str, follow_opened, follow_event, &follow, error);
}

static gboolean event_list(Cli *cli, GError **error)
{
    g_autoptr(GString) path = g_string_new("/v1/events");
    gint64 otherwise = cli->format == FORMAT_TABLE ? EVENTS_FOR_PEOPLE : 0;

    if (args_has(cli->args, "follow"))
        return event_follow(cli, error);
    client_query(path, "search", args_text(cli->args, "search"));
    put_filter(cli, path);
    return list_print(cli, path->str, "id", args_number(cli->args, "limit", otherwise),
                      event_columns, error);
}

/* ---- The tables ---- */

static const Option job_list_options[] = {
    /* Not --state: that is the daemon's folder, and may stand after the verb too. */
    { "in-state", OPTION_CHOICE, "queued|running|done|failed|cancelled", "only jobs in this state",
      NULL },
    OPTION_SEARCH,
    OPTION_END,
};
static const Option event_list_options[] = {
    { "follow", OPTION_FLAG, NULL, "go on and print events as they happen", NULL },
    { "limit", OPTION_COUNT, "N", "the newest N (a table: 100; json and csv: all); 0 is all",
      NULL },
    { "severity", OPTION_CHOICE, "info|warning|alarm", "only these, and what is worse", NULL },
    { "kind", OPTION_TEXT, "KINDS", "only of these kinds: 'host.down,store.*'", NULL },
    { "since", OPTION_COUNT, "ID", "only newer ones than the event with this id", NULL },
    OPTION_SEARCH,
    OPTION_END,
};

static const Option job_log_options[] = {
    { "follow", OPTION_FLAG, NULL, "go on until the job has ended", NULL },
    OPTION_END,
};

static const Command job_commands[] = {
    { "list", "", 0, 0, NULL, "List jobs, newest first", NULL, "job list --in-state running\n",
      job_list_options, job_list },
    { "show", "ID", 1, 1, "job", "Show a job with its result", NULL,
      "job show 5b1d9f0f3c5a4f1e9d2a7c6b8e0f1a2b -o json\n", NULL, job_show },
    { "wait", "ID", 1, 1, "job", "Wait for a job's end; the exit code tells how it ended", NULL,
      "job wait 5b1d9f0f3c5a4f1e9d2a7c6b8e0f1a2b\n", NULL, job_wait_verb },
    { "log", "ID", 1, 1, "job", "Show what a job has said while it worked",
      "Builds of templates say what they do; most jobs say nothing.",
      "job log 5b1d9f0f3c5a4f1e9d2a7c6b8e0f1a2b --follow\n", job_log_options, job_log_verb },
    { "cancel", "ID", 1, 1, "job", "Stop a job; what it had begun is undone", NULL,
      "job cancel 5b1d9f0f3c5a4f1e9d2a7c6b8e0f1a2b\n", NULL, job_cancel },
    { NULL },
};
static const Command event_commands[] = {
    { "list", "", 0, 0, NULL, "List what happened, newest first",
      "With --follow the oldest of them comes first, and -o json prints one object per line.",
      "event list --limit 20\nevent list --follow --severity warning\n"
      "event list --kind 'host.*' --since 4711\n",
      event_list_options, event_list },
    { NULL },
};

const Noun noun_job = { "job", "work that takes a while", job_commands };
const Noun noun_event = { "event", "what happened, and who did it", event_commands };
