/* tls_server.h: the API on TCP, with TLS alone, by a certificate that may be exchanged.
 *
 * Called from one thread (the daemon's main loop); the handlers are called by those of the
 * connections. */
#pragma once

#include <glib.h>
#include <microhttpd.h>

/* For the unix socket too. */
#define SERVER_FLAGS                                                                               \
    (MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL |              \
     MHD_USE_ITC | MHD_ALLOW_UPGRADE)
#define SERVER_IDLE_SECONDS 120
#define SERVER_STACK (512 * 1024) /* bytes, of each connection's thread */

typedef struct TlsServer TlsServer;

typedef struct {
    MHD_AccessHandlerCallback on_request;
    MHD_RequestCompletedCallback on_completed;
    gpointer user; /* of the first one */
} TlsHandlers;

/* At HOST:PORT; certificate (with its chain) and key in PEM.  INVALID. */
TlsServer *tls_server_start(const TlsHandlers *handlers, const char *address, const char *cert_path,
                            const char *key_path, GError **error);

/* Read certificate and key again.  New connections get the new one, those that there are go on.  If
 * the files are no good, all stays as it is.  *ret_changed: they are others than before. */
gboolean tls_server_reload(TlsServer *server, gboolean *ret_changed, GError **error);

/* Let go of what only served connections that have ended. */
void tls_server_tidy(TlsServer *server);

/* NULL is fine. */
void tls_server_stop(TlsServer *server);
