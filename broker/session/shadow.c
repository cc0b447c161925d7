/* shadow.c: see shadow.h.  Each relay is a thread; shadows_free() waits for them. */
#include "broker/session/shadow.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "broker/session/rfb_filter.h"
#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/catalog/lookup.h"

#define WAIT_MS 60000 /* for the client */
#define LOOK_MS 1000  /* between two looks whether the session is open */
#define SEND_S 10
#define OPEN_LIMIT_MS 10000
#define PIECE 65536

struct Shadows {
    World *world;
    char *dir;
    GMutex lock; /* guards what follows */
    GCond ended;
    GHashTable *requests; /* session's id -> Request */
    guint n_relays;
    gboolean is_stopping;
};

typedef struct {
    char *who;
    gboolean may_control, is_answered, is_allowed;
} Request;

typedef struct {
    Shadows *shadows;
    SessionRow row;
    char *who, *path;
    gboolean may_control;
    int listen_fd;
} Relay;

static void request_free(gpointer data)
{
    Request *r = data;

    g_free(r->who);
    g_free(r);
}

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

Shadows *shadows_new(World *world, const char *dir)
{
    Shadows *s = g_new0(Shadows, 1);

    s->world = world;
    s->dir = g_strdup(dir);
    g_mutex_init(&s->lock);
    g_cond_init(&s->ended);
    s->requests = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, request_free);
    remove_old(dir);
    return s;
}

void shadows_free(Shadows *s)
{
    if (!s)
        return;
    g_mutex_lock(&s->lock);
    s->is_stopping = TRUE;
    while (s->n_relays)
        g_cond_wait(&s->ended, &s->lock);
    g_mutex_unlock(&s->lock);
    g_hash_table_unref(s->requests);
    g_mutex_clear(&s->lock);
    g_cond_clear(&s->ended);
    g_free(s->dir);
    g_free(s);
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

static gboolean may_go_on(const Relay *r)
{
    World *world = r->shadows->world;

    g_mutex_lock(&r->shadows->lock);
    gboolean is_stopping = r->shadows->is_stopping;
    g_mutex_unlock(&r->shadows->lock);
    if (is_stopping)
        return FALSE;
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
        if (g_get_monotonic_time() >= look_us) {
            if (!may_go_on(r))
                return;
            look_us = g_get_monotonic_time() + LOOK_MS * 1000;
        }
        if (poll(fds, G_N_ELEMENTS(fds), LOOK_MS) < 0 && errno != EINTR)
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

    for (gint waited = 0; waited < WAIT_MS && may_go_on(r); waited += LOOK_MS) {
        if (poll(&fd, 1, LOOK_MS) > 0)
            return accept4(r->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    }
    return -1;
}

static void say(const Relay *r, const char *format, const char *text)
{
    Changes *changes = changes_new();
    g_autofree char *message = g_strconcat(format, text, NULL);

    changes_event(changes, "session.shadow", "info", r->row.desktop_name, r->who, "%s", message);
    catalog_commit(r->shadows->world->catalog, changes, NULL);
}

static gpointer relay_run(gpointer data)
{
    Relay *r = data;
    Shadows *s = r->shadows;
    g_autoptr(GError) error = NULL;
    auto_fd client = wait_for_client(r);
    auto_fd display = client >= 0 ? connect_display(s->world, &r->row, &error) : -1;

    unlink(r->path); /* for one client */
    if (display >= 0) {
        say(r, r->may_control ? "looks on and may control" : "looks on", "");
        relay(r, client, display);
        say(r, "looks on no more", "");
    } else if (error) {
        say(r, "could not look on: ", error->message);
    }
    durable_close(&r->listen_fd);
    session_row_clear(&r->row);
    g_free(r->who);
    g_free(r->path);
    g_free(r);
    g_mutex_lock(&s->lock);
    s->n_relays--;
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

static gboolean begin_relay(Shadows *s, const SessionRow *row, const char *who,
                            gboolean may_control, char **ret_path, GError **error)
{
    int fd = listen_at(s->dir, ret_path, error);

    if (fd < 0)
        return FALSE;
    Relay *r = g_new0(Relay, 1);
    *r = (Relay){ .shadows = s,
                  .row = { .id = g_strdup(row->id),
                           .host_id = g_strdup(row->host_id),
                           .incarnation = g_strdup(row->incarnation),
                           .uuid = g_strdup(row->uuid),
                           .desktop_name = g_strdup(row->desktop_name) },
                  .who = g_strdup(who),
                  .path = g_strdup(*ret_path),
                  .may_control = may_control,
                  .listen_fd = fd };
    g_mutex_lock(&s->lock);
    s->n_relays++;
    g_mutex_unlock(&s->lock);
    g_thread_unref(g_thread_new("shadow", relay_run, r));
    return TRUE;
}

/* ---- Asking and answering ---- */

gboolean shadow_ask(Shadows *s, const SessionRow *row, const char *who, gboolean wants_control,
                    ShadowState *ret_state, char **ret_path, GError **error)
{
    gboolean is_refused = FALSE, is_allowed = FALSE;

    g_mutex_lock(&s->lock);
    Request *r = g_hash_table_lookup(s->requests, row->id);
    if (r && r->is_answered && g_str_equal(r->who, who) && (r->may_control || !wants_control)) {
        is_allowed = r->is_allowed;
        is_refused = !is_allowed;
        wants_control = r->may_control && wants_control;
        g_hash_table_remove(s->requests, row->id); /* an answer is for once */
    } else {
        r = g_new0(Request, 1);
        *r = (Request){ .who = g_strdup(who), .may_control = wants_control };
        g_hash_table_replace(s->requests, g_strdup(row->id), r);
    }
    g_mutex_unlock(&s->lock);
    *ret_state = is_allowed ? SHADOW_ALLOWED : SHADOW_ASKED;
    if (is_refused)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_DENIED, "its user does not want it");
    return !is_refused && (!is_allowed || begin_relay(s, row, who, wants_control, ret_path, error));
}

gboolean shadow_answer(Shadows *s, const SessionRow *row, gboolean allows, char **ret_who,
                       gboolean *ret_control, GError **error)
{
    g_mutex_lock(&s->lock);
    Request *r = g_hash_table_lookup(s->requests, row->id);
    if (r) {
        r->is_answered = TRUE;
        r->is_allowed = allows;
        *ret_who = g_strdup(r->who);
        *ret_control = r->may_control;
    }
    g_mutex_unlock(&s->lock);
    if (!r)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "nobody has asked to look on");
    return r != NULL;
}
