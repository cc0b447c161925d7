/* test_desktop_names.c: the names that a prefix and a count stand for. */
#include <glib.h>
#include <string.h>

#include "broker/desktop.h"
#include "imaged/base/ident.h"

static const struct {
    const char *prefix;
    guint count;
    guint64 after;
    const char *first, *last;
} table[] = {
    { "desk", 3, 0, "desk-001", "desk-003" },
    { "desk", 1, 41, "desk-042", "desk-042" },
    { "desk-", 2, 0, "desk-001", "desk-002" },
    { "lab_", 2, 0, "lab_001", "lab_002" },
    { "lab.", 2, 7, "lab.008", "lab.009" },
    { "room7", 2, 0, "room7-001", "room7-002" },
    { "d", 999, 0, "d-001", "d-999" },
    { "d", 1000, 0, "d-0001", "d-1000" },
    { "d", 2, 998, "d-0999", "d-1000" },
    { "d", 1, 999, "d-1000", "d-1000" },
    { "d", 20000, 0, "d-00001", "d-20000" },
    { "d", 1, 999999999, "d-1000000000", "d-1000000000" },
};

static void test_table(void)
{
    for (guint i = 0; i < G_N_ELEMENTS(table); i++) {
        g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
        g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
        desktop_make_names(table[i].prefix, table[i].count, table[i].after, names);
        g_assert_cmpuint(names->len, ==, table[i].count);
        g_assert_cmpstr(names->pdata[0], ==, table[i].first);
        g_assert_cmpstr(names->pdata[names->len - 1], ==, table[i].last);
        for (guint k = 0; k < names->len; k++) { /* all fit, none twice, in the order of letters */
            g_assert_true(name_check("desktop", names->pdata[k], NULL));
            g_assert_true(g_hash_table_add(seen, names->pdata[k]));
            g_assert_true(k == 0 || strcmp(names->pdata[k - 1], names->pdata[k]) < 0);
        }
    }
}

/* Names are appended to what is there. */
static void test_appended(void)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);

    desktop_make_names("a", 2, 0, names);
    desktop_make_names("b", 0, 5, names);
    desktop_make_names("b", 1, 5, names);
    g_assert_cmpuint(names->len, ==, 3);
    g_assert_cmpstr(names->pdata[1], ==, "a-002");
    g_assert_cmpstr(names->pdata[2], ==, "b-006");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/desktop-names/table", test_table);
    g_test_add_func("/desktop-names/appended", test_appended);
    return g_test_run();
}
