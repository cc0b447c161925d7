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

typedef struct {
    Claims *claims;
    json_t *keys;
    gint is_begun; /* atomic */
} Waiter;

static gpointer take_in_thread(gpointer data)
{
    Waiter *w = data;

    g_atomic_int_set(&w->is_begun, 1);
    return GINT_TO_POINTER(claims_take(w->claims, w->keys, "waiter", NULL));
}

/* What is held for a moment is waited for; who holds it so waits for nobody. */
static void test_brief(void)
{
    g_autoptr(Claims) claims = claims_new();
    g_autoptr(GError) error = NULL;
    Waiter w = { claims, json_pack("[s,s]", "s:d/0", "x:d/1"), 0 };
    json_t *brief = json_pack("[s]", "x:d/1");

    g_assert_true(claims_take_briefly(claims, brief, "news", NULL));
    g_assert_false(claims_take_briefly(claims, brief, "news", NULL));
    GThread *thread = g_thread_new("waiter", take_in_thread, &w);
    while (!g_atomic_int_get(&w.is_begun))
        g_thread_yield();
    g_usleep(20000); /* one that does not wait is told that it is busy by now */
    claims_release(claims, brief);
    g_assert_true(GPOINTER_TO_INT(g_thread_join(thread)));
    g_assert_false(claims_take_briefly(claims, brief, "news", NULL));
    g_assert_false(claims_take(claims, brief, "other", &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY);
    claims_release(claims, w.keys);
    g_assert_false(claims_has(claims, "d/1"));
    json_decref(w.keys);
    json_decref(brief);
}

/* That a desktop runs is said so, not as a job's name. */
static void test_run(void)
{
    g_autoptr(Claims) claims = claims_new();
    g_autoptr(GError) error = NULL;
    json_t *shared = json_pack("[s]", "s:desktop/1"), *whole = json_pack("[s]", "x:desktop/1");

    g_assert_true(claims_take(claims, shared, "desktop.start", NULL));
    g_assert_true(claims_take(claims, shared, CLAIMS_RUN, NULL));
    claims_release(claims, shared);
    g_assert_false(claims_take(claims, whole, "desktop.reset", &error));
    g_assert_true(g_str_has_prefix(error->message, "the desktop is busy: it runs"));
    json_decref(shared);
    json_decref(whole);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/claims/table", test_claims);
    g_test_add_func("/claims/brief", test_brief);
    g_test_add_func("/claims/run", test_run);
    return g_test_run();
}
