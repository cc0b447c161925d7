/* test_claims.c: who may be at work on what beside whom. */
#include <glib.h>

#include "imaged/base/error.h"
#include "imaged/job/claims.h"

static void test_claims(void)
{
    static const struct {
        const char *taken, *wanted;
        gboolean ok;
    } table[] = {
        { "x:d/1", "x:d/2", TRUE },
        { "x:d/1", "x:d/1", FALSE },
        { "x:d/1", "s:d/1", FALSE },
        { "s:d/1", "x:d/1", FALSE },
        { "s:d/1", "s:d/1", TRUE },
        { "s:d/1 x:d/2", "s:d/1 x:d/3", TRUE },
        { "x:d/3", "x:d/1 x:d/2 x:d/3", FALSE },
        { "x:d/1", "x:e/1", TRUE },
        { "x:d/1", "s:d/2 s:d/3 s:d/1", FALSE },
        { "", "x:d/1", TRUE },
    };

    for (guint i = 0; i < G_N_ELEMENTS(table); i++) {
        g_autoptr(Claims) claims = claims_new();
        g_autoptr(GError) error = NULL;
        json_t *keys[2] = { json_array(), json_array() };
        for (guint k = 0; k < 2; k++) {
            g_auto(GStrv) words = g_strsplit(k ? table[i].wanted : table[i].taken, " ", 0);
            for (char **w = words; *w; w++) {
                g_auto(GStrv) parts = g_strsplit_set(*w, ":/", 3);
                claims_add(keys[k], parts[0][0], parts[1], parts[2]);
            }
        }
        g_assert_true(claims_take(claims, keys[0], "one", &error));
        g_assert_true(claims_take(claims, keys[1], "two", &error) == table[i].ok);
        if (!table[i].ok) {
            g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY);
            g_assert_false(claims_has(claims, "d/2")); /* all or none */
        } else {
            claims_release(claims, keys[1]);
        }
        claims_release(claims, keys[0]);
        g_assert_true(claims_take(claims, keys[1], "two", NULL)); /* nothing was left behind */
        json_decref(keys[0]);
        json_decref(keys[1]);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/claims/table", test_claims);
    return g_test_run();
}
