/* test_session_ends.c: when and how sessions end, on the hosts of session_fixture.h. */
#include "tests/unit/session_fixture.h"

static void tick(Fixture *f, gint64 now_ms)
{
    sessions_tick(f->world.sessions, now_ms);
    sessions_settle(f->world.sessions);
}

static void test_unused(Fixture *f, gconstpointer unused)
{
    SessionAsk anna = ask_of("u1");
    g_autofree char *id = open_ok(f, &anna);
    gint64 now = units_now_ms();

    sessions_tick(f->world.sessions, now + 10000);
    check_state(f, id, "opening");
    sessions_tick(f->world.sessions, now + 70000);
    check_state(f, id, "disconnected");
    gint64 end = g_get_monotonic_time() + LIMIT_US;
    for (gboolean is_over = FALSE; !is_over;) {
        g_mutex_lock(&fake.lock);
        is_over = fake.domains[0].valid_until == 0;
        g_mutex_unlock(&fake.lock);
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(2000);
    }
}

/* Not because a connection broke, but after two hours, or as its pool says. */
static void test_disconnect_limit(Fixture *f, gconstpointer unused)
{
    SessionAsk anna = ask_of("u1");
    g_autofree char *id = open_ok(f, &anna);
    gint64 now = units_now_ms();

    come(f, id);
    tick(f, now + 100 * 3600000ll);
    check_state(f, id, "connected");
    go(f, id);
    now = units_now_ms();
    tick(f, now + 7190000);
    check_state(f, id, "disconnected");
    come(f, id);
    tick(f, now + 7300000);
    check_state(f, id, "connected");
    go(f, id);
    f->world.expiry_held = 1; /* the clock has jumped: who knows how long it was */
    tick(f, units_now_ms() + 7300000);
    check_state(f, id, "disconnected");
    f->world.expiry_held = 0;
    tick(f, units_now_ms() + 7400000);
    check_state(f, id, "ended");
    g_assert_cmpuint(fake.domains[0].n_cuts, ==, 1);
}

static void test_pool(Fixture *f, gconstpointer unused)
{
    SessionAsk anna = ask_of("u1"), bert = ask_of("u2");

    add_pool(f, "600");
    anna.pool_id = bert.pool_id = "p";
    open_fails(f, &bert, IMAGED_ERROR_BUSY, "cannot be given out");
    g_assert_cmpint(count_of(f->world.catalog, "SELECT count(*) FROM attachment"), ==, 0);
    g_autofree char *id = open_ok(f, &anna);
    come(f, id);
    go(f, id);
    tick(f, units_now_ms() + 590000);
    check_state(f, id, "disconnected");
    tick(f, units_now_ms() + 610000);
    check_state(f, id, "ended");
    g_autofree char *state = text_of(f, "SELECT state AS x FROM pool_desktop");
    g_assert_cmpstr(state, ==, "returning");
    open_fails(f, &anna, IMAGED_ERROR_BUSY, "cannot be given out");
}

static void test_never(Fixture *f, gconstpointer unused)
{
    SessionAsk anna = ask_of("u1");

    add_pool(f, "-1");
    anna.pool_id = "p";
    g_autofree char *id = open_ok(f, &anna);
    come(f, id);
    go(f, id);
    tick(f, units_now_ms() + 1000 * 86400000ll);
    check_state(f, id, "disconnected");
}

/* Who is disabled, or gone, is cut off, and gets in no more. */
static void test_disabled(Fixture *f, gconstpointer unused)
{
    SessionAsk anna = ask_of("u1"), root = ask_of("");
    g_autofree char *id = open_ok(f, &anna);

    come(f, id);
    sql(f, "UPDATE user SET is_disabled = 1 WHERE id = 'u1'");
    tick(f, units_now_ms() + 3000);
    check_state(f, id, "ended");
    g_autofree char *why = text_of(f, "SELECT reason AS x FROM session");
    g_assert_cmpstr(why, ==, "its user is disabled");
    open_fails(f, &anna, IMAGED_ERROR_BUSY, "cannot be given out");
    sql(f, "UPDATE user SET is_disabled = 0 WHERE id = 'u1'");
    g_autofree char *again = open_ok(f, &anna);
    sql(f, "DELETE FROM user WHERE id = 'u1'");
    tick(f, units_now_ms() + 6000);
    check_state(f, again, "ended");
    open_fails(f, &anna, IMAGED_ERROR_BUSY, "cannot be given out");
    g_autofree char *roots = open_ok(f, &root); /* who has no row */
    tick(f, units_now_ms() + 9000);
    check_state(f, roots, "opening");
}

static void test_off(Fixture *f, gconstpointer unused)
{
    SessionAsk anna = ask_of("u1");
    g_autofree char *id = open_ok(f, &anna);

    come(f, id);
    sql(f, "DELETE FROM run");
    tick(f, units_now_ms() + 3000);
    check_state(f, id, "ended");
    start_domain(f, 0, "second");
    g_autofree char *second = open_ok(f, &anna);
    g_assert_cmpstr(second, !=, id);
    /* Started anew before anybody looked: the row is of the former run, and makes way. */
    sql(f, "DELETE FROM run");
    start_domain(f, 0, "third");
    g_autofree char *third = open_ok(f, &anna);
    g_assert_cmpstr(third, !=, second);
    check_state(f, second, "ended");
}

static void test_log_off(Fixture *f, gconstpointer unused)
{
    SessionAsk anna = ask_of("u1");
    g_autofree char *id = open_ok(f, &anna);
    gint64 now = units_now_ms(), end = g_get_monotonic_time() + LIMIT_US;

    come(f, id);
    fake.domains[0].n_users = 0; /* at the log-in screen */
    for (guint i = 0; i < 5; i++)
        tick(f, now += 301000);
    check_state(f, id, "connected");
    for (guint i = 0;; i++) { /* an answer comes some time after its question */
        g_mutex_lock(&fake.lock);
        fake.domains[0].n_users = i % 2 == 0;
        g_mutex_unlock(&fake.lock);
        tick(f, now += 301000);
        tick(f, now += 301000);
        g_autofree char *question =
            g_strdup_printf("SELECT reason AS x FROM session WHERE id = '%s'", id);
        g_autofree char *reason = text_of(f, question);
        if (g_strcmp0(reason, "logged off") == 0)
            break;
        g_assert_null(reason);
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(2000);
    }
    tick(f, now + 10000);
    check_state(f, id, "ended");
}

/* A host that hangs holds up an end, and nobody gets in meanwhile; then it is done. */
static void test_hung(Fixture *f, gconstpointer unused)
{
    SessionAsk anna = ask_of("u1");
    g_autofree char *id = open_ok(f, &anna);
    g_autoptr(GError) error = NULL;

    g_mutex_lock(&fake.lock);
    fake.is_off = TRUE;
    g_mutex_unlock(&fake.lock);
    fake.listener.changed(fake.listener.user);
    wait_for_host(f, HOST_DOWN);
    g_assert_false(sessions_end(f->world.sessions, id, "so", "root", &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE);
    check_state(f, id, "ending");
    open_fails(f, &anna, IMAGED_ERROR_BUSY, "being ended");
    tick(f, units_now_ms() + 10000);
    check_state(f, id, "ending");
    g_mutex_lock(&fake.lock);
    fake.is_off = FALSE;
    g_mutex_unlock(&fake.lock);
    wait_for_host(f, HOST_UP);
    tick(f, units_now_ms() + 20000);
    check_state(f, id, "ended");
    g_assert_cmpuint(fake.domains[0].n_cuts, ==, 1);
}

/* Nobody sees the connections of RDP: that somebody is logged in is what counts. */
static void test_rdp(Fixture *f, gconstpointer unused)
{
    SessionAsk anna = ask_of("u1");
    g_auto(SessionTicket) ticket = { 0 };
    gint64 now = units_now_ms(), end_us = g_get_monotonic_time() + LIMIT_US;

    anna.protocol = "rdp";
    g_assert_true(sessions_open(f->world.sessions, &anna, &ticket, NULL));
    tick(f, now += 10000);
    check_state(f, ticket.session_id, "opening");
    tick(f, now += 60000);
    check_state(f, ticket.session_id, "disconnected"); /* so that its time runs */
    g_mutex_lock(&fake.lock);
    fake.domains[0].n_users = 1;
    g_mutex_unlock(&fake.lock);
    while (count_of(f->world.catalog, "SELECT state = 'connected' AND logged_in_at IS NOT NULL FROM"
                                      " session") == 0) {
        tick(f, now += 301000);
        g_assert_cmpint(g_get_monotonic_time(), <, end_us);
        g_usleep(2000);
    }
    end(f); /* it is known after a restart, too: a log-off meanwhile is seen */
    g_mutex_lock(&fake.lock);
    fake.domains[0].n_users = 0;
    g_mutex_unlock(&fake.lock);
    begin(f);
    while (count_of(f->world.catalog, "SELECT state = 'ended' AND reason = 'logged off' FROM"
                                      " session") == 0) {
        tick(f, now += 301000);
        g_assert_cmpint(g_get_monotonic_time(), <, end_us);
        g_usleep(2000);
    }
}

/* While a desktop moves to another host, its client could be on either: it is cut off afterwards,
 * where the desktop is then. */
static void test_moving(Fixture *f, gconstpointer unused)
{
    SessionAsk anna = ask_of("u1");
    g_autofree char *id = open_ok(f, &anna);
    g_autoptr(GError) error = NULL;

    sql(f, "INSERT INTO host (id, name, uri, accelerator, store_paths, is_maintenance, created_at)"
           " VALUES ('other', 'vs-b', 'test:///y', 'auto', '{}', 0, 0)");
    sql(f, "UPDATE run SET host_id = 'other', target_host_id = '" HOST "' WHERE desktop_id = 'd0'");
    g_assert_false(sessions_end(f->world.sessions, id, "so", "root", &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE);
    check_state(f, id, "ending");
    tick(f, units_now_ms() + 10000);
    check_state(f, id, "ending");
    g_assert_cmpuint(fake.domains[0].n_cuts, ==, 0);
    sql(f, "UPDATE run SET host_id = '" HOST "', target_host_id = NULL WHERE desktop_id = 'd0'");
    sessions_moved(f->world.sessions, "00000000-0000-0000-0000-000000000000", HOST);
    tick(f, units_now_ms() + 20000);
    check_state(f, id, "ended");
    g_assert_cmpuint(fake.domains[0].n_cuts, ==, 1);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name) g_test_add("/session-ends/" #name, Fixture, NULL, set_up, test_##name, tear_down)
    ADD(unused);
    ADD(disconnect_limit);
    ADD(pool);
    ADD(never);
    ADD(disabled);
    ADD(off);
    ADD(log_off);
    ADD(hung);
    ADD(rdp);
    ADD(moving);
    return g_test_run();
}
