/* clients.h: the connections of one session's display, and how long its password holds.
 *
 * Each channel of SPICE is a connection that logs in by itself.  How many will come is not known:
 * it depends on the client.  So they are all up when some are logged in, none is on the way, and no
 * more have come for a while; then the password ends.  Pure: the caller has the lock and the clock.
 */
#pragma once

#include "broker/host/driver.h"

#define TICKET_MS 60000 /* it holds no longer than this */
#define QUIET_MS 3000   /* after the last channel came up */

typedef struct {
    GHashTable *coming, *up; /* "ADDRESS PORT", or NULL: none so far */
    gint64 deadline_ms;      /* of the password that is out; 0: none is */
    gint64 changed_ms;       /* when a connection came or logged in last */
} Clients;

typedef enum { CLIENTS_SAME, CLIENTS_CAME, CLIENTS_LEFT } ClientsChange;

/* A password is given out. */
void clients_arm(Clients *clients, gint64 now_ms);

/* What became of it for the session: the first connection has logged in, the last one is gone. */
ClientsChange clients_note(Clients *clients, const ClientEvent *event, gint64 now_ms);

/* The host says which there are (of ClientEvent), whatever was told before. */
ClientsChange clients_replace(Clients *clients, const GPtrArray *events, gint64 now_ms);

/* Is it time for the password to end?  Says so once. */
gboolean clients_is_over(Clients *clients, gint64 now_ms);

guint clients_count(const Clients *clients);
void clients_clear(Clients *clients);
