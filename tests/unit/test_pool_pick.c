/* test_pool_pick.c: who gets which desktop of a pool, and who never does. */
#include "tests/unit/pool_fixture.h"

static void pick_ok(PoolFixture *f, const char *user, const char *expected)
{
    g_autoptr(GError) error = NULL;
    PickAsk ask = ask_of(user);
    Picked picked;

    pool_pick(&f->world, &ask, &picked, &error);
    g_assert_no_error(error);
    if (expected)
        g_assert_cmpstr(picked.desktop_id, ==, expected);
    g_autofree char *seen =
        g_strdup_printf("SELECT count(*) AS n FROM attachment WHERE desktop_id = '%s' AND"
                        " user_id = '%s' AND generation = %d",
                        picked.desktop_id, user, (int)picked.generation);
    g_assert_cmpint(number(f, seen), ==, 1);
}

static void pick_fails(PoolFixture *f, const char *user, int code)
{
    g_autoptr(GError) error = NULL;
    PickAsk ask = ask_of(user);
    Picked picked;

    g_assert_false(pool_pick(&f->world, &ask, &picked, &error));
    g_assert_error(error, IMAGED_ERROR, code);
}

static void test_gives(PoolFixture *f, gconstpointer unused)
{
    add_pool(f, POOL_AUTOMATIC, 1, "{}");
    for (int i = 1; i <= 3; i++)
        add_user(f, i);
    add_member(f, 1, V1);
    add_member(f, 2, V1);
    pick_ok(f, "u1", "d1"); /* the one that waits longest */
    pick_ok(f, "u1", "d1");
    pick_ok(f, "u2", "d2");
    pick_fails(f, "u3", IMAGED_ERROR_BUSY);
    pick_fails(f, "stranger", IMAGED_ERROR_DENIED);
    PickAsk ask = ask_of("u1");
    g_autoptr(GError) error = NULL;
    Picked picked;
    ask.wants_another = TRUE;
    g_assert_false(pool_pick(&f->world, &ask, &picked, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_DENIED);
}

static void test_running_first(PoolFixture *f, gconstpointer unused)
{
    add_pool(f, POOL_AUTOMATIC, 1, "{}");
    add_user(f, 1);
    for (int i = 1; i <= 5; i++)
        add_member(f, i, V1);
    sql(f, "INSERT INTO host (id, name, uri, accelerator, store_paths, is_maintenance, created_at)"
           " VALUES ('h', 'h', 'h', 'auto', '{}', 0, 0)");
    sql(f, "INSERT INTO run (desktop_id, host_id, incarnation, generation, state, started_at,"
           " changed_at) VALUES ('d4', 'h', 'i', 1, 'running', 0, 0)");
    sql(f, "INSERT INTO run (desktop_id, host_id, incarnation, generation, state, started_at,"
           " changed_at) VALUES ('d1', 'h', 'j', 1, 'starting', 0, 0)");
    pick_ok(f, "u1", "d4");
}

/* What must never be given, one reason each: the statement that makes d1 so. */
static const char *const unfit[] = {
    "UPDATE desktop SET generation = 2 WHERE id = 'd1'", /* replaced behind the pool's back */
    "UPDATE pool_desktop SET clean_generation = 0 WHERE desktop_id = 'd1'",
    "UPDATE pool_desktop SET state = 'returning' WHERE desktop_id = 'd1'",
    "UPDATE pool_desktop SET state = 'broken' WHERE desktop_id = 'd1'",
    "UPDATE pool_desktop SET state = 'making' WHERE desktop_id = 'd1'",
    "UPDATE desktop SET is_trashed = 1 WHERE id = 'd1'",
    "UPDATE desktop SET state = 'missing' WHERE id = 'd1'",
    "UPDATE desktop SET data_layer_id = 'x' WHERE id = 'd1'",
    "INSERT INTO attachment VALUES ('d1', 1, 'u9', 0)", /* somebody else saw it */
    "INSERT INTO attachment VALUES ('d1', 1, 'u1', 0)", /* even if it was himself */
    "UPDATE pool SET version_id = '" V2 "'", /* it stands on another version than is wanted */
    "UPDATE version SET state = 'retired'",
    /* a disk of an earlier generation was brought back under the same number */
    "UPDATE layer SET generation = 0 WHERE id = 'l1-1'",
};

static void test_unfit(PoolFixture *f, gconstpointer unused)
{
    add_version(f, V2, 2, "draft");
    add_user(f, 1);
    for (guint i = 0; i < G_N_ELEMENTS(unfit); i++) {
        g_test_message("%s", unfit[i]);
        add_pool(f, POOL_AUTOMATIC, 1, "{}");
        add_member(f, 1, V1);
        sql(f, unfit[i]);
        pools_touch(f->world.pools);
        pick_fails(f, "u1", IMAGED_ERROR_BUSY);
        g_assert_cmpint(number(f, "SELECT count(*) FROM pool_desktop WHERE user_id IS NOT NULL"),
                        ==, 0);
        sql(f, "DELETE FROM pool_desktop");
        sql(f, "DELETE FROM attachment");
        sql(f, "DELETE FROM pool_grant");
        sql(f, "DELETE FROM pool");
        sql(f, "DELETE FROM desktop");
        sql(f, "DELETE FROM layer WHERE owner_kind = 'desktop'");
        sql(f, "UPDATE version SET state = 'published' WHERE id = '" V1 "'");
    }
}

/* The same while it is in the list of candidates already: then the commit decides. */
static void test_unfit_late(PoolFixture *f, gconstpointer unused)
{
    add_version(f, V2, 2, "draft");
    for (int i = 1; i <= 3; i++)
        add_user(f, i);
    for (guint i = 0; i < G_N_ELEMENTS(unfit); i++) {
        g_test_message("%s", unfit[i]);
        add_pool(f, POOL_AUTOMATIC, 1, "{}");
        add_member(f, 0, V1);
        add_member(f, 1, V1);
        sql(f, "UPDATE pool_desktop SET changed_at = 0 WHERE desktop_id = 'd0'");
        pools_touch(f->world.pools);
        pick_ok(f, "u2", "d0"); /* d1 is in the list now */
        sql(f, unfit[i]);
        pick_fails(f, "u1", IMAGED_ERROR_BUSY);
        g_assert_cmpint(number(f, "SELECT count(*) FROM pool_desktop WHERE user_id = 'u1'"), ==, 0);
        sql(f, "DELETE FROM pool_desktop");
        sql(f, "DELETE FROM attachment");
        sql(f, "DELETE FROM pool_grant");
        sql(f, "DELETE FROM pool");
        sql(f, "DELETE FROM desktop");
        sql(f, "DELETE FROM layer WHERE owner_kind = 'desktop'");
        sql(f, "UPDATE version SET state = 'published' WHERE id = '" V1 "'");
    }
}

/* His own one is his through what may happen to its disk, but never with another's content. */
static void test_present(PoolFixture *f, gconstpointer unused)
{
    add_pool(f, POOL_MANUAL, 1, "{}");
    add_user(f, 1);
    add_user(f, 2);
    add_member(f, 1, V1);
    /* the pool has re-imaged it twice: what it holds is of generation 3 */
    add_layer(f, "l1-3", "base1", 1, 3);
    sql(f, "UPDATE desktop SET generation = 3, layer_id = 'l1-3'");
    sql(f, "UPDATE pool_desktop SET clean_generation = 3");
    sql(f, "INSERT INTO attachment VALUES ('d1', 1, 'u2', 0)");
    sql(f, "INSERT INTO attachment VALUES ('d1', 2, 'u2', 0)");
    pick_ok(f, "u1", "d1");
    /* reset by an admin: a fresh layer */
    add_layer(f, "l1-4", "base1", 1, 4);
    sql(f, "UPDATE desktop SET generation = 4, layer_id = 'l1-4'");
    pick_ok(f, "u1", "d1");
    /* undone: his own disk again */
    sql(f, "UPDATE desktop SET generation = 5, layer_id = 'l1-3'");
    pick_ok(f, "u1", "d1");
    /* a snapshot of his own: the frozen layer below */
    add_layer(f, "l1-5", "l1-3", 1, 5);
    sql(f, "UPDATE desktop SET layer_id = 'l1-5'");
    pick_ok(f, "u1", "d1");
    /* the disk of the user before */
    sql(f, "UPDATE desktop SET generation = 6, layer_id = 'l1-1'");
    pick_fails(f, "u1", IMAGED_ERROR_DENIED);
    /* a fresh layer on a snapshot of his */
    add_layer(f, "l1-7", "l1-1", 1, 7);
    sql(f, "UPDATE desktop SET generation = 7, layer_id = 'l1-7'");
    pick_fails(f, "u1", IMAGED_ERROR_DENIED);
    /* somebody else was let in to what is in it now */
    add_layer(f, "l1-8", "base1", 1, 8);
    sql(f, "UPDATE desktop SET generation = 8, layer_id = 'l1-8'");
    pick_ok(f, "u1", "d1");
    sql(f, "INSERT INTO attachment VALUES ('d1', 8, 'u2', 0)");
    pick_fails(f, "u1", IMAGED_ERROR_DENIED);
}

static void release(PoolFixture *f, const char *desktop, const char *user)
{
    Changes *changes = changes_new();

    pool_release(changes, desktop, user);
    commit(f->world.catalog, changes);
}

#define RETURNING "SELECT count(*) FROM pool_desktop WHERE state = 'returning'"

static void test_release(PoolFixture *f, gconstpointer unused)
{
    add_pool(f, POOL_AUTOMATIC, 1, "{}");
    add_user(f, 1);
    add_user(f, 2);
    add_member(f, 1, V1);
    pick_ok(f, "u1", "d1");
    release(f, "d1", "u2"); /* an old session of another: not his to give back */
    g_assert_cmpint(number(f, RETURNING), ==, 0);
    release(f, "d1", "u1");
    g_assert_cmpint(number(f, RETURNING), ==, 1);
    pick_fails(f, "u1", IMAGED_ERROR_BUSY); /* nor is it his any more */
    pick_fails(f, "u2", IMAGED_ERROR_BUSY);
}

static void test_release_manual(PoolFixture *f, gconstpointer unused)
{
    add_pool(f, POOL_MANUAL, 1, "{}");
    add_user(f, 1);
    add_member(f, 1, V1);
    pick_ok(f, "u1", "d1");
    release(f, "d1", "u1");
    g_assert_cmpint(number(f, RETURNING), ==, 0);
    pick_ok(f, "u1", "d1");
}

/* ---- What is committed with it ---- */

static void add_session(Changes *changes, const Picked *picked, gpointer user)
{
    changes_sql(changes,
                "INSERT INTO session (id, user_id, desktop_id, generation, protocol, state,"
                " created_at) VALUES (?1, 'u', ?2, ?3, 'spice', 'opening', 0)",
                "tti", user, picked->desktop_id, picked->generation);
}

static void test_also(PoolFixture *f, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    PickAsk ask = ask_of("u1");
    Picked picked;

    add_pool(f, POOL_AUTOMATIC, 1, "{}");
    add_user(f, 1);
    add_user(f, 2);
    add_member(f, 1, V1);
    ask.also = add_session;
    ask.also_user = "s1";
    g_assert_true(pool_pick(&f->world, &ask, &picked, &error));
    g_assert_true(picked.is_new);
    g_assert_cmpint(number(f, "SELECT count(*) FROM session WHERE desktop_id = 'd1'"), ==, 1);
    /* it cannot be: nothing of it is done, and it ends */
    add_member(f, 2, V1);
    sql(f, "INSERT INTO session (id, user_id, desktop_id, generation, protocol, state, created_at)"
           " VALUES ('s9', 'u', 'd2', 1, 'spice', 'opening', 0)");
    pools_touch(f->world.pools);
    ask.user_id = "u2";
    g_assert_false(pool_pick(&f->world, &ask, &picked, &error));
    g_assert_nonnull(error);
    g_assert_cmpint(number(f, "SELECT count(*) FROM pool_desktop WHERE user_id = 'u2'"), ==, 0);
    g_assert_cmpint(number(f, "SELECT count(*) FROM attachment WHERE user_id = 'u2'"), ==, 0);
}

/* ---- Many at once ---- */

#define N_RACERS 64
#define N_DESKTOPS 40

typedef struct {
    PoolFixture *f;
    char user[8];
    Picked picked;
    gboolean ok;
    int code;
} Racer;

static gpointer race(gpointer data)
{
    Racer *r = data;
    g_autoptr(GError) error = NULL;
    PickAsk ask = ask_of(r->user);

    r->ok = pool_pick(&r->f->world, &ask, &r->picked, &error);
    r->code = error ? error->code : -1;
    return NULL;
}

/* 64 racers, two for each of 32 users; then 64 users for 40 desktops. */
static void run_race(PoolFixture *f, guint per_user, guint expected)
{
    Racer racers[N_RACERS];
    GThread *threads[N_RACERS];
    g_autoptr(GHashTable) by_desktop = g_hash_table_new(g_str_hash, g_str_equal);
    guint n = 0;

    for (guint i = 0; i < N_RACERS; i++) {
        racers[i] = (Racer){ .f = f };
        g_snprintf(racers[i].user, sizeof racers[i].user, "u%u", i / per_user);
        threads[i] = g_thread_new("racer", race, &racers[i]);
    }
    for (guint i = 0; i < N_RACERS; i++)
        g_thread_join(threads[i]);
    for (guint i = 0; i < N_RACERS; i++) {
        const char *other = g_hash_table_lookup(by_desktop, racers[i].picked.desktop_id);
        n += racers[i].ok;
        if (!racers[i].ok) {
            g_assert_cmpint(racers[i].code, ==, IMAGED_ERROR_BUSY);
            continue;
        }
        if (other)
            g_assert_cmpstr(other, ==, racers[i].user);
        g_hash_table_insert(by_desktop, racers[i].picked.desktop_id, racers[i].user);
    }
    g_assert_cmpuint(n, ==, expected);
    g_assert_cmpuint(g_hash_table_size(by_desktop), ==, expected / per_user);
    g_assert_cmpint(number(f, "SELECT count(*) FROM pool_desktop WHERE state = 'given'"), ==,
                    expected / per_user);
    g_assert_cmpint(number(f, "SELECT count(*) FROM (SELECT desktop_id FROM attachment GROUP BY"
                              " desktop_id HAVING count(*) > 1)"),
                    ==, 0);
}

static void prepare_race(PoolFixture *f, int n_desktops)
{
    add_pool(f, POOL_AUTOMATIC, 1, "{}");
    for (int i = 0; i < N_RACERS; i++)
        add_user(f, i);
    for (int i = 0; i < n_desktops; i++)
        add_member(f, i, V1);
}

static void test_race(PoolFixture *f, gconstpointer unused)
{
    prepare_race(f, N_DESKTOPS);
    run_race(f, 1, N_DESKTOPS);
}

static void test_race_same_user(PoolFixture *f, gconstpointer unused)
{
    prepare_race(f, N_DESKTOPS);
    run_race(f, 2, N_RACERS);
}

/* As many desktops as users: who is about to get two of them must leave one. */
static void test_race_last(PoolFixture *f, gconstpointer unused)
{
    prepare_race(f, N_RACERS / 2);
    run_race(f, 2, N_RACERS);
}

/* Each asks eight times at once, and gets his one each time. */
static void test_race_many_each(PoolFixture *f, gconstpointer unused)
{
    prepare_race(f, N_RACERS / 8);
    run_race(f, 8, N_RACERS);
}

/* ---- Assignments ---- */

static void test_assigned(PoolFixture *f, gconstpointer unused)
{
    PickAsk ask = { .user_id = "u1" };
    g_autoptr(GError) error = NULL;
    Picked picked;

    add_member(f, 1, V1);
    sql(f, "DELETE FROM pool_desktop");
    add_user(f, 1);
    g_assert_false(assignment_attach(&f->world, "d1", &ask, &picked, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_DENIED);
    g_clear_error(&error);
    sql(f, "INSERT INTO assignment VALUES ('d1', 'u1', 1, 0, NULL, NULL, NULL, 0, 0)");
    g_assert_true(assignment_attach(&f->world, "d1", &ask, &picked, &error));
    g_assert_cmpint(number(f, "SELECT count(*) FROM attachment WHERE user_id = 'u1'"), ==, 1);
    sql(f, "UPDATE assignment SET lease_until = 1000");
    g_assert_false(assignment_attach(&f->world, "d1", &ask, &picked, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_DENIED);
}

#define ADD(path, func) g_test_add(path, PoolFixture, NULL, pool_set_up, func, pool_tear_down)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("/pick/gives", test_gives);
    ADD("/pick/running-first", test_running_first);
    ADD("/pick/unfit", test_unfit);
    ADD("/pick/unfit-late", test_unfit_late);
    ADD("/pick/present", test_present);
    ADD("/pick/release", test_release);
    ADD("/pick/release-manual", test_release_manual);
    ADD("/pick/also", test_also);
    ADD("/pick/race", test_race);
    ADD("/pick/race-same-user", test_race_same_user);
    ADD("/pick/race-last", test_race_last);
    ADD("/pick/race-many-each", test_race_many_each);
    ADD("/pick/assigned", test_assigned);
    return g_test_run();
}
