/* test_archive_schedule.c: schedules as typed, as printed, and the times they mean. */
#include <glib.h>
#include <string.h>

#include "imaged/base/error.h"
#include "snapshot/archive_schedule.h"

#define BERLIN "Europe/Berlin"

static void test_texts(void)
{
    static const struct {
        const char *text, *canonical;
    } table[] = {
        { "every day 02:00", "every day 02:00" },
        { "  Every\tDAY at 2:00 ", "every day 02:00" },
        { "every day 00:00", "every day 00:00" },
        { "every day 23:59", "every day 23:59" },
        { "every monday 03:30", "every monday 03:30" },
        { "every thursday,Monday 03:30", "every monday,thursday 03:30" },
        { "every monday,monday 03:30", "every monday 03:30" },
        { "every weekday 03:30", "every weekday 03:30" },
        { "every monday,tuesday,wednesday,thursday,friday 03:30", "every weekday 03:30" },
        { "every sunday 03:30 keep last 1", "every sunday 03:30, keep last 1" },
        { "every 6 hours", "every 6 hours" },
        { "every 1 hours", "every hour" },
        { "every 1 hour", "every hour" },
        { "every hour", "every hour" },
        { "every 12 hours, keep daily 7", "every 12 hours, keep daily 7" },
        { "every month 1 04:00", "every month 1 04:00" },
        { "every month 31 04:00", "every month 31 04:00" },
        { "every day 02:00, keep last 3 daily 7 weekly 4 monthly 6",
          "every day 02:00, keep last 3 daily 7 weekly 4 monthly 6" },
        { "every day 02:00 keep monthly 6, last 3", "every day 02:00, keep last 3 monthly 6" },
    };

    for (guint i = 0; i < G_N_ELEMENTS(table); i++) {
        g_autoptr(GError) error = NULL;
        ArchiveSchedule schedule, again;
        archive_schedule_parse(table[i].text, &schedule, &error);
        g_assert_no_error(error);
        g_autofree char *text = archive_schedule_format(&schedule);
        g_assert_cmpstr(text, ==, table[i].canonical);
        g_assert_true(archive_schedule_parse(text, &again, &error));
        g_autofree char *twice = archive_schedule_format(&again);
        g_assert_cmpstr(text, ==, twice);
    }
}

static void test_refused(void)
{
    static const struct {
        const char *text, *message, *hint; /* parts of them */
    } table[] = {
        { "", "must stand", "every day" },
        { "daily 02:00", "'daily'", "every day 02:00" },
        { "every", "ends where", "every 6 hours" },
        { "every dya 02:00", "'dya'", "'day'" },
        { "every mondey 02:00", "'mondey'", "'monday'" },
        { "every monday,", "ends where time of day", "02:00" },
        { "every monday,funday 02:00", "'monday,funday'", "every" },
        { "every ,monday 02:00", "',monday'", "monday" },
        { "every day", "ends where time of day", "02:00" },
        { "every day 24:00", "'24:00' is no time of day", "23:59" },
        { "every day 2", "'2' is no time of day", "02:00" },
        { "every day 02:60", "'02:60'", "02:00" },
        { "every day 02:0", "'02:0'", "02:00" },
        { "every day 002:00", "'002:00'", "02:00" },
        { "every day +2:00", "'+2:00'", "02:00" },
        { "every day :00", "':00'", "02:00" },
        { "every day 02:00:00", "'02:00:00'", "02:00" },
        { "every day 02:00 pm", "'pm'", "keep" },
        { "every 5 hours", "'5' is no number of hours", "1, 2, 3, 4, 6, 8 or 12" },
        { "every 0 hours", "'0'", "1, 2, 3" },
        { "every 24 hours", "'24'", "12 hours" },
        { "every 99999999999 hours", "'99999999999'", "every 6 hours" },
        { "every 6 minutes", "'minutes' is no unit", "every 6 hours" },
        { "every 6", "ends where unit", "every 6 hours" },
        { "every month 04:00", "'04:00' is no day of the month", "1 to 31" },
        { "every month 0 04:00", "'0' is no day", "1 to 31" },
        { "every month 32 04:00", "'32' is no day", "1 to 31" },
        { "every month 1", "ends where time", "02:00" },
        { "every day 02:00, keep", "keeps nothing", "last 3" },
        { "every day 02:00, keep last 0", "keeps nothing", "last 3" },
        { "every day 02:00, keep dayly 3", "'dayly'", "'daily'" },
        { "every day 02:00, keep last", "no number follows 'last'", "last 7" },
        { "every \x1b[31m", "is no day", "every" },
    };

    for (guint i = 0; i < G_N_ELEMENTS(table); i++) {
        g_autoptr(GError) error = NULL;
        ArchiveSchedule schedule;
        if (archive_schedule_parse(table[i].text, &schedule, &error)) {
            g_test_fail_printf("'%s' is taken", table[i].text);
            continue;
        }
        g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID);
        g_autofree char *message = imaged_error_message(error);
        const char *hint = imaged_error_get_hint(error);
        if (!strstr(message, table[i].message) || !hint || !strstr(hint, table[i].hint))
            g_test_fail_printf("'%s' gives: %s", table[i].text, error->message);
        for (const char *c = message; *c; c++)
            g_assert_true(g_ascii_isprint(*c));
    }
}

static gint64 ms_of(const char *text, GTimeZone *zone)
{
    g_autoptr(GDateTime) time = g_date_time_new_from_iso8601(text, zone);

    g_assert_nonnull(time);
    return g_date_time_to_unix(time) * 1000;
}

static ArchiveSchedule schedule_of(const char *text)
{
    g_autoptr(GError) error = NULL;
    ArchiveSchedule schedule;

    archive_schedule_parse(text, &schedule, &error);
    g_assert_no_error(error);
    return schedule;
}

/* From a time, the next slots one after the other, in UTC. */
static void test_next(void)
{
    static const struct {
        const char *text, *zone, *after, *slots;
    } table[] = {
        { "every day 02:00", "UTC", "2026-11-21T01:59:59Z",
          "2026-11-21T02:00 2026-11-22T02:00 2026-11-23T02:00" },
        { "every day 02:00", "UTC", "2026-11-21T02:00:00Z", "2026-11-22T02:00" },
        { "every day 02:00", "UTC", "2026-12-30T12:00:00Z", "2026-12-31T02:00 2027-01-01T02:00" },
        { "every day 02:00", BERLIN, "2026-11-21T00:00:00Z", "2026-11-21T01:00" },
        { "every day 00:30", "Pacific/Kiritimati", "2026-11-20T10:29:00Z",
          "2026-11-20T10:30 2026-11-21T10:30" }, /* +14 */
        { "every day 23:30", "Pacific/Pago_Pago", "2026-11-20T10:29:00Z",
          "2026-11-20T10:30 2026-11-21T10:30" }, /* -11 */
        /* summer time begins: 02:00 to 03:00 do not exist on March 29 */
        { "every day 02:00", BERLIN, "2026-03-27T12:00:00Z",
          "2026-03-28T01:00 2026-03-29T01:00 2026-03-30T00:00" },
        { "every day 02:30", BERLIN, "2026-03-27T12:00:00Z",
          "2026-03-28T01:30 2026-03-29T01:00 2026-03-30T00:30" },
        { "every day 03:00", BERLIN, "2026-03-28T12:00:00Z", "2026-03-29T01:00" },
        /* it ends: 02:00 to 03:00 come twice on October 25, and count once */
        { "every day 02:00", BERLIN, "2026-10-24T12:00:00Z", "2026-10-25T00:00 2026-10-26T01:00" },
        { "every day 02:30", BERLIN, "2026-10-24T12:00:00Z", "2026-10-25T00:30 2026-10-26T01:30" },
        { "every day 02:30", BERLIN, "2026-10-25T01:15:00Z", "2026-10-26T01:30" },
        { "every hour", BERLIN, "2026-03-29T00:30:00Z", /* 03:00 stands for 02:00 too */
          "2026-03-29T01:00 2026-03-29T02:00" },
        { "every hour", BERLIN, "2026-10-24T23:30:00Z",
          "2026-10-25T00:00 2026-10-25T02:00 2026-10-25T03:00" },
        { "every 6 hours", BERLIN, "2026-10-24T20:00:00Z",
          "2026-10-24T22:00 2026-10-25T05:00 2026-10-25T11:00 2026-10-25T17:00 "
          "2026-10-25T23:00" },
        /* a gap at midnight (Beirut, 2026-03-29), and one of a whole day (Apia, 2011-12-30) */
        { "every day 00:00", "Asia/Beirut", "2026-03-28T00:00:00Z",
          "2026-03-28T22:00 2026-03-29T21:00" },
        { "every day 12:00", "Pacific/Apia", "2011-12-29T00:00:00Z",
          "2011-12-29T22:00 2011-12-30T10:00 2011-12-30T22:00" },
        { "every monday 03:30", "UTC", "2026-11-21T00:00:00Z",
          "2026-11-23T03:30 2026-11-30T03:30" },
        { "every monday,thursday 03:30", "UTC", "2026-11-23T03:30:00Z",
          "2026-11-26T03:30 2026-11-30T03:30" },
        { "every weekday 03:30", "UTC", "2026-11-20T03:30:00Z",
          "2026-11-23T03:30 2026-11-24T03:30" },
        { "every sunday 00:00", BERLIN, "2026-11-20T00:00:00Z",
          "2026-11-21T23:00 2026-11-28T23:00" },
        { "every month 1 04:00", "UTC", "2026-11-21T00:00:00Z",
          "2026-12-01T04:00 2027-01-01T04:00" },
        { "every month 31 04:00", "UTC", "2027-01-31T04:00:00Z",
          "2027-02-28T04:00 2027-03-31T04:00 2027-04-30T04:00" },
        { "every month 29 04:00", "UTC", "2028-02-01T00:00:00Z", "2028-02-29T04:00" },
        { "every 6 hours", "UTC", "2026-11-21T18:00:00Z", "2026-11-22T00:00 2026-11-22T06:00" },
        { "every 8 hours", "UTC", "2026-11-21T00:00:00Z",
          "2026-11-21T08:00 2026-11-21T16:00 2026-11-22T00:00" },
        { "every day 00:00", "UTC", "1969-12-31T23:59:59Z", "1970-01-01T00:00" },
        { "every day 02:00", "UTC", "1969-12-30T02:00:00Z", "1969-12-31T02:00" },
    };

    for (guint i = 0; i < G_N_ELEMENTS(table); i++) {
        g_autoptr(GTimeZone) zone = g_time_zone_new_identifier(table[i].zone);
        g_auto(GStrv) slots = g_strsplit(table[i].slots, " ", -1);
        ArchiveSchedule schedule = schedule_of(table[i].text);
        gint64 at = ms_of(table[i].after, zone);
        g_assert_nonnull(zone);
        for (guint k = 0; slots[k]; k++) {
            at = archive_schedule_next(&schedule, at, zone);
            g_autoptr(GDateTime) time = g_date_time_new_from_unix_utc(at / 1000);
            g_autofree char *got = g_date_time_format(time, "%Y-%m-%dT%H:%M");
            if (strcmp(got, slots[k]))
                g_test_fail_printf("'%s' in %s after %s: slot %u is %s, not %s", table[i].text,
                                   table[i].zone, table[i].after, k, got, slots[k]);
        }
    }
}

/* For any time in five years and any schedule: the next slot lies ahead, not too far, at the hour
 * it says unless the clocks skip that; and nothing lies between. */
static void test_next_laws(void)
{
    static const char *const zones[] = { "UTC",
                                         BERLIN,
                                         "America/New_York",
                                         "Asia/Kathmandu",
                                         "Australia/Lord_Howe",
                                         "America/Santiago",
                                         "Asia/Beirut",
                                         "Africa/Casablanca" };
    static const struct {
        const char *text;
        gint64 longest_h;
    } table[] = {
        { "every day 02:15", 25 },
        { "every tuesday 00:00", 7 * 24 + 1 },
        { "every hour", 2 },
        { "every 4 hours", 5 },
        { "every month 30 02:30", 31 * 24 + 1 },
        { "every weekday 01:30", 73 },
    };
    g_autoptr(GRand) rand = g_rand_new_with_seed(3);

    for (guint round = 0; round < 3000; round++) {
        g_autoptr(GTimeZone) zone = g_time_zone_new_identifier(zones[round % G_N_ELEMENTS(zones)]);
        guint row = round / 8 % G_N_ELEMENTS(table);
        ArchiveSchedule schedule = schedule_of(table[row].text);
        gint64 from = 1767225600000 + (gint64)g_rand_double_range(rand, 0, 5 * 365 * 864e5);
        gint64 next = archive_schedule_next(&schedule, from, zone);
        g_assert_cmpint(next, >, from);
        g_assert_cmpint(next - from, <=, table[row].longest_h * 3600000);
        gint64 between = from + (gint64)(g_rand_double(rand) * (gdouble)(next - from));
        g_assert_cmpint(archive_schedule_next(&schedule, MIN(between, next - 1), zone), ==, next);
        g_assert_cmpint(archive_schedule_next(&schedule, next, zone), >, next);
    }
}

static void test_extreme_times(void)
{
    g_autoptr(GTimeZone) zone = g_time_zone_new_identifier(BERLIN);
    ArchiveSchedule schedule = schedule_of("every month 31 02:00");

    g_assert_cmpint(archive_schedule_next(&schedule, G_MAXINT64, zone), ==, G_MAXINT64);
    g_assert_cmpint(archive_schedule_next(&schedule, G_MININT64, zone), <, 0);
    g_assert_cmpint(archive_schedule_next(&schedule, -1, zone), ==, 30 * 86400000ll + 3600000);
    g_assert_false(archive_schedule_look(&schedule, G_MAXINT64, 0, zone).is_due);
    g_assert_true(archive_schedule_look(&schedule, G_MININT64, 0, zone).is_due);
    g_assert_false(archive_schedule_look(&schedule, G_MAXINT64, G_MAXINT64 - 1, zone).is_due);
}

static void test_due(void)
{
    static const struct {
        const char *name, *last, *now;
        gboolean is_due;
        const char *next, *noted; /* noted: NULL if as given */
    } table[] = {
        { "not yet", "2026-11-20T02:00:01Z", "2026-11-21T01:59:59Z", FALSE, "2026-11-21T02:00:00Z",
          NULL },
        { "now", "2026-11-20T02:00:01Z", "2026-11-21T02:00:00Z", TRUE, "2026-11-21T02:00:00Z",
          NULL },
        { "once", "2026-11-21T02:00:00Z", "2026-11-21T02:00:01Z", FALSE, "2026-11-22T02:00:00Z",
          NULL },
        { "missed for a week", "2026-11-14T02:00:00Z", "2026-11-21T14:00:00Z", TRUE,
          "2026-11-15T02:00:00Z", NULL },
        { "and caught up once", "2026-11-21T14:00:00Z", "2026-11-21T14:00:01Z", FALSE,
          "2026-11-22T02:00:00Z", NULL },
        { "the clock was put back an hour", "2026-11-21T02:00:01Z", "2026-11-21T01:10:00Z", FALSE,
          "2026-11-22T02:00:00Z", NULL },
        { "and comes to the slot again", "2026-11-21T02:00:01Z", "2026-11-21T02:00:00Z", FALSE,
          "2026-11-22T02:00:00Z", NULL },
        { "the last run was noted in 2099", "2099-01-01T00:00:00Z", "2026-11-21T14:00:00Z", FALSE,
          "2026-11-22T02:00:00Z", "2026-11-21T14:00:00Z" },
    };
    g_autoptr(GTimeZone) zone = g_time_zone_new_utc();
    ArchiveSchedule schedule = schedule_of("every day 02:00");

    for (guint i = 0; i < G_N_ELEMENTS(table); i++) {
        gint64 last = ms_of(table[i].last, zone), now = ms_of(table[i].now, zone);
        ScheduleVerdict verdict = archive_schedule_look(&schedule, last, now, zone);
        g_test_message("%s", table[i].name);
        g_assert_cmpint(verdict.is_due, ==, table[i].is_due);
        g_assert_cmpint(verdict.next_ms, ==, ms_of(table[i].next, zone));
        g_assert_cmpint(verdict.last_run_ms, ==,
                        table[i].noted ? ms_of(table[i].noted, zone) : last);
    }
}

/* A daemon that looks every minute for a year, through both changes of the clocks, a week off and a
 * clock put back: one run a day that it was up. */
static void test_year(void)
{
    g_autoptr(GTimeZone) zone = g_time_zone_new_identifier(BERLIN);
    ArchiveSchedule schedule = schedule_of("every day 02:30");
    gint64 start = ms_of("2026-01-01T00:00:00Z", zone), last = start;
    guint n_runs = 0;

    for (gint64 minute = 0; minute < 365 * 1440; minute += 5) {
        gint64 day = minute / 1440, now = start + minute * 60000;
        if (day >= 100 && day < 107)
            continue; /* off: seven runs become one */
        if (day == 200 && minute % 1440 >= 60 && minute % 1440 < 120)
            now -= 3600000; /* 03:00 to 04:00 is shown again as 02:00 to 03:00 */
        ScheduleVerdict verdict = archive_schedule_look(&schedule, last, now, zone);
        last = verdict.last_run_ms;
        if (verdict.is_due) {
            last = now;
            n_runs++;
        }
    }
    g_assert_cmpuint(n_runs, ==,
                     365 - 7 + 1);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/schedule/texts", test_texts);
    g_test_add_func("/schedule/refused", test_refused);
    g_test_add_func("/schedule/next", test_next);
    g_test_add_func("/schedule/next-laws", test_next_laws);
    g_test_add_func("/schedule/extreme-times", test_extreme_times);
    g_test_add_func("/schedule/due", test_due);
    g_test_add_func("/schedule/year", test_year);
    return g_test_run();
}
