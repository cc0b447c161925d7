/* vnc_server.h: VNC for users of other machines: TCP, with TLS alone, to who shows a ticket.
 *
 * A ticket is the password of a log-in (broker/session/rfb_login.h), good once, for a minute;
 * behind it is a relay (broker/session/rfb_relay.h).  A connection is a thread; those that have not
 * logged in are few, and have little time.  Started, reloaded and stopped by one thread. */
#pragma once

#include <glib.h>

#include "imaged/job/world.h"

typedef struct VncServer VncServer;

/* At HOST:PORT; name: by which clients reach it (NULL: HOST, or this machine's name).  Certificate
 * and key in PEM.  INVALID. */
typedef struct {
    const char *address, *name, *cert_path, *key_path;
} VncServerOptions;
VncServer *vnc_server_start(World *world, const VncServerOptions *options, GError **error);

/* Read certificate and key again, for new connections.  If they are no good, all stays as it is. */
gboolean vnc_server_reload(VncServer *server, GError **error);

/* Every connection ends, and then it returns.  Before the relays go. NULL is fine. */
void vnc_server_stop(VncServer *server);
