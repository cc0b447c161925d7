/* test_archive_prune.c: which points stay, table by table; and the laws that hold for any points.
 */
#include <glib.h>
#include <string.h>

#include "imaged/base/error.h"
#include "snapshot/archive_prune.h"

#define MAX_POINTS 40

typedef struct {
    const char *name, *zone, *policy;
    const char *points; /* local times, separated by spaces; ids are a, b, c, ... */
    const char *kept;   /* ids, in the order of points */
    const char *whys;   /* of some: "a=TEXT|b=TEXT" */
} Case;

#define BERLIN "Europe/Berlin"

static const Case cases[] = {
    { "none", "UTC", "last 3", "", "", "" },
    { "one, whatever the rule", "UTC", "yearly 1", "2026-01-01T00:00:00", "a",
      "a=newest of 2026 (yearly 1 of 1)" },
    { "last, given unsorted", "UTC", "last 2",
      "2026-11-20T10:00:00 2026-11-22T10:00:00 2026-11-21T10:00:00 2026-11-19T10:00:00", "bc",
      "b=among the newest (last 1 of 2)|c=among the newest (last 2 of 2)|a=no rule keeps it" },
    { "more wanted than there are", "UTC", "last 100 daily 100",
      "2026-11-20T10:00:00 2026-11-20T11:00:00", "ab",
      "b=among the newest (last 1 of 100); newest of 2026-11-20 (daily 1 of 100)" },
    { "the newest of each day; days without points do not count", "UTC", "daily 3",
      "2026-11-20T10:00:00 2026-11-20T23:59:59 2026-11-18T00:00:00 2026-10-01T12:00:00 "
      "2026-09-01T12:00:00",
      "bcd",
      "b=newest of 2026-11-20 (daily 1 of 3)|d=newest of 2026-10-01 (daily 3 of 3)|"
      "a=no rule keeps it" },
    { "the day is the zone's: 23:30 UTC is the next day in Berlin", BERLIN, "daily 1",
      "2026-11-20T23:30:00Z 2026-11-20T22:30:00Z", "a", "a=newest of 2026-11-21 (daily 1 of 1)" },
    { "the same in UTC is one day", "UTC", "daily 2", "2026-11-20T23:30:00Z 2026-11-20T22:30:00Z",
      "a", "a=newest of 2026-11-20 (daily 1 of 2)" },
    { "the day that lasts 23 hours (Berlin, 2026-03-29)", BERLIN, "daily 3",
      "2026-03-28T22:59:59Z 2026-03-28T23:00:00Z 2026-03-29T21:59:59Z 2026-03-29T22:00:00Z", "acd",
      "c=newest of 2026-03-29 (daily 2 of 3)|b=no rule keeps it" },
    { "the day that lasts 25 hours (Berlin, 2026-10-25); 02:30 comes twice", BERLIN, "daily 3",
      "2026-10-24T22:00:00Z 2026-10-25T00:30:00Z 2026-10-25T01:30:00Z 2026-10-25T22:59:59Z "
      "2026-10-25T23:00:00Z",
      "de", "d=newest of 2026-10-25 (daily 2 of 3)" },
    { "ISO weeks at the end of 2026: week 53 goes on to Sunday, January 3", "UTC", "weekly 3",
      "2026-12-27T12:00:00 2026-12-28T12:00:00 2026-12-31T12:00:00 2027-01-03T12:00:00 "
      "2027-01-04T00:00:00",
      "ade",
      "e=newest of week 2027-W01 (weekly 1 of 3)|d=newest of week 2026-W53 (weekly 2 of 3)|"
      "a=newest of week 2026-W52 (weekly 3 of 3)" },
    { "ISO weeks: December 30, 2024 is in week 1 of 2025", "UTC", "weekly 2",
      "2024-12-29T12:00:00 2024-12-30T12:00:00 2025-01-01T12:00:00", "ac",
      "c=newest of week 2025-W01 (weekly 1 of 2)|a=newest of week 2024-W52 (weekly 2 of 2)" },
    { "months and years", "UTC", "monthly 2 yearly 2",
      "2025-11-30T23:59:59 2025-12-31T23:59:59 2026-01-01T00:00:00 2026-01-31T00:00:00 "
      "2024-02-29T00:00:00",
      "bd",
      "d=newest of 2026-01 (monthly 1 of 2); newest of 2026 (yearly 1 of 2)|"
      "b=newest of 2025-12 (monthly 2 of 2); newest of 2025 (yearly 2 of 2)" },
    { "equal times: the greater id", "UTC", "last 1",
      "2026-11-20T10:00:00 2026-11-20T10:00:00 2026-11-20T10:00:00", "c", "" },
    { "rules do not take from each other", "UTC", "last 2 daily 2",
      "2026-11-20T10:00:00 2026-11-20T11:00:00 2026-11-19T10:00:00 2026-11-18T10:00:00", "abc",
      "b=among the newest (last 1 of 2); newest of 2026-11-20 (daily 1 of 2)|"
      "a=among the newest (last 2 of 2)|c=newest of 2026-11-19 (daily 2 of 2)" },
    { "from the future: stays, and does not crowd out", "UTC", "last 1",
      "2099-01-01T00:00:00 2026-11-20T10:00:00 2026-11-19T10:00:00", "ab",
      "a=made in the future, by a wrong clock: no rule counts it|"
      "b=among the newest (last 1 of 1)" },
    { "a little in the future is the present", "UTC", "last 1",
      "2026-12-02T00:00:00 2026-12-01T00:00:00", "a", "" },
    { "before 1970", "UTC", "daily 1 yearly 2", "1969-12-31T23:59:59 1970-01-01T00:00:00", "ab",
      "a=newest of 1969 (yearly 2 of 2)" },
};

/* "Now" of all cases but the one about week 53. */
#define NOW "2026-12-01T12:00:00"

static gint64 ms_of(const char *text, GTimeZone *zone)
{
    g_autoptr(GDateTime) time = g_date_time_new_from_iso8601(text, zone);

    g_assert_nonnull(time);
    return g_date_time_to_unix(time) * 1000;
}

static GTimeZone *zone_of(const char *name)
{
    GTimeZone *zone = g_time_zone_new_identifier(name);

    g_assert_nonnull(zone);
    return zone;
}

static void check_whys(const Case *c, const PruneVerdict *verdicts)
{
    g_auto(GStrv) whys = g_strsplit(c->whys, "|", -1);

    for (guint i = 0; whys[i]; i++)
        g_assert_cmpstr(verdicts[whys[i][0] - 'a'].why, ==, whys[i] + 2);
}

static void test_cases(void)
{
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        const Case *c = &cases[i];
        g_autoptr(GError) error = NULL;
        g_autoptr(GTimeZone) zone = zone_of(c->zone);
        g_auto(GStrv) times = prune_words(c->points);
        char ids[MAX_POINTS][2] = { { 0 } };
        PrunePoint points[MAX_POINTS];
        guint n = g_strv_length(times);
        PrunePolicy policy;
        g_autoptr(GString) kept = g_string_new(NULL);
        gint64 now = ms_of(strstr(c->points, "2027") ? "2027-02-01T00:00:00" : NOW, zone);

        for (guint k = 0; k < n; k++) {
            ids[k][0] = (char)('a' + k);
            points[k] = (PrunePoint){ ids[k], ms_of(times[k], zone) };
        }
        g_assert_true(prune_policy_parse(c->policy, &policy, &error));
        PruneVerdict *verdicts = archive_prune(points, n, &policy, now, zone, &error);
        g_assert_no_error(error);
        for (guint k = 0; k < n; k++) {
            if (verdicts[k].keep)
                g_string_append(kept, ids[k]);
            g_assert_nonnull(verdicts[k].why);
        }
        if (strcmp(kept->str, c->kept))
            g_test_fail_printf("%s: kept '%s', not '%s'", c->name, kept->str, c->kept);
        check_whys(c, verdicts);
        archive_prune_free(verdicts, n);
    }
}

/* Times that no calendar has: they stay, nothing overflows. */
static void test_extreme_times(void)
{
    static const gint64 times[] = { G_MININT64, G_MAXINT64, -1, 0, 253402300800000 };
    g_autoptr(GTimeZone) zone = zone_of("Pacific/Kiritimati");
    const PrunePolicy policy = { .daily = 1, .weekly = 1, .monthly = 1, .yearly = 1 };
    g_autoptr(GError) error = NULL;

    for (guint k = 0; k < 2; k++) {
        PrunePoint points[G_N_ELEMENTS(times)];
        for (guint i = 0; i < G_N_ELEMENTS(times); i++)
            points[i] = (PrunePoint){ "x", times[i] };
        PruneVerdict *verdicts = archive_prune(points, G_N_ELEMENTS(times), &policy,
                                               k ? G_MAXINT64 : 1795227840000, zone, &error);
        g_assert_no_error(error);
        g_assert_true(verdicts[0].keep && verdicts[1].keep && verdicts[3].keep && verdicts[4].keep);
        g_assert_false(verdicts[2].keep);
        archive_prune_free(verdicts, G_N_ELEMENTS(times));
    }
}

/* For any points and rules: the newest stays; each rule keeps as many as it says or there are
 * periods; a second run over what stayed takes nothing more away; the order does not matter. */
static void test_laws(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(7);
    g_autoptr(GTimeZone) zone = zone_of(BERLIN);
    const gint64 now = 1795227840000;

    for (guint round = 0; round < 400; round++) {
        guint n = (guint)g_rand_int_range(rand, 1, 120), n_kept = 0, newest = 0;
        g_autofree PrunePoint *points = g_new0(PrunePoint, n);
        g_autofree PrunePoint *kept = g_new0(PrunePoint, n);
        g_autoptr(GPtrArray) ids = g_ptr_array_new_with_free_func(g_free);
        PrunePolicy policy = { .last = (guint)g_rand_int_range(rand, 0, 5),
                               .daily = (guint)g_rand_int_range(rand, 0, 9),
                               .weekly = (guint)g_rand_int_range(rand, 0, 6),
                               .monthly = (guint)g_rand_int_range(rand, 0, 6),
                               .yearly = (guint)g_rand_int_range(rand, 0, 3) };

        if (prune_policy_is_empty(&policy))
            policy.last = 1;
        for (guint i = 0; i < n; i++) {
            g_ptr_array_add(ids, g_strdup_printf("%08x", g_rand_int(rand)));
            points[i].id = ids->pdata[i];
            points[i].created_ms = now - (gint64)g_rand_double_range(rand, 0, 7e10);
            if (points[i].created_ms > points[newest].created_ms)
                newest = i;
        }
        PruneVerdict *verdicts = archive_prune(points, n, &policy, now, zone, NULL);
        g_assert_true(verdicts[newest].keep);
        for (guint i = 0; i < n; i++) {
            if (verdicts[i].keep)
                kept[n_kept++] = points[i];
        }
        g_assert_cmpuint(n_kept, >=, MIN(policy.last, n));
        g_assert_cmpuint(n_kept, <=,
                         policy.last + policy.daily + policy.weekly + policy.monthly +
                             policy.yearly);
        for (guint i = 0; i < n_kept / 2; i++) { /* and backwards */
            PrunePoint swap = kept[i];
            kept[i] = kept[n_kept - 1 - i];
            kept[n_kept - 1 - i] = swap;
        }
        PruneVerdict *again = archive_prune(kept, n_kept, &policy, now, zone, NULL);
        for (guint i = 0; i < n_kept; i++)
            g_assert_true(again[i].keep);
        archive_prune_free(again, n_kept);
        archive_prune_free(verdicts, n);
    }
}

static void test_policies(void)
{
    static const struct {
        const char *text, *canonical; /* NULL: refused */
        const char *says;             /* in the message or the hint */
    } table[] = {
        { "last 3 daily 7 weekly 4 monthly 6", "last 3 daily 7 weekly 4 monthly 6", NULL },
        { " yearly  1\tLAST 2 ", "last 2 yearly 1", NULL },
        { "", "", NULL },
        { "daily 0", "", NULL },
        { "last 100000", "last 100000", NULL },
        { "last", NULL, "no number follows 'last'" },
        { "last x", NULL, "'x' is no number of points" },
        { "last -1", NULL, "'-1'" },
        { "last 100001", NULL, "0 to 100000" },
        { "last 99999999999999999999", NULL, "is no number" },
        { "last 1 last 2", NULL, "'last' stands there twice" },
        { "dayly 3", NULL, "did you mean 'daily'?" },
        { "3 last", NULL, "'3' is no rule" },
        { "hourly 3", NULL, "'hourly' is no rule" },
        { "last\n3", NULL, "is no rule" },
    };

    for (guint i = 0; i < G_N_ELEMENTS(table); i++) {
        g_autoptr(GError) error = NULL;
        PrunePolicy policy;
        if (!prune_policy_parse(table[i].text, &policy, &error)) {
            g_assert_null(table[i].canonical);
            g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID);
            g_assert_nonnull(strstr(error->message, table[i].says));
            continue;
        }
        g_autofree char *text = prune_policy_format(&policy);
        g_assert_cmpstr(text, ==, table[i].canonical);
    }
}

static void test_empty_policy(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GTimeZone) zone = g_time_zone_new_utc();
    const PrunePoint point = { "a", 0 };
    const PrunePolicy policy = { 0 };

    g_assert_null(archive_prune(&point, 1, &policy, 0, zone, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID);
    g_assert_nonnull(imaged_error_get_hint(error));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/prune/cases", test_cases);
    g_test_add_func("/prune/extreme-times", test_extreme_times);
    g_test_add_func("/prune/laws", test_laws);
    g_test_add_func("/prune/policies", test_policies);
    g_test_add_func("/prune/empty-policy", test_empty_policy);
    return g_test_run();
}
