/* test_picture.c: pictures of displays.  Whether others can read them is in suspend.t. */
#include "broker/run/picture.h"

#include <string.h>

#include "imaged/base/error.h"

static GByteArray *png(const char *data, gsize len, guint *w, guint *h, GError **error)
{
    return picture_png((const guint8 *)data, len, w, h, error);
}

static void test_ppm(void)
{
    static const char ppm[] = "P6\n# by somebody\n2 1\n255\n\1\2\3\4\5\6";
    guint w = 0, h = 0, w2 = 0, h2 = 0;
    g_autoptr(GError) error = NULL;
    g_autoptr(GByteArray) out = png(ppm, sizeof ppm - 1, &w, &h, &error);

    g_assert_no_error(error);
    g_assert_cmpuint(w, ==, 2);
    g_assert_cmpuint(h, ==, 1);
    g_assert_cmpmem(out->data, 4, "\x89PNG", 4);
    g_autoptr(GByteArray) again = picture_png(out->data, out->len, &w2, &h2, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(w2, ==, 2);
    g_assert_cmpuint(h2, ==, 1);
    g_assert_cmpmem(out->data, out->len, again->data, again->len);
}

static void test_refused(void)
{
    static const char *const cases[] = {
        "",
        "P6",
        "P6\n",
        "P5\n1 1\n255\nx",
        "P6\n2 1\n255\n12345",
        "P6\n0 1\n255\n",
        "P6\n99999 99999\n255\nx",
        "P6\n4294967297 1\n255\nabc",
        "P6 -1 1 255 abc",
        "P6#",
        "P6\n1 1\n65535\nabcabc",
    };

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        guint w, h;
        g_autoptr(GError) error = NULL;
        g_assert_null(png(cases[i], strlen(cases[i]), &w, &h, &error));
        g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/picture/ppm", test_ppm);
    g_test_add_func("/picture/refused", test_refused);
    return g_test_run();
}
