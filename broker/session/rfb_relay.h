/* rfb_relay.h: the way to a domain's VNC display, for one client, for a minute.
 *
 * On our own machine it is a unix socket of ours whose name nobody can guess.  From elsewhere it is
 * a ticket, which is shown as the password to who serves VNC with TLS (imaged/http/vnc_server.h). A
 * relay lets through what rfb_filter.h lets through, and ends with its session.  Which hosts'
 * displays come here, rfb_display.h says.  Any thread. */
#pragma once

#include "broker/session/session_rows.h"
#include "broker/session/wire.h"
#include "imaged/job/world.h"

typedef struct Relays Relays;
typedef struct Relay Relay;

/* dir: where the sockets go; made if it is not there. */
Relays *relays_new(World *world, const char *dir);
void relays_free(Relays *relays); /* before the hosts go, and after who serves VNC; ends all */

/* Tickets are good there.  Before anybody asks for one. */
void relays_serve_vnc(Relays *relays, const char *host, guint port);

typedef struct {
    const char *who; /* looks on, for events; NULL: the session's own user */
    gboolean may_control;
    gboolean is_remote; /* from another machine */
} RelayAsk;

typedef struct {
    char *socket; /* or: */
    char *host, *ticket;
    guint port;
} RelayWay;
void relay_way_clear(RelayWay *way);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(RelayWay, relay_way_clear)

/* UNSUPPORTED: it would come from another machine, and nobody serves VNC; or the host's displays do
 * not come here. */
gboolean relays_check(const Relays *relays, const char *host_id, const RelayAsk *ask,
                      GError **error);

/* A session's own user has one at a time: the former one ends first.  UNSUPPORTED: as
 * relays_check(). */
gboolean relay_begin(Relays *relays, const SessionRow *session, const RelayAsk *ask, RelayWay *ret,
                     GError **error);

/* The relay of a ticket, for once; NULL: there is none.  relay_serve() has to follow: it answers
 * the log-in, shuts client at the end (its caller closes it), and returns then. */
Relay *relays_claim(Relays *relays, const char *ticket);
void relay_serve(Relay *relay, Wire *client, const char *address);

/* Those of a session are ended when it returns.  relays may be NULL. */
void relays_cut(Relays *relays, const char *session_id);
