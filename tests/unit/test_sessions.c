/* test_sessions.c: sessions on hosts that are made of nothing, under a clock that is told the time.
 */
#include "broker/session/sessions.h"

#include "broker/host/hosts.h"
#include "broker/session/choose.h"
#include "broker/session/clients.h"
#include "broker/session/live.h"
#include "imaged/base/units.h"
#include "tests/unit/catalog_fixture.h"

#define LIMIT_US (20 * G_USEC_PER_SEC)
#define HOST "h0000000000000000000000000000001"
#define N_DESKTOPS 4

/* ---- A host ---- */

typedef struct {
    char *incarnation, *password;
    gint64 valid_until;
    guint n_channels; /* of its client that are there */
    guint n_cuts, n_armed;
    gint n_users; /* that its agent tells of; -1: no agent */
} FakeDomain;

static struct {
    GMutex lock;
    GCond cond;
    gboolean is_hung, is_off;
    HostListener listener;
    FakeDomain domains[N_DESKTOPS];
} fake;

static FakeDomain *find_domain(const char *uuid)
{
    return &fake.domains[g_ascii_strtoll(strrchr(uuid, '-') + 1, NULL, 10)];
}

static gpointer fake_open(const char *uri, const HostListener *listener, GError **error)
{
    g_mutex_lock(&fake.lock);
    gboolean is_off = fake.is_off;
    fake.listener = *listener;
    g_mutex_unlock(&fake.lock);
    if (is_off)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "nobody is there");
    return is_off ? NULL : &fake;
}

static void fake_close(gpointer link)
{
}

static gboolean fake_is_alive(gpointer link)
{
    g_mutex_lock(&fake.lock);
    gboolean is = !fake.is_off;
    g_mutex_unlock(&fake.lock);
    return is;
}

static gboolean fake_facts(gpointer link, HostFacts *ret, GError **error)
{
    *ret = (HostFacts){ .hostname = g_strdup("h"), .n_cpus = 4, .has_spice = TRUE };
    return TRUE;
}

static GPtrArray *fake_domains(gpointer link, GError **error)
{
    return g_ptr_array_new_with_free_func(host_domain_free);
}

/* With the lock. */
static gboolean stand_while_hung(GError **error)
{
    while (fake.is_hung)
        g_cond_wait(&fake.cond, &fake.lock);
    if (fake.is_off)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "it is gone");
    return !fake.is_off;
}

static HostDomain *fake_find(gpointer link, const char *uuid, GError **error)
{
    HostDomain *out = NULL;

    g_mutex_lock(&fake.lock);
    if (stand_while_hung(error)) {
        const FakeDomain *d = find_domain(uuid);
        if (d->incarnation) {
            out = g_new0(HostDomain, 1);
            out->incarnation = g_strdup(d->incarnation);
        } else {
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "none");
        }
    }
    g_mutex_unlock(&fake.lock);
    return out;
}

static gboolean fake_set_ticket(gpointer link, const char *uuid, const HostTicket *ticket,
                                HostDisplay *ret, GError **error)
{
    g_mutex_lock(&fake.lock);
    FakeDomain *d = find_domain(uuid);
    gboolean ok = stand_while_hung(error);
    if (ok) {
        g_free(d->password);
        d->password = g_strdup(ticket->password);
        d->valid_until = ticket->valid_until;
        d->n_armed++;
        d->n_cuts += ticket->cuts;
        if (ticket->cuts)
            d->n_channels = 0;
        *ret = (HostDisplay){ TRUE, 5900, 0 };
    }
    g_mutex_unlock(&fake.lock);
    return ok;
}

static ClientEvent *event_new(const char *uuid, ClientAct act, guint port)
{
    ClientEvent *event = g_new0(ClientEvent, 1);

    g_strlcpy(event->uuid, uuid, sizeof event->uuid);
    event->act = act;
    event->address = g_strdup("10.1.1.1");
    event->port = g_strdup_printf("%u", port);
    return event;
}

static GPtrArray *fake_clients(gpointer link, const char *uuid, GError **error)
{
    GPtrArray *out = g_ptr_array_new_with_free_func(client_event_free);

    g_mutex_lock(&fake.lock);
    for (guint i = 0; i < find_domain(uuid)->n_channels; i++)
        g_ptr_array_add(out, event_new(uuid, CLIENT_LOGGED_IN, i));
    g_mutex_unlock(&fake.lock);
    return out;
}

static char *fake_agent(gpointer link, const char *uuid, const char *command, guint timeout_s,
                        GError **error)
{
    g_mutex_lock(&fake.lock);
    gint n = find_domain(uuid)->n_users;
    g_mutex_unlock(&fake.lock);
    if (n < 0)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "no agent");
    return n < 0    ? NULL
           : n == 0 ? strdup("{\"return\":[]}")
                    : strdup("{\"return\":[{\"user\":\"anna\"}]}");
}

static const HostDriver driver = { .open = fake_open,
                                   .close = fake_close,
                                   .is_alive = fake_is_alive,
                                   .facts = fake_facts,
                                   .domains = fake_domains,
                                   .find = fake_find,
                                   .set_ticket = fake_set_ticket,
                                   .clients = fake_clients,
                                   .agent = fake_agent };

/* ---- A world ---- */

typedef struct {
    World world;
} Fixture;

static void sql(Fixture *f, const char *format, ...) G_GNUC_PRINTF(2, 3);
static void sql(Fixture *f, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    Changes *changes = changes_new();
    changes_sql(changes, g_intern_string(text), "");
    commit(f->world.catalog, changes);
}

static char *text_of(Fixture *f, const char *question)
{
    Db *db = catalog_read_begin(f->world.catalog);
    Query *q = db_query(db, g_intern_string(question), "");
    char *out = query_next(q) ? g_strdup(query_text(q, "x")) : NULL;

    g_assert_true(query_end(q, NULL));
    catalog_read_end(f->world.catalog, db);
    return out;
}

static void check_state(Fixture *f, const char *session_id, const char *expected)
{
    g_autofree char *question =
        g_strdup_printf("SELECT state AS x FROM session WHERE id = '%s'", session_id);
    g_autofree char *state = text_of(f, question);

    g_assert_cmpstr(state, ==, expected);
}

static void wait_for_state(Fixture *f, const char *session_id, const char *expected)
{
    gint64 end = g_get_monotonic_time() + LIMIT_US;
    g_autofree char *question =
        g_strdup_printf("SELECT state AS x FROM session WHERE id = '%s'", session_id);

    for (;;) {
        g_autofree char *state = text_of(f, question);
        if (g_strcmp0(state, expected) == 0)
            return;
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(2000);
    }
}

static void seen(gpointer world, const char *host_id, const GPtrArray *domains, const HostDriver *d,
                 gpointer link)
{
    sessions_seen(world, host_id, d, link);
}

static void wait_for_host(Fixture *f, HostState wanted)
{
    gint64 end = g_get_monotonic_time() + LIMIT_US;

    for (;;) {
        g_auto(HostView) view = { 0 };
        g_assert_true(hosts_view(f->world.hosts, HOST, &view));
        if (view.state == wanted)
            return;
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(1000);
    }
}

static void begin(Fixture *f)
{
    g_autoptr(GError) error = NULL;
    const HostWatcher watcher = { seen, sessions_host, &f->world, sessions_client };

    f->world.sessions = sessions_new(&f->world, &error);
    g_assert_no_error(error);
    f->world.hosts = hosts_new(&f->world, &driver, &watcher, &error);
    g_assert_no_error(error);
    hosts_listen(f->world.hosts);
    wait_for_host(f, HOST_UP);
}

static void end(Fixture *f)
{
    sessions_stop(f->world.sessions);
    hosts_free(f->world.hosts);
    sessions_free(f->world.sessions);
}

static void start_domain(Fixture *f, int n, const char *incarnation)
{
    g_mutex_lock(&fake.lock);
    g_free(fake.domains[n].incarnation);
    fake.domains[n].incarnation = g_strdup(incarnation);
    fake.domains[n].n_users = -1;
    g_mutex_unlock(&fake.lock);
    sql(f,
        "INSERT INTO run (desktop_id, host_id, incarnation, generation, state, started_at,"
        " changed_at) VALUES ('d%d', '" HOST "', '%s', 1, 'running', 0, 0)",
        n, incarnation);
}

static void set_up(Fixture *f, gconstpointer unused)
{
    catalog_fixture_start();
    memset(f, 0, sizeof *f);
    memset(&fake, 0, sizeof fake);
    f->world.catalog = catalog_open_named("sessions");
    f->world.claims = claims_new();
    sql(f, "INSERT INTO template VALUES ('t', 'office', 1, 0, 0, 0)");
    sql(f,
        "INSERT INTO version (id, template_id, version, state, is_trashed, layer_id, cpus,"
        " memory_bytes, os, description, source, notes, created_at, changed_at) VALUES ('v', 't',"
        " 1, 'published', 0, 'l', 1, 1, '', '', '', '', 0, 0)");
    sql(f, "INSERT INTO host (id, name, uri, accelerator, store_paths, is_maintenance, created_at)"
           " VALUES ('" HOST "', 'vs-a', 'test:///x', 'auto', '{}', 0, 0)");
    for (int i = 0; i < N_DESKTOPS; i++) {
        sql(f,
            "INSERT INTO desktop (id, name, version_id, owner, generation, layer_id, store_id,"
            " mac, uuid, state, is_trashed, created_at, changed_at) VALUES ('d%d', 'lab-%d', 'v',"
            " '', 1, 'l%d', 's', '', '00000000-0000-0000-0000-%012d', 'ok', 0, 0, 0)",
            i, i, i, i);
        sql(f,
            "INSERT INTO user (id, name, name_key, full_name, email, is_disabled, created_at,"
            " changed_at) VALUES ('u%d', 'user%d', 'user%d', '', '', 0, 0, 0)",
            i, i, i);
    }
    sql(f, "INSERT INTO assignment (desktop_id, user_id, is_owner, may_take_over, created_at)"
           " SELECT 'd0', id, 0, 0, 0 FROM user");
    start_domain(f, 0, "first");
    begin(f);
}

static void tear_down(Fixture *f, gconstpointer unused)
{
    end(f);
    claims_free(f->world.claims);
    catalog_close(f->world.catalog);
    for (int i = 0; i < N_DESKTOPS; i++) {
        g_free(fake.domains[i].incarnation);
        g_free(fake.domains[i].password);
    }
    catalog_fixture_end();
}

static SessionAsk ask_of(const char *user)
{
    return (
        SessionAsk){ .user_id = user, .user_name = user, .desktop_id = "d0", .protocol = "spice" };
}

/* Caller frees the session's id. */
static char *open_ok(Fixture *f, const SessionAsk *ask)
{
    g_autoptr(GError) error = NULL;
    g_auto(SessionTicket) ticket = { 0 };

    sessions_open(f->world.sessions, ask, &ticket, &error);
    g_assert_no_error(error);
    g_mutex_lock(&fake.lock);
    g_assert_cmpstr(fake.domains[0].password, ==, ticket.password);
    g_mutex_unlock(&fake.lock);
    return g_strdup(ticket.session_id);
}

static void open_fails(Fixture *f, const SessionAsk *ask, int code, const char *word)
{
    g_autoptr(GError) error = NULL;
    g_auto(SessionTicket) ticket = { 0 };

    g_assert_false(sessions_open(f->world.sessions, ask, &ticket, &error));
    g_assert_error(error, IMAGED_ERROR, code);
    g_assert_nonnull(strstr(error->message, word));
}

static void tell(int n, ClientAct act, guint port)
{
    g_autofree char *uuid = g_strdup_printf("00000000-0000-0000-0000-%012d", n);

    fake.listener.client(fake.listener.user, event_new(uuid, act, port));
}

static void come(Fixture *f, const char *session_id)
{
    g_mutex_lock(&fake.lock);
    fake.domains[0].n_channels = 2;
    g_mutex_unlock(&fake.lock);
    for (guint i = 0; i < 2; i++) {
        tell(0, CLIENT_CONNECTED, i);
        tell(0, CLIENT_LOGGED_IN, i);
    }
    wait_for_state(f, session_id, "connected");
}

static void go(Fixture *f, const char *session_id)
{
    g_mutex_lock(&fake.lock);
    fake.domains[0].n_channels = 0;
    g_mutex_unlock(&fake.lock);
    tell(0, CLIENT_GONE, 0);
    tell(0, CLIENT_GONE, 1);
    wait_for_state(f, session_id, "disconnected");
}

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

static void tick(Fixture *f, gint64 now_ms)
{
    sessions_tick(f->world.sessions, now_ms);
    sessions_settle(f->world.sessions);
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

static void add_pool(Fixture *f, const char *limit)
{
    sql(f,
        "INSERT INTO pool (id, name, type, template_id, size, spares, max_per_user,"
        " disconnect_limit_s, settings, created_at, changed_at) VALUES ('p', 'lab', 'automatic',"
        " 't', 1, 0, 1, %s, '{}', 0, 0)",
        limit);
    sql(f, "INSERT INTO pool_desktop (desktop_id, pool_id, state, user_id, clean_generation,"
           " n_extensions, changed_at) VALUES ('d0', 'p', 'given', 'u1', 1, 0, 0)");
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
    const SessionDisplay display = { .has_spice = strchr(has, 's') != NULL,
                                     .is_windows = strchr(has, 'w') != NULL,
                                     .has_vnc = strchr(has, 'l') != NULL };
    g_autoptr(GError) error = NULL;
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
    protocol(NULL, "", "unix socket");
    protocol("spice", "s", "spice");
    protocol("spice", "wl", "knows no SPICE");
    protocol("vnc", "l", "vnc");
    protocol("vnc", "sl", "has a SPICE display");
    protocol("vnc", "", "unix socket");
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
    ADD(unused);
    ADD(disconnect_limit);
    ADD(pool);
    ADD(never);
    ADD(seen_by_other);
    ADD(taken_away);
    ADD(off);
    ADD(log_off);
    ADD(hung);
    ADD(late_password);
    ADD(forbid);
    ADD(protocols);
    ADD(rdp);
    ADD(moving);
    ADD(restart);
    ADD(race);
    ADD(choose);
    ADD(protocol);
    return g_test_run();
}
