/* rfb_relay.h: the way to a domain's VNC display: a unix socket of ours whose name nobody can
 * guess, for one client, for a minute.
 *
 * A relay lets through what rfb_filter.h lets through, and ends with its session.  The host must be
 * on this machine, or be reached by ssh: libvirt hands over its display's connection on a unix
 * socket alone.  Any thread. */
#pragma once

#include "broker/session/session_rows.h"
#include "imaged/job/world.h"

typedef struct Relays Relays;

/* dir: where the sockets go; made if it is not there. */
Relays *relays_new(World *world, const char *dir);
void relays_free(Relays *relays); /* before the hosts go; ends all */

typedef struct {
    const char *who; /* looks on, for events; NULL: the session's own user */
    gboolean may_control;
} RelayAsk;

/* *ret_path (caller frees) is the socket.  A session's own user has one at a time: the former one
 * ends first. */
gboolean relay_begin(Relays *relays, const SessionRow *session, const RelayAsk *ask,
                     char **ret_path, GError **error);

/* Those of a session are ended when it returns.  relays may be NULL. */
void relays_cut(Relays *relays, const char *session_id);
