/* test_sessions.c: how sessions begin and go on, on the hosts of session_fixture.h. */
#include "tests/unit/session_fixture.h"

/* ---- Tests ---- */

static void test_open(Fixture *f, gconstpointer unused)
{
    SessionAsk anna = ask_of("u1"), bert = ask_of("u2");
    g_autofree char *id = open_ok(f, &anna);

    check_state(f, id, "opening");
    g_assert_cmpint(count_of(f->world.catalog, "SELECT count(*) FROM attachment WHERE user_id ="
                                               " 'u1' AND desktop_id = 'd0' AND generation = 1"),
                    ==, 1);
    come(f, id);
    g_autofree char *again = open_ok(f, &anna); /* from another client */
    g_assert_cmpstr(again, ==, id);
    open_fails(f, &bert, IMAGED_ERROR_BUSY, "user1 is on it");
    bert.takes_over = TRUE;
    open_fails(f, &bert, IMAGED_ERROR_BUSY, "user1 is on it");
    bert.may_take_over = TRUE;
    g_autofree char *his = open_ok(f, &bert);
    g_assert_cmpstr(his, !=, id);
    check_state(f, id, "ended");
    g_assert_cmpuint(fake.domains[0].n_cuts, ==, 1);
    g_assert_cmpuint(sessions_count(f->world.sessions), ==, 1);
    open_fails(f,
               &(SessionAsk){
                   .user_id = "u1", .user_name = "u1", .desktop_id = "d1", .protocol = "spice" },
               IMAGED_ERROR_NOT_FOUND, "does not run");
}

/* A password that a client has used ends when no more channels come; one that nobody used, in time.
 */
static void test_password_ends(Fixture *f, gconstpointer unused)
{
    SessionAsk anna = ask_of("u1");
    g_autofree char *id = open_ok(f, &anna);
    gint64 now = units_now_ms(), end = g_get_monotonic_time() + LIMIT_US;

    g_assert_cmpint(fake.domains[0].valid_until, >, now);
    come(f, id);
    tell(0, CLIENT_CONNECTED, 7); /* one more is on the way */
    gint64 noted = units_now_ms() + 1;
    g_autofree char *other = open_ok(
        f, &(SessionAsk){
               .user_id = "u1", .user_name = "u1", .desktop_id = "d0", .protocol = "spice" });
    sessions_tick(f->world.sessions, noted + QUIET_MS + 100);
    g_mutex_lock(&fake.lock);
    g_assert_cmpint(fake.domains[0].valid_until, >, now); /* it is still given time */
    g_mutex_unlock(&fake.lock);
    tell(0, CLIENT_LOGGED_IN, 7);
    for (;;) { /* until the event is there */
        sessions_tick(f->world.sessions, units_now_ms() + QUIET_MS + 100);
        g_mutex_lock(&fake.lock);
        gboolean is_over = fake.domains[0].valid_until == 0;
        g_mutex_unlock(&fake.lock);
        if (is_over)
            break;
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(2000);
    }
    check_state(f, id, "connected");
    g_assert_cmpuint(fake.domains[0].n_cuts, ==, 0);
}

/* A desktop whose generation another user has seen is not opened, whatever else is said of it. */
static void test_seen_by_other(Fixture *f, gconstpointer unused)
{
    SessionAsk anna = ask_of("u1");

    add_pool(f, "600");
    anna.pool_id = "p";
    sql(f, "INSERT INTO attachment VALUES ('d0', 1, 'u2', 0)");
    open_fails(f, &anna, IMAGED_ERROR_BUSY, "cannot be given out");
    g_assert_null(fake.domains[0].password);
}

/* What was his a moment ago. */
static void test_taken_away(Fixture *f, gconstpointer unused)
{
    SessionAsk anna = ask_of("u1");

    sql(f, "UPDATE assignment SET lease_until = 1000 WHERE user_id = 'u1'");
    open_fails(f, &anna, IMAGED_ERROR_BUSY, "cannot be given out");
    g_assert_null(fake.domains[0].password);
    g_assert_cmpint(count_of(f->world.catalog, "SELECT count(*) FROM attachment"), ==, 0);
}

typedef struct {
    Fixture *f;
    gboolean got;
} Opening;

static gpointer opening_run(gpointer data)
{
    Opening *o = data;
    SessionAsk anna = ask_of("u1");
    g_auto(SessionTicket) ticket = { 0 };

    o->got = sessions_open(o->f->world.sessions, &anna, &ticket, NULL);
    return NULL;
}

static gpointer ending_run(gpointer id)
{
    Opening *o = id;
    Db *db = catalog_read_begin(o->f->world.catalog);
    g_auto(SessionRow) row = { 0 };

    g_assert_true(session_of_desktop(db, "d0", &row, NULL));
    catalog_read_end(o->f->world.catalog, db);
    o->got = sessions_end(o->f->world.sessions, row.id, "so", "root", NULL);
    return NULL;
}

/* Stands at the host until it is told to go on. */
static gboolean stand(const HostDriver *d, gpointer link, gpointer data, GError **error)
{
    g_mutex_lock(&fake.lock);
    stand_while_hung(NULL);
    g_mutex_unlock(&fake.lock);
    return TRUE;
}

/* A password that waits for its host when the session is ended does not come after the end. */
static void test_late_password(Fixture *f, gconstpointer unused)
{
    SessionAsk anna = ask_of("u1");
    g_autofree char *id = open_ok(f, &anna);
    Opening opening = { f }, ending = { f };

    g_mutex_lock(&fake.lock);
    fake.is_hung = TRUE;
    g_mutex_unlock(&fake.lock);
    int *nothing = g_atomic_rc_box_new0(int);
    hosts_post(f->world.hosts, HOST, stand, nothing, NULL);
    g_atomic_rc_box_release(nothing);
    GThread *opens = g_thread_new("opens", opening_run, &opening);
    while (count_of(f->world.catalog, "SELECT count(*) FROM event WHERE kind = 'session.again'") ==
           0)
        g_usleep(1000);
    GThread *ends = g_thread_new("ends", ending_run, &ending);
    wait_for_state(f, id, "ending");
    g_mutex_lock(&fake.lock);
    fake.is_hung = FALSE;
    g_cond_broadcast(&fake.cond);
    g_mutex_unlock(&fake.lock);
    g_thread_join(opens);
    g_thread_join(ends);
    g_assert_true(ending.got);
    check_state(f, id, "ended");
    g_assert_cmpuint(fake.domains[0].n_cuts, ==, 1);
    g_assert_cmpint(fake.domains[0].valid_until, ==, 0); /* whatever came first */
    g_assert_cmpuint(sessions_count(f->world.sessions), ==, 0);
}

/* That is by this: from the moment of the end on, no password of the session is wanted any more. */
static void test_forbid(Fixture *f, gconstpointer unused)
{
    char uuid[] = "00000000-0000-0000-0000-000000000003";
    SessionRow row = { .id = (char *)"s", .uuid = uuid, .host_id = (char *)HOST };

    live_add(f->world.sessions, &row, "one", 0);
    g_assert_true(live_is_wanted(f->world.sessions, uuid, "one"));
    live_add(f->world.sessions, &row, "two", 0); /* from elsewhere */
    g_assert_false(live_is_wanted(f->world.sessions, uuid, "one"));
    g_assert_true(live_is_wanted(f->world.sessions, uuid, "two"));
    live_forbid(f->world.sessions, uuid, "another");
    g_assert_true(live_is_wanted(f->world.sessions, uuid, "two"));
    live_forbid(f->world.sessions, uuid, "s");
    g_assert_false(live_is_wanted(f->world.sessions, uuid, "two"));
    g_assert_false(live_is_over(f->world.sessions, uuid, "two"));
    live_drop(f->world.sessions, uuid, "s");
}

/* Who had SPICE before is cut off by the end of what is RDP now. */
static void test_protocols(Fixture *f, gconstpointer unused)
{
    SessionAsk anna = ask_of("u1");
    g_auto(SessionTicket) ticket = { 0 };
    g_autoptr(GError) error = NULL;
    g_autofree char *id = open_ok(f, &anna);

    come(f, id);
    anna.protocol = "rdp";
    sessions_open(f->world.sessions, &anna, &ticket, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(ticket.session_id, ==, id);
    g_assert_null(ticket.password);
    g_assert_cmpint(count_of(f->world.catalog, "SELECT protocol = 'rdp' FROM session"), ==, 1);
    g_assert_true(sessions_end(f->world.sessions, id, "so", "root", &error));
    g_assert_cmpuint(fake.domains[0].n_cuts, ==, 1);
}

/* What happened while nobody listened is found by asking the host. */
static void test_restart(Fixture *f, gconstpointer unused)
{
    SessionAsk anna = ask_of("u1");
    g_autofree char *id = open_ok(f, &anna);

    come(f, id);
    end(f);
    fake.domains[0].n_channels = 0;
    begin(f);
    wait_for_state(f, id, "disconnected");
    end(f);
    fake.domains[0].n_channels = 3;
    begin(f);
    wait_for_state(f, id, "connected");
    g_autofree char *again = open_ok(f, &anna);
    g_assert_cmpstr(again, ==, id);
}

/* ---- Many at once ---- */

typedef struct {
    Fixture *f;
    char user[8];
    gboolean got;
} Rival;

static gpointer rival_run(gpointer data)
{
    Rival *r = data;
    SessionAsk ask = ask_of(r->user);
    g_auto(SessionTicket) ticket = { 0 };
    g_autoptr(GError) error = NULL;

    r->got = sessions_open(r->f->world.sessions, &ask, &ticket, &error);
    g_assert_true(r->got || g_error_matches(error, IMAGED_ERROR, IMAGED_ERROR_BUSY));
    return NULL;
}

static void test_race(Fixture *f, gconstpointer unused)
{
    Rival rivals[N_DESKTOPS];
    GThread *threads[N_DESKTOPS];
    guint n = 0;

    for (guint i = 0; i < N_DESKTOPS; i++) {
        rivals[i] = (Rival){ .f = f };
        g_snprintf(rivals[i].user, sizeof rivals[i].user, "u%u", i);
        threads[i] = g_thread_new("rival", rival_run, &rivals[i]);
    }
    for (guint i = 0; i < N_DESKTOPS; i++) {
        g_thread_join(threads[i]);
        n += rivals[i].got;
    }
    g_assert_cmpuint(n, ==, 1);
    g_assert_cmpint(count_of(f->world.catalog, "SELECT count(*) FROM session"), ==, 1);
    g_assert_cmpint(count_of(f->world.catalog, "SELECT count(*) FROM attachment"), ==, 1);
}

/* ---- Whose is it? ---- */

static void choose(Fixture *f, const char *user, const char *name, const char *expected)
{
    const SessionWish wish = { user, name };
    g_auto(SessionChoice) choice = { 0 };
    g_autoptr(GError) error = NULL;
    Db *db = catalog_read_begin(f->world.catalog);
    gboolean ok = session_choose(db, &wish, &choice, &error);

    catalog_read_end(f->world.catalog, db);
    if (ok)
        g_assert_cmpstr(choice.desktop_id ? choice.desktop_id : choice.pool_id, ==, expected);
    else
        g_assert_nonnull(strstr(error->message, expected));
}

static void test_choose(Fixture *f, gconstpointer unused)
{
    SessionAsk ask = ask_of("u1");

    sql(f, "DELETE FROM assignment");
    choose(f, "", "lab-1", "d1"); /* root */
    choose(f, "", NULL, "no desktop is assigned");
    choose(f, "u1", NULL, "no desktop is assigned");
    choose(f, "u1", "lab-1", "no desktop or pool 'lab-1' for this user");
    choose(f, "u1", "there-is-none", "no desktop or pool 'there-is-none' for this user");
    sql(f, "INSERT INTO assignment (desktop_id, user_id, is_owner, may_take_over, lease_until,"
           " created_at) VALUES ('d1', 'u1', 1, 0, 1000, 0)");
    choose(f, "u1", "lab-1", "no desktop or pool"); /* its lease is over */
    sql(f, "UPDATE assignment SET lease_until = NULL");
    choose(f, "u1", "lab-1", "d1");
    choose(f, "u1", NULL, "d1");
    sql(f, "INSERT INTO assignment (desktop_id, user_id, is_owner, may_take_over, created_at)"
           " VALUES ('d0', 'u1', 0, 0, 0)");
    choose(f, "u1", NULL, "say which one: lab-0, lab-1");
    g_autofree char *id = open_ok(f, &ask);
    choose(f, "u1", NULL, "d0"); /* the one that he is on */
    choose(f, "u2", "lab-1", "no desktop or pool");
}

/* ---- By what? ---- */

/* expected: a protocol, or a word of the reason why there is none. */
static void protocol(const char *wanted, const char *has, const char *expected)
{
    g_autoptr(GError) error = NULL, why = g_error_new_literal(
                                        IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED, "there is no VNC");
    const SessionDisplay display = { .has_spice = strchr(has, 's') != NULL,
                                     .is_windows = strchr(has, 'w') != NULL,
                                     .no_vnc = strchr(has, 'l') ? NULL : why };
    const char *got = session_protocol(wanted, &display, &error);

    if (got)
        g_assert_cmpstr(got, ==, expected);
    else
        g_assert_nonnull(strstr(error->message, expected));
}

static void test_protocol(Fixture *f, gconstpointer unused)
{
    g_assert_false(session_protocol_check("rfb", NULL));
    protocol(NULL, "s", "spice");
    protocol(NULL, "swl", "spice");
    protocol(NULL, "l", "vnc");
    protocol(NULL, "wl", "vnc");
    protocol(NULL, "", "its host knows no SPICE, and there is no VNC");
    protocol("spice", "s", "spice");
    protocol("spice", "wl", "knows no SPICE");
    protocol("vnc", "l", "vnc");
    protocol("vnc", "sl", "has a SPICE display");
    protocol("vnc", "", "there is no VNC");
    protocol("rdp", "sw", "rdp");
    protocol("rdp", "w", "rdp");
    protocol("rdp", "sl", "no Windows");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name) g_test_add("/sessions/" #name, Fixture, NULL, set_up, test_##name, tear_down)
    ADD(open);
    ADD(password_ends);
    ADD(seen_by_other);
    ADD(taken_away);
    ADD(late_password);
    ADD(forbid);
    ADD(protocols);
    ADD(restart);
    ADD(race);
    ADD(choose);
    ADD(protocol);
    return g_test_run();
}
