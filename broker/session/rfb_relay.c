/* rfb_relay.c: see rfb_relay.h.  Each relay is a thread; relays_free() waits for them.  With a
 * ticket it is the thread of the client that shows it: until then the relay is a line in the table.
 */
#include "broker/session/rfb_relay.h"

#include <errno.h>
#include <poll.h>
#include <sodium.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "broker/session/rfb_display.h"
#include "broker/session/rfb_login.h"
#include "broker/session/rfb_pump.h"
#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "imaged/catalog/lookup.h"

#define WAIT_MS 60000 /* for the client */
#define LOOK_MS 1000  /* between two looks whether the session is open */
#define STEP_MS 100   /* between two looks whether it is to end */
#define ANSWER_S 10   /* for the client to take the answer to his log-in */
#define TICKET_BYTES 16
#define N_TICKET (2 * TICKET_BYTES) /* in hexadecimal */

struct Relays {
    World *world;
    char *dir;
    GMutex lock; /* guards what follows, and is_cut of each */
    GCond ended;
    GPtrArray *all; /* of Relay; its thread frees it, or who takes out one that waits */
    gboolean is_stopping;
    char *vnc_host; /* NULL: nobody serves those with tickets */
    guint vnc_port;
};

struct Relay {
    Relays *relays;
    SessionRow row;
    char *who, *path; /* who: NULL if it is the session's own; path: NULL if it has a ticket */
    char ticket[N_TICKET + 1];
    gint64 until_us;     /* the ticket's */
    gboolean is_waiting; /* for who shows it: no thread has it; under relays' lock */
    gboolean may_control, is_cut;
    int listen_fd;
    gint64 look_us; /* its thread: when it looks next whether the session is open */
};

/* Sockets that a killed daemon has left behind. */
static void remove_old(const char *dir)
{
    g_autoptr(GDir) old = g_dir_open(dir, 0, NULL);
    const char *name;

    while (old && (name = g_dir_read_name(old))) {
        g_autofree char *path = g_build_filename(dir, name, NULL);
        if (id_is_valid(name))
            unlink(path);
    }
}

Relays *relays_new(World *world, const char *dir)
{
    Relays *s = g_new0(Relays, 1);

    s->world = world;
    s->dir = g_strdup(dir);
    g_mutex_init(&s->lock);
    g_cond_init(&s->ended);
    s->all = g_ptr_array_new();
    remove_old(dir);
    return s;
}

static void relay_free(Relay *r)
{
    session_row_clear(&r->row);
    durable_close(&r->listen_fd);
    sodium_memzero(r->ticket, sizeof r->ticket);
    g_free(r->who);
    g_free(r->path);
    g_free(r);
}

/* Locked.  Those that still wait, of a session (or NULL), of its own user alone; and those whose
 * time is over. */
static void drop_waiting(Relays *s, const char *session_id, gboolean only_own, gint64 now_us)
{
    for (guint i = s->all->len; i-- > 0;) {
        Relay *r = s->all->pdata[i];
        gboolean is_meant =
            session_id && g_str_equal(r->row.id, session_id) && (!only_own || !r->who);
        if (r->is_waiting && (is_meant || r->until_us < now_us)) {
            g_ptr_array_remove_index_fast(s->all, i);
            relay_free(r);
        }
    }
}

void relays_serve_vnc(Relays *s, const char *host, guint port)
{
    s->vnc_host = g_strdup(host);
    s->vnc_port = port;
}

gboolean relays_check(const Relays *s, const RelayAsk *ask, GError **error)
{
    if (!ask->is_remote || (s && s->vnc_host))
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED,
                "VNC is on a unix socket of imaged's machine alone");
    imaged_error_hint(error, "with listen_vnc in its configuration imaged serves it to others");
    return FALSE;
}

void relays_free(Relays *s)
{
    if (!s)
        return;
    g_mutex_lock(&s->lock);
    s->is_stopping = TRUE;
    drop_waiting(s, NULL, FALSE, G_MAXINT64);
    while (s->all->len)
        g_cond_wait(&s->ended, &s->lock);
    g_mutex_unlock(&s->lock);
    g_ptr_array_unref(s->all);
    g_mutex_clear(&s->lock);
    g_cond_clear(&s->ended);
    g_free(s->vnc_host);
    g_free(s->dir);
    g_free(s);
}

/* Those of a session, or its user's own alone. */
static void cut(Relays *s, const char *session_id, gboolean only_own)
{
    gboolean is_there = TRUE;

    g_mutex_lock(&s->lock);
    drop_waiting(s, session_id, only_own, 0);
    while (is_there) {
        is_there = FALSE;
        for (guint i = 0; i < s->all->len; i++) {
            Relay *r = s->all->pdata[i];
            if (g_str_equal(r->row.id, session_id) && (!only_own || !r->who))
                is_there = r->is_cut = TRUE;
        }
        if (is_there)
            g_cond_wait(&s->ended, &s->lock);
    }
    g_mutex_unlock(&s->lock);
}

void relays_cut(Relays *s, const char *session_id)
{
    if (s)
        cut(s, session_id, FALSE);
}

/* ---- The relay ---- */

static gboolean is_cut(const Relay *r)
{
    g_mutex_lock(&r->relays->lock);
    gboolean is = r->relays->is_stopping || r->is_cut;
    g_mutex_unlock(&r->relays->lock);
    return is;
}

static gboolean is_open(const Relay *r)
{
    World *world = r->relays->world;
    Db *db = catalog_read_begin(world->catalog);
    gint64 n = lookup_int(db,
                          "SELECT count(*) FROM session WHERE id = ?1 AND ended_at IS NULL AND"
                          " state <> 'ending'",
                          "t", r->row.id);

    catalog_read_end(world->catalog, db);
    return n > 0;
}

static gboolean goes_on(gpointer data)
{
    Relay *r = data;
    gint64 now_us = g_get_monotonic_time();

    if (is_cut(r))
        return FALSE;
    if (now_us < r->look_us)
        return TRUE;
    r->look_us = now_us + LOOK_MS * 1000;
    return is_open(r);
}

static int wait_for_client(const Relay *r)
{
    struct pollfd fd = { .fd = r->listen_fd, .events = POLLIN };

    for (gint waited = 0; waited < WAIT_MS && !is_cut(r); waited += STEP_MS) {
        if (waited % LOOK_MS == 0 && !is_open(r))
            return -1;
        if (poll(&fd, 1, STEP_MS) > 0)
            return accept4(r->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    }
    return -1;
}

static void say(const Relay *r, const char *format, const char *text)
{
    Changes *changes = changes_new();
    g_autofree char *message = g_strconcat(format, text, NULL);

    changes_event(changes, "session.shadow", "info", r->row.desktop_name, r->who, "%s", message);
    catalog_commit(r->relays->world->catalog, changes, NULL);
}

/* The session's row, of its own user's client. */
static void follow(const Relay *r, gboolean has_come, const char *address)
{
    Changes *changes = changes_new();

    if (has_come)
        session_set_connected(changes, r->row.id, address, units_now_ms());
    else
        session_set_disconnected(changes, r->row.id, "connected", units_now_ms());
    catalog_commit(r->relays->world->catalog, changes, NULL);
}

static void serve(Relay *r, Wire *client, Wire *display, const char *address)
{
    RfbFilter filter = { .may_control = r->may_control,
                         .step = r->path ? 0 : RFB_FILTER_LOGGED_IN };

    if (r->who)
        say(r, r->may_control ? "looks on and may control" : "looks on", "");
    else
        follow(r, TRUE, address);
    rfb_pump(&filter, client, display, goes_on, r);
    if (r->who)
        say(r, "looks on no more", "");
    else
        follow(r, FALSE, NULL);
}

static void end(Relay *r)
{
    Relays *s = r->relays;

    g_mutex_lock(&s->lock);
    g_ptr_array_remove_fast(s->all, r);
    relay_free(r);
    g_cond_broadcast(&s->ended);
    g_mutex_unlock(&s->lock);
}

static gpointer relay_run(gpointer data)
{
    Relay *r = data;
    g_autoptr(GError) error = NULL;
    g_auto(Wire) display = { .fd = -1 };
    g_auto(Wire) client = { .fd = wait_for_client(r) };
    gboolean is_there =
        client.fd >= 0 && rfb_display_open(r->relays->world, &r->row, &display, &error);

    unlink(r->path); /* for one client */
    if (is_there)
        serve(r, &client, &display, NULL);
    else if (error)
        say(r, "could not see the screen: ", error->message);
    wire_close(&client); /* before anybody hears that it has ended */
    wire_close(&display);
    end(r);
    return NULL;
}

/* ---- Tickets ---- */

/* Each is compared, and all of each, so that the time it takes tells nothing. */
Relay *relays_claim(Relays *s, const char *ticket)
{
    Relay *found = NULL;
    gboolean has_size = strlen(ticket) == N_TICKET;

    g_mutex_lock(&s->lock);
    drop_waiting(s, NULL, FALSE, g_get_monotonic_time());
    for (guint i = 0; has_size && i < s->all->len; i++) {
        Relay *r = s->all->pdata[i];
        if (r->is_waiting && sodium_memcmp(r->ticket, ticket, N_TICKET) == 0)
            found = r;
    }
    if (found)
        found->is_waiting = FALSE;
    g_mutex_unlock(&s->lock);
    return found;
}

void relay_serve(Relay *r, Wire *client, const char *address)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GByteArray) result = g_byte_array_new();
    g_auto(Wire) display = { .fd = -1 };
    gboolean is_there = rfb_display_open(r->relays->world, &r->row, &display, &error) &&
                        rfb_display_log_in(&display, &error);

    const char *why_not = is_there ? NULL : error ? error->message : "its host does not say why";

    if (why_not)
        say(r, "could not see the screen: ", why_not);
    rfb_login_result(result, why_not);
    if (wire_send(client, result->data, result->len,
                  g_get_monotonic_time() + ANSWER_S * G_USEC_PER_SEC) &&
        is_there)
        serve(r, client, &display, address);
    wire_shut(client);
    wire_close(&display);
    end(r);
}

/* A socket whose name is the key to it: the folder can be passed, not read. */
static int listen_at(const char *dir, char **ret_path, GError **error)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    Id a = id_new(), b = id_new();
    g_autofree char *name = g_strdup_printf("%s%s", a.s + 16, b.s + 16);
    g_autofree char *path = g_build_filename(dir, name, NULL);
    auto_fd fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (strlen(path) >= sizeof address.sun_path) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "the path '%s' is too long", path);
        return -1;
    }
    strcpy(address.sun_path, path);
    if ((mkdir(dir, 0711) < 0 && errno != EEXIST) || chmod(dir, 0711) < 0 || fd < 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || chmod(path, 0666) < 0 ||
        listen(fd, 1) < 0) {
        imaged_error_set_errno(error, errno, "cannot listen in '%s'", dir);
        return -1;
    }
    *ret_path = g_steal_pointer(&path);
    int result = fd;
    fd = -1;
    return result;
}

static Relay *relay_new(Relays *s, const SessionRow *row, const RelayAsk *ask)
{
    Relay *r = g_new0(Relay, 1);

    *r = (Relay){ .relays = s,
                  .row = { .id = g_strdup(row->id),
                           .host_id = g_strdup(row->host_id),
                           .incarnation = g_strdup(row->incarnation),
                           .uuid = g_strdup(row->uuid),
                           .desktop_name = g_strdup(row->desktop_name) },
                  .who = g_strdup(ask->who),
                  .may_control = ask->may_control,
                  .listen_fd = -1 };
    return r;
}

static void add(Relays *s, Relay *r)
{
    g_mutex_lock(&s->lock);
    drop_waiting(s, NULL, FALSE, g_get_monotonic_time());
    g_ptr_array_add(s->all, r);
    g_mutex_unlock(&s->lock);
}

static void begin_ticket(Relays *s, const SessionRow *row, const RelayAsk *ask, RelayWay *ret)
{
    guint8 bytes[TICKET_BYTES];
    Relay *r = relay_new(s, row, ask);

    randombytes_buf(bytes, sizeof bytes);
    sodium_bin2hex(r->ticket, sizeof r->ticket, bytes, sizeof bytes);
    r->until_us = g_get_monotonic_time() + WAIT_MS * 1000;
    r->is_waiting = TRUE;
    ret->host = g_strdup(s->vnc_host);
    ret->port = s->vnc_port;
    ret->ticket = g_strdup(r->ticket);
    add(s, r);
}

gboolean relay_begin(Relays *s, const SessionRow *row, const RelayAsk *ask, RelayWay *ret,
                     GError **error)
{
    if (!relays_check(s, ask, error))
        return FALSE;
    if (!ask->who)
        cut(s, row->id, TRUE);
    if (ask->is_remote) {
        begin_ticket(s, row, ask, ret);
        return TRUE;
    }
    int fd = listen_at(s->dir, &ret->socket, error);
    if (fd < 0)
        return FALSE;
    Relay *r = relay_new(s, row, ask);
    r->path = g_strdup(ret->socket);
    r->listen_fd = fd;
    add(s, r);
    g_thread_unref(g_thread_new("rfb-relay", relay_run, r));
    return TRUE;
}

void relay_way_clear(RelayWay *way)
{
    if (way->ticket)
        sodium_memzero(way->ticket, strlen(way->ticket));
    g_free(way->socket);
    g_free(way->host);
    g_free(way->ticket);
    *way = (RelayWay){ 0 };
}
