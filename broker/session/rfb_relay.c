/* rfb_relay.c: see rfb_relay.h.  Each relay is a thread; relays_free() waits for them. */
#include "broker/session/rfb_relay.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "broker/host/hosts.h"
#include "broker/session/rfb_filter.h"
#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "imaged/catalog/lookup.h"

#define WAIT_MS 60000 /* for the client */
#define LOOK_MS 1000  /* between two looks whether the session is open */
#define STEP_MS 100   /* between two looks whether it is to end */
#define SEND_S 10
#define OPEN_LIMIT_MS 10000
#define PIECE 65536

struct Relays {
    World *world;
    char *dir;
    GMutex lock; /* guards what follows, and is_cut of each */
    GCond ended;
    GPtrArray *all; /* of Relay; its thread frees it */
    gboolean is_stopping;
};

typedef struct {
    Relays *relays;
    SessionRow row;
    char *who, *path; /* who: NULL if it is the session's own */
    gboolean may_control, is_cut;
    int listen_fd;
} Relay;

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

void relays_free(Relays *s)
{
    if (!s)
        return;
    g_mutex_lock(&s->lock);
    s->is_stopping = TRUE;
    while (s->all->len)
        g_cond_wait(&s->ended, &s->lock);
    g_mutex_unlock(&s->lock);
    g_ptr_array_unref(s->all);
    g_mutex_clear(&s->lock);
    g_cond_clear(&s->ended);
    g_free(s->dir);
    g_free(s);
}

/* Those of a session, or its user's own alone. */
static void cut(Relays *s, const char *session_id, gboolean only_own)
{
    gboolean is_there = TRUE;

    g_mutex_lock(&s->lock);
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

/* ---- The display ---- */

typedef struct {
    char *uuid, *incarnation;
    int fd;
} Opening;

static void opening_clear(gpointer data)
{
    Opening *o = data;

    g_free(o->uuid);
    g_free(o->incarnation);
    durable_close(&o->fd);
}

/* On the host's thread. */
static gboolean open_display(const HostDriver *driver, gpointer link, gpointer data, GError **error)
{
    Opening *o = data;
    HostDomain *there = driver->find(link, o->uuid, error);
    gboolean is_ours = there && g_strcmp0(there->incarnation, o->incarnation) == 0;

    if (there && !is_ours)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "it was started anew meanwhile");
    host_domain_free(there);
    if (!is_ours)
        return FALSE;
    if (!driver->open_vnc) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED, "its host cannot");
        return FALSE;
    }
    o->fd = driver->open_vnc(link, o->uuid, error);
    return o->fd >= 0;
}

/* Caller closes; -1. */
static int connect_display(World *world, const SessionRow *row, GError **error)
{
    Opening *o = g_atomic_rc_box_new0(Opening);
    int fd = -1;

    *o = (Opening){ g_strdup(row->uuid), g_strdup(row->incarnation), -1 };
    if (hosts_call(world->hosts, row->host_id, open_display, o, opening_clear, OPEN_LIMIT_MS,
                   error)) {
        fd = o->fd;
        o->fd = -1;
    }
    g_atomic_rc_box_release_full(o, opening_clear);
    return fd;
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

static gboolean send_all(int fd, const guint8 *data, gsize len)
{
    while (len) {
        gssize n = send(fd, data, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return FALSE;
        data += n;
        len -= (gsize)n;
    }
    return TRUE;
}

/* What the client says, filtered.  FALSE: it is over. */
static gboolean from_client(RfbFilter *filter, int client, int display, guint8 *piece)
{
    g_autoptr(GByteArray) out = g_byte_array_new();
    gssize n = recv(client, piece, PIECE, 0);

    return n > 0 && rfb_filter_feed(filter, piece, (gsize)n, out, NULL) &&
           send_all(display, out->data, out->len);
}

static void relay(const Relay *r, int client, int display)
{
    RfbFilter filter = { .may_control = r->may_control };
    struct pollfd fds[] = { { .fd = client, .events = POLLIN },
                            { .fd = display, .events = POLLIN } };
    struct timeval limit = { .tv_sec = SEND_S };
    g_autofree guint8 *piece = g_malloc(PIECE);
    gint64 look_us = 0;

    setsockopt(client, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    setsockopt(display, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    for (;;) {
        if (is_cut(r))
            return;
        if (g_get_monotonic_time() >= look_us) {
            if (!is_open(r))
                return;
            look_us = g_get_monotonic_time() + LOOK_MS * 1000;
        }
        if (poll(fds, G_N_ELEMENTS(fds), STEP_MS) < 0 && errno != EINTR)
            return;
        if (fds[0].revents && !from_client(&filter, client, display, piece))
            return;
        if (!fds[1].revents)
            continue;
        gssize n = recv(display, piece, PIECE, 0);
        if (n <= 0 || !send_all(client, piece, (gsize)n))
            return;
    }
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
static void follow(const Relay *r, gboolean has_come)
{
    Changes *changes = changes_new();

    if (has_come)
        session_set_connected(changes, r->row.id, NULL, units_now_ms());
    else
        session_set_disconnected(changes, r->row.id, "connected", units_now_ms());
    catalog_commit(r->relays->world->catalog, changes, NULL);
}

static void serve(const Relay *r, int client, int display)
{
    if (r->who)
        say(r, r->may_control ? "looks on and may control" : "looks on", "");
    else
        follow(r, TRUE);
    relay(r, client, display);
    if (r->who)
        say(r, "looks on no more", "");
    else
        follow(r, FALSE);
}

static gpointer relay_run(gpointer data)
{
    Relay *r = data;
    Relays *s = r->relays;
    g_autoptr(GError) error = NULL;
    auto_fd client = wait_for_client(r);
    auto_fd display = client >= 0 ? connect_display(s->world, &r->row, &error) : -1;

    unlink(r->path); /* for one client */
    if (display >= 0)
        serve(r, client, display);
    else if (error)
        say(r, "could not see the screen: ", error->message);
    durable_close(&r->listen_fd);
    g_mutex_lock(&s->lock);
    g_ptr_array_remove_fast(s->all, r);
    session_row_clear(&r->row);
    g_free(r->who);
    g_free(r->path);
    g_free(r);
    g_cond_broadcast(&s->ended);
    g_mutex_unlock(&s->lock);
    return NULL;
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

gboolean relay_begin(Relays *s, const SessionRow *row, const RelayAsk *ask, char **ret_path,
                     GError **error)
{
    if (!ask->who)
        cut(s, row->id, TRUE);
    int fd = listen_at(s->dir, ret_path, error);
    if (fd < 0)
        return FALSE;
    Relay *r = g_new0(Relay, 1);
    *r = (Relay){ .relays = s,
                  .row = { .id = g_strdup(row->id),
                           .host_id = g_strdup(row->host_id),
                           .incarnation = g_strdup(row->incarnation),
                           .uuid = g_strdup(row->uuid),
                           .desktop_name = g_strdup(row->desktop_name) },
                  .who = g_strdup(ask->who),
                  .path = g_strdup(*ret_path),
                  .may_control = ask->may_control,
                  .listen_fd = fd };
    g_mutex_lock(&s->lock);
    g_ptr_array_add(s->all, r);
    g_mutex_unlock(&s->lock);
    g_thread_unref(g_thread_new("rfb-relay", relay_run, r));
    return TRUE;
}
