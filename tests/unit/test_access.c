/* test_access.c: callers, their grants and scopes, what they see, and each route's permission. */
#include "tests/unit/catalog_fixture.h"

#include "broker/access/tokens.h"
#include "imaged/http/routes.h"

static Catalog *catalog;
static Db *db;

static void sql(const char *text)
{
    Changes *changes = changes_new();

    changes_sql(changes, text, "");
    commit(catalog, changes);
}

/* Two templates with two desktops each; ann owns a1, bob b1; pool p holds b2, given to ann. */
#define ID(c) "000000000000000000000000000000" c
static const char *const rows[] = {
    "INSERT INTO template VALUES ('" ID("a0") "', 'ta', 1, 0, 0, 0), ('" ID("b0") "', 'tb', 1, 0,"
                                                                                  " 0, 0)",
    "INSERT INTO version (id, template_id, version, state, is_trashed, layer_id, cpus,"
    " memory_bytes, os, description, source, notes, created_at, changed_at) SELECT 'v' || id, id,"
    " 1, 'published', 0, id, 1, 1, '', '', '', '', 0, 0 FROM template",
    "INSERT INTO desktop (id, name, version_id, owner, generation, layer_id, store_id, mac, uuid,"
    " state, is_trashed, created_at, changed_at) SELECT column1, column2, 'v' || column3, '', 1,"
    " '', '', '', '', 'ok', 0, 5, 5 FROM (VALUES ('" ID("a1") "', 'a1', '" ID(
        "a0") "'),"
              " ('" ID("a2") "', 'a2', '" ID("a0") "'), ('" ID("b1") "', 'b1', '" ID(
                  "b0") "'),"
                        " ('" ID("b2") "', 'b2', '" ID("b0") "'))",
    "INSERT INTO user (id, name, name_key, full_name, email, is_disabled, created_at, changed_at)"
    " VALUES ('" ID("01") "', 'ann', 'ann', '', '', 0, 0, 0), ('" ID(
        "02") "', 'bob', 'bob', '',"
              " '', 0, 0, 0), ('" ID("03") "', 'cyd', 'cyd', '', '', 0, 0, 0), ('" ID(
                  "04") "', 'dan',"
                        " 'dan', '', '', 1, 0, 0)",
    "INSERT INTO user_group VALUES ('" ID("09") "', 'desk', 'desk', NULL, NULL, 0)",
    "INSERT INTO group_member VALUES ('" ID("09") "', '" ID("03") "')",
    "INSERT INTO assignment (desktop_id, user_id, is_owner, may_take_over, created_at) VALUES"
    " ('" ID("a1") "', '" ID("01") "', 1, 0, 0), ('" ID("b1") "', '" ID("02") "', 1, 0, 0)",
    "INSERT INTO pool (id, name, type, template_id, size, spares, max_per_user, settings,"
    " created_at, changed_at) VALUES ('" ID("10") "', 'p', 'manual', '" ID("b0") "', 1, 0, 1, '',"
                                                                                 " 0, 0)",
    "INSERT INTO pool_desktop (desktop_id, pool_id, state, user_id, clean_generation, given_at,"
    " n_extensions, changed_at) VALUES ('" ID("b2") "', '" ID("10") "', 'given', '" ID(
        "01") "',"
              " 1, 0, 0, 0)",
    "INSERT INTO event (time, kind, severity, object, who, message) VALUES (9, 'desktop.reset',"
    " 'info', 'a1', 'bob', ''), (1, 'desktop.reset', 'info', 'a1', 'root', ''), (9,"
    " 'desktop.reset', 'info', 'b1', 'root', '')",
};

static void set_up(gpointer *fixture, gconstpointer unused)
{
    g_autofree char *uri = catalog_uri("catalog.db");
    g_autoptr(GError) error = NULL;

    catalog = catalog_open(uri, &error);
    g_assert_no_error(error);
    for (guint i = 0; permission_roles[i].name; i++) {
        Changes *changes = changes_new();
        changes_sql(changes, "INSERT INTO role VALUES (?1, ?2, ?3, ?4, 1, 0)", "ttti",
                    permission_roles[i].id, permission_roles[i].name,
                    permission_roles[i].permissions, (gint64)permission_roles[i].is_own);
        commit(catalog, changes);
    }
    for (guint i = 0; i < G_N_ELEMENTS(rows); i++)
        sql(rows[i]);
    db = catalog_read_begin(catalog);
}

static void tear_down(gpointer *fixture, gconstpointer unused)
{
    catalog_read_end(catalog, db);
    g_clear_pointer(&catalog, catalog_close);
    catalog_fixture_empty();
}

/* Then what was read before is read anew. */
static void grant(const char *role, const char *subject, const char *kind, const char *scope)
{
    Changes *changes = changes_new();
    g_autofree char *id = g_strdup(id_new().s);

    changes_sql(changes,
                "INSERT INTO role_grant SELECT ?1, id, 'user', ?3, ?4, ?5, 0 FROM role WHERE name ="
                " ?2",
                "ttttt", id, role, subject, kind, scope);
    commit(catalog, changes);
    catalog_read_end(catalog, db);
    db = catalog_read_begin(catalog);
}

static Caller *user(const char *id)
{
    g_autoptr(GError) error = NULL;
    Caller *caller = caller_new_user(db, id, "192.0.2.1", &error);

    g_assert_no_error(error);
    return caller;
}

/* The names of the rows that the caller has the permission for. */
static void expect(const Caller *caller, Permission permission, const char *object,
                   const char *column, const char *names)
{
    g_autofree char *condition = access_sql(caller, permission, object, "x");
    g_autofree char *text =
        g_strdup_printf("SELECT group_concat(%s, ' ') AS names FROM (SELECT * FROM \"%s\" x WHERE"
                        " %s ORDER BY %s)",
                        column, object, condition ? condition : "1", column);
    g_autoptr(GError) error = NULL;
    Query *q = db_query_once(db, text, "");

    g_assert_true(query_next(q));
    g_autofree char *got = g_strdup(query_text(q, "names"));
    query_end(q, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(got, ==, names);
}

static void test_own(gpointer *fixture, gconstpointer unused)
{
    g_autoptr(Caller) ann = user(ID("01"));
    g_autoptr(Caller) cyd = user(ID("03"));

    g_assert_false(ann->is_admin);
    g_assert_cmpstr(ann->who, ==, "ann from 192.0.2.1");
    expect(ann, PERMISSION_DESKTOP_SEE, "desktop", "name", "a1 b2");
    expect(ann, PERMISSION_DESKTOP_RESTART, "desktop", "name", "a1 b2");
    expect(ann, PERMISSION_DESKTOP_RESET, "desktop", "name", NULL);
    expect(ann, PERMISSION_TEMPLATE_SEE, "template", "name", NULL);
    expect(ann, PERMISSION_USER_SEE, "user", "name", "ann");
    expect(cyd, PERMISSION_DESKTOP_SEE, "desktop", "name", NULL);
    expect(ann, PERMISSION_EVENT_SEE, "event", "id", NULL);
    grant("user-reset", ID("01"), "pool", ID("10"));
    g_autoptr(Caller) more = user(ID("01"));
    expect(more, PERMISSION_DESKTOP_RESET, "desktop", "name", "b2");
    expect(NULL, PERMISSION_DESKTOP_SEE, "desktop", "name", NULL);
}

static void test_scopes(gpointer *fixture, gconstpointer unused)
{
    grant("helpdesk", ID("09"), "template", ID("a0"));
    g_autoptr(Caller) cyd = user(ID("03"));
    expect(cyd, PERMISSION_DESKTOP_RESET, "desktop", "name", "a1 a2");
    expect(cyd, PERMISSION_TEMPLATE_SEE, "template", "name", "ta");
    expect(cyd, PERMISSION_POOL_SEE, "pool", "name", NULL);
    expect(cyd, PERMISSION_EVENT_SEE, "event", "id", "1"); /* not of the a1 that was before */
    expect(cyd, PERMISSION_HOST_SEE, "host", "name", NULL);
    expect(cyd, PERMISSION_DESKTOP_DELETE, "desktop", "name", NULL);
    grant("helpdesk", ID("03"), "pool", ID("10"));
    g_autoptr(Caller) both = user(ID("03"));
    expect(both, PERMISSION_DESKTOP_RESET, "desktop", "name", "a1 a2 b2");
    expect(both, PERMISSION_POOL_SEE, "pool", "name", "p");
    grant("auditor", ID("02"), "all", NULL);
    g_autoptr(Caller) bob = user(ID("02"));
    expect(bob, PERMISSION_DESKTOP_SEE, "desktop", "name", "a1 a2 b1 b2");
    expect(bob, PERMISSION_DESKTOP_RESTART, "desktop", "name", "b1");
    expect(bob, PERMISSION_USER_SEE, "user", "name", "ann bob cyd dan");
}

/* code: of the error, or -1: allowed. */
static void check(const Caller *caller, Permission permission, AccessOn on, const char *args,
                  gint code)
{
    g_autoptr(GError) error = NULL;
    json_t *object = json_loads(args, 0, NULL);
    gboolean ok = access_check(db, caller, permission, on, object, &error);

    g_test_message("%s %s: %s", permission_name(permission), args, error ? error->message : "");
    g_assert_nonnull(object);
    g_assert_cmpint(error ? error->code : -1, ==, code);
    g_assert_true(ok == !error);
    json_decref(object);
}

/* A role for a pool or a desktop sees what these are made of, and changes nothing of it: nor the
 * template, nor other pools of it. */
static void test_not_upwards(gpointer *fixture, gconstpointer unused)
{
    sql("INSERT INTO pool (id, name, type, template_id, size, spares, max_per_user, settings,"
        " created_at, changed_at) SELECT '" ID("11") "', 'q', type, template_id, size, spares,"
                                                     " max_per_user, settings, 0, 0 FROM pool");
    grant("admin", ID("03"), "pool", ID("10"));
    grant("admin", ID("02"), "desktop", ID("b1"));
    grant("admin", ID("01"), "template", ID("b0"));
    g_autoptr(Caller) of_pool = user(ID("03"));
    g_autoptr(Caller) of_desktop = user(ID("02"));
    g_autoptr(Caller) of_template = user(ID("01"));
    expect(of_pool, PERMISSION_TEMPLATE_SEE, "template", "name", "tb");
    expect(of_pool, PERMISSION_TEMPLATE_DELETE, "template", "name", NULL);
    expect(of_pool, PERMISSION_DESKTOP_CREATE, "template", "name", NULL);
    expect(of_pool, PERMISSION_POOL_SEE, "pool", "name", "p");
    expect(of_pool, PERMISSION_POOL_CHANGE, "pool", "name", "p");
    expect(of_pool, PERMISSION_DESKTOP_DELETE, "desktop", "name", "b2");
    expect(of_desktop, PERMISSION_TEMPLATE_SEE, "template", "name", "tb");
    expect(of_desktop, PERMISSION_TEMPLATE_PUBLISH, "template", "name", NULL);
    expect(of_desktop, PERMISSION_POOL_CHANGE, "pool", "name", NULL);
    expect(of_desktop, PERMISSION_DESKTOP_DELETE, "desktop", "name", "b1");
    expect(of_template, PERMISSION_TEMPLATE_PUBLISH, "template", "name", "tb");
    expect(of_template, PERMISSION_POOL_CHANGE, "pool", "name", "p q");
    check(of_pool, PERMISSION_TEMPLATE_PUBLISH, ACCESS_ON_TEMPLATE, "{\"template\":\"tb\"}",
          IMAGED_ERROR_DENIED);
    check(of_pool, PERMISSION_POOL_CHANGE, ACCESS_ON_POOL, "{\"pool\":\"q\"}",
          IMAGED_ERROR_NOT_FOUND);
}

static void test_token(gpointer *fixture, gconstpointer unused)
{
    grant("admin", ID("02"), "all", NULL);
    g_autoptr(Caller) whole = user(ID("02"));
    g_assert_true(whole->is_admin);
    g_autoptr(Caller) bob = user(ID("02"));
    caller_limit(bob, "desktop.see desktop.start", SCOPE_POOL, ID("10"));
    g_assert_false(bob->is_admin);
    expect(bob, PERMISSION_DESKTOP_START, "desktop", "name", "b2");
    expect(bob, PERMISSION_DESKTOP_RESET, "desktop", "name", NULL);
    g_autoptr(Caller) ann = user(ID("01"));
    caller_limit(ann, NULL, SCOPE_TEMPLATE, ID("a0"));
    expect(ann, PERMISSION_DESKTOP_START, "desktop", "name", "a1");
    g_autoptr(Caller) odd = user(ID("01"));
    caller_limit(odd, NULL, SCOPE_TEMPLATE, "x' OR '1'='1");
    expect(odd, PERMISSION_DESKTOP_START, "desktop", "name", NULL);
    g_autoptr(GError) error = NULL;
    g_assert_null(caller_new_user(db, ID("04"), NULL, &error)); /* disabled */
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_DENIED);
}

static void test_check(gpointer *fixture, gconstpointer unused)
{
    const gint denied = IMAGED_ERROR_DENIED, hidden = IMAGED_ERROR_NOT_FOUND;

    grant("helpdesk", ID("03"), "template", ID("a0"));
    grant("user-reset", ID("01"), "all", NULL);
    g_autoptr(Caller) ann = user(ID("01"));
    g_autoptr(Caller) cyd = user(ID("03"));
    const AccessOn on = ACCESS_ON_DESKTOPS;

    check(ann, PERMISSION_DESKTOP_START, on, "{\"names\":[\"a1\",\"b2\"]}", -1);
    check(ann, PERMISSION_DESKTOP_START, on, "{\"names\":[\"a1\",\"a2\"]}", hidden);
    check(ann, PERMISSION_DESKTOP_START, on, "{\"names\":[\"a1\",\"nope\"]}", -1);
    check(ann, PERMISSION_DESKTOP_SEE, on, "{\"desktop\":\"b1\"}", hidden);
    check(ann, PERMISSION_DESKTOP_DELETE, on, "{\"names\":[\"a1\"]}", denied);
    check(ann, PERMISSION_DESKTOP_RESET, on, "{\"names\":[\"a1\"]}", -1);
    check(ann, PERMISSION_DESKTOP_RESET, on, "{\"names\":[\"a1\"],\"to\":\"tb:1\"}", hidden);
    check(ann, PERMISSION_DESKTOP_START, on, "{\"prefix\":\"a\"}", -1); /* a1 alone */
    check(ann, PERMISSION_DESKTOP_START, on, "{\"all\":true}", denied);
    check(cyd, PERMISSION_DESKTOP_RESET, on, "{\"template\":\"ta\"}", -1);
    check(cyd, PERMISSION_DESKTOP_RESET, on, "{\"template\":\"tb\"}",
          -1); /* nothing that he sees */
    check(cyd, PERMISSION_DESKTOP_RESET, on, "{\"names\":[\"a2\"],\"to\":\"ta:1\"}", -1);
    check(cyd, PERMISSION_TEMPLATE_SEE, ACCESS_ON_TEMPLATE, "{\"template\":\"ta:1\"}", -1);
    check(cyd, PERMISSION_TEMPLATE_SEE, ACCESS_ON_TEMPLATE, "{\"template\":\"tb\"}", hidden);
    check(cyd, PERMISSION_TEMPLATE_CHANGE, ACCESS_ON_TEMPLATE, "{\"template\":\"ta\"}", denied);
    check(cyd, PERMISSION_HOST_SEE, ACCESS_ON_ALL, "{}", denied);
    check(NULL, PERMISSION_ANYONE, ACCESS_ON_LIST, "{}", denied);
    check(cyd, PERMISSION_UNSET, ACCESS_ON_LIST, "{}", denied);
    check(ann, PERMISSION_USER_SEE, ACCESS_ON_USER, "{\"user\":\"Ann\"}", -1);
    check(ann, PERMISSION_USER_SEE, ACCESS_ON_USER, "{\"user\":\"bob\"}", hidden);
    check(ann, PERMISSION_USER_CHANGE, ACCESS_ON_USER, "{\"user\":\"ann\"}", denied);
    /* What he sees, but may not touch: the auditor's. */
    grant("auditor", ID("02"), "all", NULL);
    g_autoptr(Caller) bob = user(ID("02"));
    check(bob, PERMISSION_DESKTOP_RESTART, on, "{\"prefix\":\"b\"}", denied);
    check(bob, PERMISSION_DESKTOP_RESTART, on, "{\"desktop\":\"a1\"}", denied);
}

static void test_routes(void)
{
    for (guint i = 0; routes[i].method; i++) {
        const Route *r = &routes[i];
        if (r->permission == PERMISSION_UNSET)
            g_test_message("no permission: %s %s", r->method, r->path);
        g_assert_cmpint(r->permission, !=, PERMISSION_UNSET);
        g_assert_cmpint(r->permission, <, PERMISSION_N);
        /* What changes something is not for whoever comes. */
        if (r->permission == PERMISSION_NONE)
            g_assert_true(strstr(r->path, "login") != NULL);
    }
}

/* A body is read whatever the method: an operation that shows something by GET and changes it by
 * POST could be asked by GET, with the right to see alone, to change it. */
static void test_one_permission(void)
{
    for (guint i = 0; routes[i].method; i++) {
        for (guint k = i + 1; routes[k].method; k++) {
            if (!routes[i].function || routes[i].function != routes[k].function)
                continue;
            g_test_message("%s %s", routes[k].method, routes[k].path);
            g_assert_cmpint(routes[i].permission, ==, routes[k].permission);
            g_assert_cmpstr(routes[i].method, ==, routes[k].method);
        }
    }
}

static void test_names(void)
{
    PermissionSet set = { { 0 } }, kind = { { 0 } };
    g_autoptr(GError) error = NULL;

    for (guint i = 0; i < PERMISSION_N; i++)
        g_assert_nonnull(permission_name((Permission)i));
    for (guint i = PERMISSION_FIRST; i < PERMISSION_N; i++)
        g_assert_cmpint(permission_parse(permission_name((Permission)i)), ==, i);
    g_assert_true(permission_parse_set("desktop.see, desktop.start", &set, &error));
    g_autofree char *text = permission_set_text(&set);
    g_assert_cmpstr(text, ==, "desktop.see desktop.start");
    g_assert_true(permission_parse_set("snapshot.*", &kind, &error));
    g_assert_true(permission_has(&kind, PERMISSION_SNAPSHOT_REVERT));
    g_assert_false(permission_has(&kind, PERMISSION_DESKTOP_SEE));
    g_assert_false(permission_parse_set("anyone", &set, NULL));
    g_assert_false(permission_parse_set("desktop.se", &set, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID);
    g_assert_nonnull(strstr(error->message, "desktop.see"));
    for (guint i = 0; permission_roles[i].name; i++) {
        PermissionSet role = { { 0 } };
        g_assert_true(permission_parse_set(permission_roles[i].permissions, &role, NULL));
        g_assert_true(id_is_valid(permission_roles[i].id));
    }
}

static void read_anew(void)
{
    catalog_read_end(catalog, db);
    db = catalog_read_begin(catalog);
}

static void is_refused(const Caller *caller)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(token_caller_again(db, caller, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_DENIED);
}

/* Who is looked at again, long after he came, is as he is by then. */
static void test_again(gpointer *fixture, gconstpointer unused)
{
    const TokenSpec spec = { .name = "t",
                             .user_id = ID("02"),
                             .user_name = "bob",
                             .permissions = "desktop.see",
                             .scope_kind = SCOPE_TEMPLATE,
                             .scope_id = ID("a0") };
    g_autoptr(GError) error = NULL;
    g_autofree char *id = NULL;
    g_autofree char *text = token_create(catalog, &spec, "root", &id, &error);
    g_autoptr(Caller) bob = token_caller(catalog, text, "192.0.2.1", &error);
    g_autoptr(Caller) cyd = user(ID("03"));
    g_autoptr(Caller) root = caller_new_admin("root");

    g_assert_no_error(error);
    expect(bob, PERMISSION_DESKTOP_SEE, "desktop", "name", NULL);
    grant("auditor", ID("02"), "all", NULL);
    g_autoptr(Caller) again = token_caller_again(db, bob, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(again->who, ==, "bob from 192.0.2.1");
    expect(again, PERMISSION_DESKTOP_SEE, "desktop", "name", "a1 a2"); /* the token's scope holds */
    expect(again, PERMISSION_HOST_SEE, "host", "name", NULL);
    g_assert_true(token_revoke(catalog, id, "root", &error));
    read_anew();
    is_refused(again);

    g_autoptr(Caller) same = token_caller_again(db, cyd, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(same->user_id, ==, cyd->user_id);
    sql("UPDATE user SET is_disabled = 1 WHERE name = 'cyd'");
    read_anew();
    is_refused(cyd);
    g_autoptr(Caller) admin = token_caller_again(db, root, &error);
    g_assert_no_error(error);
    g_assert_true(admin->is_admin);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    catalog_fixture_start();
    g_test_add_func("/access/routes", test_routes);
    g_test_add_func("/access/one-permission", test_one_permission);
    g_test_add_func("/access/names", test_names);
#define TEST(name, function)                                                                       \
    catalog_fixture_add("/access/" name, (GTestFixtureFunc)set_up, (GTestFixtureFunc)function,     \
                        (GTestFixtureFunc)tear_down)
    TEST("own", test_own);
    TEST("scopes", test_scopes);
    TEST("not-upwards", test_not_upwards);
    TEST("token", test_token);
    TEST("check", test_check);
    TEST("again", test_again);
    int result = g_test_run();
    catalog_fixture_end();
    return result;
}
