/* rfb_relay.c: see rfb_relay.h.  Each relay is a thread; relays_free() waits for them.  With a
 * ticket it is the thread of the client that shows it: until then the relay is a line in the table.
 */
#include <errno.h>
#include <sodium.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "broker/session/rfb_display.h"
#include "broker/session/rfb_relay_private.h"
#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"

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

void relay_free(Relay *r)
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

gboolean relays_check(const Relays *s, const char *host_id, const RelayAsk *ask, GError **error)
{
    if (s && !rfb_display_check(s->world, host_id, error))
        return FALSE;
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
    guint8 bytes[N_TICKET / 2];
    Relay *r = relay_new(s, row, ask);

    randombytes_buf(bytes, sizeof bytes);
    sodium_bin2hex(r->ticket, sizeof r->ticket, bytes, sizeof bytes);
    r->until_us = g_get_monotonic_time() + RELAY_WAIT_MS * 1000;
    r->is_waiting = TRUE;
    ret->host = g_strdup(s->vnc_host);
    ret->port = s->vnc_port;
    ret->ticket = g_strdup(r->ticket);
    add(s, r);
}

gboolean relay_begin(Relays *s, const SessionRow *row, const RelayAsk *ask, RelayWay *ret,
                     GError **error)
{
    if (!relays_check(s, row->host_id, ask, error))
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
