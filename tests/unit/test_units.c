/* test_units.c: sizes, durations and times, as typed and as shown. */
#include <glib.h>
#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/units.h"

static const struct {
    const char *text;
    guint64 bytes;
} sizes[] = {
    { "0", 0 },
    { "512", 512 },
    { "512B", 512 },
    { "1K", KIB },
    { "1k", KIB },
    { "1KB", KIB },
    { "1KiB", KIB },
    { "512M", 512 * MIB },
    { "10GiB", 10 * GIB },
    { "10 GiB", 10 * GIB },
    { "1.5T", 3 * TIB / 2 },
    { "0.5G", GIB / 2 },
    { "1P", 1024 * TIB },
    { "1E", 1024 * 1024 * TIB },
    { "7E", 7 * 1024 * 1024 * TIB },
    { "007K", 7 * KIB },
    { "0.0000001K", 0 },
    { "9007199254740992", 1ull << 53 },
};

static const char *const bad_sizes[] = {
    "",        " ",        "K",    "G1",         "-1",
    "+1",      "-0",       " 1",   "1K ",        "1KK",
    "1KiBB",   "1iB",      "1Ki",  "1BB",        "1X",
    "1,5G",    "1.5.5G",   "8E",   "9E",         "99999999999999999999E",
    "1e400",   "inf",      "nan",  "INFINITY",   "0x10",
    "0x1p10",  "1e3",      "1e3K", "1E3",        "10G\n",
    "10G; rm", "\xff\xfe", "\x01", "1\xc2\xa0K", ".5G",
    "1/2",     "1_000",
};

static void test_sizes(void)
{
    for (guint i = 0; i < G_N_ELEMENTS(sizes); i++) {
        g_autoptr(GError) error = NULL;
        guint64 bytes = 1;
        units_parse_size(sizes[i].text, &bytes, &error);
        g_assert_no_error(error);
        g_assert_cmpuint(bytes, ==, sizes[i].bytes);
    }
    for (guint i = 0; i < G_N_ELEMENTS(bad_sizes); i++) {
        g_autoptr(GError) error = NULL;
        guint64 bytes = 77;
        if (units_parse_size(bad_sizes[i], &bytes, &error)) {
            g_test_fail_printf("'%s' is taken", bad_sizes[i]);
            continue;
        }
        g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID);
        g_assert_nonnull(imaged_error_get_hint(error));
        g_assert_cmpuint(bytes, ==, 77);
    }
}

/* What people type comes back in a message that is printable, short and valid UTF-8. */
static void test_messages(void)
{
    g_autofree char *digits = g_strnfill(10000, '9'), *letters = g_strnfill(10000, 'x');
    g_autoptr(GString) umlauts = g_string_new("1"); /* so that byte 40 is within a letter */
    for (guint i = 0; i < 100; i++)
        g_string_append(umlauts, "\xc3\xa4");
    const char *const texts[] = {
        digits, letters, umlauts->str, "1\x1b[31m", "1\nK", "a\tb", "\xff"
    };

    for (guint i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autoptr(GError) one = NULL, two = NULL;
        guint64 bytes;
        gint64 ms;
        g_assert_false(units_parse_size(texts[i], &bytes, &one));
        g_assert_false(units_parse_duration(texts[i], &ms, &two));
        GError *const errors[] = { one, two };
        for (guint k = 0; k < 2; k++) {
            g_autofree char *message = imaged_error_message(errors[k]);
            g_assert_true(g_utf8_validate(message, -1, NULL));
            g_assert_cmpuint(strlen(message), <, 100);
            for (const char *p = message; *p; p++)
                g_assert_true(g_ascii_isprint(*p));
        }
    }
}

static void test_shown_sizes(void)
{
    static const struct {
        guint64 bytes;
        const char *text;
    } table[] = {
        { 0, "0 B" },
        { 1, "1 B" },
        { 1023, "1023 B" },
        { KIB, "1.0 KiB" },
        { 1536, "1.5 KiB" },
        { MIB - 1, "1.0 MiB" },
        { MIB, "1.0 MiB" },
        { GIB - 1, "1.0 GiB" },
        { 3 * GIB / 2, "1.5 GiB" },
        { 1023 * GIB, "1023.0 GiB" },
        { TIB, "1.0 TiB" },
        { G_MAXUINT64, "16.0 EiB" },
    };
    g_autoptr(GRand) rand = g_rand_new_with_seed(1);

    for (guint i = 0; i < G_N_ELEMENTS(table); i++) {
        g_autofree char *text = units_format_size(table[i].bytes);
        g_assert_cmpstr(text, ==, table[i].text);
    }
    for (guint i = 0; i < 5000; i++) { /* what is shown can be typed, and is as near as it looks */
        guint64 bytes = ((guint64)g_rand_int(rand) << 31) >> g_rand_int_range(rand, 0, 63),
                back = 0;
        g_autofree char *text = units_format_size(bytes);
        g_assert_true(units_parse_size(text, &back, NULL));
        g_assert_cmpuint(MAX(back, bytes) - MIN(back, bytes), <=, bytes / 15);
    }
}

static void test_durations(void)
{
    static const struct {
        const char *text;
        gint64 ms; /* -1: refused */
    } table[] = {
        { "0s", 0 },
        { "90s", 90000 },
        { "15m", 900000 },
        { "12h", 43200000 },
        { "7d", 604800000 },
        { "2w", 1209600000 },
        { "100000000w", 60480000000000000 },
        { "100000001w", -1 },
        { "99999999999999999999s", -1 },
        { "", -1 },
        { "s", -1 },
        { "7", -1 },
        { "-7d", -1 },
        { "+7d", -1 },
        { " 7d", -1 },
        { "7 d", -1 },
        { "7d ", -1 },
        { "7dd", -1 },
        { "1.5h", -1 },
        { "7D", -1 },
        { "7y", -1 },
        { "1h30m", -1 },
        { "0x7d", -1 },
        { "forever", -1 },
        { "7\xc3\xa4", -1 },
    };

    for (guint i = 0; i < G_N_ELEMENTS(table); i++) {
        g_autoptr(GError) error = NULL;
        gint64 ms = -1;
        units_parse_duration(table[i].text, &ms, &error);
        g_assert_cmpint(ms, ==, table[i].ms);
        if (ms < 0)
            g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID);
        else
            g_assert_no_error(error);
    }
}

static void test_shown_durations(void)
{
    static const struct {
        gint64 ms;
        const char *text;
    } table[] = {
        { G_MININT64, "0s" },
        { -1, "0s" },
        { 0, "0s" },
        { 999, "0s" },
        { 1000, "1s" },
        { 59999, "59s" },
        { 60000, "1m 0s" },
        { 3599999, "59m 59s" },
        { 3600000, "1h 0m" },
        { 86399999, "23h 59m" },
        { 86400000, "1d 0h" },
        { 183600000, "2d 3h" },
        { G_MAXINT64, "106751991167d 7h" },
    };

    for (guint i = 0; i < G_N_ELEMENTS(table); i++) {
        g_autofree char *text = units_format_duration(table[i].ms);
        g_assert_cmpstr(text, ==, table[i].text);
    }
}

static void test_times(void)
{
    static const struct {
        gint64 ms;
        const char *text;
    } table[] = {
        { 0, "1970-01-01T00:00:00Z" },
        { 999, "1970-01-01T00:00:00Z" },
        { 951782399000, "2000-02-28T23:59:59Z" },
        { 951782400000, "2000-02-29T00:00:00Z" },
        { 1795227840000, "2026-11-21T02:24:00Z" },
        { 4102444800000, "2100-01-01T00:00:00Z" },
    };

    for (guint i = 0; i < G_N_ELEMENTS(table); i++) {
        g_autofree char *text = units_format_time(table[i].ms);
        g_assert_cmpstr(text, ==, table[i].text);
    }
    g_autofree char *first = units_format_time(G_MININT64), *last = units_format_time(G_MAXINT64);
    g_assert_cmpuint(strlen(first) + strlen(last), >, 0);

    g_autofree char *now = units_format_time(units_now_ms());
    g_autoptr(GDateTime) parsed = g_date_time_new_from_iso8601(now, NULL);
    g_assert_cmpint(ABS(g_date_time_to_unix(parsed) - units_now_ms() / 1000), <=, 5);
    gint64 before = units_boottime_ms();
    g_assert_cmpint(before, >, 0);
    g_assert_cmpint(units_boottime_ms(), >=, before);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/units/sizes", test_sizes);
    g_test_add_func("/units/messages", test_messages);
    g_test_add_func("/units/shown-sizes", test_shown_sizes);
    g_test_add_func("/units/durations", test_durations);
    g_test_add_func("/units/shown-durations", test_shown_durations);
    g_test_add_func("/units/times", test_times);
    return g_test_run();
}
