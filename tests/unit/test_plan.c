/* test_plan.c: plans made while others commit or hold the claims. */
#include "tests/unit/catalog_fixture.h"

#include "imaged/job/plan.h"

static const JobType type = { "test.plan", JOB_INTERACTIVE, "things", NULL };
static World world;

typedef struct {
    guint n_calls;
    guint n_disturbed; /* in so many of the calls, something is committed meanwhile */
    gboolean is_refused;
} Maker;

static json_t *make(World *w, Db *db, json_t *claims, gpointer data, GError **error)
{
    Maker *maker = data;

    g_assert_true(w == &world);
    g_assert_cmpuint(json_array_size(claims), ==, 0);
    gint64 n = lookup_int(db, "SELECT count(*) FROM meta WHERE key LIKE 'plan-%'", "");
    claims_add(claims, 'x', "desktop", "d");
    if (maker->is_refused) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "no such thing");
        return NULL;
    }
    if (maker->n_calls++ < maker->n_disturbed) {
        Changes *changes = changes_new();
        g_autofree char *key = g_strdup_printf("plan-%u", maker->n_calls);
        changes_sql(changes, "INSERT INTO meta (key, value) VALUES (?1, '')", "t", key);
        commit(world.catalog, changes);
    }
    return json_pack("{s:I}", "n", (json_int_t)n);
}

static void set_up(gpointer fixture, gconstpointer data)
{
    world.catalog = catalog_open_named("plan.db");
    world.claims = claims_new();
}

static void tear_down(gpointer fixture, gconstpointer data)
{
    claims_free(world.claims);
    catalog_close(world.catalog);
    catalog_fixture_empty();
}

static void test_made_again(gpointer fixture, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    Maker maker = { .n_disturbed = 3 };
    JobRequest request = { 0 };

    g_assert_true(plan_make(&world, &type, make, &maker, &request, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(maker.n_calls, ==, 4);
    /* the plan that counts is the one that saw all three */
    g_assert_cmpint(json_integer_value(json_object_get(request.plan, "n")), ==, 3);
    g_assert_true(request.type == &type);
    g_assert_true(claims_has(world.claims, "desktop/d"));
    claims_release(world.claims, request.claims);
    json_decref(request.claims);
    json_decref(request.plan);
}

static void test_no_end(gpointer fixture, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    Maker maker = { .n_disturbed = G_MAXUINT };
    JobRequest request = { 0 };

    g_assert_false(plan_make(&world, &type, make, &maker, &request, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY);
    g_assert_cmpuint(maker.n_calls, >, 10);
    g_assert_false(claims_has(world.claims, "desktop/d"));
}

static void test_refused(gpointer fixture, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    Maker maker = { .is_refused = TRUE };
    JobRequest request = { 0 };

    g_assert_false(plan_make(&world, &type, make, &maker, &request, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID);
    g_assert_false(claims_has(world.claims, "desktop/d"));
}

static void test_claimed(gpointer fixture, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    Maker maker = { 0 };
    JobRequest request = { 0 };
    json_t *keys = json_array();

    claims_add(keys, 's', "desktop", "d");
    g_assert_true(claims_take(world.claims, keys, "test.other", NULL));
    g_assert_false(plan_make(&world, &type, make, &maker, &request, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY);
    g_assert_cmpuint(maker.n_calls, ==, 1); /* waiting would not help */
    g_assert_nonnull(strstr(error->message, "test.other"));
    claims_release(world.claims, keys);
    json_decref(keys);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    catalog_fixture_start();
    catalog_fixture_add("/plan/made-again", set_up, test_made_again, tear_down);
    catalog_fixture_add("/plan/no-end", set_up, test_no_end, tear_down);
    catalog_fixture_add("/plan/refused", set_up, test_refused, tear_down);
    catalog_fixture_add("/plan/claimed", set_up, test_claimed, tear_down);
    int ret = g_test_run();
    catalog_fixture_end();
    return ret;
}
