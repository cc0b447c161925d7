/* test_lease.c: hours of the week through the changes of clocks, and the ends of leases. */
#include <glib.h>

#include "broker/pool/lease.h"
#include "broker/pool/spares.h"
#include "imaged/base/error.h"

/* "2026-03-29T01:30:00+01:00" */
static gint64 at(const char *text)
{
    g_autoptr(GDateTime) time = g_date_time_new_from_iso8601(text, NULL);

    g_assert_nonnull(time);
    return g_date_time_to_unix(time) * 1000;
}

typedef struct {
    const char *hours, *zone, *now;
    gboolean is_open;
    const char *until; /* NULL: never changes */
} Case;

#define BERLIN "Europe/Berlin"
#define OFFICE "mon-fri 08:00-17:00"

static const Case cases[] = {
    /* 2026-11-23 is a Monday */
    { OFFICE, BERLIN, "2026-11-23T07:59:59+01:00", FALSE, "2026-11-23T08:00:00+01:00" },
    { OFFICE, BERLIN, "2026-11-23T08:00:00+01:00", TRUE, "2026-11-23T17:00:00+01:00" },
    { OFFICE, BERLIN, "2026-11-23T16:59:59+01:00", TRUE, "2026-11-23T17:00:00+01:00" },
    { OFFICE, BERLIN, "2026-11-23T17:00:00+01:00", FALSE, "2026-11-24T08:00:00+01:00" },
    { OFFICE, BERLIN, "2026-11-27T18:00:00+01:00", FALSE, "2026-11-30T08:00:00+01:00" },
    { OFFICE, NULL, "2026-11-23T16:30:00Z", TRUE, "2026-11-23T17:00:00Z" },
    { OFFICE, "America/New_York", "2026-11-23T12:59:00Z", FALSE, "2026-11-23T13:00:00Z" },
    { OFFICE, "Asia/Kolkata", "2026-11-23T02:31:00Z", TRUE, "2026-11-23T11:30:00Z" },
    { OFFICE, "Pacific/Kiritimati", "2026-11-22T18:30:00Z", TRUE, "2026-11-23T03:00:00Z" },
    /* one after the other, and over one another */
    { "mon 08:00-12:00, mon 12:00-17:00", NULL, "2026-11-23T09:00:00Z", TRUE,
      "2026-11-23T17:00:00Z" },
    { "mon 08:00-13:00, mon 12:00-17:00", NULL, "2026-11-23T09:00:00Z", TRUE,
      "2026-11-23T17:00:00Z" },
    /* over midnight, over the end of the week */
    { "fri 22:00-02:00", NULL, "2026-11-28T01:59:00Z", TRUE, "2026-11-28T02:00:00Z" },
    { "fri 22:00-02:00", NULL, "2026-11-28T02:00:00Z", FALSE, "2026-12-04T22:00:00Z" },
    { "sat-mon 00:00-24:00", NULL, "2026-11-22T12:00:00Z", TRUE, "2026-11-24T00:00:00Z" },
    { "sun 20:00-04:00, mon 04:00-08:00", NULL, "2026-11-22T21:00:00Z", TRUE,
      "2026-11-23T08:00:00Z" },
    { "daily 00:00-24:00", BERLIN, "2026-11-23T12:00:00Z", TRUE, NULL },
    { "mon-sun 00:00-24:00", NULL, "2026-11-23T00:00:00Z", TRUE, NULL },
    /* clocks go forward: 2026-03-29, 02:00 is 03:00 in Berlin */
    { "sun 01:00-04:00", BERLIN, "2026-03-29T01:59:59+01:00", TRUE, "2026-03-29T04:00:00+02:00" },
    { "sun 01:00-04:00", BERLIN, "2026-03-29T03:59:59+02:00", TRUE, "2026-03-29T04:00:00+02:00" },
    { "sun 02:30-05:00", BERLIN, "2026-03-29T01:59:59+01:00", FALSE, "2026-03-29T03:00:00+02:00" },
    { "sun 01:00-02:30", BERLIN, "2026-03-29T01:30:00+01:00", TRUE, "2026-03-29T03:00:00+02:00" },
    { "sun 02:10-02:50", BERLIN, "2026-03-29T01:30:00+01:00", FALSE, "2026-04-05T02:10:00+02:00" },
    { "daily 08:00-17:00", BERLIN, "2026-03-28T18:00:00+01:00", FALSE,
      "2026-03-29T08:00:00+02:00" },
    /* clocks go back: 2026-10-25, 03:00 is 02:00 again */
    { "sun 02:30-04:00", BERLIN, "2026-10-25T02:29:00+02:00", FALSE, "2026-10-25T02:30:00+02:00" },
    { "sun 02:30-04:00", BERLIN, "2026-10-25T02:10:00+01:00", TRUE, "2026-10-25T04:00:00+01:00" },
    { "sun 01:00-02:30", BERLIN, "2026-10-25T02:20:00+01:00", TRUE, "2026-10-25T02:30:00+01:00" },
    { "daily 08:00-17:00", BERLIN, "2026-10-24T18:00:00+02:00", FALSE,
      "2026-10-25T08:00:00+01:00" },
    /* half an hour, on the other side of the world */
    { "sun 01:00-04:00", "Australia/Lord_Howe", "2026-10-03T15:00:00Z", TRUE,
      "2026-10-03T17:00:00Z" },
};

static void test_weekly(void)
{
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        const Case *c = &cases[i];
        g_autoptr(GError) error = NULL;
        g_autoptr(Weekly) w = weekly_parse(c->hours, c->zone, NULL, &error);
        gint64 until = -1;
        g_assert_no_error(error);
        g_test_message("%u: %s at %s", i, c->hours, c->now);
        g_assert_cmpint(weekly_is_open(w, at(c->now), &until), ==, c->is_open);
        g_assert_cmpint(until, ==, c->until ? at(c->until) : 0);
    }
}

static void test_holidays(void)
{
    json_auto_t *days = json_pack("[s,s]", "2026-12-25", "2026-12-28");
    g_autoptr(Weekly) w = weekly_parse(OFFICE, BERLIN, days, NULL);
    gint64 until;

    g_assert_true(weekly_is_open(w, at("2026-12-24T10:00:00+01:00"), &until));
    g_assert_false(weekly_is_open(w, at("2026-12-25T10:00:00+01:00"), &until));
    g_assert_cmpint(until, ==, at("2026-12-29T08:00:00+01:00"));
    /* one that began on the day before goes on into it */
    json_auto_t *christmas = json_pack("[s]", "2026-12-25");
    g_autoptr(Weekly) night = weekly_parse("daily 22:00-06:00", BERLIN, christmas, NULL);
    g_assert_true(weekly_is_open(night, at("2026-12-25T05:00:00+01:00"), &until));
    g_assert_cmpint(until, ==, at("2026-12-25T06:00:00+01:00"));
    g_assert_false(weekly_is_open(night, at("2026-12-25T23:00:00+01:00"), &until));
}

static void test_refused(void)
{
    static const char *const hours[] = { "",
                                         "mon",
                                         "mon 9-17",
                                         "mon 09:00",
                                         "mon 09:00-25:00",
                                         "mon 24:00-25:00",
                                         "mon 09:60-10:00",
                                         "noday 09:00-10:00",
                                         "mon-noday 09:00-10:00",
                                         "mon 09:00-10:00 x",
                                         "mon 09:00-10:00,",
                                         "mon 24:00-06:00",
                                         "m\xc3\xb6n 09:00-10:00" };
    static const char *const zones[] = { "Mars/Olympus", "../../etc/passwd", "/etc/localtime", "",
                                         "Europe/Berlin\nx" };

    for (guint i = 0; i < G_N_ELEMENTS(hours); i++) {
        g_autoptr(GError) error = NULL;
        g_test_message("%s", hours[i]);
        g_assert_null(weekly_parse(hours[i], NULL, NULL, &error));
        g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID);
    }
    for (guint i = 0; i < G_N_ELEMENTS(zones); i++) {
        g_autoptr(GError) error = NULL;
        g_test_message("%s", zones[i]);
        g_assert_null(weekly_parse(OFFICE, zones[i], NULL, &error));
        g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID);
    }
    json_auto_t *days = json_pack("[s]", "2026-13-45");
    g_autoptr(GError) error = NULL;
    g_assert_null(weekly_parse(OFFICE, NULL, days, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID);
}

/* The first of duration, date and the end of the hours. */
static void test_end(void)
{
    static const struct {
        const char *terms, *now, *end;
    } ends[] = {
        { "{}", "2026-11-23T09:00:00Z", NULL },
        { "{\"lease_s\": 3600}", "2026-11-23T09:00:00Z", "2026-11-23T10:00:00Z" },
        { "{\"lease_s\": 3600, \"hours\": \"mon 08:00-09:30\"}", "2026-11-23T09:00:00Z",
          "2026-11-23T09:30:00Z" },
        { "{\"lease_s\": 60, \"hours\": \"mon 08:00-09:30\"}", "2026-11-23T09:00:00Z",
          "2026-11-23T09:01:00Z" },
        { "{\"lease_s\": 3600, \"until_ms\": 1000}", "2026-11-23T09:00:00Z",
          "1970-01-01T00:00:01Z" },
        { "{\"hours\": \"daily 00:00-24:00\"}", "2026-11-23T09:00:00Z", NULL },
    };

    for (guint i = 0; i < G_N_ELEMENTS(ends); i++) {
        g_test_message("%s", ends[i].terms);
        g_assert_cmpint(lease_end(ends[i].terms, at(ends[i].now)), ==,
                        ends[i].end ? at(ends[i].end) : 0);
    }
}

/* A lease under a fake clock: told once before its end, ended once the grace is over. */
static void test_steps(void)
{
    g_auto(LeaseTerms) terms = { 0 };
    gint64 end = 1000000000, next;

    g_assert_true(lease_terms_read("{\"warn_s\": 600, \"grace_s\": 300}", &terms, NULL));
    g_assert_cmpint(lease_step(&terms, 0, FALSE, end, &next), ==, LEASE_WAIT);
    g_assert_cmpint(next, ==, 0);
    g_assert_cmpint(lease_step(&terms, end, FALSE, end - 600001, &next), ==, LEASE_WAIT);
    g_assert_cmpint(next, ==, end - 600000);
    g_assert_cmpint(lease_step(&terms, end, FALSE, next, &next), ==, LEASE_WARN);
    g_assert_cmpint(next, ==, end + 300000);
    g_assert_cmpint(lease_step(&terms, end, TRUE, end, &next), ==, LEASE_WAIT);
    g_assert_cmpint(next, ==, end + 300000);
    g_assert_cmpint(lease_step(&terms, end, TRUE, next, &next), ==, LEASE_END);
    /* after a long stop: it ends though nobody was told */
    g_assert_cmpint(lease_step(&terms, end, FALSE, end * 2, &next), ==, LEASE_END);
}

static void test_extend(void)
{
    g_auto(LeaseTerms) terms = { 0 };
    g_autoptr(GError) error = NULL;
    gint64 until;

    g_assert_true(lease_terms_read("{\"max_extensions\": 2, \"extension_s\": 60, \"until_ms\":"
                                   " 200000}",
                                   &terms, NULL));
    g_assert_true(lease_extend(&terms, 100000, 0, &until, &error));
    g_assert_cmpint(until, ==, 160000);
    g_assert_true(lease_extend(&terms, until, 1, &until, &error));
    g_assert_cmpint(until, ==, 200000); /* not beyond the date */
    g_assert_false(lease_extend(&terms, until, 1, &until, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_DENIED);
    g_clear_error(&error);
    g_assert_false(lease_extend(&terms, 100000, 2, &until, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_DENIED);
}

static void test_terms_refused(void)
{
    static const char *const bad[] = { "[]",
                                       "{\"lease_s\": -1}",
                                       "{\"lease_s\": \"1h\"}",
                                       "{\"warn_s\": 99999999999}",
                                       "{\"end_action\": \"explode\"}",
                                       "{\"end_action\": 1}",
                                       "{\"hours\": \"x\"}",
                                       "{\"max_extensions\": 1.5}" };

    for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_auto(LeaseTerms) terms = { 0 };
        g_autoptr(GError) error = NULL;
        g_test_message("%s", bad[i]);
        g_assert_false(lease_terms_read(bad[i], &terms, &error));
        g_assert_nonnull(error);
    }
}

static void test_spares(void)
{
    static const struct {
        SparesNeed need;
        gint64 wanted;
    } table[] = {
        { { 0, 100, 50, 0.1 }, 0 },  /* none are asked for */
        { { 3, 0, 50, 0.1 }, 3 },    /* at least those */
        { { 3, 10, 50, 0.1 }, 3 },   /* one a minute: no more than two start at a time */
        { { 3, 100, 50, 0.1 }, 15 }, /* ten a minute, and 90 s to be ready */
        { { 3, 100, 10, 0.1 }, 10 }, /* no more than there are */
        { { 3, 100, 50, 0.95 }, 3 }, /* memory is short: what was asked for alone */
        { { 3, 100, 50, 0.80 }, 9 }, /* half of what goes beyond */
    };

    for (guint i = 0; i < G_N_ELEMENTS(table); i++)
        g_assert_cmpint(spares_wanted(&table[i].need), ==, table[i].wanted);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/lease/weekly", test_weekly);
    g_test_add_func("/lease/holidays", test_holidays);
    g_test_add_func("/lease/refused", test_refused);
    g_test_add_func("/lease/end", test_end);
    g_test_add_func("/lease/steps", test_steps);
    g_test_add_func("/lease/extend", test_extend);
    g_test_add_func("/lease/terms-refused", test_terms_refused);
    g_test_add_func("/lease/spares", test_spares);
    return g_test_run();
}
