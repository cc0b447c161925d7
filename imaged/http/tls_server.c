/* tls_server.c: see tls_server.h.  libmicrohttpd takes its certificate when it starts, so a new one
 * means a second instance on the same socket; the first one takes no more connections then, and is
 * stopped when it has none left. */
#include "imaged/http/tls_server.h"

#include <string.h>
#include <unistd.h>

#include "imaged/base/error.h"
#include "imaged/http/listen.h"

#define MAX_CONNECTIONS 1024
#define MAX_OF_ONE_ADDRESS 256
#define MAX_OLD 4 /* beyond, the oldest is stopped with its connections */

typedef struct {
    struct MHD_Daemon *mhd;
    int fd; /* the listening socket, which it may still look at until it is stopped */
} Old;

struct TlsServer {
    TlsHandlers handlers;
    char *cert_path, *key_path;
    char *cert, *key; /* that are in use, PEM */
    int fd;           /* the listening socket */
    struct MHD_Daemon *mhd;
    GQueue old; /* of Old, the oldest first */
};

static void free_key(char *key)
{
    if (key)
        explicit_bzero(key, strlen(key));
    g_free(key);
}

static gboolean read_pair(const TlsServer *s, char **ret_cert, char **ret_key, GError **error)
{
    g_autoptr(GError) local = NULL;

    if (g_file_get_contents(s->cert_path, ret_cert, NULL, &local) &&
        g_file_get_contents(s->key_path, ret_key, NULL, &local))
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "%s", local->message);
    g_clear_pointer(ret_cert, g_free);
    return FALSE;
}

/* On a copy of the listening socket.  It takes over cert and key if it starts. */
static gboolean serve(TlsServer *s, char *cert, char *key, GError **error)
{
    int fd = dup(s->fd);
    struct MHD_Daemon *mhd =
        fd < 0
            ? NULL
            : MHD_start_daemon(SERVER_FLAGS | MHD_USE_TLS, 0, NULL, NULL, s->handlers.on_request,
                               s->handlers.user, MHD_OPTION_LISTEN_SOCKET, fd,
                               MHD_OPTION_HTTPS_MEM_CERT, cert, MHD_OPTION_HTTPS_MEM_KEY, key,
                               MHD_OPTION_HTTPS_PRIORITIES,
                               "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2",
                               MHD_OPTION_CONNECTION_LIMIT, (unsigned)MAX_CONNECTIONS,
                               MHD_OPTION_PER_IP_CONNECTION_LIMIT, (unsigned)MAX_OF_ONE_ADDRESS,
                               MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)SERVER_IDLE_SECONDS,
                               MHD_OPTION_NOTIFY_COMPLETED, s->handlers.on_completed, NULL,
                               MHD_OPTION_THREAD_STACK_SIZE, (size_t)SERVER_STACK, MHD_OPTION_END);

    if (mhd) {
        s->mhd = mhd;
        g_free(s->cert);
        free_key(s->key);
        s->cert = cert;
        s->key = key;
        return TRUE;
    }
    if (fd >= 0)
        close(fd);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                "cannot serve TLS with the certificate '%s' and the key '%s'", s->cert_path,
                s->key_path);
    return FALSE;
}

TlsServer *tls_server_start(const TlsHandlers *handlers, const char *address, const char *cert_path,
                            const char *key_path, GError **error)
{
    TlsServer *s = g_new0(TlsServer, 1);
    char *cert = NULL, *key = NULL;

    s->handlers = *handlers;
    s->cert_path = g_strdup(cert_path);
    s->key_path = g_strdup(key_path);
    s->fd = -1;
    g_queue_init(&s->old);
    if (read_pair(s, &cert, &key, error) && (s->fd = listen_tcp(address, error)) >= 0 &&
        serve(s, cert, key, error))
        return s;
    g_free(cert);
    free_key(key);
    tls_server_stop(s);
    return NULL;
}

static void stop_old(gpointer data)
{
    Old *old = data;

    MHD_stop_daemon(old->mhd);
    if (old->fd >= 0)
        close(old->fd);
    g_free(old);
}

gboolean tls_server_reload(TlsServer *s, gboolean *ret_changed, GError **error)
{
    struct MHD_Daemon *before = s->mhd;
    char *cert = NULL, *key = NULL;

    *ret_changed = FALSE;
    if (!read_pair(s, &cert, &key, error))
        return FALSE;
    gboolean is_same = g_str_equal(cert, s->cert) && g_str_equal(key, s->key);
    if (is_same || !serve(s, cert, key, error)) {
        g_free(cert);
        free_key(key);
        return is_same;
    }
    Old *old = g_new0(Old, 1);
    *old = (Old){ before, MHD_quiesce_daemon(before) };
    g_queue_push_tail(&s->old, old);
    if (s->old.length > MAX_OLD)
        stop_old(g_queue_pop_head(&s->old));
    *ret_changed = TRUE;
    return TRUE;
}

void tls_server_tidy(TlsServer *s)
{
    for (GList *at = s->old.head, *next; at; at = next) {
        Old *old = at->data;
        const union MHD_DaemonInfo *info =
            MHD_get_daemon_info(old->mhd, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);
        next = at->next;
        if (info && info->num_connections == 0) {
            g_queue_delete_link(&s->old, at);
            stop_old(old);
        }
    }
}

void tls_server_stop(TlsServer *s)
{
    if (!s)
        return;
    if (s->mhd)
        MHD_stop_daemon(s->mhd);
    g_queue_clear_full(&s->old, stop_old);
    if (s->fd >= 0)
        close(s->fd);
    g_free(s->cert_path);
    g_free(s->key_path);
    g_free(s->cert);
    free_key(s->key);
    g_free(s);
}
