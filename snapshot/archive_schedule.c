/* archive_schedule.c: see archive_schedule.h.  A slot is a wall-clock time of a calendar day; the
 * next one is found by going through the days from the one before, and each slot's moment is
 * computed from the zone's offsets around it. */
#include "snapshot/archive_schedule.h"

#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/nearest.h"

#define DAY_S 86400
#define ALL_DAYS 0x7fu
#define WORKDAYS 0x1fu
#define DAYS_AHEAD 66 /* more than two months: the longest way from one slot to the next */
#define TRUSTED_MS (24 * 3600 * (gint64)1000)
/* Times that a calendar of four-digit years has, with room for any offset and DAYS_AHEAD. */
#define FIRST_S (-62135596800 + 100 * (gint64)DAY_S)
#define LAST_S (253402300799 - 100 * (gint64)DAY_S)

static const char *const day_names[7] = { "monday", "tuesday",  "wednesday", "thursday",
                                          "friday", "saturday", "sunday" };
static const guint possible_hours[] = { 1, 2, 3, 4, 6, 8, 12 };

/* ---- parsing ---- */

typedef struct {
    char **words; /* what is left */
    GError **error;
} Parser;

static gboolean refuse(Parser *p, const char *what, const char *hint)
{
    g_autofree char *shown = text_for_message(*p->words ? *p->words : "", 40);

    if (*p->words)
        g_set_error(p->error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "'%s' is no %s", shown, what);
    else
        g_set_error(p->error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "the schedule ends where %s must stand", what);
    imaged_error_hint(p->error, "%s", hint);
    return FALSE;
}

static gboolean take(Parser *p, const char *word)
{
    if (!*p->words || g_ascii_strcasecmp(*p->words, word))
        return FALSE;
    p->words++;
    return TRUE;
}

/* A number of digits alone, at most max. */
static gboolean is_number(const char *text, guint max, guint *ret)
{
    guint64 value;

    if (!text || !g_ascii_string_to_unsigned(text, 10, 0, max, &value, NULL))
        return FALSE;
    *ret = (guint)value;
    return TRUE;
}

/* "02:00" or "2:00", perhaps behind "at". */
static gboolean take_time(Parser *p, guint *ret_minute)
{
    static const char what[] = "time of day", hint[] = "write it as 02:00, from 00:00 to 23:59";
    guint hour, minute;

    take(p, "at");
    const char *colon = *p->words ? strchr(*p->words, ':') : NULL;
    if (!colon)
        return refuse(p, what, hint);
    g_autofree char *first = g_strndup(*p->words, (gsize)(colon - *p->words));
    if (strlen(first) > 2 || !is_number(first, 23, &hour) || strlen(colon + 1) != 2 ||
        !is_number(colon + 1, 59, &minute))
        return refuse(p, what, hint);
    p->words++;
    *ret_minute = hour * 60 + minute;
    return TRUE;
}

static gboolean refuse_when(Parser *p)
{
    g_autoptr(GPtrArray) known = g_ptr_array_new();
    g_autofree char *hint = NULL;
    static const char *const others[] = { "day", "weekday", "month", "hour" };

    for (guint i = 0; i < G_N_ELEMENTS(day_names); i++)
        g_ptr_array_add(known, (gpointer)day_names[i]);
    for (guint i = 0; i < G_N_ELEMENTS(others); i++)
        g_ptr_array_add(known, (gpointer)others[i]);
    const char *nearest = *p->words ? nearest_word(*p->words, known) : NULL;
    if (nearest)
        hint = g_strdup_printf("did you mean '%s'?", nearest);
    return refuse(p, "day, weekday, month or number of hours",
                  hint ? hint
                       : "write 'every day 02:00', 'every monday 03:30', 'every month 1 04:00' or "
                         "'every 6 hours'");
}

/* "monday" or "monday,thursday": FALSE without an error set if it is none. */
static gboolean take_weekdays(Parser *p, guint *ret_days)
{
    g_auto(GStrv) names = g_strsplit(*p->words ? *p->words : "", ",", -1);
    guint days = 0;

    for (guint i = 0; names[i]; i++) {
        guint day = 0;
        while (day < 7 && g_ascii_strcasecmp(names[i], day_names[day]))
            day++;
        if (day == 7)
            return FALSE;
        days |= 1u << day;
    }
    if (!days)
        return FALSE;
    p->words++;
    *ret_days = days;
    return TRUE;
}

static gboolean take_hours(Parser *p, guint number, ArchiveSchedule *s)
{
    static const char hint[] = "write 1, 2, 3, 4, 6, 8 or 12 hours, so that the runs are at the "
                               "same times each day";
    gboolean is_possible = FALSE;

    for (guint i = 0; i < G_N_ELEMENTS(possible_hours); i++)
        is_possible |= possible_hours[i] == number;
    if (!is_possible)
        return refuse(p, "number of hours that divides a day", hint);
    p->words++;
    if (!take(p, "hours") && !(number == 1 && take(p, "hour")))
        return refuse(p, "unit of time here", "write 'every 6 hours'");
    s->kind = SCHEDULE_HOURS;
    s->hours = number;
    return TRUE;
}

static gboolean take_when(Parser *p, ArchiveSchedule *s)
{
    guint number = 0;

    if (is_number(*p->words, G_MAXUINT, &number))
        return take_hours(p, number, s);
    if (take(p, "hour")) {
        s->kind = SCHEDULE_HOURS;
        s->hours = 1;
        return TRUE;
    }
    if (take(p, "month")) {
        s->kind = SCHEDULE_MONTH;
        if (!is_number(*p->words, 31, &s->month_day) || s->month_day == 0)
            return refuse(p, "day of the month", "write 'every month 1 04:00', with 1 to 31");
        p->words++;
        return take_time(p, &s->minute);
    }
    s->kind = SCHEDULE_DAYS;
    if (take(p, "day"))
        s->weekdays = ALL_DAYS;
    else if (take(p, "weekday"))
        s->weekdays = WORKDAYS;
    else if (!take_weekdays(p, &s->weekdays))
        return refuse_when(p);
    return take_time(p, &s->minute);
}

/* The commas that part "keep" from the rest, and those behind a rule, are for people. */
static char **words_of(const char *text)
{
    char **words = prune_words(text);

    for (guint i = 0; words[i]; i++) {
        gsize len = strlen(words[i]);
        if (len > 1 && words[i][len - 1] == ',')
            words[i][len - 1] = '\0';
    }
    return words;
}

gboolean archive_schedule_parse(const char *text, ArchiveSchedule *ret_schedule, GError **error)
{
    g_auto(GStrv) words = words_of(text);
    Parser p = { words, error };
    ArchiveSchedule s = { 0 };

    if (!take(&p, "every"))
        return refuse(&p, "beginning of a schedule: 'every'",
                      "write for example 'every day 02:00, keep last 3 daily 7'");
    if (!take_when(&p, &s))
        return FALSE;
    if (take(&p, "keep")) {
        g_autofree char *rules = g_strjoinv(" ", p.words);
        if (!prune_policy_parse(rules, &s.keep, error))
            return FALSE;
        if (prune_policy_is_empty(&s.keep)) {
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "'keep' keeps nothing");
            imaged_error_hint(error, "say for example 'keep last 3 daily 7', or leave 'keep' away "
                                     "to keep all");
            return FALSE;
        }
    } else if (*p.words) {
        return refuse(&p, "part of a schedule here", "only 'keep ...' may follow the time");
    }
    *ret_schedule = s;
    return TRUE;
}

/* ---- printing ---- */

static void append_days(GString *out, guint days)
{
    const char *comma = "";

    if (days == ALL_DAYS || days == WORKDAYS) {
        g_string_append(out, days == ALL_DAYS ? "day" : "weekday");
        return;
    }
    for (guint i = 0; i < 7; i++) {
        if (!(days & 1u << i))
            continue;
        g_string_append_printf(out, "%s%s", comma, day_names[i]);
        comma = ",";
    }
}

char *archive_schedule_format(const ArchiveSchedule *s)
{
    g_autoptr(GString) out = g_string_new("every ");

    if (s->kind == SCHEDULE_HOURS && s->hours == 1)
        g_string_append(out, "hour");
    else if (s->kind == SCHEDULE_HOURS)
        g_string_append_printf(out, "%u hours", s->hours);
    else if (s->kind == SCHEDULE_MONTH)
        g_string_append_printf(out, "month %u", s->month_day);
    else
        append_days(out, s->weekdays);
    if (s->kind != SCHEDULE_HOURS)
        g_string_append_printf(out, " %02u:%02u", s->minute / 60, s->minute % 60);
    if (!prune_policy_is_empty(&s->keep)) {
        g_autofree char *rules = prune_policy_format(&s->keep);
        g_string_append_printf(out, ", keep %s", rules);
    }
    return g_string_free(g_steal_pointer(&out), FALSE);
}

/* ---- times ---- */

static gint64 offset_at(GTimeZone *zone, gint64 utc)
{
    gint interval = g_time_zone_find_interval(zone, G_TIME_TYPE_UNIVERSAL, utc);

    return g_time_zone_get_offset(zone, interval);
}

/* The moment when the zone's clocks first show local (seconds since 1970 as if there were no
 * offsets), or skip it.  Clocks change at most once in the two days around it: what is skipped lies
 * between the offsets before and after. */
static gint64 moment_of(GTimeZone *zone, gint64 local)
{
    gint64 before = offset_at(zone, local - DAY_S), after = offset_at(zone, local + DAY_S);
    gint64 early = local - MAX(before, after), late = local - MIN(before, after);

    if (early + offset_at(zone, early) == local)
        return early;
    if (late + offset_at(zone, late) == local)
        return late;
    while (early < late) { /* the first moment that shows no less */
        gint64 middle = early + (late - early) / 2;
        if (middle + offset_at(zone, middle) < local)
            early = middle + 1;
        else
            late = middle;
    }
    return late;
}

static gboolean has_day(const ArchiveSchedule *s, const GDate *day)
{
    guint last = g_date_get_days_in_month(g_date_get_month(day), g_date_get_year(day));

    switch (s->kind) {
    case SCHEDULE_DAYS:
        return s->weekdays >> (g_date_get_weekday(day) - G_DATE_MONDAY) & 1;
    case SCHEDULE_MONTH:
        return g_date_get_day(day) == MIN(s->month_day, last);
    case SCHEDULE_HOURS:
        break;
    }
    return TRUE;
}

gint64 archive_schedule_next(const ArchiveSchedule *s, gint64 after_ms, GTimeZone *zone)
{
    gint64 after = after_ms / 1000 - (after_ms % 1000 < 0); /* slots are whole seconds */
    guint step = s->kind == SCHEDULE_HOURS ? s->hours * 60 : 24 * 60;
    guint first = s->kind == SCHEDULE_HOURS ? 0 : s->minute;
    GDate day;

    if (after > LAST_S)
        return G_MAXINT64;
    after = MAX(after, FIRST_S);
    g_autoptr(GDateTime) utc = g_date_time_new_from_unix_utc(after);
    g_date_clear(&day, 1);
    g_date_set_dmy(&day, (GDateDay)g_date_time_get_day_of_month(utc),
                   (GDateMonth)g_date_time_get_month(utc), (GDateYear)g_date_time_get_year(utc));
    gint64 midnight = after - ((after % DAY_S) + DAY_S) % DAY_S - DAY_S;
    g_date_subtract_days(&day, 1);
    for (guint i = 0; i < DAYS_AHEAD; i++, midnight += DAY_S, g_date_add_days(&day, 1)) {
        for (guint minute = first; has_day(s, &day) && minute < 24 * 60; minute += step) {
            gint64 moment = moment_of(zone, midnight + 60 * (gint64)minute);
            if (moment > after)
                return moment * 1000;
        }
    }
    return G_MAXINT64;
}

ScheduleVerdict archive_schedule_look(const ArchiveSchedule *schedule, gint64 last_run_ms,
                                      gint64 now_ms, GTimeZone *zone)
{
    gboolean is_wrong = now_ms < G_MAXINT64 - TRUSTED_MS && last_run_ms > now_ms + TRUSTED_MS;
    gint64 last = is_wrong ? now_ms : last_run_ms;
    gint64 next = archive_schedule_next(schedule, last, zone);

    return (ScheduleVerdict){ next <= now_ms, next, last };
}
