/* server.h: HTTP in, JSON out, on a unix socket.  A thread per connection, so that handlers may
 * block; bodies and connections are bounded. */
#pragma once

#include "imaged/ops/ops.h"

typedef struct Server Server;

/* Listen on socket_path (made anew, mode 0660, of group if that is given).  UNAVAILABLE. */
Server *server_start(World *world, const char *socket_path, const char *group, GError **error);

/* Close the socket and wait until every connection has ended. */
void server_stop(Server *server);
