/* test_quota.c: what users and groups may have, also when many ask at the same moment. */
#include "tests/unit/pool_fixture.h"

#include "broker/access/quota.h"
#include "broker/pool/change.h"
#include "imaged/catalog/schema.h"

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

/* What the triggers have reckoned up is what there is. */
static void check_sums(PoolFixture *f)
{
    static const char differ[] =
        "SELECT count(*) FROM (SELECT * FROM (SELECT * FROM held EXCEPT SELECT * FROM held_now)"
        " UNION ALL SELECT * FROM (SELECT * FROM held_now EXCEPT SELECT * FROM held))";
    static const char wrong[] =
        "WITH what AS (SELECT q.subject_id, h.* FROM quota q JOIN held_now h ON h.user_id ="
        " q.subject_id OR EXISTS (SELECT 1 FROM group_member m WHERE m.group_id = q.subject_id AND"
        " m.user_id = h.user_id)) SELECT count(*) FROM quota q WHERE used_desktops IS NOT (SELECT"
        " count(*) FROM what w WHERE w.subject_id = q.subject_id) OR used_running IS NOT (SELECT"
        " coalesce(sum(n_running), 0) FROM what w WHERE w.subject_id = q.subject_id) OR"
        " used_snapshots IS NOT (SELECT coalesce(sum(n_snapshots), 0) FROM what w WHERE"
        " w.subject_id = q.subject_id)";

    g_assert_cmpint(number(f, differ), ==, 0);
    g_assert_cmpint(number(f, wrong), ==, 0);
}

static void tear_down(PoolFixture *f, gconstpointer unused)
{
    check_sums(f);
    pool_tear_down(f, unused);
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

/* ---- What is reckoned up ---- */

/* Each way in which something comes to count, or does not any more; the sums are looked at after
 * each. */
static void test_sums(PoolFixture *f, gconstpointer unused)
{
    static const char *const steps[] = {
        "INSERT INTO user_group (id, name, name_key, created_at) VALUES ('staff', 'staff', 'staff',"
        " 0)",
        "INSERT INTO quota (subject_id, subject_kind, n_desktops) VALUES ('staff', 'group', 99),"
        " ('u1', 'user', 99)",
        "UPDATE pool_desktop SET user_id = 'u1', state = 'given' WHERE desktop_id IN ('d1', 'd2')",
        "INSERT INTO assignment (desktop_id, user_id, is_owner, may_take_over, created_at) VALUES"
        " ('d5', 'u2', 1, 0, 0), ('d6', 'u1', 0, 0, 0), ('d6', 'u2', 0, 0, 0)",
        "INSERT INTO snapshot (id, desktop_id, name, description, layer_id, store_id, version_id,"
        " generation, is_trashed, created_at, changed_at) VALUES ('s1', 'd1', 's', '', 'l', 's',"
        " '" V1 "', 1, 0, 0, 0), ('s2', 'd5', 's', '', 'l', 's', '" V1 "', 1, 0, 0, 0), ('s3',"
        " 'd4', 's', '', 'l', 's', '" V1 "', 1, 1, 0, 0)",
        "INSERT INTO host (id, name, uri, accelerator, store_paths, is_maintenance, created_at)"
        " VALUES ('h', 'h', 'h', 'auto', '{}', 0, 0)",
        "INSERT INTO run (desktop_id, host_id, incarnation, generation, state, started_at,"
        " changed_at) VALUES ('d1', 'h', 'i1', 1, 'running', 0, 0), ('d3', 'h', 'i3', 1, 'running',"
        " 0, 0)",
        "INSERT INTO quota_hold (thing_id, kind, desktop_id, job_id) VALUES ('i1', 'running', 'd1',"
        " 'j'), ('i2', 'running', 'd2', 'j'), ('s1', 'snapshots', 'd1', 'j'), ('s9', 'snapshots',"
        " 'd1', 'j')",
        "DELETE FROM run WHERE desktop_id = 'd1'",
        "DELETE FROM group_member WHERE user_id = 'u1'",
        "INSERT INTO group_member VALUES ('staff', 'u1')",
        "UPDATE assignment SET is_owner = 1 WHERE desktop_id = 'd6' AND user_id = 'u1'",
        "UPDATE desktop SET is_trashed = 1 WHERE id IN ('d1', 'd5')",
        "UPDATE desktop SET is_trashed = 0 WHERE id = 'd5'",
        "UPDATE snapshot SET is_trashed = 1 - is_trashed",
        "UPDATE pool_desktop SET user_id = 'u2' WHERE desktop_id = 'd2'",
        "UPDATE pool_desktop SET user_id = NULL, state = 'returning' WHERE desktop_id = 'd2'",
        "DELETE FROM quota_hold",
        "DELETE FROM snapshot WHERE id = 's1'",
        "DELETE FROM quota WHERE subject_id = 'u1'",
        "INSERT INTO quota (subject_id, subject_kind, n_desktops) VALUES ('u1', 'user', 9), ('u2',"
        " 'user', 9)",
        "DELETE FROM pool_desktop WHERE desktop_id = 'd1'",
        "DELETE FROM assignment",
        "DELETE FROM desktop",
    };

    add_pool(f, POOL_AUTOMATIC, 9, "{}");
    for (int i = 1; i <= 6; i++)
        add_member(f, i, V1);
    sql(f, "DELETE FROM pool_desktop WHERE desktop_id IN ('d5', 'd6')");
    add_user(f, 1);
    add_user(f, 2);
    for (guint i = 0; i < G_N_ELEMENTS(steps); i++) {
        sql(f, steps[i]);
        check_sums(f);
        if (i == 7) {
            g_assert_cmpint(number(f, "SELECT used_desktops FROM quota WHERE subject_id = 'staff'"),
                            ==, 3);
            g_assert_cmpint(number(f, "SELECT used_running FROM quota WHERE subject_id = 'u1'"), ==,
                            2);
            g_assert_cmpint(number(f, "SELECT used_snapshots FROM quota WHERE subject_id = 'u1'"),
                            ==, 2);
        }
    }
    g_assert_cmpint(number(f, "SELECT count(*) FROM held"), ==, 0);
}

/* A catalog from before has quotas, and what counts for them. */
static void test_older(void)
{
    g_autoptr(GError) error = NULL;
    Db *db = db_open("file::memory:", TRUE, &error);

    g_assert_no_error(error);
    g_assert_true(schema_migrate_to(db, 14, &error));
    g_assert_true(db_script(db,
                            "PRAGMA foreign_keys=OFF; INSERT INTO desktop (id, name, version_id,"
                            " owner, generation, layer_id, store_id, mac, uuid, state, is_trashed,"
                            " created_at, changed_at) VALUES ('d1', 'a', 'v', '', 1, 'l', 's', '',"
                            " '', 'ok', 0, 0, 0), ('d2', 'b', 'v', '', 1, 'l', 's', '', '', 'ok',"
                            " 0, 0, 0); INSERT INTO assignment (desktop_id, user_id, is_owner,"
                            " may_take_over, created_at) VALUES ('d1', 'u1', 1, 0, 0);"
                            " INSERT INTO pool_desktop (desktop_id, pool_id, state, user_id,"
                            " clean_generation, n_extensions, changed_at) VALUES ('d2', 'p',"
                            " 'given', 'u2', 1, 0, 0); INSERT INTO group_member VALUES ('g', 'u1'),"
                            " ('g', 'u2'); INSERT INTO quota (subject_id, subject_kind, n_desktops)"
                            " VALUES ('g', 'group', 2), ('u1', 'user', 1)",
                            &error));
    g_assert_true(schema_migrate(db, &error));
    g_assert_no_error(error);
    g_assert_cmpint(lookup_int(db, "SELECT used_desktops FROM quota WHERE subject_id = 'g'", ""),
                    ==, 2);
    g_assert_cmpint(lookup_int(db, "SELECT used_desktops FROM quota WHERE subject_id = 'u1'", ""),
                    ==, 1);
    db_close(db);
}

#define ADD(path, func) g_test_add(path, PoolFixture, NULL, pool_set_up, func, tear_down)

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
    ADD("/quota/sums", test_sums);
    g_test_add_func("/quota/older", test_older);
    return g_test_run();
}
