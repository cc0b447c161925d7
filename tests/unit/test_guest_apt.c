/* test_guest_apt.c: what of this machine's package sources a guest gets to know. */
#include "imaged/guest/helper/apt_tree.h"

static void test_source_for_guest(void)
{
    static const struct {
        const char *uri, *expected; /* before " bookworm main" */
    } cases[] = {
        { "http://mirror.example/debian/", "deb http://mirror.example/debian/" },
        { "https://user:se@cret@host.example:8080/debian/",
          "deb https://host.example:8080/debian/" },
        { "https://user@host.example", "deb https://host.example" },
        { "http://host.example/a@b/", "deb http://host.example/a@b/" },
        { "file:/srv/mirror/", NULL },
        { "copy:///srv/mirror/", NULL },
        { "cdrom://[Debian]/", NULL },
        { "mirror+file:/etc/apt/mirrors", NULL },
        { "tor+http://host.example/", NULL },
    };

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *line = apt_source_for_guest(cases[i].uri, "bookworm", "main");
        g_autofree char *expected =
            cases[i].expected ? g_strconcat(cases[i].expected, " bookworm main", NULL) : NULL;
        g_assert_cmpstr(line, ==, expected);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/guest-apt/source-for-guest", test_source_for_guest);
    return g_test_run();
}
