/* test_figures.c: what hosts tell of their desktops, and forget. */
#include <glib.h>
#include <stdlib.h>

#include "broker/host/driver.h"
#include "broker/run/figures.h"

/* The host tells of these desktops (each a letter). */
static void tell(Figures *figures, const char *host, const char *desktops, guint64 cpu_ns)
{
    g_autoptr(GPtrArray) domains = g_ptr_array_new();
    HostDomain all[8] = { 0 };
    char ids[8][2] = { 0 };

    for (guint i = 0; desktops[i]; i++) {
        ids[i][0] = desktops[i];
        all[i] = (HostDomain){ .desktop_id = ids[i],
                               .state = DOMAIN_RUNNING,
                               .n_cpus = 1,
                               .cpu_ns = cpu_ns,
                               .memory_bytes = cpu_ns };
        g_ptr_array_add(domains, &all[i]);
    }
    figures_seen(figures, host, domains);
}

static void add(const char *id, const DesktopFigures *figures, gpointer text)
{
    (void)figures;
    g_string_append(text, id);
}

static gint by_letter(gconstpointer a, gconstpointer b)
{
    return *(const char *)a - *(const char *)b;
}

static void assert_known(Figures *figures, const char *wanted)
{
    g_autoptr(GString) text = g_string_new(NULL);

    figures_each(figures, add, text);
    qsort(text->str, text->len, 1, by_letter);
    g_assert_cmpstr(text->str, ==, wanted);
}

static void test_forget(void)
{
    Figures *figures = figures_new();

    tell(figures, "h1", "abc", 1);
    tell(figures, "h2", "de", 1);
    assert_known(figures, "abcde");
    tell(figures, "h1", "ac", 2); /* within the same millisecond */
    assert_known(figures, "acde");
    tell(figures, "h2", "", 2);
    assert_known(figures, "ac");
    tell(figures, "h2", "f", 3);
    tell(figures, "h1", "", 3);
    tell(figures, "h1", "", 3);
    assert_known(figures, "f");
    figures_free(figures);
}

/* One that is moved is told of by both for a moment: the last who told has it. */
static void test_move(void)
{
    Figures *figures = figures_new();
    DesktopFigures now;

    tell(figures, "h1", "ab", 10);
    tell(figures, "h2", "b", 20);
    g_assert_true(figures_get(figures, "b", &now));
    g_assert_cmpuint(now.memory_bytes, ==, 20);
    g_assert_cmpfloat(now.cpu_usage, ==, 0); /* two hosts' counters can't be compared */
    tell(figures, "h1", "a", 30);
    assert_known(figures, "ab");
    tell(figures, "h2", "", 40);
    assert_known(figures, "a");
    g_assert_false(figures_get(figures, "b", &now));
    figures_free(figures);
}

/* By the processor time between two looks. */
static void test_usage(void)
{
    Figures *figures = figures_new();
    double usage;
    guint64 memory;

    tell(figures, "h1", "a", 0);
    g_usleep(20000);
    tell(figures, "h1", "a", 1000000000000);
    g_assert_true(figures_usage(figures, "a", &usage, &memory));
    g_assert_cmpfloat(usage, ==, 1.0); /* more than there is: all of it */
    g_assert_cmpuint(memory, ==, 1000000000000);
    tell(figures, "h1", "a", 5); /* it was started anew */
    g_assert_true(figures_usage(figures, "a", &usage, &memory));
    g_assert_cmpfloat(usage, ==, 0);
    g_assert_false(figures_usage(figures, "x", &usage, &memory));
    figures_free(figures);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/figures/forget", test_forget);
    g_test_add_func("/figures/move", test_move);
    g_test_add_func("/figures/usage", test_usage);
    return g_test_run();
}
