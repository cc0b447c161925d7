/* batch.c: see batch.h. */
#include "imaged/cli/batch.h"

#include <stdio.h>

#include "imaged/base/error.h"
#include "imaged/base/units.h"
#include "imaged/cli/job.h"
#include "imaged/cli/list.h"
#include "imaged/cli/output.h"

static const Column item_columns[] = {
    { "NAME", "name", CELL_TEXT, 0 },
    { "ID", "id", CELL_TEXT, 0 },
    { "OK", "ok", CELL_TRUTH, 0 },
    { "CODE", "error.code", CELL_TEXT, 0 },
    { "ERROR", "error.message", CELL_TEXT, 0 },
    COLUMN_END,
};

char *batch_elapsed_text(gint64 ms)
{
    if (ms < 100)
        return g_strdup_printf("%d ms", (int)MAX(ms, 0));
    if (ms < 60000)
        return g_strdup_printf("%.1f s", (gdouble)ms / 1000);
    return units_format_duration(ms);
}

gboolean batch_tell_failures(Cli *cli, const json_t *result)
{
    const json_t *items = json_object_get(result, "items"), *item;
    g_autofree char *what = cli_what(cli), *last_hint = g_strdup("");
    gint code = IMAGED_ERROR_FAILED;
    gsize i, n_failed = 0;

    json_array_foreach (items, i, item) {
        const json_t *why = json_object_get(item, "error");
        if (json_truth(item, "ok"))
            continue;
        const char *message = json_text(why, "message"), *hint = json_text(why, "hint");
        g_autofree char *line =
            g_strdup_printf("%s: %s", json_text(item, "name"), *message ? message : "failed");
        /* A thousand failures for one reason need its hint once. */
        cli_complain(what, line, g_str_equal(hint, last_hint) ? NULL : hint);
        g_free(last_hint);
        last_hint = g_strdup(hint);
        code = imaged_error_from_name(json_text(why, "code"));
        n_failed++;
    }
    if (!n_failed && json_number(result, "n_failed") == 0)
        return TRUE;
    /* One thing asked for that fails is that failure; of several, some failed. */
    cli->exit_code =
        n_failed == 1 && json_array_size(items) == 1 ? cli_exit_code(code) : CLI_FAILED;
    return FALSE;
}

static void print_summary(const json_t *result, const char *done, const char *noun)
{
    gint64 n_done = json_number(result, "n_done"), n_failed = json_number(result, "n_failed");
    g_autofree char *elapsed = batch_elapsed_text(json_number(result, "elapsed_ms"));
    g_autofree char *count = output_count_text(n_done, noun);
    g_autofree char *all = output_count_text(n_done + n_failed, noun);

    if (n_failed)
        printf("%s %" G_GINT64_FORMAT " of %s in %s, %" G_GINT64_FORMAT " failed\n", done, n_done,
               all, elapsed, n_failed);
    else
        printf("%s %s in %s\n", done, count, elapsed);
}

/* What a reset with --keep says of each desktop. */
static void print_kept(const json_t *result)
{
    const json_t *item;
    gsize i;

    json_array_foreach (json_object_get(result, "items"), i, item) {
        if (!json_object_get(item, "n_files"))
            continue;
        gint64 rate = json_number(item, "bytes_per_second");
        g_autofree char *size = units_format_size((guint64)json_number(item, "bytes"));
        g_autofree char *speed = units_format_size((guint64)rate);
        g_autofree char *count = output_count_text(json_number(item, "n_files"), "file");
        g_autofree char *elapsed = batch_elapsed_text(json_number(item, "elapsed_ms"));
        printf("%s: kept %s, %s at %s/s, in %s\n", json_text(item, "name"), count, size, speed,
               elapsed);
    }
}

gboolean batch_print(Cli *cli, const json_t *job, const char *done, const char *noun,
                     GError **error)
{
    const json_t *result = json_object_get(job, "result");

    /* A failed or cancelled job may still say what it did and what not. */
    if (json_is_array(json_object_get(result, "items"))) {
        if (cli->format == FORMAT_JSON)
            output_json(result);
        else if (cli->format == FORMAT_CSV)
            list_print_array(cli, json_object_get(result, "items"), item_columns);
        else if (json_array_size(json_object_get(result, "items")) > 0 ||
                 g_str_equal(json_text(job, "state"), "done")) {
            print_summary(result, done, noun); /* what failed before the first has an error alone */
            print_kept(result);
        }
        fflush(stdout);
        if (!batch_tell_failures(cli, result) && !g_str_equal(json_text(job, "state"), "cancelled"))
            return TRUE;
        return job_check(job, error);
    }
    if (!job_check(job, error))
        return FALSE;
    if (cli->format != FORMAT_TABLE)
        output_json(json_is_object(result) ? result : job);
    else
        printf("%s\n", done);
    return TRUE;
}
