/* test_quota.c: what users and groups may have, also when many ask at the same moment. */
#include "tests/unit/pool_fixture.h"

#include "broker/access/quota.h"
#include "broker/pool/change.h"

#define N 8 /* that race */

static void limit(PoolFixture *f, const char *subject, const char *column, int n)
{
    sqlf(f,
         "INSERT INTO quota (subject_id, subject_kind, %s) VALUES ('%s', '%s', %d)"
         " ON CONFLICT (subject_id) DO UPDATE SET %s = excluded.%s",
         column, subject, g_str_equal(subject, "staff") ? "group" : "user", n, column, column);
}

/* Desktops 1 to n that are nobody's. */
static void add_desktops(PoolFixture *f, int n)
{
    for (int i = 1; i <= n; i++)
        add_member(f, i, V1);
    sql(f, "DELETE FROM pool_desktop");
}

static void own(PoolFixture *f, int desktop, const char *user)
{
    sqlf(f,
         "INSERT INTO assignment (desktop_id, user_id, is_owner, may_take_over, created_at)"
         " VALUES ('d%d', '%s', 1, 0, 0)",
         desktop, user);
}

static void run(PoolFixture *f, int desktop)
{
    sql(f, "INSERT OR IGNORE INTO host (id, name, uri, accelerator, store_paths, is_maintenance,"
           " created_at) VALUES ('h', 'h', 'h', 'auto', '{}', 0, 0)");
    sqlf(f,
         "INSERT INTO run (desktop_id, host_id, incarnation, generation, state, started_at,"
         " changed_at) VALUES ('d%d', 'h', 'i%d', 1, 'running', 0, 0)",
         desktop, desktop);
}

static void given(PoolFixture *f, const char *user, const char *desktop, gboolean expected)
{
    g_autoptr(GError) error = NULL;
    Db *db = catalog_read_begin(f->world.catalog);
    gboolean ok = quota_check_given(&f->world, db, user, desktop, &error);

    catalog_read_end(f->world.catalog, db);
    g_assert_cmpint(ok, ==, expected);
    if (!expected)
        g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_DENIED);
    else
        g_assert_no_error(error);
}

static void more(PoolFixture *f, const char *desktop, QuotaKind kind, gboolean expected)
{
    g_autoptr(GError) error = NULL;
    Db *db = catalog_read_begin(f->world.catalog);
    gboolean ok = quota_check_more(&f->world, db, desktop, kind, NULL, &error);

    catalog_read_end(f->world.catalog, db);
    g_assert_cmpint(ok, ==, expected);
    if (!expected)
        g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_DENIED);
}

/* ---- What counts ---- */

static void test_given(PoolFixture *f, gconstpointer unused)
{
    add_desktops(f, 3);
    add_user(f, 1);
    add_user(f, 2);
    given(f, "u1", "d1", TRUE);
    limit(f, "u1", "n_desktops", 1);
    given(f, "u1", "d1", TRUE);
    own(f, 1, "u1");
    given(f, "u1", "d2", FALSE);
    given(f, "u1", "d1", TRUE); /* it is his: nothing grows */
    given(f, "u2", "d2", TRUE);
    limit(f, "u1", "n_desktops", 0); /* what is there already stays */
    given(f, "u1", "d1", TRUE);
    sql(f, "UPDATE desktop SET is_trashed = 1 WHERE id = 'd1'"); /* in the trash it is nobody's */
    limit(f, "u1", "n_desktops", 1);
    given(f, "u1", "d2", TRUE);
}

/* A desktop brings what it has: it runs, it has snapshots. */
static void test_brings(PoolFixture *f, gconstpointer unused)
{
    add_desktops(f, 2);
    add_user(f, 1);
    run(f, 1);
    limit(f, "u1", "n_running", 0);
    given(f, "u1", "d1", FALSE);
    given(f, "u1", "d2", TRUE);
    limit(f, "u1", "n_running", 1);
    given(f, "u1", "d1", TRUE);
    sql(f,
        "INSERT INTO snapshot (id, desktop_id, name, description, layer_id, store_id, version_id,"
        " generation, is_trashed, created_at, changed_at) VALUES ('s1', 'd1', 's', '', 'l1-1',"
        " 's', '" V1 "', 1, 0, 0, 0)");
    limit(f, "u1", "n_snapshots", 0);
    given(f, "u1", "d1", FALSE);
    limit(f, "u1", "n_snapshots", 1);
    given(f, "u1", "d1", TRUE);
}

static void test_group(PoolFixture *f, gconstpointer unused)
{
    add_desktops(f, 3);
    sql(f, "INSERT INTO user_group (id, name, name_key, created_at) VALUES ('staff', 'staff',"
           " 'staff', 0)");
    add_user(f, 1);
    add_user(f, 2);
    limit(f, "staff", "n_desktops", 2);
    own(f, 1, "u1");
    own(f, 2, "u2");
    given(f, "u1", "d3", FALSE);
    given(f, "u2", "d1", TRUE); /* from one member to another: the group has no more */
    own(f, 2, "u1");
    more(f, "d2", QUOTA_RUNNING, TRUE);
    limit(f, "staff", "n_running", 0);
    more(f, "d2", QUOTA_RUNNING, FALSE);
    run(f, 2);
    more(f, "d2", QUOTA_RUNNING, TRUE); /* it is on */
    more(f, "d3", QUOTA_RUNNING, TRUE); /* it is nobody's */
}

/* ---- Races ---- */

typedef struct {
    PoolFixture *f;
    void (*act)(PoolFixture *f, int i, GError **error);
    gint *wait;
    gint *n_ok;
    int i;
} Racer;

static gpointer race_one(gpointer data)
{
    Racer *r = data;
    g_autoptr(GError) error = NULL;

    g_atomic_int_add(r->wait, -1);
    while (g_atomic_int_get(r->wait) > 0)
        g_thread_yield();
    r->act(r->f, r->i, &error);
    if (!error)
        g_atomic_int_inc(r->n_ok);
    else
        g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_DENIED);
    return NULL;
}

/* How many of N at the same moment get through. */
static int race(PoolFixture *f, void (*act)(PoolFixture *f, int i, GError **error))
{
    GThread *threads[N];
    Racer racers[N];
    gint wait = N, n_ok = 0;

    for (int i = 0; i < N; i++) {
        racers[i] = (Racer){ f, act, &wait, &n_ok, i + 1 };
        threads[i] = g_thread_new("racer", race_one, &racers[i]);
    }
    for (int i = 0; i < N; i++)
        g_thread_join(threads[i]);
    return n_ok;
}

static void assign_one(PoolFixture *f, int i, GError **error)
{
    const AssignSpec spec = { 0 };
    g_autofree char *name = g_strdup_printf("lab-%03d", i);

    assignment_add(&f->world, name, "u1", &spec, "root", error);
}

static void test_race_assign(PoolFixture *f, gconstpointer unused)
{
    add_desktops(f, N);
    add_user(f, 1);
    limit(f, "u1", "n_desktops", 3);
    g_assert_cmpint(race(f, assign_one), ==, 3);
    g_assert_cmpint(number(f, "SELECT count(*) FROM assignment"), ==, 3);
}

static void pick_one(PoolFixture *f, int i, GError **error)
{
    g_autofree char *user = g_strdup_printf("u%d", i);
    PickAsk ask = ask_of(user);
    Picked picked;

    pool_pick(&f->world, &ask, &picked, error);
}

/* Prestarted desktops of a pool: the group may have four, and two that run. */
static void test_race_pick(PoolFixture *f, gconstpointer unused)
{
    sql(f, "INSERT INTO user_group (id, name, name_key, created_at) VALUES ('staff', 'staff',"
           " 'staff', 0)");
    add_pool(f, POOL_AUTOMATIC, 1, "{}");
    for (int i = 1; i <= N; i++) {
        add_member(f, i, V1);
        add_user(f, i);
    }
    limit(f, "staff", "n_desktops", 4);
    g_assert_cmpint(race(f, pick_one), ==, 4);
    g_assert_cmpint(number(f, "SELECT count(*) FROM pool_desktop WHERE state = 'given'"), ==, 4);
    g_assert_cmpint(number(f, "SELECT count(*) FROM attachment"), ==, 4);
    sql(f, "UPDATE pool_desktop SET state = 'free', user_id = NULL");
    sql(f, "DELETE FROM attachment");
    pools_touch(f->world.pools);
    for (int i = 1; i <= N; i++)
        run(f, i);
    limit(f, "staff", "n_running", 2);
    g_assert_cmpint(race(f, pick_one), ==, 2);
}

static void hold_one(PoolFixture *f, int i, GError **error)
{
    g_autofree char *thing = g_strdup_printf("thing%d", i), *desktop = g_strdup_printf("d%d", i);
    Changes *changes = changes_new();

    quota_hold(changes, QUOTA_RUNNING, desktop, thing, "job");
    catalog_commit(f->world.catalog, changes, error);
}

/* Jobs that are to start: what they hold counts till they end, and not twice. */
static void test_race_hold(PoolFixture *f, gconstpointer unused)
{
    add_desktops(f, N + 1);
    add_user(f, 1);
    for (int i = 1; i <= N; i++)
        own(f, i, "u1");
    limit(f, "u1", "n_running", 5);
    sql(f,
        "INSERT INTO job (id, kind, tier, state, owner, plan, step, done, total, unit, message,"
        " epoch, created_at) VALUES ('job', 'desktop.start', 'interactive', 'running', '', '{}', 0,"
        " 0, 0, '', '', 0, 0)");
    g_assert_cmpint(race(f, hold_one), ==, 5);
    g_assert_cmpint(number(f, "SELECT count(*) FROM quota_hold"), ==, 5);
    sql(f, "INSERT OR IGNORE INTO host (id, name, uri, accelerator, store_paths, is_maintenance,"
           " created_at) VALUES ('h', 'h', 'h', 'auto', '{}', 0, 0)");
    sql(f, "INSERT INTO run (desktop_id, host_id, incarnation, generation, state, started_at,"
           " changed_at) SELECT desktop_id, 'h', thing_id, 1, 'starting', 0, 0 FROM quota_hold"
           " LIMIT 2");
    Db *db = catalog_read_begin(f->world.catalog);
    g_assert_cmpint(quota_used(&f->world, db, "u1", QUOTA_RUNNING), ==, 5);
    catalog_read_end(f->world.catalog, db);
    sql(f, "UPDATE job SET state = 'failed'");
    g_assert_cmpint(number(f, "SELECT count(*) FROM quota_hold"), ==, 0);
    db = catalog_read_begin(f->world.catalog);
    g_assert_cmpint(quota_used(&f->world, db, "u1", QUOTA_RUNNING), ==, 2);
    catalog_read_end(f->world.catalog, db);
}

/* Holds of one set count one another, and one that can't be takes all of the set back. */
static void test_set(PoolFixture *f, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    add_desktops(f, 3);
    add_user(f, 1);
    for (int i = 1; i <= 3; i++)
        own(f, i, "u1");
    limit(f, "u1", "n_snapshots", 2);
    Changes *changes = changes_new();
    quota_hold(changes, QUOTA_SNAPSHOTS, "d1", "s1", "job");
    quota_hold(changes, QUOTA_SNAPSHOTS, "d1", "s2", "job");
    quota_hold(changes, QUOTA_SNAPSHOTS, "d2", "s3", "job");
    g_assert_false(catalog_commit(f->world.catalog, changes, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_DENIED);
    g_assert_cmpint(number(f, "SELECT count(*) FROM quota_hold"), ==, 0);
}

#define ADD(path, func) g_test_add(path, PoolFixture, NULL, pool_set_up, func, pool_tear_down)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("/quota/given", test_given);
    ADD("/quota/brings", test_brings);
    ADD("/quota/group", test_group);
    ADD("/quota/race-assign", test_race_assign);
    ADD("/quota/race-pick", test_race_pick);
    ADD("/quota/race-hold", test_race_hold);
    ADD("/quota/set", test_set);
    return g_test_run();
}
