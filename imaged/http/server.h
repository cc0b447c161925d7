/* server.h: HTTP in, JSON out, on a unix socket and on TCP.  A thread per connection, so that
 * handlers may block; bodies and connections are bounded. */
#pragma once

#include "imaged/ops/ops.h"

typedef struct Server Server;

/* Listen on socket_path (made anew, mode 0660, of group if that is given).  UNAVAILABLE. */
Server *server_start(World *world, const char *socket_path, const char *group, GError **error);

/* Serve on TCP too, at HOST:PORT, with TLS alone: certificate (with its chain) and key in PEM.
 * Called before anything is asked.  INVALID. */
gboolean server_listen_tls(Server *server, const char *address, const char *cert_path,
                           const char *key_path, GError **error);

/* Take the certificate and key as they are in their files now: see tls_server.h. */
gboolean server_reload_tls(Server *server, gboolean *ret_changed, GError **error);

/* To be called now and then. */
void server_tidy(Server *server);

/* Close the socket and wait until every connection has ended. */
void server_stop(Server *server);
