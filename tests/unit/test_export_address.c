/* test_export_address.c: where exports listen, what their URIs are, and which key files are good.
 */
#include "cow/export_address.h"

#include <string.h>
#include <unistd.h>

#include "imaged/base/durable.h"
#include "imaged/base/error.h"

static void test_parse(void)
{
    static const struct {
        const char *text, *again; /* NULL: refused */
    } cases[] = {
        { "127.0.0.1:10809", "127.0.0.1:10809" },
        { "0.0.0.0:0", "0.0.0.0:0" },
        { "localhost:1", "127.0.0.1:1" },
        { "[::1]:10809", "[::1]:10809" },
        { "[2001:db8::7]:65535", "[2001:db8::7]:65535" },
        { "127.0.0.1", NULL },
        { "127.0.0.1:", NULL },
        { "127.0.0.1:65536", NULL },
        { "127.0.0.1:-1", NULL },
        { "127.0.0.1:1x", NULL },
        { "::1:10809", NULL },
        { "[::1]", NULL },
        { "[::1:10809", NULL },
        { "[]:1", NULL },
        { "[", NULL },
        { "", NULL },
        { ":", NULL },
        { "example.org:10809", NULL },
        { "127.0.0.1 :1", NULL },
    };

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_auto(ExportAddress) address = { 0 };
        g_autoptr(GError) error = NULL;
        gboolean ok = export_address_parse(cases[i].text, &address, &error);
        g_test_message("%s", cases[i].text);
        g_assert_cmpint(ok, ==, cases[i].again != NULL);
        if (ok) {
            g_autofree char *again = export_address_text(&address);
            g_assert_cmpstr(again, ==, cases[i].again);
        } else {
            g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID);
            g_assert_null(address.host);
        }
    }
}

static void test_uri(void)
{
    g_auto(ExportAddress) v4 = { g_strdup("192.0.2.7"), 10809, FALSE };
    g_auto(ExportAddress) v6 = { g_strdup("::1"), 1, TRUE };
    g_autofree char *local = export_uri("lab-1@first", "/run/a b/nbd", NULL, NULL);
    g_autofree char *tls = export_uri("win:3", NULL, &v4, "al ice");
    g_autofree char *other = export_uri("win:3", NULL, &v6, NULL);

    g_assert_cmpstr(local, ==, "nbd+unix:///lab-1@first?socket=/run/a%20b/nbd");
    g_assert_cmpstr(tls, ==, "nbds://al%20ice@192.0.2.7:10809/win:3");
    g_assert_cmpstr(other, ==, "nbds://[::1]:1/win:3");
}

#define KEY "00112233445566778899aabbccddeeff"

static void test_psk(void)
{
    static const struct {
        const char *text;
        gboolean is_good;
        const char *user;
    } cases[] = {
        { "alice:" KEY "\n", TRUE, "alice" },
        { "# a comment\n\nalice:" KEY, TRUE, "alice" },
        { "alice:" KEY "\nbob:" KEY "\n", TRUE, NULL },
        { "alice:" KEY "\r\n", TRUE, "alice" },
        { "", FALSE, NULL },
        { "# nothing\n", FALSE, NULL },
        { "alice\n", FALSE, NULL },
        { ":" KEY "\n", FALSE, NULL },
        { "alice:0011\n", FALSE, NULL },
        { "alice:" KEY "0\n", FALSE, NULL },
        { "alice:" KEY "zz\n", FALSE, NULL },
        { "alice:" KEY "\nrubbish\n", FALSE, NULL },
    };

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *user = NULL;
        g_autoptr(GError) error = NULL;
        g_test_message("case %u", i);
        g_assert_cmpint(export_psk_check(cases[i].text, &user, &error), ==, cases[i].is_good);
        g_assert_cmpstr(user, ==, cases[i].user);
        if (!cases[i].is_good) {
            g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID);
            g_assert_null(strstr(error->message, KEY));
        }
    }
}

static void test_listen(void)
{
    g_auto(ExportAddress) any = { g_strdup("127.0.0.1"), 0, FALSE };
    g_auto(ExportAddress) far = { g_strdup("192.0.2.1"), 0, FALSE };
    g_autofree char *deep = g_strnfill(120, 'x');
    g_autofree char *path = g_build_filename("/tmp", deep, NULL);
    g_autoptr(GError) error = NULL;
    auto_fd fd = export_listen_tcp(&any, &error);

    g_assert_no_error(error);
    g_assert_cmpint(any.port, !=, 0);
    g_assert_cmpint(export_listen_tcp(&any, &error), <, 0);
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY);
    g_clear_error(&error);
    g_assert_cmpint(export_listen_tcp(&far, &error), <, 0);
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID);
    g_clear_error(&error);
    g_assert_cmpint(export_listen_unix(path, NULL, &error), <, 0);
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/export-address/parse", test_parse);
    g_test_add_func("/export-address/uri", test_uri);
    g_test_add_func("/export-address/psk", test_psk);
    g_test_add_func("/export-address/listen", test_listen);
    return g_test_run();
}
