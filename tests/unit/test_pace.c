/* test_pace.c: pressure figures read from text, and the pauses that follow from them. */
#include <glib.h>

#include "snapshot/pace.h"

static void test_parse(void)
{
    static const struct {
        const char *text;
        guint64 total;
    } cases[] = {
        { "some avg10=0.00 avg60=0.12 avg300=0.05 total=123456\n"
          "full avg10=0.00 avg60=0.00 avg300=0.00 total=99\n",
          123456 },
        { "some avg10=1.00 avg60=0.12 avg300=0.05 total=18446744073709551615\n", G_MAXUINT64 },
        { "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n", 0 },
        { "", 0 },
        { "full avg10=0.00 total=5\n", 0 },
        { "some avg10=0.00", 0 },
        { "some total=", 0 },
        { "some total=x", 0 },
    };

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++)
        g_assert_cmpuint(pace_parse(cases[i].text), ==, cases[i].total);
}

static void test_pause(void)
{
    static const struct {
        gint64 stalled, span, least, most;
    } cases[] = {
        { 0, 200000, 0, 0 },
        { 40000, 200000, 0, 0 },     /* a fifth: our own waiting, mostly */
        { 50000, 200000, 0, 0 },     /* a quarter is still normal */
        { 60000, 200000, 1, 50000 }, /* a little more, a little pause */
        { 150000, 200000, 150000, 250000 },
        { 200000, 200000, 250000, 350000 },       /* all the time: longer than the span */
        { 10000000, 10000000, 2000000, 2000000 }, /* never more than 2 s */
        { 5000, 0, 0, 0 },                        /* no span */
        { 5000, -3, 0, 0 },
    };

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        gint64 pause = pace_pause(cases[i].stalled, cases[i].span);
        g_assert_cmpint(pause, >=, cases[i].least);
        g_assert_cmpint(pause, <=, cases[i].most);
    }
    gint64 before = 0;
    for (gint64 stalled = 0; stalled <= 200000; stalled += 1000) {
        g_assert_cmpint(pace_pause(stalled, 200000), >=, before);
        before = pace_pause(stalled, 200000);
    }
}

/* A figure that goes backwards (a reset, an unreadable file) is no pressure. */
static void test_backwards(void)
{
    g_assert_cmpint(pace_pause(-5, 200000), ==, 0);
}

/* Cancelled work does not sleep. */
static void test_cancel(void)
{
    gint cancel = 1;
    Pace pace = { 0 };
    gint64 begin = g_get_monotonic_time();

    for (guint i = 0; i < 1000; i++)
        pace_wait(&pace, &cancel);
    g_assert_cmpint(g_get_monotonic_time() - begin, <, 1000000);
    g_assert_cmpint(pace.last_look, >, 0);
    g_assert_cmpint(pace.next_look, >, pace.last_look);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/pace/parse", test_parse);
    g_test_add_func("/pace/pause", test_pause);
    g_test_add_func("/pace/backwards", test_backwards);
    g_test_add_func("/pace/cancel", test_cancel);
    return g_test_run();
}
