/* pace.c: see pace.h.  The averages over 10 s are too slow for steps of milliseconds, so the
 * stalls' running totals are compared.  Our own waiting for the disk counts as pressure too, so
 * some of it is normal: only beyond a share do we pause. */
#include "snapshot/pace.h"

#include <string.h>

#define LOOK_EVERY_US 200000
#define NORMAL_SHARE 0.25
#define PAUSE_MAX_US 2000000
#define NAP_US 50000

guint64 pace_parse(const char *text)
{
    const char *line = strstr(text, "some ");
    const char *total = line ? strstr(line, "total=") : NULL;

    return total ? g_ascii_strtoull(total + strlen("total="), NULL, 10) : 0;
}

static gint64 read_total(const char *path)
{
    g_autofree char *text = NULL;

    return g_file_get_contents(path, &text, NULL, NULL) ? (gint64)MIN(pace_parse(text), G_MAXINT64)
                                                        : 0;
}

gint64 pace_pause(gint64 stalled, gint64 span)
{
    if (span <= 0 || stalled <= 0)
        return 0;
    double share = (double)stalled / (double)span - NORMAL_SHARE;

    return share <= 0 ? 0 : (gint64)MIN((double)PAUSE_MAX_US, 2 * share * (double)span);
}

void pace_wait(Pace *p, const gint *cancel)
{
    gint64 now = g_get_monotonic_time();

    if (now < p->next_look)
        return;
    gint64 io = read_total("/proc/pressure/io"), cpu = read_total("/proc/pressure/cpu");
    gint64 memory = read_total("/proc/pressure/memory"), pause = 0;
    if (p->last_look) {
        gint64 most = MAX(MAX(io - p->io_total, cpu - p->cpu_total), memory - p->memory_total);
        pause = pace_pause(most, now - p->last_look);
    }
    for (gint64 slept = 0; slept < pause && !(cancel && g_atomic_int_get(cancel)); slept += NAP_US)
        g_usleep(NAP_US);
    *p = (Pace){ .io_total = read_total("/proc/pressure/io"),
                 .cpu_total = read_total("/proc/pressure/cpu"),
                 .memory_total = read_total("/proc/pressure/memory"),
                 .last_look = g_get_monotonic_time() };
    p->next_look = p->last_look + LOOK_EVERY_US;
}
