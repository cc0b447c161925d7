/* vnc_server.c: see vnc_server.h. */
#include "imaged/http/vnc_server.h"

#include <errno.h>
#include <poll.h>
#include <sodium.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/session/rfb_login.h"
#include "broker/session/rfb_relay.h"
#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/http/listen.h"

#define LOG_IN_S 10
#define REFUSE_US (1 * G_USEC_PER_SEC) /* before the answer to a wrong ticket */
#define MAX_STRANGERS 128              /* that have not logged in */
#define MAX_OF_ONE_ADDRESS 16          /* of these */
#define STEP_MS 100                    /* how long a stop may go unnoticed */
#define STACK (512 * 1024)

/* Shared with the connections that have begun with it. */
typedef struct {
    gnutls_certificate_credentials_t tls;
} Credentials;

struct VncServer {
    World *world;
    char *cert_path, *key_path;
    int fd;
    GThread *thread;
    gint is_stopping; /* atomic */

    GMutex lock; /* guards what follows */
    GCond ended;
    Credentials *credentials;
    GPtrArray *all; /* of Connection */
};

typedef struct {
    VncServer *server;
    Wire wire;
    int fd; /* the wire's, as long as it is in the table: to be shut down by */
    char *address;
    gboolean is_known; /* has logged in */
} Connection;

/* ---- Certificates ---- */

static void credentials_clear(gpointer data)
{
    Credentials *c = data;

    if (c->tls)
        gnutls_certificate_free_credentials(c->tls);
}

static void credentials_unref(Credentials *c)
{
    if (c)
        g_atomic_rc_box_release_full(c, credentials_clear);
}

gboolean vnc_server_reload(VncServer *s, GError **error)
{
    Credentials *fresh = g_atomic_rc_box_new0(Credentials);
    int n = gnutls_certificate_allocate_credentials(&fresh->tls);

    if (n == 0)
        n = gnutls_certificate_set_x509_key_file(fresh->tls, s->cert_path, s->key_path,
                                                 GNUTLS_X509_FMT_PEM);
    if (n < 0) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "cannot serve VNC with the certificate '%s' and the key '%s': %s", s->cert_path,
                    s->key_path, gnutls_strerror(n));
        credentials_unref(fresh);
        return FALSE;
    }
    g_mutex_lock(&s->lock);
    Credentials *before = s->credentials;
    s->credentials = fresh;
    g_mutex_unlock(&s->lock);
    credentials_unref(before);
    return TRUE;
}

/* ---- A connection ---- */

static gboolean start_tls(Connection *c, gint64 end_us)
{
    VncServer *s = c->server;

    g_mutex_lock(&s->lock);
    Credentials *credentials = g_atomic_rc_box_acquire(s->credentials);
    g_mutex_unlock(&s->lock);
    gboolean ok = wire_start_tls(&c->wire, credentials->tls, end_us, NULL);
    credentials_unref(credentials);
    return ok;
}

static gboolean say(Connection *c, GByteArray *out, gint64 end_us)
{
    gboolean ok = wire_send(&c->wire, out->data, out->len, end_us);

    g_byte_array_set_size(out, 0);
    return ok;
}

/* Up to its password.  No byte more is read than the log-in wants. */
static gboolean log_in(Connection *c, RfbLogin *login)
{
    g_autoptr(GByteArray) out = g_byte_array_new();
    gint64 end_us = g_get_monotonic_time() + LOG_IN_S * G_USEC_PER_SEC;
    guint8 data[2 * RFB_LOGIN_MAX_TEXT];
    gboolean ok = TRUE;

    rfb_login_begin(login, out);
    while (ok && say(c, out, end_us) && login->step != RFB_LOGIN_DONE) {
        guint wants = rfb_login_wants(login);
        if (login->step == RFB_LOGIN_TLS) {
            ok = start_tls(c, end_us);
            rfb_login_tls_is_up(login);
        } else if ((ok = wire_read(&c->wire, data, wants, end_us))) {
            ok = rfb_login_feed(login, data, wants, out, NULL);
            if (!ok)
                say(c, out, end_us);
        }
    }
    sodium_memzero(data, sizeof data);
    return ok && login->step == RFB_LOGIN_DONE;
}

static void refuse(Connection *c)
{
    g_autoptr(GByteArray) out = g_byte_array_new();

    for (gint64 waited = 0; waited < REFUSE_US && !g_atomic_int_get(&c->server->is_stopping);
         waited += STEP_MS * 1000)
        g_usleep(STEP_MS * 1000);
    rfb_login_result(out, "the log-in is not right, or its time is over");
    say(c, out, g_get_monotonic_time() + G_USEC_PER_SEC);
}

static Relay *claim(Connection *c)
{
    RfbLogin login = { 0 };
    char *ticket = log_in(c, &login) ? rfb_login_password(&login) : NULL;
    Relay *relay = ticket ? relays_claim(c->server->world->relays, ticket) : NULL;

    if (!relay && login.step == RFB_LOGIN_DONE)
        refuse(c);
    if (ticket)
        sodium_memzero(ticket, strlen(ticket));
    g_free(ticket);
    rfb_login_wipe(&login);
    return relay;
}

/* From now on its descriptor is nobody else's. */
static void leave(Connection *c)
{
    VncServer *s = c->server;

    g_mutex_lock(&s->lock);
    wire_close(&c->wire);
    g_ptr_array_remove_fast(s->all, c);
    g_free(c->address);
    g_free(c);
    g_cond_broadcast(&s->ended);
    g_mutex_unlock(&s->lock);
}

static gpointer run_connection(gpointer data)
{
    Connection *c = data;
    Relay *relay = claim(c);

    if (relay) {
        g_mutex_lock(&c->server->lock);
        c->is_known = TRUE;
        g_mutex_unlock(&c->server->lock);
        relay_serve(relay, &c->wire, c->address);
    }
    leave(c);
    return NULL;
}

/* ---- Listening ---- */

/* Locked. */
static gboolean has_room(const VncServer *s, const char *address)
{
    guint n = 0, n_of_address = 0;

    for (guint i = 0; i < s->all->len; i++) {
        const Connection *c = s->all->pdata[i];
        n += !c->is_known;
        n_of_address += !c->is_known && g_strcmp0(c->address, address) == 0;
    }
    return n < MAX_STRANGERS && n_of_address < MAX_OF_ONE_ADDRESS;
}

/* Takes fd over. */
static void begin(VncServer *s, int fd)
{
    Connection *c = g_new0(Connection, 1);
    int on = 1;

    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    *c = (Connection){
        .server = s, .wire = { .fd = fd }, .fd = fd, .address = listen_peer_address(fd)
    };
    g_mutex_lock(&s->lock);
    gboolean ok = has_room(s, c->address);
    if (ok)
        g_ptr_array_add(s->all, c);
    g_mutex_unlock(&s->lock);
    GThread *thread = ok ? g_thread_try_new("vnc", run_connection, c, NULL) : NULL;
    if (thread) {
        g_thread_unref(thread);
    } else if (ok) {
        leave(c);
    } else {
        wire_close(&c->wire);
        g_free(c->address);
        g_free(c);
    }
}

static gpointer run(gpointer data)
{
    VncServer *s = data;
    struct pollfd p = { .fd = s->fd, .events = POLLIN };

    while (!g_atomic_int_get(&s->is_stopping)) {
        if (poll(&p, 1, STEP_MS) <= 0)
            continue;
        int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0)
            begin(s, fd);
        else if (errno == EMFILE || errno == ENFILE) /* else it would be asked again at once */
            g_usleep(STEP_MS * 1000);
    }
    return NULL;
}

/* The port in "HOST:PORT" is after its last colon; name NULL: HOST. */
static void announce(World *world, const VncServerOptions *options)
{
    g_auto(GStrv) parts = g_strsplit_set(options->address, "[]", -1);
    const char *colon = strrchr(options->address, ':');
    g_autofree char *name = g_strndup(options->address, (gsize)(colon - options->address));
    const char *host = *name == '[' ? parts[1] : name;
    gboolean is_any =
        g_str_equal(host, "*") || g_str_equal(host, "0.0.0.0") || g_str_equal(host, "::");

    relays_serve_vnc(world->relays,
                     options->name ? options->name
                     : is_any      ? g_get_host_name()
                                   : host,
                     (guint)g_ascii_strtoull(colon + 1, NULL, 10));
}

VncServer *vnc_server_start(World *world, const VncServerOptions *options, GError **error)
{
    VncServer *s = g_new0(VncServer, 1);

    s->world = world;
    s->cert_path = g_strdup(options->cert_path);
    s->key_path = g_strdup(options->key_path);
    s->fd = -1;
    s->all = g_ptr_array_new();
    g_mutex_init(&s->lock);
    g_cond_init(&s->ended);
    if (!vnc_server_reload(s, error) || (s->fd = listen_tcp(options->address, error)) < 0) {
        vnc_server_stop(s);
        return NULL;
    }
    announce(world, options);
    s->thread = g_thread_new("vnc-listen", run, s);
    return s;
}

void vnc_server_stop(VncServer *s)
{
    if (!s)
        return;
    g_atomic_int_set(&s->is_stopping, 1);
    if (s->thread)
        g_thread_join(s->thread);
    durable_close(&s->fd);
    g_mutex_lock(&s->lock);
    while (s->all->len) {
        for (guint i = 0; i < s->all->len; i++)
            shutdown(((Connection *)s->all->pdata[i])->fd, SHUT_RDWR);
        g_cond_wait(&s->ended, &s->lock);
    }
    g_mutex_unlock(&s->lock);
    credentials_unref(s->credentials);
    g_ptr_array_unref(s->all);
    g_mutex_clear(&s->lock);
    g_cond_clear(&s->ended);
    g_free(s->cert_path);
    g_free(s->key_path);
    g_free(s);
}
