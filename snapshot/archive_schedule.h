/* archive_schedule.h: when archives are made: a text, and the times it means: pure functions.
 *
 * No clock, no I/O.  Any thread.
 *
 *   every day 02:00
 *   every monday 03:30              also: every monday,thursday 03:30; every weekday 03:30
 *   every month 1 04:00             the 31st of a shorter month is its last day
 *   every 6 hours                   at 00:00, 06:00 ...: 1, 2, 3, 4, 6, 8 or 12 hours; every hour
 * and behind any of them what a prune keeps after each run (archive_prune.h):
 *   every day 02:00, keep last 3 daily 7 weekly 4 monthly 6
 *
 * Times are those of the zone's clocks.  A time that its clocks skip (summer time begins) is the
 * first moment after the gap; of a time that they show twice only the first counts.  So each slot
 * is one moment, and no slot is lost or doubled. */
#pragma once

#include <glib.h>

#include "snapshot/archive_prune.h"

typedef enum { SCHEDULE_DAYS, SCHEDULE_MONTH, SCHEDULE_HOURS } ScheduleKind;

typedef struct {
    ScheduleKind kind;
    guint weekdays;   /* DAYS: bit 0 is Monday; all seven is every day */
    guint month_day;  /* MONTH: 1 to 31 */
    guint minute;     /* DAYS, MONTH: of the day, 0 to 1439 */
    guint hours;      /* HOURS: a divisor of 24 below it */
    PrunePolicy keep; /* of nothing: no prune after the run */
} ArchiveSchedule;

/* INVALID with a message that names the word, and a hint. */
gboolean archive_schedule_parse(const char *text, ArchiveSchedule *ret_schedule, GError **error);

/* The text in the form above, which parses to the same schedule.  Caller frees. */
char *archive_schedule_format(const ArchiveSchedule *schedule);

/* The first slot after this time (both milliseconds since 1970); G_MAXINT64 if the calendar ends
 * before. */
gint64 archive_schedule_next(const ArchiveSchedule *schedule, gint64 after_ms, GTimeZone *zone);

typedef struct {
    gboolean is_due;
    gint64 next_ms;     /* when it is due (past, if it is) */
    gint64 last_run_ms; /* to note instead of what was given: differs if that cannot be */
} ScheduleVerdict;

/* Is a run due now?  last_run_ms is when the last run began, or when the schedule was set.  However
 * many slots were missed, it is due once: note now as last_run_ms when it begins.  A clock that is
 * put back does not make it due again; a last run more than a day in the future was noted by a
 * wrong clock, and counts as now (else nothing would run until then). */
ScheduleVerdict archive_schedule_look(const ArchiveSchedule *schedule, gint64 last_run_ms,
                                      gint64 now_ms, GTimeZone *zone);
