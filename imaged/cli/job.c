/* job.c: see job.h.  A job is watched by reads that the daemon holds back until the job has ended
 * or a short time is up; so the end is seen at once, and the progress about once a second. */
#include "imaged/cli/job.h"

#include <stdio.h>
#include <unistd.h>

#include "imaged/base/error.h"
#include "imaged/base/units.h"
#include "imaged/cli/interrupt.h"
#include "imaged/cli/job_log.h"
#include "imaged/cli/list.h"
#include "imaged/cli/progress.h"

#define WAIT_S "1"
#define AWAY_LIMIT_MS 60000 /* a job survives a restart of the daemon, so we do, too */
#define CANCEL_LIMIT_MS 15000

const Column job_columns[] = {
    { "ID", "id", CELL_TEXT, 0 },
    { "NAME", "name", CELL_TEXT, COLUMN_CSV },
    { "KIND", "kind", CELL_TEXT, 0 },
    { "STATE", "state", CELL_STATE, 0 },
    { "TIER", "tier", CELL_TEXT, COLUMN_CSV },
    { "DONE", "done", CELL_COUNT, 0 },
    { "TOTAL", "total", CELL_COUNT, 0 },
    { "UNIT", "unit", CELL_TEXT, 0 },
    { "CREATED", "created_at", CELL_TIME, 0 },
    { "STARTED", "started_at", CELL_TIME, COLUMN_CSV },
    { "FINISHED", "finished_at", CELL_TIME, COLUMN_CSV },
    { "OWNER", "owner", CELL_TEXT, COLUMN_CSV },
    { "MESSAGE", "message", CELL_TEXT, 0 },
    { "ERROR", "error.message", CELL_TEXT, COLUMN_CSV },
    { "HINT", "error.hint", CELL_TEXT, COLUMN_CSV | COLUMN_SHOW },
    { "SUCCEEDED", "result.n_done", CELL_COUNT, COLUMN_CSV | COLUMN_SHOW },
    { "FAILED", "result.n_failed", CELL_COUNT, COLUMN_CSV | COLUMN_SHOW },
    COLUMN_END,
};

gboolean job_is_job(const json_t *answer)
{
    return json_object_get(answer, "kind") && json_object_get(answer, "state") &&
           json_object_get(answer, "tier");
}

static gboolean has_ended(const json_t *job)
{
    static const char *const ends[] = { "done", "failed", "cancelled", NULL };

    return g_strv_contains(ends, json_text(job, "state"));
}

void job_print(Cli *cli, const json_t *job)
{
    list_print_object(cli, job, job_columns);
}

/* Ask once for the job's state.  NULL without an error: the daemon is away, ask again. */
static json_t *ask_state(Cli *cli, const char *path, gint64 *away_since_ms, GError **error)
{
    GError *local = NULL;
    json_t *job = client_request(cli->client, CLIENT_WAIT, "GET", path, NULL, &local);
    gint64 now = units_boottime_ms();

    if (job) {
        *away_since_ms = 0;
        return job;
    }
    if (!*away_since_ms)
        *away_since_ms = now;
    if (interrupt_seen() ||
        (client_was_lost(cli->client) && now - *away_since_ms < AWAY_LIMIT_MS)) {
        g_clear_error(&local);
        g_usleep(100 * 1000);
        return NULL;
    }
    g_propagate_error(error, local);
    return NULL;
}

static json_t *watch(Cli *cli, const json_t *job, gint64 limit_ms, GError **error)
{
    g_autofree char *what = cli_what(cli);
    g_autoptr(Progress) progress = progress_new(what);
    g_autoptr(GString) path = client_path("/v1/jobs", "job", json_text(job, "id"), NULL, error);
    gint64 begin_ms = units_boottime_ms(), away_since_ms = 0, log_offset = 0;
    json_t *now = json_incref((json_t *)job);

    if (!path)
        return NULL;
    client_query(path, "wait", WAIT_S);
    while (!has_ended(now) && !interrupt_seen()) {
        GError *local = NULL;
        if (limit_ms && units_boottime_ms() - begin_ms > limit_ms)
            break;
        if (cli->shows_log)
            job_log_show(cli, json_text(job, "id"), &log_offset, progress);
        /* A log says more than a message without numbers. */
        gboolean is_told = !cli->shows_log || json_number(now, "total") || isatty(STDERR_FILENO);
        if (is_told && !cli->is_quiet)
            progress_update(progress, now);
        json_t *next = ask_state(cli, path->str, &away_since_ms, &local);
        if (local) {
            json_decref(now);
            g_propagate_error(error, local);
            return NULL;
        }
        if (next) {
            json_decref(now);
            now = next;
        }
    }
    if (cli->shows_log)
        job_log_show(cli, json_text(job, "id"), &log_offset, progress);
    return now;
}

json_t *job_wait(Cli *cli, const json_t *job, GError **error)
{
    interrupt_catch();
    json_t *end = watch(cli, job, 0, error);
    if (end && !has_ended(end)) {
        const char *id = json_text(job, "id");
        fprintf(stderr,
                "imagectl: no longer waiting; job %s goes on\n"
                "hint: 'imagectl job wait %s' waits for it, 'imagectl job cancel %s' stops it\n",
                id, id, id);
        interrupt_end();
    }
    return end;
}

json_t *job_wait_or_cancel(Cli *cli, const json_t *job, GError **error)
{
    const char *id = json_text(job, "id");
    json_auto_t *end = watch(cli, job, 0, error);

    if (!end || has_ended(end))
        return g_steal_pointer(&end);
    fprintf(stderr, "imagectl: interrupted; cancelling job %s\n", id);
    interrupt_rearm();
    g_autofree char *path = g_strdup_printf("/v1/jobs/%s/cancel", id);
    json_auto_t *cancelled = client_request(cli->client, CLIENT_CHANGE, "POST", path, NULL, error);
    if (!cancelled)
        return NULL;
    json_auto_t *ended = watch(cli, cancelled, CANCEL_LIMIT_MS, NULL);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CANCELLED, "interrupted");
    return NULL;
}

gboolean job_run(Cli *cli, const char *method, const char *path, const json_t *body,
                 json_t **ret_job, GError **error)
{
    gboolean is_waiting = !args_has(cli->args, "no-wait");
    g_autoptr(GString) full = g_string_new(path);

    *ret_job = NULL;
    if (is_waiting)
        client_query(full, "wait", WAIT_S);
    json_auto_t *answer =
        client_request(cli->client, CLIENT_CHANGE, method, full->str, body, error);
    if (!answer)
        return FALSE;
    if (!job_is_job(answer)) {
        *ret_job = g_steal_pointer(&answer);
        return TRUE;
    }
    if (!is_waiting) {
        job_print(cli, answer);
        return TRUE;
    }
    *ret_job = job_wait(cli, answer, error);
    return *ret_job != NULL;
}

gboolean job_run_result(Cli *cli, const char *path, const json_t *body, json_t **ret_result,
                        GError **error)
{
    json_auto_t *job = NULL;

    *ret_result = NULL;
    if (!job_run(cli, "POST", path, body, &job, error) || (job && !job_check(job, error)))
        return FALSE;
    if (job)
        *ret_result = json_incref(json_object_get(job, "result"));
    return TRUE;
}

gboolean job_check(const json_t *job, GError **error)
{
    const char *state = json_text(job, "state");
    const json_t *why = json_object_get(job, "error");

    if (g_str_equal(state, "done"))
        return TRUE;
    if (json_is_object(why))
        cli_error_from_json(why, error);
    else
        g_set_error(error, IMAGED_ERROR,
                    g_str_equal(state, "cancelled") ? IMAGED_ERROR_CANCELLED : IMAGED_ERROR_FAILED,
                    "the job %s %s", json_text(job, "id"),
                    g_str_equal(state, "cancelled") ? "was cancelled" : "failed");
    return FALSE;
}
