/* console.c: see console.h. */
#include "imaged/http/console.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/access/tokens.h"
#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"
#include "imaged/catalog/lookup.h"
#include "imaged/ops/run_console.h"

#define PROTOCOL "imaged-console"
#define BUFFER_BYTES 16384
#define LOOK_MS 500    /* how long the end of the daemon may go unnoticed */
#define RIGHTS_MS 5000 /* how long he may write on who has lost the right to */
#define MAX_OPEN 64    /* at the same time, each with a thread and a connection to a host */

struct Consoles {
    GMutex lock;
    GCond ended;
    guint n_open;
    gint is_stopping; /* atomic */
};

/* What is between two sockets, one way. */
typedef struct {
    guint8 bytes[BUFFER_BYTES];
    gsize begin, end;
} Flow;

typedef struct {
    Consoles *consoles;
    int fd, client; /* the console's; the client's, which is libmicrohttpd's */
    int peer;       /* the client's connection itself, to see it end; ours */
    struct MHD_UpgradeResponseHandle *handle;
    Flow to_guest, to_client;
    World *world;
    Caller *caller; /* as he was when he asked for it */
    Permission permission;
    char *desktop_id;
    gint64 look_at; /* when to ask again whether he may, by units_boottime_ms() */
} Relay;

Consoles *consoles_new(void)
{
    Consoles *s = g_new0(Consoles, 1);

    g_mutex_init(&s->lock);
    g_cond_init(&s->ended);
    return s;
}

void consoles_end(Consoles *s)
{
    g_mutex_lock(&s->lock);
    g_atomic_int_set(&s->is_stopping, 1);
    while (s->n_open)
        g_cond_wait(&s->ended, &s->lock);
    g_mutex_unlock(&s->lock);
}

void consoles_free(Consoles *s)
{
    g_mutex_clear(&s->lock);
    g_cond_clear(&s->ended);
    g_free(s);
}

/* A place, if there is one; given back by leave(). */
static gboolean enter(Consoles *s)
{
    g_mutex_lock(&s->lock);
    gboolean ok = s->n_open < MAX_OPEN && !s->is_stopping;
    s->n_open += ok;
    g_mutex_unlock(&s->lock);
    return ok;
}

static void leave(Consoles *s)
{
    g_mutex_lock(&s->lock);
    s->n_open--;
    g_cond_broadcast(&s->ended);
    g_mutex_unlock(&s->lock);
}

/* ---- Relays ---- */

static gboolean is_later(void)
{
    return errno == EAGAIN || errno == EINTR;
}

/* FALSE: that side is at its end. */
static gboolean fill(Flow *flow, int fd)
{
    ssize_t n = recv(fd, flow->bytes, sizeof flow->bytes, MSG_DONTWAIT);

    flow->begin = 0;
    flow->end = n > 0 ? (gsize)n : 0;
    return n > 0 || (n < 0 && is_later());
}

static gboolean drain(Flow *flow, int fd)
{
    ssize_t n =
        send(fd, flow->bytes + flow->begin, flow->end - flow->begin, MSG_DONTWAIT | MSG_NOSIGNAL);

    flow->begin += n > 0 ? (gsize)n : 0;
    return n >= 0 || is_later();
}

/* What comes in at one and goes out at the other. */
static gboolean carry(Flow *flow, const struct pollfd *in, const struct pollfd *out)
{
    gboolean is_empty = flow->begin == flow->end;

    if (is_empty && (in->revents & (POLLIN | POLLHUP | POLLERR)))
        return fill(flow, in->fd) && (flow->begin == flow->end || drain(flow, out->fd));
    return is_empty || !(out->revents & (POLLOUT | POLLERR)) || drain(flow, out->fd);
}

static short wanted(const Flow *in, const Flow *out)
{
    return (short)((in->begin == in->end ? POLLIN : 0) | (out->begin < out->end ? POLLOUT : 0));
}

static void relay_free(Relay *r)
{
    leave(r->consoles);
    durable_close(&r->peer);
    caller_free(r->caller);
    g_free(r->desktop_id);
    g_free(r);
}

/* A console may be open for days: who is disabled, or has lost his role, is out of it too. */
static gboolean still_may(Relay *r)
{
    if (units_boottime_ms() < r->look_at)
        return TRUE;
    r->look_at = units_boottime_ms() + RIGHTS_MS;
    Db *db = catalog_read_begin(r->world->catalog);
    g_autoptr(Caller) now = token_caller_again(db, r->caller, NULL);
    gboolean ok =
        now && access_check_id(db, now, r->permission, "desktop", r->desktop_id, "", NULL);
    catalog_read_end(r->world->catalog, db);
    return ok;
}

/* The client has gone, and what he typed before has come through.  With TLS there is something of
 * libmicrohttpd's between him and us, which does not end when he does. */
static gboolean has_left(const Relay *r, const struct pollfd *peer, gint64 heard_us)
{
    return peer->revents && r->to_guest.begin == r->to_guest.end &&
           g_get_monotonic_time() - heard_us > LOOK_MS * 1000;
}

static gpointer run_relay(gpointer data)
{
    Relay *r = data;
    gint64 heard_us = g_get_monotonic_time();
    struct pollfd fds[] = { { .fd = r->client }, { .fd = r->fd } };
    struct pollfd peer = { .fd = r->peer, .events = POLLRDHUP };

    while (!g_atomic_int_get(&r->consoles->is_stopping) && still_may(r)) {
        fds[0].events = wanted(&r->to_guest, &r->to_client);
        fds[1].events = wanted(&r->to_client, &r->to_guest);
        if (poll(fds, G_N_ELEMENTS(fds), LOOK_MS) < 0 && errno != EINTR)
            break;
        if (fds[0].revents & POLLIN)
            heard_us = g_get_monotonic_time();
        if (!carry(&r->to_guest, &fds[0], &fds[1]) || !carry(&r->to_client, &fds[1], &fds[0]))
            break;
        if (poll(&peer, 1, 0) > 0 && has_left(r, &peer, heard_us))
            break;
    }
    close(r->fd);
    MHD_upgrade_action(r->handle, MHD_UPGRADE_ACTION_CLOSE);
    relay_free(r);
    return NULL;
}

/* By libmicrohttpd, on the connection's thread, which with TLS must not be held up. */
static void on_upgrade(void *user, struct MHD_Connection *c, void *request, const char *extra,
                       size_t n_extra, MHD_socket client, struct MHD_UpgradeResponseHandle *handle)
{
    Relay *r = user;

    r->client = client;
    r->handle = handle;
    if (n_extra <= sizeof r->to_guest.bytes) { /* sent along with the request */
        memcpy(r->to_guest.bytes, extra, n_extra);
        r->to_guest.end = n_extra;
    }
    g_thread_unref(g_thread_new("console", run_relay, r));
}

/* ---- Requests ---- */

static gboolean asks_for_it(struct MHD_Connection *c, GError **error)
{
    const char *protocol = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Upgrade");

    if (protocol && g_ascii_strcasecmp(protocol, PROTOCOL) == 0)
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                "a console is no JSON: ask for it with 'Upgrade: " PROTOCOL "'");
    return FALSE;
}

/* Somebody who goes without a word is noticed.  Another descriptor of his connection, or -1. */
static int watch(struct MHD_Connection *c)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
    int on = 1;

    if (!info)
        return -1;
    setsockopt(info->connect_fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    return fcntl(info->connect_fd, F_DUPFD_CLOEXEC, 3);
}

/* A place was taken for it: relay_free() gives that back.  NULL: NOT_FOUND, DENIED. */
static Relay *new_relay(Consoles *s, const OpsCall *call, GError **error)
{
    g_auto(DesktopRow) desktop = { 0 };
    const char *name = json_string_value(json_object_get(call->args, "desktop"));
    Relay *r = g_new0(Relay, 1);

    r->consoles = s;
    r->peer = -1;
    r->world = call->world;
    r->permission = call->permission;
    r->look_at = units_boottime_ms() + RIGHTS_MS;
    Db *db = catalog_read_begin(call->world->catalog);
    if (lookup_desktop(db, name, &desktop, error))
        r->caller = token_caller_again(db, call->caller, error);
    catalog_read_end(call->world->catalog, db);
    r->desktop_id = g_strdup(desktop.id);
    if (r->caller)
        return r;
    relay_free(r);
    return NULL;
}

enum MHD_Result consoles_answer(Consoles *s, struct MHD_Connection *c, OpsCall *call,
                                GError **error)
{
    if (!asks_for_it(c, error))
        return MHD_NO;
    if (!enter(s)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY, "%d consoles are open already",
                    MAX_OPEN);
        return MHD_NO;
    }
    Relay *r = new_relay(s, call, error);
    if (!r)
        return MHD_NO;
    r->fd = run_console_open(call, error);
    if (r->fd < 0) {
        relay_free(r);
        return MHD_NO;
    }
    r->peer = watch(c);
    struct MHD_Response *answer = MHD_create_response_for_upgrade(on_upgrade, r);
    MHD_add_response_header(answer, "Upgrade", PROTOCOL);
    enum MHD_Result result = MHD_queue_response(c, MHD_HTTP_SWITCHING_PROTOCOLS, answer);
    MHD_destroy_response(answer);
    if (result != MHD_YES) { /* of HTTP/1.0, say */
        close(r->fd);
        relay_free(r);
    }
    return result;
}
