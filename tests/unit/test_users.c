/* test_users.c: users and groups that go, and what goes with them. */
#include "tests/unit/catalog_fixture.h"

#include "broker/access/users.h"

static Catalog *catalog;

static void sql(const char *text)
{
    Changes *changes = changes_new();

    changes_sql(changes, text, "");
    commit(catalog, changes);
}

static void set_up(gpointer *fixture, gconstpointer unused)
{
    catalog = catalog_open_named("users");
    sql("INSERT INTO user (id, name, name_key, full_name, email, is_disabled, created_at,"
        " changed_at) VALUES ('u', 'ann', 'ann', '', '', 0, 0, 0)");
    sql("INSERT INTO user_group VALUES ('g', 'staff', 'staff', NULL, NULL, 0)");
    sql("INSERT INTO group_member VALUES ('g', 'u')");
    sql("INSERT INTO token (id, name, user_id, hash, scope_kind, is_login,"
        " created_at) VALUES ('t', 't', 'u', 'h', 'all', 0, 0)");
    sql("INSERT INTO saved_search (id, name, user_id, text, created_at) VALUES ('s', 's', 'u',"
        " '', 0), ('x', 'x', NULL, '', 0)");
    sql("INSERT INTO channel_policy VALUES ('g', '{}')");
}

static void tear_down(gpointer *fixture, gconstpointer unused)
{
    g_clear_pointer(&catalog, catalog_close);
    catalog_fixture_empty();
}

/* code: of the error, or -1: she is gone. */
static void delete_ann(int code)
{
    const UserRow ann = { .id = "u", .name = "ann" };
    g_autoptr(GError) error = NULL;
    gboolean ok = user_delete(catalog, &ann, "root", &error);

    g_assert_cmpint(error ? error->code : -1, ==, code);
    g_assert_true(ok == !error);
    g_assert_cmpint(count_of(catalog, "SELECT count(*) FROM user"), ==, ok ? 0 : 1);
    g_assert_cmpint(count_of(catalog, "SELECT count(*) FROM token"), ==, ok ? 0 : 1);
}

static void test_delete(gpointer *fixture, gconstpointer unused)
{
    sql("INSERT INTO assignment (desktop_id, user_id, is_owner, may_take_over, created_at) VALUES"
        " ('d', 'u', 1, 0, 0)");
    delete_ann(IMAGED_ERROR_BUSY);
    sql("DELETE FROM assignment");
    sql("INSERT INTO session (id, user_id, desktop_id, host_id, incarnation, generation, protocol,"
        " state, created_at) VALUES ('s', 'u', 'd', 'h', 'i', 1, 'spice', 'opening', 0)");
    delete_ann(IMAGED_ERROR_BUSY);
    sql("UPDATE session SET ended_at = 1");
    delete_ann(-1);
    g_assert_cmpint(count_of(catalog, "SELECT count(*) FROM group_member"), ==, 0);
    g_assert_cmpint(count_of(catalog, "SELECT count(*) FROM saved_search"), ==, 1);
}

static void test_delete_group(gpointer *fixture, gconstpointer unused)
{
    const GroupRow staff = { .id = "g", .name = "staff" };
    g_autoptr(GError) error = NULL;

    group_delete(catalog, &staff, "root", &error);
    g_assert_no_error(error);
    g_assert_cmpint(count_of(catalog, "SELECT count(*) FROM channel_policy"), ==, 0);
    g_assert_cmpint(count_of(catalog, "SELECT count(*) FROM group_member"), ==, 0);
    g_assert_cmpint(count_of(catalog, "SELECT count(*) FROM user"), ==, 1);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    catalog_fixture_start();
#define TEST(name, function)                                                                       \
    catalog_fixture_add("/users/" name, (GTestFixtureFunc)set_up, (GTestFixtureFunc)function,      \
                        (GTestFixtureFunc)tear_down)
    TEST("delete", test_delete);
    TEST("delete-group", test_delete_group);
    int result = g_test_run();
    catalog_fixture_end();
    return result;
}
