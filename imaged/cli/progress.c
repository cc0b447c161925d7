/* progress.c: see progress.h.  The rate is over the last seconds, not since the beginning: a job
 * that waited in the queue is not slow. */
#include "imaged/cli/progress.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "imaged/base/units.h"
#include "imaged/cli/cli.h"

#define BAR_MAX 30
#define LOG_EVERY_MS 10000
#define RATE_WEIGHT 0.3 /* of the newest sample */

struct Progress {
    char *what;
    gboolean is_terminal;
    gboolean has_bar; /* one is on the screen */
    gint64 last_log_ms;
    gint64 sample_ms, sample_done; /* of the last change */
    gdouble rate;
};

Progress *progress_new(const char *what)
{
    Progress *progress = g_new0(Progress, 1);

    progress->what = g_strdup(what);
    progress->is_terminal = isatty(STDERR_FILENO);
    progress->last_log_ms = units_boottime_ms();
    progress->sample_done = -1;
    return progress;
}

static void measure(Progress *progress, gint64 done)
{
    gint64 now = units_boottime_ms();

    if (progress->sample_done < 0 || done < progress->sample_done) {
        progress->rate = 0;
    } else if (now - progress->sample_ms < 200) {
        return;
    } else {
        gdouble rate =
            1000.0 * (gdouble)(done - progress->sample_done) / (gdouble)(now - progress->sample_ms);
        progress->rate =
            progress->rate > 0 ? RATE_WEIGHT * rate + (1 - RATE_WEIGHT) * progress->rate : rate;
    }
    progress->sample_ms = now;
    progress->sample_done = done;
}

static char *amount_text(gint64 n, const char *unit)
{
    return g_str_equal(unit, "bytes") ? units_format_size((guint64)MAX(n, 0))
                                      : g_strdup_printf("%" G_GINT64_FORMAT, n);
}

char *progress_text(gint64 done, gint64 total, const char *unit, gdouble rate)
{
    gboolean is_bytes = g_str_equal(unit, "bytes");
    g_autofree char *done_text = amount_text(done, unit), *total_text = amount_text(total, unit);
    GString *out = g_string_new(NULL);

    if (g_str_equal(unit, "percent")) {
        g_string_append_printf(out, "%3d %%", (int)CLAMP(done, 0, 100));
        return g_string_free(out, FALSE);
    }
    if (total > 0)
        g_string_append_printf(out, "%3d %%  %s of %s",
                               (int)(100.0 * (gdouble)MIN(done, total) / (gdouble)total), done_text,
                               total_text);
    else
        g_string_append(out, done_text);
    if (!is_bytes && *unit)
        g_string_append_printf(out, " %s", unit);
    if (is_bytes && rate >= 1) {
        g_autofree char *speed = units_format_size((guint64)rate);
        g_string_append_printf(out, "  %s/s", speed);
    }
    if (total > done && rate > 0) {
        g_autofree char *left =
            units_format_duration((gint64)(1000 * (gdouble)(total - done) / rate));
        g_string_append_printf(out, "  %s left", left);
    }
    return g_string_free(out, FALSE);
}

static void draw_bar(Progress *progress, const char *text, gint64 done, gint64 total)
{
    struct winsize size = { 0 };
    int columns = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 80;
    int bar = MIN(BAR_MAX, columns - (int)strlen(text) - 5);
    GString *line = g_string_new("\r\033[K");

    if (total > 0 && bar >= 5) {
        int full = (int)((gdouble)bar * (gdouble)MIN(done, total) / (gdouble)total);
        g_string_append_c(line, '[');
        for (int i = 0; i < bar; i++)
            g_string_append_c(line, i < full ? '#' : '.');
        g_string_append(line, "] ");
    }
    g_string_append_printf(line, "%.*s", MAX(columns - 1, 1), text);
    fputs(line->str, stderr);
    fflush(stderr);
    g_string_free(line, TRUE);
    progress->has_bar = TRUE;
}

/* What is said of a job that runs: its numbers, or its words, or both.  Caller frees. */
static char *job_text(const Progress *progress, const json_t *job)
{
    gint64 done = json_number(job, "done"), total = json_number(job, "total");
    const char *unit = json_text(job, "unit"), *message = json_text(job, "message");
    g_autofree char *numbers = progress_text(done, total, unit, progress->rate);

    if (g_str_equal(json_text(job, "state"), "queued"))
        return g_strdup("waiting for other work to end");
    if (!total && *message)
        return g_strdup(message); /* nothing to count, but something to say */
    /* a percentage alone does not say of what */
    return g_str_equal(unit, "percent") ? g_strdup_printf("%s  %s", numbers, message)
                                        : g_steal_pointer(&numbers);
}

void progress_update(Progress *progress, const json_t *job)
{
    gint64 done = json_number(job, "done"), total = json_number(job, "total");
    gint64 now = units_boottime_ms();

    measure(progress, done);
    g_autofree char *text = job_text(progress, job);
    if (progress->is_terminal) {
        draw_bar(progress, text, done, total);
    } else if (now - progress->last_log_ms >= LOG_EVERY_MS) {
        fprintf(stderr, "%s: %s\n", progress->what, text);
        progress->last_log_ms = now;
    }
}

void progress_clear(Progress *progress)
{
    if (progress->has_bar)
        fputs("\r\033[K", stderr);
    progress->has_bar = FALSE;
}

void progress_end(Progress *progress)
{
    if (!progress)
        return;
    progress_clear(progress);
    g_free(progress->what);
    g_free(progress);
}
