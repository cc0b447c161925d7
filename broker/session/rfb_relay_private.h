/* rfb_relay_private.h: what rfb_relay.c (which relays there are, and for whom) and rfb_relay_run.c
 * (what one does) share. */
#pragma once

#include "broker/session/rfb_relay.h"

#define RELAY_WAIT_MS 60000 /* for the client */
#define N_TICKET 32         /* characters: hexadecimal */

struct Relays {
    World *world;
    char *dir;
    GMutex lock; /* guards what follows, and is_cut of each */
    GCond ended;
    GPtrArray *all; /* of Relay; its thread frees it, or who takes out one that waits */
    gboolean is_stopping;
    char *vnc_host; /* NULL: nobody serves those with tickets */
    guint vnc_port;
};

struct Relay {
    Relays *relays;
    SessionRow row;
    char *who, *path; /* who: NULL if it is the session's own; path: NULL if it has a ticket */
    char ticket[N_TICKET + 1];
    gint64 until_us;     /* the ticket's */
    gboolean is_waiting; /* for who shows it: no thread has it; under relays' lock */
    gboolean may_control, is_cut;
    int listen_fd;
    gint64 look_us; /* its thread: when it looks next whether the session is open */
};

/* Its thread, once it has a socket: waits for the client, and frees it. */
gpointer relay_run(gpointer relay);

/* Not in the table any more. */
void relay_free(Relay *relay);
