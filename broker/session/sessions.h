/* sessions.h: users on their desktops: opened, seen, ended.
 *
 * A session is a row (session_rows.h).  Here is what goes with those that are not ended: the
 * connections of their displays, the passwords that are out, and what ends them by itself: the
 * desktop is off, the guest's user has logged off, nobody has been connected for too long.  Any
 * thread that holds no reader of the catalog. */
#pragma once

#include "broker/host/hosts.h"
#include "broker/run/runs.h"
#include "broker/session/rfb_relay.h"
#include "broker/session/session_rows.h"
#include "imaged/job/world.h"

typedef struct Sessions Sessions;

#define SESSION_DISCONNECT_LIMIT_S 7200 /* where no pool says otherwise */

/* Those that a stop left open: their hosts are asked who is connected once they answer.  Nothing
 * ends by itself before sessions_start(). */
Sessions *sessions_new(World *world, GError **error);
void sessions_start(Sessions *sessions);
void sessions_stop(Sessions *sessions); /* nothing ends by itself any more; before its hosts go */
void sessions_free(Sessions *sessions);

typedef struct {
    const char *user_id, *user_name;    /* "" and "root" for root */
    const char *who;                    /* asks, for events; NULL: he himself */
    const char *desktop_id, *pool_id;   /* pool_id: NULL if it is of none */
    const char *protocol;               /* spice, vnc, rdp */
    const char *address;                /* of who asks, or NULL: is on our machine */
    gboolean takes_over, may_take_over; /* somebody else's desktop that is shared with him */
} SessionAsk;

typedef struct {
    char *session_id, *password; /* password: of spice alone */
    RelayWay way;                /* of vnc alone */
    HostDisplay display;
    gint64 valid_until;  /* ms of the epoch */
    gboolean is_roaming; /* he had it already */
} SessionTicket;
void session_ticket_clear(SessionTicket *ticket);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(SessionTicket, session_ticket_clear)

/* The desktop runs, and the user may have it (both are looked at again).  The session is durable
 * before the password is set.  BUSY: somebody else is on it, and the message says who. */
gboolean sessions_open(Sessions *sessions, const SessionAsk *ask, SessionTicket *ret,
                       GError **error);

/* Its client is cut off and its password ends; a pool's desktop goes back to its pool.
 * UNAVAILABLE: the host does not answer; it is cut off once it does, and nobody gets in meanwhile.
 */
gboolean sessions_end(Sessions *sessions, const char *session_id, const char *reason,
                      const char *who, GError **error);

/* The desktop runs on another host from now on, by the catalog. */
void sessions_moved(Sessions *sessions, const char *uuid, const char *host_id);

/* ---- What hosts tell, on their workers' threads; user is the World ---- */

void sessions_client(gpointer world, const char *host_id, const ClientEvent *event);
void sessions_host(gpointer world, const char *host_id, HostState state, const char *why);
void sessions_seen(World *world, const char *host_id, const HostDriver *driver, gpointer link);

/* What is due at now_ms: called every second, and by tests. */
void sessions_tick(Sessions *sessions, gint64 now_ms);
void sessions_settle(Sessions *sessions); /* until all that a tick began is done: for tests */

guint sessions_count(Sessions *sessions); /* that are open, as known here */
