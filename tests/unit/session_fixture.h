/* session_fixture.h: hosts that are made of nothing, and sessions on them under a clock that is
 * told the time. */
#pragma once

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

static inline FakeDomain *find_domain(const char *uuid)
{
    return &fake.domains[g_ascii_strtoll(strrchr(uuid, '-') + 1, NULL, 10)];
}

static inline gpointer fake_open(const char *uri, const HostListener *listener, GError **error)
{
    g_mutex_lock(&fake.lock);
    gboolean is_off = fake.is_off;
    fake.listener = *listener;
    g_mutex_unlock(&fake.lock);
    if (is_off)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "nobody is there");
    return is_off ? NULL : &fake;
}

static inline void fake_close(gpointer link)
{
}

static inline gboolean fake_is_alive(gpointer link)
{
    g_mutex_lock(&fake.lock);
    gboolean is = !fake.is_off;
    g_mutex_unlock(&fake.lock);
    return is;
}

static inline gboolean fake_facts(gpointer link, HostFacts *ret, GError **error)
{
    *ret = (HostFacts){ .hostname = g_strdup("h"), .n_cpus = 4, .has_spice = TRUE };
    return TRUE;
}

static inline GPtrArray *fake_domains(gpointer link, GError **error)
{
    return g_ptr_array_new_with_free_func(host_domain_free);
}

/* With the lock. */
static inline gboolean stand_while_hung(GError **error)
{
    while (fake.is_hung)
        g_cond_wait(&fake.cond, &fake.lock);
    if (fake.is_off)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "it is gone");
    return !fake.is_off;
}

static inline HostDomain *fake_find(gpointer link, const char *uuid, GError **error)
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

static inline gboolean fake_set_ticket(gpointer link, const char *uuid, const HostTicket *ticket,
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

static inline ClientEvent *event_new(const char *uuid, ClientAct act, guint port)
{
    ClientEvent *event = g_new0(ClientEvent, 1);

    g_strlcpy(event->uuid, uuid, sizeof event->uuid);
    event->act = act;
    event->address = g_strdup("10.1.1.1");
    event->port = g_strdup_printf("%u", port);
    return event;
}

static inline GPtrArray *fake_clients(gpointer link, const char *uuid, GError **error)
{
    GPtrArray *out = g_ptr_array_new_with_free_func(client_event_free);

    g_mutex_lock(&fake.lock);
    for (guint i = 0; i < find_domain(uuid)->n_channels; i++)
        g_ptr_array_add(out, event_new(uuid, CLIENT_LOGGED_IN, i));
    g_mutex_unlock(&fake.lock);
    return out;
}

static inline char *fake_agent(gpointer link, const char *uuid, const char *command,
                               guint timeout_s, GError **error)
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

static inline void sql(Fixture *f, const char *format, ...) G_GNUC_PRINTF(2, 3);
static inline void sql(Fixture *f, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    Changes *changes = changes_new();
    changes_sql(changes, g_intern_string(text), "");
    commit(f->world.catalog, changes);
}

static inline char *text_of(Fixture *f, const char *question)
{
    Db *db = catalog_read_begin(f->world.catalog);
    Query *q = db_query(db, g_intern_string(question), "");
    char *out = query_next(q) ? g_strdup(query_text(q, "x")) : NULL;

    g_assert_true(query_end(q, NULL));
    catalog_read_end(f->world.catalog, db);
    return out;
}

static inline void check_state(Fixture *f, const char *session_id, const char *expected)
{
    g_autofree char *question =
        g_strdup_printf("SELECT state AS x FROM session WHERE id = '%s'", session_id);
    g_autofree char *state = text_of(f, question);

    g_assert_cmpstr(state, ==, expected);
}

static inline void wait_for_state(Fixture *f, const char *session_id, const char *expected)
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

static inline void seen(gpointer world, const char *host_id, const GPtrArray *domains,
                        const HostDriver *d, gpointer link)
{
    sessions_seen(world, host_id, d, link);
}

static inline void wait_for_host(Fixture *f, HostState wanted)
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

static inline void begin(Fixture *f)
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

static inline void end(Fixture *f)
{
    sessions_stop(f->world.sessions);
    hosts_free(f->world.hosts);
    sessions_free(f->world.sessions);
}

static inline void start_domain(Fixture *f, int n, const char *incarnation)
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

static inline void set_up(Fixture *f, gconstpointer unused)
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

static inline void tear_down(Fixture *f, gconstpointer unused)
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

static inline SessionAsk ask_of(const char *user)
{
    return (
        SessionAsk){ .user_id = user, .user_name = user, .desktop_id = "d0", .protocol = "spice" };
}

/* Caller frees the session's id. */
static inline char *open_ok(Fixture *f, const SessionAsk *ask)
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

static inline void open_fails(Fixture *f, const SessionAsk *ask, int code, const char *word)
{
    g_autoptr(GError) error = NULL;
    g_auto(SessionTicket) ticket = { 0 };

    g_assert_false(sessions_open(f->world.sessions, ask, &ticket, &error));
    g_assert_error(error, IMAGED_ERROR, code);
    g_assert_nonnull(strstr(error->message, word));
}

static inline void tell(int n, ClientAct act, guint port)
{
    g_autofree char *uuid = g_strdup_printf("00000000-0000-0000-0000-%012d", n);

    fake.listener.client(fake.listener.user, event_new(uuid, act, port));
}

static inline void come(Fixture *f, const char *session_id)
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

static inline void go(Fixture *f, const char *session_id)
{
    g_mutex_lock(&fake.lock);
    fake.domains[0].n_channels = 0;
    g_mutex_unlock(&fake.lock);
    tell(0, CLIENT_GONE, 0);
    tell(0, CLIENT_GONE, 1);
    wait_for_state(f, session_id, "disconnected");
}

/* The first desktop is of a pool, and given to u1.  limit: seconds, as SQL. */
static inline void add_pool(Fixture *f, const char *limit)
{
    sql(f,
        "INSERT INTO pool (id, name, type, template_id, size, spares, max_per_user,"
        " disconnect_limit_s, settings, created_at, changed_at) VALUES ('p', 'lab', 'automatic',"
        " 't', 1, 0, 1, %s, '{}', 0, 0)",
        limit);
    sql(f, "INSERT INTO pool_desktop (desktop_id, pool_id, state, user_id, clean_generation,"
           " n_extensions, changed_at) VALUES ('d0', 'p', 'given', 'u1', 1, 0, 0)");
}
