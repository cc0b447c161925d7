/* pace.h: background work gives way while others wait for the disk, the processor or memory.
 *
 * By the kernel's pressure stall figures (/proc/pressure, Linux 4.20 and later; without them it
 * never waits).  One Pace per job. */
#pragma once

#include <glib.h>

typedef struct {
    gint64 next_look; /* monotonic time, in microseconds */
    gint64 io_total, cpu_total, memory_total; /* microseconds of stalls at the last look */
    gint64 last_look;
} Pace;

/* To be called often.  Looks at the pressure now and then, and sleeps in proportion to how much
 * others were held up since the last look (at most 2 s a time, less when cancel is set). */
void pace_wait(Pace *pace, const gint *cancel);

/* The sum of stalls in microseconds from a file's text ("some avg10=... total=N").  0 if there is
 * none. */
guint64 pace_parse(const char *text);

/* How long to sleep, in microseconds: stalls (below 0 when the figures began anew) and span of the
 * look in microseconds. */
gint64 pace_pause(gint64 stalled, gint64 span);
