/* test_reset_keep.c: of paths to keep, those below others are not kept twice. */
#include "snapshot/reset_keep.h"

static void test_paths(void)
{
    static const struct {
        const char *given, *kept;
    } cases[] = {
        { "/home", "/home" },
        { "/home /srv", "/home /srv" },
        { "/home /home/alice", "/home" },
        { "/home/alice /srv /home", "/srv /home" },
        { "/home /home/ //home", "/home" },
        { "/home/al /home/alice", "/home/al /home/alice" },
        { "/home/a/b /home/a /home/a/b/c", "/home/a" },
        { "/Home /home/alice", "/Home /home/alice" },
        { "C:\\Users c:\\users\\Alice", "C:\\Users" },
        { "C:\\Users\\Alice /users", "/users" },
    };

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_auto(GStrv) given = g_strsplit(cases[i].given, " ", -1);
        g_autoptr(GPtrArray) texts = g_ptr_array_new();
        json_auto_t *paths = json_array();
        for (guint k = 0; given[k]; k++)
            json_array_append_new(paths, json_string(given[k]));
        json_auto_t *kept = reset_keep_paths(paths);
        for (gsize k = 0; k < json_array_size(kept); k++)
            g_ptr_array_add(texts, (gpointer)json_string_value(json_array_get(kept, k)));
        g_ptr_array_add(texts, NULL);
        g_autofree char *joined = g_strjoinv(" ", (char **)texts->pdata);
        g_assert_cmpstr(joined, ==, cases[i].kept);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/reset-keep/paths", test_paths);
    return g_test_run();
}
